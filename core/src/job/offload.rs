//! Lets go of what this node holds no longer: after a change of the layout, rows and blocks of partitions that are others' now.
//!
//! A partition that no layout in force gives to this node is all with others: a layout retires only when those of the next have
//! pulled every row. Rows are forgotten here and live on there. A reference is forgotten only when every present holder of its
//! block has answered, and each of them that needs the block has a file of it; the hook then queues the block to be reaped. Until
//! then this node is a source for those who still have to fetch it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{PAGE, Page, Verdict, commit_local, damaged, pace::Slice, scan_local};
use crate::{
    effect::PeerError,
    flow,
    id::{Hash, NodeId, Position, VersionId},
    quorum,
    store::{
        Op, Read, Table,
        digest::{Fingerprint, Question, SHARDED},
    },
    table::{
        self,
        block::{BlockCountRow, BlockRefRow},
        key,
    },
    task::Cx,
    time::Timestamp,
    view::View,
};

/// Rows of these go without further questions. Inline payloads go with their objects.
const ROWS: [Table; 6] =
    [Table::Object, Table::Upload, Table::Part, Table::Manifest, Table::Intent, Table::BlockList];

/// Ranges of positions that are looked at together: with seven tables, fingerprints of 12 KiB.
const RANGES: usize = 64;

/// The row in [`Table::Meta`] that says how far letting go has come.
const KEY: &[u8] = b"offload";

/// How far letting go has come: the value of the row at [`KEY`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OffloadRow {
    /// The layout that this is about.
    #[serde(rename = "v")]
    version: u64,
    /// When a walk over everything last ended with nothing left.
    #[serde(rename = "e")]
    ended: Option<Timestamp>,
    /// The reference up to which this walk has come.
    #[serde(rename = "a", with = "serde_bytes")]
    after: Vec<u8>,
    /// References that had to stay in this walk.
    #[serde(rename = "k")]
    kept: u64,
}

/// Forgets what can be forgotten, for as long as a run may take.
pub(super) async fn run(cx: Cx, view: &View) -> Result<Verdict, PeerError> {
    let version = view.ring.version();
    // None: nobody else holds anything.
    if version == 0 || view.recovering {
        return Ok(Verdict::Done);
    }
    let mut row = load(cx, view).await?;
    if row.version != version {
        row = OffloadRow { version, ..OffloadRow::default() };
    }
    let strange = strange(view);
    // Rows come also after the end: of requests that began by an older layout, and of detached calls.
    let clean = is_clean(cx, view, &strange).await?;
    if clean && row.ended.is_some() {
        return Ok(Verdict::Done);
    }
    row.ended = clean.then_some(cx.now().wall);
    let slice = Slice::begin(cx, view);
    let strange: Vec<Range> = strange.into_iter().map(keys).collect();
    let walked =
        if clean { Ok(Verdict::Done) } else { walk(cx, view, slice, &strange, &mut row).await };
    save(cx, view, &row).await?;
    walked
}

/// Goes over everything that is strange, rows first.
async fn walk(
    cx: Cx,
    view: &View,
    slice: Slice,
    strange: &[Range],
    row: &mut OffloadRow,
) -> Result<Verdict, PeerError> {
    for table in ROWS {
        for (first, until) in strange {
            if !forget(cx, view, slice, table, first.clone(), until.clone()).await? {
                return Ok(Verdict::Paused);
            }
        }
    }
    references(cx, view, slice, strange, row).await
}

/// The version of the layout whose strangers' rows and blocks this node has let go of.
///
/// # Errors
/// What the database reports.
pub async fn offloaded(cx: Cx, view: &View) -> Result<Option<u64>, PeerError> {
    let row = load(cx, view).await?;
    Ok(row.ended.map(|_| row.version))
}

/// First key, and first key not wanted.
type Range = (Vec<u8>, Option<Vec<u8>>);

/// The ranges of positions that this node does not hold, both ends included.
fn strange(view: &View) -> Vec<(Position, Position)> {
    let mut ranges: Vec<(Position, Position)> = Vec::new();
    for (first, last) in view.ring.partitions() {
        if view.ring.holds(view.node, first) {
            continue;
        }
        match ranges.last_mut() {
            Some((_, end)) if end.0.checked_add(1) == Some(first.0) => *end = last,
            Some(_) | None => ranges.push((first, last)),
        }
    }
    ranges
}

/// The keys of rows at a range of positions.
fn keys((first, last): (Position, Position)) -> Range {
    let bytes = |position: u16| position.to_be_bytes().to_vec();
    (bytes(first.0), last.0.checked_add(1).map(bytes))
}

/// Whether there are no rows at these positions: a look at a few fingerprints.
async fn is_clean(
    cx: Cx,
    view: &View,
    strange: &[(Position, Position)],
) -> Result<bool, PeerError> {
    for some in strange.chunks(RANGES) {
        let of = |table: Table| some.iter().map(move |(first, last)| (table, *first, *last));
        let question = Question::Positions(SHARDED.into_iter().flat_map(of).collect());
        let answer = quorum::read_local(cx, view, Read::Compare(question)).await?;
        let fingerprints = answer.into_compared().fingerprints();
        let fingerprints = fingerprints.expect("the node answers what it was asked");
        if fingerprints.iter().any(|each| *each != Fingerprint::default()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Forgets a range of rows; false if the run has had its share before the end.
async fn forget(
    cx: Cx,
    view: &View,
    slice: Slice,
    table: Table,
    mut from: Vec<u8>,
    until: Option<Vec<u8>>,
) -> Result<bool, PeerError> {
    loop {
        let began = cx.now().mono;
        let page = scan_local(cx, view, table, from, until.clone(), PAGE).await?;
        if !page.rows.is_empty() {
            let keys = page.rows.into_iter().map(|(key, _)| Op::Forget { table, key });
            commit_local(cx, view, keys.collect()).await?;
        }
        let Some(next) = page.next else { return Ok(true) };
        if slice.is_over(cx) {
            return Ok(false);
        }
        from = next;
        slice.rest(cx, began).await;
    }
}

/// Goes on with the walk over references.
async fn references(
    cx: Cx,
    view: &View,
    slice: Slice,
    strange: &[Range],
    row: &mut OffloadRow,
) -> Result<Verdict, PeerError> {
    for (first, until) in strange {
        if until.as_ref().is_some_and(|until| *until <= row.after) {
            continue;
        }
        let mut from = first.clone().max(row.after.clone());
        loop {
            let began = cx.now().mono;
            let page = scan_local(cx, view, Table::BlockRef, from, until.clone(), PAGE).await?;
            let next = page.next.clone();
            row.kept += let_go(cx, view, page).await?;
            let Some(next) = next else { break };
            row.after.clone_from(&next);
            if slice.is_over(cx) {
                return Ok(Verdict::Paused);
            }
            from = next;
            slice.rest(cx, began).await;
        }
    }
    let kept = std::mem::take(&mut row.kept);
    row.after.clear();
    if kept > 0 {
        log::info!("offload: {kept} references stay until their blocks' new holders have them");
        return Ok(Verdict::Failed);
    }
    row.ended = Some(cx.now().wall);
    Ok(Verdict::Done)
}

/// A block of a page, with what is to be known of it.
#[derive(Default)]
struct Strange {
    /// The keys of its references.
    rows: Vec<Vec<u8>>,
    /// Those of them that are live and whose data may still come to be named.
    fresh: BTreeSet<Vec<u8>>,
    /// Holders that need the block.
    needed: usize,
    /// Those of them that have a file of it.
    held: usize,
    /// Whether a holder has not answered.
    unknown: bool,
}

impl Strange {
    /// Whether nobody loses anything by its going.
    fn may_go(&self) -> bool {
        !self.unknown && self.held == self.needed && (self.needed > 0 || self.fresh.is_empty())
    }
}

/// Forgets those references of a page whose blocks are in good hands; says how many had to stay.
async fn let_go(cx: Cx, view: &View, page: Page) -> Result<u64, PeerError> {
    let mut blocks: BTreeMap<Hash, Strange> = BTreeMap::new();
    for (row_key, value) in page.rows {
        let malformed = || damaged(Table::BlockRef, &row_key);
        let (hash, data) = row_key.split_at_checked(32).ok_or_else(malformed)?;
        let hash = Hash::from_slice(hash).ok_or_else(malformed)?;
        let data = VersionId::from_slice(data).ok_or_else(malformed)?;
        let row: BlockRefRow = table::decode(Table::BlockRef, &value).map_err(PeerError::Store)?;
        let block = blocks.entry(hash).or_default();
        // No batch names data that is older; so whoever does not know of such a reference will not come to need the block.
        let named_until = data.stamp().wall().after(view.config.tombstone_delay);
        if row.is_live() && cx.now().wall <= named_until {
            block.fresh.insert(row_key.clone());
        }
        block.rows.push(row_key);
    }
    ask_holders(cx, view, &mut blocks).await;
    let (gone, kept): (Vec<_>, Vec<_>) = blocks.into_values().partition(Strange::may_go);
    let keys = gone.into_iter().flat_map(|block| block.rows);
    let ops: Vec<Op> = keys.map(|key| Op::Forget { table: Table::BlockRef, key }).collect();
    if !ops.is_empty() {
        commit_local(cx, view, ops).await?;
    }
    Ok(kept.into_iter().map(|block| block.rows.len() as u64).sum())
}

/// Asks each holder once what it knows of its blocks.
async fn ask_holders(cx: Cx, view: &View, blocks: &mut BTreeMap<Hash, Strange>) {
    let mut by_holder: BTreeMap<NodeId, Vec<Hash>> = BTreeMap::new();
    for hash in blocks.keys() {
        for holder in view.ring.holders(Position::of_block(*hash)) {
            by_holder.entry(holder).or_default().push(*hash);
        }
    }
    for (holder, hashes) in by_holder {
        if let Err(error) = ask(cx, holder, &hashes, blocks).await {
            log::debug!("offload: {holder:?} does not say which blocks it has: {error}");
            for hash in &hashes {
                blocks.get_mut(hash).expect("made from the same blocks").unknown = true;
            }
        }
    }
}

/// Asks a holder for each block whether it needs it and whether it has a file of it, and for each fresh reference whether it knows
/// that it was dropped.
async fn ask(
    cx: Cx,
    node: NodeId,
    hashes: &[Hash],
    blocks: &mut BTreeMap<Hash, Strange>,
) -> Result<(), PeerError> {
    let counts = hashes.iter().map(|hash| (Table::BlockCount, key::block_count(*hash)));
    let fresh: Vec<(Hash, Vec<u8>)> = hashes
        .iter()
        .flat_map(|hash| blocks[hash].fresh.iter().map(|row_key| (*hash, row_key.clone())))
        .collect();
    let references = fresh.iter().map(|(_, row_key)| (Table::BlockRef, row_key.clone()));
    let rows = cx.read(node, Read::Get(counts.chain(references).collect()));
    let held = cx.holds(node, hashes.to_vec());
    let (rows, held) = flow::join(rows, held).await;
    let (rows, held) = (rows?.into_values(), held?);
    if rows.len() != hashes.len() + fresh.len() || held.len() != hashes.len() {
        return Err(PeerError::Malformed);
    }
    let mut rows = rows.into_iter();
    for (hash, held) in hashes.iter().zip(held) {
        let count =
            rows.next().expect("counted").map(|value| table::decode(Table::BlockCount, &value));
        let count: Option<BlockCountRow> = count.transpose().map_err(PeerError::Store)?;
        let needed = count.is_some_and(|row| row.refs > 0);
        let block = blocks.get_mut(hash).expect("made from the same blocks");
        block.needed += usize::from(needed);
        block.held += usize::from(needed && held);
    }
    for ((hash, row_key), value) in fresh.into_iter().zip(rows) {
        let row = value.map(|value| table::decode(Table::BlockRef, &value));
        if row.transpose().map_err(PeerError::Store)? == Some(BlockRefRow::Dropped) {
            let block = blocks.get_mut(&hash).expect("made from the same blocks");
            block.fresh.remove(&row_key);
        }
    }
    Ok(())
}

async fn load(cx: Cx, view: &View) -> Result<OffloadRow, PeerError> {
    let mut values = quorum::get_local(cx, view, vec![(Table::Meta, KEY.to_vec())]).await?;
    let Some(value) = values.pop().flatten() else { return Ok(OffloadRow::default()) };
    Ok(table::decode(Table::Meta, &value).unwrap_or_else(|error| {
        log::warn!("offload: {error}; starting over");
        OffloadRow::default()
    }))
}

async fn save(cx: Cx, view: &View, row: &OffloadRow) -> Result<(), PeerError> {
    let (key, value) = (KEY.to_vec(), table::encode(row));
    commit_local(cx, view, vec![Op::Merge { table: Table::Meta, key, value, inline: None }]).await
}
