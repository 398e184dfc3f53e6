//! The answer to what is not an acceptable request.

use bytes::Bytes;

use super::ResponseHead;

/// Why a request is refused before anything has looked at what it asks for. The connection is closed afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The status code.
    pub status: u16,
    /// What is wrong with the request.
    pub reason: &'static str,
}

impl Reject {
    /// A refusal. `reason` is fixed text: it goes into the response as it is.
    pub const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    /// The response, in the form that S3 clients show to their users.
    pub fn response(self) -> (ResponseHead, Bytes) {
        let code = match self.status {
            408 => "RequestTimeout",
            431 => "RequestHeaderSectionTooLarge",
            500 => "InternalError",
            501 => "NotImplemented",
            503 => "SlowDown",
            _ => "InvalidRequest",
        };
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message></Error>",
            self.reason
        );
        let head = ResponseHead::new(self.status, body.len() as u64)
            .header("content-type", "application/xml");
        (head, body.into())
    }

    /// The response as it goes over the wire, for where nothing has read a request: the last on its connection, without a
    /// date.
    pub fn to_wire(self) -> Vec<u8> {
        let (head, body) = self.response();
        let mut wire = format!("HTTP/1.1 {} \r\n", head.status).into_bytes();
        for (name, value) in &head.headers {
            wire.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let rest = format!("content-length: {}\r\nconnection: close\r\n\r\n", head.len);
        wire.extend_from_slice(rest.as_bytes());
        wire.extend_from_slice(&body);
        wire
    }
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status, self.reason)
    }
}
