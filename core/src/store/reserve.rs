//! Keeps room on the disk that the database is on, so that deletes still work when it is full: a delete writes rows too, and a
//! database that cannot commit cannot get any smaller.

use std::sync::Arc;

use super::{Batch, Op, Table};
use crate::{
    block::disk::Disk,
    effect::PeerError,
    table::{
        self, object,
        upload::{IntentRow, UploadRow},
    },
};

/// The room that is kept. Asked once for each batch that stores something.
pub struct Reserve {
    disk: Arc<dyn Disk>,
    dir: String,
    bytes: Option<u64>,
}

impl Reserve {
    /// Keeps `bytes` free where `dir` is, or by default what [`Space::spare`](crate::block::disk::Space::spare) says.
    pub fn new(disk: Arc<dyn Disk>, dir: &str, bytes: Option<u64>) -> Self {
        Self { disk, dir: dir.to_owned(), bytes }
    }

    /// Whether the batch may be committed.
    ///
    /// # Errors
    /// [`PeerError::Full`] if only the reserve is left, and the batch would store something. [`PeerError::Disk`] if the file
    /// system does not tell.
    pub fn admit(&self, batch: &Batch) -> Result<(), PeerError> {
        if !batch.ops.iter().any(stores) {
            return Ok(());
        }
        let space = self.disk.space(&self.dir);
        let space = space.map_err(|error| PeerError::Disk(format!("{}: {error}", self.dir)))?;
        if space.spare(self.bytes) == 0 { Err(PeerError::Full) } else { Ok(()) }
    }
}

/// Whether a change is there to keep something, and not on the way to freeing something. A row that does not decode is for
/// the transaction to refuse.
fn stores(op: &Op) -> bool {
    match op {
        Op::Merge { table, value, .. } => match table {
            Table::Object => object::is_live(value).unwrap_or(false),
            Table::Upload => {
                table::decode::<UploadRow>(*table, value).is_ok_and(|row| row.is_open())
            }
            Table::Intent => table::decode::<IntentRow>(*table, value)
                .is_ok_and(|row| matches!(row, IntentRow::Writing { .. })),
            Table::Part | Table::Manifest | Table::BlockList => true,
            // Of these, one may free (a bucket that is deleted, a key that is withdrawn), and none takes much.
            Table::Meta
            | Table::Alias
            | Table::Bucket
            | Table::AccessKey
            | Table::AdminToken
            | Table::Inline
            | Table::BlockRef
            | Table::BlockCount
            | Table::Counter
            | Table::Queue
            | Table::Ballot
            | Table::Fetch
            | Table::BlockError
            | Table::Fingerprint => false,
        },
        Op::Remove { .. }
        | Op::Forget { .. }
        | Op::Correct(_)
        | Op::Collect { .. }
        | Op::Enqueue { .. }
        | Op::Reap { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        block::disk::MemDisk,
        id::VersionId,
        table::{
            object::{Content, Meta, ObjectRow},
            queue::Job,
        },
        time::Timestamp,
    };

    fn merge<T: serde::Serialize>(table: Table, row: &T) -> Op {
        Op::Merge { table, key: vec![0; 20], value: table::encode(row), inline: None }
    }

    #[test]
    fn on_a_full_disk_only_what_frees_is_admitted() {
        let object =
            |content| merge(Table::Object, &ObjectRow { version: VersionId::default(), content });
        let open = UploadRow::Open { headers: vec![], checksum: None, initiator: String::new() };
        let storing = [
            object(Content::Inline(Meta::default())),
            merge(Table::Upload, &open),
            merge(Table::Intent, &IntentRow::Writing { boot: 1, node: crate::id::NodeId([1; 32]) }),
            merge(Table::BlockList, &0),
        ];
        let reap = Job::Reap { block: crate::id::Hash::default() };
        let freeing = [
            object(Content::Deleted),
            merge(Table::Upload, &UploadRow::Closed { etag: None }),
            merge(Table::Intent, &IntentRow::Done),
            Op::Remove { table: Table::BlockList, key: vec![] },
            Op::Enqueue { due: Timestamp(0), job: reap },
            Op::Reap { block: crate::id::Hash::default() },
        ];
        let disk = Arc::new(MemDisk::new());
        disk.set_total(1000);
        let reserve = Reserve::new(disk.clone(), "meta", None);
        let admit = |ops: &[Op]| reserve.admit(&Batch::new(Timestamp(0), ops.to_vec()));
        assert!(storing.iter().all(|op| admit(std::slice::from_ref(op)).is_ok()));
        disk.create("rest", &[0; 949]).expect("room");
        assert_eq!(admit(&storing), Ok(()), "one byte more than the reserve of 5 %");
        disk.create("last", &[0; 1]).expect("room");
        for op in storing {
            let batch = [freeing[0].clone(), op];
            assert_eq!(admit(&batch), Err(PeerError::Full), "{batch:?}");
        }
        assert_eq!(admit(&freeing), Ok(()));
    }
}
