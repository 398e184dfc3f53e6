use proptest::prelude::*;

use super::*;

fn config() -> Config {
    Config { root_domain: Some("s3.example.org".to_owned()), ..Config::default() }
}

fn head(method: &str, target: &[u8], headers: &[(&str, &str)]) -> RequestHead {
    let fields = headers.iter();
    RequestHead {
        method: method.to_owned(),
        target: target.to_vec(),
        headers: fields
            .map(|(name, value)| ((*name).to_owned(), Bytes::from((*value).to_owned())))
            .collect(),
        body_len: Some(0),
        peer: String::new(),
    }
}

fn ask(method: &str, target: &str) -> Result<Request, S3Error> {
    parse(head(method, target.as_bytes(), &[("host", "127.0.0.1")]), &config())
}

fn with(method: &str, target: &str, name: &str, value: &str) -> Result<Request, S3Error> {
    parse(head(method, target.as_bytes(), &[(name, value)]), &config())
}

fn op(method: &str, target: &str) -> Operation {
    ask(method, target).unwrap_or_else(|error| panic!("{method} {target}: {error}")).op
}

fn code(result: Result<Request, S3Error>) -> Code {
    result.expect_err("it must be refused").code
}

#[test]
fn every_supported_operation_is_found() {
    use Operation as Op;
    for (method, target, expected) in [
        ("GET", "/", Op::ListBuckets),
        ("GET", "/?x-id=ListBuckets&max-buckets=10", Op::ListBuckets),
        ("PUT", "/b", Op::CreateBucket),
        ("PUT", "/b/", Op::CreateBucket),
        ("HEAD", "/b", Op::HeadBucket),
        ("DELETE", "/b", Op::DeleteBucket),
        ("GET", "/b?location", Op::GetBucketLocation),
        ("GET", "/b?versioning", Op::GetBucketVersioning),
        ("GET", "/b?website", Op::GetBucketWebsite),
        ("PUT", "/b?website", Op::PutBucketWebsite),
        ("DELETE", "/b?website=", Op::DeleteBucketWebsite),
        ("GET", "/b", Op::ListObjects),
        ("GET", "/b?prefix=a&delimiter=/", Op::ListObjects),
        ("GET", "/b/?list-type=2", Op::ListObjectsV2),
        ("GET", "/b?uploads=", Op::ListMultipartUploads),
        ("POST", "/b?delete", Op::DeleteObjects),
        ("PUT", "/b/k?x-id=PutObject", Op::PutObject),
        ("GET", "/b/k", Op::GetObject),
        ("GET", "/b/k?partNumber=2&versionId=null", Op::GetObject),
        ("HEAD", "/b/k", Op::HeadObject),
        ("GET", "/b/k?attributes", Op::GetObjectAttributes),
        ("DELETE", "/b/k", Op::DeleteObject),
        ("POST", "/b/k?uploads", Op::CreateMultipartUpload),
        ("PUT", "/b/k?partNumber=1&uploadId=u", Op::UploadPart),
        ("POST", "/b/k?uploadId=u", Op::CompleteMultipartUpload),
        ("DELETE", "/b/k?uploadId=u", Op::AbortMultipartUpload),
        ("GET", "/b/k?uploadId=u", Op::ListParts),
        ("GET", "/b?list-type=2&cors", Op::GetBucketCors),
        ("PUT", "/b?cors", Op::PutBucketCors),
        ("DELETE", "/b?cors", Op::DeleteBucketCors),
        ("OPTIONS", "/b/k?uploadId=u&acl", Op::Options),
        ("OPTIONS", "/", Op::Options),
    ] {
        assert_eq!(op(method, target), expected, "{method} {target}");
    }
    let copy = |target| with("PUT", target, "x-amz-copy-source", "/b/other").unwrap().op;
    assert_eq!(copy("/b/k"), Op::CopyObject);
    assert_eq!(copy("/b/k?partNumber=1&uploadId=u"), Op::UploadPartCopy);
}

#[test]
fn what_aws_has_and_this_store_has_not_is_named() {
    for (method, target, name) in [
        ("PUT", "/b?versioning", "PutBucketVersioning"),
        ("GET", "/b?acl", "GetBucketAcl"),
        ("GET", "/b?versions&prefix=a", "ListObjectVersions"),
        ("DELETE", "/b?lifecycle", "DeleteBucketLifecycle"),
        ("POST", "/b", "PostObject"),
        ("PUT", "/b/k?acl", "PutObjectAcl"),
        ("GET", "/b/k?tagging", "GetObjectTagging"),
        ("POST", "/b/k?select&select-type=2", "SelectObjectContent"),
        ("POST", "/b/k?restore", "RestoreObject"),
    ] {
        assert_eq!(op(method, target), Operation::Unsupported { name }, "{method} {target}");
    }
}

#[test]
fn combinations_that_mean_nothing_are_refused() {
    for (method, target) in [
        ("PUT", "/"),
        ("HEAD", "/"),
        ("PATCH", "/b/k"),
        ("get", "/b/k"),
        ("POST", "/b/k"),
        ("HEAD", "/b?acl"),
        ("HEAD", "/b?cors"),
        ("POST", "/b?cors"),
        ("DELETE", "/b?location"),
        ("GET", "/b?delete"),
        ("PUT", "/b?uploads"),
        ("POST", "/b?website"),
        ("HEAD", "/b?website"),
        ("HEAD", "/b/k?uploadId=u"),
        ("DELETE", "/b/k?uploads"),
        ("PUT", "/b/k?attributes"),
    ] {
        assert_eq!(code(ask(method, target)), Code::MethodNotAllowed, "{method} {target}");
    }
    assert_eq!(code(ask("PUT", "/b/k?partNumber=1")), Code::InvalidArgument);
    assert_eq!(code(ask("PUT", "/b/k?uploadId=u")), Code::InvalidArgument);
}

#[test]
fn keys_are_taken_byte_for_byte() {
    for (target, key) in [
        ("/b/a//b", "a//b"),
        ("/b//x", "/x"),
        ("/b/../y", "../y"),
        ("/b/.", "."),
        ("/b/%2E%2E/y", "../y"),
        ("/b/a%2Fb", "a/b"),
        ("/b/a+b%2B%20c", "a+b+ c"),
        ("/b/a%252F", "a%2F"),
        ("/b/100%", "100%"),
        ("/b/%zz", "%zz"),
        ("/b/%E1%88%B4", "\u{1234}"),
        ("/b/\u{1234}", "\u{1234}"),
        ("/b/a;b=c&d#e", "a;b=c&d#e"),
    ] {
        let request = ask("GET", target).unwrap();
        assert_eq!(request.bucket.as_deref(), Some("b"), "{target}");
        assert_eq!(request.key.as_deref(), Some(key.as_bytes()), "{target}");
    }
    assert_eq!(code(ask("GET", "/b/%FF")), Code::InvalidURI);
    assert_eq!(code(ask("GET", "b/k")), Code::InvalidURI);
    assert_eq!(code(ask("GET", "*")), Code::InvalidURI);
    assert_eq!(code(ask("GET", "//k")), Code::InvalidBucketName);
    ask("PUT", &format!("/b/{}", "k".repeat(KEY_MAX))).unwrap();
    assert_eq!(code(ask("PUT", &format!("/b/{}", "k".repeat(KEY_MAX + 1)))), Code::KeyTooLongError);
}

#[test]
fn a_bucket_may_stand_in_the_host() {
    let ask = |host: &str, target: &str| {
        let request = parse(head("GET", target.as_bytes(), &[("host", host)]), &config()).unwrap();
        let key = request.key.map(|key| String::from_utf8(key).unwrap());
        (request.bucket.unwrap_or_default(), key.unwrap_or_default())
    };
    let pair = |bucket: &str, key: &str| (bucket.to_owned(), key.to_owned());
    assert_eq!(ask("photos.s3.example.org", "/a/b"), pair("photos", "a/b"));
    assert_eq!(ask("Photos.S3.Example.Org:3900", "//a"), pair("photos", "/a"));
    assert_eq!(ask("my.photos.s3.example.org.", "/"), pair("my.photos", ""));
    assert_eq!(ask("s3.example.org", "/photos/a"), pair("photos", "a"));
    assert_eq!(ask("xs3.example.org", "/photos/a"), pair("photos", "a"));
    assert_eq!(ask(".s3.example.org", "/photos/a"), pair("photos", "a"));
    assert_eq!(ask("[::1]:3900", "/photos/a"), pair("photos", "a"));
}

#[test]
fn parameters_are_decoded_in_order() {
    let request = ask("GET", "/b?prefix=a+b%2Bc&marker&prefix=second&&x=%C3%A9").unwrap();
    assert_eq!(request.query.get("prefix"), Some("a b+c"));
    assert_eq!(request.query.get("marker"), Some(""));
    assert!(request.query.has("x") && !request.query.has("X"));
    let pairs: Vec<_> = request.query.iter().collect();
    assert_eq!(pairs, [("prefix", "a b+c"), ("marker", ""), ("prefix", "second"), ("x", "é")]);
    assert_eq!(code(ask("GET", "/b?prefix=%FF")), Code::InvalidURI);
    assert_eq!(code(ask("GET", &format!("/b?{}", "a&".repeat(300)))), Code::InvalidURI);
}

#[test]
fn versions_other_than_null_do_not_exist() {
    ask("DELETE", "/b/k?versionId=null").unwrap();
    assert_eq!(code(ask("DELETE", "/b/k?versionId=3sL4kqtJlcpXroDTDmJ")), Code::NoSuchVersion);
    assert_eq!(code(ask("GET", "/b/k?versionId=")), Code::InvalidArgument);
}

#[test]
fn headers_with_a_meaning_that_is_not_honoured_are_named() {
    for (name, value) in [
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-object-lock-legal-hold", "OFF"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-customer-key", "c2VjcmV0"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-acl", "public-read"),
        ("x-amz-grant-read", "id=1"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-expected-bucket-owner", "1"),
        ("x-amz-write-offset-bytes", "5"),
        ("content-range", "bytes 0-4/10"),
    ] {
        let error = with("PUT", "/b/k", name, value).unwrap_err();
        assert_eq!((error.code, error.code.status()), (Code::NotImplemented, 501), "{name}");
        assert!(error.message.contains(name), "{}", error.message);
        assert!(!format!("{error:?}").contains("c2VjcmV0"), "keys are not echoed");
    }
    assert_eq!(code(with("PUT", "/b/k", "x-amz-storage-class", "FAST")), Code::InvalidStorageClass);
    for (name, value) in [
        ("x-amz-acl", "private"),
        ("x-amz-acl", "bucket-owner-full-control"),
        ("x-amz-storage-class", "STANDARD"),
        ("x-amz-tagging", ""),
        ("x-amz-meta-acl", "public-read"),
        ("x-amz-bucket-object-lock-enabled", "false"),
        ("x-amz-object-ownership", "BucketOwnerEnforced"),
    ] {
        with("PUT", "/b/k", name, value).unwrap();
    }
}

#[test]
fn the_transfers_own_coding_is_not_the_objects() {
    let coding = |value| {
        with("PUT", "/b/k", "content-encoding", value)
            .unwrap()
            .content_encoding()
            .map(|coding| String::from_utf8(coding).unwrap())
    };
    assert_eq!(coding("aws-chunked"), None);
    assert_eq!(coding("gzip"), Some("gzip".to_owned()));
    assert_eq!(coding("aws-chunked, gzip"), Some("gzip".to_owned()));
    assert_eq!(coding("gzip,AWS-Chunked,br"), Some("gzip, br".to_owned()));
    assert_eq!(ask("PUT", "/b/k").unwrap().content_encoding(), None);
}

proptest! {
    #[test]
    fn any_key_survives_its_encoding(key in "\\PC{1,40}", host in any::<bool>()) {
        let encoded: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let (host, target) = match host {
            true => ("b.s3.example.org", format!("/{encoded}")),
            false => ("other", format!("/b/{encoded}")),
        };
        let request = parse(head("PUT", target.as_bytes(), &[("host", host)]), &config()).unwrap();
        prop_assert_eq!(request.bucket.as_deref(), Some("b"));
        prop_assert_eq!(request.key.as_deref(), Some(key.as_bytes()));
    }

    #[test]
    fn any_target_is_taken_apart_or_refused(
        method in "GET|PUT|POST|HEAD|DELETE|OPTIONS|\\PC{0,5}",
        target in proptest::collection::vec(any::<u8>(), 0..60),
        host in "\\PC{0,20}",
    ) {
        let _ = parse(head(&method, &target, &[("host", &host)]), &config());
        let _ = parse(head(&method, &[&b"/"[..], &target].concat(), &[("host", &host)]), &config());
    }
}
