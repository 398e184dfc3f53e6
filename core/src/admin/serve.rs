//! The whole of a request to the Admin API: admitted, understood, done, answered.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    admit::{Holder, METRICS, admit},
    alias,
    auth::Tokens,
    bucket,
    call::{Call, Method},
    check, cluster,
    document::document,
    each,
    error::Error,
    inspect, key, layout, metrics, openapi, permission,
    query::Query,
    token, upload,
};
use crate::{
    effect::ResponseBody,
    http::{RequestHead, ResponseHead, visit::Visit},
    metrics::page::CONTENT_TYPE,
    s3::intake::Intake,
    task::Cx,
    view::View,
};

/// The largest body: a role for each of a thousand nodes has some 200 bytes.
const BODY_MAX: u32 = 1 << 20;

/// What a client may do here, as HTTP lists it.
const METHODS: &str = "OPTIONS, GET, HEAD, POST";

/// Serves one request. Every path through it responds exactly once.
pub async fn serve(cx: Cx, view: Arc<View>, head: RequestHead, tokens: Arc<Tokens>) {
    let visit = Visit::begin(cx, &head);
    let path = &visit.path;
    let operation = operation(&head.method, path);
    let answered = match Box::pin(answer(cx, &view, &head, path, &tokens)).await {
        Ok(answered) => answered,
        Err(error) => {
            if error.status >= 500 && error.status != 501 {
                log::warn!("{} {path}: {error}", head.method);
            } else {
                log::debug!("{} {path}: {error}", head.method);
            }
            Answered::Json(error.status, error.to_json(&view.config.region, path))
        }
    };
    let (status, kind, body) = match answered {
        Answered::Json(status, value) => (status, "application/json", value.to_string()),
        Answered::Text(status, text) => (status, "text/plain; charset=utf-8", text),
        Answered::Metrics(page) => (200, CONTENT_TYPE, page),
    };
    let mut response = response(&head.method, status, body.len() as u64)
        .header("content-type", kind)
        .header("x-request-id", &visit.id);
    if let Some(allowed) = allowed(status, path) {
        response = response.header("allow", allowed);
    }
    let empty = head.method == "HEAD" || body.is_empty();
    let body = if empty { ResponseBody::Empty } else { ResponseBody::Full(Bytes::from(body)) };
    cx.respond(response, body);
    visit.end(cx, &view.metrics.admin, operation, status, false);
}

/// What a request is for, in metrics and logs.
fn operation(method: &str, path: &str) -> &'static str {
    match (method, path) {
        ("OPTIONS", _) => "Options",
        (_, HEALTH) => "Health",
        (_, metrics::PATH) => "Metrics",
        (_, check::PATH) => "CheckDomain",
        (_, openapi::PATH) => "OpenApi",
        _ => path.strip_prefix("/v2/").and_then(Call::from_name).map_or("Invalid", Call::name),
    }
}

/// The methods of a path that was not asked with one of these.
fn allowed(status: u16, path: &str) -> Option<&'static str> {
    let call = path.strip_prefix("/v2/").and_then(Call::from_name);
    (status == 405).then(|| match call.map(Call::method) {
        Some(Method::Get) => "OPTIONS, GET",
        Some(Method::Post) => "OPTIONS, POST",
        None => "OPTIONS, GET, HEAD",
    })
}

/// What every answer carries, and what a browser asks before it calls from another site's page.
pub(super) fn response(method: &str, status: u16, len: u64) -> ResponseHead {
    let head = ResponseHead::new(status, len)
        .header("access-control-allow-origin", "*")
        .header("server", "Mews");
    if method != "OPTIONS" {
        return head;
    }
    head.header("allow", METHODS)
        .header("access-control-allow-methods", METHODS)
        .header("access-control-allow-headers", "authorization, content-type")
}

enum Answered {
    Json(u16, Value),
    Text(u16, String),
    Metrics(String),
}

async fn answer(
    cx: Cx,
    view: &View,
    head: &RequestHead,
    path: &str,
    tokens: &Tokens,
) -> Result<Answered, Error> {
    match (head.method.as_str(), path) {
        ("OPTIONS", _) => return Ok(Answered::Text(200, String::new())),
        ("GET" | "HEAD", HEALTH) => {
            let mode = view.config.consistency;
            let (well, text) = cluster::health_line(&cluster::status(cx).await?, mode);
            return Ok(Answered::Text(if well { 200 } else { 503 }, text));
        }
        ("GET" | "HEAD", metrics::PATH) => {
            admit(cx, view, tokens, head.get("authorization"), METRICS).await?;
            return metrics::page(cx, view).await.map(Answered::Metrics);
        }
        ("GET" | "HEAD", check::PATH) => {
            let query = head.path_and_query().1.unwrap_or_default();
            return Ok(Answered::Text(200, check::domain(cx, view, query).await?));
        }
        ("GET" | "HEAD", openapi::PATH) => {
            let document = openapi::document();
            let document = document.map_err(|error| Error::internal(error.to_string()))?;
            return Ok(Answered::Json(200, document));
        }
        _ => {}
    }
    let call = call(&head.method, path)?;
    let holder = admit(cx, view, tokens, head.get("authorization"), call.name()).await?;
    let query = Query::parse(call, head.path_and_query().1.unwrap_or_default())?;
    let body = match head.body_len {
        Some(0) => Bytes::new(),
        len => {
            cx.open(Intake::plain(len));
            cx.collect(BODY_MAX).await?
        }
    };
    if !call.takes_body() {
        nothing(call, &body)?;
    }
    let answer = if call.is_about_nodes() {
        each::fan_out(cx, view, call, query.get("node"), &body).await?
    } else {
        let asked = Asked { query, body, holder, tokens };
        Box::pin(dispatch(cx, view, call, &asked)).await?
    };
    Ok(Answered::Json(200, answer))
}

/// The path of what tells load balancers whether to send requests.
const HEALTH: &str = "/health";

/// What is looked at, and no call.
pub(super) const SPECIAL: [&str; 4] = [HEALTH, metrics::PATH, check::PATH, openapi::PATH];

pub(super) fn call(method: &str, path: &str) -> Result<Call, Error> {
    if SPECIAL.contains(&path) {
        let message = format!("{path} is looked at, with GET");
        return Err(Error { status: 405, code: "MethodNotAllowed", message });
    }
    let Some(name) = path.strip_prefix("/v2/") else {
        return Err(Error::not_found("NoSuchCall", format!("there is nothing at {path}")));
    };
    let Some(call) = Call::from_name(name) else {
        return Err(Error::not_found("NoSuchCall", format!("there is no call named {name}")));
    };
    if call.method().name() != method {
        let message = format!("{name} is called with {}", call.method().name());
        return Err(Error { status: 405, code: "MethodNotAllowed", message });
    }
    Ok(call)
}

/// That a call which takes nothing was given nothing.
pub(super) fn nothing(call: Call, body: &[u8]) -> Result<(), Error> {
    /// A document without fields.
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    let document = document::<Option<Nothing>>(body);
    document.map(|_| ()).map_err(|_| Error::bad(format!("{} takes no body", call.name())))
}

/// What a call about the cluster is asked with.
struct Asked<'a> {
    query: Query,
    body: Bytes,
    holder: Holder,
    tokens: &'a Tokens,
}

async fn dispatch(cx: Cx, view: &View, call: Call, asked: &Asked<'_>) -> Result<Value, Error> {
    let (query, body) = (&asked.query, &*asked.body);
    match call {
        Call::GetClusterStatus => Ok(cluster::get_status(view, &cluster::status(cx).await?)),
        Call::GetClusterHealth => {
            Ok(cluster::get_health(&cluster::status(cx).await?, view.config.consistency))
        }
        Call::GetClusterStatistics => Ok(cluster::get_statistics(&cluster::status(cx).await?)),
        Call::ConnectClusterNodes => cluster::connect(cx, document(body)?).await,
        Call::GetClusterLayout => Ok(layout::get(&cluster::status(cx).await?)),
        Call::UpdateClusterLayout => layout::update(cx, document(body)?).await,
        Call::PreviewClusterLayoutChanges => layout::preview(cx, view).await,
        Call::ApplyClusterLayout => layout::apply(cx, view, document(body)?).await,
        Call::RevertClusterLayout => layout::revert(cx).await,
        Call::GetClusterLayoutHistory => Ok(layout::history(&cluster::status(cx).await?)),
        Call::ClusterLayoutSkipDeadNodes => layout::skip_dead(cx, document(body)?).await,
        Call::DrainNode => layout::drain(cx, document(body)?).await,
        Call::ReplaceNode => layout::replace(cx, document(body)?).await,
        Call::ForgetNode => cluster::forget(cx, document(body)?).await,
        Call::ListAdminTokens => token::list(cx, view, asked.tokens).await,
        Call::GetAdminTokenInfo => token::get(cx, view, query).await,
        Call::GetCurrentAdminTokenInfo => Ok(token::current(cx, &asked.holder)),
        Call::CreateAdminToken => token::create(cx, view, document(body)?).await,
        Call::UpdateAdminToken => token::update(cx, view, query.need("id")?, document(body)?).await,
        Call::DeleteAdminToken => token::delete(cx, view, query).await,
        Call::ListKeys => key::list(cx, view, query.page(key::LIST_MAX)?).await,
        Call::ListKeysInfo => key::list_info(cx, view, query.page(key::INFO_MAX)?).await,
        Call::GetKeyInfo => key::get(cx, view, query).await,
        Call::CreateKey => key::create(cx, view, document(body)?).await,
        Call::ImportKey => key::import(cx, view, document(body)?).await,
        Call::UpdateKey => key::update(cx, view, query.need("id")?, document(body)?).await,
        Call::DeleteKey => key::delete(cx, view, query.need("id")?).await,
        Call::ListBuckets => bucket::list(cx, view, query.page(key::LIST_MAX)?).await,
        Call::ListBucketsInfo => bucket::list_info(cx, view, query.page(key::INFO_MAX)?).await,
        Call::GetBucketInfo => bucket::get(cx, view, query).await,
        Call::CreateBucket => bucket::create(cx, view, document(body)?).await,
        Call::UpdateBucket => bucket::update(cx, view, query.need("id")?, document(body)?).await,
        Call::DeleteBucket => bucket::delete(cx, view, query.need("id")?).await,
        Call::AllowBucketKey => permission::allow(cx, view, document(body)?).await,
        Call::DenyBucketKey => permission::deny(cx, view, document(body)?).await,
        Call::AddBucketAlias => alias::add(cx, view, document(body)?).await,
        Call::RemoveBucketAlias => alias::remove(cx, view, document(body)?).await,
        Call::CleanupIncompleteUploads => upload::cleanup(cx, view, document(body)?).await,
        Call::InspectObject => {
            inspect::get(cx, view, query.need("bucketId")?, query.need("key")?).await
        }
        Call::GetNodeInfo
        | Call::GetNodeStatistics
        | Call::LaunchRepairOperation
        | Call::ListWorkers
        | Call::GetWorkerInfo
        | Call::GetWorkerVariable
        | Call::SetWorkerVariable
        | Call::CreateMetadataSnapshot
        | Call::ListBlockErrors
        | Call::GetBlockInfo
        | Call::RetryBlockResync
        | Call::PurgeBlocks => each::here(cx, view, call, body).await,
    }
}

/// An answer that says only that it is done.
pub(super) fn done() -> Value {
    json!({})
}
