//! Background work: what hooks have queued, and what has to be looked after from time to time.
//!
//! Each job is a flow of its own, driven like a request. A job may be broken off at any moment, by a crash or a stop, and is
//! simply run again: every step is idempotent, and leaves rows that lead to what is still to be done. What a job holds in
//! memory is bounded by a page, whatever the store holds. Jobs yield to requests: after each page they rest for as
//! long as [`crate::node::pace`] says, which measures how long requests wait.
//!
//! When which job runs is decided by [`crate::node`].

pub mod blocks;
mod collect;
mod data;
mod fetch;
mod intents;
pub mod offload;
mod orphans;
mod pace;
pub mod purge;
mod queue;
pub mod repair;
pub mod scrub;
pub mod snapshot;
mod sync;
#[cfg(test)]
mod tests;
mod upload;
mod uploads;
pub mod variables;
mod void;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::{
    effect::PeerError,
    id::{Hash, Position},
    node::{
        control::{Command, Report},
        pace::{Ask, Turn, Work},
    },
    quorum,
    seed::Seed,
    store::{Batch, Op, Outcome, Read, StoreError, Table},
    table::{self, block::BlockCountRow, key},
    task::{Cx, Reason, Task},
    time::Instant,
    view::View,
};

/// The kinds of background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    /// What is due in [`Table::Queue`].
    Queue,
    /// Data whose writer is gone.
    Intents,
    /// Open uploads of deleted buckets.
    Uploads,
    /// Block files that no row counts.
    Orphans,
    /// Reads blocks back before a disk forgets them.
    Scrub,
    /// Blocks that are missing or damaged here: what is in [`Table::Fetch`].
    Fetch,
    /// Rows that other replicas have and this one lacks.
    Sync,
    /// Rows and blocks of partitions that are others' now.
    Offload,
    /// Repairs that an operator has launched, or that launch themselves.
    Repair,
    /// Snapshots of the metadata, where they are made by themselves.
    Snapshot,
}

impl Job {
    /// Its name in logs and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Intents => "intents",
            Self::Uploads => "uploads",
            Self::Orphans => "orphans",
            Self::Scrub => "scrub",
            Self::Fetch => "fetch",
            Self::Sync => "sync",
            Self::Offload => "offload",
            Self::Repair => "repair",
            Self::Snapshot => "snapshot",
        }
    }

    /// The job as a task, and where it leaves its verdict. A task that ends without one has panicked.
    pub fn task(self, view: Arc<View>, seed: Seed) -> (Task, Slot) {
        let slot = Slot::default();
        let result = Arc::clone(&slot);
        let task = Task::new(self.name(), seed, |cx| async move {
            let verdict = match self {
                Self::Queue => queue::run(cx, &view).await,
                Self::Intents => intents::run(cx, &view).await,
                Self::Uploads => uploads::run(cx, &view).await,
                Self::Orphans => orphans::run(cx, &view).await,
                Self::Scrub => scrub::run(cx, &view).await,
                Self::Fetch => fetch::run(cx, &view).await,
                Self::Sync => sync::run(cx, &view).await,
                Self::Offload => offload::run(cx, &view).await,
                Self::Repair => repair::run(cx, &view).await,
                Self::Snapshot => snapshot::run(cx, &view).await,
            };
            let ended = match verdict {
                Ok(verdict) => Ended { verdict, error: None },
                Err(error) => {
                    log::error!("{}: {error}", self.name());
                    Ended { verdict: Verdict::Failed, error: Some(error.to_string()) }
                }
            };
            slot.set(ended).expect("a job ends once");
        });
        (task, result)
    }
}

/// What became of a job's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All that there was to do is done.
    Done,
    /// Something is left; it is to be tried again, not at once.
    Failed,
    /// Something is left; it is to go on at once, with the newest view.
    Paused,
    /// [`Job::Sync`] only: this node's database has all that the node is to have under this version of the layout, and says so
    /// in its [`SYNCED_KEY`](crate::store::SYNCED_KEY) row. For the layout's tracker this counts if every node had acknowledged
    /// that version before the run began: a writer that did not know it may have written past this node.
    Synced {
        /// The layout's version.
        version: u64,
    },
}

impl Verdict {
    /// Done if both are.
    fn and(self, other: Self) -> Self {
        match self {
            Self::Done | Self::Synced { .. } => other,
            Self::Failed | Self::Paused => self,
        }
    }
}

/// How a job's run has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What became of it.
    pub verdict: Verdict,
    /// What has broken it off. A run that came to its end and has left something has told of each in the log.
    pub error: Option<String>,
}

/// Where a job leaves how it has [`Ended`]; set once its task is done.
pub type Slot = Arc<OnceLock<Ended>>;

/// Rows that a job reads and changes at a time: a commit of these keeps the writer for some ten milliseconds, and no request
/// waits longer for its turn.
const PAGE: usize = 256;

/// Rests after what was begun at `began`, for as long as [`crate::node::pace`] says: where requests wait no longer than usual, and
/// the operator has said nothing, `times` as long as that has taken.
async fn rest(cx: Cx, work: Work, began: Instant, times: u32) {
    let taken = cx.now().mono.since(began).saturating_mul(times);
    let mut rested = Duration::ZERO;
    loop {
        let ask = Ask { work, took: taken, rested };
        let Turn { rest, again } = match cx.control(Command::Rest(ask)).await {
            Ok(Report::Rest(turn)) => turn,
            other => panic!("asked how long to rest, the node answered {other:?}"),
        };
        if !rest.is_zero() {
            cx.sleep(rest, Reason("yielding to requests")).await;
        }
        rested += rest;
        if !again {
            return;
        }
    }
}

/// The answer to a job that asks how long to rest: not at all.
#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm)]
pub(crate) fn unrested(command: Command) -> crate::effect::Completion {
    use crate::effect::Completion;

    match command {
        Command::Rest(_) => {
            let turn = Turn { rest: Duration::ZERO, again: false };
            Completion::Control(Ok(Report::Rest(turn)))
        }
        other => panic!("{other:?} is not a job's"),
    }
}

/// A page of a range of rows.
struct Page {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the next page begins, if there may be one.
    next: Option<Vec<u8>>,
}

impl Page {
    fn new(rows: Vec<(Vec<u8>, Vec<u8>)>, limit: usize) -> Self {
        let last = rows.last().filter(|_| rows.len() >= limit);
        // The least key greater than the last.
        let next = last.map(|(key, _)| [key, &[0][..]].concat());
        Self { rows, next }
    }
}

/// A page of this node's own rows.
async fn scan_local(
    cx: Cx,
    view: &View,
    table: Table,
    from: Vec<u8>,
    until: Option<Vec<u8>>,
    limit: usize,
) -> Result<Page, PeerError> {
    let read = Read::Scan { table, from, until, limit };
    Ok(Page::new(quorum::read_local(cx, view, read).await?.into_rows(), limit))
}

/// A page of rows at a position, of any of its replicas.
async fn scan(
    cx: Cx,
    view: &View,
    position: Position,
    table: Table,
    (from, until): (Vec<u8>, Option<Vec<u8>>),
    limit: usize,
) -> Result<Page, PeerError> {
    let read = Read::Scan { table, from, until, limit };
    Ok(Page::new(quorum::read(cx, view, position, read).await?.into_rows(), limit))
}

/// Changes this node's own rows, unconditionally.
async fn commit_local(cx: Cx, view: &View, ops: Vec<Op>) -> Result<(), PeerError> {
    match cx.commit(view.node, Batch::new(cx.now().wall, ops)).await? {
        Outcome::Applied(_) => Ok(()),
        Outcome::Refused { guard } => panic!("guard {guard} of a batch without guards"),
    }
}

/// Changes rows at a position, unconditionally.
async fn commit(cx: Cx, view: &View, position: Position, ops: Vec<Op>) -> Result<(), PeerError> {
    let batch = Batch::new(cx.now().wall, ops);
    match quorum::write(cx, view, position, batch).await? {
        Outcome::Applied(_) => Ok(()),
        Outcome::Refused { guard } => panic!("guard {guard} of a batch without guards"),
    }
}

/// Whether something here refers to the block.
async fn is_needed(cx: Cx, view: &View, block: Hash) -> Result<bool, PeerError> {
    let keys = vec![(Table::BlockCount, key::block_count(block))];
    let Some(value) = quorum::get_local(cx, view, keys).await?.pop().flatten() else {
        return Ok(false);
    };
    let row: BlockCountRow = table::decode(Table::BlockCount, &value).map_err(PeerError::Store)?;
    Ok(row.refs > 0)
}

fn remove(table: Table, key: Vec<u8>) -> Op {
    Op::Remove { table, key }
}

fn damaged(table: Table, key: &[u8]) -> PeerError {
    let reason = format!("malformed key {}", hex::encode(key));
    PeerError::Store(StoreError::Damaged { table, reason })
}
