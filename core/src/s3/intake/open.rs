//! From a request's headers to the checks its body must pass.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    checksum::Algorithm,
    s3::{
        auth::{Chain, PayloadMode},
        digest::Hasher,
        error::{Code, S3Error},
        intake::{Expected, ExpectedChecksum, Framing, Intake, Sink, chunked::Chunked},
        request::{Operation, Request},
    },
};

/// The intake of a request whose signature holds.
pub(crate) fn open(request: &Request, mode: PayloadMode, chain: &Chain) -> Result<Intake, S3Error> {
    let trailer = announced(request)?;
    let framed = matches!(mode, PayloadMode::Chunked { trailer: true, .. })
        || (!matches!(mode, PayloadMode::Chunked { .. }) && request.head.body_len.is_none());
    if trailer.is_some() && !framed {
        return Err(S3Error::invalid_argument(
            "x-amz-trailer",
            trailer.map_or("", Algorithm::header),
            "x-amz-trailer announces a trailer, but the body's framing has no place for one. Use \
             x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER or STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER.",
        ));
    }
    let mut sink = Sink::new(request.head.body_len);
    let mut expected = Expected { md5: content_md5(request)?, ..Expected::default() };
    let framing = match mode {
        PayloadMode::Unsigned => Framing::Plain,
        PayloadMode::Signed(sha256) => {
            expected.sha256 = Some(sha256);
            sink.want_sha256();
            Framing::Plain
        }
        PayloadMode::Chunked { signed, trailer: follows } => {
            sink.declared = Some(decoded_len(request)?);
            let chain = signed.then(|| chain.clone());
            Framing::Chunked(Box::new(Chunked::new(chain, follows, trailer)))
        }
    };
    if let Some((algorithm, value)) = checksum(request, trailer)? {
        sink.hasher = Some(Hasher::new(algorithm));
        expected.checksum = value;
    }
    Ok(Intake { framing, sink, expected, closed: None })
}

/// Whether `x-amz-checksum-*` headers speak of the body. Those of a completion speak of the object.
fn speaks_of_body(op: Operation) -> bool {
    op != Operation::CompleteMultipartUpload
}

/// The checksum that the body must have, or is to be given.
fn checksum(
    request: &Request,
    trailer: Option<Algorithm>,
) -> Result<Option<(Algorithm, ExpectedChecksum)>, S3Error> {
    if !speaks_of_body(request.op) {
        return Ok(None);
    }
    let mut found = trailer.map(|algorithm| (algorithm, ExpectedChecksum::Trailer));
    for algorithm in Algorithm::ALL {
        // Some clients send the header empty when they have nothing to say.
        let Some(text) = request.header(algorithm.header()).filter(|text| !text.is_empty()) else {
            continue;
        };
        let Some(value) = algorithm.decode(text) else {
            return Err(S3Error::new(
                Code::InvalidRequest,
                format!("Value for {} header is invalid.", algorithm.header()),
            ));
        };
        if found.replace((algorithm, ExpectedChecksum::Value(value))).is_some() {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
    }
    let Some(named) = named(request)? else { return Ok(found) };
    match found {
        Some((algorithm, value)) if algorithm == named => Ok(Some((algorithm, value))),
        Some(_) => Err(S3Error::new(
            Code::InvalidRequest,
            "Value for x-amz-sdk-checksum-algorithm header is invalid: the checksum sent is of another algorithm.",
        )),
        None => Err(S3Error::new(
            Code::InvalidRequest,
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were \
             found.",
        )),
    }
}

/// The algorithm in `x-amz-sdk-checksum-algorithm`.
fn named(request: &Request) -> Result<Option<Algorithm>, S3Error> {
    let Some(name) = request.header("x-amz-sdk-checksum-algorithm").filter(|name| !name.is_empty())
    else {
        return Ok(None);
    };
    Algorithm::from_name(name).map(Some).ok_or_else(|| {
        S3Error::new(
            Code::InvalidRequest,
            "Value for x-amz-sdk-checksum-algorithm header is invalid: it must be CRC32, CRC32C, CRC64NVME, SHA1 or SHA256.",
        )
    })
}

/// The checksum that `x-amz-trailer` announces.
fn announced(request: &Request) -> Result<Option<Algorithm>, S3Error> {
    let names = request.head.all("x-amz-trailer").flat_map(|value| value.split(|b| *b == b','));
    let mut found = None;
    for name in names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
        let text = String::from_utf8_lossy(name).to_ascii_lowercase();
        let Some(algorithm) = Algorithm::from_header(&text) else {
            return Err(S3Error::invalid_argument(
                "x-amz-trailer",
                text,
                "The value specified in the x-amz-trailer header is not supported",
            ));
        };
        if found.replace(algorithm).is_some() {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "Expecting a single x-amz-checksum- trailer. Multiple checksum Types are not allowed.",
            ));
        }
    }
    Ok(found)
}

fn content_md5(request: &Request) -> Result<Option<[u8; 16]>, S3Error> {
    let Some(text) = request.header("content-md5") else { return Ok(None) };
    let md5 = STANDARD.decode(text).ok().and_then(|md5| md5.try_into().ok());
    md5.map(Some).ok_or_else(|| {
        S3Error::new(
            Code::InvalidDigest,
            "The Content-MD5 you specified was invalid: it must be the Base64 form of 16 bytes.",
        )
    })
}

fn decoded_len(request: &Request) -> Result<u64, S3Error> {
    let Some(text) = request.header("x-amz-decoded-content-length") else {
        return Err(S3Error::new(
            Code::MissingContentLength,
            "You must provide the x-amz-decoded-content-length HTTP header with an aws-chunked body.",
        ));
    };
    let digits =
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or_else(|| {
        S3Error::invalid_argument(
            "x-amz-decoded-content-length",
            String::from_utf8_lossy(text),
            "x-amz-decoded-content-length must be a number of bytes.",
        )
    })
}
