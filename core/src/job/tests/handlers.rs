//! The handlers of S3 and the jobs together: whatever a request is in the middle of when the process dies, afterwards every row
//! and every block is something that can be reached, or gone.

use super::*;
use crate::{
    table::{
        object::{Content, ObjectRow},
        upload::{ManifestRow, PartRow, UploadRow},
    },
    testing::{Ask, Host, Reply},
};

/// What is left of a node in memory, taken over by a world with a real block store, and started again.
fn restart(host: &Host) -> World {
    let mut world = World::new(1);
    world.now = host.now;
    world.boot = host.view.boot + 1;
    world.store = host.store.clone();
    for plain in host.blocks.values() {
        assert_eq!(world.files.store(&[seal(plain.clone(), None)]), [Ok(())]);
    }
    // Older than what could still be on its way.
    world.pass(Duration::from_secs(2 * 3600));
    world
}

fn rows<T: serde::de::DeserializeOwned>(world: &World, table: Table) -> Vec<(Vec<u8>, T)> {
    let rows = world.store.rows(table);
    rows.map(|(key, value)| (key.to_vec(), table::decode(table, value).unwrap())).collect()
}

fn ids(world: &World, table: Table) -> BTreeSet<VersionId> {
    let rows = world.store.rows(table);
    rows.map(|(key, _)| VersionId::from_slice(&key[2..18]).unwrap()).collect()
}

/// Follows everything from the objects and the open uploads, and compares with what there is.
fn assert_no_garbage(world: &World) {
    let (mut data, mut uploads, mut inline) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (_, row) in rows::<ObjectRow>(world, Table::Object) {
        match row.content {
            Content::Deleted => {}
            Content::Inline(_) => drop(inline.insert(row.version)),
            Content::Blocks(_, listed) => drop(data.insert(listed.data)),
            Content::Parts(_, parts) => drop(uploads.insert(parts.upload)),
        }
    }
    for (row_key, row) in rows::<ManifestRow>(world, Table::Manifest) {
        assert!(uploads.contains(&VersionId::from_slice(&row_key[2..18]).unwrap()));
        data.extend(row.parts.iter().map(|part| part.part.data));
    }
    let open = rows::<UploadRow>(world, Table::Upload).into_iter().filter(|(_, row)| row.is_open());
    let open: BTreeSet<VersionId> =
        open.map(|(key, _)| key::upload_parts(&key).unwrap().1).collect();
    for (row_key, row) in rows::<PartRow>(world, Table::Part) {
        assert!(open.contains(&VersionId::from_slice(&row_key[2..18]).unwrap()));
        data.insert(row.data);
    }
    assert_eq!(ids(world, Table::BlockList), data);
    assert_eq!(ids(world, Table::Inline), inline);
    let refs = world.store.rows(Table::BlockRef).map(|(key, _)| key.split_at(32));
    let (blocks, referrers): (BTreeSet<Hash>, BTreeSet<VersionId>) = refs
        .map(|(hash, data)| (Hash::from_slice(hash).unwrap(), VersionId::from_slice(data).unwrap()))
        .unzip();
    assert_eq!((world.on_disk(), referrers), (blocks, data));
    for table in [Table::Intent, Table::Queue] {
        assert_eq!(world.count(table), 0, "{table:?}");
    }
}

/// Different for each number; a little more than `blocks` blocks of 1,000 bytes.
fn body(number: u8, blocks: usize) -> Vec<u8> {
    let mut seed = Seed::new([number; 32]);
    let mut bytes: Vec<u8> = (0..blocks * 1000 / 32 + 1).flat_map(|_| seed.bytes::<32>()).collect();
    bytes.truncate(blocks * 1000 + 10);
    bytes
}

fn must(reply: Reply, status: u16) -> Reply {
    assert_eq!(reply.status, status, "{}", reply.text());
    reply
}

fn put(host: &mut Host, key: &str, number: u8, blocks: usize) {
    must(host.ask(Ask::put(key, body(number, blocks))), 200);
}

/// An open upload with three parts; its id and the tags.
fn upload(host: &mut Host, key: &str) -> (String, Vec<String>) {
    let created = must(host.ask(Ask::new("POST", &format!("{key}?uploads"))), 200);
    let id = created.element("UploadId").unwrap().to_owned();
    let tags = (1..=3_u8).map(|number| {
        let target = format!("{key}?partNumber={number}&uploadId={id}");
        let reply = must(host.ask(Ask::put(&target, body(40 + number, 2))), 200);
        reply.header("etag").unwrap().to_owned()
    });
    let tags = tags.collect();
    (id, tags)
}

fn complete(key: &str, id: &str, number: u8, tag: &str) -> Ask {
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    Ask::new("POST", &format!("{key}?uploadId={id}")).body(body)
}

/// Breaks `request` off at every effect, after `prepare`; restarts, settles, and looks for garbage. The objects in `kept`, and
/// their bytes, must be there throughout.
fn broken_off_anywhere(prepare: impl Fn(&mut Host) -> Ask, kept: &[(&str, u8, usize)]) {
    for steps in 0.. {
        let mut host = Host::new();
        let request = prepare(&mut host);
        let mut running = host.begin(request);
        let ended = (0..steps).any(|_| !running.step(&mut host));
        drop(running);
        let mut world = restart(&host);
        world.settle();
        world.check();
        assert_no_garbage(&world);
        // The handlers still find what was acknowledged.
        host.store = world.store.clone();
        let on_disk = world.on_disk();
        host.blocks.retain(|hash, _| on_disk.contains(hash));
        host.now = world.now;
        for (key, number, blocks) in kept {
            let reply = must(host.ask(Ask::get(key)), 200);
            assert!(reply.body == body(*number, *blocks), "{key} after {steps} effects");
        }
        if ended {
            assert!(steps > 3, "a request of {steps} effects");
            return;
        }
    }
}

#[test]
fn a_put_of_many_blocks() {
    broken_off_anywhere(
        |host| {
            put(host, "/bucket/other", 2, 3);
            // The first block is one that another object has, too.
            let bytes = [&body(2, 3)[..1000], &body(1, 4)].concat();
            Ask::put("/bucket/key", bytes)
        },
        &[("/bucket/other", 2, 3)],
    );
}

#[test]
fn an_overwrite_by_one_block_or_a_row() {
    for blocks in [0, 1] {
        broken_off_anywhere(
            |host| {
                put(host, "/bucket/key", 1, 3);
                put(host, "/bucket/other", 2, 3);
                let mut bytes = body(3, 1);
                bytes.truncate(blocks * 800 + 50);
                Ask::put("/bucket/key", bytes)
            },
            &[("/bucket/other", 2, 3)],
        );
    }
}

#[test]
fn a_delete() {
    broken_off_anywhere(
        |host| {
            put(host, "/bucket/key", 1, 3);
            put(host, "/bucket/same", 1, 3);
            Ask::new("DELETE", "/bucket/key")
        },
        &[("/bucket/same", 1, 3)],
    );
}

#[test]
fn a_copy_over_an_object() {
    broken_off_anywhere(
        |host| {
            put(host, "/bucket/key", 1, 3);
            put(host, "/bucket/source", 2, 5);
            Ask::put("/bucket/key", "").header("x-amz-copy-source", "/bucket/source")
        },
        &[("/bucket/source", 2, 5)],
    );
}

#[test]
fn a_part_that_replaces_another() {
    broken_off_anywhere(
        |host| {
            put(host, "/bucket/other", 41, 2);
            let (id, _) = upload(host, "/bucket/key");
            Ask::put(&format!("/bucket/key?partNumber=1&uploadId={id}"), body(9, 3))
        },
        &[("/bucket/other", 41, 2)],
    );
}

#[test]
fn a_completion_with_parts_left_over() {
    broken_off_anywhere(
        |host| {
            put(host, "/bucket/key", 1, 3);
            put(host, "/bucket/other", 41, 2);
            let (id, tags) = upload(host, "/bucket/key");
            complete("/bucket/key", &id, 2, &tags[1])
        },
        &[("/bucket/other", 41, 2)],
    );
}

#[test]
fn an_abort_and_the_overwrite_of_a_multipart_object() {
    broken_off_anywhere(
        |host| {
            put(host, "/bucket/other", 41, 2);
            let (id, _) = upload(host, "/bucket/key");
            Ask::new("DELETE", &format!("/bucket/key?uploadId={id}"))
        },
        &[("/bucket/other", 41, 2)],
    );
    broken_off_anywhere(
        |host| {
            put(host, "/bucket/other", 42, 2);
            let (id, tags) = upload(host, "/bucket/key");
            must(host.ask(complete("/bucket/key", &id, 2, &tags[1])), 200);
            put(host, "/bucket/copy", 42, 2);
            Ask::put("/bucket/key", body(7, 2))
        },
        &[("/bucket/other", 42, 2), ("/bucket/copy", 42, 2)],
    );
}

#[test]
fn a_bucket_that_is_deleted_with_an_upload_open() {
    broken_off_anywhere(
        |host| {
            put(host, "/bucket/other", 41, 2);
            must(host.ask(Ask::put("/second", "")), 200);
            upload(host, "/second/key");
            Ask::new("DELETE", "/second")
        },
        &[("/bucket/other", 41, 2)],
    );
}
