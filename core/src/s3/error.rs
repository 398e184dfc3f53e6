//! The errors of S3: codes with their statuses, and the XML document that tells a client of one.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

use bytes::Bytes;

use crate::{
    effect::{ClientGone, PeerError},
    s3::{intake::BodyError, xml},
    store::StoreError,
};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal,)*) => {
        /// An error code of S3, under the name that clients match on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it stands in the XML.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                }
            }
        }
    };
}

codes! {
    /// The key may not do this, or the request carries no signature.
    AccessDenied = 403,
    /// No rule of the bucket allows the page of another website to ask for this.
    AccessForbidden = 403,
    /// The `Authorization` header is of the right kind, but cannot be read or is for another region, service or day.
    AuthorizationHeaderMalformed = 400,
    /// The same for a presigned URL's parameters.
    AuthorizationQueryParametersError = 400,
    /// A digest or checksum that the client sent is not that of the bytes.
    BadDigest = 400,
    /// A preflight that leaves out what it is about.
    BadRequest = 400,
    /// The bucket's name is taken by someone else.
    BucketAlreadyExists = 409,
    /// The bucket exists and is the caller's own.
    BucketAlreadyOwnedByYou = 409,
    /// The bucket still holds objects or open uploads.
    BucketNotEmpty = 409,
    /// Two conditional writes met.
    ConditionalRequestConflict = 409,
    /// A part other than the last is smaller than 5 MiB.
    EntityTooSmall = 400,
    /// An object or part is larger than allowed.
    EntityTooLarge = 400,
    /// The configured region does not allow this location constraint.
    IllegalLocationConstraintException = 400,
    /// The body ended early.
    IncompleteBody = 400,
    /// Something failed here.
    InternalError = 500,
    /// No such access key.
    InvalidAccessKeyId = 403,
    /// A header, parameter or element has a value that means nothing.
    InvalidArgument = 400,
    /// Not a name that a bucket can have.
    InvalidBucketName = 400,
    /// A Content-MD5 or checksum that is not one.
    InvalidDigest = 400,
    /// A location constraint that this store does not know.
    InvalidLocationConstraint = 400,
    /// A part named in a completion does not exist, or has another ETag.
    InvalidPart = 400,
    /// The object has no part of that number.
    InvalidPartNumber = 416,
    /// The parts of a completion are not in ascending order.
    InvalidPartOrder = 400,
    /// The range does not touch the object.
    InvalidRange = 416,
    /// An object is to send a website's visitors to what is no address.
    InvalidRedirectLocation = 400,
    /// The request contradicts itself or lacks something.
    InvalidRequest = 400,
    /// A storage class that does not exist.
    InvalidStorageClass = 400,
    /// A session token; this store issues none.
    InvalidToken = 400,
    /// The target cannot be read.
    InvalidURI = 400,
    /// The key is longer than 1024 bytes.
    KeyTooLongError = 400,
    /// The XML in the body cannot be read, or is not what the operation takes.
    MalformedXML = 400,
    /// The document in the body is larger than allowed.
    MaxMessageLengthExceeded = 400,
    /// User metadata is larger than 2 KiB.
    MetadataTooLarge = 400,
    /// The method does not exist for this kind of resource.
    MethodNotAllowed = 405,
    /// The length of the body must be told beforehand.
    MissingContentLength = 411,
    /// The body is empty, and the operation needs a document in it.
    MissingRequestBodyError = 400,
    /// A header that the operation needs is not there.
    MissingSecurityHeader = 400,
    /// No such bucket.
    NoSuchBucket = 404,
    /// The bucket has no rules for pages of other websites.
    NoSuchCORSConfiguration = 404,
    /// No such object.
    NoSuchKey = 404,
    /// No such upload, or no longer.
    NoSuchUpload = 404,
    /// No such version of the object.
    NoSuchVersion = 404,
    /// The bucket is no website.
    NoSuchWebsiteConfiguration = 404,
    /// This store does not do that.
    NotImplemented = 501,
    /// The client's copy is current. Sent without a body.
    NotModified = 304,
    /// Another request works against this one, and has got ahead of it.
    OperationAborted = 409,
    /// A condition of the request does not hold.
    PreconditionFailed = 412,
    /// The bucket may not hold that much. Not AWS's, which has no quotas; the code is Ceph's, the status also Garage's.
    QuotaExceeded = 403,
    /// The presigned request or its date is outside the allowed window.
    RequestTimeTooSkewed = 403,
    /// The client sent nothing for too long.
    RequestTimeout = 400,
    /// The store cannot promise this right now; nothing was changed that was acknowledged.
    ServiceUnavailable = 503,
    /// The signature is not the one that the secret gives.
    SignatureDoesNotMatch = 403,
    /// Too many requests at once.
    SlowDown = 503,
    /// The caller has as many buckets as it may.
    TooManyBuckets = 400,
    /// The signed SHA-256 is not that of the bytes.
    XAmzContentSHA256Mismatch = 400,
}

/// Seconds that a client is asked to wait after a 503.
const RETRY_AFTER: &str = "1";

/// An error on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Error {
    /// What kind.
    pub code: Code,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// Response headers that go with it: names in lower case.
    pub headers: Vec<(String, String)>,
    /// Further elements of the XML document, in order, such as `BucketName`. Never a secret.
    pub details: Vec<(&'static str, String)>,
    /// What happened inside, for the log alone.
    pub cause: Option<String>,
}

impl S3Error {
    /// An error of this kind. A 503 asks the client to come back in a second.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let mut headers = Vec::new();
        if code.status() == 503 {
            headers.push(("retry-after".to_owned(), RETRY_AFTER.to_owned()));
        }
        Self { code, message: message.into(), headers, details: Vec::new(), cause: None }
    }

    /// The 501 of an operation, header or value that is not honoured. `what` names it.
    pub fn not_implemented(what: &str) -> Self {
        Self::new(Code::NotImplemented, format!("{what} is not implemented by this store."))
    }

    /// The 409 of a request that others have got ahead of too often.
    pub fn aborted() -> Self {
        let message = "A conflicting conditional operation is currently in progress against this resource. Please try again.";
        Self::new(Code::OperationAborted, message)
    }

    /// The 400 of a parameter, header or element with a meaningless value, named as AWS does in `ArgumentName` and
    /// `ArgumentValue`.
    pub fn invalid_argument(
        name: &str,
        value: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Code::InvalidArgument, message)
            .detail("ArgumentName", name)
            .detail("ArgumentValue", value)
    }

    /// Adds an element to the XML document.
    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// Adds a response header. `name` in lower case.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Keeps what happened inside, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The XML document: `resource` is the path as asked for, the ids are those of the response's headers. A 304 has no
    /// body, and an answer to HEAD sends none.
    pub fn to_xml(&self, resource: &str, request_id: &str, host_id: &str) -> Bytes {
        let mut text = String::with_capacity(512);
        text.push_str(xml::DECLARATION);
        text.push_str("<Error>");
        let details = self.details.iter().map(|(name, value)| (*name, value.as_str()));
        let fixed = [("Code", self.code.name()), ("Message", &self.message)];
        let ends = [("Resource", resource), ("RequestId", request_id), ("HostId", host_id)];
        for (name, value) in fixed.into_iter().chain(details).chain(ends) {
            xml::element_lossy(&mut text, name, value);
        }
        text.push_str("</Error>");
        Bytes::from(text)
    }
}

impl std::fmt::Display for S3Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for S3Error {}

impl From<PeerError> for S3Error {
    fn from(error: PeerError) -> Self {
        let cause = error.to_string();
        let error = match error {
            PeerError::Unreachable
            | PeerError::TimedOut
            | PeerError::Busy
            | PeerError::Outdated
            | PeerError::Syncing
            | PeerError::Malformed => Self::new(
                Code::ServiceUnavailable,
                "Too few of the nodes that hold this data can be reached. Please try again.",
            ),
            PeerError::Full => Self::new(
                Code::ServiceUnavailable,
                "The data directories are full: only their reserve is left, which is kept for deletions. \
                 Delete objects, or ask the operator to add space.",
            ),
            PeerError::Store(error) => return error.into(),
            PeerError::Missing => Self::new(
                Code::InternalError,
                "A block of this object is missing on every node that should hold it. The log of the server \
                 names the block.",
            ),
            PeerError::Corrupt => Self::new(
                Code::InternalError,
                "A block of this object is damaged on disk, and no good copy was found. The log of the \
                 server names the block.",
            ),
            // Of one that others could have done without, nobody is told; so it may be done elsewhere, or when it is tried again.
            PeerError::Disk(_) => Self::new(
                Code::ServiceUnavailable,
                "A disk failed while this was being done. Please try again. The reason is in the log of the server.",
            ),
        };
        error.because(cause)
    }
}

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        let cause = error.to_string();
        let error = match error {
            StoreError::Closed => Self::new(
                Code::ServiceUnavailable,
                "The server is shutting down. Please try again.",
            ),
            StoreError::Engine(_) => Self::new(
                Code::ServiceUnavailable,
                "The metadata database failed. Please try again. The reason is in the log of the server.",
            ),
            StoreError::Damaged { .. } => Self::new(
                Code::InternalError,
                "The metadata database holds something that cannot be read or is not whole. The log of the server \
                 names it.",
            ),
        };
        error.because(cause)
    }
}

impl From<BodyError> for S3Error {
    fn from(error: BodyError) -> Self {
        let (code, message) = match error {
            BodyError::Incomplete => (
                Code::IncompleteBody,
                "The body ended before its declared length. Please send it again.",
            ),
            BodyError::TimedOut => (
                Code::RequestTimeout,
                "Nothing was received on the connection for too long. Please send the request again.",
            ),
            BodyError::TooLarge => (
                Code::MaxMessageLengthExceeded,
                "The body of the request is larger than this operation allows.",
            ),
            BodyError::Malformed(how) => {
                return Self::new(
                    Code::InvalidRequest,
                    format!("The body of the request is not framed as declared: {how}."),
                );
            }
            BodyError::BadSignature => (
                Code::SignatureDoesNotMatch,
                "The signature of a chunk or trailer of the body is not the one we calculated. Check the secret key and \
                 that nothing between client and server changes the body.",
            ),
            BodyError::Sha256Mismatch => (
                Code::XAmzContentSHA256Mismatch,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ),
            BodyError::BadDigest => (
                Code::BadDigest,
                "The Content-MD5 you specified did not match what we received. Please send it again.",
            ),
            BodyError::BadChecksum => (
                Code::BadDigest,
                "The checksum you specified did not match the one calculated from what we received. Please send it \
                 again.",
            ),
            BodyError::LengthMismatch => (
                Code::IncompleteBody,
                "The body does not have the number of bytes given in x-amz-decoded-content-length.",
            ),
        };
        Self::new(code, message)
    }
}

impl From<ClientGone> for S3Error {
    /// Nobody will read it, but logs count it as what it is: the client's doing.
    fn from(_: ClientGone) -> Self {
        Self::new(Code::RequestTimeout, "The client closed the connection.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_can_come_back_is_told_when() {
        let full = S3Error::from(PeerError::Full);
        assert_eq!((full.code.status(), full.code.name()), (503, "ServiceUnavailable"));
        assert_eq!(full.headers, [("retry-after".to_owned(), "1".to_owned())]);
        assert!(full.message.contains("Delete objects"), "it says what to do: {}", full.message);
        assert_eq!(S3Error::from(PeerError::Corrupt).headers, []);
        assert_eq!(S3Error::from(PeerError::Store(StoreError::Closed)).code.status(), 503);
        // What others could have done instead, had there been enough of them.
        let engine = StoreError::Engine("I/O error".to_owned());
        for error in [PeerError::Store(engine), PeerError::Disk("I/O error".to_owned())] {
            let error = S3Error::from(error);
            assert_eq!((error.code.status(), &error.headers), (503, &full.headers));
        }
    }

    #[test]
    fn reasons_of_the_machine_stay_on_the_machine() {
        let disk = S3Error::from(PeerError::Disk("/srv/secret: I/O error".to_owned()));
        assert!(!disk.message.contains("/srv"));
    }

    #[test]
    fn broken_bodies_are_the_clients_doing() {
        for error in [
            BodyError::Incomplete,
            BodyError::TimedOut,
            BodyError::TooLarge,
            BodyError::Malformed("so"),
            BodyError::BadSignature,
            BodyError::Sha256Mismatch,
            BodyError::BadDigest,
            BodyError::BadChecksum,
            BodyError::LengthMismatch,
        ] {
            assert!((400..500).contains(&S3Error::from(error.clone()).code.status()), "{error:?}");
        }
        let message = S3Error::from(BodyError::Malformed("a chunk is not signed")).message;
        assert!(message.contains("a chunk is not signed"));
    }

    #[test]
    fn no_two_codes_share_a_name() {
        let names: std::collections::BTreeSet<_> =
            Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
