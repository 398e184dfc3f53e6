//! Errors of the Admin API.

use std::fmt;

use serde_json::{Value, json};

use crate::{
    effect::PeerError,
    node::control::Refusal,
    s3::{error::S3Error, intake::BodyError},
    store::StoreError,
};

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

    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 409, code, message: message.into() }
    }

    pub fn not_implemented(what: &str) -> Self {
        let message = format!("{what} is not implemented yet");
        Self { status: 501, code: "NotImplemented", message }
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
        match error {
            PeerError::Unreachable
            | PeerError::TimedOut
            | PeerError::Busy
            | PeerError::Outdated
            | PeerError::Syncing
            | PeerError::Full => Self {
                status: 503,
                code: "ServiceUnavailable",
                message: format!("too few nodes can do this now ({error}); see `mews status`"),
            },
            PeerError::Malformed
            | PeerError::Store(_)
            | PeerError::Missing
            | PeerError::Corrupt
            | PeerError::Disk(_) => Self::internal(error.to_string()),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::from(PeerError::Store(error))
    }
}

impl From<S3Error> for Error {
    fn from(error: S3Error) -> Self {
        let message = match error.cause {
            Some(cause) => format!("{} ({cause})", error.message),
            None => error.message,
        };
        Self { status: error.code.status(), code: error.code.name(), message }
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
