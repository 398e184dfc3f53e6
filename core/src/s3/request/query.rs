//! The parameters of a request.

use percent_encoding::percent_decode;

use crate::s3::error::{Code, S3Error};

/// More parameters than any operation takes, presigned ones with many `x-amz-meta-*` included; fewer than would make
/// sorting them for a signature a burden.
const PARAMETERS_MAX: usize = 256;

/// The parameters of the query, decoded, in the order sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// The parameters in a raw query. A `+` stands for a blank, as forms have it and as AWS reads it.
    pub fn parse(raw: &[u8]) -> Result<Self, S3Error> {
        let mut pairs = Vec::new();
        for pair in raw.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            if pairs.len() == PARAMETERS_MAX {
                return Err(S3Error::new(
                    Code::InvalidURI,
                    format!("The query has more than {PARAMETERS_MAX} parameters."),
                ));
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// The first value of the parameter; empty for one without `=`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(each, _)| each == name).map(|(_, value)| value.as_str())
    }

    /// Whether the parameter is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names and values in the order sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first value of a parameter whose name is compared without regard to case, as those of presigned URLs are.
    pub(crate) fn get_any_case(&self, name: &str) -> Option<&str> {
        self.iter().find(|(each, _)| each.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether the query carries a Signature V4.
    pub fn is_presigned(&self) -> bool {
        self.get_any_case("x-amz-algorithm").is_some()
            || self.get_any_case("x-amz-signature").is_some()
    }
}

/// Whether a parameter is part of the signature itself. `name` in lower case.
pub(in crate::s3) fn is_auth(name: &str) -> bool {
    matches!(
        name,
        "x-amz-algorithm"
            | "x-amz-credential"
            | "x-amz-date"
            | "x-amz-expires"
            | "x-amz-signedheaders"
            | "x-amz-signature"
            | "x-amz-content-sha256"
    )
}

fn decode(raw: &[u8]) -> Result<String, S3Error> {
    let decoded = if raw.contains(&b'+') {
        let blanks: Vec<u8> = raw.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        percent_decode(&blanks).collect()
    } else {
        percent_decode(raw).collect::<Vec<u8>>()
    };
    String::from_utf8(decoded).map_err(|_| {
        S3Error::new(
            Code::InvalidURI,
            "Couldn't parse the specified URI: a parameter is not UTF-8.",
        )
    })
}
