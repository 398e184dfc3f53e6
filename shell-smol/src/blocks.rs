//! Block files, on threads that may block.

use std::{io, sync::Arc};

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
use mews_host::{
    blocks::{self, Buffer, QUEUE, SEAL_HERE},
    rows::counted,
};
use smol::channel::{self, Sender};

use crate::{
    pool::{self, Pool},
    workers::Workers,
    writer::{Arrivals, Writer},
};

/// A part of the memory that may be used for buffers; given back when dropped.
pub type Permit = Buffer<pool::Permit>;

type Waiter = Sender<Result<(), PeerError>>;

/// The block files, with the threads and the memory they may use.
pub struct Blocks {
    files: Arc<Files>,
    workers: Workers,
    stores: Sender<(Payload, Waiter)>,
    uploads: Pool,
    downloads: Pool,
    compression: Option<i32>,
    /// The largest block, plain.
    block_max: usize,
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
        let answer = |waiter: Waiter, result| {
            // Who no longer waits was cancelled; the file is an orphan until somebody refers to it.
            drop(waiter.try_send(result));
        };
        blocks::start_storing(Arc::clone(&files), Arrivals(queue), answer)?;
        files.metrics().blocks.buffers.set(bounds.upload_bytes as u64);
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
        Buffer::new(self.uploads.acquire(bytes).await, &self.files, bytes)
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
            Some(permit) => blocks::hold(payload, permit),
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
        let (hash, pin) = (block.hash(), self.files.pin(block.hash()));
        let stopped = || PeerError::Disk("the storing thread has stopped".to_owned());
        let (done, stored) = channel::bounded(1);
        self.stores.send((block, done)).await.map_err(|_| stopped())?;
        stored.recv().await.map_err(|_| stopped())??;
        writer.commit(then.with_stored(hash), Some(pin)).await
    }

    /// Reads a block and verifies it.
    pub async fn load(&self, hash: Hash) -> Result<Payload, PeerError> {
        let permit = self.downloads.acquire(self.block_max).await;
        let files = Arc::clone(&self.files);
        let payload = self.workers.run(move || blocks::load(&files, hash)).await??;
        Ok(blocks::hold(payload, permit))
    }

    /// Which of these blocks there are files of.
    pub async fn holds(&self, blocks: Vec<Hash>) -> Result<Vec<bool>, PeerError> {
        let files = Arc::clone(&self.files);
        self.workers.run(move || files.holds(&blocks)).await?
    }

    /// Performs a piece of maintenance.
    pub async fn chore(&self, chore: Chore, db: Arc<Db>) -> Result<ChoreReport, PeerError> {
        let files = Arc::clone(&self.files);
        self.workers.run(move || files.chore(&chore, &|block| counted(&db, block))).await?
    }
}
