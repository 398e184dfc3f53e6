//! The world, as one process has it: clocks, the database, block files, and the node itself.

use std::{
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use mews_core::{
    effect::{Completion, Effect, EffectId, PeerError},
    http::RequestHead,
    id::NodeId,
    node::{Api, Node, NodeEffect, NodeEvent},
    rpc::{self, Origin},
    store::{Answer, Read, redb::Db},
    task::Task,
    time::Instant,
    wire::Identity,
};
use mews_host::{abort::AbortOnPanic, clock::Clock, rows, saver::Saver, snapshots::Snapshots};
use smol::{
    Executor, Timer,
    channel::{Receiver, Sender},
    future::{self, FutureExt},
    lock::Semaphore,
};

use crate::{
    blocks::Blocks,
    drive,
    peers::{self, Links},
    workers::Workers,
    writer::Writer,
};

/// Runs every task of the process.
pub static EXECUTOR: Executor<'static> = Executor::new();

/// Runs `future` beside everything else.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    EXECUTOR.spawn(future).detach();
}

/// A timer for an instant; for `None`, one that never fires.
pub fn timer(clock: Clock, at: Option<Instant>) -> Timer {
    at.map_or_else(Timer::never, |at| Timer::at(clock.std(at)))
}

/// Everything that effects are performed with. Shared by all requests.
pub struct Host {
    /// The clocks.
    pub clock: Clock,
    /// This node.
    pub id: NodeId,
    /// The database, for reading.
    pub db: Arc<Db>,
    /// The database, for writing.
    pub writer: Writer,
    /// The block files.
    pub blocks: Blocks,
    /// Threads for scans and listings.
    pub workers: Workers,
    /// How many scans and listings may be under way, so that some threads are left for blocks.
    pub scans: Semaphore,
    /// Snapshots of the database.
    pub snapshots: Arc<Snapshots>,
    /// The node's machine. Locked for one step at a time, never across a wait.
    pub node: Mutex<Node>,
    /// The node's jobs that run.
    pub jobs: Mutex<BTreeMap<EffectId, smol::Task<()>>>,
    /// The connections to other nodes.
    pub links: Links,
    /// Who this node is, to others.
    pub identity: Identity,
    /// Writes the node's small files. Set once, before the node runs.
    pub saver: OnceLock<Saver>,
    /// Places for effects that go on after the end of their task.
    pub detached: Arc<Semaphore>,
    /// Wakes the node's loop: it has changed. One word is as good as many.
    pub nudge: (Sender<()>, Receiver<()>),
}

impl Host {
    /// Performs an effect that needs no client, here or at another node.
    pub async fn perform(self: &Arc<Self>, effect: Effect, origin: Origin) -> Completion {
        if effect.at().is_some_and(|at| at != self.id) {
            let call = rpc::call(effect, origin).expect("it names a node");
            return peers::call(self, call).await;
        }
        match effect {
            Effect::Read { read, .. } => Completion::Read(self.read(read).await),
            Effect::Commit { batch, .. } => {
                Completion::Committed(self.writer.commit(batch, None).await)
            }
            Effect::StoreBlock { block, then, .. } => {
                Completion::Committed(self.blocks.store(block, then, &self.writer).await)
            }
            Effect::LoadBlock { hash, .. } => Completion::Loaded(self.blocks.load(hash).await),
            Effect::Holds { blocks, .. } => Completion::Held(self.blocks.holds(blocks).await),
            Effect::Chore(chore) => {
                Completion::Chore(self.blocks.chore(chore, Arc::clone(&self.db)).await)
            }
            Effect::Snapshot(shot) => {
                let (snapshots, db) = (Arc::clone(&self.snapshots), Arc::clone(&self.db));
                let perform = move || snapshots.perform(&db, shot);
                Completion::Snapshots(self.workers.run(perform).await.and_then(|done| done))
            }
            Effect::Control(command) => {
                let now = self.clock.now();
                let report = self.with_node(|node| node.control(now, *command));
                // Full means that the loop has been told already.
                let _ = self.nudge.0.try_send(());
                Completion::Control(report)
            }
            // Of the own node, the task answers itself.
            Effect::Ask { .. } => Completion::Asked(Err(PeerError::Unreachable)),
            other @ (Effect::Open(_)
            | Effect::Pull { .. }
            | Effect::Collect { .. }
            | Effect::Respond { .. }
            | Effect::Send(_)
            | Effect::Waited(_)
            | Effect::Cancel(_)) => panic!("{other:?} is the driver's"),
        }
    }

    /// Answers at once what takes microseconds to read; `None` for what may take longer.
    pub fn read_now(&self, at: NodeId, read: &Read) -> Option<Result<Answer, PeerError>> {
        (at == self.id && read.is_quick()).then(|| rows::read(&self.db, read))
    }

    async fn read(&self, read: Read) -> Result<Answer, PeerError> {
        let _permit = self.scans.acquire().await;
        let db = Arc::clone(&self.db);
        self.workers.run(move || rows::read(&db, &read)).await?
    }

    /// The task of a request. To be [released](Host::released) when it has ended.
    pub fn admit(self: &Arc<Self>, api: Api, head: RequestHead) -> Task {
        let now = self.clock.now();
        self.with_node(|node| node.admit_to(api, now, head))
    }

    /// A request has ended.
    pub fn released(self: &Arc<Self>, origin: Origin) {
        let now = self.clock.now();
        self.with_node(|node| node.released(now, origin));
    }

    /// Changes the node's machine and performs what it asks for.
    pub fn with_node<T>(self: &Arc<Self>, change: impl FnOnce(&mut Node) -> T) -> T {
        let mut effects = Vec::new();
        let result = {
            let _abort = AbortOnPanic::new("the node");
            let mut node = self.node.lock().unwrap_or_else(PoisonError::into_inner);
            let result = change(&mut node);
            while let Some((id, effect)) = node.poll_effect() {
                effects.push((id, effect));
            }
            result
        };
        for (id, effect) in effects {
            self.perform_for_node(id, effect);
        }
        result
    }

    fn perform_for_node(self: &Arc<Self>, id: EffectId, effect: NodeEffect) {
        let host = Arc::clone(self);
        match effect {
            NodeEffect::Run(task) => {
                // Locked until it is in, so that its end finds it.
                let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
                jobs.insert(id, EXECUTOR.spawn(run_job(host, id, task)));
            }
            NodeEffect::Stop(job) => {
                let job = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
                // It ends with its handle.
                drop(job);
            }
            NodeEffect::Save { file, bytes } => {
                let saver = self.saver.get().expect("the host is started");
                saver.save(id, file, bytes);
            }
            NodeEffect::Dial { link, address, expected } => {
                peers::dial(&host, link, address, expected);
            }
            NodeEffect::Close { link } => self.links.close(link),
            NodeEffect::Call { link, priority, message, patience } => spawn(async move {
                let answer = host.links.ask(&host, link, priority, message, patience).await;
                host.tell_node(id, NodeEvent::Answered(answer));
            }),
        }
    }

    /// Tells the node what became of one of its effects.
    pub fn tell_node(self: &Arc<Self>, id: EffectId, event: NodeEvent) {
        let now = self.clock.now();
        self.with_node(|node| node.handle_event(now, id, event));
        self.nudge();
    }

    /// Wakes the node's loop: it may want to be called earlier than it did.
    pub fn nudge(&self) {
        // Full means that the loop has been told already.
        let _ = self.nudge.0.try_send(());
    }

    /// Steps the node when its time has come, for ever.
    pub async fn run_node(self: Arc<Self>) {
        loop {
            let next = self.with_node(|node| {
                node.handle_timeout(self.clock.now());
                node.poll_timeout()
            });
            let timeout = async {
                timer(self.clock, next.map(|(at, _reason)| at)).await;
            };
            let nudged = async {
                self.nudge.1.recv().await.expect("the host holds the other end");
            };
            timeout.or(nudged).await;
        }
    }
}

/// Drives a job of the node's. It counts as done even if it panics or is stopped, and the node starts it again when it is due.
async fn run_job(host: Arc<Host>, id: EffectId, task: Task) {
    struct Done(Arc<Host>, EffectId);
    impl Drop for Done {
        fn drop(&mut self) {
            let job = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
            if let Some(job) = job {
                job.detach();
            }
            self.0.tell_node(self.1, NodeEvent::Done);
        }
    }
    let done = Done(host, id);
    // A panic has been logged by then.
    drop(AssertUnwindSafe(drive::drive(&done.0, task, None)).catch_unwind().await);
}

/// Runs the executor on this thread for ever, whatever panics on it.
pub fn run_executor() {
    loop {
        // The task that has panicked is gone, and the panic is logged; the others go on.
        let run = AssertUnwindSafe(|| smol::block_on(EXECUTOR.run(future::pending::<()>())));
        drop(std::panic::catch_unwind(run));
    }
}
