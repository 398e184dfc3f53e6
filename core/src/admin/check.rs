//! Whether a domain is a bucket's: a proxy asks before it fetches a certificate for it.

use super::{error::Error, query::Query};
use crate::{
    s3::{access, request},
    table::access::AccessKeyRow,
    task::Cx,
    view::View,
    web::site::Site,
};

/// Where it is asked.
pub(super) const PATH: &str = "/check";

/// The line that says so: `domain` in the query is one label or more before the S3 root domain, and all call a bucket so, or it is
/// the host of a website.
pub(super) async fn domain(cx: Cx, view: &View, query: &[u8]) -> Result<String, Error> {
    let query = Query::of(PATH, &["domain"], query)?;
    let domain = query.need("domain")?;
    if let Some(name) = request::bucket_of_host(domain, &view.config) {
        // A key that nobody has: it has no names of its own.
        let found = access::bucket_named(cx, view, &AccessKeyRow::default(), &name).await?;
        if found.is_some() {
            return Ok(format!("{domain} is a bucket's.\n"));
        }
    }
    match Site::of(cx, view, domain).await? {
        Some(_) => Ok(format!("{domain} is a website.\n")),
        None => Err(Error::bad(format!("the domain `{domain}` is no bucket's and no website's"))),
    }
}
