//! The queue: works off what is due, oldest first.

use std::time::Duration;

use super::{
    PAGE, Verdict,
    collect::{self, Tombstone},
    commit_local, data, remove, rest, scan_local,
    snapshot::Hold,
    upload,
    void::{self, Listed},
};
use crate::{
    effect::PeerError,
    flow::Window,
    id::{Hash, Position, VersionId},
    node::pace::Work,
    quorum,
    store::{Op, StoreError, Table},
    table::{self, block::BlockCountRow, key, queue::Job},
    task::Cx,
    time::Timestamp,
    view::View,
};

/// Jobs under way at a time: enough to share commits, few enough that their pages (256 rows of some 100 bytes each) stay
/// small.
const WINDOW: usize = 8;

/// A job that could not reach somebody, or whose disk failed, is tried again after this.
const RETRY: Duration = Duration::from_secs(60);

/// A job that met a damaged row is tried again after this: somebody may have repaired it.
const RETRY_DAMAGED: Duration = Duration::from_secs(3600);

/// What waits for somebody else is looked at again after this at first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Data of a part that was sent again is looked at again after this at the latest, for as long as its upload is open.
const WHILE_OPEN: Duration = Duration::from_secs(3600);

/// A run says how it goes every so many jobs.
const TELL: u64 = 10_000;

/// How far a clock may be corrected before what it has queued counts as misdated.
const CLOCK_SLACK: Duration = Duration::from_secs(24 * 3600);

/// A row of the queue.
type Entry = (Vec<u8>, Job);

/// Works off everything that is due. A job that fails is put off, and does not keep the others; if not even that can be
/// committed, the row stays as it is and the run has failed.
pub(super) async fn run(cx: Cx, view: &View) -> Result<Verdict, PeerError> {
    let now = cx.now().wall;
    let due =
        range(cx, view, Vec::new(), Some(key_at(now.after(Duration::from_millis(1))))).await?;
    // Nothing is ever queued for so late, unless by a clock that was wrong. It would wait for as long as it was wrong by.
    let config = &view.config;
    let longest = config.tombstone_delay.max(config.block_delay).max(collect::RETRY_MAX);
    let longest = longest.max(config.tuning.snapshot_hold);
    let beyond = now.after(longest).after(CLOCK_SLACK);
    Ok(due.and(range(cx, view, key_at(beyond), None).await?))
}

/// The queue's rows are ordered by due time.
fn key_at(due: Timestamp) -> Vec<u8> {
    due.0.to_be_bytes().to_vec()
}

/// How much longer to wait for what has been waited for since then: half as long again, so that a short outage does not last and
/// a long one costs little.
pub(super) fn patience(now: Timestamp, since: Timestamp, longest: Duration) -> Duration {
    let waited = Duration::from_millis(now.0.saturating_sub(since.0));
    (waited / 2).clamp(PATIENCE, longest)
}

/// Works off a range of the queue.
async fn range(
    cx: Cx,
    view: &View,
    mut from: Vec<u8>,
    until: Option<Vec<u8>>,
) -> Result<Verdict, PeerError> {
    let mut verdict = Verdict::Done;
    let mut seen = 0_u64;
    loop {
        let began = cx.now().mono;
        let page = scan_local(cx, view, Table::Queue, from, until.clone(), PAGE).await?;
        let before = seen;
        seen += page.rows.len() as u64;
        // A long queue is worth a line now and then; the everyday ones are not.
        if seen / TELL > before / TELL {
            log::info!("queue: {seen} jobs taken up in this run, and more are due");
        }
        let (mut reaps, mut tombstones, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (row_key, value) in page.rows {
            match table::decode::<Job>(Table::Queue, &value) {
                Ok(Job::Reap { block }) => reaps.push((row_key, block)),
                Ok(Job::Collect { table, key, value, since }) => {
                    tombstones.push(Tombstone { table, key, value, since, queued: row_key });
                }
                Ok(job) => others.push((row_key, job)),
                Err(error) => {
                    // It cannot be put off, only left where it is.
                    log::error!("queued job {}: {error}", hex::encode(&row_key));
                    verdict = Verdict::Failed;
                }
            }
        }
        reap(cx, view, reaps).await?;
        forget(cx, view, tombstones).await?;
        side_by_side(cx, view, others).await?;
        let Some(next) = page.next else { return Ok(verdict) };
        from = next;
        rest(cx, Work::Owed, began, 1).await;
    }
}

/// Forgets blocks, all in one transaction. One that fails is found by trying each alone.
async fn reap(cx: Cx, view: &View, entries: Vec<(Vec<u8>, Hash)>) -> Result<(), PeerError> {
    let entries = unheld(cx, view, entries).await?;
    if entries.is_empty() {
        return Ok(());
    }
    let ops = |(row_key, block): &(Vec<u8>, Hash)| {
        [Op::Reap { block: *block }, remove(Table::Queue, row_key.clone())]
    };
    match commit_local(cx, view, entries.iter().flat_map(ops).collect()).await {
        Err(PeerError::Store(StoreError::Damaged { .. })) => {}
        done => return done,
    }
    for entry in entries {
        if let Err(error) = commit_local(cx, view, ops(&entry).to_vec()).await {
            let (row_key, block) = entry;
            put_off(cx, view, row_key, Job::Reap { block }, error).await?;
        }
    }
    Ok(())
}

/// Those of the blocks that no snapshot may name. The others are put off.
async fn unheld(
    cx: Cx,
    view: &View,
    entries: Vec<(Vec<u8>, Hash)>,
) -> Result<Vec<(Vec<u8>, Hash)>, PeerError> {
    if entries.is_empty() {
        return Ok(entries);
    }
    let hold = Hold::load(cx, view).await?;
    if hold.is_empty() {
        return Ok(entries);
    }
    let keys = entries.iter().map(|(_, block)| (Table::BlockCount, key::block_count(*block)));
    let counts = quorum::get_local(cx, view, keys.collect()).await?;
    let (mut free, mut ops) = (Vec::new(), Vec::new());
    for ((row_key, block), count) in entries.into_iter().zip(counts) {
        let count = count.map(|value| table::decode::<BlockCountRow>(Table::BlockCount, &value));
        // A row that does not decode is for the transaction to refuse.
        let dropped = count.and_then(Result::ok).and_then(|row| row.dropped);
        match hold.of(dropped) {
            Some(due) => {
                ops.push(remove(Table::Queue, row_key));
                ops.push(Op::Enqueue { due, job: Job::Reap { block } });
            }
            None => free.push((row_key, block)),
        }
    }
    if !ops.is_empty() {
        commit_local(cx, view, ops).await?;
    }
    Ok(free)
}

/// Forgets tombstones, by the page. One that fails is found by trying each alone.
async fn forget(cx: Cx, view: &View, tombstones: Vec<Tombstone>) -> Result<(), PeerError> {
    match collect::collect(cx, view, tombstones.clone()).await {
        Err(PeerError::Store(StoreError::Damaged { .. })) => {}
        done => return done,
    }
    for tombstone in tombstones {
        if let Err(error) = collect::collect(cx, view, vec![tombstone.clone()]).await {
            put_off(cx, view, tombstone.queued.clone(), tombstone.job(), error).await?;
        }
    }
    Ok(())
}

async fn side_by_side(cx: Cx, view: &View, entries: Vec<Entry>) -> Result<(), PeerError> {
    let mut window = Window::new(WINDOW);
    for (row_key, job) in entries {
        let alone =
            matches!(job, Job::DropUpload { .. } | Job::DropPart { .. } | Job::TidyUpload { .. });
        // Two jobs about one upload must not meet.
        while window.is_full() || (alone && !window.is_empty()) {
            window.next().await.expect("not empty")?;
        }
        window.push(Box::pin(one(cx, view, row_key, job)));
        if alone {
            window.next().await.expect("just pushed")?;
        }
    }
    while let Some(done) = window.next().await {
        done?;
    }
    Ok(())
}

/// Whether this node alone decides about a position. Of one that it does not hold any more it may know what its only holder has never
/// heard of, because it was never acknowledged.
fn decides(view: &View, position: Position) -> bool {
    quorum::is_sole(view, position) && view.ring.holds(view.node, position)
}

/// Does a job and strikes it off, or puts it off. An error is one of the database.
async fn one(cx: Cx, view: &View, row_key: Vec<u8>, mut job: Job) -> Result<(), PeerError> {
    let mut again = None;
    let done = match &mut job {
        Job::DropData { position, data: id, unless: _ } if decides(view, *position) => {
            void::drop_sole(cx, view, Listed { position: *position, id: *id }).await
        }
        Job::DropUpload { position, upload, unless: _ } if decides(view, *position) => {
            upload::drop_upload(cx, view, *position, *upload).await
        }
        Job::DropPart { position, data, .. } if decides(view, *position) => {
            data::drop_data(cx, view, *position, *data).await
        }
        Job::DropPart { position, upload, data, since } => {
            let done = upload::drop_part(cx, view, *position, *upload, *data).await;
            done.map(|done| {
                if !done {
                    let now = cx.now().wall;
                    let since = *since.get_or_insert(now);
                    again = Some(patience(now, since, WHILE_OPEN));
                }
            })
        }
        Job::DropUpload { position, upload, unless: None } => {
            void::drop_aborted(cx, view, Listed { position: *position, id: *upload }).await
        }
        Job::DropData { position, data: id, unless }
        | Job::DropUpload { position, upload: id, unless } => {
            let listed = Listed { position: *position, id: *id };
            void::drop_listed(cx, view, listed, unless.as_deref()).await
        }
        Job::TidyUpload { position, upload } => {
            let done = upload::tidy_upload(cx, view, *position, *upload).await;
            done.map(|done| {
                if !done {
                    again = Some(patience(cx.now().wall, upload.stamp().wall(), WHILE_OPEN));
                }
            })
        }
        Job::Collect { .. } => panic!("tombstones are collected by the page"),
        Job::Reap { .. } => panic!("blocks are reaped by the page"),
        Job::Fetch { .. } => panic!("blocks to be fetched are in a table of their own"),
    };
    match done {
        Ok(()) => {
            let mut ops = vec![remove(Table::Queue, row_key)];
            ops.extend(again.map(|wait| Op::Enqueue { due: cx.now().wall.after(wait), job }));
            commit_local(cx, view, ops).await
        }
        Err(error) => put_off(cx, view, row_key, job, error).await,
    }
}

/// Gives a failed job a later due time. If the database itself fails, that is the run's failure.
async fn put_off(
    cx: Cx,
    view: &View,
    row_key: Vec<u8>,
    job: Job,
    error: PeerError,
) -> Result<(), PeerError> {
    let now = cx.now().wall;
    let wait = match &error {
        PeerError::Store(StoreError::Engine(_) | StoreError::Closed) => return Err(error),
        PeerError::Store(StoreError::Damaged { .. }) => {
            log::error!("{job:?}: {error}; left for {} s", RETRY_DAMAGED.as_secs());
            RETRY_DAMAGED
        }
        // Somebody is away: the status says who. What is to be done can wait, for weeks if need be.
        PeerError::Unreachable
        | PeerError::TimedOut
        | PeerError::Busy
        | PeerError::Outdated
        | PeerError::Syncing => {
            let wait = upload_of(&job).map_or(RETRY, |upload| {
                // Needs every holder. When it was asked for first is not known, but it was after the upload began.
                patience(now, upload.stamp().wall(), WHILE_OPEN)
            });
            log::debug!("{job:?} waits {} s: {error}", wait.as_secs());
            wait
        }
        PeerError::Malformed
        | PeerError::Missing
        | PeerError::Corrupt
        | PeerError::Full
        | PeerError::Disk(_) => {
            log::error!("{job:?}: {error}; to be tried again in {} s", RETRY.as_secs());
            RETRY
        }
    };
    let due = now.after(wait);
    let ops = vec![remove(Table::Queue, row_key), Op::Enqueue { due, job }];
    commit_local(cx, view, ops).await
}

/// The upload that a job is about.
fn upload_of(job: &Job) -> Option<VersionId> {
    match job {
        Job::DropUpload { upload, .. }
        | Job::TidyUpload { upload, .. }
        | Job::DropPart { upload, .. } => Some(*upload),
        Job::DropData { .. } | Job::Collect { .. } | Job::Reap { .. } | Job::Fetch { .. } => None,
    }
}
