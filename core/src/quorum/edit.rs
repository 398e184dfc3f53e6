//! A full-copy row that is changed by what it is.

use super::{confirm, is_sole_copy, write_full_copy_everywhere};
use crate::{
    effect::PeerError,
    store::{Batch, Guard, Op},
    table::{self, merge::Row},
    task::Cx,
    view::View,
};

/// How often a change begins again because others change the same.
const ROUNDS: usize = 8;

/// A row as a majority of the nodes has it, deleted or not.
///
/// # Errors
/// [`PeerError`] if too few nodes answer, or the row cannot be read.
pub async fn confirmed<R: Row>(
    cx: Cx,
    view: &View,
    row_key: &[u8],
) -> Result<Option<R>, PeerError> {
    Ok(stored(cx, view, row_key).await?.map(|(row, _)| row))
}

/// The same, and its bytes.
async fn stored<R: Row>(
    cx: Cx,
    view: &View,
    row_key: &[u8],
) -> Result<Option<(R, Vec<u8>)>, PeerError> {
    let keys = vec![(R::TABLE, row_key.to_vec())];
    let Some(value) = confirm(cx, view, keys).await?.pop().flatten() else { return Ok(None) };
    let row = table::decode(R::TABLE, &value).map_err(PeerError::Store)?;
    Ok(Some((row, value)))
}

/// Changes a row as a majority of the nodes has it. `live` says which row is there to be changed, from what is stored; `decide` is given
/// it, and gives what it is to be, or `None` if it is that already. Once this gives the row as it is in the end, every node that can be
/// reached goes by it. `None`: others undo the change as often as it is made.
pub async fn edit<R: Row, E: From<PeerError>>(
    cx: Cx,
    view: &View,
    row_key: &[u8],
    live: impl Fn(Option<R>) -> Result<R, E>,
    decide: impl Fn(&R) -> Result<Option<R>, E>,
) -> Result<Option<R>, E> {
    for _ in 0..ROUNDS {
        let (row, stored) = stored(cx, view, row_key).await?.unzip();
        let row = live(row)?;
        let Some(new) = decide(&row)? else { return Ok(Some(row)) };
        let (key, value) = (row_key.to_vec(), table::encode(&new));
        let op = Op::Merge { table: R::TABLE, key: key.clone(), value, inline: None };
        let mut batch = Batch::new(cx.now().wall, vec![op]);
        if let Some(value) = stored.filter(|_| is_sole_copy(view)) {
            batch = batch.guarded(Guard::Unchanged { table: R::TABLE, key, value });
        }
        // Whether it was refused, or overtaken, is seen when the row is read again.
        write_full_copy_everywhere(cx, view, batch).await?;
    }
    Ok(None)
}
