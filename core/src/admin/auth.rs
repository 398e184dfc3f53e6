//! Who may use the Admin API: whoever has the token.

use ring::{
    digest::{SHA256, digest},
    hmac,
};

/// The token that may do everything, as a hash: nothing that could be printed or sent.
#[derive(Clone, Default)]
pub struct Tokens {
    admin: Option<[u8; 32]>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("admin", &self.admin.is_some()).finish()
    }
}

impl Tokens {
    /// What is in the token file or the configuration. An empty one is none.
    pub fn new(admin: Option<&str>) -> Self {
        let token = admin.map(str::trim).filter(|token| !token.is_empty());
        Self { admin: token.map(|token| hashed(token.as_bytes())) }
    }

    /// Whether there is any way in.
    pub fn is_open(&self) -> bool {
        self.admin.is_some()
    }

    /// Whether an `Authorization` header has the token. Takes as long wherever the two differ.
    pub fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let (Some(token), Some(expected)) = (authorization.and_then(bearer), self.admin) else {
            return false;
        };
        // Comparing codes under a key that nobody outside knows gives nothing away by its time.
        let key = hmac::Key::new(hmac::HMAC_SHA256, &expected);
        let tag = hmac::sign(&key, &expected);
        hmac::verify(&key, &hashed(token), tag.as_ref()).is_ok()
    }
}

fn hashed(token: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    hash
}

/// The token of `Bearer TOKEN` (RFC 6750 §2.1); the scheme's name in any case (RFC 9110 §11.1).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_admits() {
        let tokens = Tokens::new(Some("s3cret\n"));
        assert!(tokens.admits(Some(b"Bearer s3cret")) && tokens.admits(Some(b"bearer  s3cret")));
        for wrong in ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret"] {
            assert!(!tokens.admits(Some(wrong.as_bytes())), "{wrong}");
        }
        assert!(!tokens.admits(None));
        for none in [Tokens::new(None), Tokens::new(Some("  \n"))] {
            assert!(!none.is_open() && !none.admits(Some(b"Bearer ")));
        }
    }
}
