//! Block files that no row counts: left by a crash between a file and its row, between a row's removal and its file's, or by
//! a write that was refused at the last moment.

use std::time::Duration;

use super::{PAGE, Verdict, rest};
use crate::{
    block::chore::{Chore, ChoreReport},
    effect::PeerError,
    id::Hash,
    node::pace::Work,
    quorum,
    store::Table,
    table::key,
    task::Cx,
    view::View,
};

/// Younger files are left alone. Pins protect what this process is writing; this is for the case that they do not, and longer
/// than any write takes from its file to its row.
const AGE: Duration = Duration::from_secs(3600);

/// Walks over all block files, in order of hash, and removes those that nothing counts.
pub(super) async fn run(cx: Cx, view: &View) -> Result<Verdict, PeerError> {
    let mut after = None;
    let (mut seen, mut removed, mut failed) = (0_u64, 0_u64, 0_u64);
    loop {
        let began = cx.now().mono;
        let page = list(cx, after).await?;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        seen += page.len() as u64;
        for block in uncounted(cx, view, &page).await? {
            match remove(cx, block).await {
                Ok(gone) => removed += u64::from(gone),
                Err(error) => {
                    failed += 1;
                    log::warn!("orphaned block {block} stays until tomorrow: {error}");
                }
            }
        }
        rest(cx, Work::Upkeep, began, 2).await;
    }
    if removed + failed > 0 {
        log::info!("orphans: {removed} of {seen} blocks removed, {failed} could not be");
    }
    Ok(Verdict::Done)
}

async fn list(cx: Cx, after: Option<Hash>) -> Result<Vec<Hash>, PeerError> {
    match cx.chore(Chore::List { after, limit: PAGE }).await? {
        ChoreReport::Files(files) => Ok(files),
        other @ (ChoreReport::Checked(_) | ChoreReport::Removed(_) | ChoreReport::Moved(_)) => {
            panic!("the block store answered List with {other:?}")
        }
    }
}

/// Those of the page without a row. The chore asks once more, when nobody can be storing the block.
async fn uncounted(cx: Cx, view: &View, page: &[Hash]) -> Result<Vec<Hash>, PeerError> {
    let keys = page.iter().map(|block| (Table::BlockCount, key::block_count(*block))).collect();
    let counts = quorum::get_local(cx, view, keys).await?;
    let pairs = page.iter().zip(counts);
    Ok(pairs.filter(|(_, count)| count.is_none()).map(|(block, _)| *block).collect())
}

async fn remove(cx: Cx, block: Hash) -> Result<bool, PeerError> {
    let written_before = cx.now().wall.before(AGE);
    match cx.chore(Chore::RemoveOrphan { block, written_before }).await? {
        ChoreReport::Removed(removed) => Ok(removed),
        other @ (ChoreReport::Files(_) | ChoreReport::Checked(_) | ChoreReport::Moved(_)) => {
            panic!("the block store answered RemoveOrphan with {other:?}")
        }
    }
}
