//! One simulated machine: the core's `Node` and its tasks on virtual time, a database and the real block store on disks that
//! forget, and every effect performed in an order and with delays drawn from one seed.
//!
//! The host does what a shell does, in the same stages: reads on snapshots, commits gathered by one writer, blocks stored in
//! groups before their rows, unlinking after the commit that reaped. Each stage is an event, and a crash may come before any
//! event, or in the middle of one.

mod peers;
mod perform;
mod run;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use mews_core::{
    block::{
        Payload,
        files::{DataDir, DataFsync, Files, FilesOptions, Pin},
    },
    effect::{Completion, Effect, EffectId},
    http::{RequestHead, ResponseHead},
    id::{Hash, NodeId},
    node::{Contact, Node, Saved, Setup, StateFile, layouts},
    rpc::{self, Origin},
    store::{
        Batch, Snapshot,
        apply::Delays,
        read::{holds_blocks, lost, synced},
    },
    task::Task,
    time::{Instant, Now},
    view::{Config, View},
};

use crate::{
    body::Body,
    database::{Database, Engine, Medium},
    dice::Dice,
    disk::SimDisk,
    fault::Fault,
    net::{Net, PORT, Token},
    platter::Platter,
    sabotage,
    scripts::Held,
    world::{self, World},
};

/// The node's name.
pub const NODE: NodeId = NodeId([0xa1; 32]);

/// How a simulation is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the node is configured to.
    pub config: Config,
    /// Which database it has.
    pub engine: Engine,
    /// Whether it is a cluster by itself.
    pub alone: bool,
    /// A fault to plant.
    pub fault: Option<Fault>,
    /// Whether to keep the trace's text.
    pub keep_trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        let config = Config {
            // Small blocks make many, and short delays let a run see their end.
            block_size: 4 << 10,
            inline_max: 64,
            index_shards: 4,
            // Longer than a slow client takes for an object.
            block_delay: Duration::from_secs(20),
            tombstone_delay: Duration::from_secs(6),
            ..Config::default()
        };
        Self { config, engine: Engine::Redb, alone: true, fault: None, keep_trace: false }
    }
}

/// A request as a client sends it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The head, signed.
    pub head: RequestHead,
    /// The body as it arrives, piece by piece.
    pub pieces: Vec<Bytes>,
    /// The connection breaks after the pieces, before the body has ended.
    pub broken: bool,
}

/// A response as its client sees it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The head.
    pub head: ResponseHead,
    /// The bytes that came.
    pub body: Vec<u8>,
    /// Whether all came that the head declares.
    pub complete: bool,
}

/// What a client learns.
#[derive(Clone, Debug)]
pub enum Happened {
    /// A request was answered; with nothing, if the connection broke without an answer.
    Answered(u64, Option<Received>),
    /// A time asked for by [`Cluster::wake_in`](crate::cluster::Cluster::wake_in) has come.
    Wake(u64),
}

/// How a process ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed; the operating system keeps what was written.
    Kill,
    /// The power fails; of what was not synced, anything may be left.
    Power,
}

/// Something that will happen in a process.
pub enum Event {
    /// An effect is performed.
    Perform(u64, EffectId),
    /// An effect is done.
    Complete(u64, EffectId, Completion),
    /// The writer takes what has queued up.
    Write,
    /// The writer unlinks what its commit has reaped.
    Unlink(Vec<Hash>),
    /// The block threads take what has queued up.
    Store,
    /// With [`Fault::RowsBeforeFile`].
    StoreLate(Payload, u64, EffectId, Completion),
    /// A task wants to be told the time.
    TaskDue(u64),
    /// The node wants to be told the time.
    NodeDue,
    /// A client goes away.
    Leave(u64),
    /// A small file is on the disk.
    Saved(EffectId, StateFile, Vec<u8>),
}

/// Who waits for a commit, and the pin that its block is kept by until then.
struct Waiter {
    task: u64,
    effect: EffectId,
    _pin: Option<Pin>,
    /// With [`Fault::RowsBeforeFile`], what is written after.
    late: Option<Payload>,
}

enum Kind {
    Request(u64),
    Job(EffectId),
    /// A flow that no client waits for.
    Start,
    /// A peer's request.
    Served(Token, rpc::Slot),
}

struct Running {
    task: Task,
    kind: Kind,
    body: Option<Body>,
    received: Option<Received>,
    gone: bool,
    slow: bool,
    due: Option<Instant>,
    /// It is a request that reads: what it writes can only be a repair.
    reads: bool,
}

/// What a crash ends.
struct Process {
    db: Database,
    files: Arc<Files>,
    node: Node,
    node_due: Option<Instant>,
    tasks: BTreeMap<u64, Running>,
    /// Effects that were given and are not performed yet. They may outlive their task.
    given: BTreeMap<(u64, EffectId), (Effect, Origin)>,
    /// Of these, which are held back.
    held: Vec<(u64, EffectId)>,
    queue: VecDeque<(Batch, Waiter)>,
    writing: bool,
    blocks: Vec<(Payload, Pin, Batch, Waiter)>,
    storing: bool,
    old: Option<Box<dyn Snapshot>>,
}

/// The machine.
pub struct Host {
    /// Its number.
    pub number: usize,
    /// Its node's name.
    pub node: NodeId,
    options: Options,
    dice: Dice,
    /// How far its wall clock is from true time, in milliseconds.
    skew: i64,
    /// Everything takes so many times as long.
    slow: u32,
    medium: Medium,
    disk: Arc<SimDisk>,
    /// The small files beside the database.
    saved: Saved,
    process: Option<Process>,
    next_task: u64,
    boots: u64,
    /// The last start, as it is counted beside the database.
    starts: u64,
    /// A copy of the database that somebody has made.
    copy: Option<Medium>,
    /// Which effects are held back.
    held: Option<Held>,
}

impl Host {
    /// A machine with empty disks, switched off.
    pub fn new(number: usize, node: NodeId, dice: Dice, options: Options) -> Self {
        Self {
            number,
            node,
            medium: medium(&options),
            disk: Arc::new(SimDisk::new(options.fault)),
            saved: Saved::default(),
            options,
            dice,
            skew: 0,
            slow: 1,
            process: None,
            next_task: 0,
            boots: 0,
            starts: 0,
            copy: None,
            held: None,
        }
    }

    /// Both clocks.
    pub fn now(&self, world: &World) -> Now {
        let wall = world.true_time();
        let wall = mews_core::time::Timestamp(wall.0.saturating_add_signed(self.skew));
        Now { mono: world.now, wall }
    }

    /// Whether a process is running.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// The running node's database and block files, for those who check them.
    pub fn stores(&self) -> Option<(&Database, &Arc<Files>)> {
        self.process.as_ref().map(|process| (&process.db, &process.files))
    }

    /// The disk with the block files.
    pub fn disk(&self) -> Arc<SimDisk> {
        self.disk.clone()
    }

    /// The disk with the database.
    pub fn platter(&self) -> Platter {
        self.medium.platter.clone()
    }

    /// The running node's view.
    pub fn view(&self) -> Option<Arc<View>> {
        self.process.as_ref().map(|process| process.node.view().clone())
    }

    /// Starts the process.
    ///
    /// # Errors
    /// What a person would read if the store did not open.
    pub fn boot(&mut self, world: &mut World) -> Result<(), String> {
        assert!(self.process.is_none(), "it is running");
        self.disk.mem.set_clock(self.now(world).wall.0);
        let config = self.options.config.clone();
        if self.options.fault == Some(Fault::Counters) && self.boots > 0 {
            sabotage::counters(&self.medium.platter)?;
        }
        let no_delay = self.options.fault == Some(Fault::BlockDelay);
        let block = if no_delay { Duration::ZERO } else { config.block_delay };
        let forgets = self.options.fault == Some(Fault::EarlyForget);
        let tombstone = if forgets { Duration::ZERO } else { config.tombstone_delay };
        let mut db = self.medium.open(Delays { block, tombstone })?;
        if db.boot() <= self.starts {
            let alone = layouts::is_alone(self.node, self.saved.layout.as_deref());
            db.count_on(self.starts, !alone).map_err(|error| error.to_string())?;
        }
        let dirs = vec![DataDir { path: "data".to_owned(), capacity: 1, read_only: false }];
        let used_before = db.look(holds_blocks).map_err(|error| error.to_string())?;
        let options = FilesOptions { fsync: DataFsync::Batch, reserve: Some(0), used_before };
        let files = Files::open(self.disk.clone(), dirs, options);
        let files = files.map_err(|error| error.to_string())?;
        let boot = db.boot();
        world.trace.note(world.now, format_args!("host {} boot {boot}", self.number));
        self.boots += 1;
        self.starts = boot;
        let complete = db.look(synced).map_err(|error| error.to_string())?;
        let feigns = self.options.fault == Some(Fault::Recovering);
        self.saved.synced = if feigns { complete.max(self.saved.synced) } else { complete };
        self.saved.lost = !feigns && db.look(lost).map_err(|error| error.to_string())?;
        let setup = self.setup(boot, config);
        let node = Node::new(setup, self.now(world)).map_err(|error| error.to_string())?;
        self.process = Some(Process {
            db,
            files: Arc::new(files),
            node,
            node_due: None,
            tasks: BTreeMap::new(),
            given: BTreeMap::new(),
            held: Vec::new(),
            queue: VecDeque::new(),
            writing: false,
            blocks: Vec::new(),
            storing: false,
            old: None,
        });
        self.drain_node(world);
        Ok(())
    }

    fn setup(&mut self, boot: u64, config: Config) -> Setup {
        let seed = self.dice.seed();
        if self.options.alone {
            return Setup::alone(self.node, boot, config, seed);
        }
        // Everybody knows one other: the mesh is for the nodes to make.
        let known = if self.number == 0 { 1 } else { 0 };
        let bootstrap = vec![Contact { id: None, address: Net::address(known) }];
        Setup {
            id: self.node,
            boot,
            config,
            seed,
            hostname: format!("host-{}", self.number),
            listen: Some(PORT),
            public: Some(Net::address(self.number)),
            disk: None,
            bootstrap,
            saved: self.saved.clone(),
        }
    }

    /// Ends the process. Requests under way are answered with a broken connection.
    pub fn crash(&mut self, world: &mut World, how: Crash) {
        let process = self.process.take();
        world.trace.note(world.now, format_args!("host {} {how:?}", self.number));
        world.forget(self.number);
        for running in process.iter().flat_map(|process| process.tasks.values()) {
            if let Kind::Request(request) = running.kind {
                world.happened.push_back(Happened::Answered(request, None));
            }
        }
        match how {
            Crash::Kill => {
                world.met.kills += 1;
                self.medium.kill();
                self.disk.mem.kill();
            }
            Crash::Power => {
                world.met.power += 1;
                self.medium.crash(&mut self.dice.child());
                self.disk.mem.crash(&mut self.dice.seed());
            }
        }
        // Whatever its destructors still try, they no longer have the disks.
        drop(process);
    }

    /// New disks, with nothing on them.
    pub fn wipe(&mut self, world: &mut World) {
        assert!(self.process.is_none(), "it is running");
        world.met.wipes += 1;
        world.trace.note(world.now, format_args!("host {} loses all it had", self.number));
        self.medium = medium(&self.options);
        if self.options.fault != Some(Fault::Recovering) {
            self.saved = Saved::default();
        }
        (self.starts, self.copy) = (0, None);
        self.disk = Arc::new(SimDisk::new(self.options.fault));
    }

    /// Makes a copy of the database, as somebody would who wants to be on the safe side.
    pub fn copy_database(&mut self) {
        self.copy = Some(self.medium.copy());
    }

    /// Whether there is a copy of the database.
    pub fn has_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// Puts the database back from the copy, as `mewsd restore` does; all else on the disks stays. What tells it from one that is the
    /// latest is a start that it does not know of.
    pub fn put_back(&mut self, world: &mut World) {
        assert!(self.process.is_none(), "it is running");
        if let Some(copy) = self.copy.take() {
            world.met.put_back += 1;
            let number = self.number;
            world
                .trace
                .note(world.now, format_args!("host {number}: an older database is put back"));
            self.medium = copy;
            if self.options.fault == Some(Fault::Starts) {
                self.starts = 0;
            } else {
                self.starts += 1;
            }
        }
    }

    /// From now on the wall clock is this many milliseconds ahead of true time.
    pub fn set_skew(&mut self, skew: i64) {
        self.skew = skew;
    }

    /// From now on everything takes so many times as long.
    pub fn set_slow(&mut self, slow: u32) {
        self.slow = slow;
    }

    /// From now on such effects are held back, or none.
    pub(crate) fn hold(&mut self, held: Option<Held>) {
        self.held = held;
    }

    /// How many effects are held back.
    pub(crate) fn holds(&self) -> usize {
        self.process.as_ref().map_or(0, |process| process.held.len())
    }

    /// Goes on with what was held back.
    pub(crate) fn let_go(&mut self, world: &mut World) {
        let held = self.process.as_mut().map(|process| std::mem::take(&mut process.held));
        for (task, id) in held.into_iter().flatten() {
            self.soon(world, Event::Perform(task, id));
        }
    }

    /// How many tasks are running.
    pub fn busy(&self) -> usize {
        self.process.as_ref().map_or(0, |process| process.tasks.len())
    }

    /// What the running tasks wait for.
    pub fn waiting(&self) -> Vec<String> {
        let tasks = self.process.iter().flat_map(|process| process.tasks.values());
        tasks.map(|r| format!("{}: {:?}", r.task.name(), r.task.waiting_for())).collect()
    }

    fn schedule(&self, world: &mut World, wait: Duration, event: Event) {
        world.schedule(wait, world::Event::Host(self.number, event));
    }

    fn soon(&self, world: &mut World, event: Event) {
        let wait = world.delay() * self.slow;
        self.schedule(world, wait, event);
    }

    fn running(&mut self, task: u64) -> Option<&mut Running> {
        self.process.as_mut()?.tasks.get_mut(&task)
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("events of a process go with it")
    }
}

fn medium(options: &Options) -> Medium {
    let medium = Medium::new(options.engine);
    if options.fault == Some(Fault::DatabaseSync) {
        medium.lie_about_syncs();
    }
    medium
}
