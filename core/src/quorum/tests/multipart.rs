//! Multipart uploads and copies among several nodes.

use std::time::Duration;

use super::{bytes, get, put, spread};
use crate::{
    id::{Position, VersionId},
    s3::ingest::intent_row,
    store::Table,
    table::upload::IntentRow,
    testing::{
        Ask, Reply,
        cluster::{Cluster, Fate, layout},
    },
};

const MIB5: usize = 5 << 20;

fn begin(cluster: &mut Cluster, at: usize) -> String {
    let reply = cluster.ask(at, Ask::new("POST", "/bucket/big?uploads"));
    assert_eq!(reply.status, 200);
    reply.element("UploadId").expect("an id").to_owned()
}

fn part(cluster: &mut Cluster, at: usize, id: &str, number: u16, body: Vec<u8>) -> Reply {
    cluster.ask(at, Ask::put(&format!("/bucket/big?partNumber={number}&uploadId={id}"), body))
}

fn etag(reply: &Reply) -> String {
    assert_eq!(reply.outcome(), "200", "{}", reply.text());
    reply.header("etag").expect("an etag").to_owned()
}

fn complete(cluster: &mut Cluster, at: usize, id: &str, etags: &[String]) -> Reply {
    let lines = etags.iter().zip(1..).map(|(etag, number)| {
        format!("<Part><ETag>{etag}</ETag><PartNumber>{number}</PartNumber></Part>")
    });
    let body =
        format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", lines.collect::<String>());
    cluster.ask(at, Ask::new("POST", &format!("/bucket/big?uploadId={id}")).body(body))
}

/// A cluster of large blocks, so that parts of 5 MiB are few.
fn large(mut cluster: Cluster) -> Cluster {
    for host in &mut cluster.hosts {
        let mut view = crate::view::View::clone(&host.view);
        view.config.block_size = 1 << 20;
        host.view = view.into();
    }
    cluster
}

#[test]
fn an_abort_that_its_own_clean_up_has_overtaken_is_done() {
    let mut cluster = Cluster::replicated(3);
    let id = begin(&mut cluster, 0);
    // The node that was asked has closed the upload, and begun to drop it everywhere, before the others have heard of the request.
    let upload = VersionId::from_hex(&id).expect("an id");
    let rows: Vec<_> = cluster.hosts[0].store.rows(Table::Upload).collect();
    let (row_key, _) = rows.first().expect("the upload").to_owned();
    let position = Position(u16::from_be_bytes([row_key[0], row_key[1]]));
    for at in [1, 2] {
        cluster.hosts[at].change(vec![intent_row(position, upload, IntentRow::Dropped)]);
    }
    let abort = || Ask::new("DELETE", &format!("/bucket/big?uploadId={id}"));
    assert_eq!(cluster.ask(0, abort()).outcome(), "204");
}

#[test]
fn an_upload_goes_through_any_node() {
    for (cluster, nodes) in [(Cluster::replicated(3), 3), (spread(), 7)] {
        let mut cluster = large(cluster);
        let id = begin(&mut cluster, 0);
        let first = etag(&part(&mut cluster, 1, &id, 1, bytes(MIB5)));
        let second = etag(&part(&mut cluster, nodes - 1, &id, 2, bytes(70_000)));
        let second_again = etag(&part(&mut cluster, 0, &id, 2, bytes(80_000)));
        let listed = cluster.ask(2, Ask::get(&format!("/bucket/big?uploadId={id}")));
        assert_eq!(listed.elements("Size"), ["5242880", "80000"]);
        let uploads = cluster.ask(1, Ask::get("/bucket?uploads"));
        assert_eq!(uploads.elements("UploadId"), [&id]);
        let stale = complete(&mut cluster, 1, &id, &[first.clone(), second]);
        assert_eq!(stale.outcome(), "400 InvalidPart");
        let etags = [first, second_again];
        assert_eq!(complete(&mut cluster, 1, &id, &etags).outcome(), "200");
        assert_eq!(complete(&mut cluster, 2, &id, &etags).outcome(), "200", "asked again");
        let whole = [bytes(MIB5), bytes(80_000)].concat();
        for at in [0, nodes - 1] {
            assert_eq!(get(&mut cluster, at, "big").expect("it is there"), whole);
            assert_eq!(part(&mut cluster, at, &id, 3, bytes(5)).outcome(), "404 NoSuchUpload");
        }
        let uploads = cluster.ask(1, Ask::get("/bucket?uploads"));
        assert_eq!(uploads.elements("UploadId"), Vec::<&str>::new());
        let abort = Ask::new("DELETE", &format!("/bucket/big?uploadId={id}"));
        assert_eq!(cluster.ask(0, abort).outcome(), "404 NoSuchUpload");
    }
}

#[test]
fn an_aborted_upload_takes_nothing_more() {
    let mut cluster = Cluster::replicated(3);
    let id = begin(&mut cluster, 0);
    let first = etag(&part(&mut cluster, 0, &id, 1, bytes(2500)));
    // Not heard by the third.
    cluster.down(&[2]);
    let abort = || Ask::new("DELETE", &format!("/bucket/big?uploadId={id}"));
    assert_eq!(cluster.ask(1, abort()).outcome(), "204");
    cluster.down(&[]);
    for at in 0..3 {
        assert_eq!(cluster.ask(at, abort()).outcome(), "404 NoSuchUpload");
        assert_eq!(part(&mut cluster, at, &id, 2, bytes(5)).outcome(), "404 NoSuchUpload");
        let completed = complete(&mut cluster, at, &id, std::slice::from_ref(&first));
        assert_eq!(completed.outcome(), "404 NoSuchUpload");
    }
    assert_eq!(get(&mut cluster, 0, "big"), Err("404 NoSuchKey".to_owned()));
}

/// An upload whose final batch has reached the last of three replicas only.
fn half_completed(cluster: &mut Cluster) -> (String, String) {
    put(cluster, 0, "big", "old");
    let id = begin(cluster, 0);
    let first = etag(&part(cluster, 0, &id, 1, bytes(2500)));
    cluster.network(|call| match call.what.starts_with("Commit: manifest") {
        true if call.to == 2 => Fate::AnswerLost,
        true => Fate::Unreachable,
        false => Fate::Answered,
    });
    let before = cluster.hosts[0].store.clone();
    let completed = complete(cluster, 0, &id, std::slice::from_ref(&first));
    assert_eq!(completed.outcome(), "503 ServiceUnavailable");
    cluster.hosts[0].store = before;
    (id, first)
}

/// A read spreads its row, and with it the manifest and that the upload is closed.
#[test]
fn a_completion_that_one_replica_has_is_whole_wherever_it_gets() {
    let mut cluster = Cluster::replicated(3);
    let (id, _) = half_completed(&mut cluster);
    cluster.down(&[1]);
    assert_eq!(get(&mut cluster, 0, "big"), Ok(bytes(2500)));
    cluster.down(&[2]);
    assert_eq!(get(&mut cluster, 1, "big"), Ok(bytes(2500)));
    let abort = Ask::new("DELETE", &format!("/bucket/big?uploadId={id}"));
    assert_eq!(cluster.ask(1, abort).outcome(), "404 NoSuchUpload");
}

/// With two copies, one may know of a completion that was never acknowledged, and be asked for the object's row; and the other, for
/// what belongs to it.
#[test]
fn a_completion_that_one_of_two_has_is_read_from_that_one() {
    let mut cluster = Cluster::new(3, &layout(1, 3, |_| vec![0, 1]));
    let id = begin(&mut cluster, 2);
    let first = etag(&part(&mut cluster, 2, &id, 1, bytes(2500)));
    let before = cluster.hosts[0].store.clone();
    assert_eq!(complete(&mut cluster, 2, &id, std::slice::from_ref(&first)).outcome(), "200");
    // The first has not heard of it, and answers too late to be waited for.
    cluster.hosts[0].store = before;
    cluster.network(|call| match call.what.starts_with("Read object") {
        true if call.to == 0 => Fate::Slow(Duration::from_secs(5)),
        _ => Fate::Answered,
    });
    assert_eq!(get(&mut cluster, 2, "big"), Ok(bytes(2500)));
}

/// What was applied on one replica and never acknowledged has other parts than what was acknowledged after it.
#[test]
fn a_completion_with_other_parts_is_not_mixed_with_one_before_it() {
    let mut cluster = Cluster::replicated(3);
    let (id, _) = half_completed(&mut cluster);
    cluster.down(&[2]);
    let other = etag(&part(&mut cluster, 0, &id, 1, bytes(3000)));
    assert_eq!(complete(&mut cluster, 1, &id, std::slice::from_ref(&other)).outcome(), "200");
    cluster.down(&[]);
    for at in 0..3 {
        assert_eq!(get(&mut cluster, at, "big"), Ok(bytes(3000)), "at {at}");
    }
    let rows = |at: usize| {
        let rows = cluster.hosts[at].store.rows(Table::Manifest);
        rows.map(|(_, value)| value.to_vec()).collect::<Vec<_>>()
    };
    let merged =
        crate::table::merge::encoded(Table::Manifest, rows(2).remove(0), rows(0).remove(0));
    assert_eq!(merged.as_ref(), Ok(&rows(0)[0]), "the acknowledged one stays, in whatever order");
}

/// Who is told that an upload is complete finds its object.
#[test]
fn a_completion_is_acknowledged_again_only_where_its_object_is() {
    let mut cluster = Cluster::replicated(3);
    let (id, first) = half_completed(&mut cluster);
    // The only one that knows of the object tells of the upload, and is gone.
    let mut told = false;
    cluster.network(move |call| match call.to {
        1 if !told => Fate::Unreachable,
        2 if told => Fate::Unreachable,
        _ => {
            told |= call.to == 2 && call.what == "Read upload";
            Fate::Answered
        }
    });
    let again = complete(&mut cluster, 0, &id, std::slice::from_ref(&first));
    cluster.down(&[2]);
    let read = get(&mut cluster, 1, "big");
    assert!(again.status == 503 || read == Ok(bytes(2500)), "{} and {read:?}", again.outcome());
    cluster.down(&[1]);
    assert_eq!(complete(&mut cluster, 0, &id, std::slice::from_ref(&first)).outcome(), "200");
}

/// An upload may take longer than anything is remembered.
#[test]
fn an_old_upload_is_completed() {
    let mut cluster = Cluster::replicated(3);
    let id = begin(&mut cluster, 0);
    let first = etag(&part(&mut cluster, 0, &id, 1, bytes(2500)));
    cluster.pass(2 * cluster.hosts[0].view.config.tombstone_delay);
    assert_eq!(complete(&mut cluster, 1, &id, std::slice::from_ref(&first)).outcome(), "200");
    assert_eq!(get(&mut cluster, 2, "big"), Ok(bytes(2500)));
}

#[test]
fn copies_refer_to_blocks_wherever_they_are() {
    for mut cluster in [Cluster::replicated(3), spread()] {
        put(&mut cluster, 0, "small", "hello");
        put(&mut cluster, 0, "big", bytes(12_500));
        let copy = |from: &str, to: &str| {
            Ask::put(&format!("/bucket/{to}"), "")
                .header("x-amz-copy-source", format!("bucket/{from}"))
        };
        assert_eq!(cluster.ask(1, copy("small", "small2")).outcome(), "200");
        assert_eq!(get(&mut cluster, 2, "small2"), Ok(b"hello".to_vec()));
        assert_eq!(cluster.ask(1, copy("big", "big2")).outcome(), "200");
        assert_eq!(cluster.ask(1, Ask::new("DELETE", "/bucket/big")).status, 204);
        assert_eq!(get(&mut cluster, 2, "big2"), Ok(bytes(12_500)));
        let relabel = copy("big2", "big2").header("x-amz-metadata-directive", "REPLACE");
        let relabel = relabel.header("content-type", "text/plain");
        assert_eq!(cluster.ask(0, relabel).outcome(), "200");
        let reply = cluster.ask(2, Ask::get("/bucket/big2"));
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        assert_eq!(reply.body, bytes(12_500));
        let id = begin(&mut cluster, 2);
        let part = copy("big2", &format!("big?partNumber=1&uploadId={id}"));
        let part = part.header("x-amz-copy-source-range", "bytes=500-10499");
        assert_eq!(cluster.ask(0, part).outcome(), "200");
    }
}
