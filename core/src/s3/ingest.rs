//! From a request's body to blocks on disks: the part that PutObject and UploadPart share.
//!
//! A block is never on a disk without something durable that leads to it: either its reference is committed together with the
//! row that makes it visible (one block, one effect), or an intent row is committed with the first block's, before any other
//! block is stored, and closed by the batch that names the data. Whoever finds an intent of a process that is over drops what
//! it lists. Among several nodes nobody waits for the first, and any of them may be the only one that lands, so the intent goes with
//! every line of the list. A block and its line go out side by side there, and a block that landed without its
//! line is found by its reference, which says where its owner is listed: by its writer if that is there to see it, otherwise by the monthly
//! repair of references.
//!
//! Among several replicas, data is on a write quorum before the batch that names it is sent: otherwise that batch might be
//! applied on one replica alone, its row spread from there by whoever reads it, and the data be lost with that replica.
//!
//! Once the batch that names the data has been sent to several replicas, nobody but the collector of intents drops the data: the
//! batch may have been applied on one of them, and spread from there.

use std::pin::Pin;

use super::{error::S3Error, intake::Summary};
use crate::{
    block::{Payload, seal},
    effect::{Chunk, PeerError, Pulled},
    flow::{self, Window},
    id::{Hash, Position, VersionId},
    quorum,
    store::{Batch, Guard, Op, Outcome, Table},
    table::{
        self,
        block::{BlockListRow, BlockRefRow},
        key,
        queue::Job,
        upload::IntentRow,
    },
    task::Cx,
    time::Stamp,
    view::View,
};

/// Blocks of one request that are being stored at a time: one on its way to the disk, one queued behind it, and one coming in
/// while these two wait for their sync. More would only hold memory.
const WINDOW: usize = 3;

/// A body that has come in whole and checked out. Not visible yet; see [`finish`].
#[derive(Clone, Debug)]
pub struct Ingested {
    /// The id that its blocks are listed under.
    pub data: VersionId,
    /// Length and digests.
    pub summary: Summary,
    /// Length in bytes of the longest block; 0 without blocks.
    pub block_max: u32,
    /// Whether an intent row stands, to be closed by the batch that names the data.
    pub intent: bool,
    /// A single block that is not stored yet: it goes with the batch that names the data. Only where one replica decides.
    pub pending: Option<(Payload, Vec<Op>)>,
}

/// The conditions of a batch that names data among several replicas: nobody has given the data up, and nobody can have begun to
/// forget that it was given up.
pub(crate) fn in_time(view: &View, position: Position, data: VersionId) -> [Guard; 2] {
    let deadline = data.stamp().wall().after(view.config.tombstone_delay);
    [Guard::Wanted { position, data }, Guard::Before { deadline }]
}

/// Takes in the rest of the body after its first piece, as blocks listed at `position`. An inline piece becomes a block too. If
/// this fails, what was stored is queued to be dropped before the error is returned. The data's id is later than `seen`.
pub async fn blocks(
    cx: Cx,
    view: &View,
    position: Position,
    first: Pulled,
    seen: Stamp,
) -> Result<Ingested, S3Error> {
    let data = cx.version_past(seen);
    match (block_of(first.chunk, view), first.end) {
        (None, Some(summary)) => {
            Ok(Ingested { data, summary, block_max: 0, intent: false, pending: None })
        }
        (Some(block), Some(summary))
            if quorum::is_sole(view, position)
                && quorum::same_replicas(view, position, Position::of_block(block.hash())) =>
        {
            let block_max = block.len();
            let rows = vec![list_row(position, data, 0, &block), ref_row(position, data, &block)];
            Ok(Ingested { data, summary, block_max, intent: false, pending: Some((block, rows)) })
        }
        (block, end) => Box::pin(many(cx, view, position, data, block, end)).await,
    }
}

/// Commits `ops` as the batch that names the data: stores the pending block with it, or closes the intent in it. If a guard
/// refuses or the commit fails where one replica decides, nothing has happened, and the caller goes on to [`discard`] or tries
/// again; among several, it may have happened on some.
pub async fn finish(
    cx: Cx,
    view: &View,
    position: Position,
    ingested: &Ingested,
    guards: Vec<Guard>,
    mut ops: Vec<Op>,
) -> Result<Outcome, S3Error> {
    if ingested.intent {
        ops.push(intent_row(position, ingested.data, IntentRow::Done));
    }
    let outcome = match &ingested.pending {
        Some((block, rows)) => {
            // Lists and references before the row that relies on them, as a reader of the batch expects.
            let ops = rows.iter().cloned().chain(ops).collect();
            let batch = Batch { guards, ..Batch::new(cx.now().wall, ops) };
            quorum::store_block(cx, view, block.clone(), batch).await
        }
        None => {
            let batch = Batch { guards, ..Batch::new(cx.now().wall, ops) };
            quorum::write(cx, view, position, batch).await
        }
    };
    Ok(outcome?)
}

/// Queues the data to be dropped, unless the batch that names it has been committed after all (a commit may fail and yet have
/// happened): that batch has closed the intent. What cannot be queued now is found by its intent later.
pub async fn discard(cx: Cx, view: &View, position: Position, ingested: &Ingested) {
    if ingested.intent {
        drop_data(cx, view, position, ingested.data).await;
    }
}

/// Queues data behind an intent to be dropped, unless the intent has been closed. Among several replicas only for data whose
/// final batch was never sent.
pub(crate) async fn drop_data(cx: Cx, view: &View, position: Position, data: VersionId) {
    let now = cx.now().wall;
    if !quorum::is_sole(view, position) {
        let batch = Batch::new(now, vec![intent_row(position, data, IntentRow::Dropped)]);
        if let Err(error) = quorum::write(cx, view, position, batch).await {
            log::warn!("data {data:?} is left to the collection of intents: {error}");
        }
        return;
    }
    let writing = IntentRow::Writing { boot: view.boot, node: view.node };
    let ops = vec![
        Op::Enqueue { due: now, job: Job::DropData { position, data, unless: None } },
        intent_row(position, data, IntentRow::Done),
    ];
    let batch = Batch::new(now, ops).guarded(Guard::Unchanged {
        table: Table::Intent,
        key: key::intent(position, data),
        value: table::encode(&writing),
    });
    if let Err(error) = quorum::write(cx, view, position, batch).await {
        log::warn!("data {data:?} is left to the collection of intents: {error}");
    }
}

fn block_of(chunk: Chunk, view: &View) -> Option<Payload> {
    match chunk {
        Chunk::None => None,
        Chunk::Inline(bytes) if bytes.is_empty() => None,
        Chunk::Inline(bytes) => Some(seal::seal(bytes, view.config.compression)),
        Chunk::Block(block) => Some(block),
    }
}

/// More than one block, or one whose rows must travel on their own.
async fn many(
    cx: Cx,
    view: &View,
    position: Position,
    data: VersionId,
    first: Option<Payload>,
    end: Option<Summary>,
) -> Result<Ingested, S3Error> {
    let mut blocks = Blocks::new(cx, view, position, data);
    let taken = blocks.take(first, end).await;
    // Also after a failure: a block that lands after its data was dropped would never be found again.
    let settled = blocks.settle().await;
    match (taken, settled) {
        (Ok(summary), Ok(block_max)) => {
            Ok(Ingested { data, summary, block_max, intent: true, pending: None })
        }
        (Err(error), _) => {
            drop_data(cx, view, position, data).await;
            Err(error)
        }
        (Ok(_), Err(error)) => {
            drop_data(cx, view, position, data).await;
            Err(error.into())
        }
    }
}

/// A block on its way to the disk.
type Storing<'a> = Pin<Box<dyn Future<Output = Result<(), PeerError>> + Send + 'a>>;

/// Stores blocks side by side, in a [`WINDOW`]. No block is held while the next one is waited for, but on its way to the disk:
/// uploads that held blocks of a bounded pool and waited for more of it could stop each other for good.
struct Blocks<'a> {
    cx: Cx,
    view: &'a View,
    position: Position,
    data: VersionId,
    offset: u64,
    block_max: u32,
    /// Whether the first block is stored, and with it the intent. Before that nothing leads to any other block, in a cluster of one.
    begun: bool,
    window: Window<Storing<'a>>,
}

impl<'a> Blocks<'a> {
    fn new(cx: Cx, view: &'a View, position: Position, data: VersionId) -> Self {
        let window = Window::new(WINDOW);
        Self { cx, view, position, data, offset: 0, block_max: 0, begun: false, window }
    }

    /// Takes in a body of which the first block has come.
    async fn take(
        &mut self,
        first: Option<Payload>,
        end: Option<Summary>,
    ) -> Result<Summary, S3Error> {
        let (mut block, mut end) = (first, end);
        loop {
            if let Some(block) = block {
                self.push(block).await?;
            }
            if let Some(summary) = end {
                return Ok(summary);
            }
            let pull = self.cx.pull(self.view.config.block_size, 0);
            let pulled = self.window.during(pull).await?;
            (block, end) = (block_of(pulled.chunk, self.view), pulled.end);
        }
    }

    async fn push(&mut self, block: Payload) -> Result<(), PeerError> {
        let sole = quorum::is_sole_copy(self.view);
        let mut rows = vec![list_row(self.position, self.data, self.offset, &block)];
        if self.offset == 0 || !sole {
            let writing = IntentRow::Writing { boot: self.view.boot, node: self.view.node };
            rows.insert(0, intent_row(self.position, self.data, writing));
        }
        if self.offset > 0 && ((!self.begun && sole) || self.window.is_full()) {
            self.window.next().await.expect("the first is under way, or all places are taken")?;
            self.begun = true;
        }
        let reference = ref_row(self.position, self.data, &block);
        self.offset += u64::from(block.len());
        self.block_max = self.block_max.max(block.len());
        let stored = store(self.cx, self.view, (self.position, self.data), block, rows, reference);
        self.window.push(Box::pin(stored));
        Ok(())
    }

    /// Waits for all that is under way. The length of the longest block, if every one was stored.
    async fn settle(mut self) -> Result<u32, PeerError> {
        let mut settled = Ok(self.block_max);
        while let Some(stored) = self.window.next().await {
            settled = settled.and_then(|longest| stored.map(|()| longest));
        }
        settled
    }
}

/// `rows` belong to the replicas of `position`, `reference` to those of the block.
async fn store(
    cx: Cx,
    view: &View,
    (position, data): (Position, VersionId),
    block: Payload,
    mut rows: Vec<Op>,
    reference: Op,
) -> Result<(), PeerError> {
    let (now, hash) = (cx.now().wall, block.hash());
    if quorum::same_replicas(view, position, Position::of_block(hash)) {
        rows.push(reference);
        quorum::store_block(cx, view, block, Batch::new(now, rows)).await?;
        return Ok(());
    }
    let listed = quorum::write(cx, view, position, Batch::new(now, rows));
    let stored = quorum::store_block(cx, view, block, Batch::new(now, vec![reference]));
    let (listed, stored) = flow::join(listed, stored).await;
    if listed.is_err() {
        // Whoever drops the data goes by its list, and would not find this reference.
        let batch = Batch::new(now, vec![unrefer(view, hash, data)]);
        if let Err(error) = quorum::write(cx, view, Position::of_block(hash), batch).await {
            log::warn!("a reference to block {hash} is left to the repair of references: {error}");
        }
    }
    // Without guards there is nothing to refuse.
    listed.and(stored).map(drop)
}

/// The row that lists a block.
pub(crate) fn list_row(position: Position, data: VersionId, offset: u64, block: &Payload) -> Op {
    let row = BlockListRow { block: block.hash(), len: block.len() };
    Op::Merge {
        table: Table::BlockList,
        key: key::block_list(position, data, offset),
        value: table::encode(&row),
        inline: None,
    }
}

fn ref_row(position: Position, data: VersionId, block: &Payload) -> Op {
    Op::Merge {
        table: Table::BlockRef,
        key: key::block_ref(block.hash(), data),
        value: table::encode(&BlockRefRow::Live { owner: Some(position) }),
        inline: None,
    }
}

/// The change that ends a reference: where one node holds it, it is gone; where several do, that is remembered until all know.
pub(crate) fn unrefer(view: &View, block: Hash, data: VersionId) -> Op {
    let key = key::block_ref(block, data);
    if quorum::is_sole(view, Position::of_block(block)) {
        return Op::Remove { table: Table::BlockRef, key };
    }
    let value = table::encode(&BlockRefRow::Dropped);
    Op::Merge { table: Table::BlockRef, key, value, inline: None }
}

/// The row that says who is writing data.
pub(crate) fn intent_row(position: Position, data: VersionId, row: IntentRow) -> Op {
    Op::Merge {
        table: Table::Intent,
        key: key::intent(position, data),
        value: table::encode(&row),
        inline: None,
    }
}
