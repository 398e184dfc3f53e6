//! Reading the current version of an object, and making a new one current. Shared by every operation that writes one.

use bytes::Bytes;

use crate::{
    effect::PeerError,
    id::VersionId,
    quorum,
    s3::{
        call::Target,
        error::{Code, S3Error},
        ingest::{self, Ingested},
    },
    store::{Batch, Found, Guard, Op, Outcome, Read, StoreError, Table},
    table::{
        self,
        object::{Content, ObjectRow},
    },
    task::Cx,
    time::Stamp,
    view::View,
};

/// How often a writer goes round again because others have written later versions meanwhile. Each round lost is another
/// writer's success, so this is reached only when a key is written faster than one node can commit.
const ROUNDS: usize = 64;

/// An object row as it was read.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The row.
    pub row: ObjectRow,
    /// The row's bytes, for [`Guard::Unchanged`].
    pub value: Vec<u8>,
    /// The payload, if it is inline and was asked for.
    pub inline: Option<Bytes>,
    /// The beginning of its block list, if it has one and that was asked for.
    pub blocks: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads the current version of an object; a tombstone counts as one.
pub async fn read(
    cx: Cx,
    view: &View,
    target: &Target,
    payload: bool,
) -> Result<Option<Stored>, S3Error> {
    let read = Read::Object { key: target.row_key.clone(), payload };
    let stored = quorum::read(cx, view, target.position, read).await?.into_object();
    let Some(Found { row: value, inline, blocks }) = stored else { return Ok(None) };
    let row = table::decode(Table::Object, &value)?;
    Ok(Some(Stored { row, value, inline, blocks }))
}

/// What a writer wants to become the current version.
#[derive(Clone, Debug)]
pub struct Write {
    /// The version's content.
    pub content: Content,
    /// The payload, for [`Content::Inline`].
    pub inline: Option<Bytes>,
    /// What must hold.
    pub guards: Vec<Guard>,
    /// Changes that go with it.
    pub ops: Vec<Op>,
}

/// What became of a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is durable under this version, and came last.
    Done(VersionId),
    /// The guard at this index of [`Write::guards`] did not hold; nothing changed.
    Refused(usize),
}

/// Makes `write` the current version: takes a version id, commits, and goes round again for as long as a later version is
/// found to be there, so that an acknowledged write really came after all that was acknowledged before it.
///
/// `ingested` is the data that the content names, if it has come in with this request. On an error or refusal it is the
/// caller's to discard.
pub async fn write(
    cx: Cx,
    view: &View,
    target: &Target,
    write: Write,
    ingested: Option<&Ingested>,
) -> Result<Written, S3Error> {
    // A row that loses takes its blocks or parts with it, so such a row asks not to be applied at all.
    let owns_data = match write.content {
        Content::Deleted | Content::Inline(_) => false,
        Content::Blocks(..) | Content::Parts(..) => true,
    };
    let mut seen = Stamp(0);
    for _ in 0..ROUNDS {
        let version = cx.version_past(seen);
        let row = ObjectRow { version, content: write.content.clone() };
        let mut guards = write.guards.clone();
        if owns_data {
            guards.push(Guard::Newest { key: target.row_key.clone(), version });
        }
        let mut ops = write.ops.clone();
        ops.push(merge(target, &row, write.inline.clone()));
        let outcome = match ingested {
            Some(data) => ingest::finish(cx, view, target.position, data, guards, ops).await?,
            None => {
                let batch = Batch { guards, ..Batch::new(cx.now().wall, ops) };
                quorum::write(cx, view, target.position, batch).await?
            }
        };
        match outcome {
            Outcome::Applied(applied) => match applied.superseded_by {
                None => return Ok(Written::Done(version)),
                Some(stamp) => seen = stamp,
            },
            Outcome::Refused { guard } if guard < write.guards.len() => {
                return Ok(Written::Refused(guard));
            }
            Outcome::Refused { .. } => {
                let current = read(cx, view, target, false).await?;
                seen = seen.max(current.map_or(Stamp(0), |stored| stored.row.version.stamp()));
            }
        }
    }
    Err(S3Error::new(
        Code::SlowDown,
        "This key is being written too fast by others. Please try again.",
    ))
}

/// The change that merges an object row.
pub fn merge(target: &Target, row: &ObjectRow, inline: Option<Bytes>) -> Op {
    Op::Merge {
        table: Table::Object,
        key: target.row_key.clone(),
        value: table::encode(row),
        inline,
    }
}

/// The error of a row that is there without what it names.
pub(crate) fn torn(table: Table, reason: &str) -> PeerError {
    PeerError::Store(StoreError::Damaged { table, reason: reason.to_owned() })
}
