//! The world, as one process has it: clocks, the database, block files, and the node itself.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use mews_core::{
    effect::{Completion, Effect, PeerError},
    http::RequestHead,
    id::NodeId,
    s3,
    seed::Seed,
    store::{self, Answer, Read, redb::Db},
    task::Task,
    time::{Instant, Now, Timestamp},
    view::View,
};
use tokio::{sync::Semaphore, time};

use crate::{blocks::Blocks, writer::Writer};

/// The wall clock.
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is as good as none; signatures will say so.
    since.map_or(Timestamp(0), |since| {
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

/// The clocks. The monotonic one counts from the start of the process.
#[derive(Clone, Copy)]
pub struct Clock {
    origin: time::Instant,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self { origin: time::Instant::now() }
    }

    /// Both clocks.
    pub fn now(self) -> Now {
        Now { mono: self.mono(), wall: wall() }
    }

    /// The monotonic clock.
    pub fn mono(self) -> Instant {
        Instant::default().after(self.origin.elapsed())
    }

    /// The runtime's name for an instant.
    pub fn std(self, at: Instant) -> time::Instant {
        let since = at.since(Instant::default());
        // So far away that it never comes.
        let never = std::time::Duration::from_secs(30 * 365 * 86400);
        self.origin.checked_add(since).unwrap_or(self.origin + never)
    }
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
    /// What requests look at.
    pub view: Arc<View>,
    /// Where their randomness comes from.
    pub seed: Mutex<Seed>,
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

    /// Performs what takes microseconds, at once; gives back the rest.
    pub fn perform_now(&self, effect: Effect) -> Result<Completion, Effect> {
        match effect {
            Effect::Read { at, read: read @ (Read::Get(_) | Read::Object { .. }) }
                if at == self.id =>
            {
                Ok(Completion::Read(read_snapshot(&self.db, &read)))
            }
            other => Err(other),
        }
    }

    fn is_here(&self, at: NodeId) -> Result<(), PeerError> {
        if at == self.id { Ok(()) } else { Err(PeerError::Unreachable) }
    }

    async fn read(&self, read: Read) -> Result<Answer, PeerError> {
        let permit = Arc::clone(&self.scans).acquire_owned().await;
        let db = Arc::clone(&self.db);
        blocking(move || {
            let answer = read_snapshot(&db, &read);
            drop(permit);
            answer
        })
        .await?
    }

    /// The task of a request.
    pub fn admit(&self, head: RequestHead) -> Task {
        let view = Arc::clone(&self.view);
        Task::new("request", self.seed(), |cx| s3::serve::serve(cx, view, head))
    }

    /// A source of randomness for one task.
    pub fn seed(&self) -> Seed {
        self.seed.lock().unwrap_or_else(PoisonError::into_inner).child()
    }

    /// Counts a panic that cost a request its answer.
    pub fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}

fn read_snapshot(db: &Db, read: &Read) -> Result<Answer, PeerError> {
    let answer = db.snapshot().and_then(|snapshot| store::read::read(read, &snapshot));
    answer.map_err(PeerError::Store)
}

/// Runs something that blocks on a thread made for that.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PeerError> {
    // It fails if the work panicked, which is logged by then, or if the runtime is being shut down.
    let result = tokio::task::spawn_blocking(work).await;
    result.map_err(|_| PeerError::Disk("the work was not finished".to_owned()))
}
