use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use ring::hmac;

use super::{canonical::Parts, *};
use crate::{
    checksum::Algorithm,
    http::RequestHead,
    s3::{
        error::Code,
        intake::BodyError,
        request::{Query, take_apart},
        sign::{Payload, Signer},
    },
};

const SUITE_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const S3_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

macro_rules! vector {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../testdata/sigv4/", $name)))
    };
}

const SUITE: &[(&str, &str)] = &[
    vector!("suite/get-header-key-duplicate.txt"),
    vector!("suite/get-header-value-order.txt"),
    vector!("suite/get-header-value-trim.txt"),
    vector!("suite/get-relative-relative-unnormalized.txt"),
    vector!("suite/get-slashes-unnormalized.txt"),
    vector!("suite/get-space-unnormalized.txt"),
    vector!("suite/get-unreserved.txt"),
    vector!("suite/get-utf8.txt"),
    vector!("suite/get-vanilla-query-order-key-case.txt"),
    vector!("suite/get-vanilla-utf8-query.txt"),
    vector!("suite/post-x-www-form-urlencoded.txt"),
];

const S3: &[(&str, &str)] = &[
    vector!("s3/get-bucket-lifecycle.txt"),
    vector!("s3/get-object-range.txt"),
    vector!("s3/list-objects.txt"),
    vector!("s3/presigned-get-object.txt"),
    vector!("s3/put-object.txt"),
    vector!("s3/put-object-chunked.txt"),
    vector!("s3/put-object-trailer.txt"),
];

/// A request as the vectors write it; blanks may stand in the target.
fn read(text: &str) -> RequestHead {
    let (head, body) = text.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().strip_suffix(" HTTP/1.1").unwrap();
    let (method, target) = line.split_once(' ').unwrap();
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), Bytes::from(value.trim().to_owned()))
    };
    RequestHead {
        method: method.to_owned(),
        target: target.as_bytes().to_vec(),
        headers: lines.map(field).collect(),
        body_len: Some(body.len() as u64),
        peer: String::new(),
    }
}

fn config() -> Config {
    Config { root_domain: Some("s3.amazonaws.com".to_owned()), ..Config::default() }
}

/// Noon of the day that the examples of the S3 documentation were signed on, give or take.
const THAT_DAY: Timestamp = Timestamp(1_369_353_600_000);

fn request(head: RequestHead) -> Request {
    take_apart(head, &config()).unwrap()
}

fn check(head: RequestHead, secret: &str, now: Timestamp) -> Result<Verified, S3Error> {
    let request = request(head);
    claim(&request, now, &config())?.verify(secret, &request)
}

fn code(result: Result<Verified, S3Error>) -> Code {
    result.expect_err("it must be refused").code
}

#[test]
fn the_published_suite_gives_the_published_signatures() {
    for (name, text) in SUITE {
        let head = read(text);
        let authorization = String::from_utf8(head.get("authorization").unwrap().to_vec()).unwrap();
        let after =
            |start: &str| authorization.split_once(start).unwrap().1.split(',').next().unwrap();
        let signed: Vec<&str> = after("SignedHeaders=").split(';').collect();
        let payload = crate::s3::digest::sha256_hex(text.split_once("\n\n").unwrap().1.as_bytes());
        let (path, query) = head.path_and_query();
        let canonical = Parts {
            method: &head.method,
            path,
            query: &Query::parse(query.unwrap_or_default()).unwrap(),
            presigned: false,
            headers: &head.headers,
            signed: &signed,
            payload: &payload,
        }
        .canonical();
        let scope = CredentialScope {
            day: "20150830".to_owned(),
            region: "us-east-1".to_owned(),
            service: "service".to_owned(),
        };
        let text = canonical::string_to_sign("20150830T123600Z", &scope, &canonical);
        let key = canonical::signing_key(SUITE_SECRET, &scope);
        let signature = hex::encode(hmac::sign(&key, text.as_bytes()));
        assert_eq!(signature, after("Signature="), "{name}:\n{canonical}");
    }
}

#[test]
fn the_examples_of_the_s3_documentation_verify() {
    for (name, text) in S3 {
        let verified = check(read(text), S3_SECRET, THAT_DAY);
        assert_eq!(
            verified.map_err(|error| format!("{name}: {error:?}")).unwrap().key_id(),
            "AKIAIOSFODNN7EXAMPLE"
        );
        assert_eq!(
            code(check(read(text), SUITE_SECRET, THAT_DAY)),
            Code::SignatureDoesNotMatch,
            "{name}"
        );
    }
}

#[test]
fn whatever_the_signature_covers_cannot_be_changed() {
    for (name, text) in S3 {
        let mut head = read(text);
        head.method = if head.method == "GET" { "PUT" } else { "GET" }.to_owned();
        assert_eq!(
            code(check(head, S3_SECRET, THAT_DAY)),
            Code::SignatureDoesNotMatch,
            "{name}: method"
        );
        let mut head = read(text);
        head.target.splice(1..1, *b"x");
        assert_eq!(
            code(check(head, S3_SECRET, THAT_DAY)),
            Code::SignatureDoesNotMatch,
            "{name}: path"
        );
        let mut head = read(text);
        head.target.extend_from_slice(if head.target.contains(&b'?') { b"&a=b" } else { b"?a=b" });
        assert_eq!(
            code(check(head, S3_SECRET, THAT_DAY)),
            Code::SignatureDoesNotMatch,
            "{name}: query"
        );
        let mut head = read(text);
        head.headers.iter_mut().find(|(name, _)| name == "host").unwrap().1 =
            Bytes::from("elsewhere");
        assert_eq!(
            code(check(head, S3_SECRET, THAT_DAY)),
            Code::SignatureDoesNotMatch,
            "{name}: host"
        );
        let mut head = read(text);
        head.headers.push(("x-amz-meta-added".to_owned(), Bytes::from("1")));
        assert_eq!(
            code(check(head, S3_SECRET, THAT_DAY)),
            Code::AccessDenied,
            "{name}: an unsigned header"
        );
    }
}

/// Feeds the 66,560 letters of the documentation's example through an intake, framed with the published signatures.
fn chunked_example(head: &str, signatures: &str, announced: u64) -> Result<(), BodyError> {
    let mut signatures = signatures.lines();
    let mut raw = Vec::new();
    for size in [65536, 1024, 0] {
        let signature = signatures.next().unwrap();
        raw.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
        raw.extend(std::iter::repeat_n(b'a', size));
        if size > 0 {
            raw.extend_from_slice(b"\r\n");
        }
    }
    if let Some(signature) = signatures.next() {
        raw.extend_from_slice(b"x-amz-checksum-crc32c:sOO8/Q==\r\n");
        raw.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
    }
    raw.extend_from_slice(b"\r\n");
    assert_eq!(raw.len() as u64, announced, "the example's own content-length");
    let mut head = read(head);
    head.body_len = Some(raw.len() as u64);
    let request = request(head);
    let verified =
        claim(&request, THAT_DAY, &config()).unwrap().verify(S3_SECRET, &request).unwrap();
    let mut intake = verified.intake(&request).unwrap();
    let mut out = BytesMut::new();
    for piece in raw.chunks(1000) {
        intake.push(piece, &mut out)?;
    }
    assert_eq!(intake.finish(&[])?.len, 66560);
    assert_eq!(out.len(), 66560);
    Ok(())
}

#[test]
fn the_chunked_example_of_the_documentation_verifies() {
    let head = include_str!("../../../../testdata/sigv4/s3/put-object-chunked.txt");
    let signatures = include_str!("../../../../testdata/sigv4/s3/put-object-chunked.signatures");
    chunked_example(head, signatures, 66824).unwrap();
    let wrong = signatures.replacen('8', "9", 1);
    assert_eq!(chunked_example(head, &wrong, 66824), Err(BodyError::BadSignature));
}

#[test]
fn the_trailer_example_of_the_documentation_verifies() {
    let head = include_str!("../../../../testdata/sigv4/s3/put-object-trailer.txt");
    let signatures = include_str!("../../../../testdata/sigv4/s3/put-object-trailer.signatures");
    let announced = 66946;
    chunked_example(head, signatures, announced).unwrap();
    let at = signatures.trim_end().len() - 1;
    let wrong = format!("{}0\n", &signatures[..at]);
    assert_eq!(chunked_example(head, &wrong, announced), Err(BodyError::BadSignature));
}

const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn bare(method: &str, target: &str) -> RequestHead {
    RequestHead {
        method: method.to_owned(),
        target: target.as_bytes().to_vec(),
        headers: vec![("host".to_owned(), Bytes::from("127.0.0.1:3900"))],
        body_len: Some(0),
        peer: String::new(),
    }
}

fn signer() -> Signer {
    Signer::new("GK/with/slashes", "secret", "garage")
}

fn signed(method: &str, target: &str) -> RequestHead {
    let mut head = bare(method, target);
    signer().sign(&mut head, Payload::Unsigned, NOW).unwrap();
    head
}

fn set(head: &mut RequestHead, name: &str, value: &str) {
    head.headers.retain(|(each, _)| each != name);
    head.headers.push((name.to_owned(), Bytes::from(value.to_owned())));
}

#[test]
fn what_the_signer_signs_verifies() {
    for target in [
        "/",
        "/b",
        "/b/a//b",
        "/b/../y",
        "/b/%2E",
        "/b/a%20b+c%2Bd",
        "/b/%E1%88%B4?list-type=2&prefix=a+b%2F&delimiter",
    ] {
        let verified = check(signed("GET", target), "secret", NOW).unwrap();
        assert_eq!(verified.key_id(), "GK/with/slashes");
        assert_eq!(verified.mode(), PayloadMode::Unsigned);
        assert_eq!(code(check(signed("GET", target), "wrong", NOW)), Code::SignatureDoesNotMatch);
    }
    for payload in [
        Payload::Signed(b"abc"),
        Payload::Chunked(None),
        Payload::Chunked(Some(Algorithm::Crc32)),
        Payload::UnsignedChunked(Algorithm::Crc64Nvme),
    ] {
        let mut head = bare("PUT", "/b/k");
        signer().sign(&mut head, payload, NOW).unwrap();
        check(head, "secret", NOW).unwrap();
    }
}

#[test]
fn what_the_signer_presigns_verifies_until_it_expires() {
    let hour = Duration::from_secs(3600);
    let target = signer()
        .presign("GET", "127.0.0.1:3900", "/b/a%20b?response-content-type=text%2Fplain", hour, NOW)
        .unwrap();
    check(bare("GET", &target), "secret", NOW).unwrap();
    check(bare("GET", &target), "secret", NOW.after(hour)).unwrap();
    let late = check(bare("GET", &target), "secret", NOW.after(hour).after(Duration::from_secs(1)));
    let error = late.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::AccessDenied, "Request has expired"));
    assert_eq!(code(check(bare("PUT", &target), "secret", NOW)), Code::SignatureDoesNotMatch);
    assert_eq!(
        code(check(bare("GET", &target), "secret", NOW.before(SKEW_MAX * 2))),
        Code::AccessDenied
    );
    let week =
        signer().presign("GET", "h", "/b/k", EXPIRES_MAX + Duration::from_secs(1), NOW).unwrap();
    assert_eq!(
        code(check(bare("GET", &week), "secret", NOW)),
        Code::AuthorizationQueryParametersError
    );
    for part in [
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    ] {
        let without = target.replacen(part, "y", 1);
        assert_eq!(
            code(check(bare("GET", &without), "secret", NOW)),
            Code::AuthorizationQueryParametersError,
            "{part}"
        );
    }
}

#[test]
fn clocks_may_differ_by_a_quarter_of_an_hour() {
    check(signed("GET", "/"), "secret", NOW.after(SKEW_MAX)).unwrap();
    check(signed("GET", "/"), "secret", NOW.before(SKEW_MAX)).unwrap();
    let over = SKEW_MAX + Duration::from_secs(1);
    assert_eq!(
        code(check(signed("GET", "/"), "secret", NOW.after(over))),
        Code::RequestTimeTooSkewed
    );
    assert_eq!(
        code(check(signed("GET", "/"), "secret", NOW.before(over))),
        Code::RequestTimeTooSkewed
    );
}

#[test]
fn a_strict_store_names_its_region() {
    let request = request(signed("GET", "/"));
    let strict = Config { region_strict: true, ..config() };
    let error = claim(&request, NOW, &strict).unwrap_err();
    assert_eq!(error.code, Code::AuthorizationHeaderMalformed);
    assert!(error.details.contains(&("Region", "mews".to_owned())));
    let there = Config { region: "garage".to_owned(), ..strict };
    claim(&request, NOW, &there).unwrap();
}

#[test]
fn requests_that_are_not_signed_rightly_are_told_why() {
    let authorization = |value: &str| {
        let mut head = signed("GET", "/b");
        set(&mut head, "authorization", value);
        code(check(head, "secret", NOW))
    };
    assert_eq!(code(check(bare("GET", "/b"), "secret", NOW)), Code::AccessDenied);
    assert_eq!(authorization("AWS key:signature"), Code::InvalidRequest);
    assert_eq!(authorization("AWS4-ECDSA-P256-SHA256 Credential=a"), Code::NotImplemented);
    assert_eq!(authorization("Bearer x"), Code::InvalidArgument);
    for value in [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ",
        "AWS4-HMAC-SHA256 Credential=k/20260921/r/s3/aws4_request",
        "AWS4-HMAC-SHA256 Credential=k/20260921/r/s3/aws4_request, SignedHeaders=host",
        "AWS4-HMAC-SHA256 Credential=k, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=k/20260921/r/ec2/aws4_request, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=k/20260921/r/s3/aws3_request, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=k/20200101/r/s3/aws4_request, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=k/20260921/r/s3/aws4_request, SignedHeaders=Host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=k/20260921/r/s3/aws4_request, SignedHeaders=host, SignedHeaders=host, Signature=0",
    ] {
        assert_eq!(authorization(value), Code::AuthorizationHeaderMalformed, "{value}");
    }
    let unsigned_host = "AWS4-HMAC-SHA256 Credential=k/20260921/r/s3/aws4_request, SignedHeaders=x-amz-date, Signature=0";
    assert_eq!(authorization(unsigned_host), Code::AccessDenied);

    let mut head = signed("GET", "/b");
    head.headers.retain(|(name, _)| name != "x-amz-content-sha256");
    assert_eq!(code(check(head, "secret", NOW)), Code::MissingSecurityHeader);
    let mut head = signed("GET", "/b");
    set(&mut head, "x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD");
    assert_eq!(code(check(head, "secret", NOW)), Code::InvalidArgument);
    let mut head = signed("GET", "/b");
    set(&mut head, "x-amz-date", "yesterday");
    assert_eq!(code(check(head, "secret", NOW)), Code::AccessDenied);
    let mut head = bare("GET", "/b");
    set(&mut head, "x-amz-security-token", "token");
    signer().sign(&mut head, Payload::Unsigned, NOW).unwrap();
    assert_eq!(code(check(head, "secret", NOW)), Code::InvalidToken);
    let both = signer().presign("GET", "127.0.0.1:3900", "/b", SKEW_MAX, NOW).unwrap();
    assert_eq!(code(check(signed("GET", &both), "secret", NOW)), Code::InvalidArgument);
}

#[test]
fn a_date_header_stands_in_for_x_amz_date() {
    let mut head = bare("GET", "/b/k");
    set(&mut head, "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    set(&mut head, "date", &date::http(NOW));
    let stamp = date::amz(NOW);
    let scope = CredentialScope {
        day: stamp[..8].to_owned(),
        region: "r".to_owned(),
        service: "s3".to_owned(),
    };
    let parts = Parts {
        method: "GET",
        path: b"/b/k",
        query: &Query::default(),
        presigned: false,
        headers: &head.headers,
        signed: &["date", "host"],
        payload: "UNSIGNED-PAYLOAD",
    };
    let text = canonical::string_to_sign(&stamp, &scope, &parts.canonical());
    let signature =
        hex::encode(hmac::sign(&canonical::signing_key("secret", &scope), text.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=k/{scope},SignedHeaders=date;host,Signature={signature}"
    );
    set(&mut head, "authorization", &authorization);
    check(head, "secret", NOW).unwrap();
}

#[test]
fn a_mismatch_shows_what_was_signed_and_no_secret() {
    let error = check(signed("GET", "/b/k"), "another secret", NOW).unwrap_err();
    let names: Vec<&str> = error.details.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["AWSAccessKeyId", "StringToSign", "SignatureProvided", "CanonicalRequest"]);
    assert!(!format!("{error:?}").contains("another secret"));
    assert!(!format!("{:?}", signer()).contains("secret\""));
}

#[test]
fn a_presigned_url_may_carry_header_fields() {
    let target =
        "/b/k?x-amz-meta-a=1&x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32";
    let target = signer().presign("PUT", "127.0.0.1:3900", target, SKEW_MAX, NOW).unwrap();
    let request = request(bare("PUT", &target));
    assert_eq!(request.header("x-amz-meta-a"), Some(&b"1"[..]));
    assert_eq!(request.header("x-amz-checksum-crc32"), None);
    let verified = claim(&request, NOW, &config()).unwrap().verify("secret", &request).unwrap();
    assert_eq!(verified.intake(&request).unwrap().algorithm(), None);
    let plain =
        super::super::request::take_apart(bare("PUT", "/b/k?x-amz-meta-a=1"), &config()).unwrap();
    assert_eq!(plain.header("x-amz-meta-a"), None);
}

proptest! {
    #[test]
    fn any_authorization_is_read_or_refused(
        text in "(AWS4-HMAC-SHA256 )?(Credential=[a-z/0-9]{0,9}(/20260921/r/s3/aws4_request)?|SignedHeaders=[a-zA-Z;:]{0,9}|Signature=\\PC{0,9}|[, =]|\\PC){0,6}",
        date in "(20260921T[0-9]{6}Z|\\PC{0,16})",
        hash in "(UNSIGNED-PAYLOAD|STREAMING-AWS4-HMAC-SHA256-PAYLOAD|[0-9a-f]{64}|\\PC{0,9})",
    ) {
        let mut head = bare("GET", "/b/k");
        set(&mut head, "authorization", &text);
        set(&mut head, "x-amz-date", &date);
        set(&mut head, "x-amz-content-sha256", &hash);
        prop_assert!(check(head, "secret", NOW).is_err());
    }

    #[test]
    fn any_presigned_parameters_are_read_or_refused(
        credential in "([a-z]{0,3}%2F20260921%2Fr%2Fs3%2Faws4_request|[a-z%0-9]{0,12})",
        date in "(20260921T[0-9]{6}Z|[0-9TZ]{0,16})",
        expires in "-?[0-9]{0,21}",
        signed in "[a-z;%B]{0,9}|host",
        signature in "[0-9a-fA-FzZ]{0,66}",
    ) {
        let target = format!(
            "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={date}&X-Amz-Expires={expires}\
             &X-Amz-SignedHeaders={signed}&X-Amz-Signature={signature}"
        );
        if let Ok(request) = take_apart(bare("GET", &target), &config())
            && let Ok(claim) = claim(&request, NOW, &config())
        {
            prop_assert!(claim.verify("secret", &request).is_err());
        }
    }
}
