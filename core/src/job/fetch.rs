//! Fetches blocks from other nodes: those that a new partition brings, those whose file is lost or damaged.
//!
//! [`Table::Fetch`] says which blocks to look at: hooks, the scrub, reads and repairs write it. A block that is needed here, and of
//! which there is no sound file, is fetched from the nearest node that has it. If none gives it, the block gets a row in
//! [`Table::BlockError`] and is tried again after a minute, then after two, and in the end every hour.

use std::{fmt::Write as _, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Verdict, commit_local, damaged, is_needed, pace::Slice, remove, scan_local};
use crate::{
    block::{
        Payload,
        chore::{Chore, ChoreReport, Soundness},
        seal,
    },
    effect::PeerError,
    flow::Window,
    id::{Hash, Position},
    quorum,
    store::{Batch, Guard, Op, Outcome, Read, Table},
    table::{self, block::BlockErrorRow, key, queue::Job},
    task::Cx,
    time::Timestamp,
    view::View,
};

/// From the first failure to the next try; doubled with each further failure.
pub(super) const RETRY: Duration = Duration::from_secs(60);

/// The longest wait between two tries.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(3600);

/// Blocks between two rests and two commits of the progress.
const PAGE: usize = 64;

/// The row in [`Table::Meta`] that says how fetching goes.
pub(super) const KEY: &[u8] = b"fetched";

/// How fetching goes: the value of the row at [`KEY`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FetchedRow {
    /// When the queue was last found empty and then had something again; what follows counts from there.
    #[serde(rename = "s")]
    pub since: Timestamp,
    /// Blocks that were looked at.
    #[serde(rename = "c")]
    pub checked: u64,
    /// Those of them that were fetched.
    #[serde(rename = "f")]
    pub fetched: u64,
    /// Their plain bytes.
    #[serde(rename = "b")]
    pub bytes: u64,
}

/// Looks at the blocks that are queued, for as long as a run may take.
pub(super) async fn run(cx: Cx, view: &View) -> Result<Verdict, PeerError> {
    let slice = Slice::begin(cx, view);
    revive(cx, view, slice).await?;
    let mut from = Vec::new();
    let mut progress = load(cx, view).await?;
    loop {
        let began = cx.now().mono;
        let page = scan_local(cx, view, Table::Fetch, from, None, PAGE).await?;
        if !page.rows.is_empty() {
            if progress.checked == 0 {
                progress.since = cx.now().wall;
            }
            let worked = side_by_side(cx, view, slice, page.rows, &mut progress).await;
            save(cx, view, &progress).await?;
            worked?;
        }
        match page.next {
            Some(_) if slice.is_over(cx) => return Ok(Verdict::Paused),
            Some(next) => from = next,
            None => break,
        }
        slice.rest(cx, began).await;
    }
    end_of_queue(cx, view, progress).await?;
    Ok(Verdict::Done)
}

/// Says what has been done, once there is nothing left.
async fn end_of_queue(cx: Cx, view: &View, progress: FetchedRow) -> Result<(), PeerError> {
    let counts = Read::Count(vec![Table::Fetch]);
    let left = quorum::read_local(cx, view, counts).await?.into_counts();
    let FetchedRow { checked, fetched, bytes, .. } = progress;
    if checked == 0 || left != [0] {
        return Ok(());
    }
    log::info!("fetch: {checked} blocks looked at, {fetched} of them ({bytes} bytes) fetched");
    commit_local(cx, view, vec![remove(Table::Meta, KEY.to_vec())]).await
}

/// How fetching goes; all zeros while nothing is queued.
pub(super) async fn load(cx: Cx, view: &View) -> Result<FetchedRow, PeerError> {
    let mut values = quorum::get_local(cx, view, vec![(Table::Meta, KEY.to_vec())]).await?;
    let Some(value) = values.pop().flatten() else { return Ok(FetchedRow::default()) };
    Ok(table::decode(Table::Meta, &value).unwrap_or_else(|error| {
        log::warn!("fetch: {error}; counting from here");
        FetchedRow::default()
    }))
}

async fn save(cx: Cx, view: &View, row: &FetchedRow) -> Result<(), PeerError> {
    let (key, value) = (KEY.to_vec(), table::encode(row));
    commit_local(cx, view, vec![Op::Merge { table: Table::Meta, key, value, inline: None }]).await
}

/// Queues the blocks again whose waiting time after a failure is over. While many blocks cannot be fetched, each look at them
/// costs a read of all their rows: some 200 bytes for each, and the slice's rest after each page.
async fn revive(cx: Cx, view: &View, slice: Slice) -> Result<(), PeerError> {
    let mut from = Vec::new();
    loop {
        let began = cx.now().mono;
        let page = scan_local(cx, view, Table::BlockError, from, None, super::PAGE).await?;
        let now = cx.now().wall;
        let mut ops = Vec::new();
        for (row_key, value) in page.rows {
            let block = Hash::from_slice(&row_key);
            let block = block.ok_or_else(|| damaged(Table::BlockError, &row_key))?;
            let row = table::decode::<BlockErrorRow>(Table::BlockError, &value);
            let mut row = row.map_err(PeerError::Store)?;
            // A date beyond the longest wait is from a clock that was wrong.
            if row.next > now && row.next <= now.after(RETRY_MAX) {
                continue;
            }
            row.next = now.after(backoff(row.errors));
            let value = table::encode(&row);
            ops.push(Op::Merge { table: Table::BlockError, key: row_key, value, inline: None });
            ops.push(Op::Enqueue { due: now, job: Job::Fetch { block } });
        }
        if !ops.is_empty() {
            commit_local(cx, view, ops).await?;
        }
        let Some(next) = page.next else { return Ok(()) };
        from = next;
        slice.rest(cx, began).await;
    }
}

/// How long a block waits after it has failed so many times in a row.
pub(super) fn backoff(errors: u32) -> Duration {
    RETRY.saturating_mul(1 << errors.saturating_sub(1).min(16)).min(RETRY_MAX)
}

async fn side_by_side(
    cx: Cx,
    view: &View,
    slice: Slice,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    progress: &mut FetchedRow,
) -> Result<(), PeerError> {
    let mut window = Window::new(slice.window());
    let mut count = |looked: Looked| {
        progress.checked += 1;
        if let Looked::Fetched { len } = looked {
            progress.fetched += 1;
            progress.bytes += u64::from(len);
        }
    };
    for (row_key, value) in rows {
        if window.is_full() {
            count(window.next().await.expect("a full window is not empty")?);
        }
        if slice.is_over(cx) {
            break;
        }
        window.push(one(cx, view, row_key, value));
    }
    while let Some(looked) = window.next().await {
        count(looked?);
    }
    Ok(())
}

/// What came of a look at a block.
enum Looked {
    /// Nothing here refers to it.
    NotNeeded,
    /// Its file is there and sound.
    Sound,
    /// It was fetched, so many plain bytes, and stored with the row struck off.
    Fetched { len: u32 },
    /// No node gave it; why, for people.
    Failed { reason: String },
}

/// Looks at a block and strikes it off the queue. An error is one of the database, or a full disk: the run's failure.
async fn one(cx: Cx, view: &View, row_key: Vec<u8>, value: Vec<u8>) -> Result<Looked, PeerError> {
    let block = Hash::from_slice(&row_key).ok_or_else(|| damaged(Table::Fetch, &row_key))?;
    let began = cx.now().mono;
    let looked = look(cx, view, block, &value).await?;
    note(view, &looked, cx.now().mono.since(began));
    match &looked {
        Looked::NotNeeded | Looked::Sound => {
            cx.commit(view.node, struck_off(cx, block, value)).await?;
        }
        Looked::Fetched { .. } => {}
        Looked::Failed { reason } => fail(cx, view, block, value, reason).await?,
    }
    Ok(looked)
}

/// Counts a look.
fn note(view: &View, looked: &Looked, took: Duration) {
    let fetches = &view.metrics.fetches;
    fetches.looked_at.increment();
    fetches.duration.took(took);
    match looked {
        Looked::NotNeeded | Looked::Sound => {}
        Looked::Fetched { .. } => fetches.fetched.increment(),
        Looked::Failed { .. } => fetches.failed.increment(),
    }
}

/// Takes a block off the queue and off the list of errors, unless it was queued anew in the meantime.
fn struck_off(cx: Cx, block: Hash, value: Vec<u8>) -> Batch {
    let key = key::block_count(block);
    let ops = vec![remove(Table::Fetch, key.clone()), remove(Table::BlockError, key.clone())];
    let unchanged = Guard::Unchanged { table: Table::Fetch, key, value };
    Batch::new(cx.now().wall, ops).guarded(unchanged)
}

async fn look(cx: Cx, view: &View, block: Hash, value: &[u8]) -> Result<Looked, PeerError> {
    if !is_needed(cx, view, block).await? {
        return Ok(Looked::NotNeeded);
    }
    let mut damaged = false;
    match cx.chore(Chore::Verify(block)).await {
        Ok(ChoreReport::Checked(Soundness::Sound)) => return Ok(Looked::Sound),
        Ok(ChoreReport::Checked(Soundness::Damaged)) => damaged = true,
        Ok(ChoreReport::Checked(Soundness::Missing)) => {}
        Ok(other) => panic!("the block store answered Verify with {other:?}"),
        // The disk does not give the file back: another one takes its place.
        Err(PeerError::Disk(reason)) => log::error!("block {block}: {reason}"),
        Err(error) => return Err(error),
    }
    if !view.ring.holds(view.node, Position::of_block(block)) {
        // Struck off, it would be missing if a layout gave its partition back before the reference is let go.
        let reason = "its partition is other nodes' now; it will be let go when they have it";
        return Ok(Looked::Failed { reason: reason.to_owned() });
    }
    let payload = match from_peers(cx, view, block).await {
        Ok(payload) => payload,
        Err(reason) => return Ok(Looked::Failed { reason }),
    };
    let len = payload.len();
    // If nobody needs it any more by now, its file is an orphan, and found as one.
    let held = Guard::Held { block };
    let then = struck_off(cx, block, value.to_vec()).guarded(held);
    match cx.store_block(view.node, as_configured(view, payload), then).await {
        Ok(Outcome::Applied(_)) => {
            if damaged && let Err(error) = cx.chore(Chore::Verify(block)).await {
                // Here the damaged file would have gone; the scrub comes by again.
                log::warn!("block {block}, just fetched: {error}");
            }
            Ok(Looked::Fetched { len })
        }
        Ok(Outcome::Refused { .. }) => Ok(Looked::Fetched { len: 0 }),
        // One directory of several may fail.
        Err(PeerError::Disk(reason)) => Ok(Looked::Failed { reason }),
        Err(error) => Err(error),
    }
}

/// The block, from the likeliest node that gives it; or why none does. A node that finds its own copy damaged or missing sees
/// to that itself.
async fn from_peers(cx: Cx, view: &View, block: Hash) -> Result<Payload, String> {
    let mut reason = String::new();
    for node in view.ring.sources(Position::of_block(block)) {
        if node == view.node {
            continue;
        }
        let down = view.peers.get(&node).is_some_and(|peer| !peer.up);
        let loaded =
            if down { Err(PeerError::Unreachable) } else { cx.load_block(node, block).await };
        match loaded {
            Ok(payload) => return Ok(payload),
            Err(error) => {
                let comma = if reason.is_empty() { "" } else { ", " };
                write!(reason, "{comma}{node:?}: {error}").expect("text grows");
            }
        }
    }
    Err(if reason.is_empty() { "no other node holds it".to_owned() } else { reason })
}

/// The block compressed as this node stores blocks, if it came without.
fn as_configured(view: &View, payload: Payload) -> Payload {
    match (payload.plain(), view.config.compression) {
        (Some(plain), level @ Some(_)) => seal::seal(plain, level),
        (Some(_), None) | (None, _) => payload,
    }
}

/// Moves a block from the queue to the list of errors.
async fn fail(
    cx: Cx,
    view: &View,
    block: Hash,
    value: Vec<u8>,
    reason: &str,
) -> Result<(), PeerError> {
    let row_key = key::block_count(block);
    let keys = vec![(Table::BlockError, row_key.clone())];
    let before = quorum::get_local(cx, view, keys).await?.pop().flatten();
    let before = before.and_then(|value| {
        // Damaged, it is written anew.
        table::decode::<BlockErrorRow>(Table::BlockError, &value).ok()
    });
    let now = cx.now().wall;
    let errors = before.as_ref().map_or(0, |row| row.errors).saturating_add(1);
    let wait = backoff(errors);
    let level = if view.ring.holds(view.node, Position::of_block(block)) {
        log::Level::Error
    } else {
        log::Level::Debug
    };
    log::log!(level, "block {block}: {reason}; to be tried again in {} s", wait.as_secs());
    let row = BlockErrorRow {
        errors,
        first: before.map_or(now, |row| row.first),
        last: now,
        next: now.after(wait),
        reason: reason.to_owned(),
    };
    let error = Op::Merge {
        table: Table::BlockError,
        key: row_key.clone(),
        value: table::encode(&row),
        inline: None,
    };
    let ops = vec![remove(Table::Fetch, row_key.clone()), error];
    let unchanged = Guard::Unchanged { table: Table::Fetch, key: row_key, value };
    cx.commit(view.node, Batch::new(now, ops).guarded(unchanged)).await?;
    Ok(())
}
