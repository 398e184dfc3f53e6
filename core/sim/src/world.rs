//! Virtual time, what will happen in it, and what has happened: one queue of events for all hosts and the network between them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use mews_core::time::{Instant, Timestamp};

use crate::{
    dice::Dice,
    host::{self, Happened},
    net::{self, Out},
    trace::Trace,
};

/// Where virtual time begins: 2025-06-15.
const EPOCH: u64 = 1_750_000_000_000;

/// Something that will happen.
pub enum Event {
    /// In a process on the host of this number; it goes with the process.
    Host(usize, host::Event),
    /// In the network.
    Net(net::Event),
    /// Somebody asked to be woken.
    Wake(u64),
}

/// What was met in a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met {
    /// Effects performed.
    pub effects: u64,
    /// Transactions.
    pub commits: u64,
    /// Clients that went away.
    pub gone: u64,
    /// Kills.
    pub kills: u64,
    /// Power failures.
    pub power: u64,
    /// Messages between nodes.
    pub messages: u64,
    /// Connections between nodes that broke.
    pub resets: u64,
    /// Parts of the network cut off from each other.
    pub partitions: u64,
    /// Links and disks that became slow.
    pub slow: u64,
    /// Disk operations that failed.
    pub disk: u64,
    /// Block files that rotted.
    pub rot: u64,
    /// Nodes that lost all they had.
    pub wipes: u64,
    /// Databases that were put back from a copy.
    pub put_back: u64,
    /// Clocks that were set wrong.
    pub skews: u64,
    /// Layouts applied.
    pub layouts: u64,
    /// Answers that said "not now".
    pub unavailable: u64,
}

impl std::ops::AddAssign for Met {
    fn add_assign(&mut self, more: Self) {
        self.effects += more.effects;
        self.commits += more.commits;
        self.gone += more.gone;
        self.kills += more.kills;
        self.power += more.power;
        self.messages += more.messages;
        self.resets += more.resets;
        self.partitions += more.partitions;
        self.slow += more.slow;
        self.disk += more.disk;
        self.rot += more.rot;
        self.wipes += more.wipes;
        self.put_back += more.put_back;
        self.skews += more.skews;
        self.layouts += more.layouts;
        self.unavailable += more.unavailable;
    }
}

/// The time and the queue.
pub struct World {
    /// The time.
    pub now: Instant,
    /// What happened so far.
    pub trace: Trace,
    /// Chance.
    pub dice: Dice,
    /// What was met so far.
    pub met: Met,
    /// What clients are to learn.
    pub happened: VecDeque<Happened>,
    /// What hosts have given to the network.
    pub out: VecDeque<Out>,
    events: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    handled: u64,
}

impl World {
    /// The beginning of time.
    pub fn new(dice: Dice, keep_trace: bool) -> Self {
        Self {
            now: Instant(0),
            trace: Trace::new(keep_trace),
            dice,
            met: Met::default(),
            happened: VecDeque::new(),
            out: VecDeque::new(),
            events: BTreeMap::new(),
            next_event: 0,
            handled: 0,
        }
    }

    /// True time, which clients go by.
    pub fn true_time(&self) -> Timestamp {
        Timestamp(EPOCH + self.now.0 / 1_000_000)
    }

    /// Lets something happen after this time.
    pub fn schedule(&mut self, wait: Duration, event: Event) {
        let at = self.now.after(wait);
        self.events.insert((at, self.next_event), event);
        self.next_event += 1;
    }

    /// The next event; time goes on to it.
    pub fn pop(&mut self) -> Option<Event> {
        let ((at, _), event) = self.events.pop_first()?;
        self.now = self.now.max(at);
        self.handled += 1;
        Some(event)
    }

    /// Lets what was to happen in a host's process not happen.
    pub fn forget(&mut self, host: usize) {
        self.events.retain(|_, event| !matches!(event, Event::Host(of, _) if *of == host));
    }

    /// How many events have been handled: the places where a crash may come.
    pub fn handled(&self) -> u64 {
        self.handled
    }

    /// When the next event comes.
    pub fn next_at(&self) -> Option<Instant> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    /// How long something takes: mostly short, now and then long enough for everything else to pass it.
    pub fn delay(&mut self) -> Duration {
        let micros = match self.dice.below(16) {
            0..4 => 1,
            4..15 => 50 + self.dice.below(3_000),
            _ => 5_000 + self.dice.below(200_000),
        };
        Duration::from_micros(micros)
    }
}
