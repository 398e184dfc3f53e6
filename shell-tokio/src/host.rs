//! The world, as one process has it: clocks, the database, block files, and the node itself.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
use tokio::{
    sync::{Notify, Semaphore},
    task::AbortHandle,
    time,
};

use crate::{
    blocks::Blocks,
    drive::{self, Client},
    peers::{self, Links},
    writer::Writer,
};

/// The runtime's name for an instant.
pub fn instant(clock: Clock, at: Instant) -> time::Instant {
    time::Instant::from_std(clock.std(at))
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
    /// How many scans and listings may be under way: each has a thread while it runs.
    pub scans: Arc<Semaphore>,
    /// Snapshots of the database.
    pub snapshots: Arc<Snapshots>,
    /// The node's machine. Locked for one step at a time, never across a wait.
    pub node: Mutex<Node>,
    /// The node's jobs that run.
    pub jobs: Mutex<BTreeMap<EffectId, AbortHandle>>,
    /// The connections to other nodes.
    pub links: Links,
    /// Who this node is, to others.
    pub identity: Identity,
    /// Writes the node's small files. Set once, before the node runs.
    pub saver: OnceLock<Saver>,
    /// Places for effects that go on after the end of their task.
    pub detached: Arc<Semaphore>,
    /// Wakes the node's loop: it has changed.
    pub nudge: Notify,
    /// Set when the process is about to end: jobs that are cut off then have not failed.
    pub stopping: AtomicBool,
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
                Completion::Snapshots(blocking(perform).await.and_then(|done| done))
            }
            Effect::Control(command) => {
                let now = self.clock.now();
                let report = self.with_node(|node| node.control(now, *command));
                self.nudge.notify_one();
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
        let permit = Arc::clone(&self.scans).acquire_owned().await;
        let db = Arc::clone(&self.db);
        blocking(move || {
            let answer = rows::read(&db, &read);
            drop(permit);
            answer
        })
        .await?
    }

    /// Serves a request to its end.
    pub async fn serve(self: &Arc<Self>, api: Api, head: RequestHead, client: Client) {
        struct Released<'a>(&'a Arc<Host>, Origin);
        impl Drop for Released<'_> {
            fn drop(&mut self) {
                let now = self.0.clock.now();
                self.0.with_node(|node| node.released(now, self.1));
            }
        }
        let now = self.clock.now();
        let task = self.with_node(|node| node.admit_to(api, now, head));
        // Also if the task panics.
        let _released = Released(self, task.origin());
        drive::drive(self, task, Some(client)).await;
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
                jobs.insert(id, tokio::spawn(run_job(host, id, task)).abort_handle());
            }
            NodeEffect::Stop(job) => {
                let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(job) = jobs.get(&job) {
                    job.abort();
                }
            }
            NodeEffect::Save { file, bytes } => {
                let saver = self.saver.get().expect("the host is started");
                saver.save(id, file, bytes);
            }
            NodeEffect::Dial { link, address, expected } => {
                peers::dial(&host, link, address, expected);
            }
            NodeEffect::Close { link } => self.links.close(link),
            NodeEffect::Call { link, priority, message, patience } => {
                drop(tokio::spawn(async move {
                    let answer = host.links.ask(&host, link, priority, message, patience).await;
                    host.tell_node(id, NodeEvent::Answered(answer));
                }));
            }
        }
    }

    /// Tells the node what became of one of its effects.
    pub fn tell_node(self: &Arc<Self>, id: EffectId, event: NodeEvent) {
        let now = self.clock.now();
        self.with_node(|node| node.handle_event(now, id, event));
        self.nudge.notify_one();
    }

    /// Steps the node when its time has come. Runs until it is dropped.
    pub async fn run_node(self: Arc<Self>) {
        loop {
            let next = self.with_node(|node| {
                node.handle_timeout(self.clock.now());
                node.poll_timeout()
            });
            let sleep = async {
                match next {
                    Some((at, _reason)) => time::sleep_until(instant(self.clock, at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = self.nudge.notified() => {}
            }
        }
    }
}

/// Drives a job of the node's; it counts as done even if it panics, and the node starts it again when it is due.
async fn run_job(host: Arc<Host>, id: EffectId, task: Task) {
    struct Done(Arc<Host>, EffectId);
    impl Drop for Done {
        fn drop(&mut self) {
            if self.0.stopping.load(Ordering::Relaxed) {
                return;
            }
            self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
            self.0.tell_node(self.1, NodeEvent::Done);
        }
    }
    let done = Done(host, id);
    drive::drive(&done.0, task, None).await;
}

/// Runs something that blocks on a thread made for that.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PeerError> {
    // It fails if the work panicked, which is logged by then, or if the runtime is being shut down.
    let result = tokio::task::spawn_blocking(work).await;
    result.map_err(|_| PeerError::Disk("the work was not finished".to_owned()))
}
