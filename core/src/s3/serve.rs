//! The whole of an S3 request: taken apart, verified, allowed, done, answered.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    access::{self, Rows},
    auth, bucket,
    call::{Body, Bucket, Call, Response, Signer},
    copy,
    cors::{self, Asked},
    egress::Egress,
    error::{Code, S3Error},
    list, multipart, object,
    request::{self, Operation, Request},
};
use crate::{
    effect::ResponseBody,
    http::{RequestHead, visit::Visit},
    quorum,
    store::Table,
    task::Cx,
    view::View,
};

/// The operation of a request that cannot be told apart, in metrics and logs.
const INVALID: &str = "Invalid";

/// The operation of a request that is refused before anything of it is looked at.
const REFUSED: &str = "Refused";

/// Serves one request. Every path through it responds exactly once; errors are XML documents, and answers to HEAD have no body.
pub async fn serve(cx: Cx, view: Arc<View>, head: RequestHead) {
    let visit = Visit::begin(cx, &head);
    let mut learned = Learned::of(&head);
    let response = match Box::pin(answer(cx, view.clone(), head, &mut learned)).await {
        Ok(response) => response,
        Err(error) => {
            log_error(&error, &visit);
            error_response(&error, &visit, &host_id(&view))
        }
    };
    let fields = match learned.cors.take() {
        Some(fields) => fields,
        None => Box::pin(learned.sought(cx, &view, &visit)).await,
    };
    let response = cors::tell(response, &fields);
    let status = response.head.status;
    let broken = deliver(cx, &view, &visit, response).await;
    visit.end(cx, &view.metrics.s3, learned.operation, status, broken);
}

/// What is learned of a request while it is answered, whatever the answer.
struct Learned {
    operation: &'static str,
    /// What is asked on behalf of a page, if one is behind it.
    asked: Option<Asked>,
    /// The bucket's name, if a page asks for one.
    bucket: Option<String>,
    /// What the bucket's rules have the answer tell; None until they were looked at.
    cors: Option<cors::Fields>,
}

impl Learned {
    fn of(head: &RequestHead) -> Self {
        Self { operation: INVALID, asked: Asked::of(head), bucket: None, cors: None }
    }

    /// Looks at the rules of the bucket that was found. Until the request is allowed, only a page that they allow learns of them.
    fn found(&mut self, bucket: Option<&Bucket>) {
        let granted = bucket.zip(self.asked.as_ref());
        let granted =
            granted.and_then(|(found, asked)| cors::granted(&found.row.cors.value, asked));
        self.cors = Some(granted.unwrap_or_default());
    }

    /// The request is allowed: caches may know, too, that the answer depends on the page.
    fn allowed(&mut self, call: &Call) {
        if self.cors.as_ref().is_some_and(|fields| !fields.is_empty()) {
            return;
        }
        let bucket = call.bucket.as_ref();
        let rules = bucket.map(|bucket| &bucket.row.cors.value[..]).unwrap_or_default();
        self.cors = Some(cors::fields(rules, self.asked.as_ref()));
    }

    /// What the rules have an error tell that came before the bucket was looked for. By what this node knows: nobody waits for others
    /// to be told that something is wrong.
    async fn sought(&self, cx: Cx, view: &View, visit: &Visit) -> cors::Fields {
        let (Some(asked), Some(name)) = (&self.asked, &self.bucket) else {
            return cors::Fields::new();
        };
        match access::known(cx, view, name).await {
            Ok(bucket) => bucket
                .and_then(|bucket| cors::granted(&bucket.row.cors.value, asked))
                .unwrap_or_default(),
            Err(error) => {
                log_error(&error.into(), visit);
                cors::Fields::new()
            }
        }
    }
}

/// Sends a response to its end; true if it had to be broken off before that.
pub(crate) async fn deliver(cx: Cx, view: &View, visit: &Visit, response: Response) -> bool {
    let Some(egress) = respond(cx, view, &visit.id, response) else { return false };
    // Too late for a status: the response ends before its length, and the shell breaks the connection off.
    let sent = Box::pin(egress.run(cx, view)).await;
    sent.inspect_err(|error| log_error(error, visit)).is_err()
}

/// Answers a request with an error, before anything of it is looked at.
pub fn refuse(cx: Cx, view: &View, head: &RequestHead, error: &S3Error) {
    let visit = Visit::begin(cx, head);
    log_error(error, &visit);
    let response = error_response(error, &visit, &host_id(view));
    let status = response.head.status;
    let streamed = respond(cx, view, &visit.id, response);
    assert!(streamed.is_none(), "error documents are not streamed");
    visit.end(cx, &view.metrics.s3, REFUSED, status, false);
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

/// Logs an error that a request is answered with: as a warning if it is this store's.
pub(crate) fn log_error(error: &S3Error, visit: &Visit) {
    let Visit { method, path, .. } = visit;
    let cause = error.cause.as_deref().unwrap_or_default();
    if error.code.status() >= 500 && error.code != Code::NotImplemented {
        log::warn!("{method} {path}: {error} {cause}");
    } else {
        log::debug!("{method} {path}: {error} {cause}");
    }
}

fn error_response(error: &S3Error, visit: &Visit, host: &str) -> Response {
    let Visit { id, method, path, .. } = visit;
    let mut response = if method == "HEAD" || error.code == Code::NotModified {
        Response::empty(error.code.status())
    } else {
        Response::xml(error.code.status(), error.to_xml(path, id, host))
    };
    for (name, value) in &error.headers {
        response = response.header(name, value);
    }
    response
}

async fn answer(
    cx: Cx,
    view: Arc<View>,
    head: RequestHead,
    learned: &mut Learned,
) -> Result<Response, S3Error> {
    let request = request::take_apart(head, &view.config)?;
    learned.operation = request.op.name();
    if learned.asked.is_some() {
        learned.bucket.clone_from(&request.bucket);
    }
    request::check(&request)?;
    if let Operation::Unsupported { name } = request.op {
        return Err(S3Error::not_implemented(name));
    }
    // Browsers do not sign preflights, but these have the parameters of a presigned request that is to follow.
    let unsigned = request.op == Operation::Options || auth::is_unsigned(&request);
    let (claim, key_id) = if unsigned {
        if !access::is_for_everybody(request.op) {
            return Err(auth::unsigned());
        }
        (None, None)
    } else {
        let claim = auth::claim(&request, cx.now().wall, &view.config)?;
        let key_id = claim.key_id().as_bytes().to_vec();
        (Some(claim), Some(key_id))
    };
    let alias = request.bucket.iter().map(|name| (Table::Alias, name.as_bytes().to_vec()));
    let key = key_id.map(|id| (Table::AccessKey, id));
    let keys: Vec<_> = key.into_iter().chain(alias).collect();
    let rows = quorum::get_local(cx, &view, keys.clone()).await?;
    if quorum::is_sole_copy(&view) {
        let call = allowed(cx, &view, request, claim, &rows, Rows::Own, learned).await?;
        learned.allowed(&call);
        return dispatch(cx, &call).await;
    }
    let own = allowed(cx, &view, request.clone(), claim.clone(), &rows, Rows::Own, learned).await;
    let call = match own {
        // The own copy may lag behind: before somebody is refused, the others are asked.
        Err(error) if may_have_changed(error.code) => {
            let rows = quorum::confirm(cx, &view, keys).await?;
            allowed(cx, &view, request, claim, &rows, Rows::Confirmed, learned).await?
        }
        other => other?,
    };
    learned.allowed(&call);
    dispatch(cx, &call).await
}

/// Whether a refusal may be due to a key, a permission or a bucket that is so new that this node does not know it.
fn may_have_changed(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidAccessKeyId | Code::NoSuchBucket | Code::AccessDenied | Code::AccessForbidden
    )
}

/// Verifies and allows a request by the rows of its key, if it is signed, and of its bucket's name, if it has one.
async fn allowed(
    cx: Cx,
    view: &Arc<View>,
    request: Request,
    claim: Option<auth::Claim>,
    rows: &[Option<Vec<u8>>],
    whose: Rows,
    learned: &mut Learned,
) -> Result<Call, S3Error> {
    let mut rows = rows.iter().map(Option::as_deref);
    let Some(claim) = claim else {
        let name = request.bucket.as_deref().unwrap_or_default();
        let alias = rows.next().flatten();
        let bucket = access::shared(cx, view, None, name, alias, whose).await?;
        learned.found(bucket.as_ref());
        access::check_unsigned(&request, bucket.as_ref())?;
        return Ok(Call { view: Arc::clone(view), request, signer: None, bucket });
    };
    let key = access::live_key(rows.next().flatten())?.ok_or_else(|| {
        S3Error::new(
            Code::InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records.",
        )
        .detail("AWSAccessKeyId", claim.key_id())
    })?;
    let verified = claim.verify(&key.secret, &request)?;
    access::check_expiration(&key, cx.now().wall)?;
    let bucket = match &request.bucket {
        Some(name) => access::resolve(cx, view, &key, name, rows.next().flatten(), whose).await?,
        None => None,
    };
    learned.found(bucket.as_ref());
    access::check(request.op, &key, request.bucket.as_deref(), bucket.as_ref())?;
    let signer = Some(Signer { id: verified.key_id().to_owned(), verified, key });
    Ok(Call { view: Arc::clone(view), request, signer, bucket })
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
        Operation::GetBucketWebsite => {
            Box::pin(bucket::website::get_bucket_website(cx, call)).await
        }
        Operation::PutBucketWebsite => {
            Box::pin(bucket::website::put_bucket_website(cx, call)).await
        }
        Operation::DeleteBucketWebsite => {
            Box::pin(bucket::website::delete_bucket_website(cx, call)).await
        }
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
        Operation::GetBucketCors => Box::pin(bucket::cors::get_bucket_cors(cx, call)).await,
        Operation::PutBucketCors => Box::pin(bucket::cors::put_bucket_cors(cx, call)).await,
        Operation::DeleteBucketCors => Box::pin(bucket::cors::delete_bucket_cors(cx, call)).await,
        Operation::Options => Ok(bucket::cors::options()),
        Operation::Unsupported { .. } => Err(S3Error::not_implemented(call.request.op.name())),
    }
}
