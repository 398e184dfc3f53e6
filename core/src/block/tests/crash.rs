//! The block store against power failures and kills at every step.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// A block stored by `store` and not yet reaped: it must be readable for ever after.
type Acknowledged = std::collections::BTreeSet<u64>;

/// One thing that happens to the store.
#[derive(Clone, Debug)]
enum Step {
    Store(Vec<u64>),
    Reap(u64),
    Rebalance(u64),
    /// The process ends and is started again; with power failure, unsynced state is lost.
    Restart {
        power_failure: bool,
    },
}

const NUMBERS: std::ops::Range<u64> = 0..6;

/// Sealing the same blocks thousands of times would be most of the work.
fn cached(number: u64) -> (Payload, Bytes) {
    static BLOCKS: LazyLock<Vec<(Payload, Bytes)>> = LazyLock::new(|| {
        NUMBERS.map(block).map(|block| (block.clone(), plain_of(&block))).collect()
    });
    BLOCKS[usize::try_from(number).unwrap()].clone()
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(NUMBERS, 1..4).prop_map(Step::Store),
        1 => NUMBERS.prop_map(Step::Reap),
        1 => NUMBERS.prop_map(Step::Rebalance),
        2 => any::<bool>().prop_map(|power_failure| Step::Restart { power_failure }),
    ]
}

struct World {
    disk: Arc<MemDisk>,
    files: Files,
    fsync: DataFsync,
    acknowledged: Acknowledged,
    seed: Seed,
}

impl World {
    fn new(fsync: DataFsync, seed: u8) -> Self {
        let disk = Arc::new(MemDisk::new());
        let files = Self::open(&disk, fsync, false);
        Self { disk, files, fsync, acknowledged: Acknowledged::new(), seed: Seed::new([seed; 32]) }
    }

    fn open(disk: &Arc<MemDisk>, fsync: DataFsync, used_before: bool) -> Files {
        let options = FilesOptions { fsync, reserve: Some(0), used_before };
        let dirs = vec![dir("a", 3), dir("b", 1), dir("c", 2)];
        Files::open(disk.clone(), dirs, options).unwrap()
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Store(numbers) => {
                let group: Vec<Payload> = numbers.iter().map(|n| cached(*n).0).collect();
                for (number, result) in numbers.iter().zip(self.files.store(&group)) {
                    if result.is_ok() {
                        self.acknowledged.insert(*number);
                    }
                }
            }
            Step::Reap(number) => {
                // From the moment it is tried, nobody may count on the block.
                self.acknowledged.remove(number);
                let _ = self.files.unlink_reaped(&[cached(*number).0.hash()], &none);
            }
            Step::Rebalance(number) => {
                let _ = self.files.chore(&Chore::Rebalance(cached(*number).0.hash()), &none);
            }
            Step::Restart { power_failure } => self.restart(*power_failure),
        }
    }

    fn restart(&mut self, power_failure: bool) {
        if power_failure {
            self.disk.crash(&mut self.seed);
        } else {
            self.disk.kill();
        }
        self.files = Self::open(&self.disk, self.fsync, true);
        self.check();
    }

    fn check(&self) {
        for number in NUMBERS {
            let (block, plain) = cached(number);
            match self.files.load(block.hash()) {
                Ok(loaded) => {
                    assert!(loaded.plain() == Some(plain), "{number}: half a block");
                }
                Err(error) => {
                    let lost = self.acknowledged.contains(&number);
                    assert!(!lost, "{number} was acknowledged: {error}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Power fails at one step after the other of the same history; it also fails, or the process is killed, within it.
    #[test]
    fn what_was_acknowledged_survives_a_power_failure_at_any_step(
        history in proptest::collection::vec(step(), 1..8),
        seed in any::<u8>(),
        each in any::<bool>(),
    ) {
        let fsync = if each { DataFsync::Each } else { DataFsync::Batch };
        let mut whole = World::new(fsync, seed);
        let first = whole.disk.steps();
        history.iter().for_each(|step| whole.run(step));
        for crash_at in first..=whole.disk.steps() {
            let mut world = World::new(fsync, seed);
            for step in &history {
                // A restart within the history ends the failure of an earlier try: it is set again.
                if world.disk.steps() <= crash_at {
                    world.disk.fail_at(crash_at, true);
                }
                if matches!(step, Step::Restart { .. }) {
                    world.disk.kill();
                }
                world.run(step);
                if world.disk.steps() > crash_at {
                    break;
                }
            }
            world.restart(true);
            world.restart(true);
        }
    }

    /// With `off`, a kill of the process (at any step) loses nothing, though a power failure may.
    #[test]
    fn unsynced_blocks_survive_a_kill(
        history in proptest::collection::vec(step(), 1..6),
    ) {
        let kills_only = |step: &Step| !matches!(step, Step::Restart { power_failure: true });
        let mut whole = World::new(DataFsync::Off, 0);
        let first = whole.disk.steps();
        let history: Vec<&Step> = history.iter().filter(|step| kills_only(step)).collect();
        history.iter().for_each(|step| whole.run(step));
        for kill_at in first..=whole.disk.steps() {
            let mut world = World::new(DataFsync::Off, 0);
            world.disk.fail_at(kill_at, true);
            for step in history.iter().filter(|step| !matches!(step, Step::Restart { .. })) {
                world.run(step);
            }
            world.restart(false);
        }
    }
}

/// The disk's promise is really needed: without syncs, the same checker sees losses.
#[test]
fn the_checker_sees_what_a_missing_sync_costs() {
    let lost = (0..32).filter(|seed| {
        let mut world = World::new(DataFsync::Off, *seed);
        world.run(&Step::Store(vec![0, 1, 2]));
        world.disk.crash(&mut world.seed);
        let files = World::open(&world.disk, DataFsync::Off, true);
        NUMBERS.take(3).any(|number| files.load(block(number).hash()).is_err())
    });
    assert!(lost.count() > 16);
}

/// A file may be there since a time when nothing was synced: finding it is not enough.
#[test]
fn a_block_found_from_a_time_without_syncs_is_made_durable() {
    for seed in 0..32 {
        let mut world = World::new(DataFsync::Off, seed);
        world.run(&Step::Store(vec![0, 1, 2]));
        world.fsync = DataFsync::Batch;
        world.acknowledged.clear();
        world.restart(false);
        world.run(&Step::Store(vec![0, 1]));
        assert_eq!(world.acknowledged.len(), 2);
        world.restart(true);
    }
}
