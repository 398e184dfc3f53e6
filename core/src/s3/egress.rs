//! From blocks on disks to a response's body: the blocks of a range, found page by page and fetched ahead of the client.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{error::S3Error, object::row::torn};
use crate::{
    block::Payload,
    effect::PeerError,
    flow::Window,
    id::{Hash, Position, VersionId},
    quorum,
    store::{Answer, Read, Table},
    table::{
        self,
        block::BlockListRow,
        key,
        object::{Data, Parts},
        upload::{ManifestPart, ManifestRow},
    },
    task::Cx,
    view::View,
};

/// Blocks that are fetched ahead of the one being sent: while one is on its way to the client, the next one comes from the
/// disk. More would only hold memory.
const WINDOW: usize = 2;

/// Rows of a block list read at a time: 256 MiB of an object in about 20 KiB.
const PAGE: usize = 256;

/// Where an object's bytes are, beside its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In blocks under one id.
    Blocks(Data),
    /// In the parts of an upload.
    Parts(Parts),
}

/// A block, or the piece of it that falls into a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The block.
    pub block: Hash,
    /// Its whole length in plain bytes.
    pub len: u32,
    /// Bytes of it before the piece.
    pub skip: u32,
    /// Length of the piece.
    pub take: u32,
}

/// Steps through the blocks of a range of an object, in order. Holds one page of each list, however long the object.
#[derive(Debug)]
pub struct Pieces {
    position: Position,
    /// What is still to be given, as offsets in the object.
    from: u64,
    until: u64,
    /// The piece of data whose blocks are being stepped through.
    current: Option<Run>,
    parts: Option<PartList>,
}

/// A run of blocks under one id.
#[derive(Debug)]
struct Run {
    data: VersionId,
    /// Where the data begins in the object.
    base: u64,
    /// The object's offset at which it ends.
    end: u64,
    /// The first offset in the data that no page has covered.
    next: u64,
    rows: VecDeque<(u64, BlockListRow)>,
}

#[derive(Debug)]
struct PartList {
    of: Parts,
    pages: u16,
    next_page: u16,
    parts: VecDeque<ManifestPart>,
}

impl Pieces {
    /// The blocks of `range` of an object of `size` bytes whose rows are at `position`. The range lies within the size. `known` is
    /// the beginning of the block list, as far as it came with the object.
    pub fn new(
        position: Position,
        source: &Source,
        size: u64,
        range: std::ops::Range<u64>,
        known: &[(Vec<u8>, Vec<u8>)],
    ) -> Self {
        let (current, parts) = match source {
            Source::Blocks(data) => {
                let mut run = Run::new(data.data, data.block_max, 0, size, range.start);
                run.learn(known);
                (Some(run), None)
            }
            Source::Parts(parts) => {
                // The page in which the part of the first byte is.
                let page = parts.pages.partition_point(|begin| *begin <= range.start);
                let list = PartList {
                    of: parts.clone(),
                    pages: u16::try_from(parts.pages.len()).unwrap_or(u16::MAX),
                    next_page: u16::try_from(page.saturating_sub(1)).unwrap_or(u16::MAX),
                    parts: VecDeque::new(),
                };
                (None, Some(list))
            }
        };
        Self { position, from: range.start, until: range.end, current, parts }
    }

    /// The next piece, or `None` at the end of the range. [`PeerError::Store`] with `Damaged` if a row is missing: the object
    /// has been overwritten and its data dropped, or the database is damaged.
    pub async fn next(&mut self, cx: Cx, view: &View) -> Result<Option<Piece>, PeerError> {
        while self.from < self.until {
            match &mut self.current {
                Some(run) if self.from < run.end => {
                    if run.rows.is_empty() {
                        run.read(cx, view, self.position).await?;
                    }
                    if let Some(piece) = run.piece(self.from, self.until)? {
                        self.from += u64::from(piece.take);
                        return Ok(Some(piece));
                    }
                }
                Some(_) | None => self.current = Some(self.next_part(cx, view).await?),
            }
        }
        Ok(None)
    }

    async fn next_part(&mut self, cx: Cx, view: &View) -> Result<Run, PeerError> {
        let short = || torn(Table::Manifest, "the parts end before the object does");
        let list = self.parts.as_mut().ok_or_else(short)?;
        loop {
            if list.parts.is_empty() {
                if list.next_page >= list.pages {
                    return Err(short());
                }
                let page = manifest_page(cx, view, self.position, &list.of, list.next_page);
                list.parts = page.await?.into();
                list.next_page += 1;
            }
            while let Some(part) = list.parts.pop_front() {
                let end = part.offset.saturating_add(part.part.size);
                if end > self.from {
                    let ManifestPart { offset, part, .. } = part;
                    return Ok(Run::new(part.data, part.block_max, offset, end, self.from));
                }
            }
        }
    }
}

impl Run {
    fn new(data: VersionId, block_max: u32, base: u64, end: u64, from: u64) -> Self {
        // The block that holds the first byte begins at most so much before it.
        let reach = u64::from(block_max.saturating_sub(1));
        let next = from.saturating_sub(base).saturating_sub(reach);
        Self { data, base, end, next, rows: VecDeque::new() }
    }

    /// Takes over rows that are at hand, up to the first that is missing or damaged: to tell of that is [`Run::read`]'s.
    fn learn(&mut self, known: &[(Vec<u8>, Vec<u8>)]) {
        let mut end = 0;
        for (row_key, value) in known {
            let row = table::decode::<BlockListRow>(Table::BlockList, value);
            let (Some(offset), Ok(row)) = (key::block_list_offset(row_key), row) else { return };
            if offset != end || !row_key[2..].starts_with(&self.data.0) {
                return;
            }
            end = offset + u64::from(row.len.max(1));
            if offset >= self.next {
                self.next = end;
                self.rows.push_back((offset, row));
            }
        }
    }

    async fn read(&mut self, cx: Cx, view: &View, position: Position) -> Result<(), PeerError> {
        let until = key::after_prefix(&key::block_list(position, self.data, 0)[..18]);
        let from = key::block_list(position, self.data, self.next);
        let rows = scan(cx, view, position, Table::BlockList, from, until, PAGE).await?;
        for (row_key, value) in rows {
            let offset = key::block_list_offset(&row_key)
                .ok_or_else(|| torn(Table::BlockList, "a key without an offset"))?;
            let row: BlockListRow =
                table::decode(Table::BlockList, &value).map_err(PeerError::Store)?;
            self.next = offset + u64::from(row.len.max(1));
            self.rows.push_back((offset, row));
        }
        if self.rows.is_empty() {
            return Err(torn(Table::BlockList, "the blocks end before the object does"));
        }
        Ok(())
    }

    /// The piece of the first row at hand; `None` if that row lies before `from`.
    fn piece(&mut self, from: u64, until: u64) -> Result<Option<Piece>, PeerError> {
        let (offset, row) = self.rows.pop_front().expect("rows have just been read");
        let begin = self.base + offset;
        let end = begin + u64::from(row.len);
        if end <= from {
            return Ok(None);
        }
        if begin > from {
            return Err(torn(Table::BlockList, "a block is missing in the list"));
        }
        let within = |n: u64| u32::try_from(n).expect("not longer than the block");
        let (skip, take) = (within(from - begin), within(end.min(until) - from));
        Ok(Some(Piece { block: row.block, len: row.len, skip, take }))
    }
}

/// One page of the parts that a completed upload was made of.
pub async fn manifest_page(
    cx: Cx,
    view: &View,
    position: Position,
    parts: &Parts,
    page: u16,
) -> Result<Vec<ManifestPart>, PeerError> {
    let read = Read::Get(vec![(Table::Manifest, key::manifest(position, parts.upload, page))]);
    let fits = |row: &ManifestRow| parts.completion.is_none() || row.completion == parts.completion;
    let mut row = manifest_row(quorum::read(cx, view, position, read.clone()).await?)?;
    if !row.as_ref().is_some_and(fits) {
        // A completion that is not acknowledged may be known to one of two replicas alone, and the other have been asked. Or it is
        // what was asked, and one with other parts was acknowledged after it.
        row = manifest_row(quorum::settle(cx, view, position, read).await?)?;
    }
    let row = row.ok_or_else(|| torn(Table::Manifest, "a page of the manifest is missing"))?;
    if !fits(&row) {
        // The object's row was another one by the time its manifest was asked for.
        return Err(PeerError::Busy);
    }
    Ok(row.parts)
}

fn manifest_row(answer: Answer) -> Result<Option<ManifestRow>, PeerError> {
    let value = answer.into_values().pop().flatten();
    let row = value.map(|value| table::decode(Table::Manifest, &value));
    row.transpose().map_err(PeerError::Store)
}

/// Rows of a sharded table in key order.
pub(crate) async fn scan(
    cx: Cx,
    view: &View,
    position: Position,
    table: Table,
    from: Vec<u8>,
    until: Option<Vec<u8>>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, PeerError> {
    let read = Read::Scan { table, from, until, limit };
    Ok(quorum::read(cx, view, position, read).await?.into_rows())
}

/// A response's body under way: its first piece is at hand, so that what fails before the first byte is still an error response.
#[derive(Debug)]
pub struct Egress {
    first: Bytes,
    rest: Pieces,
}

impl Egress {
    /// Finds and fetches the first block of a range that is not empty.
    pub async fn begin(cx: Cx, view: &View, mut pieces: Pieces) -> Result<Self, S3Error> {
        let first = pieces.next(cx, view).await?;
        let first = first.ok_or_else(|| torn(Table::BlockList, "nothing to send"))?;
        let first = load(cx, view, first).await?;
        Ok(Self { first, rest: pieces })
    }

    /// Sends it all, after the head has been given to the shell. An error ends the response before its declared length; the
    /// shell breaks the connection off, so that the client can tell.
    pub async fn run(self, cx: Cx, view: &View) -> Result<(), S3Error> {
        let Self { first, mut rest } = self;
        let mut window = Window::new(WINDOW);
        let mut ready = first;
        loop {
            while !window.is_full()
                && let Some(piece) = window.during(rest.next(cx, view)).await?
            {
                window.push(load(cx, view, piece));
            }
            window.during(cx.send(ready)).await?;
            match window.next().await {
                Some(bytes) => ready = bytes?,
                None => return Ok(()),
            }
        }
    }
}

/// The bytes of a piece.
pub(crate) async fn load(cx: Cx, view: &View, piece: Piece) -> Result<Bytes, PeerError> {
    let bytes = match quorum::load_block(cx, view, piece.block).await {
        Ok(block) => cut(&block, piece),
        Err(error) => Err(error),
    };
    // The client is told that a block is bad; only the operator is told which.
    bytes.inspect_err(|error| log::error!("block {}: {error}", piece.block))
}

fn cut(block: &Payload, piece: Piece) -> Result<Bytes, PeerError> {
    let plain = block.plain().expect("the shell gives loaded blocks in plain form");
    let end = piece.skip as usize + piece.take as usize;
    if plain.len() != piece.len as usize || end > plain.len() {
        return Err(PeerError::Corrupt);
    }
    Ok(plain.slice(piece.skip as usize..end))
}
