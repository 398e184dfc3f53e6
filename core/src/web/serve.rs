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
    let response = Box::pin(answer(cx, &view, head, &visit)).await;
    let status = response.head.status;
    let broken = deliver(cx, &view, &visit, response).await;
    visit.end(cx, &view.metrics.web, method, status, broken);
}

/// Answers a request with an error, before anything of it is looked at.
pub async fn refuse(cx: Cx, view: Arc<View>, head: RequestHead, error: S3Error) {
    let (visit, method) = begin(cx, &head);
    log_error(&error, &visit);
    let response = error_page(&error, None, &visit);
    let status = response.head.status;
    let broken = deliver(cx, &view, &visit, response).await;
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

async fn answer(cx: Cx, view: &Arc<View>, head: RequestHead, visit: &Visit) -> Response {
    match head.method.as_str() {
        "GET" | "HEAD" => {}
        "OPTIONS" if Asked::is_preflight(&head) => {
            return Box::pin(preflight(cx, view, &head, visit)).await;
        }
        "OPTIONS" => return Response::empty(200).header("allow", METHODS),
        method => {
            let message = format!("A website cannot be asked to {method}.");
            let error = S3Error::new(Code::MethodNotAllowed, message).header("allow", METHODS);
            return error_page(&error, None, visit);
        }
    }
    let host = host(&head);
    let site = match Site::of(cx, view, &host).await {
        Ok(Some(site)) => site,
        Ok(None) => return error_page(&no_site(&host), None, visit),
        Err(error) => {
            let error = error.into();
            log_error(&error, visit);
            return error_page(&error, None, visit);
        }
    };
    let fields = cors::fields(&site.bucket.row.cors.value, Asked::of(&head).as_ref());
    cors::tell(Visitor::new(view, head, host, site).answer(cx, visit).await, &fields)
}

/// Answers what a browser asks before the page of another website makes a request. Which websites there are, it does not tell.
async fn preflight(cx: Cx, view: &Arc<View>, head: &RequestHead, visit: &Visit) -> Response {
    let asked = match cors::ask::preflight(head) {
        Ok(asked) => asked,
        Err(error) => return error_page(&error, None, visit),
    };
    let site = match Site::asked(cx, view, &host(head), &asked).await {
        Ok(site) => site,
        Err(error) => {
            let error = error.into();
            log_error(&error, visit);
            return error_page(&error, None, visit);
        }
    };
    match site.and_then(|site| cors::granted(&site.bucket.row.cors.value, &asked)) {
        Some(fields) => cors::tell(Response::empty(200), &fields),
        None => error_page(&cors::ask::forbidden(&asked, "OBJECT"), None, visit),
    }
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
