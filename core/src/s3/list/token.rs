//! Continuation tokens: opaque to clients, checked when they come back.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::s3::error::S3Error;

/// The first byte of every token. A later form takes the next number.
const FORM: u8 = 1;

/// A token that says where to go on in a listing. `of` names the listing, so that a token of one bucket is not taken in another.
pub fn write(of: &str, after: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(5 + after.len());
    bytes.push(FORM);
    bytes.extend_from_slice(&check(of, after));
    bytes.extend_from_slice(after);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Where the listing goes on.
pub fn read(of: &str, token: &str) -> Result<Vec<u8>, S3Error> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let after = bytes.as_deref().and_then(|bytes| {
        let (form, rest) = bytes.split_first()?;
        let (sum, after) = rest.split_at_checked(4)?;
        (*form == FORM && sum == check(of, after)).then(|| after.to_vec())
    });
    after.ok_or_else(|| {
        let message = "The continuation token provided is incorrect";
        S3Error::invalid_argument("continuation-token", token, message)
    })
}

/// Against mistakes, not against malice: whoever may list may start wherever they like.
fn check(of: &str, after: &[u8]) -> [u8; 4] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(of.as_bytes()).update(&[0]).update(after);
    let mut sum = [0; 4];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_to_its_own_listing_only() {
        let token = write("bucket", b"a/\xc3\xa9");
        assert_eq!(read("bucket", &token).ok().as_deref(), Some(&b"a/\xc3\xa9"[..]));
        assert!(read("other", &token).is_err());
        assert!(read("bucket", &token[1..]).is_err());
        assert!(read("bucket", "").is_err());
        assert!(read("bucket", "not base64!").is_err());
    }
}
