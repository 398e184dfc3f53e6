//! The world, as one process has it: clocks, the database, block files, and the node itself.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
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
use smol::{
    Executor, Timer,
    channel::{Receiver, Sender},
    future::{self, FutureExt},
    lock::Semaphore,
};

use crate::{blocks::Blocks, drive, workers::Workers, writer::Writer};

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
    /// Requests whose task has panicked.
    pub panics: AtomicU64,
    /// The node's machine. Locked for one step at a time, never across a wait.
    pub node: Mutex<Node>,
    /// The node's small files.
    pub state: State,
    /// Wakes the node's loop: a job has ended. One word is as good as many.
    pub nudge: (Sender<()>, Receiver<()>),
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

    /// Performs what takes microseconds, at once. `None` for everything else.
    pub fn perform_now(&self, effect: &Effect) -> Option<Completion> {
        match effect {
            Effect::Read { at, read: read @ (Read::Get(_) | Read::Object { .. }) }
                if *at == self.id =>
            {
                Some(Completion::Read(rows::read(&self.db, read)))
            }
            Effect::Read { .. }
            | Effect::Commit { .. }
            | Effect::StoreBlock { .. }
            | Effect::LoadBlock { .. }
            | Effect::Holds { .. }
            | Effect::Chore(_)
            | Effect::Open(_)
            | Effect::Pull { .. }
            | Effect::Collect { .. }
            | Effect::Respond { .. }
            | Effect::Send(_)
            | Effect::Cancel(_) => None,
        }
    }

    fn is_here(&self, at: NodeId) -> Result<(), PeerError> {
        if at == self.id { Ok(()) } else { Err(PeerError::Unreachable) }
    }

    async fn read(&self, read: Read) -> Result<Answer, PeerError> {
        let _permit = self.scans.acquire().await;
        let db = Arc::clone(&self.db);
        self.workers.run(move || rows::read(&db, &read)).await?
    }

    /// The task of a request. To be [released](Host::released) when it has ended.
    pub fn admit(self: &Arc<Self>, head: RequestHead) -> Task {
        let now = self.clock.now();
        self.with_node(|node| node.admit(now, head))
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
            NodeEffect::Run(task) => spawn(run_job(host, id, task)),
            NodeEffect::Save { file, bytes } => spawn(async move {
                let state = host.state.clone();
                let work = move || state.save(file, &bytes).map_err(|error| error.to_string());
                let saved = host.workers.run(work).await;
                let saved = saved.unwrap_or_else(|error| Err(error.to_string()));
                host.tell_node(id, NodeEvent::Saved(saved));
            }),
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

    /// Counts a panic that cost a request its answer.
    pub fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}

/// Drives a job of the node's. It counts as done even if it panics, and the node starts it again when it is due.
async fn run_job(host: Arc<Host>, id: EffectId, task: Task) {
    let driven = AssertUnwindSafe(drive::drive(&host, task, None)).catch_unwind().await;
    if driven.is_err() {
        host.count_panic();
    }
    host.tell_node(id, NodeEvent::Done);
}

/// Runs the executor on this thread for ever, whatever panics on it.
pub fn run_executor() {
    loop {
        // The task that has panicked is gone, and the panic is logged; the others go on.
        let run = AssertUnwindSafe(|| smol::block_on(EXECUTOR.run(future::pending::<()>())));
        drop(std::panic::catch_unwind(run));
    }
}
