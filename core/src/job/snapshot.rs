//! Snapshots of the metadata: copies of the database, made while it serves.
//!
//! A copy of rows is worth what the blocks are worth that they name. So from the moment before it is made, a block that nothing
//! refers to any more is let go of only when no snapshot may name it: when each that was made before the block was dropped is
//! gone, or older than the hold that the operator has set. Each snapshot is a row of [`Table::Meta`] for that, written first.

use std::time::Duration;

use super::{Verdict, commit_local, remove, scan_local};
use crate::{
    effect::{PeerError, Shot},
    store::{Op, Table},
    table::{self, key},
    task::Cx,
    time::Timestamp,
    view::{Pace, View},
};

/// What the keys of snapshots begin with in [`Table::Meta`]; then when it was made.
const PREFIX: &[u8] = b"snapshot/";

/// Snapshots that are looked at: more than are ever kept.
const ROWS: usize = 2000;

/// By how much the clock of another node may be ahead of this one's: by its time a block was dropped before a snapshot.
const SKEW: Duration = Duration::from_secs(3600);

fn row_key(at: Timestamp) -> Vec<u8> {
    [PREFIX, &at.0.to_be_bytes()].concat()
}

/// When the snapshots were made that there are rows of, oldest first.
async fn rows(cx: Cx, view: &View) -> Result<Vec<Timestamp>, PeerError> {
    let until = key::after_prefix(PREFIX);
    let page = scan_local(cx, view, Table::Meta, PREFIX.to_vec(), until, ROWS).await?;
    let at = |(key, _): (Vec<u8>, _)| {
        let bytes = key.get(PREFIX.len()..)?.try_into().ok()?;
        Some(Timestamp(u64::from_be_bytes(bytes)))
    };
    Ok(page.rows.into_iter().filter_map(at).collect())
}

/// The snapshots that are there, oldest first.
///
/// # Errors
/// What the disk reports.
pub async fn list(cx: Cx) -> Result<Vec<Timestamp>, PeerError> {
    cx.snapshot(Shot::List).await
}

/// Makes a snapshot, and removes the oldest of those that are too many. Says when it was made, which is its name.
///
/// # Errors
/// [`PeerError::Busy`] if one is being made; what disk and database report.
pub async fn take(cx: Cx, view: &View) -> Result<Timestamp, PeerError> {
    let (at, kept) = (cx.now().wall, view.config.tuning.snapshots_kept);
    let value = table::encode(&());
    let op = Op::Merge { table: Table::Meta, key: row_key(at), value, inline: None };
    commit_local(cx, view, vec![op]).await?;
    let rest = match view.config.tuning.pace {
        Pace::Idle => 9,
        Pace::Normal => 1,
        Pace::Fast => 0,
    };
    match cx.snapshot(Shot::Take { at, rest }).await {
        Ok(_) => {}
        Err(error) => {
            commit_local(cx, view, vec![remove(Table::Meta, row_key(at))]).await?;
            return Err(error);
        }
    }
    prune(cx, view, at, kept).await?;
    Ok(at)
}

/// Removes all but the newest `kept`, and the rows of what is no longer there. Not of what came after `last`.
async fn prune(cx: Cx, view: &View, last: Timestamp, kept: u32) -> Result<(), PeerError> {
    let mut there = list(cx).await?;
    while there.len() > usize::try_from(kept).unwrap_or(usize::MAX) {
        there = cx.snapshot(Shot::Remove { at: there[0] }).await?;
    }
    let rows = rows(cx, view).await?.into_iter();
    let gone = rows.filter(|at| *at <= last && !there.contains(at));
    let ops: Vec<Op> = gone.map(|at| remove(Table::Meta, row_key(at))).collect();
    if ops.is_empty() { Ok(()) } else { commit_local(cx, view, ops).await }
}

/// Removes the snapshots that are more than `kept`.
///
/// # Errors
/// What disk and database report.
pub async fn tidy(cx: Cx, view: &View, kept: u32) -> Result<(), PeerError> {
    let now = cx.now().wall;
    // Where some are kept, the row of one that is being made stays: it has no file yet.
    let last = if kept == 0 { now } else { now.before(Duration::from_secs(24 * 3600)) };
    prune(cx, view, last, kept).await
}

/// Makes the snapshot that is due.
pub(super) async fn run(cx: Cx, view: &View) -> Result<Verdict, PeerError> {
    let now = cx.now().wall;
    let known = rows(cx, view).await?;
    let due = view.config.snapshot_interval.is_some_and(|every| {
        // Also if the clock went back behind the last.
        known.last().is_none_or(|last| now < *last || now >= last.after(every))
    });
    if !due || view.config.tuning.snapshots_kept == 0 {
        return Ok(Verdict::Done);
    }
    match take(cx, view).await {
        Ok(_) | Err(PeerError::Busy) => Ok(Verdict::Done),
        Err(error) => Err(error),
    }
}

/// What snapshots keep from being let go of.
pub(super) struct Hold {
    /// Of those that hold blocks, when they were made.
    snapshots: Vec<Timestamp>,
    hold: Duration,
}

impl Hold {
    /// As things are now.
    pub(super) async fn load(cx: Cx, view: &View) -> Result<Self, PeerError> {
        let (now, hold) = (cx.now().wall, view.config.tuning.snapshot_hold);
        let mut snapshots = rows(cx, view).await?;
        snapshots.retain(|at| now < at.after(hold));
        Ok(Self { snapshots, hold })
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.snapshots.is_empty()
    }

    /// Until when a block stays that nothing refers to since `dropped`; `None` if it need not stay. One of which that is not
    /// known was dropped by a release that had no snapshots.
    pub(super) fn of(&self, dropped: Option<Timestamp>) -> Option<Timestamp> {
        let before = dropped?.after(SKEW);
        let named = |at: &&Timestamp| **at < before;
        // What was made last is held longest.
        self.snapshots.iter().filter(named).max().map(|at| at.after(self.hold))
    }
}
