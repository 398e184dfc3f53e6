//! Drops a piece of data that one node holds: its references, then its block list. The blocks follow, once nobody else refers to
//! them. For data that several hold see [`super::void`].

use super::{PAGE, commit, remove, rest, scan};
use crate::{
    effect::PeerError,
    flow::Window,
    id::{Position, VersionId},
    node::pace::Work,
    quorum,
    s3::ingest::unrefer,
    store::{Batch, Op, Table},
    table::{self, block::BlockListRow, key},
    task::Cx,
    view::View,
};

/// References that are dropped side by side where each lives on replicas of its own.
const WINDOW: usize = 16;

/// Drops all that is listed under `data`. Done again, or after a crash midway, it finds what is left: a block's reference goes
/// in the same transaction as its line in the list, or before it.
pub(super) async fn drop_data(
    cx: Cx,
    view: &View,
    position: Position,
    data: VersionId,
) -> Result<(), PeerError> {
    let mut first = key::block_list(position, data, 0);
    first.truncate(first.len() - size_of::<u64>());
    let until = key::after_prefix(&first);
    loop {
        let began = cx.now().mono;
        let range = (first.clone(), until.clone());
        let page = scan(cx, view, position, Table::BlockList, range, PAGE).await?;
        let mut ops = Vec::with_capacity(2 * page.rows.len());
        let mut elsewhere = Vec::new();
        for (row_key, value) in page.rows {
            let block = table::decode::<BlockListRow>(Table::BlockList, &value);
            let block = block.map_err(PeerError::Store)?.block;
            let reference = unrefer(view, block, data);
            let at = Position::of_block(block);
            if quorum::same_replicas(view, position, at) {
                ops.push(reference);
            } else {
                elsewhere.push((at, reference));
            }
            ops.push(remove(Table::BlockList, row_key));
        }
        drop_elsewhere(cx, view, elsewhere).await?;
        if !ops.is_empty() {
            commit(cx, view, position, ops).await?;
        }
        if page.next.is_none() {
            return Ok(());
        }
        rest(cx, Work::Owed, began, 1).await;
    }
}

async fn drop_elsewhere(
    cx: Cx,
    view: &View,
    references: Vec<(Position, Op)>,
) -> Result<(), PeerError> {
    let mut window = Window::new(WINDOW);
    for (position, reference) in references {
        if window.is_full() {
            window.next().await.expect("a full window is not empty")?;
        }
        window.push(quorum::write(cx, view, position, Batch::new(cx.now().wall, vec![reference])));
    }
    while let Some(dropped) = window.next().await {
        dropped?;
    }
    Ok(())
}
