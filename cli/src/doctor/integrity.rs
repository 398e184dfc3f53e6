//! Whether what is checked is checked: signatures, checksums, chunks and trailers, presigned URLs.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use mews_core::{
    checksum::Algorithm,
    s3::{digest, sign::Payload},
};

use super::{
    Probe,
    report::Finding,
    session::{Answer, Ask, Session, Trouble},
};

/// In the order in which they run.
pub const PROBES: &[Probe] = &[
    ("signature", signature),
    ("no-signature", no_signature),
    ("payload-hash", payload_hash),
    ("content-md5", content_md5),
    ("checksum-crc32", |session| checksum(session, Algorithm::Crc32)),
    ("checksum-crc32c", |session| checksum(session, Algorithm::Crc32c)),
    ("checksum-crc64nvme", |session| checksum(session, Algorithm::Crc64Nvme)),
    ("checksum-sha1", |session| checksum(session, Algorithm::Sha1)),
    ("checksum-sha256", |session| checksum(session, Algorithm::Sha256)),
    ("chunked", chunked),
    ("chunk-signature", chunk_signature),
    ("trailer", trailer),
    ("trailer-checksum", trailer_checksum),
    ("signed-trailer", signed_trailer),
    ("presigned-get", presigned_get),
    ("presigned-put", presigned_put),
    ("presigned-for-another", presigned_for_another),
    ("presigned-expired", presigned_expired),
];

type Found = Result<Finding, Trouble>;

const BODY: &[u8] = b"every byte of this counts";
const OTHER: &[u8] = b"every byte of that counts";

/// The Content-MD5 of a body.
pub fn md5(body: &[u8]) -> String {
    STANDARD.encode(digest::md5(body))
}

/// What the answer to a request means that should not be done; `ignored` if it was.
fn turned_away(answer: &Answer, ignored: &str) -> Finding {
    if answer.ok() {
        Finding::ignored(ignored)
    } else if answer.not_offered() {
        Finding::refused(answer)
    } else if answer.status >= 500 {
        Finding::wrong(answer.short())
    } else {
        Finding::honoured(answer.short())
    }
}

/// That an object is just this.
fn is_there(session: &mut Session, key: &str, body: &[u8]) -> Found {
    let answer = session.ask(Ask::object("GET", key))?.done()?;
    Ok(if answer.body == body {
        Finding::honoured("taken, and what is there is the body")
    } else if answer.body.len() > body.len() {
        Finding::ignored(format!("{} bytes are stored for {} sent", answer.body.len(), body.len()))
    } else {
        Finding::wrong("other bytes are there")
    })
}

fn signature(session: &mut Session) -> Found {
    let key = session.key("signed");
    let ask = Ask::object("PUT", &key).body(BODY);
    session.ask(ask.clone())?.done()?;
    let answer = session.ask_with(session.forger(), &ask)?;
    Ok(turned_away(&answer, "a wrong signature is taken"))
}

fn no_signature(session: &mut Session) -> Found {
    let key = session.key("signed");
    session.ask(Ask::object("PUT", &key).body(BODY))?.done()?;
    let target = session.target(&key);
    let answer = session.unsigned("GET", &target, b"")?;
    Ok(turned_away(&answer, "anybody can read what nobody has made public"))
}

fn payload_hash(session: &mut Session) -> Found {
    let key = session.key("payload-hash");
    let answer = session.ask(Ask::object("PUT", &key).body(BODY).signed_for(OTHER))?;
    Ok(turned_away(&answer, "a body is taken that is not the signed one"))
}

fn content_md5(session: &mut Session) -> Found {
    let key = session.key("content-md5");
    let put = |sum: String| Ask::object("PUT", &key).header("content-md5", sum).body(BODY);
    session.ask(put(md5(BODY)))?.done()?;
    let answer = session.ask(put(md5(OTHER)))?;
    Ok(turned_away(&answer, "a body with another sum is taken"))
}

fn checksum(session: &mut Session, algorithm: Algorithm) -> Found {
    let name = algorithm.header();
    let key = session.key(name);
    let right = digest::checksum(algorithm, BODY).text(None);
    let put = |sum: String| Ask::object("PUT", &key).header(name, sum).body(BODY);
    session.ask(put(right.clone()))?.done()?;
    let answer = session.ask(put(digest::checksum(algorithm, OTHER).text(None)))?;
    let finding = turned_away(&answer, "a body with another sum is taken");
    if answer.ok() || answer.not_offered() || answer.status >= 500 {
        return Ok(finding);
    }
    let ask = Ask::object("HEAD", &key).header("x-amz-checksum-mode", "ENABLED");
    let head = session.ask(ask)?.done()?;
    Ok(match head.header(name) {
        Some(told) if told == right => finding,
        Some(_) => Finding::wrong("another sum is told than was sent"),
        None => Finding::ignored("checked, but not kept: HEAD does not tell the sum"),
    })
}

fn chunked(session: &mut Session) -> Found {
    let key = session.key("chunked");
    let body = BODY.repeat(8000);
    let ask = Ask::object("PUT", &key).body(&body).chunked(Payload::Chunked(None), |_| {});
    session.ask(ask)?.done()?;
    is_there(session, &key, &body)
}

fn chunk_signature(session: &mut Session) -> Found {
    let key = session.key("chunk-signature");
    // The body is changed, and the signature of its chunk is not.
    let change = |bytes: &mut Vec<u8>| {
        let at = bytes.windows(BODY.len()).position(|window| window == BODY);
        if let Some(at) = at {
            bytes[at] ^= 1;
        }
    };
    let ask = Ask::object("PUT", &key).body(BODY).chunked(Payload::Chunked(None), change);
    let answer = session.ask(ask)?;
    Ok(turned_away(&answer, "a chunk is taken that is not the signed one"))
}

fn trailer(session: &mut Session) -> Found {
    let key = session.key("trailer");
    let body = BODY.repeat(8000);
    let payload = Payload::UnsignedChunked(Algorithm::Crc32);
    session.ask(Ask::object("PUT", &key).body(&body).chunked(payload, |_| {}))?.done()?;
    is_there(session, &key, &body)
}

fn trailer_checksum(session: &mut Session) -> Found {
    let key = session.key("trailer-checksum");
    let change = |bytes: &mut Vec<u8>| {
        let at = bytes.windows(BODY.len()).position(|window| window == BODY);
        if let Some(at) = at {
            bytes[at] ^= 1;
        }
    };
    let payload = Payload::UnsignedChunked(Algorithm::Crc32);
    let answer = session.ask(Ask::object("PUT", &key).body(BODY).chunked(payload, change))?;
    Ok(turned_away(&answer, "a body with another sum than its trailer says is taken"))
}

fn signed_trailer(session: &mut Session) -> Found {
    let key = session.key("signed-trailer");
    let payload = Payload::Chunked(Some(Algorithm::Crc32c));
    session.ask(Ask::object("PUT", &key).body(BODY).chunked(payload, |_| {}))?.done()?;
    is_there(session, &key, BODY)
}

const MINUTE: Duration = Duration::from_secs(60);

fn presigned_get(session: &mut Session) -> Found {
    let key = session.key("presigned");
    session.ask(Ask::object("PUT", &key).body(BODY))?.done()?;
    let target = session.presigned("GET", &key, MINUTE, Duration::ZERO)?;
    let answer = session.unsigned("GET", &target, b"")?.done()?;
    Ok(if answer.body == BODY {
        Finding::honoured("whoever has the URL can read")
    } else {
        Finding::wrong("other bytes come")
    })
}

fn presigned_put(session: &mut Session) -> Found {
    let key = session.key("presigned-put");
    let target = session.presigned("PUT", &key, MINUTE, Duration::ZERO)?;
    session.unsigned("PUT", &target, BODY)?.done()?;
    is_there(session, &key, BODY)
}

fn presigned_for_another(session: &mut Session) -> Found {
    let (key, other) = (session.key("presigned-a"), session.key("presigned-b"));
    for key in [&key, &other] {
        session.ask(Ask::object("PUT", key).body(BODY))?.done()?;
    }
    let target = session.presigned("GET", &key, MINUTE, Duration::ZERO)?;
    let target = target.replacen(&session.target(&key), &session.target(&other), 1);
    let answer = session.unsigned("GET", &target, b"")?;
    Ok(turned_away(&answer, "a URL for one key opens another"))
}

fn presigned_expired(session: &mut Session) -> Found {
    let key = session.key("presigned");
    session.ask(Ask::object("PUT", &key).body(BODY))?.done()?;
    let target = session.presigned("GET", &key, MINUTE, 2 * MINUTE)?;
    let answer = session.unsigned("GET", &target, b"")?;
    Ok(turned_away(&answer, "a URL is taken a minute after it has expired"))
}
