//! What an operator asks of blocks, as functions over effects: one block's state, the list of those that cannot be fetched,
//! trying them now, giving one up.

use std::time::Duration;

use crate::{
    effect::PeerError,
    id::{Hash, VersionId},
    quorum,
    store::{Op, Read, Table},
    table::{
        self,
        block::{BlockCountRow, BlockErrorRow, BlockRefRow},
        key,
        queue::Job,
    },
    task::Cx,
    view::View,
};

use super::{
    commit_local, damaged,
    fetch::{self, FetchedRow},
};

/// Most referrers that [`info`] names. A block of zeros may have millions.
pub const REFS_MAX: usize = 1000;

/// A page of [`errors`] has at most so many blocks.
pub const ERRORS_MAX: usize = 1000;

/// What this node knows of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// The block.
    pub block: Hash,
    /// Live references, as counted here; `None` if the block is not known.
    pub refs: Option<u64>,
    /// Who refers to it: the first [`REFS_MAX`].
    pub referrers: Vec<Referrer>,
    /// Whether there is a file of it here.
    pub held: bool,
    /// Whether it waits to be looked at.
    pub queued: bool,
    /// How fetching it has failed.
    pub error: Option<BlockErrorRow>,
}

/// A reference to a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// The data that has the block.
    pub data: VersionId,
    /// What the reference says.
    pub row: BlockRefRow,
}

/// What this node knows of a block.
///
/// # Errors
/// What the database or the disk reports.
pub async fn info(cx: Cx, view: &View, block: Hash) -> Result<BlockInfo, PeerError> {
    let block_key = key::block_count(block);
    let tables = [Table::BlockCount, Table::Fetch, Table::BlockError];
    let keys = tables.map(|table| (table, block_key.clone())).to_vec();
    let mut rows = quorum::get_local(cx, view, keys).await?.into_iter();
    let mut next = || rows.next().expect("an answer for each key");
    let (count, queued, error) = (next(), next(), next());
    let count = count.map(|value| table::decode::<BlockCountRow>(Table::BlockCount, &value));
    let error = error.map(|value| table::decode::<BlockErrorRow>(Table::BlockError, &value));
    let until = key::after_prefix(&block_key);
    let read = Read::Scan { table: Table::BlockRef, from: block_key, until, limit: REFS_MAX };
    let rows = quorum::read_local(cx, view, read).await?.into_rows().into_iter();
    let referrers = rows.map(|(row_key, value)| {
        let data = row_key.get(32..).and_then(VersionId::from_slice);
        let data = data.ok_or_else(|| damaged(Table::BlockRef, &row_key))?;
        let row = table::decode(Table::BlockRef, &value).map_err(PeerError::Store)?;
        Ok(Referrer { data, row })
    });
    Ok(BlockInfo {
        block,
        refs: count.transpose().map_err(PeerError::Store)?.map(|row| row.refs),
        referrers: referrers.collect::<Result<_, PeerError>>()?,
        held: cx.holds(view.node, vec![block]).await?.first().copied().unwrap_or(false),
        queued: queued.is_some(),
        error: error.transpose().map_err(PeerError::Store)?,
    })
}

/// Blocks that could not be fetched, in order of hash, after `after`: at most [`ERRORS_MAX`].
///
/// # Errors
/// What the database reports.
pub async fn errors(
    cx: Cx,
    view: &View,
    after: Option<Hash>,
) -> Result<Vec<(Hash, BlockErrorRow)>, PeerError> {
    let from = after.map_or_else(Vec::new, |after| [&after.0[..], &[0]].concat());
    let read = Read::Scan { table: Table::BlockError, from, until: None, limit: ERRORS_MAX };
    let rows = quorum::read_local(cx, view, read).await?.into_rows().into_iter();
    rows.map(|(row_key, value)| {
        let block = Hash::from_slice(&row_key);
        let block = block.ok_or_else(|| damaged(Table::BlockError, &row_key))?;
        let row = table::decode(Table::BlockError, &value).map_err(PeerError::Store)?;
        Ok((block, row))
    })
    .collect()
}

/// Queues these blocks to be looked at, and fetched if need be, at once.
///
/// # Errors
/// What the database reports.
pub async fn retry(cx: Cx, view: &View, blocks: &[Hash]) -> Result<(), PeerError> {
    let due = cx.now().wall;
    for page in blocks.chunks(super::PAGE) {
        let ops = page.iter().map(|block| Op::Enqueue { due, job: Job::Fetch { block: *block } });
        commit_local(cx, view, ops.collect()).await?;
    }
    Ok(())
}

/// Queues every block that could not be fetched; says how many there are.
///
/// # Errors
/// What the database reports.
pub async fn retry_all(cx: Cx, view: &View) -> Result<u64, PeerError> {
    let (mut after, mut count) = (None, 0);
    loop {
        let page = errors(cx, view, after).await?;
        let blocks: Vec<Hash> = page.iter().map(|(block, _)| *block).collect();
        retry(cx, view, &blocks).await?;
        count += blocks.len() as u64;
        match blocks.last() {
            Some(last) => after = Some(*last),
            None => return Ok(count),
        }
    }
}

/// How it stands with the blocks that this node has to fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resync {
    /// Blocks queued to be looked at.
    pub queued: u64,
    /// Blocks that could not be fetched and are tried again later.
    pub errors: u64,
    /// Blocks looked at since the queue was empty.
    pub checked: u64,
    /// Those of them that were fetched.
    pub fetched: u64,
    /// Their plain bytes.
    pub bytes: u64,
    /// How many bytes are still to be fetched, if the rest is as what has been looked at; blocks of full size before that can be
    /// told.
    pub bytes_left: u64,
    /// How long it still takes, if it goes on as it has; `None` before that can be told.
    pub time_left: Option<Duration>,
}

/// How it stands with the blocks that this node has to fetch.
///
/// # Errors
/// What the database reports.
pub async fn resync(cx: Cx, view: &View) -> Result<Resync, PeerError> {
    let counts = Read::Count(vec![Table::Fetch, Table::BlockError]);
    let counts = quorum::read_local(cx, view, counts).await?.into_counts();
    let [queued, errors] = counts[..] else { panic!("two counts were asked for: {counts:?}") };
    let FetchedRow { since, checked, fetched, bytes } = fetch::load(cx, view).await?;
    let share = |of: u64| (u128::from(of) * u128::from(queued)).checked_div(checked.into());
    let bytes_left =
        share(bytes).unwrap_or(u128::from(queued) * u128::from(view.config.block_size));
    let elapsed = cx.now().wall.0.saturating_sub(since.0);
    let saturated = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
    Ok(Resync {
        queued,
        errors,
        checked,
        fetched,
        bytes,
        bytes_left: saturated(bytes_left),
        time_left: share(elapsed).map(|millis| Duration::from_millis(saturated(millis))),
    })
}
