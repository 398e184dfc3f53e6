//! The blocks of a range of an object, listed a second time under an id of their own.
//!
//! A reference keeps its block only if the block is still known when the reference is committed, so each page of references is
//! guarded by that. A block that was forgotten in between (its object was overwritten, and the delay ran out) is fetched and
//! stored again, if its file is still there.

use std::collections::BTreeSet;

use bytes::Bytes;
use md5::{Digest as _, Md5};

use crate::{
    block::{Payload, seal::seal},
    checksum::{Algorithm, Checksum},
    effect::PeerError,
    flow::Window,
    id::{Hash, Position, VersionId},
    quorum,
    s3::{
        digest::Hasher,
        egress::{self, Piece, Pieces},
        error::S3Error,
        ingest,
    },
    store::{Batch, Guard, Op, Outcome, Table},
    table::{
        self,
        block::{BlockListRow, BlockRefRow},
        key,
        upload::IntentRow,
    },
    task::Cx,
    time::Stamp,
    view::View,
};

/// Blocks that are referred to in one commit: 256 MiB of an object in about 30 KiB of rows.
const PAGE: usize = 256;

/// Blocks in memory at a time where the copy must be read: one being digested, one on its way from the disk.
const WINDOW: usize = 2;

/// Data that was copied, and that nothing names yet. Its intent stands.
#[derive(Debug)]
pub(crate) struct Copied {
    /// The id that its blocks are listed under.
    pub data: VersionId,
    /// Length in bytes.
    pub len: u64,
    /// Length in bytes of the longest block; 0 without blocks.
    pub block_max: u32,
    /// The digests that were asked for.
    pub digests: Sums,
}

/// Which digests of the bytes are wanted. Without any, and with whole blocks, no byte is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// MD5.
    pub md5: bool,
    /// An additional checksum.
    pub checksum: Option<Algorithm>,
}

/// The digests that were wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    /// MD5.
    pub md5: Option<[u8; 16]>,
    /// The additional checksum.
    pub checksum: Option<Checksum>,
}

/// Digests under way.
pub(crate) struct Digests {
    md5: Option<Md5>,
    checksum: Option<Hasher>,
}

impl Digests {
    /// Nothing digested yet.
    pub fn new(wanted: Wanted) -> Self {
        Self { md5: wanted.md5.then(Md5::new), checksum: wanted.checksum.map(Hasher::new) }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
    }

    /// The digests of all bytes given.
    pub fn finish(self) -> Sums {
        Sums {
            md5: self.md5.map(|md5| md5.finalize().into()),
            checksum: self.checksum.map(Hasher::finish),
        }
    }
}

/// Where the copy's rows go.
#[derive(Clone, Copy)]
struct Into<'a> {
    cx: Cx,
    view: &'a View,
    position: Position,
    data: VersionId,
}

/// Copies `pieces` to data listed at `position`, behind an intent. If this fails, what was done is queued to be dropped before
/// the error is returned.
pub(crate) async fn copy(
    cx: Cx,
    view: &View,
    position: Position,
    pieces: Pieces,
    wanted: Wanted,
    seen: Stamp,
) -> Result<Copied, S3Error> {
    let data = cx.version_past(seen);
    let intent =
        ingest::intent_row(position, data, IntentRow::Writing { boot: view.boot, node: view.node });
    let batch = Batch::new(cx.now().wall, vec![intent]);
    quorum::write(cx, view, position, batch).await?;
    let into = Into { cx, view, position, data };
    let copied = Box::pin(all(into, pieces, wanted)).await;
    if copied.is_err() {
        ingest::drop_data(cx, view, position, data).await;
    }
    Ok(copied?)
}

/// The change that closes the intent, for the batch that names the data.
pub(crate) fn close(position: Position, data: VersionId) -> Op {
    ingest::intent_row(position, data, IntentRow::Done)
}

async fn all(into: Into<'_>, mut pieces: Pieces, wanted: Wanted) -> Result<Copied, PeerError> {
    let Into { cx, view, data, .. } = into;
    let read_all = wanted.md5 || wanted.checksum.is_some();
    let mut digests = Digests::new(wanted);
    let mut page = Page::default();
    let (mut offset, mut block_max) = (0, 0);
    let mut window = Window::new(WINDOW);
    let mut ended = false;
    loop {
        while !ended && !window.is_full() {
            match window.during(pieces.next(cx, view)).await? {
                Some(piece) => window.push(read(cx, view, piece, read_all)),
                None => ended = true,
            }
        }
        let Some(next) = window.next().await else { break };
        let (piece, bytes) = next?;
        if let Some(bytes) = &bytes {
            digests.update(bytes);
        }
        match bytes {
            Some(bytes) if piece.take < piece.len => {
                window.during(cut(into, offset, bytes)).await?;
            }
            Some(_) | None => page.push(offset, piece),
        }
        offset += u64::from(piece.take);
        block_max = block_max.max(piece.take);
        if page.blocks.len() == PAGE {
            window.during(page.commit(into)).await?;
        }
    }
    page.commit(into).await?;
    Ok(Copied { data, len: offset, block_max, digests: digests.finish() })
}

/// A piece, and its bytes where they are needed: for a digest, or because the block is cut.
async fn read(
    cx: Cx,
    view: &View,
    piece: Piece,
    always: bool,
) -> Result<(Piece, Option<Bytes>), PeerError> {
    let bytes = if always || piece.take < piece.len {
        Some(egress::load(cx, view, piece).await?)
    } else {
        None
    };
    Ok((piece, bytes))
}

/// Stores part of a block as a block of its own.
async fn cut(into: Into<'_>, offset: u64, bytes: Bytes) -> Result<(), PeerError> {
    let block = seal(bytes, into.view.config.compression);
    let line = Line { offset, block: block.hash(), len: block.len() };
    store(into, block, line).await
}

/// A line of the copy's block list.
#[derive(Clone, Copy, Debug)]
struct Line {
    offset: u64,
    block: Hash,
    len: u32,
}

impl Line {
    fn list(self, into: Into<'_>) -> Op {
        let row = BlockListRow { block: self.block, len: self.len };
        Op::Merge {
            table: Table::BlockList,
            key: key::block_list(into.position, into.data, self.offset),
            value: table::encode(&row),
            inline: None,
        }
    }

    fn reference(self, into: Into<'_>) -> Op {
        Op::Merge {
            table: Table::BlockRef,
            key: key::block_ref(self.block, into.data),
            value: table::encode(&BlockRefRow::Live { owner: Some(into.position) }),
            inline: None,
        }
    }

    fn travels_with(self, into: Into<'_>) -> bool {
        quorum::same_replicas(into.view, into.position, Position::of_block(self.block))
    }
}

/// Lines that are committed together.
#[derive(Default)]
struct Page {
    blocks: Vec<Line>,
}

impl Page {
    fn push(&mut self, offset: u64, piece: Piece) {
        self.blocks.push(Line { offset, block: piece.block, len: piece.len });
    }

    async fn commit(&mut self, into: Into<'_>) -> Result<(), PeerError> {
        let lines = std::mem::take(&mut self.blocks);
        if lines.is_empty() {
            return Ok(());
        }
        if lines.iter().all(|line| line.travels_with(into)) {
            let held: BTreeSet<Hash> = lines.iter().map(|line| line.block).collect();
            let guards = held.into_iter().map(|block| Guard::Held { block }).collect();
            let ops = lines.iter().flat_map(|line| [line.list(into), line.reference(into)]);
            let batch = Batch { guards, ..Batch::new(into.cx.now().wall, ops.collect()) };
            let written = quorum::write(into.cx, into.view, into.position, batch).await?;
            if let Outcome::Applied(_) = written {
                return Ok(());
            }
        }
        for line in lines {
            refer(into, line).await?;
        }
        Ok(())
    }
}

/// Refers to one block: as it is known, or by storing it again.
async fn refer(into: Into<'_>, line: Line) -> Result<(), PeerError> {
    let Into { cx, view, position, .. } = into;
    let held = Guard::Held { block: line.block };
    let now = cx.now().wall;
    let outcome = if line.travels_with(into) {
        let batch = Batch::new(now, vec![line.list(into), line.reference(into)]).guarded(held);
        quorum::write(cx, view, position, batch).await?
    } else {
        // The list first: by it the collection of intents finds the reference.
        quorum::write(cx, view, position, Batch::new(now, vec![line.list(into)])).await?;
        let batch = Batch::new(now, vec![line.reference(into)]).guarded(held);
        quorum::write(cx, view, Position::of_block(line.block), batch).await?
    };
    match outcome {
        Outcome::Applied(_) => Ok(()),
        Outcome::Refused { .. } => {
            let block = quorum::load_block(cx, view, line.block).await?;
            store(into, block, line).await
        }
    }
}

/// Stores a block and refers to it.
async fn store(into: Into<'_>, block: Payload, line: Line) -> Result<(), PeerError> {
    let Into { cx, view, position, .. } = into;
    let now = cx.now().wall;
    let mut ops = vec![line.reference(into)];
    if line.travels_with(into) {
        ops.insert(0, line.list(into));
    } else {
        quorum::write(cx, view, position, Batch::new(now, vec![line.list(into)])).await?;
    }
    // Without a guard there is nothing to refuse.
    quorum::store_block(cx, view, block, Batch::new(now, ops)).await?;
    Ok(())
}
