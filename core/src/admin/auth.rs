//! Who may use the Admin API: whoever has the token.

use ring::{
    digest::{SHA256, digest},
    hmac,
};

/// The tokens that the configuration names, as hashes: nothing that could be printed or sent.
#[derive(Clone, Default)]
pub struct Tokens {
    admin: Option<[u8; 32]>,
    metrics: Option<[u8; 32]>,
    metrics_need_token: bool,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("admin", &self.admin.is_some())
            .field("metrics", &self.metrics.is_some())
            .field("metrics_need_token", &self.metrics_need_token)
            .finish()
    }
}

impl Tokens {
    /// The token that may do everything but read metrics, and the one that may read metrics and do nothing else, as they are in
    /// their files or the configuration. An empty one is none.
    pub fn new(admin: Option<&str>, metrics: Option<&str>) -> Self {
        let hash = |token: Option<&str>| {
            let token = token.map(str::trim).filter(|token| !token.is_empty());
            token.map(|token| hashed(token.as_bytes()))
        };
        Self { admin: hash(admin), metrics: hash(metrics), metrics_need_token: false }
    }

    /// Whether metrics need a token also where no token for them is configured.
    #[must_use]
    pub fn metrics_need_token(mut self, needed: bool) -> Self {
        self.metrics_need_token = needed;
        self
    }

    /// Whether there is an admin token.
    pub fn has_admin(&self) -> bool {
        self.admin.is_some()
    }

    /// Whether there is a token for metrics.
    pub fn has_metrics(&self) -> bool {
        self.metrics.is_some()
    }

    /// Whether an `Authorization` header has the admin token. Takes as long wherever the two differ.
    pub fn admits(&self, authorization: Option<&[u8]>) -> bool {
        matches(authorization, self.admin)
    }

    /// Whether whoever sends this `Authorization` header may read metrics: everybody, unless a token for them is configured or
    /// needed.
    pub fn admits_to_metrics(&self, authorization: Option<&[u8]>) -> bool {
        let open = self.metrics.is_none() && !self.metrics_need_token;
        open || matches(authorization, self.metrics)
    }
}

/// Whether an `Authorization` header has the token with that hash.
fn matches(authorization: Option<&[u8]>, expected: Option<[u8; 32]>) -> bool {
    let (Some(token), Some(expected)) = (authorization.and_then(bearer), expected) else {
        return false;
    };
    same(&expected, &hashed(token))
}

/// Whether two hashes are the same. Takes as long wherever they differ.
pub(super) fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    // Comparing codes under a key that nobody outside knows gives nothing away by its time.
    let key = hmac::Key::new(hmac::HMAC_SHA256, a);
    let tag = hmac::sign(&key, a);
    hmac::verify(&key, b, tag.as_ref()).is_ok()
}

/// As a token is kept: SHA-256.
pub(super) fn hashed(token: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    hash
}

/// The token of `Bearer TOKEN` (RFC 6750 §2.1); the scheme's name in any case (RFC 9110 §11.1).
pub(super) fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_admits() {
        let tokens = Tokens::new(Some("s3cret\n"), Some("other"));
        assert!(tokens.admits(Some(b"Bearer s3cret")) && tokens.admits(Some(b"bearer  s3cret")));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer s3cre",
            "Bearer s3cret2",
            "Basic s3cret",
            "Bearer other",
        ] {
            assert!(!tokens.admits(Some(wrong.as_bytes())), "{wrong}");
        }
        assert!(!tokens.admits(None));
        for none in [Tokens::new(None, None), Tokens::new(Some("  \n"), Some("other"))] {
            assert!(!none.has_admin() && !none.admits(Some(b"Bearer ")));
        }
    }

    #[test]
    fn metrics_are_open_until_a_token_is_configured_or_needed() {
        let open = Tokens::new(Some("s3cret"), None);
        assert!(open.admits_to_metrics(None) && open.admits_to_metrics(Some(b"Bearer x")));
        let needed = open.metrics_need_token(true);
        assert!(!needed.admits_to_metrics(None) && !needed.admits_to_metrics(Some(b"Bearer ")));
        for tokens in [Tokens::new(None, Some("m")), Tokens::new(Some("s3cret"), Some("m\n"))] {
            assert!(tokens.admits_to_metrics(Some(b"Bearer m")));
            for wrong in [None, Some(&b"Bearer "[..]), Some(b"Bearer s3cret"), Some(b"m")] {
                assert!(!tokens.admits_to_metrics(wrong), "{wrong:?}");
            }
        }
    }

    #[test]
    fn no_token_is_printed() {
        let text = format!("{:?}", Tokens::new(Some("s3cret"), Some("other")));
        assert_eq!(text, "Tokens { admin: true, metrics: true, metrics_need_token: false }");
    }
}
