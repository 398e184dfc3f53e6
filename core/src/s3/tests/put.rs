//! PutObject.

use super::{assert_no_open_intent, bytes, effects, get, put};
use crate::{
    effect::PeerError,
    s3::object::put::SIZE_MAX,
    store::Table,
    testing::{Ask, CommitFault, Host},
};

#[test]
fn a_small_object_is_one_commit() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "hello");
    let expected =
        "Open\nPull\nCommit: object and 5 B if bucket live, bucket unsealed\nRespond 200 empty";
    assert_eq!(effects(&mut host), expected);
    assert_eq!(get(&mut host, "/bucket/k"), b"hello");
}

#[test]
fn an_empty_object_is_one_commit() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "");
    let expected =
        "Open\nPull\nCommit: object and 0 B if bucket live, bucket unsealed\nRespond 200 empty";
    assert_eq!(effects(&mut host), expected);
    let reply = host.ask(Ask::get("/bucket/k"));
    assert_eq!((reply.status, reply.len, reply.body.len()), (200, 0, 0));
    assert_eq!(reply.header("etag"), Some("\"d41d8cd98f00b204e9800998ecf8427e\""));
}

#[test]
fn an_object_of_one_block_is_one_effect() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(1000));
    let expected = "Open\nPull\n\
        StoreBlock 1000 B: block_list, block_ref, object if bucket live, newest, bucket unsealed\n\
        Respond 200 empty";
    assert_eq!(effects(&mut host), expected);
    assert_eq!(get(&mut host, "/bucket/k"), bytes(1000));
    assert_eq!(host.count(Table::Intent), 0);
}

#[test]
fn an_object_of_many_blocks_has_an_intent_from_first_to_last() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(4500));
    let expected = "Open\nPull\nPull\n\
        StoreBlock 1000 B: intent writing, block_list, block_ref\nPull\n\
        StoreBlock 1000 B: block_list, block_ref\nPull\n\
        StoreBlock 1000 B: block_list, block_ref\nPull\n\
        StoreBlock 1000 B: block_list, block_ref\n\
        StoreBlock 500 B: block_list, block_ref\n\
        Commit: object, intent done if bucket live, newest, bucket unsealed\n\
        Respond 200 empty";
    assert_eq!(effects(&mut host), expected);
    assert_eq!(get(&mut host, "/bucket/k"), bytes(4500));
    assert_no_open_intent(&host);
}

#[test]
fn blocks_are_stored_while_the_next_come_in() {
    let mut host = Host::new();
    let mut running = host.begin(Ask::put("/bucket/k", bytes(6000)));
    running.run_until(&mut host, "Pull");
    // A fast client and a slow disk.
    let mut most = 0;
    while running.step_first(&mut host, "Pull") || running.step(&mut host) {
        most = most.max(running.in_flight("StoreBlock"));
        assert!(running.in_flight("Pull") <= 1);
    }
    assert_eq!(most, 3);
    assert_eq!(get(&mut host, "/bucket/k"), bytes(6000));
}

/// Otherwise a crash could leave a block that nothing leads to.
#[test]
fn no_second_block_is_stored_before_the_intent() {
    let mut host = Host::new();
    let mut running = host.begin(Ask::put("/bucket/k", bytes(6000)));
    running.run_until(&mut host, "Pull");
    while !host.trace.iter().any(|line| line.starts_with("StoreBlock")) {
        assert!(running.in_flight("StoreBlock") <= 1);
        assert!(running.step_first(&mut host, "Pull") || running.step(&mut host));
    }
    assert_eq!(host.count(Table::Intent), 1);
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    for cut in [0, 50, 900, 1500, 2500, 4499] {
        let mut host = Host::new();
        put(&mut host, "/bucket/k", "before");
        effects(&mut host);
        let reply = host.ask(Ask::put("/bucket/k", bytes(4500)).cut(cut));
        assert_eq!(reply.outcome(), "400 IncompleteBody", "cut at {cut}");
        let effects = effects(&mut host);
        assert!(!effects.contains("object"), "{effects}");
        if effects.contains("StoreBlock") {
            assert!(effects.contains("Commit: queue DropData, intent done if intent unchanged"));
            let last_block = effects.rfind("StoreBlock");
            assert!(last_block < effects.find("queue DropData"), "{effects}");
            assert_eq!(host.count(Table::Queue), 2, "the drop, and the collection of the intent");
        }
        assert_no_open_intent(&host);
        assert_eq!(get(&mut host, "/bucket/k"), b"before");
    }
}

#[test]
fn a_failed_commit_is_an_error_and_shows_nothing() {
    for len in [5, 1000, 4500] {
        let commits = if len == 4500 { 6 } else { 1 };
        for n in 0..commits {
            let mut host = Host::new();
            let fault = CommitFault::Nothing(PeerError::TimedOut);
            host.faults.commit = Some((n, fault));
            let reply = host.ask(Ask::put("/bucket/k", bytes(len)));
            assert_eq!(reply.outcome(), "503 ServiceUnavailable", "{len} bytes, commit {n}");
            assert_eq!(reply.header("retry-after"), Some("1"));
            assert_eq!(host.ask(Ask::get("/bucket/k")).outcome(), "404 NoSuchKey");
            assert_no_open_intent(&host);
        }
    }
}

#[test]
fn a_commit_that_fails_and_yet_happened_keeps_its_blocks() {
    let mut host = Host::new();
    host.faults.commit = Some((5, CommitFault::Done(PeerError::TimedOut)));
    let reply = host.ask(Ask::put("/bucket/k", bytes(4500)));
    assert_eq!(reply.outcome(), "503 ServiceUnavailable");
    let effects = effects(&mut host);
    assert!(effects.contains("queue DropData"), "{effects}");
    // The compensation was refused: the object is there, and whole.
    assert_eq!(get(&mut host, "/bucket/k"), bytes(4500));
    assert!(host.store.rows(Table::Queue).all(|(_, value)| !is_drop(value)));
}

fn is_drop(value: &[u8]) -> bool {
    use crate::table::{self, queue::Job};
    let job: Job = table::decode(Table::Queue, value).expect("a job");
    matches!(job, Job::DropData { .. } | Job::DropUpload { .. })
}

#[test]
fn a_full_disk_refuses_and_says_so() {
    let mut host = Host::new();
    host.faults.commit = Some((0, CommitFault::Nothing(PeerError::Full)));
    let reply = host.ask(Ask::put("/bucket/k", bytes(900)));
    assert_eq!(reply.outcome(), "503 ServiceUnavailable");
    assert!(reply.text().contains("full"), "{}", reply.text());
}

#[test]
fn an_overwrite_queues_the_old_blocks_to_be_dropped() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", bytes(2500));
    put(&mut host, "/bucket/k", "small");
    assert_eq!(host.store.rows(Table::Queue).filter(|(_, value)| is_drop(value)).count(), 1);
    put(&mut host, "/bucket/k", "smaller");
    assert_eq!(host.count(Table::Inline), 1);
    assert_eq!(get(&mut host, "/bucket/k"), b"smaller");
}

/// Of two writers, the one that is acknowledged last is the one that stays, although the other took the later version.
#[test]
fn the_last_acknowledged_write_stays() {
    for len in [5, 900, 2500] {
        let mut host = Host::new();
        let mut first = host.begin(Ask::put("/bucket/k", bytes(len)));
        let last = if len == 2500 { "Commit: object, intent done" } else { "Pull" };
        first.run_until(&mut host, last);
        if len != 2500 {
            // Its version is taken in the same step that issues the commit.
            first.step(&mut host);
        }
        host.pass(std::time::Duration::from_millis(5));
        put(&mut host, "/bucket/k", "the other");
        effects(&mut host);
        while first.step(&mut host) {}
        assert_eq!(first.reply.status, 200);
        let effects = effects(&mut host);
        assert!(effects.matches(": ").count() >= 2, "went round again: {effects}");
        assert_eq!(get(&mut host, "/bucket/k"), bytes(len), "{len} bytes");
        assert!(host.store.rows(Table::Queue).all(|(_, value)| !is_drop(value)));
    }
}

#[test]
fn a_bucket_deleted_meanwhile_refuses_the_object() {
    for len in [5, 900, 2500] {
        let mut host = Host::new();
        let mut running = host.begin(Ask::put("/bucket/k", bytes(len)));
        running.run_until(&mut host, "Pull");
        assert_eq!(host.ask(Ask::new("DELETE", "/bucket")).status, 204);
        while running.step(&mut host) {}
        assert_eq!(running.reply.outcome(), "404 NoSuchBucket", "{len} bytes");
        assert_eq!(host.count(Table::Object), 0);
        assert_no_open_intent(&host);
        let drops = host.store.rows(Table::Queue).filter(|(_, value)| is_drop(value)).count();
        assert_eq!(drops, usize::from(len == 2500));
    }
}

#[test]
fn the_answer_has_etag_and_checksum() {
    let mut host = Host::new();
    let ask = Ask::put("/bucket/k", "123456789").header("x-amz-checksum-crc32", "y/Q5Jg==");
    let reply = host.ask(ask);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("etag"), Some("\"25f9e794323b453885f5181f1b624d0b\""));
    assert_eq!(reply.header("x-amz-checksum-crc32"), Some("y/Q5Jg=="));
    assert_eq!(reply.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    assert_eq!((reply.len, reply.responses), (0, 1));
}

#[test]
fn a_wrong_digest_stores_nothing() {
    let cases = [
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", "400 BadDigest"),
        ("content-md5", "short", "400 InvalidDigest"),
        ("x-amz-checksum-crc32", "AAAAAA==", "400 BadDigest"),
    ];
    for (name, value, outcome) in cases {
        for len in [9, 2500] {
            let mut host = Host::new();
            let reply = host.ask(Ask::put("/bucket/k", bytes(len)).header(name, value));
            assert_eq!(reply.outcome(), outcome, "{name}: {value}");
            assert_eq!(host.count(Table::Object), 0);
            assert_no_open_intent(&host);
        }
    }
}

#[test]
fn a_body_in_signed_chunks_is_unwrapped() {
    let mut host = Host::new();
    let ask = Ask::put("/bucket/k", bytes(2500)).chunked();
    let ask = ask.header("content-encoding", "aws-chunked,gzip");
    assert_eq!(host.ask(ask).outcome(), "200");
    assert_eq!(get(&mut host, "/bucket/k"), bytes(2500));
    let reply = host.ask(Ask::get("/bucket/k"));
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
}

#[test]
fn a_body_needs_a_length() {
    let mut host = Host::new();
    let reply = host.ask(Ask::put("/bucket/k", "x").without_length());
    assert_eq!(reply.outcome(), "411 MissingContentLength");
}

#[test]
fn more_than_five_gibibytes_are_refused_before_the_body_is_asked_for() {
    let mut host = Host::new();
    let len = (SIZE_MAX + 1).to_string();
    let ask = Ask::put("/bucket/k", "x").chunked().header("x-amz-decoded-content-length", len);
    assert_eq!(host.ask(ask).outcome(), "400 EntityTooLarge");
    assert!(!effects(&mut host).contains("Pull"));
}

#[test]
fn too_much_metadata_is_refused() {
    let mut host = Host::new();
    let ask = Ask::put("/bucket/k", "x").header("x-amz-meta-k", "v".repeat(2048));
    assert_eq!(host.ask(ask).outcome(), "400 MetadataTooLarge");
}

#[test]
fn if_none_match_stores_only_what_is_not_there() {
    let mut host = Host::new();
    let ask = |body: &'static str| Ask::put("/bucket/k", body).header("if-none-match", "*");
    assert_eq!(host.ask(ask("one")).outcome(), "200");
    let reply = host.ask(ask("two"));
    assert_eq!(reply.outcome(), "412 PreconditionFailed");
    assert_eq!(reply.element("Condition"), Some("If-None-Match"));
    assert_eq!(get(&mut host, "/bucket/k"), b"one");
    assert_eq!(host.ask(Ask::new("DELETE", "/bucket/k")).status, 204);
    assert_eq!(host.ask(ask("three")).outcome(), "200");
    let other = Ask::put("/bucket/k", "x").header("if-none-match", "\"tag\"");
    assert_eq!(host.ask(other).outcome(), "501 NotImplemented");
}

#[test]
fn of_two_that_create_only_one_succeeds() {
    for len in [5, 900, 2500] {
        let mut host = Host::new();
        let ask = || Ask::put("/bucket/k", bytes(len)).header("if-none-match", "*");
        let mut first = host.begin(ask());
        first.run_until(&mut host, "Pull");
        assert_eq!(host.ask(ask()).outcome(), "200");
        while first.step(&mut host) {}
        assert_eq!(first.reply.outcome(), "412 PreconditionFailed");
        assert_eq!(get(&mut host, "/bucket/k"), bytes(len));
        assert_no_open_intent(&host);
    }
}

#[test]
fn if_match_stores_only_over_that_version() {
    let mut host = Host::new();
    let ask = |body: &'static str, tag: &str| Ask::put("/bucket/k", body).header("if-match", tag);
    assert_eq!(host.ask(ask("x", "\"any\"")).outcome(), "404 NoSuchKey");
    put(&mut host, "/bucket/k", "one");
    assert_eq!(host.ask(ask("x", "\"other\"")).outcome(), "412 PreconditionFailed");
    let tag = host.ask(Ask::get("/bucket/k")).header("etag").map(str::to_owned);
    let tag = tag.expect("a tag");
    let mut late = host.begin(ask("late", &tag));
    late.run_until(&mut host, "Pull");
    assert_eq!(host.ask(ask("two", &tag)).outcome(), "200");
    while late.step(&mut host) {}
    assert_eq!(late.reply.outcome(), "409 ConditionalRequestConflict");
    assert_eq!(get(&mut host, "/bucket/k"), b"two");
}

#[test]
fn keys_are_taken_byte_for_byte() {
    let mut host = Host::new();
    let keys =
        ["a//b", "/x", "..", ".", "../y", "a/./b", "%00%01", "%C3%A9", "k%20k", "k+k", "%25"];
    for key in keys {
        put(&mut host, &format!("/bucket/{key}"), key);
    }
    assert_eq!(host.count(Table::Object), keys.len());
    for key in keys {
        assert_eq!(get(&mut host, &format!("/bucket/{key}")), key.as_bytes());
    }
    let longest = "k".repeat(1024);
    put(&mut host, &format!("/bucket/{longest}"), "long");
    let over = host.ask(Ask::put(&format!("/bucket/{longest}k"), "longer"));
    assert_eq!(over.outcome(), "400 KeyTooLongError");
}
