//! Block files, on threads that may block.

use std::{io, sync::Arc, thread};

use bytes::Bytes;
use mews_core::{
    block::{
        Payload,
        chore::{Chore, ChoreReport},
        files::Files,
        seal,
    },
    daemon::bounds::Bounds,
    effect::PeerError,
    id::Hash,
    store::{Batch, Outcome, redb::Db},
    view::Config,
};
use smol::channel::{self, Receiver, Sender};

use crate::{
    pool::{Permit, Pool},
    workers::Workers,
    writer::{Writer, counted},
};

/// Blocks that share their syncs. Larger groups wait longer for the first of them and gain little.
const GROUP: usize = 32;

/// Blocks that wait for the storing thread; each holds a permit of the upload buffers.
const QUEUE: usize = 64;

/// Smaller blocks are hashed where they are: cheaper than handing them to another thread.
const SEAL_HERE: usize = 16 << 10;

type Store = (Payload, Sender<Result<(), PeerError>>);

/// The block files, with the threads and the memory they may use.
pub struct Blocks {
    files: Arc<Files>,
    workers: Workers,
    stores: Sender<Store>,
    uploads: Pool,
    downloads: Pool,
    compression: Option<i32>,
    /// The largest block, plain.
    block_max: usize,
}

/// Bytes together with their share of the memory.
struct Held(Bytes, #[expect(dead_code, reason = "held, not read")] Permit);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Blocks {
    /// Starts the storing thread.
    pub fn start(
        files: Arc<Files>,
        workers: Workers,
        bounds: &Bounds,
        config: &Config,
    ) -> io::Result<Self> {
        let (stores, queue) = channel::bounded(QUEUE);
        let on_thread = Arc::clone(&files);
        thread::Builder::new().name("blocks".to_owned()).spawn(move || {
            let _abort = crate::AbortOnPanic::new("the block storing thread");
            run(&on_thread, queue);
        })?;
        Ok(Self {
            files,
            workers,
            stores,
            uploads: Pool::new(bounds.upload_bytes),
            downloads: Pool::new(bounds.download_bytes),
            compression: config.compression,
            block_max: config.block_size as usize,
        })
    }

    /// Waits for the memory for an upload's buffer.
    pub async fn buffer(&self, bytes: usize) -> Permit {
        self.uploads.acquire(bytes).await
    }

    /// Hashes a block and compresses it where that helps. Its memory stays accounted for until nobody has the block.
    pub async fn seal(&self, plain: Bytes, permit: Option<Permit>) -> Result<Payload, PeerError> {
        let level = self.compression;
        let payload = if plain.len() <= SEAL_HERE {
            seal::seal(plain, level)
        } else {
            self.workers.run(move || seal::seal(plain, level)).await?
        };
        Ok(match permit {
            Some(permit) => payload.held_by(|bytes| Bytes::from_owner(Held(bytes, permit))),
            None => payload,
        })
    }

    /// Stores a block and then commits the rows that refer to it, with the block pinned from before to after.
    pub async fn store(
        &self,
        block: Payload,
        then: Batch,
        writer: &Writer,
    ) -> Result<Outcome, PeerError> {
        let pin = self.files.pin(block.hash());
        let stopped = || PeerError::Disk("the storing thread has stopped".to_owned());
        let (done, stored) = channel::bounded(1);
        self.stores.send((block, done)).await.map_err(|_| stopped())?;
        stored.recv().await.map_err(|_| stopped())??;
        writer.commit(then, Some(pin)).await
    }

    /// Reads a block and verifies it.
    pub async fn load(&self, hash: Hash) -> Result<Payload, PeerError> {
        let permit = self.downloads.acquire(self.block_max).await;
        let files = Arc::clone(&self.files);
        let payload = self.workers.run(move || files.load(hash)).await??;
        Ok(payload.held_by(|bytes| Bytes::from_owner(Held(bytes, permit))))
    }

    /// Performs a piece of maintenance.
    pub async fn chore(&self, chore: Chore, db: Arc<Db>) -> Result<ChoreReport, PeerError> {
        let files = Arc::clone(&self.files);
        self.workers.run(move || files.chore(&chore, &|block| counted(&db, block))).await?
    }
}

fn run(files: &Files, queue: Receiver<Store>) {
    let (mut blocks, mut waiters) = (Vec::new(), Vec::new());
    while let Ok((block, waiter)) = queue.recv_blocking() {
        blocks.push(block);
        waiters.push(waiter);
        while blocks.len() < GROUP
            && let Ok((block, waiter)) = queue.try_recv()
        {
            blocks.push(block);
            waiters.push(waiter);
        }
        let results = files.store(&blocks);
        blocks.clear();
        for (waiter, result) in waiters.drain(..).zip(results) {
            // Who no longer waits was cancelled; the file is an orphan until somebody refers to it.
            drop(waiter.try_send(result));
        }
    }
}
