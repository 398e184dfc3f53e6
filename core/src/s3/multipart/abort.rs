//! AbortMultipartUpload: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>

use super::{Named, no_such_upload};
use crate::{
    effect::PeerError,
    quorum,
    s3::{
        call::{Call, Response},
        error::S3Error,
    },
    store::{Batch, Outcome},
    table::upload::UploadRow,
    task::Cx,
    view::View,
};

/// Closes the upload; the hook of its row queues the parts to be dropped. A part that is on its way finds the upload closed.
pub(crate) async fn abort_multipart_upload(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let named = Named::by(call)?;
    let sole = quorum::is_sole(&call.view, named.target.position);
    // A replica that lags behind must not refuse what it has not heard of, so somebody else has to tell what never was.
    if !sole && !named.row(cx, call).await?.is_open() {
        return Err(no_such_upload());
    }
    match close(cx, &call.view, &named).await? {
        Outcome::Applied(_) => Ok(Response::empty(204)),
        Outcome::Refused { .. } if sole => Err(no_such_upload()),
        // Closed meanwhile. Perhaps by this very request: the first replica that had it begins to drop the upload, and a slow
        // one hears of that before it hears of the request.
        Outcome::Refused { .. } => match named.row(cx, call).await? {
            UploadRow::Closed { etag: Some(_) } => Err(no_such_upload()),
            UploadRow::Open { .. } | UploadRow::Closed { etag: None } => Ok(Response::empty(204)),
        },
    }
}

/// Closes an open upload for good, unless somebody has done so meanwhile.
pub(crate) async fn close(cx: Cx, view: &View, named: &Named) -> Result<Outcome, PeerError> {
    let closed = named.merge(&UploadRow::Closed { etag: None });
    let batch = Batch::new(cx.now().wall, vec![closed]).guarded(named.alive(view));
    quorum::write(cx, view, named.target.position, batch).await
}
