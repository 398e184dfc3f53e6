//! GetBucketWebsite, PutBucketWebsite, DeleteBucketWebsite.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketWebsite.html>
//!
//! Beyond what AWS takes, a rule may have the code 200 or 404, which shows another object without a redirect. Of the codes that AWS
//! takes, 304 and 305 are refused, and so are conditions on 5xx.

use serde::{Deserialize, Serialize};

use super::change::{change, confirmed};
use crate::{
    s3::{
        call::{Call, Response},
        error::{Code, S3Error},
        xml,
    },
    table::access::{BucketRow, Lww, Website},
    task::Cx,
    time::Stamp,
    web::config::{self, Invalid, Rule, Target},
};

const ROOT: &str = "WebsiteConfiguration";

/// What a client may say of a website.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Wanted {
    index_document: Option<IndexDocument>,
    error_document: Option<ErrorDocument>,
    redirect_all_requests_to: Option<Target>,
    routing_rules: Option<RoutingRules>,
}

/// What is said of one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_all_requests_to: Option<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index_document: Option<IndexDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_document: Option<ErrorDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_rules: Option<RoutingRules>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct IndexDocument {
    suffix: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ErrorDocument {
    key: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RoutingRules {
    #[serde(default)]
    routing_rule: Vec<Rule>,
}

/// Says how the bucket is a website.
pub(crate) async fn get_bucket_website(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    let bucket = call.bucket();
    // Settings are asked for to be changed, so that the own copy, which may lag behind, will not do.
    let row = confirmed(cx, &call.view, bucket).await?;
    let Some(site) = &row.website.value else {
        let message = "The specified bucket does not have a website configuration";
        return Err(S3Error::new(Code::NoSuchWebsiteConfiguration, message)
            .detail("BucketName", &bucket.name));
    };
    Ok(Response::xml(200, xml::to_xml(ROOT, &Shown::from(site))?))
}

/// Makes the bucket a website, as the document says and no other than that.
pub(crate) async fn put_bucket_website(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    call.open(cx)?;
    let document = cx.collect(xml::WEBSITE_MAX).await?;
    if document.is_empty() {
        return Err(S3Error::new(Code::MissingRequestBodyError, "Request Body is empty"));
    }
    let site = xml::parse_known::<Wanted>(&document, ROOT)?.parse()?;
    set(cx, call, Some(&site)).await?;
    Ok(Response::empty(200))
}

/// Makes the bucket no website. It need not have been one.
pub(crate) async fn delete_bucket_website(cx: Cx, call: &Call) -> Result<Response, S3Error> {
    set(cx, call, None).await?;
    Ok(Response::empty(204))
}

async fn set(cx: Cx, call: &Call, site: Option<&Website>) -> Result<(), S3Error> {
    let now = cx.now().wall;
    change(cx, call, |row| {
        let website = Lww { at: Stamp::past(now, row.website.at), value: site.cloned() };
        let is_so = row.website.value == website.value;
        (!is_so).then(|| BucketRow { website, ..row.clone() })
    })
    .await
}

impl Wanted {
    fn parse(self) -> Result<Website, S3Error> {
        let rules = self.routing_rules.map(|rules| rules.routing_rule).unwrap_or_default();
        let rules = rules.into_iter().map(Rule::parse).collect::<Result<_, _>>();
        let redirect_all = self.redirect_all_requests_to.map(Target::parse).transpose();
        if self.index_document.is_none() && !matches!(redirect_all, Ok(Some(_))) {
            // A wrong redirect is wrong in itself.
            redirect_all.map_err(refused)?;
            let message = "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty";
            return Err(S3Error::invalid_argument("IndexDocument", "null", message));
        }
        let site = Website {
            index: self.index_document.map(|index| index.suffix).unwrap_or_default(),
            error: self.error_document.map(|error| error.key),
            redirect_all: redirect_all.map_err(refused)?,
            rules: rules.map_err(refused)?,
        };
        config::check(&site).map_err(refused)?;
        Ok(site)
    }
}

impl From<&Website> for Shown {
    fn from(site: &Website) -> Self {
        let has_documents = site.redirect_all.is_none();
        let rules: Vec<_> = site.rules.iter().map(Rule::from).collect();
        Self {
            redirect_all_requests_to: site.redirect_all.as_ref().map(Target::from),
            index_document: has_documents.then(|| IndexDocument { suffix: site.index.clone() }),
            error_document: site.error.clone().map(|key| ErrorDocument { key }),
            routing_rules: (!rules.is_empty()).then_some(RoutingRules { routing_rule: rules }),
        }
    }
}

/// The error of a website that there cannot be.
fn refused(invalid: Invalid) -> S3Error {
    let text = invalid.to_string();
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    let message = first.chain(letters).chain(['.']).collect::<String>();
    match invalid {
        Invalid::AllAndMore => {
            S3Error::invalid_argument("RedirectAllRequestsTo", "not null", message)
        }
        Invalid::Index(index) => S3Error::invalid_argument("IndexDocument", index, message),
        Invalid::EmptyErrorDocument => xml::malformed(&text),
        Invalid::EmptyCondition
        | Invalid::EmptyRedirect
        | Invalid::ErrorCode(_)
        | Invalid::Host(_)
        | Invalid::LongText(_)
        | Invalid::MuchText(_)
        | Invalid::Protocol(_)
        | Invalid::RedirectCode(_)
        | Invalid::RewriteElsewhere(_)
        | Invalid::TooManyRules(_)
        | Invalid::TwoReplacements
        | Invalid::Unwritable(_) => S3Error::new(Code::InvalidRequest, message),
    }
}
