//! One simulated machine: the core's `Node` and its tasks on virtual time, the real database and the real block store on
//! disks that forget, and every effect performed in an order and with delays drawn from one seed.
//!
//! The host does what a shell does, in the same stages: reads on snapshots, commits gathered by one writer, blocks stored in
//! groups before their rows, unlinking after the commit that reaped. Each stage is an event, and a crash may come before any
//! event, or in the middle of one.

mod perform;

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
    effect::{Completion, Effect, EffectId, ResponseBody},
    http::{RequestHead, ResponseHead},
    id::{Hash, NodeId},
    node::{Node, NodeEffect, NodeEvent, Setup},
    seed::Seed,
    store::{
        Batch,
        apply::Delays,
        read::holds_blocks,
        redb::{Db, DbSnapshot},
    },
    task::Task,
    time::{Instant, Now, Timestamp},
    view::{Config, View},
};

use crate::{body::Body, disk::SimDisk, fault::Fault, platter::Platter, sabotage, trace::Trace};

/// The node's name.
pub const NODE: NodeId = NodeId([0xa1; 32]);

/// Where virtual time begins: 2025-06-15.
const EPOCH: u64 = 1_750_000_000_000;

/// redb's cache: small, so that pages are read back from the disk.
const CACHE: usize = 256 << 10;

/// How a simulation is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the node is configured to.
    pub config: Config,
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
        Self { config, fault: None, keep_trace: false }
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
    /// A time asked for by [`Host::wake_in`] has come.
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

/// What was met in a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met {
    /// Effects performed.
    pub effects: u64,
    /// Transactions.
    pub commits: u64,
    /// Clients that went away.
    pub gone: u64,
    /// Kills.
    pub kills: u64,
    /// Power failures.
    pub power: u64,
}

enum Event {
    Perform(u64, EffectId, Effect),
    Complete(u64, EffectId, Completion),
    /// The writer takes what has queued up.
    Write,
    /// The writer unlinks what its commit has reaped.
    Unlink(Vec<Hash>),
    /// The block threads take what has queued up.
    Store,
    /// With [`Fault::RowsBeforeFile`].
    StoreLate(Payload, u64, EffectId, Completion),
    TaskDue(u64),
    NodeDue,
    Leave(u64),
    Wake(u64),
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
    /// The flow at the start, which no client waits for.
    Start,
}

struct Running {
    task: Task,
    kind: Kind,
    body: Option<Body>,
    received: Option<Received>,
    gone: bool,
    slow: bool,
    due: Option<Instant>,
}

/// What a crash ends.
struct Process {
    db: Arc<Db>,
    files: Arc<Files>,
    view: Arc<View>,
    node: Node,
    node_due: Option<Instant>,
    tasks: BTreeMap<u64, Running>,
    queue: VecDeque<(Batch, Waiter)>,
    writing: bool,
    blocks: Vec<(Payload, Pin, Batch, Waiter)>,
    storing: bool,
    old: Option<DbSnapshot>,
}

/// The machine.
pub struct Host {
    options: Options,
    seed: Seed,
    now: Instant,
    skew: Duration,
    platter: Platter,
    disk: Arc<SimDisk>,
    process: Option<Process>,
    events: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    next_task: u64,
    handled: u64,
    boots: u64,
    happened: VecDeque<Happened>,
    /// What was met so far.
    pub met: Met,
    /// What happened so far.
    pub trace: Trace,
}

impl Host {
    /// A machine with empty disks, switched off.
    pub fn new(seed: Seed, options: Options) -> Self {
        let trace = Trace::new(options.keep_trace);
        let platter = Platter::default();
        if options.fault == Some(Fault::DatabaseSync) {
            platter.lie_about_syncs();
        }
        Self {
            disk: Arc::new(SimDisk::new(options.fault)),
            options,
            seed,
            now: Instant(0),
            skew: Duration::ZERO,
            platter,
            process: None,
            events: BTreeMap::new(),
            next_event: 0,
            next_task: 0,
            handled: 0,
            boots: 0,
            happened: VecDeque::new(),
            met: Met::default(),
            trace,
        }
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        let wall = Timestamp(EPOCH + self.now.0 / 1_000_000).after(self.skew);
        Now { mono: self.now, wall }
    }

    /// True time, which clients go by.
    pub fn true_time(&self) -> Timestamp {
        Timestamp(EPOCH + self.now.0 / 1_000_000)
    }

    /// How many events have been handled: the places where a crash may come.
    pub fn handled(&self) -> u64 {
        self.handled
    }

    /// Whether a process is running.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// The running node's database and block files, for those who check them.
    pub fn stores(&self) -> Option<(Arc<Db>, Arc<Files>)> {
        self.process.as_ref().map(|process| (process.db.clone(), process.files.clone()))
    }

    /// The disk with the block files.
    pub fn disk(&self) -> Arc<SimDisk> {
        self.disk.clone()
    }

    /// The disk with the database.
    pub fn platter(&self) -> Platter {
        self.platter.clone()
    }

    /// The running node's view.
    pub fn view(&self) -> Option<Arc<View>> {
        self.process.as_ref().map(|process| process.view.clone())
    }

    /// Starts the process.
    ///
    /// # Errors
    /// What a person would read if the store did not open.
    pub fn boot(&mut self) -> Result<(), String> {
        assert!(self.process.is_none(), "it is running");
        self.disk.mem.set_clock(self.now().wall.0);
        let config = self.options.config.clone();
        if self.options.fault == Some(Fault::Counters) && self.boots > 0 {
            sabotage::counters(&self.platter)?;
        }
        let no_delay = self.options.fault == Some(Fault::BlockDelay);
        let block = if no_delay { Duration::ZERO } else { config.block_delay };
        let delays = Delays { block, tombstone: config.tombstone_delay };
        let db = Db::open(self.platter.open(), CACHE, delays).map_err(|error| error.to_string())?;
        let dirs = vec![DataDir { path: "data".to_owned(), capacity: 1, read_only: false }];
        let used_before = db.snapshot().and_then(|rows| holds_blocks(&rows));
        let used_before = used_before.map_err(|error| error.to_string())?;
        let options = FilesOptions { fsync: DataFsync::Batch, reserve: Some(0), used_before };
        let files = Files::open(self.disk.clone(), dirs, options);
        let files = files.map_err(|error| error.to_string())?;
        let setup = Setup::alone(NODE, db.boot(), config, self.seed.child());
        self.trace.note(self.now, format_args!("boot {}", db.boot()));
        self.boots += 1;
        let node = Node::new(setup, self.now()).map_err(|error| error.to_string())?;
        let view = Arc::clone(node.view());
        self.process = Some(Process {
            db: Arc::new(db),
            files: Arc::new(files),
            view,
            node,
            node_due: None,
            tasks: BTreeMap::new(),
            queue: VecDeque::new(),
            writing: false,
            blocks: Vec::new(),
            storing: false,
            old: None,
        });
        self.drain_node();
        Ok(())
    }

    /// Ends the process. Requests under way are answered with a broken connection.
    pub fn crash(&mut self, how: Crash) {
        let process = self.process.take();
        self.trace.note(self.now, format_args!("{how:?}"));
        self.events.retain(|_, event| matches!(event, Event::Wake(_)));
        for running in process.iter().flat_map(|process| process.tasks.values()) {
            if let Kind::Request(request) = running.kind {
                self.happened.push_back(Happened::Answered(request, None));
            }
        }
        match how {
            Crash::Kill => {
                self.met.kills += 1;
                self.platter.kill();
                self.disk.mem.kill();
            }
            Crash::Power => {
                self.met.power += 1;
                self.platter.crash(&mut self.seed.child());
                self.disk.mem.crash(&mut self.seed.child());
            }
        }
        // Whatever its destructors still try, they no longer have the disks.
        drop(process);
    }

    /// Time passes while the machine is switched off.
    pub fn stay_down(&mut self, time: Duration) {
        assert!(self.process.is_none(), "it is running");
        self.now = self.now.after(time);
    }

    /// From now on the wall clock is this much ahead of true time.
    pub fn set_skew(&mut self, skew: Duration) {
        self.skew = skew;
    }

    /// Sends a request to the running node; it will be answered by [`Happened::Answered`] with this number.
    pub fn send(&mut self, request: u64, sent: Sent) {
        let now = self.now();
        let Some(process) = &mut self.process else {
            self.happened.push_back(Happened::Answered(request, None));
            return;
        };
        let (method, target) = (&sent.head.method, String::from_utf8_lossy(&sent.head.target));
        self.trace.note(now.mono, format_args!("request {request}: {method} {target}"));
        let task = process.node.admit(now, sent.head.clone());
        let body = Body::new(sent.pieces, sent.broken);
        self.run(task, Kind::Request(request), Some(body));
    }

    /// Runs a task that nobody sent.
    pub fn start(&mut self, task: Task) {
        self.run(task, Kind::Start, None);
    }

    fn task_of(&self, request: u64) -> Option<u64> {
        let of = |running: &Running| matches!(running.kind, Kind::Request(n) if n == request);
        let mut tasks = self.process.iter().flat_map(|process| &process.tasks);
        tasks.find(|(_, running)| of(running)).map(|(task, _)| *task)
    }

    /// The client of a request goes away after this time, if it is not answered by then.
    pub fn leave_in(&mut self, request: u64, wait: Duration) {
        if let Some(task) = self.task_of(request) {
            self.schedule(wait, Event::Leave(task));
        }
    }

    /// The client of a request takes its time with the answer.
    pub fn read_slowly(&mut self, request: u64) {
        if let Some(running) = self.task_of(request).and_then(|task| self.running(task)) {
            running.slow = true;
        }
    }

    /// Asks for [`Happened::Wake`] after this time.
    pub fn wake_in(&mut self, wait: Duration, number: u64) {
        self.schedule(wait, Event::Wake(number));
    }

    /// Handles the next event, and says what clients learn from it. `None`: nothing will ever happen again.
    pub fn step(&mut self) -> Option<Vec<Happened>> {
        if self.happened.is_empty() {
            let ((at, _), event) = self.events.pop_first()?;
            self.now = self.now.max(at);
            self.disk.mem.set_clock(self.now().wall.0);
            self.handled += 1;
            self.handle(event);
        }
        Some(self.happened.drain(..).collect())
    }

    /// When the next event comes.
    pub fn next_at(&self) -> Option<Instant> {
        if self.happened.is_empty() {
            self.events.first_key_value().map(|((at, _), _)| *at)
        } else {
            Some(self.now)
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

    fn schedule(&mut self, wait: Duration, event: Event) {
        let at = self.now.after(wait);
        self.events.insert((at, self.next_event), event);
        self.next_event += 1;
    }

    /// How long something takes: mostly short, now and then long enough for everything else to pass it.
    fn delay(&mut self) -> Duration {
        let micros = match self.seed.below(16) {
            0..4 => 1,
            4..15 => 50 + self.seed.below(3_000),
            _ => 5_000 + self.seed.below(200_000),
        };
        Duration::from_micros(micros)
    }

    fn soon(&mut self, event: Event) {
        let wait = self.delay();
        self.schedule(wait, event);
    }

    fn running(&mut self, task: u64) -> Option<&mut Running> {
        self.process.as_mut()?.tasks.get_mut(&task)
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("events of a process go with it")
    }

    fn run(&mut self, mut task: Task, kind: Kind, body: Option<Body>) {
        let number = self.next_task;
        self.next_task += 1;
        task.start(self.now());
        let running =
            Running { task, kind, body, received: None, gone: false, slow: false, due: None };
        self.process().tasks.insert(number, running);
        self.drain(number);
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Perform(task, id, effect) => self.perform(task, id, effect),
            Event::Complete(task, id, completion) => {
                let what = sabotage::outline(&completion);
                self.trace.note(now.mono, format_args!("task {task} effect {}: {what}", id.0));
                if let Some(running) = self.running(task) {
                    running.task.handle_event(now, id, completion);
                    self.drain(task);
                }
            }
            Event::Write => self.write(),
            Event::Unlink(hashes) => self.unlink(&hashes),
            Event::Store => self.store(),
            Event::StoreLate(block, task, id, done) => self.store_late(block, task, id, done),
            Event::TaskDue(task) => {
                if let Some(running) = self.running(task) {
                    running.due = None;
                    running.task.handle_timeout(now);
                    self.drain(task);
                }
            }
            Event::NodeDue => {
                let process = self.process();
                process.node_due = None;
                process.node.handle_timeout(now);
                self.drain_node();
            }
            Event::Leave(task) => {
                if let Some(running) = self.running(task) {
                    running.gone = true;
                    running.body.iter_mut().for_each(Body::break_off);
                    running.task.handle_disconnect(now);
                    self.met.gone += 1;
                    self.trace.note(now.mono, format_args!("the client of task {task} leaves"));
                    self.drain(task);
                }
            }
            Event::Wake(number) => self.happened.push_back(Happened::Wake(number)),
        }
    }

    fn drain_node(&mut self) {
        while let Some((id, effect)) = self.process().node.poll_effect() {
            let NodeEffect::Run(job) = effect else { panic!("a node that is alone: {effect:?}") };
            self.trace.note(self.now, format_args!("job {}", job.name()));
            self.run(job, Kind::Job(id), None);
        }
        let process = self.process();
        let due = process.node.poll_timeout().map(|(at, _)| at);
        if let Some(at) = due
            && process.node_due != due
        {
            process.node_due = due;
            let wait = at.since(self.now);
            self.schedule(wait, Event::NodeDue);
        }
    }

    /// Takes all the effects that a task has to give, and ends it if it is done.
    fn drain(&mut self, number: u64) {
        while let Some((id, effect)) = self.running(number).and_then(|r| r.task.poll_effect()) {
            self.take(number, id, effect);
        }
        let now = self.now;
        let Some(running) = self.running(number) else { return };
        if !running.task.is_done() {
            let due = running.task.poll_timeout().map(|(at, _)| at);
            if let Some(at) = due
                && running.due != due
            {
                running.due = due;
                self.schedule(at.since(now), Event::TaskDue(number));
            }
            return;
        }
        let Some(running) = self.process().tasks.remove(&number) else { return };
        match running.kind {
            Kind::Request(request) => {
                let received = running.received.filter(|_| !running.gone);
                let status = received.as_ref().map_or(0, |received| received.head.status);
                self.trace.note(now, format_args!("request {request} answered: {status}"));
                self.happened.push_back(Happened::Answered(request, received));
                let (now, origin) = (self.now(), running.task.origin());
                self.process().node.released(now, origin);
                self.drain_node();
            }
            Kind::Job(id) => {
                let now = self.now();
                self.process().node.handle_event(now, id, NodeEvent::Done);
                self.drain_node();
            }
            Kind::Start => {}
        }
    }

    fn take(&mut self, task: u64, id: EffectId, effect: Effect) {
        match effect {
            Effect::Cancel(cancelled) => {
                // Abandoned or completed, as it comes.
                if self.seed.below(2) == 0 {
                    let is_it = |event: &Event| matches!(event, Event::Perform(of, id, _) if *of == task && *id == cancelled);
                    self.events.retain(|_, event| !is_it(event));
                }
            }
            Effect::Open(intake) => {
                let body = self.running(task).and_then(|running| running.body.as_mut());
                body.expect("only requests have bodies").open(intake);
            }
            Effect::Respond { head, body } => {
                let running = self.running(task).expect("it gave the effect");
                assert!(running.received.is_none(), "a request is answered once");
                let (body, complete) = match body {
                    ResponseBody::Empty => (Vec::new(), true),
                    ResponseBody::Full(bytes) => (bytes.to_vec(), true),
                    ResponseBody::Stream => (Vec::new(), head.len == 0),
                };
                running.received = Some(Received { head, body, complete });
            }
            effect @ (Effect::Read { .. }
            | Effect::Commit { .. }
            | Effect::StoreBlock { .. }
            | Effect::LoadBlock { .. }
            | Effect::Holds { .. }
            | Effect::Chore(_)
            | Effect::Pull { .. }
            | Effect::Collect { .. }
            | Effect::Send(_)) => self.soon(Event::Perform(task, id, effect)),
        }
    }
}
