//! What a browser asks on behalf of a page.

use crate::{
    http::RequestHead,
    s3::{
        call::Bucket,
        cors::{allowed, method_named},
        error::{Code, S3Error},
        request::Request,
    },
};

/// What a request says of the page that it is made for, and of what is asked on its behalf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The website of the page, as browsers name it.
    pub origin: String,
    /// The method: of this request, or of the one that is to follow.
    pub method: String,
    /// The names of the header fields that it is to have, in lower case; of one that follows, only those that need to be allowed.
    pub headers: Vec<String>,
    /// Whether the browser asks before it makes the request.
    pub is_preflight: bool,
}

/// More header fields than any page sends. Each is looked for in every rule, before anybody has shown who asks.
const HEADERS_MAX: usize = 64;

impl Asked {
    /// What this request asks; nothing if no page is behind it.
    pub fn of(head: &RequestHead) -> Option<Self> {
        let origin = text(head, "origin")?.to_owned();
        let method = text(head, "access-control-request-method").unwrap_or(&head.method).to_owned();
        let lists = head.all("access-control-request-headers");
        let names = lists.flat_map(|list| list.split(|byte| *byte == b','));
        let names = names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
        let mut headers: Vec<_> =
            names.map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
        headers.truncate(HEADERS_MAX + 1);
        Some(Self { origin, method, headers, is_preflight: head.method == "OPTIONS" })
    }

    /// Whether this request asks before another one is made. One of this method that says less asks what a server can do.
    pub fn is_preflight(head: &RequestHead) -> bool {
        head.method == "OPTIONS"
            && text(head, "origin").is_some()
            && text(head, "access-control-request-method").is_some()
    }

    /// Whether it can be allowed at all.
    pub(super) fn is_bearable(&self) -> bool {
        self.headers.len() <= HEADERS_MAX
    }
}

fn text<'a>(head: &'a RequestHead, name: &str) -> Option<&'a str> {
    let value = std::str::from_utf8(head.get(name)?).ok()?;
    Some(value).filter(|value| !value.is_empty())
}

/// What a request asks before another one is made; an error if it leaves something out, or asks for what no rule can allow.
pub(crate) fn preflight(head: &RequestHead) -> Result<Asked, S3Error> {
    let asked = Asked::of(head).ok_or_else(|| {
        S3Error::new(Code::BadRequest, "Insufficient information. Origin request header needed.")
    })?;
    let method = text(head, "access-control-request-method");
    if method.and_then(method_named).is_none() {
        let method = method.unwrap_or("null");
        return Err(S3Error::new(
            Code::BadRequest,
            format!("Invalid Access-Control-Request-Method: {method}"),
        ));
    }
    if !asked.is_bearable() {
        return Err(S3Error::new(
            Code::BadRequest,
            format!("Access-Control-Request-Headers names more than {HEADERS_MAX} fields."),
        ));
    }
    Ok(asked)
}

/// Checks that a preflight asks for what a rule of its bucket allows. Which buckets there are, it does not tell.
pub fn check_preflight(request: &Request, bucket: Option<&Bucket>) -> Result<(), S3Error> {
    let asked = preflight(&request.head)?;
    let resource = match (&request.bucket, &request.key) {
        (_, Some(_)) => "OBJECT",
        (Some(_), None) => "BUCKET",
        (None, None) => "SERVICE",
    };
    let rules = bucket.map(|bucket| &bucket.row.cors.value[..]).unwrap_or_default();
    match allowed(rules, &asked) {
        Some(_) => Ok(()),
        None => Err(forbidden(&asked, resource)),
    }
}

/// The 403 of a request that no rule allows, for this kind of resource.
pub fn forbidden(asked: &Asked, resource: &str) -> S3Error {
    let message = "CORSResponse: This CORS request is not allowed. There is no such bucket, or none of its rules allows this origin, \
                   method (Access-Control-Request-Method) and all header fields (Access-Control-Request-Headers) together.";
    S3Error::new(Code::AccessForbidden, message)
        .detail("Method", asked.method.clone())
        .detail("ResourceType", resource)
}
