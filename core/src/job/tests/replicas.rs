//! Several nodes' tables in memory, and jobs that run on one of them and ask the others.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    placement::layout::{Layout, Parameters, Redundancy, Role},
    store::{
        Answer,
        digest::{Findings, SHARDED},
    },
    view::{Consistency, Ring},
};

/// The node of this number.
pub(super) fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

/// A layout in which these nodes hold everything.
pub(super) fn layout(version: u64, nodes: &[u8]) -> Layout {
    let storage: Vec<NodeId> = nodes.iter().map(|number| node(*number)).collect();
    let role = Role { zone: "z".to_owned(), capacity: Some(1 << 40), tags: Vec::new() };
    let copies = u16::try_from(nodes.len()).unwrap();
    let parameters =
        Parameters { replication: copies, redundancy: Redundancy::AtLeast(1), bits: 8 };
    Layout {
        version,
        parameters,
        roles: storage.iter().map(|node| (*node, role.clone())).collect(),
        assignment: (0..256).flat_map(|_| 0..copies).collect(),
        storage,
    }
}

/// Keys and values.
type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// What happens elsewhere at a certain moment.
type Meanwhile = Box<dyn FnOnce(&mut Replicas)>;

pub(super) struct Replicas {
    pub(super) stores: BTreeMap<NodeId, MapStore>,
    pub(super) layouts: Vec<Layout>,
    pub(super) down: BTreeSet<NodeId>,
    pub(super) recovering: BTreeSet<NodeId>,
    pub(super) boot: u64,
    pub(super) mode: Consistency,
    now: Now,
    seed: Seed,
    /// Rows, and hashes of rows, that nodes have sent each other to find differences.
    pub(super) rows: usize,
    pub(super) hashes: usize,
    /// Questions that nodes have asked each other to find differences.
    pub(super) asked: usize,
    /// What happens once, just before a node merges an object's row into its own tables.
    pub(super) before_merge: Option<Meanwhile>,
}

impl Replicas {
    pub(super) fn new(layouts: Vec<Layout>) -> Self {
        let nodes = layouts.iter().flat_map(|layout| layout.storage.iter().copied());
        let now = Now::default();
        let long = Duration::from_secs(1_000_000);
        Self {
            stores: nodes.map(|node| (node, MapStore::default())).collect(),
            layouts,
            down: BTreeSet::new(),
            recovering: BTreeSet::new(),
            boot: 1,
            mode: Consistency::Consistent,
            now: Now { mono: now.mono.after(long), wall: now.wall.after(long) },
            seed: Seed::new([9; 32]),
            rows: 0,
            hashes: 0,
            asked: 0,
            before_merge: None,
        }
    }

    pub(super) fn view(&self, me: NodeId) -> Arc<View> {
        let active: Vec<&Layout> = self.layouts.iter().collect();
        let near = |other: NodeId| (u64::from(other != me), other);
        let ring = Ring::new(&active, active[0].version, &[], self.mode, &near);
        let recovering = self.recovering.contains(&me);
        let view = View::single(me, self.boot, Config::default());
        Arc::new(View { complete: ring.read_version(), ring, recovering, ..view })
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono.after(time), wall: self.now.wall.after(time) };
    }

    /// Applies changes on one node, as a write does that reaches only that one.
    pub(super) fn apply(&mut self, at: u8, ops: Vec<Op>) {
        let batch = Batch::new(self.now.wall, ops);
        let store = self.stores.get_mut(&node(at)).unwrap();
        let outcome = apply(&batch, store, &DELAYS);
        assert!(matches!(outcome, Ok(Outcome::Applied(_))), "{outcome:?}");
    }

    pub(super) fn run(&mut self, at: u8, job: Job) -> Verdict {
        let me = node(at);
        let seed = self.seed.child();
        let (mut task, slot) = job.task(self.view(me), seed);
        task.start(self.now);
        let mut open = std::collections::VecDeque::new();
        loop {
            while let Some((id, effect)) = task.poll_effect() {
                match effect {
                    Effect::Cancel(id) => open.retain(|(open, _)| *open != id),
                    effect => open.push_back((id, effect)),
                }
            }
            if task.is_done() {
                return slot.get().expect("a verdict").verdict;
            }
            if let Some((id, effect)) = open.pop_front() {
                let completion = self.perform(me, effect);
                task.handle_event(self.now, id, completion);
            } else {
                let (at, _) = task.poll_timeout().expect("it waits for something");
                let wait = at.since(self.now.mono);
                self.pass(wait);
                task.handle_timeout(self.now);
            }
        }
    }

    fn perform(&mut self, me: NodeId, effect: Effect) -> Completion {
        let merges = |op: &Op| matches!(op, Op::Merge { table: Table::Object, .. });
        if matches!(&effect, Effect::Commit { at, batch } if *at == me && batch.ops.iter().any(merges))
            && let Some(meanwhile) = self.before_merge.take()
        {
            meanwhile(self);
        }
        match effect {
            Effect::Read { at, .. } if self.down.contains(&at) => {
                Completion::Read(Err(PeerError::Unreachable))
            }
            Effect::Commit { at, .. } if self.down.contains(&at) => {
                Completion::Committed(Err(PeerError::Unreachable))
            }
            Effect::Read { at, read: Read::Compare(question) } => {
                let answer = read(&Read::Compare(question), &self.stores[&at]);
                if at != me {
                    self.count(answer.as_ref().unwrap());
                }
                Completion::Read(answer.map_err(PeerError::Store))
            }
            Effect::Read { at, .. } if at != me && self.recovering.contains(&at) => {
                Completion::Read(Err(PeerError::Syncing))
            }
            Effect::Read { at, read: plan } => {
                Completion::Read(read(&plan, &self.stores[&at]).map_err(PeerError::Store))
            }
            Effect::Commit { at, batch } => {
                let mut transaction = self.stores[&at].clone();
                let outcome = apply(&batch, &mut transaction, &DELAYS);
                if outcome.is_ok() {
                    self.stores.insert(at, transaction);
                }
                Completion::Committed(outcome.map_err(PeerError::Store))
            }
            Effect::Control(command) => unrested(*command),
            other => panic!("{other:?} is not a job's about rows"),
        }
    }

    fn count(&mut self, answer: &Answer) {
        self.asked += 1;
        match answer {
            Answer::Compared(Findings::Rows(rows)) => self.rows += rows.len(),
            Answer::Compared(Findings::Hashes(hashes)) => self.hashes += hashes.len(),
            _ => {}
        }
    }

    /// Every node that is up syncs once.
    pub(super) fn sync(&mut self) {
        for at in self.up() {
            let verdict = self.run(at, Job::Sync);
            assert!(matches!(verdict, Verdict::Synced { .. }), "{at}: {verdict:?}");
        }
    }

    /// Everything that is due happens, and becomes due, for some days, on all nodes that are up.
    pub(super) fn settle(&mut self) {
        for _ in 0..8 {
            for job in [Job::Intents, Job::Queue, Job::Sync] {
                for at in self.up() {
                    let verdict = self.run(at, job);
                    assert!(verdict != Verdict::Failed, "{job:?} on {at}");
                }
            }
            self.pass(Duration::from_secs(13 * 3600));
        }
    }

    fn up(&self) -> Vec<u8> {
        let nodes = self.layouts.iter().flat_map(|layout| layout.storage.iter());
        let nodes: BTreeSet<NodeId> =
            nodes.filter(|node| !self.down.contains(*node)).copied().collect();
        nodes.into_iter().map(|node| node.0[0]).collect()
    }

    /// What replicas must have in common: every table that is compared, and what hooks make of it.
    pub(super) fn rows_of(&self, at: u8) -> BTreeMap<Table, Rows> {
        let tables = SHARDED.into_iter().chain([Table::Inline, Table::Counter, Table::Fingerprint]);
        let store = &self.stores[&node(at)];
        let rows = |table| store.rows(table).map(|(key, value)| (key.into(), value.into()));
        tables.map(|table| (table, rows(table).collect())).collect()
    }

    pub(super) fn count_rows(&self, at: u8, table: Table) -> usize {
        self.stores[&node(at)].rows(table).count()
    }
}
