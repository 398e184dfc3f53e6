//! Which website a request is for.

use crate::{
    effect::PeerError,
    http::host,
    s3::{
        access,
        call::Bucket,
        cors::{self, Asked},
    },
    table::access::Website,
    task::Cx,
    view::{View, Web},
};

/// A bucket that is served as a website.
#[derive(Debug)]
pub struct Site {
    /// The bucket.
    pub bucket: Bucket,
    /// How it is served.
    pub website: Website,
}

impl Site {
    /// The website of a host, if it has one. `host` is as in a Host header.
    pub async fn of(cx: Cx, view: &View, host: &str) -> Result<Option<Self>, PeerError> {
        Self::such(cx, view, host, |_| true).await
    }

    /// The same for a page that asks before it makes a request: the rules that this node knows may be old.
    pub async fn asked(
        cx: Cx,
        view: &View,
        host: &str,
        asked: &Asked,
    ) -> Result<Option<Self>, PeerError> {
        let allows = |bucket: &Bucket| cors::allowed(&bucket.row.cors.value, asked).is_some();
        Self::such(cx, view, host, allows).await
    }

    async fn such(
        cx: Cx,
        view: &View,
        host: &str,
        will_do: impl Fn(&Bucket) -> bool,
    ) -> Result<Option<Self>, PeerError> {
        let name = bucket_of(host, &view.config.web);
        if name.is_empty() {
            return Ok(None);
        }
        let bucket = access::website_named(cx, view, &name, will_do).await?;
        Ok(bucket.and_then(|mut bucket| {
            let website = bucket.row.website.value.take()?;
            Some(Self { bucket, website })
        }))
    }
}

/// Whether a text can be the index document: the end of a key, after the slash of the folder that it stands for.
pub fn is_index(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

/// The bucket that a host's website is in: what stands in front of the root domain, or else the whole name. So a bucket is a website
/// of any domain that points here, if it is called by that domain's name.
pub fn bucket_of(host: &str, web: &Web) -> String {
    let name = host::name(host);
    let front = web.root_domain.as_deref().and_then(|root| host::in_front_of(&name, root));
    front.map_or_else(|| name.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_by_what_stands_before_the_root_domain_or_by_all_of_it() {
        let web = Web { root_domain: Some("web.example.org".to_owned()), ..Web::default() };
        for (host, expected) in [
            ("blog.web.example.org", "blog"),
            ("BLOG.web.example.org:3902", "blog"),
            ("my.blog.web.example.org.", "my.blog"),
            ("www.example.com", "www.example.com"),
            ("web.example.org", "web.example.org"),
        ] {
            assert_eq!(bucket_of(host, &web), expected, "{host}");
        }
        assert_eq!(bucket_of("blog.web.example.org", &Web::default()), "blog.web.example.org");
    }
}
