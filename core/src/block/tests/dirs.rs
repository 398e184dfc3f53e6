//! Several data directories.

use super::*;

fn list(files: &Files, after: Option<Hash>, limit: usize) -> Vec<Hash> {
    match files.chore(&Chore::List { after, limit }, &none).unwrap() {
        ChoreReport::Files(hashes) => hashes,
        other => panic!("{other:?}"),
    }
}

fn count_in(disk: &MemDisk, dir: &str) -> usize {
    let prefix = format!("{dir}/blocks/");
    disk.files().iter().filter(|file| file.starts_with(&prefix)).count()
}

/// Small, so that many are quickly made.
fn tiny(number: u64) -> Payload {
    seal(number.to_le_bytes().to_vec().into(), None)
}

#[test]
fn blocks_are_spread_by_capacity() {
    let disk = Arc::new(MemDisk::new());
    let files = open(&disk, vec![dir("a", 300 << 30), dir("b", 100 << 30)]);
    let blocks: Vec<Payload> = (0..1000).map(tiny).collect();
    stored(&files, &blocks);
    let in_a = count_in(&disk, "a");
    assert!((700..800).contains(&in_a), "{in_a} of 1000 where 750 are expected");
}

#[test]
fn a_new_directory_takes_its_share_and_moves_nothing_else() {
    let disk = Arc::new(MemDisk::new());
    let blocks: Vec<Payload> = (0..300).map(tiny).collect();
    stored(&open(&disk, vec![dir("a", 1), dir("b", 1)]), &blocks);
    let before = (count_in(&disk, "a"), count_in(&disk, "b"));
    let files = open(&disk, vec![dir("a", 1), dir("b", 1), dir("c", 1)]);
    let moved = blocks.iter().filter(|block| {
        let report = files.chore(&Chore::Rebalance(block.hash()), &none).unwrap();
        report == ChoreReport::Moved(true)
    });
    let moved = moved.count();
    assert!((70..130).contains(&moved), "{moved} of 300 where 100 are expected");
    assert_eq!(count_in(&disk, "c"), moved, "nothing moved between the old directories");
    assert_eq!(count_in(&disk, "a") + count_in(&disk, "b"), before.0 + before.1 - moved);
    blocks.iter().for_each(|block| assert_loads(&files, block));
    let again = files.chore(&Chore::Rebalance(blocks[0].hash()), &none);
    assert_eq!(again, Ok(ChoreReport::Moved(false)));
}

#[test]
fn a_read_only_directory_is_read_and_reaped_and_drained_but_not_written() {
    let disk = Arc::new(MemDisk::new());
    stored(&open(&disk, vec![dir("a", 1)]), &blocks(0..4));
    let read_only = DataDir { read_only: true, ..dir("a", 1000) };
    let files = open(&disk, vec![read_only, dir("b", 1)]);
    stored(&files, &blocks(4..8));
    assert_eq!((count_in(&disk, "a"), count_in(&disk, "b")), (4, 4));
    stored(&files, &blocks(0..1));
    assert_eq!(count_in(&disk, "b"), 4, "what is there already is not stored again");
    assert_eq!(files.unlink_reaped(&[block(0).hash()], &none), Ok(1));
    for block in blocks(1..8) {
        assert_loads(&files, &block);
        files.chore(&Chore::Rebalance(block.hash()), &none).unwrap();
        assert_loads(&files, &block);
    }
    assert_eq!((count_in(&disk, "a"), count_in(&disk, "b")), (0, 7));
}

#[test]
fn nothing_but_read_only_directories_means_full() {
    let disk = Arc::new(MemDisk::new());
    stored(&one(&disk), &blocks(0..1));
    let files = open(&disk, vec![DataDir { read_only: true, ..dir("data", 1) }]);
    assert_eq!(files.store(&blocks(0..2)), [Ok(()), Err(PeerError::Full)]);
}

#[test]
fn a_block_in_use_is_copied_and_keeps_its_old_file_until_later() {
    let disk = Arc::new(MemDisk::new());
    stored(&open(&disk, vec![dir("a", 1)]), &blocks(0..1));
    let read_only = DataDir { read_only: true, ..dir("a", 1) };
    let files = open(&disk, vec![read_only, dir("b", 1)]);
    let hash = block(0).hash();
    let pin = files.pin(hash);
    files.chore(&Chore::Rebalance(hash), &none).unwrap();
    assert_eq!((count_in(&disk, "a"), count_in(&disk, "b")), (1, 1));
    drop(pin);
    assert_eq!(files.chore(&Chore::Rebalance(hash), &none), Ok(ChoreReport::Moved(true)));
    assert_eq!((count_in(&disk, "a"), count_in(&disk, "b")), (0, 1));
}

#[test]
fn a_damaged_copy_does_not_hide_a_sound_one() {
    let disk = Arc::new(MemDisk::new());
    stored(&open(&disk, vec![dir("a", 1)]), &blocks(0..1));
    stored(&open(&disk, vec![dir("b", 1)]), &blocks(0..1));
    let files = open(&disk, vec![dir("a", 1), dir("b", 1)]);
    let victim = disk.files().into_iter().find(|file| file.starts_with("a/blocks/")).unwrap();
    disk.damage(&victim, |bytes| bytes.clear());
    assert_loads(&files, &block(0));
}

#[test]
fn listing_gives_every_block_once_in_order_of_hash() {
    let disk = Arc::new(MemDisk::new());
    let files = open(&disk, vec![dir("a", 1), dir("b", 1)]);
    let blocks: Vec<Payload> = (0..300).map(tiny).collect();
    stored(&files, &blocks);
    // The same block in both directories, a set-aside one, and files that are none of ours.
    stored(&open(&disk, vec![dir("a", 1)]), &blocks[..20]);
    disk.damage(&file_of(&disk, blocks[200].hash()), |bytes| bytes.clear());
    assert_eq!(files.load(blocks[200].hash()), Err(PeerError::Corrupt));
    let leaf = file_of(&disk, blocks[7].hash());
    let leaf = leaf.rsplit_once('/').unwrap().0;
    disk.create(&format!("{leaf}/README"), b"").unwrap();
    disk.create(&format!("{leaf}/{}.txt", blocks[7].hash()), b"").unwrap();
    disk.create(&format!("{leaf}/{}", Hash([0x5a; 32])), b"in the wrong folder").unwrap();
    let mut expected: Vec<Hash> = blocks.iter().map(Payload::hash).collect();
    expected.sort_unstable();
    for limit in [1, 7, 299, 300, 1000] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = list(&files, after, limit);
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(*last);
            found.extend(page);
            if limit == 1 && found.len() == 40 {
                break;
            }
        }
        assert_eq!(found, expected[..found.len()]);
        assert!(limit == 1 || found.len() == 300);
    }
}
