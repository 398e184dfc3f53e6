//! Errors of the Admin API.

use std::fmt;

use serde_json::{Value, json};

use crate::{effect::PeerError, node::control::Refusal, s3::intake::BodyError};

/// Why a call was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Error {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl Error {
    pub fn bad(message: impl Into<String>) -> Self {
        Self { status: 400, code: "InvalidRequest", message: message.into() }
    }

    pub fn denied(message: impl Into<String>) -> Self {
        Self { status: 403, code: "AccessDenied", message: message.into() }
    }

    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 404, code, message: message.into() }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self { status: 500, code: "InternalError", message: message.into() }
    }

    pub fn to_json(&self, region: &str, path: &str) -> Value {
        json!({
            "code": self.code,
            "message": self.message,
            "region": region,
            "path": path,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::bad(refusal.to_string())
    }
}

impl From<PeerError> for Error {
    fn from(error: PeerError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self { status: 413, ..Self::bad("the body is too large") },
            BodyError::TimedOut => Self { status: 408, ..Self::bad("the body stalled") },
            BodyError::Incomplete
            | BodyError::Malformed(_)
            | BodyError::BadSignature
            | BodyError::Sha256Mismatch
            | BodyError::BadDigest
            | BodyError::BadChecksum
            | BodyError::LengthMismatch => Self::bad(format!("the body is broken: {error:?}")),
        }
    }
}
