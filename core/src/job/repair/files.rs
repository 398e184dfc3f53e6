//! Repairs of block files: those that are missing, those in the wrong directory.

use super::{super::PAGE, RepairRow};
use crate::{
    block::chore::{Chore, ChoreReport},
    effect::PeerError,
    id::Hash,
    job::{commit_local, damaged, scan_local},
    store::{Op, Table},
    table::{self, block::BlockCountRow, queue::Job},
    task::Cx,
    view::View,
};

/// Files that are moved between two rests: each is read and written as a whole.
const MOVES: usize = 16;

/// Looks for the files of the next blocks that are referred to; what is missing is queued to be fetched.
pub(super) async fn look_for(cx: Cx, view: &View, row: &mut RepairRow) -> Result<bool, PeerError> {
    let from = row.after.clone();
    let page = scan_local(cx, view, Table::BlockCount, from, None, PAGE).await?;
    let mut blocks = Vec::new();
    for (row_key, value) in page.rows {
        let count = table::decode::<BlockCountRow>(Table::BlockCount, &value);
        if count.map_err(PeerError::Store)?.refs > 0 {
            let block = Hash::from_slice(&row_key);
            blocks.push(block.ok_or_else(|| damaged(Table::BlockCount, &row_key))?);
        }
    }
    let held = cx.holds(view.node, blocks.clone()).await?;
    let due = cx.now().wall;
    let missing = blocks.iter().zip(held).filter(|(_, held)| !held);
    let ops = missing.map(|(block, _)| Op::Enqueue { due, job: Job::Fetch { block: *block } });
    let ops: Vec<Op> = ops.collect();
    row.checked += blocks.len() as u64;
    row.repaired += ops.len() as u64;
    if !ops.is_empty() {
        commit_local(cx, view, ops).await?;
    }
    Ok(row.go_on(page.next))
}

/// Moves the next files to the directories where they belong.
pub(super) async fn rebalance(cx: Cx, row: &mut RepairRow) -> Result<bool, PeerError> {
    let after = Hash::from_slice(&row.after);
    let files = match cx.chore(Chore::List { after, limit: MOVES }).await? {
        ChoreReport::Files(files) => files,
        other @ (ChoreReport::Checked(_) | ChoreReport::Removed(_) | ChoreReport::Moved(_)) => {
            panic!("the block store answered List with {other:?}")
        }
    };
    for file in &files {
        row.checked += 1;
        match cx.chore(Chore::Rebalance(*file)).await {
            Ok(ChoreReport::Moved(moved)) => row.repaired += u64::from(moved),
            Ok(
                other @ (ChoreReport::Checked(_) | ChoreReport::Removed(_) | ChoreReport::Files(_)),
            ) => panic!("the block store answered Rebalance with {other:?}"),
            // It stays where it is, and is found there.
            Err(error) => log::error!("rebalance: block {file}: {error}"),
        }
    }
    Ok(row.go_on(files.last().map(|last| last.0.to_vec())))
}
