use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::*;
use crate::{
    id::BucketId,
    store::{Answer, Guard, Op, Read, read::read},
    table::{
        encode, key,
        object::{Content, Meta, ObjectRow},
    },
    time::{Stamp, Timestamp},
};

const DELAYS: Delays = Delays { block: Duration::ZERO, tombstone: Duration::ZERO };
const CACHE: usize = 1 << 20;

/// A disk that outlives the database on it, and can be told to fail.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, bool)>>);

impl Disk {
    fn bytes(&self) -> MutexGuard<'_, (Vec<u8>, bool)> {
        self.0.lock().expect("no test panics with the disk in hand")
    }

    fn working(&self) -> io::Result<MutexGuard<'_, (Vec<u8>, bool)>> {
        let disk = self.bytes();
        if disk.1 { Err(io::Error::other("the disk is on fire")) } else { Ok(disk) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.working()?.0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.working()?;
        let at = usize::try_from(offset).expect("a small disk");
        let bytes = disk.0.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.working()?.0.resize(usize::try_from(len).expect("a small disk"), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.working().map(drop)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).expect("a small disk");
        self.working()?.0[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn open(disk: &Disk) -> Db {
    Db::open(disk.clone(), CACHE, DELAYS).expect("the database opens")
}

fn key(name: &str) -> Vec<u8> {
    key::object(BucketId([5; 16]), 0, name.as_bytes())
}

fn put(name: &str, at: u64) -> Batch {
    let version = crate::id::VersionId::new(Stamp(at), [1; 8]);
    let value = encode(&ObjectRow { version, content: Content::Inline(Meta::default()) });
    let inline = Some(format!("{name} {at}").into());
    Batch::new(
        Timestamp(1),
        vec![Op::Merge { table: Table::Object, key: key(name), value, inline }],
    )
}

fn payload(db: &Db, name: &str) -> Option<String> {
    let plan = Read::Object { key: key(name), payload: true };
    let snapshot = db.snapshot().expect("a snapshot");
    match read(&plan, &snapshot).expect("the row decodes") {
        Answer::Object(found) => {
            let bytes = found?.inline.expect("an inline payload");
            Some(String::from_utf8(bytes.to_vec()).expect("text"))
        }
        other => panic!("{other:?} is no object"),
    }
}

#[test]
fn the_shared_snapshot_is_that_of_the_last_commit() {
    let db = open(&Disk::default());
    let before = db.latest().expect("a snapshot");
    assert!(Arc::ptr_eq(&before, &db.latest().expect("a snapshot")));
    db.commit(&[put("k", 1)]).expect("committed");
    let after = db.latest().expect("a snapshot");
    assert!(after.get(Table::Object, &key("k")).expect("readable").is_some());
    assert!(before.get(Table::Object, &key("k")).expect("readable").is_none());
}

#[test]
fn what_was_committed_is_there_after_reopening_and_boots_are_counted() {
    let disk = Disk::default();
    let db = open(&disk);
    assert_eq!(db.boot(), 1);
    db.commit(&[put("a", 1)]).expect("committed");
    drop(db);
    let db = open(&disk);
    assert_eq!((db.boot(), payload(&db, "a").as_deref()), (2, Some("a 1")));
    // Killed: the bytes as they stand, with no closing.
    let killed = Disk(Arc::new(Mutex::new(disk.bytes().clone())));
    assert_eq!(open(&killed).boot(), 3);
}

#[test]
fn an_older_database_counts_on_and_does_not_vouch_for_its_rows() {
    let disk = Disk::default();
    let mut db = open(&disk);
    let synced = |db: &Db| crate::store::read::synced(&db.snapshot().expect("a snapshot"));
    let value = 7_u64.to_be_bytes().to_vec();
    let key = crate::store::SYNCED_KEY.to_vec();
    let mark = Op::Merge { table: Table::Meta, key, value, inline: None };
    db.commit(&[Batch::new(Timestamp(0), vec![mark])]).expect("committed");
    db.count_on(8, false).expect("written");
    assert_eq!((db.boot(), synced(&db)), (9, Ok(7)));
    let lost = |db: &Db| crate::store::read::lost(&db.snapshot().expect("a snapshot"));
    assert_eq!(lost(&db), Ok(false));
    db.count_on(11, true).expect("written");
    assert_eq!((db.boot(), synced(&db)), (12, Ok(0)));
    drop(db);
    let db = open(&disk);
    assert_eq!((db.boot(), synced(&db), lost(&db)), (13, Ok(0), Ok(true)), "and that is durable");
}

#[test]
fn a_snapshot_does_not_see_later_commits() {
    let db = open(&Disk::default());
    let before = db.snapshot().expect("a snapshot");
    db.commit(&[put("a", 1)]).expect("committed");
    assert_eq!(before.get(Table::Object, &key("a")), Ok(None));
    assert_eq!(payload(&db, "a").as_deref(), Some("a 1"));
}

#[test]
fn one_batch_refused_or_damaged_does_not_disturb_its_neighbours() {
    let db = open(&Disk::default());
    db.commit(&[put("taken", 1)]).expect("committed");
    let taken = Guard::Absent { table: Table::Object, key: key("taken") };
    let mut damaged = put("c", 1);
    damaged.ops.push(Op::Remove { table: Table::Counter, key: vec![5; 16] });
    let group = [put("a", 1), put("b", 1).guarded(taken), damaged, put("d", 1), put("taken", 0)];
    let outcomes = db.commit(&group).expect("committed");
    assert!(matches!(outcomes[0], Ok(Outcome::Applied(_))));
    assert_eq!(outcomes[1], Ok(Outcome::Refused { guard: 0 }));
    assert!(matches!(outcomes[2], Err(StoreError::Damaged { table: Table::Counter, .. })));
    assert!(matches!(outcomes[3], Ok(Outcome::Applied(_))));
    assert!(
        matches!(&outcomes[4], Ok(Outcome::Applied(applied)) if applied.superseded_by == Some(Stamp(1)))
    );
    let there = ["a", "b", "c", "d", "taken"].map(|name| payload(&db, name).is_some());
    assert_eq!(there, [true, false, false, true, true]);
}

#[test]
fn batches_of_one_group_see_each_other() {
    let db = open(&Disk::default());
    let absent = || Guard::Absent { table: Table::Object, key: key("a") };
    let group = [put("a", 1).guarded(absent()), put("a", 2).guarded(absent())];
    let outcomes = db.commit(&group).expect("committed");
    assert_eq!(outcomes[1], Ok(Outcome::Refused { guard: 0 }));
    assert_eq!(payload(&db, "a").as_deref(), Some("a 1"));
}

#[test]
fn cursors_walk_a_range_in_order() {
    let db = open(&Disk::default());
    db.commit(&["c", "a", "d", "b"].map(|name| put(name, 1))).expect("committed");
    let snapshot = db.snapshot().expect("a snapshot");
    let walk = |from: &str, until: Option<&str>| {
        let until = until.map(key);
        let cursor = snapshot.cursor(Table::Object, &key(from), until.as_deref());
        let mut cursor = cursor.expect("a cursor");
        let mut found = String::new();
        while cursor.advance().expect("a row") {
            found.push(char::from(*cursor.key().last().expect("a key")));
        }
        found
    };
    assert_eq!(walk("b", None), "bcd");
    assert_eq!(walk("a", Some("c")), "ab");
    assert_eq!(walk("c", Some("c")) + &walk("d", Some("b")), "");
}

#[test]
fn a_failing_disk_is_an_error_and_not_a_success() {
    let disk = Disk::default();
    let db = open(&disk);
    db.commit(&[put("a", 1)]).expect("committed");
    disk.bytes().1 = true;
    assert!(matches!(db.commit(&[put("b", 1)]), Err(StoreError::Engine(_))));
    disk.bytes().1 = false;
    let again = db.commit(&[put("c", 1)]);
    assert!(matches!(again, Err(StoreError::Engine(_))), "not before it was opened again");
    drop(db);
    assert_eq!(payload(&open(&disk), "a").as_deref(), Some("a 1"));
    disk.bytes().1 = true;
    let error = Db::open(disk.clone(), CACHE, DELAYS).expect_err("the disk fails");
    assert!(matches!(error, OpenError::Disk(_)), "{error}");
}

/// A redb file with this marker in a table of our name, or without one.
fn marked(marker: Option<&str>) -> Disk {
    let disk = Disk::default();
    let database = Builder::new().create_with_backend(disk.clone()).expect("a database");
    let transaction = database.begin_write().expect("a transaction");
    if let Some(marker) = marker {
        let mut meta = transaction.open_table(definition(Table::Meta)).expect("a table");
        meta.insert(FORMAT_KEY, marker.as_bytes()).expect("a row");
    } else {
        transaction.open_table(TableDefinition::<u64, u64>::new("theirs")).expect("a table");
    }
    transaction.commit().expect("committed");
    drop(database);
    disk
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let text = Disk::default();
    text.bytes().0 = b"this is a letter to my aunt".repeat(1000);
    for disk in [marked(None), marked(Some("mice 1")), marked(Some("mews one")), text] {
        let before = disk.bytes().0.clone();
        let error = Db::open(disk.clone(), CACHE, DELAYS).expect_err("it is not ours");
        assert!(matches!(error, OpenError::Foreign(_)), "{error:?}");
        assert!(error.to_string().contains("is the right one"), "{error}");
        if matches!(&before[..4], b"this") {
            assert_eq!(disk.bytes().0, before);
        }
    }
}

#[test]
fn a_creation_that_a_crash_broke_off_is_done_again() {
    let disk = Disk::default();
    drop(Builder::new().create_with_backend(disk.clone()).expect("a database"));
    // As redb leaves it just before it writes its magic number: a header, and room.
    disk.bytes().0[..9].fill(0);
    disk.bytes().0[512..].fill(0);
    assert_eq!(open(&disk).boot(), 1);
    // Anything behind the header, and it is not ours to overwrite.
    disk.bytes().0[..9].fill(0);
    let error = Db::open(disk.clone(), CACHE, DELAYS).expect_err("it is damaged");
    assert!(matches!(error, OpenError::Foreign(_)), "{error:?}");
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let error = Db::open(marked(Some("mews 2")), CACHE, DELAYS).expect_err("it is newer");
    assert_eq!(error, OpenError::Newer { format: 2 });
    assert!(error.to_string().contains("Start the newer Mews"), "{error}");
}

#[test]
fn a_damaged_database_is_reported_with_what_to_do() {
    let disk = Disk::default();
    let db = open(&disk);
    let batches: Vec<_> = (0..200).map(|n| put(&format!("object {n}"), 1)).collect();
    db.commit(&batches).expect("committed");
    drop(db);
    // Everything but the header overwritten.
    disk.bytes().0[4096..].fill(0xa5);
    let error = Db::open(disk.clone(), CACHE, DELAYS).expect_err("it is damaged");
    assert!(matches!(error, OpenError::Damaged(_)), "{error:?}");
    assert!(error.to_string().contains("put back a snapshot"), "{error}");
    // Cut short.
    let cut = Disk::default();
    open(&cut).commit(&batches).expect("committed");
    let half = cut.bytes().0.len() / 2;
    cut.bytes().0.truncate(half);
    let error = Db::open(cut, CACHE, DELAYS).expect_err("it is cut short");
    assert!(matches!(error, OpenError::Damaged(_)), "{error:?}");
}

#[test]
fn databases_and_snapshots_are_shared_by_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Db>();
    shared::<DbSnapshot>();
}

#[test]
fn a_database_from_before_there_were_fingerprints_gets_them_when_it_is_opened() {
    let disk = Disk::default();
    let fingerprints = |db: &Db| {
        let snapshot = db.snapshot().expect("a snapshot");
        let mut cursor = snapshot.cursor(Table::Fingerprint, &[], None).expect("a cursor");
        let mut rows = Vec::new();
        while cursor.advance().expect("a row") {
            rows.push((cursor.key().to_vec(), cursor.value().to_vec()));
        }
        rows
    };
    let db = Db::open(disk.clone(), CACHE, DELAYS).expect("a database");
    let bucket = BucketId([7; 16]);
    let row = ObjectRow {
        version: crate::id::VersionId::new(Stamp::from_wall(Timestamp(1)), [1; 8]),
        content: Content::Deleted,
    };
    let ops = (0..3_u8).map(|name| Op::Merge {
        table: Table::Object,
        key: key::object(bucket, u16::from(name), b"k"),
        value: encode(&row),
        inline: None,
    });
    let batch = Batch::new(Timestamp(1), ops.collect());
    assert!(matches!(db.commit(&[batch]).expect("a commit")[..], [Ok(Outcome::Applied(_))]));
    let before = fingerprints(&db);
    assert_eq!(before.len(), 3);
    // As an earlier release would have left it, and with something stale.
    let transaction = db.database.begin_write().expect("a transaction");
    {
        let mut table = transaction.open_table(definition(Table::Fingerprint)).expect("a table");
        for (key, _) in &before {
            table.remove(&key[..]).expect("removed");
        }
        table.insert(&[0xff; 3][..], &b"stale"[..]).expect("a row");
        let mut meta = transaction.open_table(definition(Table::Meta)).expect("a table");
        meta.remove(FINGERPRINTED_KEY).expect("removed");
    }
    transaction.commit().expect("committed");
    drop(db);
    let db = Db::open(disk.clone(), CACHE, DELAYS).expect("a database");
    assert_eq!(fingerprints(&db), before);
    // Once is enough.
    let transaction = db.database.begin_write().expect("a transaction");
    let mut table = transaction.open_table(definition(Table::Fingerprint)).expect("a table");
    table.remove(&before[0].0[..]).expect("removed");
    drop(table);
    transaction.commit().expect("committed");
    drop(db);
    let db = Db::open(disk, CACHE, DELAYS).expect("a database");
    assert_eq!(fingerprints(&db).len(), 2);
}
