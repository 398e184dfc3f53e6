//! Lets go of what this node holds no longer: after a change of the layout, rows and blocks of partitions that are others' now.
//!
//! It begins once a single layout is in force, so that whoever holds a partition has pulled all its rows. Rows are forgotten
//! here and live on there. A reference is forgotten only when every present holder of its block has answered, and each of them that
//! needs the block has a file of it; the hook then queues the block to be reaped. Until then this node is a source for those who
//! still have to fetch it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{PAGE, Page, Verdict, commit_local, damaged, pace::Slice, scan_local};
use crate::{
    effect::PeerError,
    flow,
    id::{Hash, NodeId, Position, VersionId},
    quorum,
    store::{Op, Read, Table},
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

/// How long it is taken for granted that nothing is left, once all has been gone through.
const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// A reference that none of the holders knows is kept for so long: whoever was to bring it to them has had its time by then.
const STRAY: Duration = Duration::from_secs(24 * 3600);

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
    // Several versions in force: the new holders are still pulling. None: nobody else holds anything.
    if version == 0 || view.ring.oldest() != version || view.recovering {
        return Ok(Verdict::Done);
    }
    let mut row = load(cx, view).await?;
    if row.version != version {
        row = OffloadRow { version, ..OffloadRow::default() };
    }
    let now = cx.now().wall;
    if row.ended.is_some_and(|ended| ended <= now && now < ended.after(AGAIN)) {
        return Ok(Verdict::Done);
    }
    let slice = Slice::begin(cx, view);
    let strange = strange(view);
    for table in ROWS {
        for (first, until) in &strange {
            if !forget(cx, view, slice, table, first.clone(), until.clone()).await? {
                return Ok(Verdict::Paused);
            }
        }
    }
    let walked = references(cx, view, slice, &strange, &mut row).await;
    save(cx, view, &row).await?;
    walked
}

/// The version of the layout whose strangers' rows and blocks this node has let go of.
///
/// # Errors
/// What the database reports.
pub async fn offloaded(cx: Cx, view: &View) -> Result<Option<u64>, PeerError> {
    let row = load(cx, view).await?;
    Ok(row.ended.map(|_| row.version))
}

type Range = (Vec<u8>, Option<Vec<u8>>);

/// The ranges of keys whose positions this node does not hold.
fn strange(view: &View) -> Vec<Range> {
    let bytes = |position: Position| position.0.to_be_bytes().to_vec();
    let mut ranges: Vec<Range> = Vec::new();
    for (first, last) in view.ring.partitions() {
        if view.ring.holds(view.node, first) {
            continue;
        }
        let until = last.0.checked_add(1).map(|next| bytes(Position(next)));
        match ranges.last_mut() {
            Some((_, end)) if *end == Some(bytes(first)) => *end = until,
            Some(_) | None => ranges.push((bytes(first), until)),
        }
    }
    ranges
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
    /// Whether one of them is live and was made lately.
    fresh: bool,
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
        !self.unknown && self.held == self.needed && (self.needed > 0 || !self.fresh)
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
        block.fresh |= row.is_live() && data.stamp().wall().after(STRAY) > cx.now().wall;
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

/// Asks each holder once which of its blocks it needs and has.
async fn ask_holders(cx: Cx, view: &View, blocks: &mut BTreeMap<Hash, Strange>) {
    let mut by_holder: BTreeMap<NodeId, Vec<Hash>> = BTreeMap::new();
    for hash in blocks.keys() {
        for holder in view.ring.holders(Position::of_block(*hash)) {
            by_holder.entry(holder).or_default().push(*hash);
        }
    }
    for (holder, hashes) in by_holder {
        let asked = ask(cx, holder, &hashes).await;
        if let Err(error) = &asked {
            log::debug!("offload: {holder:?} does not say which blocks it has: {error}");
        }
        for (index, hash) in hashes.iter().enumerate() {
            let block = blocks.get_mut(hash).expect("made from the same blocks");
            match &asked {
                Ok(answers) => {
                    let (needed, held) = answers[index];
                    block.needed += usize::from(needed);
                    block.held += usize::from(needed && held);
                }
                Err(_) => block.unknown = true,
            }
        }
    }
}

/// For each block, whether the node needs it and whether it has a file of it.
async fn ask(cx: Cx, node: NodeId, blocks: &[Hash]) -> Result<Vec<(bool, bool)>, PeerError> {
    let keys = blocks.iter().map(|block| (Table::BlockCount, key::block_count(*block))).collect();
    let counts = cx.read(node, Read::Get(keys));
    let held = cx.holds(node, blocks.to_vec());
    let (counts, held) = flow::join(counts, held).await;
    let (counts, held) = (counts?.into_values(), held?);
    if counts.len() != blocks.len() || held.len() != blocks.len() {
        return Err(PeerError::Malformed);
    }
    let answers = counts.into_iter().zip(held).map(|(count, held)| {
        let row = count.map(|value| table::decode::<BlockCountRow>(Table::BlockCount, &value));
        let row = row.transpose().map_err(PeerError::Store)?;
        Ok((row.is_some_and(|row| row.refs > 0), held))
    });
    answers.collect()
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
