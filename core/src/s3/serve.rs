//! The whole of an S3 request: taken apart, verified, allowed, done, answered.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    access::{self, Rows},
    auth, bucket,
    call::{Body, Call, Response},
    copy,
    egress::Egress,
    error::{Code, S3Error},
    list, multipart, object,
    request::{self, Operation, Request},
};
use crate::{effect::ResponseBody, http::RequestHead, quorum, store::Table, task::Cx, view::View};

/// Serves one request. Every path through it responds exactly once; errors are XML documents, and answers to HEAD have no body.
pub async fn serve(cx: Cx, view: Arc<View>, head: RequestHead) {
    let id = hex::encode_upper(cx.random::<8>());
    let method = head.method.clone();
    let resource = String::from_utf8_lossy(head.path_and_query().0).into_owned();
    let response = match Box::pin(answer(cx, view.clone(), head)).await {
        Ok(response) => response,
        Err(error) => {
            log_error(&error, &method, &resource, &id);
            error_response(&error, method == "HEAD", &resource, &id, &host_id(&view))
        }
    };
    if let Some(egress) = respond(cx, &view, &id, response) {
        // Too late for a status: the response ends before its length, and the shell breaks the connection off.
        if let Err(error) = Box::pin(egress.run(cx, &view)).await {
            log_error(&error, &method, &resource, &id);
        }
    }
}

/// Answers a request with an error, before anything of it is looked at.
pub fn refuse(cx: Cx, view: &View, head: &RequestHead, error: &S3Error) {
    let id = hex::encode_upper(cx.random::<8>());
    let resource = String::from_utf8_lossy(head.path_and_query().0).into_owned();
    log_error(error, &head.method, &resource, &id);
    let response = error_response(error, head.method == "HEAD", &resource, &id, &host_id(view));
    let streamed = respond(cx, view, &id, response);
    assert!(streamed.is_none(), "error documents are not streamed");
}

fn host_id(view: &View) -> String {
    STANDARD.encode(view.node.0)
}

/// Sends the head, and the body unless that is to be streamed.
fn respond(
    cx: Cx,
    view: &View,
    id: &str,
    Response { head, body }: Response,
) -> Option<Box<Egress>> {
    let head = head
        .header("x-amz-request-id", id)
        .header("x-amz-id-2", host_id(view))
        .header("server", "Mews");
    match body {
        Body::Empty => cx.respond(head, ResponseBody::Empty),
        Body::Full(bytes) => cx.respond(head, ResponseBody::Full(bytes)),
        Body::Stream(egress) => {
            cx.respond(head, ResponseBody::Stream);
            return Some(egress);
        }
    }
    None
}

fn log_error(error: &S3Error, method: &str, resource: &str, id: &str) {
    let cause = error.cause.as_deref().unwrap_or_default();
    if error.code.status() >= 500 && error.code != Code::NotImplemented {
        log::warn!("{method} {resource}: {error} {cause} (request {id})");
    } else {
        log::debug!("{method} {resource}: {error} {cause} (request {id})");
    }
}

fn error_response(error: &S3Error, head: bool, resource: &str, id: &str, host: &str) -> Response {
    let mut response = if head || error.code == Code::NotModified {
        Response::empty(error.code.status())
    } else {
        Response::xml(error.code.status(), error.to_xml(resource, id, host))
    };
    for (name, value) in &error.headers {
        response = response.header(name, value);
    }
    response
}

async fn answer(cx: Cx, view: Arc<View>, head: RequestHead) -> Result<Response, S3Error> {
    let request = request::parse(head, &view.config)?;
    if let Operation::Unsupported { name } = request.op {
        return Err(S3Error::not_implemented(name));
    }
    let claim = auth::claim(&request, cx.now().wall, &view.config)?;
    let mut keys = vec![(Table::AccessKey, claim.key_id().as_bytes().to_vec())];
    keys.extend(request.bucket.iter().map(|name| (Table::Alias, name.as_bytes().to_vec())));
    let rows = quorum::get_local(cx, &view, keys.clone()).await?;
    if quorum::is_sole_copy(&view) {
        let call = allowed(cx, &view, request, claim, &rows, Rows::Own).await?;
        return dispatch(cx, &call).await;
    }
    let call = match allowed(cx, &view, request.clone(), claim.clone(), &rows, Rows::Own).await {
        // The own copy may lag behind: before somebody is refused, the others are asked.
        Err(error) if may_have_changed(error.code) => {
            let rows = quorum::confirm(cx, &view, keys).await?;
            allowed(cx, &view, request, claim, &rows, Rows::Confirmed).await?
        }
        other => other?,
    };
    dispatch(cx, &call).await
}

/// Whether a refusal may be due to a key, a permission or a bucket that is so new that this node does not know it.
fn may_have_changed(code: Code) -> bool {
    matches!(code, Code::InvalidAccessKeyId | Code::NoSuchBucket | Code::AccessDenied)
}

/// Verifies and allows a request by the rows of its key and of its bucket's name.
async fn allowed(
    cx: Cx,
    view: &Arc<View>,
    request: Request,
    claim: auth::Claim,
    rows: &[Option<Vec<u8>>],
    whose: Rows,
) -> Result<Call, S3Error> {
    let mut rows = rows.iter().map(Option::as_deref);
    let key = access::live_key(rows.next().flatten())?.ok_or_else(|| {
        S3Error::new(
            Code::InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records.",
        )
        .detail("AWSAccessKeyId", claim.key_id())
    })?;
    let verified = claim.verify(&key.secret, &request)?;
    let bucket = match (&request.bucket, access::aliased(rows.next().flatten())?) {
        (Some(name), Some(id)) => access::bucket(cx, view, &key, name, id, whose).await?,
        (Some(_) | None, _) => None,
    };
    access::check(request.op, &key, request.bucket.as_deref(), bucket.as_ref())?;
    let key_id = verified.key_id().to_owned();
    Ok(Call { view: Arc::clone(view), request, verified, key_id, key, bucket })
}

/// Boxes every handler, so that a request costs the memory of the one it needs.
async fn dispatch(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    match call.request.op {
        Operation::ListBuckets => Box::pin(bucket::list::list_buckets(cx, call)).await,
        Operation::CreateBucket => Box::pin(bucket::create::create_bucket(cx, call)).await,
        Operation::HeadBucket => Ok(bucket::head::head_bucket(call)),
        Operation::DeleteBucket => Box::pin(bucket::delete::delete_bucket(cx, call)).await,
        Operation::GetBucketLocation => bucket::location::get_bucket_location(call),
        Operation::GetBucketVersioning => bucket::versioning::get_bucket_versioning(),
        Operation::ListObjects => Box::pin(list::v1::list_objects(cx, call)).await,
        Operation::ListObjectsV2 => Box::pin(list::v2::list_objects_v2(cx, call)).await,
        Operation::PutObject => Box::pin(object::put::put_object(cx, call)).await,
        Operation::GetObject => Box::pin(object::get::get_object(cx, call)).await,
        Operation::HeadObject => Box::pin(object::get::head_object(cx, call)).await,
        Operation::GetObjectAttributes => {
            Box::pin(object::attributes::get_object_attributes(cx, call)).await
        }
        Operation::DeleteObject => Box::pin(object::delete::delete_object(cx, call)).await,
        Operation::DeleteObjects => Box::pin(object::delete_many::delete_objects(cx, call)).await,
        Operation::CopyObject => Box::pin(copy::object::copy_object(cx, call)).await,
        Operation::CreateMultipartUpload => {
            Box::pin(multipart::create::create_multipart_upload(cx, call)).await
        }
        Operation::UploadPart => Box::pin(multipart::upload_part::upload_part(cx, call)).await,
        Operation::UploadPartCopy => Box::pin(copy::part::upload_part_copy(cx, call)).await,
        Operation::CompleteMultipartUpload => {
            Box::pin(multipart::complete::complete_multipart_upload(cx, call)).await
        }
        Operation::AbortMultipartUpload => {
            Box::pin(multipart::abort::abort_multipart_upload(cx, call)).await
        }
        Operation::ListParts => Box::pin(multipart::list_parts::list_parts(cx, call)).await,
        Operation::ListMultipartUploads => {
            Box::pin(multipart::list_uploads::list_multipart_uploads(cx, call)).await
        }
        Operation::Unsupported { .. } => Err(S3Error::not_implemented(call.request.op.name())),
    }
}
