//! The whole of a request for a page: its website found, the page read, answered.

use std::sync::Arc;

use super::{
    page::{self, Page},
    site::Site,
    visitor::Visitor,
};
use crate::{
    http::{RequestHead, ResponseHead, visit::Visit},
    s3::{
        call::{Body, Response},
        cors::{self, Asked},
        error::{Code, S3Error},
        serve::{deliver, log_error},
    },
    task::Cx,
    view::View,
};

/// What a website can be asked.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// Serves one request. Every path through it responds exactly once.
pub async fn serve(cx: Cx, view: Arc<View>, head: RequestHead) {
    let (visit, method) = begin(cx, &head);
    let answered = Box::pin(answer(cx, &view, head, &visit)).await;
    let response = answered.unwrap_or_else(|error| refusal(&error, &visit));
    finish(cx, &view, visit, method, response).await;
}

/// Answers a request with an error, before anything of it is looked at.
pub async fn refuse(cx: Cx, view: Arc<View>, head: RequestHead, error: S3Error) {
    let (visit, method) = begin(cx, &head);
    let response = refusal(&error, &visit);
    finish(cx, &view, visit, method, response).await;
}

fn refusal(error: &S3Error, visit: &Visit) -> Response {
    log_error(error, visit);
    error_page(error, None, visit)
}

async fn finish(cx: Cx, view: &View, visit: Visit, method: &'static str, response: Response) {
    let status = response.head.status;
    let broken = deliver(cx, view, &visit, response).await;
    visit.end(cx, &view.metrics.web, method, status, broken);
}

/// The visit, and its method for the metrics.
fn begin(cx: Cx, head: &RequestHead) -> (Visit, &'static str) {
    let method = match head.method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    };
    (Visit::begin(cx, head).at_host(&host(head)), method)
}

/// The host that is asked for. [`crate::http::check`] has seen that there is one, unless the client is older than that rule.
fn host(head: &RequestHead) -> String {
    String::from_utf8_lossy(head.get("host").unwrap_or_default()).into_owned()
}

async fn answer(
    cx: Cx,
    view: &Arc<View>,
    head: RequestHead,
    visit: &Visit,
) -> Result<Response, S3Error> {
    match head.method.as_str() {
        "GET" | "HEAD" => {}
        "OPTIONS" if Asked::is_preflight(&head) => {
            return Box::pin(preflight(cx, view, &head)).await;
        }
        "OPTIONS" => return Ok(Response::empty(200).header("allow", METHODS)),
        method => {
            let message = format!("A website cannot be asked to {method}.");
            return Err(S3Error::new(Code::MethodNotAllowed, message).header("allow", METHODS));
        }
    }
    let host = host(&head);
    let site = Site::of(cx, view, &host).await?.ok_or_else(|| no_site(&host))?;
    let fields = cors::fields(&site.bucket.row.cors.value, Asked::of(&head).as_ref());
    Ok(cors::tell(Visitor::new(view, head, host, site).answer(cx, visit).await, &fields))
}

/// Answers what a browser asks before the page of another website makes a request. Which websites there are, it does not tell.
async fn preflight(cx: Cx, view: &View, head: &RequestHead) -> Result<Response, S3Error> {
    let asked = cors::ask::preflight(head)?;
    let site = Site::asked(cx, view, &host(head), &asked).await?;
    let fields = site.and_then(|site| cors::granted(&site.bucket.row.cors.value, &asked));
    let fields = fields.ok_or_else(|| cors::ask::forbidden(&asked, "OBJECT"))?;
    Ok(cors::tell(Response::empty(200), &fields))
}

/// The 404 of a host that has no website. Whether there is a bucket of that name, it does not tell.
fn no_site(host: &str) -> S3Error {
    let message = format!(
        "There is no website called \"{host}\" here. A bucket is one if it is named so, and was made one: mews bucket website BUCKET --allow."
    );
    S3Error::new(Code::NoSuchBucket, message)
}

/// An error in a page of ours.
pub(super) fn error_page(error: &S3Error, note: Option<&str>, visit: &Visit) -> Response {
    let status = error.code.status();
    let message = if error.code == Code::NoSuchKey {
        format!("There is nothing at {}.", visit.path)
    } else {
        error.message.clone()
    };
    let code = error.code.name();
    let html = Page { status, code, message: &message, note, request: &visit.id }.to_html();
    let head = ResponseHead::new(status, html.len() as u64).header("content-type", page::TYPE);
    let body = if visit.method == "HEAD" { Body::Empty } else { Body::Full(html) };
    tell(Response { head, body }, error)
}

/// Adds what every answer to an error tells of it, as AWS's do.
pub(super) fn tell(mut response: Response, error: &S3Error) -> Response {
    for (name, value) in &error.headers {
        response = response.header(name, value);
    }
    response
        .header("x-amz-error-code", error.code.name())
        .header("x-amz-error-message", &error.message)
}
