//! A database whose commits do not wait for the disk: a killed process loses nothing, a power failure what came last, and the
//! database opens after either.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use mews_core::{
    id::{BucketId, VersionId},
    seed::Seed,
    store::{
        Batch, Op, Snapshot, Table,
        apply::Delays,
        journal::{self, Log},
        redb::{Db, Replayed},
    },
    table::{
        encode, key,
        object::{Content, Meta, ObjectRow},
    },
    time::{Stamp, Timestamp},
};
use mews_sim::platter::Platter;

/// The journal's bytes as the operating system has them.
#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl Log for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.0.lock().expect("unpoisoned").clear();
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        self.clear()
    }
}

impl File {
    /// After a power failure: a beginning, a page of which may have been lost, or an earlier state.
    fn tear(&self, seed: &mut Seed, before: &[u8]) {
        let mut bytes = self.0.lock().expect("unpoisoned");
        let len = bytes.len() as u64;
        if len == 0 || seed.below(4) == 0 {
            *bytes = before.to_vec();
            return;
        }
        bytes.truncate(usize::try_from(seed.below(len + 1)).expect("small"));
        if seed.below(2) == 0 && !bytes.is_empty() {
            let at = usize::try_from(seed.below(bytes.len() as u64)).expect("small");
            let end = bytes.len().min(at + 512);
            bytes[at..end].fill(0);
        }
    }
}

const BUCKET: BucketId = BucketId([5; 16]);
const DELAYS: Delays = Delays { block: Duration::ZERO, tombstone: Duration::ZERO };

fn open(platter: &Platter) -> Db {
    Db::open(platter.open(), 1 << 20, DELAYS).expect("the database opens")
}

/// The object of this number. Each is counted, so that one applied twice, or half, shows.
fn put(number: u64) -> Batch {
    let version = VersionId::new(Stamp(number + 1), [1; 8]);
    let value = encode(&ObjectRow { version, content: Content::Inline(Meta::default()) });
    let key = key::object(BUCKET, 0, format!("{number:06}").as_bytes());
    let inline = Some(vec![b'x'; 300].into());
    Batch::new(Timestamp(1), vec![Op::Merge { table: Table::Object, key, value, inline }])
}

/// How many objects there are, from the first on without a gap, and that they are counted right.
fn objects(db: &Db) -> u64 {
    let rows = db.snapshot().expect("a snapshot");
    let count = rows.count(Table::Object).expect("readable");
    for number in 0..count {
        let key = key::object(BUCKET, 0, format!("{number:06}").as_bytes());
        assert!(rows.get(Table::Object, &key).expect("readable").is_some(), "{number} of {count}");
    }
    assert_eq!(rows.count(Table::Inline).expect("readable"), count);
    let mut counter = rows.cursor(Table::Counter, &[], None).expect("a cursor");
    let counted = counter.advance().expect("readable").then(|| counter.value().to_vec());
    drop(counter);
    // What the counter says is compared with that of a database which was never killed.
    let never = open(&Platter::default());
    never.commit(&(0..count).map(put).collect::<Vec<_>>()).expect("committed");
    let rows = never.snapshot().expect("a snapshot");
    let mut counter = rows.cursor(Table::Counter, &[], None).expect("a cursor");
    assert_eq!(counted, counter.advance().expect("readable").then(|| counter.value().to_vec()));
    count
}

/// Starts as a daemon does: with what is left of the journal.
fn start(platter: &Platter, file: &File) -> Db {
    let db = open(platter);
    let left = std::mem::take(&mut *file.0.lock().expect("unpoisoned"));
    let replayed = db.replay(&left).expect("it is applied again");
    assert!(matches!(replayed, Replayed::Records(_)), "{replayed:?}");
    db.unsynced(Box::new(file.clone())).expect("the database is fine");
    db
}

#[test]
fn a_killed_process_loses_nothing_and_a_power_failure_what_came_last() {
    let (mut lost, mut replayed) = (0, 0);
    for number in 0..25 {
        let mut seed = Seed::new([number; 32]);
        let (platter, file) = (Platter::default(), File::default());
        let mut db = start(&platter, &file);
        let (mut done, mut synced, mut before) = (0, 0, Vec::new());
        for _ in 0..4 {
            for _ in 0..seed.below(12) {
                let group: Vec<Batch> = (0..=seed.below(3)).map(|more| put(done + more)).collect();
                db.commit(&group).expect("committed");
                done += group.len() as u64;
                if seed.below(6) == 0 {
                    before.clone_from(&file.0.lock().expect("unpoisoned"));
                    db.checkpoint().expect("the disk works");
                    synced = done;
                }
            }
            let power = seed.below(2) == 0;
            // Neither is closed in order: the process is gone.
            if power {
                platter.crash(&mut seed);
                file.tear(&mut seed, &before);
            } else {
                platter.kill();
                replayed += done - synced;
            }
            drop(db);
            db = start(&platter, &file);
            let left = objects(&db);
            if power {
                assert!((synced..=done).contains(&left), "{synced} <= {left} <= {done}");
                lost += done - left;
            } else {
                assert_eq!(left, done, "seed {number}");
            }
            (done, synced, before) = (left, left, Vec::new());
        }
    }
    assert!(lost > 20 && replayed > 20, "nothing was tried: {lost} lost, {replayed} replayed");
}

#[test]
fn a_journal_that_goes_on_where_the_database_never_was_is_not_applied() {
    let (platter, file) = (Platter::default(), File::default());
    let db = start(&platter, &file);
    db.commit(&[put(0)]).expect("committed");
    db.checkpoint().expect("the disk works");
    db.commit(&[put(1)]).expect("committed");
    let journal = file.0.lock().expect("unpoisoned").clone();
    let other = open(&Platter::default());
    assert_eq!(other.replay(&journal), Ok(Replayed::Foreign));
    assert_eq!(objects(&other), 0);
    // And whatever stands there that is none does nothing.
    assert_eq!(other.replay(b"not a journal"), Ok(Replayed::Records(0)));
    assert_eq!(journal::open(b"not a journal", "here"), None);
}

#[test]
fn after_the_journal_has_ended_commits_wait_for_the_disk() {
    let (platter, file) = (Platter::default(), File::default());
    let db = start(&platter, &file);
    db.commit(&[put(0)]).expect("committed");
    assert!(db.is_unsynced());
    db.end_journal().expect("the disk works");
    assert!(!db.is_unsynced() && file.0.lock().expect("unpoisoned").is_empty());
    db.commit(&[put(1)]).expect("committed");
    platter.crash(&mut Seed::new([1; 32]));
    drop(db);
    assert_eq!(objects(&open(&platter)), 2);
}
