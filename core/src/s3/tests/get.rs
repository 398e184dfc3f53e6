//! GetObject, HeadObject and GetObjectAttributes.

use super::{bytes, effects, get, put};
use crate::{
    effect::PeerError,
    id::{Hash, VersionId},
    s3::object::row,
    store::{Op, Table},
    table::{
        self,
        block::BlockListRow,
        key,
        object::{Content, Meta, ObjectRow, Parts},
        upload::{ManifestPart, ManifestRow, PartRow},
    },
    testing::{Ask, Host},
    time::Stamp,
};

fn range(host: &mut Host, target: &str, range: &str) -> (u16, String, Vec<u8>) {
    let reply = host.ask(Ask::get(target).header("range", range));
    if reply.status < 300 {
        assert_eq!(reply.body.len() as u64, reply.len, "{range}");
    }
    let content_range = reply.header("content-range").unwrap_or_default().to_owned();
    (reply.status, content_range, reply.body)
}

#[test]
fn a_small_object_is_one_read() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "hello");
    effects(&mut host);
    assert_eq!(get(&mut host, "/bucket/k"), b"hello");
    assert_eq!(effects(&mut host), "Read object and payload\nRespond 200 full");
}

#[test]
fn blocks_are_fetched_ahead_of_the_client() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(3500));
    effects(&mut host);
    assert_eq!(get(&mut host, "/bucket/k"), bytes(3500));
    let expected = "Read object and payload\nLoadBlock\nRespond 200 stream\n\
        LoadBlock\nSend 1000 B\nLoadBlock\nSend 1000 B\nLoadBlock\nSend 1000 B\nSend 500 B";
    assert_eq!(effects(&mut host), expected);
}

#[test]
fn never_more_than_two_blocks_are_ahead() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(9500));
    let mut running = host.begin(Ask::get("/bucket/k"));
    let mut most = 0;
    while running.step(&mut host) {
        most = most.max(running.in_flight("LoadBlock"));
        assert!(running.in_flight("Send") <= 1);
    }
    assert_eq!(most, 2);
    assert_eq!(running.reply.body, bytes(9500));
}

#[test]
fn any_range_of_any_object_is_its_bytes() {
    for len in [1, 7, 100, 101, 999, 1000, 1001, 3500] {
        let mut host = Host::new();
        let all = bytes(len);
        put(&mut host, "/bucket/k", all.clone());
        for first in [0, 1, 6, 99, 100, 999, 1000, 1001, 2000, 3499] {
            for last in [first, first + 1, first + 998, first + 999, first + 1000, first + 9999] {
                let asked = range(&mut host, "/bucket/k", &format!("bytes={first}-{last}"));
                if first >= len {
                    assert_eq!((asked.0, asked.1), (416, format!("bytes */{len}")));
                    continue;
                }
                let end = len.min(last + 1);
                let header = format!("bytes {first}-{}/{len}", end - 1);
                assert_eq!(asked, (206, header, all[first..end].to_vec()), "of {len}");
            }
        }
        let suffix = range(&mut host, "/bucket/k", "bytes=-5");
        assert_eq!(suffix.2, all[len.saturating_sub(5)..]);
    }
}

#[test]
fn a_range_far_inside_reads_only_its_blocks() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(300_500));
    effects(&mut host);
    let asked = range(&mut host, "/bucket/k", "bytes=280000-281999");
    assert_eq!(asked.2, bytes(300_500)[280_000..282_000]);
    let effects = effects(&mut host);
    assert_eq!(effects.matches("scan block_list").count(), 1, "{effects}");
    assert_eq!(effects.matches("LoadBlock").count(), 2, "{effects}");
}

#[test]
fn a_long_object_is_listed_page_by_page() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(400_500));
    effects(&mut host);
    assert_eq!(get(&mut host, "/bucket/k"), bytes(400_500));
    // 64 blocks come with the row, and then 256 on a page.
    assert_eq!(effects(&mut host).matches("scan block_list").count(), 2);
}

#[test]
fn several_ranges_get_the_whole_object() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "0123456789");
    let asked = range(&mut host, "/bucket/k", "bytes=0-1,4-5");
    assert_eq!(asked, (200, String::new(), b"0123456789".to_vec()));
}

#[test]
fn an_unsatisfiable_range_says_how_long_the_object_is() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "0123456789");
    let reply = host.ask(Ask::get("/bucket/k").header("range", "bytes=10-"));
    assert_eq!(reply.outcome(), "416 InvalidRange");
    assert_eq!(reply.header("content-range"), Some("bytes */10"));
    assert_eq!(reply.element("ActualObjectSize"), Some("10"));
    assert_eq!(reply.element("RangeRequested"), Some("bytes=10-"));
}

#[test]
fn head_says_what_get_would_without_the_bytes() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(3500));
    for headers in [&[][..], &[("range", "bytes=5-")], &[("range", "bytes=9999-")]] {
        let ask = |method| {
            let ask = Ask::new(method, "/bucket/k");
            headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value))
        };
        let (get, head) = (host.ask(ask("GET")), host.ask(ask("HEAD")));
        assert_eq!(get.status, head.status);
        let names = ["etag", "last-modified", "content-range", "accept-ranges", "content-type"];
        for name in names.iter().filter(|_| get.status < 300) {
            assert_eq!(get.header(name), head.header(name), "{name}");
        }
        assert!(head.body.is_empty());
        if get.status < 300 {
            assert_eq!(get.len, head.len);
        }
    }
}

#[test]
fn an_error_to_head_has_no_body() {
    let mut host = Host::new();
    let reply = host.ask(Ask::new("HEAD", "/bucket/none"));
    assert_eq!((reply.status, reply.body.len(), reply.responses), (404, 0, 1));
    assert!(reply.header("x-amz-request-id").is_some());
}

#[test]
fn a_missing_object_is_an_error_document() {
    let mut host = Host::new();
    let reply = host.ask(Ask::get("/bucket/a%3Cb"));
    let id = reply.header("x-amz-request-id").expect("an id");
    let host_id = reply.header("x-amz-id-2").expect("an id");
    let expected = include_str!("../../../../testdata/s3/no-such-key.xml");
    let expected = expected.trim_end().replace("REQUEST", id).replace("HOST", host_id);
    assert_eq!(reply.text(), expected);
    assert_eq!(reply.header("content-type"), Some("application/xml"));
}

#[test]
fn stored_headers_come_back() {
    let mut host = Host::new();
    let headers = [
        ("cache-control", "max-age=5"),
        ("content-disposition", "inline"),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("content-type", "text/plain"),
        ("expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
        ("x-amz-meta-a", "one"),
        ("x-amz-website-redirect-location", "/other"),
    ];
    let ask = headers
        .iter()
        .fold(Ask::put("/bucket/k", "x"), |ask, (name, value)| ask.header(name, value));
    assert_eq!(host.ask(ask.header("x-amz-meta-b", "é")).status, 200);
    let reply = host.ask(Ask::get("/bucket/k"));
    for (name, value) in headers {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    assert_eq!(reply.header("x-amz-meta-b"), Some("=?UTF-8?B?w6k=?="));
    assert_eq!(reply.header("last-modified"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
    let target = "/bucket/k?response-content-type=image%2Fpng&response-cache-control=no-store";
    let reply = host.ask(Ask::get(target));
    assert_eq!(reply.header("content-type"), Some("image/png"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[test]
fn conditions_decide_between_200_304_and_412() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "hello");
    let tag = "\"5d41402abc4b2a76b9719d911017c592\"";
    let then = "Tue, 14 Nov 2023 22:13:20 GMT";
    let cases = [
        ("if-match", tag, 200),
        ("if-match", "\"other\"", 412),
        ("if-none-match", tag, 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"other\"", 200),
        ("if-modified-since", then, 304),
        ("if-unmodified-since", then, 200),
        ("if-unmodified-since", "Tue, 14 Nov 2023 22:13:19 GMT", 412),
    ];
    for method in ["GET", "HEAD"] {
        for (name, value, status) in cases {
            let reply = host.ask(Ask::new(method, "/bucket/k").header(name, value));
            assert_eq!(reply.status, status, "{method} {name}: {value}");
            if status == 304 {
                assert_eq!(reply.header("etag"), Some(tag));
                assert_eq!((reply.len, reply.body.len()), (0, 0));
            }
        }
    }
}

#[test]
fn if_range_of_another_version_gets_the_whole() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "hello");
    let ask = |tag| Ask::get("/bucket/k").header("range", "bytes=0-1").header("if-range", tag);
    assert_eq!(host.ask(ask("\"5d41402abc4b2a76b9719d911017c592\"")).body, b"he");
    assert_eq!(host.ask(ask("\"other\"")).body, b"hello");
}

#[test]
fn the_checksum_is_told_when_asked_for_and_whole() {
    let mut host = Host::new();
    let ask = Ask::put("/bucket/k", "123456789").header("x-amz-checksum-crc32", "y/Q5Jg==");
    assert_eq!(host.ask(ask).status, 200);
    let ask = || Ask::get("/bucket/k").header("x-amz-checksum-mode", "ENABLED");
    let reply = host.ask(ask());
    assert_eq!(reply.header("x-amz-checksum-crc32"), Some("y/Q5Jg=="));
    assert_eq!(reply.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    assert_eq!(host.ask(Ask::get("/bucket/k")).header("x-amz-checksum-crc32"), None);
    let reply = host.ask(ask().header("range", "bytes=0-1"));
    assert_eq!(reply.header("x-amz-checksum-crc32"), None);
}

#[test]
fn a_block_that_is_lost_before_the_first_byte_is_an_error_response() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(2500));
    host.blocks.clear();
    assert_eq!(host.ask(Ask::get("/bucket/k")).outcome(), "500 InternalError");
}

#[test]
fn a_block_that_is_lost_midway_ends_the_response_early() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(3500));
    host.faults.load = Some((2, PeerError::Corrupt));
    let reply = host.ask(Ask::get("/bucket/k"));
    assert_eq!((reply.status, reply.len, reply.responses), (200, 3500, 1));
    assert_eq!(reply.body, bytes(3500)[..2000]);
}

#[test]
fn a_read_that_lost_its_blocks_to_an_overwrite_takes_the_new_version() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(70_500));
    // Beyond what is listed with the row.
    let mut running = host.begin(Ask::get("/bucket/k").header("range", "bytes=69000-69999"));
    running.run_until(&mut host, "Read scan block_list");
    let rows: Vec<_> = host.store.rows(Table::BlockList).map(|(key, _)| key.to_vec()).collect();
    put(&mut host, "/bucket/k", vec![7; 70_000]);
    // What the job does once the old version's data is queued to be dropped.
    host.change(rows.into_iter().map(|key| Op::Remove { table: Table::BlockList, key }).collect());
    while running.step(&mut host) {}
    assert_eq!((running.reply.status, running.reply.body), (206, vec![7; 1000]));
}

/// An object of parts with these numbers and sizes, as a completed upload leaves it.
fn put_parts(host: &mut Host, key: &str, parts: &[(u16, usize)]) -> Vec<u8> {
    let upload = VersionId([9; 16]);
    let target = host.call(Ask::put(&format!("/bucket/{key}"), "")).target();
    let merge = |table, key, value| Op::Merge { table, key, value, inline: None };
    let all = bytes(parts.iter().map(|(_, size)| size).sum());
    let (mut rest, mut offset) = (&all[..], 0);
    let (mut ops, mut listed) = (Vec::new(), Vec::new());
    for (number, size) in parts {
        let (content, after) = rest.split_at(*size);
        let data = VersionId::new(Stamp(u64::from(*number)), [5; 8]);
        for (index, block) in content.chunks(1000).enumerate() {
            let row = BlockListRow { block: Hash::of(block), len: block.len() as u32 };
            host.blocks.insert(row.block, block.to_vec().into());
            let row_key = key::block_list(target.position, data, index as u64 * 1000);
            ops.push(merge(Table::BlockList, row_key, table::encode(&row)));
        }
        let (size, block_max) = (*size as u64, 1000.min(*size as u32));
        let part = PartRow { data, size, block_max, etag: format!("part{number}"), checksum: None };
        listed.push(ManifestPart { number: *number, offset, part });
        (rest, offset) = (after, offset + size);
    }
    let mut pages = Vec::new();
    for (page, parts) in (0..).zip(listed.chunks(ManifestRow::PAGE)) {
        pages.push(parts[0].offset);
        let row = ManifestRow { parts: parts.to_vec(), completion: None };
        let row_key = key::manifest(target.position, upload, page);
        ops.push(merge(Table::Manifest, row_key, table::encode(&row)));
    }
    let count = listed.len() as u16;
    let meta = Meta { size: all.len() as u64, etag: format!("e-{count}"), ..Meta::default() };
    let content = Content::Parts(meta, Parts { upload, count, pages, completion: None });
    let version = VersionId::new(Stamp::from_wall(host.now.wall), [0; 8]);
    ops.push(row::merge(&target, &ObjectRow { version, content }, None));
    host.change(ops);
    all
}

#[test]
fn ranges_go_across_parts() {
    let mut host = Host::new();
    let all = put_parts(&mut host, "k", &[(1, 1500), (2, 2000), (3, 700)]);
    assert_eq!(get(&mut host, "/bucket/k"), all);
    for (first, last) in [(0, 0), (1499, 1500), (1400, 3600), (3500, 4199), (2600, 2600)] {
        let asked = range(&mut host, "/bucket/k", &format!("bytes={first}-{last}"));
        assert_eq!(asked.2, all[first..=last], "{first}-{last}");
    }
}

#[test]
fn a_part_is_read_by_its_number() {
    let mut host = Host::new();
    let all = put_parts(&mut host, "k", &[(2, 1500), (3, 2000), (7, 700)]);
    let ask = |method, number| Ask::new(method, &format!("/bucket/k?partNumber={number}"));
    let reply = host.ask(ask("GET", 3));
    assert_eq!((reply.status, &reply.body[..]), (206, &all[1500..3500]));
    assert_eq!(reply.header("content-range"), Some("bytes 1500-3499/4200"));
    assert_eq!(reply.header("x-amz-mp-parts-count"), Some("3"));
    assert_eq!(reply.header("etag"), Some("\"e-3\""));
    let head = host.ask(ask("HEAD", 7));
    assert_eq!((head.status, head.len), (206, 700));
    assert_eq!(host.ask(ask("GET", 4)).outcome(), "416 InvalidPartNumber");
    assert_eq!(host.ask(ask("GET", 0)).outcome(), "400 InvalidArgument");
    assert_eq!(host.ask(ask("GET", 10_001)).outcome(), "400 InvalidArgument");
    let both = ask("GET", 2).header("range", "bytes=0-1");
    assert_eq!(host.ask(both).outcome(), "400 InvalidRequest");
}

#[test]
fn a_manifest_of_several_pages_is_searched_by_number_and_offset() {
    let mut host = Host::new();
    let parts: Vec<(u16, usize)> = (0..1203).map(|n| (n * 2 + 1, 101)).collect();
    let all = put_parts(&mut host, "k", &parts);
    for index in [0, 499, 500, 700, 1202] {
        let number = parts[index].0;
        let reply = host.ask(Ask::get(&format!("/bucket/k?partNumber={number}")));
        assert_eq!(reply.body, all[index * 101..(index + 1) * 101], "part {number}");
        let (first, last) = (index * 101 + 100, (index * 101 + 130).min(all.len() - 1));
        let asked = range(&mut host, "/bucket/k", &format!("bytes={first}-{last}"));
        assert_eq!(asked.2, all[first..=last]);
    }
    assert_eq!(get(&mut host, "/bucket/k"), all);
}

#[test]
fn the_first_part_of_a_simple_object_is_all_of_it() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "hello");
    let reply = host.ask(Ask::get("/bucket/k?partNumber=1"));
    assert_eq!((reply.status, &reply.body[..]), (206, &b"hello"[..]));
    assert_eq!(reply.header("content-range"), Some("bytes 0-4/5"));
    assert_eq!(reply.header("x-amz-mp-parts-count"), None);
    let second = host.ask(Ask::get("/bucket/k?partNumber=2"));
    assert_eq!(second.outcome(), "416 InvalidPartNumber");
}

#[test]
fn attributes_are_those_asked_for() {
    let mut host = Host::new();
    let ask = Ask::put("/bucket/k", "123456789").header("x-amz-checksum-crc32", "y/Q5Jg==");
    assert_eq!(host.ask(ask).status, 200);
    let ask =
        |names: &str| Ask::get("/bucket/k?attributes").header("x-amz-object-attributes", names);
    let reply = host.ask(ask("ETag, Checksum,StorageClass,ObjectSize,ObjectParts"));
    let expected = include_str!("../../../../testdata/s3/attributes.xml");
    assert_eq!(reply.text(), expected.trim_end());
    assert_eq!(reply.header("last-modified"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
    let reply = host.ask(ask("ObjectSize"));
    assert_eq!((reply.element("ObjectSize"), reply.element("ETag")), (Some("9"), None));
    assert_eq!(host.ask(ask("Size")).outcome(), "400 InvalidArgument");
    assert_eq!(host.ask(Ask::get("/bucket/k?attributes")).outcome(), "400 InvalidArgument");
}

#[test]
fn attributes_of_parts_come_in_pages() {
    let mut host = Host::new();
    let parts: Vec<(u16, usize)> = (1..=5).map(|n| (n, 101)).collect();
    put_parts(&mut host, "k", &parts);
    let ask = || Ask::get("/bucket/k?attributes").header("x-amz-object-attributes", "ObjectParts");
    let reply = host.ask(ask());
    assert_eq!(reply.element("PartsCount"), Some("5"));
    assert_eq!(reply.elements("PartNumber").len(), 0, "no checksums, no list of parts");
}
