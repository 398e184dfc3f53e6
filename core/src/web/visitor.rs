//! One page of a website, and what there is instead of it.

use std::sync::Arc;

use super::{
    rule::{self, Action},
    serve::{error_page, tell},
    site::Site,
};
use crate::{
    http::{RequestHead, visit::Visit},
    s3::{
        call::{Call, Response},
        error::{Code, S3Error},
        object::{get, meta::REDIRECT},
        request::{KEY_MAX, Operation, Request, path_bytes},
        serve::log_error,
    },
    table::access::Website,
    task::Cx,
    view::View,
};

/// The status of an object that says where a browser is to go instead.
const MOVED: u16 = 301;

/// The status of a folder that was asked for without its slash.
const FOUND: u16 = 302;

/// What an object's head says of it that is not so of an error that it is the page for.
const OF_THE_OBJECT: [&str; 3] = ["etag", "last-modified", "accept-ranges"];

/// Somebody who reads a website.
pub(super) struct Visitor {
    /// The reading of the object that is looked at.
    call: Call,
    website: Website,
    /// The key that was asked for: the path without its first slash and its escapes.
    asked: Vec<u8>,
    /// The host that was asked, with its port.
    host: String,
}

impl Visitor {
    /// Somebody who asks for the head's path at the host that the site is of.
    pub(super) fn new(view: &Arc<View>, head: RequestHead, host: String, site: Site) -> Self {
        let Site { bucket, website } = site;
        let op = if head.method == "HEAD" { Operation::HeadObject } else { Operation::GetObject };
        let request = Request::read(head, &bucket.name, Vec::new(), op);
        let call = Call { view: Arc::clone(view), request, signer: None, bucket: Some(bucket) };
        Self { call, website, asked: Vec::new(), host }
    }

    /// The page, or what there is instead of it.
    pub(super) async fn answer(mut self, cx: Cx, visit: &Visit) -> Response {
        match self.page(cx).await {
            Ok(response) => response,
            Err(error) => self.failed(cx, error, visit).await,
        }
    }

    async fn page(&mut self, cx: Cx) -> Result<Response, S3Error> {
        let (path, _) = self.call.request.head.path_and_query();
        self.asked = path_bytes(path)?.split_off(1);
        match rule::before(&self.website, &self.asked, &self.host) {
            Some(Action::Redirect { status, location }) => Ok(to(status, location)),
            Some(Action::Serve { status, key }) => self.instead(cx, status, key).await,
            None => self.shown(cx).await,
        }
    }

    /// What is at the path.
    async fn shown(&mut self, cx: Cx) -> Result<Response, S3Error> {
        let key = self.document(self.asked.clone());
        let is_folder = key != self.asked;
        match self.object(cx, key).await {
            Err(error) if error.code == Code::NoSuchKey && !is_folder => {
                let index = self.document([&self.asked, &b"/"[..]].concat());
                if self.is_there(cx, index).await? { Ok(self.to_folder()) } else { Err(error) }
            }
            other => other,
        }
    }

    /// Another object than that of the path, by a rule.
    async fn instead(&mut self, cx: Cx, status: u16, key: Vec<u8>) -> Result<Response, S3Error> {
        if status >= 400 {
            self.call.request.unconditional();
        }
        let key = self.document(key);
        Ok(with_status(self.object(cx, key).await?, status))
    }

    /// The key of the object that is shown for a key: a folder has a document that stands for it.
    fn document(&self, mut key: Vec<u8>) -> Vec<u8> {
        if key.is_empty() || key.ends_with(b"/") {
            key.extend_from_slice(self.website.index.as_bytes());
        }
        key
    }

    /// An object, as a browser is shown it.
    async fn object(&mut self, cx: Cx, key: Vec<u8>) -> Result<Response, S3Error> {
        if key.len() > KEY_MAX {
            return Err(S3Error::new(Code::KeyTooLongError, "This path is too long."));
        }
        self.call.request.key = Some(key);
        let answered = if self.call.request.op == Operation::HeadObject {
            Box::pin(get::head_object(cx, &self.call)).await
        } else {
            Box::pin(get::get_object(cx, &self.call)).await
        };
        // That it sends visitors elsewhere comes before what they ask of its bytes, and before what they know of it.
        let elsewhere = match &answered {
            Ok(response) if response.head.status == 304 => self.elsewhere(cx).await?,
            Ok(response) => redirect_of(&response.head.headers),
            Err(error) if is_about_bytes(error) => self.elsewhere(cx).await?,
            Err(_) => None,
        };
        elsewhere.map_or(answered, |location| Ok(to(MOVED, location)))
    }

    /// Where the object sends visitors, if it does.
    async fn elsewhere(&self, cx: Cx) -> Result<Option<Vec<u8>>, S3Error> {
        let stored = Box::pin(get::current(cx, &self.call, &self.call.target(), false)).await?;
        let meta = stored.row.content.meta().expect("not a tombstone");
        Ok(redirect_of(&meta.headers))
    }

    async fn is_there(&self, cx: Cx, key: Vec<u8>) -> Result<bool, S3Error> {
        if key.len() > KEY_MAX {
            return Ok(false);
        }
        let target = self.call.bucket().target(&key);
        match Box::pin(get::current(cx, &self.call, &target, false)).await {
            Ok(_) => Ok(true),
            Err(error) if error.code == Code::NoSuchKey => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// To the same path with a slash at its end, so that what the folder's document links to is found.
    fn to_folder(&self) -> Response {
        let (path, query) = self.call.request.head.path_and_query();
        // A path that begins with two slashes would be read as a host (RFC 3986, section 4.2).
        let same_host: &[u8] = if path.starts_with(b"//") { b"/." } else { b"" };
        let query = query.map(|query| [&b"?"[..], query].concat()).unwrap_or_default();
        to(FOUND, [same_host, path, b"/", &query].concat())
    }

    /// What there is instead of a page that could not be had: the website's own page for errors, or ours.
    async fn failed(mut self, cx: Cx, error: S3Error, visit: &Visit) -> Response {
        log_error(&error, visit);
        let status = error.code.status();
        match rule::after(&self.website, &self.asked, status, &self.host) {
            Some(Action::Redirect { status, location }) => to(status, location),
            Some(Action::Serve { status, key }) => match self.instead(cx, status, key).await {
                Ok(response) => response,
                Err(error) => self.explained(cx, error, visit).await,
            },
            None => self.explained(cx, error, visit).await,
        }
    }

    /// An error in the website's own page for errors, if that can be had, or in ours.
    async fn explained(&mut self, cx: Cx, error: S3Error, visit: &Visit) -> Response {
        let status = error.code.status();
        let is_for = (400..500).contains(&status);
        let Some(document) = self.website.error.clone().filter(|_| is_for) else {
            return error_page(&error, None, visit);
        };
        self.call.request.unconditional();
        match self.object(cx, document.clone().into_bytes()).await {
            Ok(response) => tell(with_status(response, status), &error),
            Err(missing) => {
                log_error(&missing, visit);
                let note = format!(
                    "The website's own page for errors, {document}, cannot be shown: {missing}"
                );
                error_page(&error, Some(&note), visit)
            }
        }
    }
}

/// The value of the field that sends visitors elsewhere.
fn redirect_of<V: AsRef<[u8]>>(headers: &[(String, V)]) -> Option<Vec<u8>> {
    let found = headers.iter().find(|(name, _)| name == REDIRECT);
    found.map(|(_, location)| location.as_ref().to_vec())
}

/// Whether an object is there, and cannot be had as it was asked for.
fn is_about_bytes(error: &S3Error) -> bool {
    matches!(error.code, Code::InvalidRange | Code::PreconditionFailed)
}

/// Sends a visitor elsewhere.
fn to(status: u16, location: impl AsRef<[u8]>) -> Response {
    Response::empty(status).header("location", location)
}

/// An object that is shown in the place of another, or of an error. One that sends visitors elsewhere still does.
fn with_status(mut response: Response, status: u16) -> Response {
    let head = &mut response.head;
    if head.status == 200 && status != 200 {
        head.status = status;
        head.headers.retain(|(name, _)| !OF_THE_OBJECT.contains(&name.as_str()));
    }
    response
}
