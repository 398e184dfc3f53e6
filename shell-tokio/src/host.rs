//! The world, as one process has it: clocks, the database, block files, and the node itself.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use mews_core::{
    effect::{Completion, Effect, EffectId, PeerError},
    http::RequestHead,
    id::NodeId,
    node::{Node, NodeEffect, NodeEvent},
    rpc::Origin,
    store::{Answer, Read, redb::Db},
    task::Task,
    time::Instant,
};
use mews_host::{abort::AbortOnPanic, clock::Clock, place::State, rows};
use tokio::{
    sync::{Notify, Semaphore},
    time,
};

use crate::{
    blocks::Blocks,
    drive::{self, Client},
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
    /// Requests whose task has panicked.
    pub panics: AtomicU64,
    /// The node's machine. Locked for one step at a time, never across a wait.
    pub node: Mutex<Node>,
    /// The node's small files.
    pub state: State,
    /// Wakes the node's loop: a job has ended.
    pub nudge: Notify,
    /// Set when the process is about to end: jobs that are cut off then have not failed.
    pub stopping: AtomicBool,
}

impl Host {
    /// Performs an effect that needs no client.
    pub async fn perform(&self, effect: Effect) -> Completion {
        match effect {
            Effect::Read { at, read } => Completion::Read(match self.is_here(at) {
                Ok(()) => self.read(read).await,
                Err(error) => Err(error),
            }),
            Effect::Commit { at, batch } => Completion::Committed(match self.is_here(at) {
                Ok(()) => self.writer.commit(batch, None).await,
                Err(error) => Err(error),
            }),
            Effect::StoreBlock { at, block, then } => {
                Completion::Committed(match self.is_here(at) {
                    Ok(()) => self.blocks.store(block, then, &self.writer).await,
                    Err(error) => Err(error),
                })
            }
            Effect::LoadBlock { at, hash } => Completion::Loaded(match self.is_here(at) {
                Ok(()) => self.blocks.load(hash).await,
                Err(error) => Err(error),
            }),
            Effect::Holds { at, blocks } => Completion::Held(match self.is_here(at) {
                Ok(()) => self.blocks.holds(blocks).await,
                Err(error) => Err(error),
            }),
            Effect::Chore(chore) => {
                Completion::Chore(self.blocks.chore(chore, Arc::clone(&self.db)).await)
            }
            other @ (Effect::Open(_)
            | Effect::Pull { .. }
            | Effect::Collect { .. }
            | Effect::Respond { .. }
            | Effect::Send(_)
            | Effect::Cancel(_)) => panic!("{other:?} is the driver's"),
        }
    }

    /// Answers at once what takes microseconds to read; `None` for what may take longer.
    pub fn read_now(&self, at: NodeId, read: &Read) -> Option<Result<Answer, PeerError>> {
        match read {
            Read::Get(_) | Read::Object { .. } | Read::Count(_) if at == self.id => {
                Some(rows::read(&self.db, read))
            }
            Read::Get(_)
            | Read::Object { .. }
            | Read::Count(_)
            | Read::Scan { .. }
            | Read::List(_)
            | Read::Compare(_) => None,
        }
    }

    fn is_here(&self, at: NodeId) -> Result<(), PeerError> {
        if at == self.id { Ok(()) } else { Err(PeerError::Unreachable) }
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
    pub async fn serve(self: &Arc<Self>, head: RequestHead, client: Client) {
        struct Released<'a>(&'a Arc<Host>, Origin);
        impl Drop for Released<'_> {
            fn drop(&mut self) {
                let now = self.0.clock.now();
                self.0.with_node(|node| node.released(now, self.1));
            }
        }
        let now = self.clock.now();
        let task = self.with_node(|node| node.admit(now, head));
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
            NodeEffect::Run(task) => drop(tokio::spawn(run_job(host, id, task))),
            NodeEffect::Save { file, bytes } => drop(tokio::spawn(async move {
                let state = host.state.clone();
                let saved = blocking(move || state.save(file, &bytes).map_err(|e| e.to_string()));
                let saved = saved.await.unwrap_or_else(|error| Err(error.to_string()));
                host.tell_node(id, NodeEvent::Saved(saved));
            })),
            NodeEffect::Stop(_)
            | NodeEffect::Dial { .. }
            | NodeEffect::Close { .. }
            | NodeEffect::Call { .. } => {
                panic!("a node without contacts has no peers");
            }
        }
    }

    fn tell_node(self: &Arc<Self>, id: EffectId, event: NodeEvent) {
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

    /// Counts a panic that cost a request its answer.
    pub fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
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
