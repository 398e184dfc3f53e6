//! Names that all share, given to a bucket and taken from it. As with the creation of a bucket, a majority of the nodes settles who
//! has one.

use super::create::{is_deleted, merge, read_alias};
use crate::{
    effect::PeerError,
    id::BucketId,
    quorum,
    store::{Batch, Guard, Op, Outcome, Table},
    table::{
        self,
        access::{AliasRow, BucketRow, Lww},
        ballot::FullCopyRow,
    },
    task::Cx,
    time::Stamp,
    view::View,
};

/// What came of [`add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The bucket has the name.
    Done,
    /// Another bucket has it.
    Taken,
    /// There is no such bucket any more.
    Gone,
}

/// What goes with a name that a bucket has, or no longer has, from this moment on.
fn rows(id: BucketId, row: &BucketRow, name: &str, at: Stamp, has: bool) -> (AliasRow, BucketRow) {
    let alias = AliasRow { bucket: Lww { at, value: has.then_some(id) } };
    let mut row = row.clone();
    row.aliases.insert(name.to_owned(), Lww { at, value: has });
    (alias, row)
}

fn ops(id: BucketId, name: &str, (alias, row): &(AliasRow, BucketRow)) -> Vec<Op> {
    vec![
        merge(Table::Alias, name.as_bytes(), table::encode(alias)),
        merge(Table::Bucket, &id.0, table::encode(row)),
    ]
}

fn change(id: BucketId, (alias, row): (AliasRow, BucketRow)) -> quorum::Change {
    let row = FullCopyRow::new(Table::Bucket, id.0.to_vec(), table::encode(&row));
    quorum::Change { alias, rows: vec![row] }
}

/// When a name may be set again: after what it stood for, and after what the bucket knows of it.
fn seen(row: &BucketRow, name: &str, current: Stamp) -> Stamp {
    row.aliases.get(name).map_or(current, |used| used.at.max(current))
}

/// Gives a bucket, with this row, a name. The name has been checked.
///
/// # Errors
/// [`PeerError`] if too few nodes answer.
pub async fn add(
    cx: Cx,
    view: &View,
    id: BucketId,
    row: &BucketRow,
    name: &str,
) -> Result<Added, PeerError> {
    let now = cx.now().wall;
    if quorum::is_sole_copy(view) {
        let alias = read_alias(cx, view, name).await?.unwrap_or_default();
        match alias.value {
            Some(other) if other == id => return Ok(Added::Done),
            Some(_) => return Ok(Added::Taken),
            None => {}
        }
        let rows = rows(id, row, name, Stamp::past(now, seen(row, name, alias.at)), true);
        let batch = Batch::new(now, ops(id, name, &rows))
            .guarded(Guard::Live { table: Table::Bucket, key: id.0.to_vec() })
            .guarded(Guard::Absent { table: Table::Alias, key: name.as_bytes().to_vec() });
        return Ok(match quorum::write_full_copy(cx, view, batch).await? {
            Outcome::Applied(_) => Added::Done,
            Outcome::Refused { guard: 0 } => Added::Gone,
            Outcome::Refused { .. } => Added::Taken,
        });
    }
    let settle = || {
        quorum::change(cx, view, name, |current| {
            let at = Stamp::past(now, seen(row, name, current.bucket.at));
            let free = current.bucket.value.is_none();
            free.then(|| change(id, rows(id, row, name, at, true)))
        })
    };
    let mut settled = settle().await?;
    if let Some(other) = settled.bucket.value.filter(|other| *other != id)
        && is_deleted(cx, view, other).await?
    {
        // It was given this name while it was being deleted.
        quorum::release(cx, view, name, other).await?;
        settled = settle().await?;
    }
    if settled.bucket.value != Some(id) {
        return Ok(Added::Taken);
    }
    // A deletion under way has not heard of the name.
    if is_deleted(cx, view, id).await? {
        quorum::release(cx, view, name, id).await?;
        return Ok(Added::Gone);
    }
    Ok(Added::Done)
}

/// Takes a name from a bucket with this row. Whether it had the name. Nobody who can be reached knows the bucket by it afterwards.
///
/// # Errors
/// [`PeerError`] if too few nodes answer.
pub async fn remove(
    cx: Cx,
    view: &View,
    id: BucketId,
    row: &BucketRow,
    name: &str,
) -> Result<bool, PeerError> {
    let (now, key) = (cx.now().wall, name.as_bytes().to_vec());
    let value = quorum::confirm(cx, view, vec![(Table::Alias, key.clone())]).await?.pop().flatten();
    let Some(value) = value else { return Ok(false) };
    let alias: AliasRow = table::decode(Table::Alias, &value).map_err(PeerError::Store)?;
    if alias.bucket.value != Some(id) {
        return Ok(false);
    }
    if quorum::is_sole_copy(view) {
        let rows = rows(id, row, name, Stamp::past(now, seen(row, name, alias.bucket.at)), false);
        let batch = Batch::new(now, ops(id, name, &rows));
        let unchanged = Guard::Unchanged { table: Table::Alias, key, value };
        let outcome = quorum::write_full_copy(cx, view, batch.guarded(unchanged)).await?;
        return Ok(matches!(outcome, Outcome::Applied(_)));
    }
    let settled = quorum::change(cx, view, name, |current| {
        let at = Stamp::past(now, seen(row, name, current.bucket.at));
        let is_ours = current.bucket.value == Some(id);
        is_ours.then(|| change(id, rows(id, row, name, at, false)))
    })
    .await?;
    if settled.bucket.value.is_none() {
        let row = rows(id, row, name, settled.bucket.at, false).1;
        let batch = Batch::new(now, ops(id, name, &(settled, row)));
        quorum::write_full_copy_everywhere(cx, view, batch).await?;
    }
    Ok(true)
}
