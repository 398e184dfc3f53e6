//! The thread that commits: the one writer of the database.

use std::{io, sync::Arc};

use mews_core::{
    block::files::{Files, Pin},
    effect::PeerError,
    store::{Batch, Outcome, StoreError, redb::Db, reserve::Reserve},
};
use mews_host::{
    queue::Queue,
    rows::{self, QUEUE},
};
use smol::channel::{self, Receiver, Sender};

/// The end of a channel, for a thread to take from.
pub struct Arrivals<T>(pub Receiver<T>);

impl<T> Queue<T> for Arrivals<T> {
    fn wait(&mut self) -> Option<T> {
        self.0.recv_blocking().ok()
    }

    fn take(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

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
        let answer = |waiter: Waiter, outcome| {
            // Who no longer waits was cancelled; the batch stands all the same.
            drop(waiter.done.try_send(outcome));
        };
        // Nobody listening means that the process is ending anyway.
        let ended = move |error| drop(ended.try_send(error));
        rows::start_writer(db, files, Arrivals(batches), answer, ended)?;
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
