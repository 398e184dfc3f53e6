//! The jobs against a small world: tables in memory, block files on a disk that forgets, tasks stepped in any order.

#![allow(clippy::wildcard_enum_match_arm)]

mod cluster;
mod fetch;
mod handlers;
mod life;
mod offload;
mod queue;
mod repair;
mod replicas;
mod scrub;
mod snapshot;
mod sync;
mod tidying;
mod tombstones;
mod uploads;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::*;
use crate::{
    block::{
        Payload,
        disk::MemDisk,
        files::{DataDir, DataFsync, Files, FilesOptions, Pin},
        seal::seal,
    },
    effect::{Completion, Effect, EffectId, Shot},
    id::{Hash, NodeId, VersionId},
    node::pace::Pacer,
    s3::ingest::{intent_row, list_row},
    store::{
        Snapshot,
        apply::{Delays, apply},
        map::MapStore,
        read::read,
    },
    table::{
        self,
        block::{BlockCountRow, BlockRefRow},
        key,
        queue::Job as Queued,
        upload::IntentRow,
    },
    time::{Now, Stamp, Timestamp},
    view::{Config, Ring},
};

pub(super) const DELAYS: Delays =
    Delays { block: Duration::from_secs(600), tombstone: Duration::from_secs(24 * 3600) };

/// An hour and more after everything that is due or aged by then.
const LONG: Duration = Duration::from_secs(26 * 3600);

/// One node: what survives a crash, and what does not.
struct World {
    store: MapStore,
    disk: Arc<MemDisk>,
    files: Arc<Files>,
    now: Now,
    boot: u64,
    seed: Seed,
    /// Fails every commit from now on.
    broken: bool,
    /// Effects performed so far.
    performed: usize,
    node: NodeId,
    /// `None` for a cluster of one.
    ring: Option<Ring>,
    config: Config,
    /// The snapshots of the metadata that there are.
    shots: Vec<Timestamp>,
    pacer: Pacer,
}

/// An effect under way, at the point that it has come to.
enum Step {
    Effect(Box<Effect>),
    /// A block that is on disk, pinned; its rows are to be committed.
    Rows {
        then: Box<Batch>,
        pin: Pin,
    },
    /// Rows are committed: reaped blocks are to be unlinked, a pin to be dropped, somebody to be told.
    After {
        reaped: Vec<Hash>,
        pin: Option<Pin>,
        outcome: Outcome,
    },
}

/// A task in the world, with the effects it waits for.
struct Running {
    task: Task,
    open: Vec<(EffectId, Step)>,
}

impl World {
    fn new(seed: u8) -> Self {
        let disk = Arc::new(MemDisk::new());
        let files = Self::open(&disk, false);
        let mut world = Self {
            store: MapStore::default(),
            disk,
            files,
            now: Now::default(),
            boot: 1,
            seed: Seed::new([seed; 32]),
            broken: false,
            performed: 0,
            node: NodeId([1; 32]),
            ring: None,
            config: Config::default(),
            shots: Vec::new(),
            pacer: Pacer::new(Now::default().mono),
        };
        world.pass(Duration::from_secs(1_000_000));
        world
    }

    fn open(disk: &Arc<MemDisk>, used_before: bool) -> Arc<Files> {
        let dir = DataDir { path: "data".to_owned(), capacity: 1, read_only: false };
        let options = FilesOptions { fsync: DataFsync::Batch, reserve: None, used_before };
        Arc::new(Files::open(disk.clone(), vec![dir], options).unwrap())
    }

    fn view(&self) -> Arc<View> {
        let mut view = View::single(self.node, self.boot, self.config.clone());
        view.ring = self.ring.clone().unwrap_or(view.ring);
        view.complete = view.ring.read_version();
        Arc::new(view)
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono.after(time), wall: self.now.wall.after(time) };
        self.disk.set_clock(self.now.wall.0);
    }

    /// The power fails, and the node starts again.
    fn crash(&mut self) {
        self.disk.crash(&mut self.seed);
        self.files = Self::open(&self.disk, true);
        self.boot += 1;
    }

    fn start(&mut self, mut task: Task) -> Running {
        task.start(self.now);
        let mut running = Running { task, open: Vec::new() };
        running.collect();
        running
    }

    /// Takes one task, or one of its effects, a step further. `choice` picks.
    fn step(&mut self, running: &mut Running, choice: usize) {
        if running.open.is_empty() {
            let (at, _) = running.task.poll_timeout().expect("it waits for something");
            let wait = at.since(self.now.mono);
            self.pass(wait);
            running.task.handle_timeout(self.now);
        } else {
            let (id, step) = running.open.remove(choice % running.open.len());
            self.performed += 1;
            match self.perform(step) {
                Ok(completion) => running.task.handle_event(self.now, id, completion),
                Err(next) => running.open.push((id, next)),
            }
        }
        running.collect();
    }

    fn perform(&mut self, step: Step) -> Result<Completion, Step> {
        match step {
            Step::Effect(effect) => self.perform_effect(*effect),
            Step::Rows { then, pin } => self.commit(&then, Some(pin)),
            Step::After { reaped, pin, outcome } => {
                let store = &self.store;
                self.files.unlink_reaped(&reaped, &|block| counts(store, block)).unwrap();
                drop(pin);
                Ok(Completion::Committed(Ok(outcome)))
            }
        }
    }

    fn perform_effect(&mut self, effect: Effect) -> Result<Completion, Step> {
        match effect {
            Effect::Read { read: plan, .. } => {
                Ok(Completion::Read(read(&plan, &self.store).map_err(PeerError::Store)))
            }
            Effect::Commit { batch, .. } => self.commit(&batch, None),
            Effect::StoreBlock { block, then, .. } => {
                let pin = self.files.pin(block.hash());
                match self.files.store(std::slice::from_ref(&block)).remove(0) {
                    Ok(()) => {
                        let then = Box::new(then.with_stored(block.hash()));
                        Err(Step::Rows { then, pin })
                    }
                    Err(error) => Ok(Completion::Committed(Err(error))),
                }
            }
            Effect::LoadBlock { hash, .. } => Ok(Completion::Loaded(self.files.load(hash))),
            Effect::Holds { blocks, .. } => Ok(Completion::Held(self.files.holds(&blocks))),
            Effect::Chore(chore) => {
                let store = &self.store;
                Ok(Completion::Chore(self.files.chore(&chore, &|block| counts(store, block))))
            }
            Effect::Snapshot(shot) => {
                match shot {
                    Shot::List => {}
                    Shot::Take { at, .. } => self.shots.push(at),
                    Shot::Remove { at } => self.shots.retain(|other| *other != at),
                }
                Ok(Completion::Snapshots(Ok(self.shots.clone())))
            }
            Effect::Control(command) => {
                let Command::Rest(ask) = *command else { panic!("{command:?} is not a job's") };
                let (now, pace) = (self.now.mono, self.config.tuning.pace);
                let turn = self.pacer.rest(now, pace, 0, ask);
                Ok(Completion::Control(Ok(Report::Rest(turn))))
            }
            other => panic!("{other:?} is not a job's"),
        }
    }

    fn commit(&mut self, batch: &Batch, pin: Option<Pin>) -> Result<Completion, Step> {
        if self.broken {
            let error = PeerError::Store(StoreError::Engine("injected".to_owned()));
            return Ok(Completion::Committed(Err(error)));
        }
        match self.apply(batch) {
            Ok(outcome) => {
                let reaped = match &outcome {
                    Outcome::Applied(applied) => applied.reaped.clone(),
                    Outcome::Refused { .. } => Vec::new(),
                };
                Err(Step::After { reaped, pin, outcome })
            }
            Err(error) => Ok(Completion::Committed(Err(PeerError::Store(error)))),
        }
    }

    /// Applies a batch in a transaction of its own.
    fn apply(&mut self, batch: &Batch) -> Result<Outcome, StoreError> {
        let mut transaction = self.store.clone();
        let outcome = apply(batch, &mut transaction, &DELAYS)?;
        self.store = transaction;
        Ok(outcome)
    }

    fn apply_ops(&mut self, ops: Vec<Op>) {
        // Without a copy to go back to: it does not fail.
        let batch = Batch::new(self.now.wall, ops);
        let outcome = apply(&batch, &mut self.store, &DELAYS);
        assert!(matches!(outcome, Ok(Outcome::Applied(_))), "{outcome:?}");
    }

    /// Runs a job to its end.
    fn run(&mut self, job: Job) -> Verdict {
        let seed = self.seed.child();
        let (task, slot) = job.task(self.view(), seed);
        let mut running = self.start(task);
        while !running.task.is_done() {
            self.step(&mut running, 0);
        }
        slot.get().expect("a job leaves a verdict").verdict
    }

    /// Runs a job, and breaks it off after so many effects. False if it came to its end before.
    fn break_off(&mut self, job: Job, after: usize) -> bool {
        let seed = self.seed.child();
        let (task, _) = job.task(self.view(), seed);
        let mut running = self.start(task);
        let until = self.performed + after;
        while !running.task.is_done() {
            if self.performed == until {
                return true;
            }
            self.step(&mut running, 0);
        }
        false
    }

    /// Lets everything happen that is due or becomes due: the last reap is queued by the first.
    fn settle(&mut self) {
        for _ in 0..4 {
            for job in [Job::Intents, Job::Queue, Job::Uploads, Job::Queue, Job::Orphans] {
                assert_eq!(self.run(job), Verdict::Done);
            }
            self.pass(LONG);
        }
    }

    /// Writes a piece of data, all its blocks and rows, as a writer does that succeeds.
    fn put_data(&mut self, position: Position, data: VersionId, blocks: &[Payload]) {
        let mut offset = 0;
        for block in blocks {
            assert_eq!(self.files.store(std::slice::from_ref(block)), [Ok(())]);
            let rows = vec![list_row(position, data, offset, block), ref_row(data, block)];
            self.apply_ops(rows);
            offset += u64::from(block.len());
        }
    }

    fn count(&self, table: Table) -> usize {
        self.store.rows(table).count()
    }

    /// The blocks of which there is a file.
    fn on_disk(&self) -> BTreeSet<Hash> {
        let files = self.disk.files();
        let names = files.iter().filter_map(|file| file.strip_prefix("data/blocks/"));
        names.filter_map(|name| Hash::from_hex(name.get(6..70)?)).collect()
    }

    /// That counts are what the references say, and that every block that is referred to is there and sound.
    fn check(&self) {
        let mut refs = std::collections::BTreeMap::new();
        for (row_key, value) in self.store.rows(Table::BlockRef) {
            let row: BlockRefRow = table::decode(Table::BlockRef, value).unwrap();
            let hash = Hash::from_slice(&row_key[..32]).unwrap();
            *refs.entry(hash).or_insert(0) += u64::from(row.is_live());
        }
        for (hash, refs) in refs {
            let value = self.store.get(Table::BlockCount, &key::block_count(hash)).unwrap();
            let count: BlockCountRow = table::decode(Table::BlockCount, &value.unwrap()).unwrap();
            assert_eq!(count.refs, refs, "{hash:?}");
            assert!(self.files.load(hash).is_ok(), "{hash:?} is referred to");
        }
    }
}

impl Running {
    fn collect(&mut self) {
        while let Some((id, effect)) = self.task.poll_effect() {
            match effect {
                Effect::Cancel(id) => self.open.retain(|(open, _)| *open != id),
                effect => self.open.push((id, Step::Effect(Box::new(effect)))),
            }
        }
    }
}

fn counts(store: &MapStore, block: Hash) -> Result<bool, StoreError> {
    Ok(store.get(Table::BlockCount, &key::block_count(block))?.is_some())
}

fn ref_row(data: VersionId, block: &Payload) -> Op {
    Op::Merge {
        table: Table::BlockRef,
        key: key::block_ref(block.hash(), data),
        value: table::encode(&BlockRefRow::Live { owner: Some(HERE) }),
        inline: None,
    }
}

fn block(number: u64) -> Payload {
    seal(number.to_le_bytes().to_vec().into(), None)
}

fn id(number: u64) -> VersionId {
    VersionId::new(Stamp::from_wall(Timestamp(number)), number.to_be_bytes())
}

const HERE: Position = Position(0x1234);

fn drop_data_op(due: Timestamp, data: VersionId) -> Op {
    Op::Enqueue { due, job: Queued::DropData { position: HERE, data, unless: None } }
}
