//! The block store's promises, on disks that tear, forget, fill up and fail.

#![allow(clippy::wildcard_enum_match_arm)]

mod crash;
mod dirs;

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{
    Payload,
    chore::{Chore, ChoreReport, Soundness},
    disk::{DirEntry, Disk, DiskError, MemDisk, Space},
    files::{DataDir, DataFsync, Files, FilesError, FilesOptions},
    seal::seal,
};
use crate::{effect::PeerError, id::Hash, seed::Seed, store::StoreError, time::Timestamp};

fn dir(path: &str, capacity: u64) -> DataDir {
    DataDir { path: path.to_owned(), capacity, read_only: false }
}

fn options(fsync: DataFsync) -> FilesOptions {
    FilesOptions { fsync, reserve: Some(0), used_before: false }
}

fn open(disk: &Arc<MemDisk>, dirs: Vec<DataDir>) -> Files {
    Files::open(disk.clone(), dirs, options(DataFsync::Batch)).unwrap()
}

fn one(disk: &Arc<MemDisk>) -> Files {
    open(disk, vec![dir("data", 1)])
}

/// A block that differs from those of other numbers; even ones compress.
fn block(number: u64) -> Payload {
    let mut plain = vec![u8::try_from(number % 251).unwrap(); 3000];
    plain[..8].copy_from_slice(&number.to_le_bytes());
    if number % 2 == 1 {
        let mut seed = Seed::new([u8::try_from(number % 256).unwrap(); 32]);
        plain
            .chunks_mut(32)
            .for_each(|chunk| chunk.copy_from_slice(&seed.bytes::<32>()[..chunk.len()]));
        plain[..8].copy_from_slice(&number.to_le_bytes());
    }
    seal(plain.into(), Some(1))
}

fn blocks(numbers: std::ops::Range<u64>) -> Vec<Payload> {
    numbers.map(block).collect()
}

fn plain_of(payload: &Payload) -> Bytes {
    let (form, stored) = payload.stored();
    super::seal::open(payload.hash(), form, stored.clone(), u32::MAX).unwrap().plain().unwrap()
}

fn stored(files: &Files, blocks: &[Payload]) {
    assert_eq!(files.store(blocks), vec![Ok(()); blocks.len()]);
}

fn none(_: Hash) -> Result<bool, StoreError> {
    Ok(false)
}

fn assert_loads(files: &Files, block: &Payload) {
    let loaded = files.load(block.hash()).unwrap_or_else(|error| panic!("{block:?}: {error}"));
    assert!(loaded.plain() == Some(plain_of(block)), "{block:?} came back different");
}

#[test]
fn a_block_comes_back_whether_compressed_or_not() {
    let disk = Arc::new(MemDisk::new());
    let files = one(&disk);
    stored(&files, &[block(0), block(1), block(0)]);
    assert_loads(&files, &block(0));
    assert_loads(&files, &block(1));
    let names = disk.files();
    assert_eq!(names.len(), 3, "two blocks and the marker: {names:?}");
    assert!(names.iter().any(|name| name.ends_with(&format!("/{}.zst", block(0).hash()))));
    let hex = block(1).hash().to_string();
    assert!(names.contains(&format!("data/blocks/{}/{}/{hex}", &hex[..2], &hex[2..4])));
    assert_eq!(files.load(block(2).hash()), Err(PeerError::Missing));
}

#[test]
fn a_block_stored_again_in_another_form_is_not_stored_twice() {
    let disk = Arc::new(MemDisk::new());
    let files = one(&disk);
    stored(&files, &[block(0)]);
    stored(&files, &[seal(plain_of(&block(0)), None)]);
    assert_eq!(disk.files().len(), 2);
}

fn file_of(disk: &MemDisk, hash: Hash) -> String {
    let name = hash.to_string();
    disk.files().into_iter().find(|file| file.contains(&name)).unwrap()
}

#[test]
fn a_damaged_file_is_set_aside_and_an_upload_heals_it() {
    let disk = Arc::new(MemDisk::new());
    let files = one(&disk);
    for number in [0, 1] {
        let block = block(number);
        stored(&files, std::slice::from_ref(&block));
        let file = file_of(&disk, block.hash());
        disk.damage(&file, |bytes| *bytes.last_mut().unwrap() ^= 1);
        assert_eq!(files.load(block.hash()), Err(PeerError::Corrupt));
        assert_eq!(file_of(&disk, block.hash()), format!("{file}.corrupted"));
        assert_eq!(files.load(block.hash()), Err(PeerError::Missing));
        stored(&files, std::slice::from_ref(&block));
        assert_loads(&files, &block);
    }
}

#[test]
fn an_upload_does_not_rely_on_a_file_that_has_been_damaged() {
    let disk = Arc::new(MemDisk::new());
    let files = one(&disk);
    stored(&files, &blocks(0..2));
    for block in blocks(0..2) {
        disk.damage(&file_of(&disk, block.hash()), |bytes| bytes.truncate(5));
    }
    stored(&files, &blocks(0..2));
    blocks(0..2).iter().for_each(|block| assert_loads(&files, block));
}

#[test]
fn a_file_that_is_being_replaced_is_not_set_aside() {
    let disk = Arc::new(MemDisk::new());
    let files = one(&disk);
    stored(&files, &[block(0)]);
    let file = file_of(&disk, block(0).hash());
    disk.damage(&file, |bytes| bytes.clear());
    let pin = files.pin(block(0).hash());
    assert_eq!(files.load(block(0).hash()), Err(PeerError::Corrupt));
    assert_eq!(file_of(&disk, block(0).hash()), file);
    drop(pin);
}

#[test]
fn reaped_blocks_go_unless_pinned_or_counted_again() {
    let disk = Arc::new(MemDisk::new());
    let files = one(&disk);
    stored(&files, &blocks(0..4));
    disk.damage(&file_of(&disk, block(3).hash()), |bytes| bytes.clear());
    assert_eq!(files.load(block(3).hash()), Err(PeerError::Corrupt));
    let pins = [files.pin(block(0).hash()), files.pin(block(0).hash())];
    let hashes: Vec<Hash> = blocks(0..5).iter().map(Payload::hash).collect();
    let counted = |hash: Hash| Ok(hash == block(1).hash());
    assert_eq!(files.unlink_reaped(&hashes, &counted), Ok(2));
    assert_eq!(disk.files().len(), 3, "blocks 0 and 1, the marker: {:?}", disk.files());
    let [first, second] = pins;
    drop(first);
    assert_eq!(files.unlink_reaped(&hashes[..1], &none), Ok(0));
    drop(second);
    assert_eq!(files.unlink_reaped(&hashes[..1], &none), Ok(1));
    let closed = |_| Err(StoreError::Closed);
    let error = files.unlink_reaped(&hashes, &closed);
    assert_eq!(error, Err(PeerError::Store(StoreError::Closed)));
    assert_loads(&files, &block(1));
}

#[test]
fn orphans_go_only_when_old_uncounted_and_unused() {
    let disk = Arc::new(MemDisk::new());
    let files = one(&disk);
    disk.set_clock(1000);
    stored(&files, &[block(0)]);
    let hash = block(0).hash();
    let remove = |before: u64, counted: bool| {
        let chore = Chore::RemoveOrphan { block: hash, written_before: Timestamp(before) };
        files.chore(&chore, &|_| Ok(counted)).unwrap()
    };
    assert_eq!(remove(1000, false), ChoreReport::Removed(false), "too young");
    assert_eq!(remove(1001, true), ChoreReport::Removed(false), "counted");
    let pin = files.pin(hash);
    assert_eq!(remove(1001, false), ChoreReport::Removed(false), "pinned");
    drop(pin);
    assert_loads(&files, &block(0));
    assert_eq!(remove(1001, false), ChoreReport::Removed(true));
    assert_eq!(remove(1001, false), ChoreReport::Removed(false), "gone already");
    disk.set_clock(1000 + 48 * 3_600_000);
    stored(&files, &[block(0)]);
    assert_eq!(
        remove(1001, false),
        ChoreReport::Removed(true),
        "written by a clock two days ahead"
    );
}

#[test]
fn a_damaged_file_that_cannot_be_set_aside_does_not_hide_a_sound_one() {
    let disk = Arc::new(MemDisk::new());
    stored(&open(&disk, vec![dir("a", 1)]), &blocks(0..1));
    stored(&open(&disk, vec![dir("b", 1)]), &blocks(0..1));
    let files = open(&disk, vec![dir("a", 1), dir("b", 1)]);
    let victim = |dir: &str| disk.files().into_iter().find(|file| file.starts_with(dir)).unwrap();
    disk.damage(&victim("a/blocks/"), |bytes| bytes.clear());
    disk.fail_at(disk.steps(), true);
    assert_loads(&files, &block(0));
    disk.kill();
    disk.damage(&victim("b/blocks/"), |bytes| bytes.clear());
    disk.fail_at(disk.steps(), true);
    assert_eq!(files.load(block(0).hash()), Err(PeerError::Corrupt));
}

#[test]
fn verify_tells_sound_from_damaged_from_missing() {
    let disk = Arc::new(MemDisk::new());
    let files = one(&disk);
    stored(&files, &blocks(0..2));
    disk.damage(&file_of(&disk, block(1).hash()), |bytes| bytes[40] ^= 4);
    let verify = |n| files.chore(&Chore::Verify(block(n).hash()), &none).unwrap();
    assert_eq!(verify(0), ChoreReport::Checked(Soundness::Sound));
    assert_eq!(verify(1), ChoreReport::Checked(Soundness::Damaged));
    assert_eq!(verify(2), ChoreReport::Checked(Soundness::Missing));
}

#[test]
fn an_unmounted_disk_stops_the_start() {
    let disk = Arc::new(MemDisk::new());
    let reopen = |dirs: Vec<DataDir>, used_before| {
        let options = FilesOptions { used_before, ..FilesOptions::default() };
        Files::open(disk.clone(), dirs, options).map(drop)
    };
    assert_eq!(reopen(vec![], false), Err(FilesError::None));
    let twice = Err(FilesError::Twice { path: "a".into() });
    assert_eq!(reopen(vec![dir("a", 1), dir("a", 1)], false), twice);
    assert_eq!(reopen(vec![dir("/mnt/a", 1)], false), Ok(()));
    disk.crash(&mut Seed::new([1; 32]));
    assert_eq!(reopen(vec![dir("/mnt/a", 1)], true), Ok(()));
    let error = reopen(vec![dir("/mnt/a", 1), dir("/mnt/b", 1)], true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "data directory /mnt/b has no marker file: is its disk mounted? If it is a new, empty directory, \
         create the file /mnt/b/mews-marker and start again"
    );
    disk.create_dir("/mnt/b").unwrap();
    disk.create("/mnt/b/mews-marker", b"").unwrap();
    assert_eq!(reopen(vec![dir("/mnt/a", 1), dir("/mnt/b", 1)], true), Ok(()));
}

#[test]
fn a_start_wipes_what_half_finished_writes_left() {
    let disk = Arc::new(MemDisk::new());
    let files = one(&disk);
    disk.fail_at(disk.steps() + 1, true);
    assert!(matches!(files.store(&[block(0)])[0], Err(PeerError::Disk(_))));
    disk.kill();
    assert_eq!(disk.files().iter().filter(|file| file.contains("/tmp/")).count(), 1);
    one(&disk);
    assert_eq!(disk.files(), ["data/mews-marker"]);
}

#[test]
fn the_reserve_is_kept_free_and_a_full_disk_still_deletes() {
    let disk = Arc::new(MemDisk::new());
    disk.set_total(100_000);
    let files = Files::open(disk.clone(), vec![dir("d", 1)], FilesOptions::default()).unwrap();
    let sound: Vec<u64> =
        (0..200).map(|n| 2 * n + 1).take_while(|n| files.store(&[block(*n)])[0].is_ok()).collect();
    let left = disk.space("d").unwrap().available;
    assert!((5_000..8_100).contains(&left), "{left} bytes left of 5 % and less than a block");
    assert_eq!(files.store(&[block(1001), block(1)]), [Err(PeerError::Full), Ok(())]);
    let hashes: Vec<Hash> = sound.iter().map(|n| block(*n).hash()).collect();
    assert_eq!(files.unlink_reaped(&hashes, &none), Ok(sound.len()));
    stored(&files, &[block(1001)]);
}

#[test]
fn a_disk_that_fills_up_midway_loses_nothing() {
    let disk = Arc::new(MemDisk::new());
    let files = one(&disk);
    let small = seal(Bytes::from_static(b"small"), None);
    disk.set_total(4_000);
    // The disk lies about its space, as one does that others use too.
    let lying = Arc::new(Wrapped { disk: disk.clone(), space: 1 << 30, ..Wrapped::default() });
    drop(files);
    let files = Files::open(lying, vec![dir("data", 1)], options(DataFsync::Batch)).unwrap();
    let results = files.store(&[block(1), block(3), small.clone()]);
    assert_eq!(results, [Ok(()), Err(PeerError::Full), Ok(())]);
    assert_loads(&files, &block(1));
    assert_loads(&files, &small);
    assert!(disk.files().iter().all(|file| !file.contains("/tmp/")), "{:?}", disk.files());
}

/// A disk that writes down what it is asked, or lies about its space.
#[derive(Default)]
struct Wrapped {
    disk: Arc<MemDisk>,
    log: Mutex<Vec<String>>,
    space: u64,
}

impl Wrapped {
    fn note(&self, what: &str, paths: &[String]) {
        // Hashes and counters say nothing here: each component is cut to its first four characters.
        let short = |path: &String| {
            path.split('/').map(|part| &part[..part.len().min(4)]).collect::<Vec<_>>().join("/")
        };
        let paths: Vec<String> = paths.iter().map(short).collect();
        self.log.lock().unwrap().push(format!("{what} {}", paths.join(" ")));
    }
}

impl Disk for Wrapped {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.note("create", &[path.to_owned()]);
        self.disk.create(path, bytes)
    }
    fn sync(&self, paths: &[String]) -> Result<(), DiskError> {
        self.note("sync", paths);
        self.disk.sync(paths)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.note("rename", &[to.to_owned()]);
        self.disk.rename(from, to)
    }
    fn sync_dirs(&self, paths: &[String]) -> Result<(), DiskError> {
        self.note("sync_dirs", paths);
        self.disk.sync_dirs(paths)
    }
    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        self.note("create_dir", &[path.to_owned()]);
        self.disk.create_dir(path)
    }
    fn read(&self, path: &str) -> Result<Vec<u8>, DiskError> {
        self.disk.read(path)
    }
    fn stat(&self, path: &str) -> Result<Option<DirEntry>, DiskError> {
        self.disk.stat(path)
    }
    fn unlink(&self, path: &str) -> Result<(), DiskError> {
        self.note("unlink", &[path.to_owned()]);
        self.disk.unlink(path)
    }
    fn list(&self, path: &str) -> Result<Vec<DirEntry>, DiskError> {
        self.disk.list(path)
    }
    fn space(&self, _: &str) -> Result<Space, DiskError> {
        Ok(Space { total: self.space, available: self.space })
    }
}

fn operations(fsync: DataFsync, groups: &[&[Payload]]) -> Vec<String> {
    let disk = Arc::new(Wrapped { space: 1 << 40, ..Wrapped::default() });
    let files = Files::open(disk.clone(), vec![dir("d", 1)], options(fsync)).unwrap();
    disk.log.lock().unwrap().clear();
    groups.iter().for_each(|group| stored(&files, group));
    let log = disk.log.lock().unwrap();
    log.clone()
}

#[test]
fn a_group_shares_its_syncs_in_the_order_that_a_crash_needs() {
    let log = operations(DataFsync::Batch, &[&blocks(0..2), &blocks(0..1)]);
    // 93d5… and 812b… are the blocks' hashes. The second group finds its block there, and may not rely on anybody's sync.
    let expected = "\
create d/tmp/93d5
create d/tmp/812b
sync d/tmp/93d5 d/tmp/812b
rename d/bloc/93/d5/93d5
create_dir d/bloc/93/d5
rename d/bloc/93/d5/93d5
rename d/bloc/81/2b/812b
create_dir d/bloc/81/2b
rename d/bloc/81/2b/812b
sync_dirs d/bloc/81/2b d/bloc/93/d5 d/bloc/81 d/bloc/93 d/bloc
sync d/bloc/93/d5/93d5
sync_dirs d/bloc/93/d5";
    assert_eq!(log.join("\n"), expected);
}

#[test]
fn each_syncs_every_block_for_itself_and_off_syncs_nothing() {
    let each = operations(DataFsync::Each, &[&blocks(0..3)]);
    let count =
        |log: &[String], what: &str| log.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!((count(&each, "sync "), count(&each, "sync_dirs ")), (3, 3));
    let off = operations(DataFsync::Off, &[&blocks(0..3)]);
    assert_eq!((count(&off, "sync"), count(&off, "create d")), (0, 3));
}

#[test]
fn a_failed_sync_acknowledges_nothing_and_leaves_nothing() {
    let disk = Arc::new(MemDisk::new());
    let files = one(&disk);
    // Two creates, then the syncs.
    disk.fail_at(disk.steps() + 3, false);
    for result in files.store(&blocks(0..2)) {
        assert!(matches!(result, Err(PeerError::Disk(_))), "{result:?}");
    }
    assert_eq!(disk.files(), ["data/mews-marker"]);
    stored(&files, &blocks(0..2));
}
