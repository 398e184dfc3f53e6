//! DeleteObject.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>

use crate::{
    quorum,
    s3::{
        call::{Call, Response},
        error::S3Error,
        object::{
            put,
            row::{self, Write, Written},
        },
    },
    table::object::Content,
    task::Cx,
};

/// Deletes an object. An object that is not there is as good as deleted: 204 as well, and nothing is written.
pub(crate) async fn delete_object(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let target = call.target();
    let head = &call.request.head;
    if head.get("if-none-match").is_some() {
        return Err(S3Error::not_implemented("If-None-Match of a DELETE"));
    }
    // The guard of a condition says all: the version that it names is there, and live, when the tombstone is committed.
    let guard = put::condition(cx, call, &target).await?;
    // Among several replicas, to ask first would be a second round trip, and a tombstone costs little.
    if guard.is_none() && quorum::is_sole(&call.view, target.position) {
        let stored = row::read(cx, &call.view, &target, false).await?;
        if stored.is_none_or(|stored| stored.row.content.meta().is_none()) {
            return Ok(Response::empty(204));
        }
    }
    let guards = guard.into_iter().collect();
    let write = Write {
        content: Content::Deleted,
        inline: None,
        guards,
        ops: Vec::new(),
        manifest: Vec::new(),
    };
    match row::write(cx, &call.view, &target, write, None).await? {
        Written::Done(_) => Ok(Response::empty(204)),
        Written::Refused(_) => Err(put::refused_condition(call)),
    }
}
