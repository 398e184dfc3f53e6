//! A bucket is deleted only while it takes no objects, or an object could be acknowledged after the bucket was found empty.
//!
//! Whoever deletes a bucket first *seals* it: on a write quorum of each index shard's position, and on a majority of all nodes. A
//! replica with the seal refuses rows that make an object ([`Guard::Unsealed`](crate::store::Guard::Unsealed)), in the
//! transaction that would store them. Then the deleter lists the bucket among replicas that it has sealed, a write quorum for
//! each shard. An object that is ever acknowledged is on a write quorum as well, so on one of those replicas: either it was
//! there before the seal, and is listed, or the replica has refused it.
//!
//! The seal names the moment at which the bucket's name was set, and stands until the name is set again, or for ever. Both the
//! deletion and the setting again are agreed on by ballot ([`quorum::change`]), each only if the name still is what it was. So a
//! writer that meets a seal need not wait for anybody, nor believe in any clock: it takes the seal off, and the deletion that
//! has set it can no longer be agreed on; or it learns that the bucket is deleted. A deleter that has crashed leaves nothing
//! behind but this detour for the next writer.

use crate::{
    effect::PeerError,
    id::{BucketId, NodeId, Position},
    quorum,
    s3::{access, error::S3Error},
    store::{Batch, Table},
    table::{
        self,
        access::{AliasRow, BucketRow, Lww, is_hidden},
        ballot::FullCopyRow,
    },
    task::Cx,
    time::Stamp,
    view::View,
};

/// Seals a bucket, by a name that was set at this moment. Gives the nodes that have it sealed.
pub(super) async fn seal(
    cx: Cx,
    view: &View,
    id: BucketId,
    row: &BucketRow,
    name: &str,
    at: Stamp,
) -> Result<Vec<NodeId>, PeerError> {
    let mut row = row.clone();
    row.seals.insert(name.to_owned(), at);
    let op = super::create::merge(Table::Bucket, &id.0, table::encode(&row));
    let shards = (0..row.shards).map(|shard| Position::of_shard(id, shard));
    let batch = Batch::new(cx.now().wall, vec![op]);
    quorum::write_full_copy_at(cx, view, &shards.collect::<Vec<_>>(), batch).await
}

/// Takes the seal off a bucket, for a writer of these positions: then no deletion that has begun can succeed.
///
/// # Errors
/// The bucket is deleted; or too few nodes answer.
pub(crate) async fn lift(
    cx: Cx,
    view: &View,
    id: BucketId,
    positions: &[Position],
) -> Result<(), S3Error> {
    let value = quorum::confirm(cx, view, vec![(Table::Bucket, id.0.to_vec())]).await?.pop();
    let Some(value) = value.flatten() else { return Err(PeerError::Busy.into()) };
    let row: BucketRow = table::decode(Table::Bucket, &value)?;
    let used: Vec<_> = row.aliases.iter().filter(|(_, used)| used.value && !row.deleted).collect();
    if used.is_empty() && !row.deleted {
        // Whoever has sealed it gave it a name for that, which is on its way: the writer comes again.
        return Ok(());
    }
    let mut renewed = BucketRow { aliases: Default::default(), ..row.clone() };
    for (name, used) in used {
        let settled = set_again(cx, view, id, &row, name, used).await?;
        if settled.bucket.value == Some(id) {
            let at = settled.bucket.at;
            renewed.aliases.insert(name.clone(), Lww { at, value: true });
        }
    }
    if renewed.aliases.is_empty() {
        let mut names = row.aliases.keys().filter(|name| !is_hidden(name));
        return Err(access::no_such_bucket(names.next().map_or("", String::as_str)));
    }
    // A majority of all nodes knows by now; those that have refused may not.
    let op = super::create::merge(Table::Bucket, &id.0, table::encode(&renewed));
    let batch = Batch::new(cx.now().wall, vec![op]);
    quorum::write_full_copy_at(cx, view, positions, batch).await?;
    Ok(())
}

/// Sets a name to the bucket that it stands for, if it does so still.
async fn set_again(
    cx: Cx,
    view: &View,
    id: BucketId,
    row: &BucketRow,
    name: &str,
    used: &Lww<bool>,
) -> Result<AliasRow, PeerError> {
    let now = cx.now().wall;
    let seen = row.seals.get(name).copied().unwrap_or(Stamp(0)).max(used.at);
    quorum::change(cx, view, name, |current| {
        if current.bucket.value != Some(id) {
            return None;
        }
        let at = Stamp::past(now, seen.max(current.bucket.at));
        let mut row = row.clone();
        row.aliases.insert(name.to_owned(), Lww { at, value: true });
        let rows = vec![FullCopyRow::new(Table::Bucket, id.0.to_vec(), table::encode(&row))];
        Some(quorum::Change { alias: AliasRow { bucket: Lww { at, value: Some(id) } }, rows })
    })
    .await
}
