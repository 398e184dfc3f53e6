//! Block files: the thread that stores them, and the memory that blocks hold on to.

use std::{io, sync::Arc, thread, time::Instant};

use bytes::Bytes;
use mews_core::{
    block::{Payload, files::Files},
    effect::PeerError,
    id::Hash,
};

use crate::{abort::AbortOnPanic, queue::Queue};

/// Blocks that share their syncs. Larger groups wait longer for the first of them and gain little.
const GROUP: usize = 32;

/// Blocks that wait for the storing thread; each holds a permit of the upload buffers.
pub const QUEUE: usize = 64;

/// Blocks of up to so many bytes are hashed where they are: cheaper than handing them to another thread.
pub const SEAL_HERE: usize = 16 << 10;

/// Starts the storing thread. It stores the blocks of the queue in groups, durably, and answers whoever waits.
///
/// # Errors
/// The thread cannot be made.
pub fn start_storing<W: 'static>(
    files: Arc<Files>,
    mut queue: impl Queue<(Payload, W)> + Send + 'static,
    answer: impl Fn(W, Result<(), PeerError>) + Send + 'static,
) -> io::Result<()> {
    let thread = thread::Builder::new().name("blocks".to_owned());
    thread.spawn(move || {
        let _abort = AbortOnPanic::new("the block storing thread");
        store(&files, &mut queue, &answer);
    })?;
    Ok(())
}

fn store<W>(
    files: &Files,
    queue: &mut impl Queue<(Payload, W)>,
    answer: &impl Fn(W, Result<(), PeerError>),
) {
    let (mut blocks, mut waiters) = (Vec::new(), Vec::new());
    while let Some((block, waiter)) = queue.wait() {
        blocks.push(block);
        waiters.push(waiter);
        while blocks.len() < GROUP
            && let Some((block, waiter)) = queue.take()
        {
            blocks.push(block);
            waiters.push(waiter);
        }
        let began = Instant::now();
        let results = files.store(&blocks);
        let metrics = &files.metrics().blocks;
        metrics.writing.took(began.elapsed());
        metrics.group.record(blocks.len() as u64);
        blocks.clear();
        for (waiter, result) in waiters.drain(..).zip(results) {
            answer(waiter, result);
        }
    }
}

/// Reads a block and verifies it. It blocks.
///
/// # Errors
/// Those of [`Files::load`].
pub fn load(files: &Files, block: Hash) -> Result<Payload, PeerError> {
    let began = Instant::now();
    let loaded = files.load(block);
    files.metrics().blocks.reading.took(began.elapsed());
    loaded
}

/// A share of the memory for buffers of uploads, which counts as taken until it is dropped.
pub struct Buffer<P> {
    _permit: P,
    files: Arc<Files>,
    bytes: u64,
}

impl<P> Buffer<P> {
    /// So many bytes of it, which `permit` is for.
    pub fn new(permit: P, files: &Arc<Files>, bytes: usize) -> Self {
        let bytes = bytes as u64;
        files.metrics().blocks.buffered.add(bytes);
        Self { _permit: permit, files: Arc::clone(files), bytes }
    }
}

impl<P> Drop for Buffer<P> {
    fn drop(&mut self) {
        self.files.metrics().blocks.buffered.subtract(self.bytes);
    }
}

/// Bytes together with their share of the memory.
struct Held<P> {
    bytes: Bytes,
    _permit: P,
}

impl<P> AsRef<[u8]> for Held<P> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The same block, which holds its share of the memory until nobody has it any more.
#[must_use]
pub fn hold(payload: Payload, permit: impl Send + 'static) -> Payload {
    payload.held_by(|bytes| Bytes::from_owner(Held { bytes, _permit: permit }))
}
