//! DeleteObjects.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    effect::PeerError,
    flow::Window,
    id::Position,
    quorum,
    s3::{
        call::{Call, Response, Target},
        error::{Code, S3Error},
        object::row,
        request::KEY_MAX,
        xml,
    },
    store::{Batch, Op, Outcome, Read, Table},
    table::{
        self,
        object::{Content, ObjectRow},
    },
    task::Cx,
    time::Stamp,
    view::View,
};

/// The most keys of one request.
const KEYS_MAX: usize = 1000;

/// Replica sets whose keys are deleted side by side: 16 index shards are at most so many, as a rule.
const WINDOW: usize = 16;

/// How often the tombstones of a batch go round again, each time because another writer succeeded meanwhile.
const ROUNDS: usize = 64;

#[derive(Debug, Deserialize)]
struct Delete {
    #[serde(rename = "Object", default)]
    objects: Vec<Object>,
    #[serde(rename = "Quiet", default)]
    quiet: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
    version_id: Option<String>,
    #[serde(rename = "ETag")]
    etag: Option<String>,
    last_modified_time: Option<String>,
    size: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct DeleteResult {
    #[serde(rename = "Deleted")]
    deleted: Vec<Deleted>,
    #[serde(rename = "Error")]
    errors: Vec<Failed>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Deleted {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<String>,
    code: &'static str,
    message: String,
}

/// Deletes up to a thousand objects: those of one replica set in one commit. Each key has its own answer.
pub(crate) async fn delete_objects(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    call.require_digest()?;
    call.open(cx)?;
    let document = cx.collect(xml::DELETE_MAX).await?;
    let request: Delete = xml::parse(&document, "Delete")?;
    drop(document);
    check(&request)?;
    let refusals: Vec<_> = request.objects.iter().map(refusal).collect();
    let mut groups: Vec<(Position, BTreeMap<Vec<u8>, Target>)> = Vec::new();
    let accepted = request.objects.iter().zip(&refusals).filter(|(_, refusal)| refusal.is_none());
    for (object, _) in accepted {
        let target = call.bucket().target(object.key.as_bytes());
        let group = groups
            .iter_mut()
            .find(|(position, _)| quorum::same_replicas(&call.view, *position, target.position));
        match group {
            Some((_, targets)) => {
                targets.insert(target.row_key.clone(), target);
            }
            None => {
                let targets = BTreeMap::from([(target.row_key.clone(), target.clone())]);
                groups.push((target.position, targets));
            }
        }
    }
    let mut failed = Vec::new();
    let mut window = Window::new(WINDOW);
    let mut waiting = groups.iter();
    let mut done = groups.iter();
    loop {
        while !window.is_full()
            && let Some((position, targets)) = waiting.next()
        {
            window.push(Box::pin(delete_group(cx, &call.view, *position, targets)));
        }
        let Some(deleted) = window.next().await else { break };
        let (_, targets) = done.next().expect("results come in the order of the groups");
        if let Err(error) = deleted {
            let cause = error.cause.as_deref().unwrap_or_default();
            log::warn!("DeleteObjects: {} keys: {error} {cause}", targets.len());
            failed.push((targets, error));
        }
    }
    // With nothing deleted, the request has failed, and clients know how to try it again.
    if failed.len() == groups.len()
        && let Some((_, error)) = failed.pop()
    {
        return Err(error);
    }
    let error_of = |object: &Object| {
        let row_key = call.bucket().target(object.key.as_bytes()).row_key;
        let group = failed.iter().find(|(targets, _)| targets.contains_key(&row_key));
        group.map(|(_, error)| error.clone())
    };
    let mut result = DeleteResult::default();
    for (object, refusal) in request.objects.into_iter().zip(refusals) {
        let error = match refusal {
            Some(refusal) => Some(refusal),
            None => error_of(&object),
        };
        let Object { key, version_id, .. } = object;
        match error {
            Some(S3Error { code, message, .. }) => {
                result.errors.push(Failed { key, version_id, code: code.name(), message });
            }
            None if request.quiet => {}
            None => result.deleted.push(Deleted { key, version_id }),
        }
    }
    Ok(Response::xml(200, xml::to_xml("DeleteResult", &result)?))
}

/// What is wrong with the request as a whole, before anything is deleted.
fn check(request: &Delete) -> Result<(), S3Error> {
    if request.objects.is_empty() || request.objects.len() > KEYS_MAX {
        return Err(xml::malformed("it must name 1 to 1000 objects"));
    }
    if !request.objects.iter().all(|object| xml::is_representable(&object.key)) {
        let what = "a key holds a character that XML 1.0 cannot carry; use DeleteObject";
        return Err(xml::malformed(what));
    }
    Ok(())
}

/// What is wrong with one line of the request.
fn refusal(object: &Object) -> Option<S3Error> {
    if object.key.is_empty() {
        return Some(S3Error::new(Code::InvalidArgument, "A key must have at least one byte."));
    }
    if object.key.len() > KEY_MAX {
        return Some(S3Error::new(Code::KeyTooLongError, "Your key is too long."));
    }
    if !matches!(object.version_id.as_deref(), None | Some("null")) {
        return Some(S3Error::new(
            Code::NoSuchVersion,
            "The specified version does not exist: this store keeps one version of an object, whose id is null.",
        ));
    }
    let conditions = [
        ("ETag", &object.etag),
        ("LastModifiedTime", &object.last_modified_time),
        ("Size", &object.size),
    ];
    let condition = conditions.into_iter().find(|(_, value)| value.is_some());
    condition.map(|(name, _)| S3Error::not_implemented(&format!("The condition {name} of a key")))
}

/// Deletes those of `targets` that are there, in as many commits as it takes to come last.
async fn delete_group(
    cx: Cx,
    view: &View,
    position: Position,
    targets: &BTreeMap<Vec<u8>, Target>,
) -> Result<(), S3Error> {
    let live = if quorum::is_sole(view, position) {
        live(cx, view, position, targets).await?
    } else {
        // To ask first would be a second round trip, and a tombstone costs little.
        targets.values().collect()
    };
    if live.is_empty() {
        return Ok(());
    }
    let mut seen = Stamp(0);
    for _ in 0..ROUNDS {
        let version = cx.version_past(seen);
        let row = ObjectRow { version, content: Content::Deleted };
        let ops: Vec<Op> = live.iter().map(|target| row::merge(target, &row, None)).collect();
        let batch = Batch::new(cx.now().wall, ops);
        match quorum::write(cx, view, position, batch).await? {
            Outcome::Applied(applied) => match applied.superseded_by {
                None => return Ok(()),
                Some(stamp) => seen = stamp,
            },
            Outcome::Refused { .. } => unreachable!("the batch has no guards"),
        }
    }
    Err(S3Error::new(
        Code::SlowDown,
        "This key is being written too fast by others. Please try again.",
    ))
}

async fn live<'a>(
    cx: Cx,
    view: &View,
    position: Position,
    targets: &'a BTreeMap<Vec<u8>, Target>,
) -> Result<Vec<&'a Target>, PeerError> {
    let keys = targets.keys().map(|row_key| (Table::Object, row_key.clone())).collect();
    let values = quorum::read(cx, view, position, Read::Get(keys)).await?.into_values();
    let mut live = Vec::with_capacity(values.len());
    for (target, value) in targets.values().zip(values) {
        let Some(value) = value else { continue };
        let row: ObjectRow = table::decode(Table::Object, &value).map_err(PeerError::Store)?;
        if row.content.meta().is_some() {
            live.push(target);
        }
    }
    Ok(live)
}
