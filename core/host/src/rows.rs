//! The database: reading it, and the thread that is its one writer.

use std::{io, sync::Arc, thread, time::Instant};

use mews_core::{
    block::files::Files,
    effect::PeerError,
    id::Hash,
    store::{
        self, Answer, Batch, Outcome, Read, Snapshot, StoreError, Table, group::Group, redb::Db,
    },
    table::key,
};

use crate::{abort::AbortOnPanic, queue::Queue};

/// Batches that wait for the writer. Each belongs to an effect under way, whose number is bounded by the requests in flight; a
/// queue as long as a group keeps the writer busy.
pub const QUEUE: usize = store::group::GROUP_BATCHES_MAX;

/// Reads what is committed. It blocks: for microseconds, but for scans and listings.
///
/// # Errors
/// [`PeerError::Store`]: the database does.
pub fn read(db: &Db, read: &Read) -> Result<Answer, PeerError> {
    db.metrics().read(read);
    let answer = db.latest().and_then(|snapshot| store::read::read(read, &*snapshot));
    answer.map_err(PeerError::Store)
}

/// Whether a row counts this block, as of now.
///
/// # Errors
/// The database's.
pub fn counted(db: &Db, block: Hash) -> Result<bool, StoreError> {
    let row = db.latest()?.get(Table::BlockCount, &key::block_count(block))?;
    Ok(row.is_some())
}

/// Starts the writer's thread. It commits what is in the queue and answers whoever waits, with a waiter of the queue; what
/// such a waiter holds is kept until its commit is over. `ended` learns of the thread's end: with an error if the database has
/// failed, with none when nobody can send any more.
///
/// # Errors
/// The thread cannot be made.
pub fn start_writer<W: 'static>(
    db: Arc<Db>,
    files: Arc<Files>,
    mut queue: impl Queue<(Batch, W)> + Send + 'static,
    answer: impl Fn(W, Result<Outcome, StoreError>) + Send + 'static,
    ended: impl FnOnce(Option<StoreError>) + Send + 'static,
) -> io::Result<()> {
    let thread = thread::Builder::new().name("writer".to_owned());
    thread.spawn(move || {
        // A panic in the middle of a transaction leaves nothing to go on with.
        let _abort = AbortOnPanic::new("the writer");
        let result = write(&db, &files, &mut queue, &answer);
        // From here on a batch is refused at once.
        drop(queue);
        ended(result.err());
    })?;
    Ok(())
}

fn write<W>(
    db: &Db,
    files: &Files,
    queue: &mut impl Queue<(Batch, W)>,
    answer: &impl Fn(W, Result<Outcome, StoreError>),
) -> Result<(), StoreError> {
    let mut group = Group::default();
    while let Some((batch, waiter)) = queue.wait() {
        group.push(batch, waiter);
        while !group.is_full()
            && let Some((batch, waiter)) = queue.take()
        {
            group.push(batch, waiter);
        }
        let began = Instant::now();
        let committed = db.commit(group.batches());
        db.metrics().committed(group.batches(), began.elapsed());
        let waiters = group.finish();
        match committed {
            Ok(outcomes) => {
                let reaped = outcomes.iter().flatten().flat_map(reaped).copied();
                let reaped: Vec<Hash> = reaped.collect();
                for (waiter, outcome) in waiters.into_iter().zip(outcomes) {
                    answer(waiter, outcome);
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
                    answer(waiter, Err(error.clone()));
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
