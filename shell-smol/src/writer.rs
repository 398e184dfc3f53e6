//! The thread that commits: the one writer of the database.

use std::{io, sync::Arc, thread};

use mews_core::{
    block::files::{Files, Pin},
    effect::PeerError,
    id::Hash,
    store::{
        Batch, Outcome, Snapshot, StoreError, Table, group::Group, redb::Db, reserve::Reserve,
    },
    table::key,
};
use smol::channel::{self, Receiver, Sender};

/// Batches that wait for the writer. Each belongs to an effect under way, whose number is bounded by the requests in flight; a
/// queue as long as a group keeps the writer busy.
const QUEUE: usize = mews_core::store::group::GROUP_BATCHES_MAX;

/// The way to the writer's thread.
#[derive(Clone)]
pub struct Writer {
    queue: Sender<(Batch, Waiter)>,
    reserve: Arc<Reserve>,
}

struct Waiter {
    done: Sender<Result<Outcome, StoreError>>,
    /// Kept until the commit is over, even if nobody waits for it any more: its batch makes the reference that the pin
    /// stands in for.
    _pin: Option<Pin>,
}

impl Writer {
    /// Starts the thread. The receiver learns of its end: with an error if the database has failed, with none when the last
    /// `Writer` is gone.
    pub fn start(
        db: Arc<Db>,
        files: Arc<Files>,
        reserve: Reserve,
    ) -> io::Result<(Self, Receiver<Option<StoreError>>)> {
        let (queue, batches) = channel::bounded(QUEUE);
        let (ended, end) = channel::bounded(1);
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            // A panic in the middle of a transaction leaves nothing to go on with.
            let _abort = crate::AbortOnPanic::new("the writer");
            let result = run(&db, &files, batches);
            // Nobody listening means that the process is ending anyway.
            drop(ended.try_send(result.err()));
        })?;
        Ok((Self { queue, reserve: Arc::new(reserve) }, end))
    }

    /// Commits a batch; done once it is durable.
    pub async fn commit(&self, batch: Batch, pin: Option<Pin>) -> Result<Outcome, PeerError> {
        self.reserve.admit(&batch)?;
        let (done, outcome) = channel::bounded(1);
        let closed = PeerError::Store(StoreError::Closed);
        if self.queue.send((batch, Waiter { done, _pin: pin })).await.is_err() {
            return Err(closed);
        }
        outcome.recv().await.map_err(|_| closed)?.map_err(PeerError::Store)
    }
}

/// Whether a row counts this block, as of now.
pub fn counted(db: &Db, block: Hash) -> Result<bool, StoreError> {
    let row = db.latest()?.get(Table::BlockCount, &key::block_count(block))?;
    Ok(row.is_some())
}

fn run(db: &Db, files: &Files, batches: Receiver<(Batch, Waiter)>) -> Result<(), StoreError> {
    let mut group = Group::default();
    while let Ok((batch, waiter)) = batches.recv_blocking() {
        group.push(batch, waiter);
        while !group.is_full()
            && let Ok((batch, waiter)) = batches.try_recv()
        {
            group.push(batch, waiter);
        }
        let committed = db.commit(group.batches());
        let waiters = group.finish();
        match committed {
            Ok(outcomes) => {
                let reaped = outcomes.iter().flatten().flat_map(reaped).copied();
                let reaped: Vec<Hash> = reaped.collect();
                for (waiter, outcome) in waiters.into_iter().zip(outcomes) {
                    // Who no longer waits was cancelled; the batch stands all the same.
                    drop(waiter.done.try_send(outcome));
                }
                // Before the next commit, which may refer to the same blocks again.
                if !reaped.is_empty()
                    && let Err(error) = files.unlink_reaped(&reaped, &|block| counted(db, block))
                {
                    log::warn!("cannot unlink blocks that nothing refers to: {error}");
                }
            }
            Err(error) => {
                for waiter in waiters {
                    drop(waiter.done.try_send(Err(error.clone())));
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

fn reaped(outcome: &Outcome) -> &[Hash] {
    match outcome {
        Outcome::Applied(applied) => &applied.reaped,
        Outcome::Refused { .. } => &[],
    }
}
