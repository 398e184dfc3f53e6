//! What UpdateBucket says of a bucket as a website, and what GetBucketInfo shows of it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Error;
use crate::{
    table::access::{RedirectAll, RoutingRule, Website},
    web::{
        config::{self, Invalid, Rule, Target},
        rule::REDIRECT,
    },
};

/// The status of a rule that says none. S3 has 301 there, which browsers keep for good; clients of this API know it like this.
const TEMPORARY: u16 = 302;

/// What UpdateBucket may say of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WebsiteAccess {
    enabled: bool,
    index_document: Option<String>,
    error_document: Option<String>,
    routing_rules: Option<Vec<Rule>>,
    redirect_all_requests_to: Option<Target>,
}

/// What becomes of a bucket as a website.
pub(super) enum Change {
    /// It is none.
    Off,
    /// It is one.
    On {
        index: Option<String>,
        error: Option<String>,
        /// None: they stay.
        rules: Option<Vec<RoutingRule>>,
    },
    /// It sends everybody elsewhere.
    Moved(RedirectAll),
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::bad(invalid.to_string())
    }
}

impl WebsiteAccess {
    pub(super) fn parse(self) -> Result<Change, Error> {
        let Self { enabled, index_document: index, error_document: error, .. } = self;
        let rules = self.routing_rules.map(|rules| {
            let rules = rules.into_iter().map(|rule| rule.or_code(TEMPORARY).parse());
            rules.collect::<Result<Vec<_>, _>>()
        });
        let rules = rules.transpose()?;
        let all = self.redirect_all_requests_to.map(Target::parse).transpose()?;
        let is_bare =
            index.is_none() && error.is_none() && rules.as_ref().is_none_or(Vec::is_empty);
        match (enabled, all) {
            (true, None) => Ok(Change::On { index, error, rules }),
            (true, Some(all)) if is_bare => Ok(Change::Moved(all)),
            (true, Some(_)) => Err(Invalid::AllAndMore.into()),
            (false, None) if is_bare => Ok(Change::Off),
            (false, _) => Err(Error::bad(
                "a bucket that is no website has no `indexDocument`, no `errorDocument`, no `routingRules` and no `redirectAllRequestsTo`",
            )),
        }
    }
}

impl Change {
    /// What it makes of a bucket that is this now. `default` is the index document if none is named.
    pub(super) fn apply(
        &self,
        stored: Option<&Website>,
        default: &str,
    ) -> Result<Option<Website>, Error> {
        let site = match self {
            Self::Off => return Ok(None),
            Self::Moved(all) => {
                if stored.is_some_and(|site| !site.rules.is_empty()) {
                    return Err(Error::bad(
                        "the website has routing rules, which a redirect of everything would end; say `enabled: false` first",
                    ));
                }
                Website { redirect_all: Some(all.clone()), ..Website::default() }
            }
            Self::On { index, error, rules } => {
                if let Some(all) = stored.and_then(|site| site.redirect_all.as_ref()) {
                    return Err(Error::bad(format!(
                        "the bucket redirects every request to {}, which documents and rules would end; say `enabled: false` first",
                        all.host
                    )));
                }
                let index = index.clone().unwrap_or_else(|| default.to_owned());
                let rules = match (rules, stored) {
                    (Some(rules), _) => rules.clone(),
                    (None, Some(site)) => site.rules.clone(),
                    (None, None) => Vec::new(),
                };
                Website { index, error: error.clone(), redirect_all: None, rules }
            }
        };
        config::check(&site)?;
        Ok(Some(site))
    }
}

/// A website as GetBucketInfo shows it. A rule's status is always there.
pub(super) fn show(site: &Website) -> Value {
    let rules = site.rules.iter().map(|rule| Rule::from(rule).or_code(REDIRECT));
    let mut shown = json!({
        "indexDocument": site.index,
        "errorDocument": site.error,
        "routingRules": rules.collect::<Vec<_>>(),
    });
    if let Some(all) = &site.redirect_all {
        shown["redirectAllRequestsTo"] = json!(Target::from(all));
    }
    shown
}
