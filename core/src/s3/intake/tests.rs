use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    http::RequestHead,
    s3::{
        auth, digest,
        error::Code,
        request::{Request, take_apart},
        sign::{Payload, Signer},
    },
    time::Timestamp,
    view::Config,
};

const NOW: Timestamp = Timestamp(1_790_000_000_000);

/// A signed PUT with a body, and its intake.
fn put(
    headers: &[(&str, String)],
    payload: Payload<'_>,
    body: &[u8],
    chunk: usize,
) -> (Result<Intake, S3Error>, Vec<u8>) {
    let mut head = RequestHead {
        method: "PUT".to_owned(),
        target: b"/b/k".to_vec(),
        headers: vec![("host".to_owned(), Bytes::from("h"))],
        body_len: None,
        peer: String::new(),
    };
    for (name, value) in headers {
        head.headers.push(((*name).to_owned(), Bytes::from(value.clone())));
    }
    if matches!(payload, Payload::Chunked(_) | Payload::UnsignedChunked(_)) {
        let len = Bytes::from(body.len().to_string());
        head.headers.push(("x-amz-decoded-content-length".to_owned(), len));
    }
    let framer = Signer::new("k", "s", "r").sign(&mut head, payload, NOW).unwrap();
    let raw = framer.frame(body, chunk);
    head.body_len = Some(raw.len() as u64);
    (intake(head), raw)
}

fn intake(head: RequestHead) -> Result<Intake, S3Error> {
    let request: Request = take_apart(head, &Config::default()).unwrap();
    let claim = auth::claim(&request, NOW, &Config::default()).unwrap();
    claim.verify("s", &request).unwrap().intake(&request)
}

/// Pushes `raw` in pieces that end at `cuts`.
fn run(mut intake: Intake, raw: &[u8], cuts: &[usize]) -> Result<(Summary, Vec<u8>), BodyError> {
    let mut out = BytesMut::new();
    let mut from = 0;
    for cut in cuts.iter().copied().chain([raw.len()]).filter(|cut| *cut <= raw.len()) {
        if cut >= from {
            intake.push(&raw[from..cut], &mut out)?;
            from = cut;
        }
    }
    let summary = intake.finish(&[])?;
    Ok((summary, out.to_vec()))
}

fn modes(body: &[u8]) -> [Payload<'_>; 6] {
    [
        Payload::Unsigned,
        Payload::Signed(body),
        Payload::Chunked(None),
        Payload::Chunked(Some(Algorithm::Crc32c)),
        Payload::Chunked(Some(Algorithm::Sha256)),
        Payload::UnsignedChunked(Algorithm::Crc64Nvme),
    ]
}

#[test]
fn every_mode_gives_the_plain_bytes() {
    for body in [&b""[..], b"a", b"Hello, world", &[7; 1000]] {
        for payload in modes(body) {
            let (intake, raw) = put(&[], payload, body, 64);
            let (summary, plain) = run(intake.unwrap(), &raw, &[]).unwrap();
            assert_eq!(plain, body, "{payload:?}");
            assert_eq!((summary.len, summary.md5), (body.len() as u64, digest::md5(body)));
            if let Payload::Chunked(Some(algorithm)) | Payload::UnsignedChunked(algorithm) = payload
            {
                assert_eq!(summary.checksum, Some(digest::checksum(algorithm, body)));
            }
        }
    }
}

#[test]
fn what_the_headers_say_of_the_body_must_hold() {
    let base64 = |bytes: &[u8]| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    let check = |name: &'static str, value: String| {
        let (intake, raw) = put(&[(name, value)], Payload::Unsigned, b"body", 1);
        run(intake.unwrap(), &raw, &[]).map(|(summary, _)| summary)
    };
    check("content-md5", base64(&digest::md5(b"body"))).unwrap();
    assert_eq!(check("content-md5", base64(&digest::md5(b"bodY"))), Err(BodyError::BadDigest));
    for algorithm in Algorithm::ALL {
        let right = digest::checksum(algorithm, b"body");
        let wrong = digest::checksum(algorithm, b"bodY");
        let summary = check(algorithm.header(), right.text(None)).unwrap();
        assert_eq!(summary.checksum, Some(right));
        assert_eq!(check(algorithm.header(), wrong.text(None)), Err(BodyError::BadChecksum));
    }
    let (intake, _) = put(&[], Payload::Signed(b"body"), b"body", 1);
    assert_eq!(run(intake.unwrap(), b"bodY", &[]), Err(BodyError::Sha256Mismatch));
}

#[test]
fn headers_that_contradict_each_other_are_refused() {
    let code = |headers: &[(&str, String)]| {
        put(headers, Payload::Unsigned, b"body", 1).0.unwrap_err().code
    };
    let text = |text: &str| text.to_owned();
    let crc32 = digest::checksum(Algorithm::Crc32, b"body").text(None);
    assert_eq!(code(&[("content-md5", text("x"))]), Code::InvalidDigest);
    assert_eq!(code(&[("content-md5", text(""))]), Code::InvalidDigest);
    assert_eq!(code(&[("x-amz-checksum-crc32", text("AAAA"))]), Code::InvalidRequest);
    assert_eq!(
        code(&[
            ("x-amz-checksum-crc32", crc32.clone()),
            ("x-amz-checksum-sha1", text("2jmj7l5rSw0yVb/vlWAYkK/YBwk="))
        ]),
        Code::InvalidRequest
    );
    assert_eq!(code(&[("x-amz-sdk-checksum-algorithm", text("CRC32"))]), Code::InvalidRequest);
    assert_eq!(
        code(&[("x-amz-sdk-checksum-algorithm", text("SHA1")), ("x-amz-checksum-crc32", crc32)]),
        Code::InvalidRequest
    );
    assert_eq!(code(&[("x-amz-sdk-checksum-algorithm", text("MD4"))]), Code::InvalidRequest);
    assert_eq!(code(&[("x-amz-trailer", text("x-amz-checksum-crc32"))]), Code::InvalidArgument);
    assert_eq!(code(&[("x-amz-trailer", text("expires"))]), Code::InvalidArgument);
    put(&[("x-amz-checksum-crc32", text(""))], Payload::Unsigned, b"body", 1).0.unwrap();

    let mut head = RequestHead {
        method: "PUT".to_owned(),
        target: b"/b/k".to_vec(),
        headers: vec![("host".to_owned(), Bytes::from("h"))],
        body_len: Some(10),
        peer: String::new(),
    };
    Signer::new("k", "s", "r").sign(&mut head, Payload::Chunked(None), NOW).unwrap();
    assert_eq!(intake(head).unwrap_err().code, Code::MissingContentLength);
}

#[test]
fn a_checksum_can_be_asked_for() {
    let mut intake = Intake::plain(Some(4));
    intake.wants(Algorithm::Crc64Nvme).unwrap();
    assert_eq!((intake.remaining(), intake.algorithm()), (Some(4), Some(Algorithm::Crc64Nvme)));
    let (summary, _) = run(intake, b"body", &[]).unwrap();
    assert_eq!(summary.checksum, Some(digest::checksum(Algorithm::Crc64Nvme, b"body")));

    let sent = digest::checksum(Algorithm::Crc32, b"body").text(None);
    let (intake, _) = put(&[("x-amz-checksum-crc32", sent)], Payload::Unsigned, b"body", 1);
    let mut intake = intake.unwrap();
    intake.wants(Algorithm::Crc32).unwrap();
    assert_eq!(intake.wants(Algorithm::Sha1).unwrap_err().code, Code::InvalidRequest);
}

#[test]
fn a_completions_checksum_is_not_of_its_document() {
    let mut head = RequestHead {
        method: "POST".to_owned(),
        target: b"/b/k?uploadId=u".to_vec(),
        headers: vec![
            ("host".to_owned(), Bytes::from("h")),
            ("x-amz-checksum-crc32".to_owned(), Bytes::from("AAAAAA==")),
        ],
        body_len: Some(4),
        peer: String::new(),
    };
    Signer::new("k", "s", "r").sign(&mut head, Payload::Signed(b"body"), NOW).unwrap();
    run(intake(head).unwrap(), b"body", &[]).unwrap();
}

#[test]
fn a_body_must_have_its_declared_length() {
    let mut out = BytesMut::new();
    let mut short = Intake::plain(Some(5));
    short.push(b"body", &mut out).unwrap();
    assert_eq!(short.remaining(), Some(1));
    assert_eq!(short.finish(&[]), Err(BodyError::Incomplete));
    assert_eq!(short.finish(&[]), Err(BodyError::Incomplete), "it does not change its mind");
    assert_eq!(Intake::plain(Some(3)).push(b"body", &mut out), Err(BodyError::LengthMismatch));
    let mut unknown = Intake::plain(None);
    unknown.push(b"body", &mut out).unwrap();
    assert_eq!(unknown.finish(&[]).unwrap().len, 4);
    assert!(unknown.finish(&[]).is_err(), "a body ends once");
    assert!(unknown.push(b"more", &mut out).is_err(), "and nothing follows");
}

#[test]
fn http_trailers_count_where_they_were_announced() {
    let checksum = digest::checksum(Algorithm::Crc32, b"body").text(None);
    let start = || {
        let mut head = RequestHead {
            method: "PUT".to_owned(),
            target: b"/b/k".to_vec(),
            headers: vec![
                ("host".to_owned(), Bytes::from("h")),
                ("x-amz-trailer".to_owned(), Bytes::from("x-amz-checksum-crc32")),
            ],
            body_len: None,
            peer: String::new(),
        };
        Signer::new("k", "s", "r").sign(&mut head, Payload::Unsigned, NOW).unwrap();
        let mut intake = intake(head).unwrap();
        intake.push(b"body", &mut BytesMut::new()).unwrap();
        intake
    };
    let trailer =
        |value: &str| vec![("x-amz-checksum-crc32".to_owned(), value.as_bytes().to_vec())];
    start().finish(&trailer(&checksum)).unwrap();
    assert_eq!(start().finish(&trailer("AAAAAA==")), Err(BodyError::BadChecksum));
    assert!(matches!(start().finish(&trailer("AAA")), Err(BodyError::Malformed(_))));
    assert!(matches!(start().finish(&[]), Err(BodyError::Malformed(_))));
}

/// An unsigned chunked body, as it is on the wire.
fn unsigned(raw: &str, len: u64) -> Result<(Summary, Vec<u8>), BodyError> {
    let mut head = RequestHead {
        method: "PUT".to_owned(),
        target: b"/b/k".to_vec(),
        headers: vec![
            ("host".to_owned(), Bytes::from("h")),
            ("x-amz-decoded-content-length".to_owned(), Bytes::from(len.to_string())),
        ],
        body_len: Some(raw.len() as u64),
        peer: String::new(),
    };
    let payload = Payload::UnsignedChunked(Algorithm::Crc32);
    Signer::new("k", "s", "r").sign(&mut head, payload, NOW).unwrap();
    run(intake(head).unwrap(), raw.as_bytes(), &[])
}

#[test]
fn framing_that_is_broken_is_refused_and_what_clients_vary_is_not() {
    // CRC-32 of "abc".
    let sum = "x-amz-checksum-crc32:NSRBwg==";
    for raw in [
        format!("3\r\nabc\r\n0\r\n{sum}\r\n\r\n"),
        format!("3\r\nabc\r\n0\r\n{sum}\r\n"),
        format!("003\r\nabc\r\n0\r\n{sum}\n\r\n\r\n"),
        "1\r\na\r\n2;unknown=x\r\nbc\r\n0\r\nX-Amz-Checksum-CRC32: NSRBwg== \r\n\r\n".to_owned(),
    ] {
        assert_eq!(unsigned(&raw, 3).unwrap().1, b"abc", "{raw:?}");
    }
    for (raw, len, error) in [
        (format!("3\r\nabc\r\n0\r\n{sum}\r\n\r\n"), 4, BodyError::LengthMismatch),
        (format!("3\r\nabc\r\n0\r\n{sum}\r\n\r\n"), 2, BodyError::LengthMismatch),
        (format!("3\r\nabd\r\n0\r\n{sum}\r\n\r\n"), 3, BodyError::BadChecksum),
        ("3\r\nabc\r\n".to_owned(), 3, BodyError::Incomplete),
        ("3\r\nab".to_owned(), 3, BodyError::Incomplete),
        ("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==".to_owned(), 3, BodyError::Incomplete),
        (String::new(), 3, BodyError::Incomplete),
    ] {
        assert_eq!(unsigned(&raw, len).unwrap_err(), error, "{raw:?}");
    }
    for raw in [
        format!("3\nabc\r\n0\r\n{sum}\r\n\r\n"),
        format!("3\r\nabcd\r\n0\r\n{sum}\r\n\r\n"),
        format!("-3\r\nabc\r\n0\r\n{sum}\r\n\r\n"),
        format!("00000000000000003\r\nabc\r\n0\r\n{sum}\r\n\r\n"),
        format!("\r\nabc\r\n0\r\n{sum}\r\n\r\n"),
        "3\r\nabc\r\n0\r\n\r\n".to_owned(),
        "3\r\nabc\r\n0\r\nx-amz-checksum-crc32\r\n\r\n".to_owned(),
        "3\r\nabc\r\n0\r\nx-amz-checksum-crc32c:NSRBwg==\r\n\r\n".to_owned(),
        "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRB\r\n\r\n".to_owned(),
        format!("3\r\nabc\r\n0\r\n{sum}\r\n{sum}\r\n\r\n"),
        format!("3\r\nabc\r\n0\r\n{sum}\r\nx-amz-trailer-signature:00\r\n\r\n"),
        format!("3\r\nabc\r\n0\r\n{sum}\r\n{}", "\r\n".repeat(100)),
        format!("3{}\r\nabc\r\n0\r\n{sum}\r\n\r\n", " ".repeat(2000)),
    ] {
        assert!(
            matches!(unsigned(&raw, 3), Err(BodyError::Malformed(_))),
            "{raw:?}: {:?}",
            unsigned(&raw, 3)
        );
    }
}

#[test]
fn a_signed_body_cannot_lose_its_trailers_signature_or_go_on_after_it() {
    let (intake, raw) = put(&[], Payload::Chunked(Some(Algorithm::Crc32)), b"abc", 64);
    let text = String::from_utf8(raw).unwrap();
    let at = text.find("x-amz-trailer-signature").unwrap();
    let cut = run(intake.unwrap(), &text.as_bytes()[..at], &[]);
    assert!(matches!(cut, Err(BodyError::Malformed(_))), "{cut:?}");
    let (intake, _) = put(&[], Payload::Chunked(Some(Algorithm::Crc32)), b"abc", 64);
    let more = format!("{text}x-amz-checksum-crc32:AAAAAA==\r\n");
    assert!(run(intake.unwrap(), more.as_bytes(), &[]).is_err());
    let (intake, raw) = put(&[], Payload::Chunked(None), b"abc", 64);
    assert!(run(intake.unwrap(), &[&raw[..], b"x"].concat(), &[]).is_err());
}

proptest! {
    #[test]
    fn any_split_gives_the_same_result(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        chunk in 1usize..120,
        cuts in proptest::collection::vec(0usize..3000, 0..12),
        mode in 0usize..6,
    ) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let payload = modes(&body)[mode];
        let (intake, raw) = put(&[], payload, &body, chunk);
        let (summary, plain) = run(intake.unwrap(), &raw, &cuts).unwrap();
        prop_assert_eq!(&plain, &body);
        prop_assert_eq!(summary.md5, digest::md5(&body));
    }

    #[test]
    fn changed_bytes_never_pass_for_others(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        chunk in 1usize..120,
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
        mode in 1usize..6,
    ) {
        let payload = modes(&body)[mode];
        let (intake, mut raw) = put(&[], payload, &body, chunk);
        if !raw.is_empty() {
            let at = at.index(raw.len());
            raw[at] ^= flip;
            // What passes all the same (the case of a digit, say) must give the very same bytes.
            if let Ok((_, plain)) = run(intake.unwrap(), &raw, &[]) {
                prop_assert_eq!(plain, body);
            }
        }
    }

    #[test]
    fn cut_or_lengthened_bodies_never_pass(
        body in proptest::collection::vec(any::<u8>(), 1..200),
        chunk in 1usize..120,
        at in any::<prop::sample::Index>(),
        mode in 0usize..6,
    ) {
        let payload = modes(&body)[mode];
        let (intake, raw) = put(&[], payload, &body, chunk);
        let at = at.index(raw.len());
        if let Ok((_, plain)) = run(intake.unwrap(), &raw[..at], &[]) {
            prop_assert_eq!(plain, &body[..], "only a closing line end may be missing");
            prop_assert!(raw.len() - at <= 2);
        }
        let (intake, _) = put(&[], payload, &body, chunk);
        prop_assert!(run(intake.unwrap(), &[&raw[..], b"0\r\n"].concat(), &[]).is_err());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(raw in proptest::collection::vec(any::<u8>(), 0..200), mode in 0usize..6) {
        let (intake, _) = put(&[], modes(b"body")[mode], b"body", 2);
        let _ = run(intake.unwrap(), &raw, &[1, 2, 3, 50]);
    }
}
