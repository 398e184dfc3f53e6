//! One page of a website, and what there is instead of it.

use std::sync::Arc;

use super::{
    serve::{error_page, tell},
    site::Site,
};
use crate::{
    http::{RequestHead, visit::Visit},
    s3::{
        call::{Call, Response},
        error::{Code, S3Error},
        object::get,
        request::{KEY_MAX, Operation, Request, path_bytes},
        serve::log_error,
    },
    table::access::Website,
    task::Cx,
    view::View,
};

/// The field of an object that says where a browser is to go instead.
const REDIRECT: &str = "x-amz-website-redirect-location";

/// The status of such an object.
const MOVED: u16 = 301;

/// What an object's head says of it that is not so of an error that it is the page for.
const OF_THE_OBJECT: [&str; 3] = ["etag", "last-modified", "accept-ranges"];

/// Somebody who reads a website.
pub(super) struct Visitor {
    /// The reading of the object that is looked at.
    call: Call,
    website: Website,
}

impl Visitor {
    pub(super) fn new(view: &Arc<View>, head: RequestHead, site: Site) -> Self {
        let Site { bucket, website } = site;
        let op = if head.method == "HEAD" { Operation::HeadObject } else { Operation::GetObject };
        let request = Request::read(head, &bucket.name, Vec::new(), op);
        let call = Call { view: Arc::clone(view), request, signer: None, bucket: Some(bucket) };
        Self { call, website }
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
        let asked = path_bytes(path)?.split_off(1);
        let is_folder = asked.is_empty() || asked.ends_with(b"/");
        let key = if is_folder { self.index_of(&asked) } else { asked.clone() };
        match self.object(cx, key).await {
            Err(error) if error.code == Code::NoSuchKey && !is_folder => {
                let index = self.index_of(&[&asked, &b"/"[..]].concat());
                if self.is_there(cx, index).await? { Ok(self.to_folder()) } else { Err(error) }
            }
            other => other,
        }
    }

    /// The key of the document that stands for a folder.
    fn index_of(&self, folder: &[u8]) -> Vec<u8> {
        [folder, self.website.index.as_bytes()].concat()
    }

    /// An object, as a browser is shown it.
    async fn object(&mut self, cx: Cx, key: Vec<u8>) -> Result<Response, S3Error> {
        if key.len() > KEY_MAX {
            return Err(S3Error::new(Code::KeyTooLongError, "This path is too long."));
        }
        self.call.request.key = Some(key);
        let response = if self.call.request.op == Operation::HeadObject {
            Box::pin(get::head_object(cx, &self.call)).await?
        } else {
            Box::pin(get::get_object(cx, &self.call)).await?
        };
        let to = response.head.headers.iter().find(|(name, _)| name == REDIRECT);
        Ok(match to {
            Some((_, location)) => Response::empty(MOVED).header("location", location),
            None => response,
        })
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
        Response::empty(302).header("location", [same_host, path, b"/", &query].concat())
    }

    /// What there is instead of a page that could not be had: the website's own page for errors, or ours.
    async fn failed(mut self, cx: Cx, error: S3Error, visit: &Visit) -> Response {
        log_error(&error, visit);
        let status = error.code.status();
        if error.code == Code::NotModified {
            let add =
                |response: Response, (name, value): &(String, String)| response.header(name, value);
            return error.headers.iter().fold(Response::empty(status), add);
        }
        let Some(document) = self.website.error.clone().filter(|_| (400..500).contains(&status))
        else {
            return error_page(&error, None, visit);
        };
        self.call.request.unconditional();
        match self.object(cx, document.clone().into_bytes()).await {
            Ok(elsewhere) if elsewhere.head.status == MOVED => elsewhere,
            Ok(mut response) => {
                response.head.status = status;
                response.head.headers.retain(|(name, _)| !OF_THE_OBJECT.contains(&name.as_str()));
                tell(response, &error)
            }
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
