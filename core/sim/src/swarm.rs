//! How a run of a whole cluster is set up. Each seed chooses which features and which faults it has at all, and how much of them:
//! runs that lack most faults find what runs with all of them hide (Groce et al., Swarm Testing, 2012).

use std::time::Duration;

use mews_core::view::Config;

use crate::{
    clients::Habits, database::Engine, dice::Dice, fault::Fault, host::Options, net::Weather,
};

/// A setup of a run of a cluster.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The machines.
    pub options: Options,
    /// The zone of each host that has a role from the beginning.
    pub zones: Vec<usize>,
    /// Hosts without a role at first, for layouts to come.
    pub spare: usize,
    /// How many of the hosts (the last ones) are gateways.
    pub gateways: usize,
    /// Copies of everything.
    pub replication: u16,
    /// The network.
    pub weather: Weather,
    /// What clients like to do.
    pub habits: Habits,
    /// Clients.
    pub clients: u64,
    /// Clients, beside them, that create and delete buckets.
    pub founders: u64,
    /// Requests in all.
    pub ops: u64,
    /// The longest pause of a client between two requests.
    pub pause: Duration,
    /// One client of so many leaves before its answer; 0 for none.
    pub leave_every: u64,
    /// One client of so many reads its answer slowly; 0 for none.
    pub slow_every: u64,
    /// About how long it is from one fault to the next; zero for none at all.
    pub fault_every: Duration,
    /// Which faults come, each as often as it stands here.
    pub faults: Vec<Trouble>,
    /// How far wall clocks may be off, in milliseconds.
    pub skew: u64,
    /// How long a host that went down stays down at most.
    pub down: Duration,
    /// How many hosts may be down or cut off at a time.
    pub down_max: usize,
    /// If not zero, the run is of another kind: no clients and no faults, but so many blocks in each partition and a layout that moves
    /// some of them. See [`rebalance`](crate::storm::run).
    pub fill: usize,
    /// Whether the end includes a night and a look at everything: it costs as much as some hundred requests.
    pub night: bool,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A process is killed.
    Kill,
    /// The power of a host fails.
    Power,
    /// A part of the hosts is cut off.
    Cut,
    /// One host does not reach another, which reaches it.
    OneWay,
    /// A connection breaks.
    Reset,
    /// A link becomes slow.
    SlowLink,
    /// A disk becomes slow.
    SlowDisk,
    /// An operation of a disk fails.
    Disk,
    /// A clock is set wrong.
    Skew,
    /// A block's file rots.
    Rot,
    /// A host loses its disks.
    Wipe,
    /// A layout is applied.
    Layout,
    /// A host's database is put back from a copy.
    PutBack,
}

impl Trouble {
    /// Every one.
    pub const ALL: [Self; 13] = [
        Self::Kill,
        Self::Power,
        Self::Cut,
        Self::OneWay,
        Self::Reset,
        Self::SlowLink,
        Self::SlowDisk,
        Self::Disk,
        Self::Skew,
        Self::Rot,
        Self::Wipe,
        Self::Layout,
        Self::PutBack,
    ];

    /// Its name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Power => "power",
            Self::Cut => "cut",
            Self::OneWay => "one-way",
            Self::Reset => "reset",
            Self::SlowLink => "slow-link",
            Self::SlowDisk => "slow-disk",
            Self::Disk => "disk",
            Self::Skew => "skew",
            Self::Rot => "rot",
            Self::Wipe => "wipe",
            Self::Layout => "layout",
            Self::PutBack => "put-back",
        }
    }

    /// The trouble of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trouble| trouble.name() == name)
    }
}

/// Whether a seed has databases put back: some, and none that was kept before there was this trouble.
fn puts_back(seed: u64) -> bool {
    [6, 7, 11].contains(&(seed % 13))
}

/// How many clients found buckets with a seed: some, and none with one that was kept before there were any.
fn founders(seed: u64) -> u64 {
    if [2, 6].contains(&(seed % 7)) { 3 } else { 0 }
}

impl Plan {
    /// What `seed` chooses.
    pub fn of(seed: u64, ops: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x7377_6172_6d00);
        let replication = dice.pick(&[3, 3, 3, 3, 3, 3, 2, 1, 5]);
        let least = usize::from(replication);
        let storage = least + dice.index(3);
        let gateways = if dice.one_in(4) { 1 } else { 0 };
        let spare = if dice.one_in(3) { 1 } else { 0 };
        let zones = match dice.below(3) {
            0 => 1,
            1 => least.min(3),
            _ => storage,
        };
        let hosts = storage + gateways;
        let zones: Vec<usize> = (0..hosts).map(|host| host % zones).collect();
        let mut faults: Vec<Trouble> = Trouble::ALL
            .into_iter()
            .filter(|trouble| *trouble != Trouble::PutBack && dice.one_in(2))
            .collect();
        faults.extend(puts_back(seed).then_some(Trouble::PutBack));
        let quiet = dice.one_in(10);
        let config = config(&mut dice);
        let habits = Habits {
            keys: dice.pick(&[1, 3, 6, 12, 40]),
            repeat_every: dice.pick(&[0, 3, 10]),
            pool: dice.range(1, 3),
            blocks_max: dice.pick(&[2, 4, 8]),
            small_only: dice.one_in(3),
            block: u64::from(config.block_size),
            inline: u64::from(config.inline_max),
        };
        let engine = if dice.one_in(24) { Engine::Redb } else { Engine::Map };
        let far = dice.pick(&[500, 2_000, 10_000, 50_000]);
        // Now and then work goes on for so long that what was deleted at its beginning is forgotten before its end.
        let slow = Dice::new(seed ^ 0x736c_6f77).one_in(10);
        Self {
            options: Options { config, engine, alone: false, fault: None, keep_trace: false },
            zones,
            spare,
            gateways,
            replication,
            weather: Weather {
                far,
                near: 200,
                late_every: dice.pick(&[0, 16, 200]),
                reset_every: dice.pick(&[0, 0, 200, 2_000]),
            },
            habits,
            clients: dice.range(3, 10),
            founders: founders(seed),
            ops,
            pause: Duration::from_millis(dice.pick(&[5, 30, 200]) * if slow { 100 } else { 1 }),
            leave_every: dice.pick(&[0, 12, 40]),
            slow_every: dice.pick(&[0, 0, 30]),
            fault_every: if quiet {
                Duration::ZERO
            } else {
                Duration::from_millis(dice.pick(&[300, 1_000, 4_000]) * if slow { 20 } else { 1 })
            },
            faults,
            skew: dice.pick(&[0, 50, 3_000, 60_000]),
            down: Duration::from_millis(dice.pick(&[500, 5_000, 30_000])),
            down_max: (least - 1).div_ceil(2).max(1) + dice.index(2),
            fill: 0,
            night: dice.one_in(4),
        }
    }

    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        self.zones.len() + self.spare
    }

    /// Plants a fault.
    #[must_use]
    pub fn with(mut self, fault: Option<Fault>) -> Self {
        self.options.fault = fault;
        self
    }
}

fn config(dice: &mut Dice) -> Config {
    Config {
        // Small blocks make many.
        block_size: dice.pick(&[1 << 10, 4 << 10]),
        inline_max: dice.pick(&[64, 512]),
        index_shards: dice.pick(&[1, 4, 16]),
        compression: dice.pick(&[None, None, Some(1)]),
        // Longer than a slow client takes for an object.
        block_delay: Duration::from_secs(dice.pick(&[30, 60])),
        // What is on its way may be a minute old when it arrives, by a clock that is a minute off at each end. A tombstone is to
        // outlive that, as it does where it is remembered for a day.
        tombstone_delay: Duration::from_secs(dice.pick(&[300, 600])),
        ..Config::default()
    }
}
