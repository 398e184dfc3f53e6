//! Multipart uploads, from their beginning to what is left of them.

use std::sync::Arc;

use super::{assert_no_open_intent, bytes, effects, get, put};
use crate::{
    checksum::Algorithm,
    id::{Position, VersionId},
    s3::{digest, multipart::parts::PART_MIN},
    store::{Table, Writer},
    table::{self, key, queue::Job, upload::PartRow},
    testing::{Ask, Host, Reply},
    time::Stamp,
    view::View,
};

/// The least length of a part that others follow.
const MIN: usize = PART_MIN as usize;

/// A node whose blocks are large enough for whole parts.
fn host() -> Host {
    let mut host = Host::new();
    let mut view = View::clone(&host.view);
    view.config.block_size = 1 << 20;
    host.view = Arc::new(view);
    host
}

fn create(host: &mut Host, target: &str) -> String {
    let reply = host.ask(Ask::new("POST", &format!("{target}?uploads")));
    assert_eq!(reply.outcome(), "200", "{}", reply.text());
    reply.element("UploadId").expect("an id").to_owned()
}

/// Uploads a part; gives its entity tag as it came.
fn part(host: &mut Host, target: &str, upload: &str, number: u16, body: &[u8]) -> String {
    let reply = host.ask(part_ask(target, upload, number, body));
    assert_eq!(reply.outcome(), "200", "{}", reply.text());
    let etag = reply.header("etag").expect("a tag").to_owned();
    assert_eq!(etag, format!("\"{}\"", hex::encode(digest::md5(body))));
    etag
}

fn part_ask(target: &str, upload: &str, number: u16, body: &[u8]) -> Ask {
    Ask::put(&format!("{target}?partNumber={number}&uploadId={upload}"), body.to_vec())
}

fn complete_ask(target: &str, upload: &str, parts: &[(u16, &str)]) -> Ask {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        })
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    Ask::new("POST", &format!("{target}?uploadId={upload}")).body(body)
}

fn complete(host: &mut Host, target: &str, upload: &str, parts: &[(u16, &str)]) -> Reply {
    host.ask(complete_ask(target, upload, parts))
}

fn jobs(host: &Host) -> Vec<Job> {
    let rows = host.store.rows(Table::Queue);
    rows.map(|(_, value)| table::decode(Table::Queue, value).expect("a job")).collect()
}

#[test]
fn parts_become_an_object_in_one_commit() {
    let mut host = host();
    let upload = create(&mut host, "/bucket/k");
    let (first, last) = (bytes(MIN + 3), b"the end".to_vec());
    let etags = [
        part(&mut host, "/bucket/k", &upload, 2, &first),
        part(&mut host, "/bucket/k", &upload, 9, &last),
    ];
    effects(&mut host);
    let reply = complete(&mut host, "/bucket/k", &upload, &[(2, &etags[0]), (9, &etags[1])]);
    assert_eq!(reply.outcome(), "200", "{}", reply.text());
    let expected = "Open\nCollect\nRead upload\nRead scan part\n\
        Commit: manifest, upload, object if bucket live, upload live, part unchanged, part unchanged, newest, bucket unsealed\n\
        Respond 200 full";
    assert_eq!(effects(&mut host), expected);
    let whole = [first.clone(), last.clone()].concat();
    assert_eq!(get(&mut host, "/bucket/k"), whole);
    let of_parts = [digest::md5(&first), digest::md5(&last)];
    let etag = format!("\"{}\"", digest::multipart_etag(&of_parts));
    assert_eq!(reply.element("ETag").map(|text| text.replace("&quot;", "\"")), Some(etag.clone()));
    assert_eq!(host.ask(Ask::new("HEAD", "/bucket/k")).header("etag"), Some(&etag[..]));
    let across = format!("bytes={}-{}", MIN, MIN + 5);
    let range = host.ask(Ask::get("/bucket/k").header("range", across));
    assert_eq!((range.status, &range.body[..]), (206, &whole[MIN..MIN + 6]));
    assert_no_open_intent(&host);
    assert!(matches!(jobs(&host)[0], Job::TidyUpload { .. }));
}

#[test]
fn a_part_sent_again_wins_although_the_clock_was_set_back() {
    let mut host = host();
    let upload = create(&mut host, "/bucket/k");
    part(&mut host, "/bucket/k", &upload, 1, b"the first try");
    host.now.wall = host.now.wall.before(std::time::Duration::from_secs(60));
    let etag = part(&mut host, "/bucket/k", &upload, 1, b"the second");
    let reply = complete(&mut host, "/bucket/k", &upload, &[(1, &etag)]);
    assert_eq!(reply.outcome(), "200", "{}", reply.text());
    assert_eq!(get(&mut host, "/bucket/k"), b"the second");
}

#[test]
fn one_part_may_be_empty() {
    let mut host = host();
    let upload = create(&mut host, "/bucket/k");
    let etag = part(&mut host, "/bucket/k", &upload, 1, b"");
    assert_eq!(complete(&mut host, "/bucket/k", &upload, &[(1, &etag)]).outcome(), "200");
    assert_eq!(get(&mut host, "/bucket/k"), b"");
}

#[test]
fn the_documents_are_those_of_aws() {
    let mut host = host();
    let ask = Ask::new("POST", "/bucket/a%26b?uploads")
        .header("x-amz-checksum-algorithm", "CRC32")
        .header("x-amz-checksum-type", "FULL_OBJECT");
    let created = host.ask(ask);
    assert_eq!(created.header("x-amz-checksum-algorithm"), Some("CRC32"));
    assert_eq!(created.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    let upload = created.element("UploadId").expect("an id").to_owned();
    let sent = host.ask(part_ask("/bucket/a%26b", &upload, 1, b"123456789"));
    assert_eq!(sent.header("x-amz-checksum-crc32"), Some("y/Q5Jg=="));
    let etag = sent.header("etag").expect("a tag").to_owned();
    let parts = host.ask(Ask::get(&format!("/bucket/a%26b?uploadId={upload}")));
    let uploads = host.ask(Ask::get("/bucket?uploads"));
    let done = complete(&mut host, "/bucket/a%26b", &upload, &[(1, &etag)]);
    let documents = [created, parts, uploads, done].map(|reply| {
        let text = reply.text().replace(&upload, "UPLOAD").replace("><", ">\n<");
        text.lines()
            .filter(|line| !line.contains(":20.") && !line.contains("<?xml"))
            .collect::<Vec<_>>()
            .join("\n")
    });
    let golden = include_str!("../../../../testdata/s3/multipart.xml");
    assert_eq!(documents.join("\n\n") + "\n", golden);
}

#[test]
fn a_completion_asked_for_twice_is_answered_twice() {
    let mut host = host();
    let upload = create(&mut host, "/bucket/k");
    let etag = part(&mut host, "/bucket/k", &upload, 1, b"x");
    let other = hex::encode(digest::md5(b"y"));
    let first = complete(&mut host, "/bucket/k", &upload, &[(1, &etag)]);
    let second = complete(&mut host, "/bucket/k", &upload, &[(1, &etag)]);
    assert_eq!(first.text(), second.text());
    put(&mut host, "/bucket/k", "overwritten");
    let third = complete(&mut host, "/bucket/k", &upload, &[(1, &etag)]);
    assert_eq!(third.outcome(), "200");
    assert_eq!(get(&mut host, "/bucket/k"), b"overwritten");
    let different = complete(&mut host, "/bucket/k", &upload, &[(1, &other)]);
    assert_eq!(different.outcome(), "404 NoSuchUpload");
}

#[test]
fn what_is_listed_must_be_what_was_sent() {
    let mut host = host();
    let upload = create(&mut host, "/bucket/k");
    let small = part(&mut host, "/bucket/k", &upload, 1, b"x");
    let last = part(&mut host, "/bucket/k", &upload, 2, b"y");
    let cases: [(&[(u16, &str)], &str); 5] = [
        (&[], "400 MalformedXML"),
        (&[(2, &last), (1, &small)], "400 InvalidPartOrder"),
        (&[(1, &last)], "400 InvalidPart"),
        (&[(3, &last)], "400 InvalidPart"),
        (&[(1, &small), (2, &last)], "400 EntityTooSmall"),
    ];
    for (parts, expected) in cases {
        assert_eq!(complete(&mut host, "/bucket/k", &upload, parts).outcome(), expected);
    }
    let sized = |size: &str| {
        complete_ask("/bucket/k", &upload, &[(2, &last)]).header("x-amz-mp-object-size", size)
    };
    assert_eq!(host.ask(sized("2")).outcome(), "400 InvalidRequest");
    assert_eq!(host.ask(sized("two")).outcome(), "400 InvalidArgument");
    assert_eq!(host.ask(sized("1")).outcome(), "200");
    assert_eq!(get(&mut host, "/bucket/k"), b"y");
}

#[test]
fn an_upload_must_be_open() {
    let mut host = host();
    let upload = create(&mut host, "/bucket/k");
    let etag = part(&mut host, "/bucket/k", &upload, 1, b"x");
    let none = "0".repeat(32);
    let asks = |upload: &str, target: &str| {
        [
            part_ask(target, upload, 1, b"x"),
            complete_ask(target, upload, &[(1, &etag)]),
            Ask::get(&format!("{target}?uploadId={upload}")),
            Ask::new("DELETE", &format!("{target}?uploadId={upload}")),
        ]
    };
    for (upload, target) in
        [(&none[..], "/bucket/k"), ("../x", "/bucket/k"), (&upload, "/bucket/other")]
    {
        for ask in asks(upload, target) {
            assert_eq!(host.ask(ask).outcome(), "404 NoSuchUpload");
        }
    }
    let abort = Ask::new("DELETE", &format!("/bucket/k?uploadId={upload}"));
    assert_eq!(host.ask(abort).outcome(), "204");
    assert!(matches!(jobs(&host)[0], Job::DropUpload { .. }));
    for ask in asks(&upload, "/bucket/k") {
        assert_eq!(host.ask(ask).outcome(), "404 NoSuchUpload");
    }
    for number in ["0", "10001", "x", ""] {
        let ask = Ask::put(&format!("/bucket/k?partNumber={number}&uploadId={upload}"), "x");
        assert_eq!(host.ask(ask).outcome(), "400 InvalidArgument", "{number}");
    }
}

#[test]
fn a_part_for_an_upload_that_is_aborted_meanwhile_is_dropped() {
    let mut host = Host::new();
    let upload = create(&mut host, "/bucket/k");
    let mut running = host.begin(part_ask("/bucket/k", &upload, 1, &bytes(4500)));
    running.run_until(&mut host, "Commit: part");
    let abort = Ask::new("DELETE", &format!("/bucket/k?uploadId={upload}"));
    assert_eq!(host.ask(abort).outcome(), "204");
    while running.step(&mut host) {}
    assert_eq!(running.reply.outcome(), "404 NoSuchUpload");
    assert_no_open_intent(&host);
    assert!(jobs(&host).iter().any(|job| matches!(job, Job::DropData { .. })));
    assert_eq!(host.count(Table::Part), 0);
}

#[test]
fn a_part_replaced_during_completion_is_never_lost() {
    for (again, expected) in [(&b"first"[..], "200"), (&b"other"[..], "400 InvalidPart")] {
        let mut host = Host::new();
        let upload = create(&mut host, "/bucket/k");
        let etag = part(&mut host, "/bucket/k", &upload, 1, b"first");
        let mut running = host.begin(complete_ask("/bucket/k", &upload, &[(1, &etag)]));
        running.run_until(&mut host, "Commit: manifest");
        part(&mut host, "/bucket/k", &upload, 1, again);
        while running.step(&mut host) {}
        assert_eq!(running.reply.outcome(), expected);
        // The first data is queued to be dropped, so the object must name the second.
        let dropped = jobs(&host).into_iter().find_map(|job| match job {
            Job::DropPart { data, .. } => Some(data),
            Job::DropData { .. }
            | Job::DropUpload { .. }
            | Job::TidyUpload { .. }
            | Job::Collect { .. }
            | Job::Reap { .. }
            | Job::Fetch { .. } => None,
        });
        let manifest = host.store.rows(Table::Manifest).next().map(|(_, value)| {
            let row: table::upload::ManifestRow =
                table::decode(Table::Manifest, value).expect("a manifest");
            row.parts[0].part.data
        });
        assert!(dropped.is_some() && manifest != dropped);
        assert_eq!(manifest.is_some(), expected == "200");
    }
}

#[test]
fn parts_are_listed_in_pages() {
    let mut host = Host::new();
    let upload = create(&mut host, "/bucket/k");
    for number in [3, 1, 10_000, 7] {
        part(&mut host, "/bucket/k", &upload, number, b"x");
    }
    let mut page = |query: &str| {
        let reply = host.ask(Ask::get(&format!("/bucket/k?uploadId={upload}{query}")));
        assert_eq!(reply.outcome(), "200", "{}", reply.text());
        let next = reply.element("NextPartNumberMarker").map(str::to_owned);
        (reply.elements("PartNumber").join(" "), next, reply.element("IsTruncated") == Some("true"))
    };
    let marker = |text: &str| Some(text.to_owned());
    assert_eq!(page(""), ("1 3 7 10000".to_owned(), marker("10000"), false));
    assert_eq!(page("&max-parts=2"), ("1 3".to_owned(), marker("3"), true));
    assert_eq!(
        page("&max-parts=2&part-number-marker=3"),
        ("7 10000".to_owned(), marker("10000"), false)
    );
    assert_eq!(page("&part-number-marker=10000"), (String::new(), None, false));
    assert_eq!(page("&max-parts=0"), (String::new(), None, false));
    let bad = host.ask(Ask::get(&format!("/bucket/k?uploadId={upload}&max-parts=-1")));
    assert_eq!(bad.outcome(), "400 InvalidArgument");
}

#[test]
fn uploads_are_listed_in_pages() {
    let mut host = Host::new();
    let mut ids = Vec::new();
    for key in ["a/1", "a/2", "b", "b", "c"] {
        ids.push(create(&mut host, &format!("/bucket/{key}")));
    }
    let abort = Ask::new("DELETE", &format!("/bucket/c?uploadId={}", ids[4]));
    assert_eq!(host.ask(abort).outcome(), "204");
    let mut page = |query: &str| {
        let reply = host.ask(Ask::get(&format!("/bucket?uploads{query}")));
        assert_eq!(reply.outcome(), "200", "{}", reply.text());
        let found: Vec<_> = reply
            .elements("UploadId")
            .iter()
            .map(|id| ids.iter().position(|each| each == id))
            .collect();
        let found: Vec<_> = found.into_iter().map(|at| at.expect("one of ours")).collect();
        let next = ["NextKeyMarker", "NextUploadIdMarker"]
            .map(|name| reply.element(name).unwrap_or_default().to_owned());
        (found, reply.elements("CommonPrefixes").concat(), next)
    };
    let none = || [String::new(), String::new()];
    let a = "<Prefix>a/</Prefix>".to_owned();
    assert_eq!(page(""), (vec![0, 1, 2, 3], String::new(), none()));
    assert_eq!(page("&prefix=a/"), (vec![0, 1], String::new(), none()));
    assert_eq!(page("&delimiter=/"), (vec![2, 3], a.clone(), none()));
    let first = page("&max-uploads=3");
    assert_eq!(first, (vec![0, 1, 2], String::new(), ["b".to_owned(), ids[2].clone()]));
    let rest = page(&format!("&key-marker=b&upload-id-marker={}", ids[2]));
    assert_eq!(rest, (vec![3], String::new(), none()));
    assert_eq!(page("&key-marker=b"), (vec![], String::new(), none()));
    let rolled = page("&delimiter=/&max-uploads=1");
    assert_eq!(rolled, (vec![], a, ["a/".to_owned(), String::new()]));
    assert_eq!(page("&delimiter=/&key-marker=a/"), (vec![2, 3], String::new(), none()));
}

/// Completes two parts under a checksum; gives the answer to the completion.
fn checked(algorithm: &str, kind: &str, headers: &[(&str, &str)]) -> Reply {
    let mut host = host();
    let ask = Ask::new("POST", "/bucket/k?uploads")
        .header("x-amz-checksum-algorithm", algorithm)
        .header("x-amz-checksum-type", kind);
    let upload = host.ask(ask).element("UploadId").expect("an id").to_owned();
    let etags = [&bytes(MIN)[..], b"end"].map(|body| {
        let number = if body.len() == 3 { 2 } else { 1 };
        part(&mut host, "/bucket/k", &upload, number, body)
    });
    let ask = complete_ask("/bucket/k", &upload, &[(1, &etags[0]), (2, &etags[1])]);
    host.ask(headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value)))
}

#[test]
fn a_full_checksum_is_that_of_all_bytes() {
    let whole = [&bytes(MIN)[..], b"end"].concat();
    for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
        let reply = checked(algorithm.name(), "FULL_OBJECT", &[]);
        let expected = digest::checksum(algorithm, &whole).text(None);
        assert_eq!(reply.element(algorithm.element()), Some(&expected[..]), "{}", reply.text());
        assert_eq!(reply.element("ChecksumType"), Some("FULL_OBJECT"));
    }
}

#[test]
fn a_composite_checksum_is_that_of_the_parts() {
    let algorithm = Algorithm::Sha256;
    let values = [&bytes(MIN)[..], b"end"].map(|part| digest::checksum(algorithm, part).value);
    let composite = digest::composite(algorithm, values.iter().map(|value| &value[..]));
    let expected = composite.expect("two hashes").text(Some(2));
    let header = |value: &str| checked("SHA256", "COMPOSITE", &[("x-amz-checksum-sha256", value)]);
    let reply = header(&expected);
    assert_eq!(reply.element("ChecksumSHA256"), Some(&expected[..]), "{}", reply.text());
    assert_eq!(header("AAAA").outcome(), "400 BadDigest");
    let other = checked("SHA256", "COMPOSITE", &[("x-amz-checksum-type", "FULL_OBJECT")]);
    assert_eq!(other.outcome(), "400 InvalidRequest");
}

#[test]
fn a_part_must_come_with_the_checksum_of_its_upload() {
    let mut host = Host::new();
    let ask = Ask::new("POST", "/bucket/k?uploads").header("x-amz-checksum-algorithm", "SHA256");
    let upload = host.ask(ask).element("UploadId").expect("an id").to_owned();
    let ask = part_ask("/bucket/k", &upload, 1, b"123456789");
    let crc = ask.clone().header("x-amz-checksum-crc32", "y/Q5Jg==");
    assert_eq!(host.ask(crc).outcome(), "400 InvalidRequest");
    // Computed here, if the client leaves it out.
    let sha = digest::checksum(Algorithm::Sha256, b"123456789").text(None);
    assert_eq!(host.ask(ask).header("x-amz-checksum-sha256"), Some(&sha[..]));
}

#[test]
fn a_completion_can_be_conditional() {
    let mut host = Host::new();
    let upload = create(&mut host, "/bucket/k");
    let etag = part(&mut host, "/bucket/k", &upload, 1, b"x");
    let ask = complete_ask("/bucket/k", &upload, &[(1, &etag)]);
    let mut running = host.begin(ask.clone().header("if-none-match", "*"));
    running.run_until(&mut host, "Commit");
    put(&mut host, "/bucket/k", "first");
    while running.step(&mut host) {}
    assert_eq!(running.reply.outcome(), "412 PreconditionFailed");
    assert_eq!(get(&mut host, "/bucket/k"), b"first");
    let current = format!("\"{}\"", hex::encode(digest::md5(b"first")));
    assert_eq!(host.ask(ask.header("if-match", current)).outcome(), "200");
}

#[test]
fn ten_thousand_parts_are_one_commit() {
    let mut host = Host::new();
    let upload = create(&mut host, "/bucket/k");
    let id = VersionId::from_hex(&upload).expect("an id");
    let (row_key, _) = host.store.rows(Table::Upload).next().expect("the upload");
    let position = Position(u16::from_be_bytes([row_key[0], row_key[1]]));
    let etag = hex::encode(digest::md5(b"x"));
    for number in 1..=10_000 {
        let data = VersionId::new(Stamp(u64::from(number)), [0; 8]);
        let row = PartRow {
            data,
            size: PART_MIN,
            block_max: 1 << 20,
            etag: etag.clone(),
            checksum: None,
        };
        let row = table::encode(&row);
        host.store.put(Table::Part, &key::part(position, id, number), &row).expect("a map");
    }
    let list: Vec<(u16, &str)> = (1..=10_000).map(|number| (number, &etag[..])).collect();
    effects(&mut host);
    let reply = complete(&mut host, "/bucket/k", &upload, &list);
    assert_eq!(reply.outcome(), "200", "{}", reply.text());
    let commits = effects(&mut host).matches("Commit").count();
    assert_eq!((commits, host.count(Table::Manifest)), (1, 20));
    for number in [1, 500, 501, 10_000] {
        let head = host.ask(Ask::new("HEAD", &format!("/bucket/k?partNumber={number}")));
        assert_eq!(head.status, 206);
        assert_eq!((head.len, head.header("x-amz-mp-parts-count")), (PART_MIN, Some("10000")));
        let first = u64::from(number - 1_u16) * PART_MIN;
        let range = format!("bytes {first}-{}/{}", first + PART_MIN - 1, 10_000 * PART_MIN);
        assert_eq!(head.header("content-range"), Some(&range[..]));
    }
}
