//! A bound on memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use smol::{
    channel::{self, Receiver, Sender},
    lock::Mutex,
};

/// So many bytes for buffers. First come, first served.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    all: usize,
    free: AtomicUsize,
    /// Who holds it is next to be served.
    turn: Mutex<()>,
    /// Says that something was given back. One waits at most, so one such word is enough.
    given_back: (Sender<()>, Receiver<()>),
}

/// A share of the memory; given back when dropped.
pub struct Permit {
    pool: Pool,
    bytes: usize,
}

impl Pool {
    /// A pool of `bytes`.
    pub fn new(bytes: usize) -> Self {
        let given_back = channel::bounded(1);
        let (free, turn) = (AtomicUsize::new(bytes), Mutex::new(()));
        Self(Arc::new(Shared { all: bytes, free, turn, given_back }))
    }

    /// Waits for `bytes` of it. Who wants more than there is gets all of it.
    pub async fn acquire(&self, bytes: usize) -> Permit {
        let Shared { all, free, turn, given_back } = &*self.0;
        let bytes = bytes.min(*all);
        let _turn = turn.lock().await;
        // Only the holder of the turn takes, so what is enough now stays enough.
        while free.load(Ordering::Acquire) < bytes {
            given_back.1.recv().await.expect("the pool holds the other end");
        }
        free.fetch_sub(bytes, Ordering::AcqRel);
        Permit { pool: self.clone(), bytes }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Shared { free, given_back, .. } = &*self.pool.0;
        free.fetch_add(self.bytes, Ordering::AcqRel);
        // Full means that the word is there already.
        let _ = given_back.0.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use smol::future::{self, FutureExt};

    use super::*;

    #[test]
    fn who_waits_is_served_in_turn() {
        smol::block_on(async {
            let pool = Pool::new(10);
            let first = pool.acquire(6).await;
            let mut second = Box::pin(pool.acquire(5));
            let mut third = Box::pin(pool.acquire(1));
            assert!(future::poll_once(&mut second).await.is_none());
            assert!(future::poll_once(&mut third).await.is_none(), "it overtook");
            drop(first);
            let second = second.or(future::pending()).await;
            assert_eq!((second.bytes, third.await.bytes), (5, 1));
        });
    }

    #[test]
    fn nobody_waits_for_more_than_there_is() {
        smol::block_on(async { assert_eq!(Pool::new(10).acquire(100).await.bytes, 10) });
    }
}
