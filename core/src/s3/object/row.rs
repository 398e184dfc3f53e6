//! Reading the current version of an object, and making a new one current. Shared by every operation that writes one.

use bytes::Bytes;

use crate::{
    effect::PeerError,
    id::VersionId,
    quorum::{self, Last},
    s3::{
        bucket::seal,
        call::Target,
        error::{Code, S3Error},
        ingest::{self, Ingested},
    },
    store::{Answer, Batch, Found, Guard, Op, Outcome, Read, StoreError, Table},
    table::{
        self,
        object::{Content, ObjectRow},
        upload::ManifestRow,
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
    Ok(stored(quorum::read(cx, view, target.position, read).await?)?)
}

/// The same, without the payload, by somebody who is about to acknowledge it: it is on a write quorum.
pub async fn settle(cx: Cx, view: &View, target: &Target) -> Result<Option<Stored>, S3Error> {
    let read = Read::Object { key: target.row_key.clone(), payload: false };
    Ok(stored(quorum::settle(cx, view, target.position, read).await?)?)
}

fn stored(answer: Answer) -> Result<Option<Stored>, StoreError> {
    let Some(Found { row: value, inline, blocks }) = answer.into_object() else { return Ok(None) };
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
    /// The pages of the manifest, for [`Content::Parts`] that come of an upload now: each row and its key. With the content, they
    /// come to say which version this is the completion of.
    pub manifest: Vec<(Vec<u8>, ManifestRow)>,
}

/// What became of a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is durable under this version, and came last.
    Done(VersionId),
    /// The guard at this index of [`Write::guards`] did not hold; nothing changed.
    Refused(usize),
}

/// When the current version of an object was begun, tombstones included; 0 if there is none.
pub async fn stamp(cx: Cx, view: &View, target: &Target) -> Result<Stamp, S3Error> {
    let current = read(cx, view, target, false).await?;
    Ok(current.map_or(Stamp(0), |stored| stored.row.version.stamp()))
}

/// The same for [`write_after`], to be asked while the data comes in. `None` where one replica decides, which needs no telling.
pub async fn stamp_beside(cx: Cx, view: &View, target: &Target) -> Result<Option<Stamp>, S3Error> {
    if quorum::is_sole(view, target.position) {
        return Ok(None);
    }
    stamp(cx, view, target).await.map(Some)
}

/// Makes `write` the current version: takes a version id, commits, and goes round again for as long as a later version is
/// found to be there, so that an acknowledged write really came after all that was acknowledged before it.
///
/// `ingested` is the data that the content names, if it has come in with this request. On an error or refusal it is the
/// caller's to discard where one replica decides, and nobody's among several: there it may be named after all, and its intent
/// leads to it.
pub async fn write(
    cx: Cx,
    view: &View,
    target: &Target,
    write: Write,
    ingested: Option<&Ingested>,
) -> Result<Written, S3Error> {
    write_after(cx, view, target, write, ingested, None).await
}

/// [`write()`] by somebody who has asked, since the request began, when the current version was begun ([`stamp_beside`]).
pub async fn write_after(
    cx: Cx,
    view: &View,
    target: &Target,
    write: Write,
    ingested: Option<&Ingested>,
    seen: Option<Stamp>,
) -> Result<Written, S3Error> {
    if quorum::is_sole(view, target.position) {
        return sole(cx, view, target, write, ingested).await;
    }
    if owns_data(&write.content) {
        Box::pin(once(cx, view, target, write, ingested, seen)).await
    } else {
        Box::pin(again(cx, view, target, write)).await
    }
}

/// Whether the content's bytes are in rows of their own (blocks, parts).
fn owns_data(content: &Content) -> bool {
    match content {
        Content::Deleted | Content::Inline(_) => false,
        Content::Blocks(..) | Content::Parts(..) => true,
    }
}

/// Where one replica decides: a row that would lose takes its blocks or parts with it, so such a row asks not to be applied at
/// all, and keeps its data under the next version.
async fn sole(
    cx: Cx,
    view: &View,
    target: &Target,
    write: Write,
    ingested: Option<&Ingested>,
) -> Result<Written, S3Error> {
    let mut seen = Stamp(0);
    for _ in 0..ROUNDS {
        let version = cx.version_past(seen);
        let mut guards = write.guards.clone();
        if owns_data(&write.content) {
            guards.push(Guard::Newest { key: target.row_key.clone(), version });
        }
        match commit(cx, view, target, version, guards, &write, ingested).await? {
            Outcome::Applied(applied) => match applied.superseded_by {
                None => return Ok(Written::Done(version)),
                Some(stamp) => seen = stamp,
            },
            Outcome::Refused { guard } if guard < write.guards.len() => {
                return Ok(Written::Refused(guard));
            }
            Outcome::Refused { .. } => seen = seen.max(stamp(cx, view, target).await?),
        }
    }
    Err(too_fast())
}

/// Among several replicas, a row that names data in rows of its own is committed once: one replica may apply it while another
/// finds it superseded, and data that has been a loser's anywhere is garbage. It comes after every version that was acknowledged
/// before the request, because it comes after what a quorum had since. A version that supersedes it nevertheless was written
/// beside it, and may as well have come just after.
async fn once(
    cx: Cx,
    view: &View,
    target: &Target,
    write: Write,
    ingested: Option<&Ingested>,
    seen: Option<Stamp>,
) -> Result<Written, S3Error> {
    let seen = match seen {
        Some(seen) => seen,
        None => stamp(cx, view, target).await?,
    };
    let version = cx.version_past(seen);
    let mut guards = write.guards.clone();
    match &write.content {
        Content::Blocks(_, data) => {
            guards.extend(ingest::in_time(view, target.position, data.data));
        }
        // An upload may be as old as it likes: nobody gives it up but who aborts it, and it was open a moment ago. What counts is
        // that this batch is not still under way when that it was aborted is forgotten.
        Content::Parts(_, parts) => {
            let deadline = cx.now().wall.after(view.config.tombstone_delay / 2);
            let data = parts.upload;
            guards.push(Guard::Wanted { position: target.position, data });
            guards.push(Guard::Before { deadline });
        }
        Content::Deleted | Content::Inline(_) => {}
    }
    match commit(cx, view, target, version, guards, &write, ingested).await? {
        Outcome::Applied(_) => Ok(Written::Done(version)),
        Outcome::Refused { guard } if guard < write.guards.len() => Ok(Written::Refused(guard)),
        Outcome::Refused { .. } => Err(given_up()),
    }
}

/// Among several replicas, a row that has all it needs with it goes round again until it comes last; but not once it may have been
/// seen. Where that cannot be told, the client is to try again, and finds the same on a quorum.
async fn again(cx: Cx, view: &View, target: &Target, write: Write) -> Result<Written, S3Error> {
    let mut seen = Stamp(0);
    for _ in 0..ROUNDS {
        let version = cx.version_past(seen);
        let send = |guards| {
            let batch = batch(cx, target, version, guards, &write);
            quorum::write_last(cx, view, target.position, batch)
        };
        let refused = |guard| Last::Refused { guard };
        let guards = write.guards.clone();
        match unsealed(cx, view, target, &write.content, guards, refused, send).await? {
            Last::Done => return Ok(Written::Done(version)),
            Last::Superseded(stamp) => seen = stamp,
            Last::Refused { guard } => return Ok(Written::Refused(guard)),
            Last::Doubtful => {
                read(cx, view, target, false).await?;
                break;
            }
        }
    }
    Err(too_fast())
}

/// What makes `write` the version, among other changes.
fn batch(cx: Cx, target: &Target, version: VersionId, guards: Vec<Guard>, write: &Write) -> Batch {
    let mut row = ObjectRow { version, content: write.content.clone() };
    if let (Content::Parts(_, parts), false) = (&mut row.content, write.manifest.is_empty()) {
        parts.completion = Some(version);
    }
    let manifest = write.manifest.iter().map(|(key, page)| Op::Merge {
        table: Table::Manifest,
        key: key.clone(),
        value: table::encode(&ManifestRow { completion: Some(version), ..page.clone() }),
        inline: None,
    });
    let mut ops: Vec<Op> = manifest.chain(write.ops.iter().cloned()).collect();
    ops.push(merge(target, &row, write.inline.clone()));
    Batch { guards, ..Batch::new(cx.now().wall, ops) }
}

async fn commit(
    cx: Cx,
    view: &View,
    target: &Target,
    version: VersionId,
    guards: Vec<Guard>,
    write: &Write,
    ingested: Option<&Ingested>,
) -> Result<Outcome, S3Error> {
    let send = |guards| {
        let batch = batch(cx, target, version, guards, write);
        async move {
            match ingested {
                Some(data) => {
                    let Batch { guards, ops, .. } = batch;
                    ingest::finish(cx, view, target.position, data, guards, ops).await
                }
                None => Ok(quorum::write(cx, view, target.position, batch).await?),
            }
        }
    };
    let refused = |guard| Outcome::Refused { guard };
    unsealed(cx, view, target, &write.content, guards, refused, send).await
}

/// Sends a row with these guards, after having lifted the bucket's seal as often as that is in its way.
async fn unsealed<T: PartialEq, E, F>(
    cx: Cx,
    view: &View,
    target: &Target,
    content: &Content,
    mut guards: Vec<Guard>,
    refused: impl Fn(usize) -> T,
    send: impl Fn(Vec<Guard>) -> F,
) -> Result<T, S3Error>
where
    F: Future<Output = Result<T, E>>,
    S3Error: From<E>,
{
    let unsealed = guards.len();
    if *content != Content::Deleted {
        guards.push(Guard::Unsealed { bucket: target.bucket });
    }
    for _ in 0..ROUNDS {
        let outcome = send(guards.clone()).await?;
        if outcome != refused(unsealed) {
            return Ok(outcome);
        }
        // The same row again: where it has been applied already, nothing changes.
        Box::pin(seal::lift(cx, view, target.bucket, &[target.position])).await?;
    }
    Err(S3Error::aborted())
}

fn too_fast() -> S3Error {
    S3Error::new(Code::SlowDown, "This key is being written too fast by others. Please try again.")
}

/// The error of data that was given up before it was named: it took its writer more than a day, or the cluster took the writer
/// for dead.
pub(crate) fn given_up() -> S3Error {
    S3Error::new(
        Code::ServiceUnavailable,
        "This upload took so long that what had come of it was given up. Please send it again.",
    )
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
