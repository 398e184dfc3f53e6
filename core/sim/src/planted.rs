//! Planting faults to see that they are caught: a checker that nothing can fail checks nothing.
//!
//! Which fault proves which checker:
//!
//! | checker | where | proven by |
//! |---|---|---|
//! | read-after-write, by any client | `history::read` | quorum-of-one, recovering, starts, outdated |
//! | list-after-write, by any client; what was seen is seen again | `history::listed` | read-repair |
//! | no acknowledged object lost, nothing broken | `storm::read_all` | fencing |
//! | no resurrection | `history::read` | early-forget |
//! | replicas equal, byte for byte | `agree::differences` | sync |
//! | references equal to blocks | `check::references`, `local` | references, fetch |
//! | counters equal to a recount | `check::counters` | counters |
//! | a name has one winner; a deleted bucket takes nothing with it | `order::find` | promises, seal |

use crate::{
    fault::Fault,
    race,
    scenario::Fixed,
    scripts::{self, Script},
    storm,
    workload::{self, Scenario},
};

/// Seeds that a fault is given to show itself.
const SEEDS: u64 = 40;

/// How a fault was caught.
#[derive(Clone, Debug)]
pub struct Caught {
    /// With which seed.
    pub seed: u64,
    /// What was found wrong first.
    pub by: String,
}

/// A fault, and where it has to show.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// The fault.
    pub fault: Fault,
    setting: Setting,
}

#[derive(Clone, Copy, Debug)]
enum Setting {
    /// One machine.
    Alone,
    /// A cluster; beside these lines of a scenario all is as the seed chooses.
    Cluster(&'static [(&'static str, &'static str)]),
    /// A cluster in which what has to meet is brought together.
    Scripted(Script),
}

const fn alone(fault: Fault) -> Planted {
    Planted { fault, setting: Setting::Alone }
}

const fn cluster(fault: Fault, lines: &'static [(&'static str, &'static str)]) -> Planted {
    Planted { fault, setting: Setting::Cluster(lines) }
}

const fn scripted(fault: Fault, script: Script) -> Planted {
    Planted { fault, setting: Setting::Scripted(script) }
}

/// Every fault in every setting that it has to be caught in.
pub const ALL: [Planted; 29] = [
    alone(Fault::DatabaseSync),
    alone(Fault::FileSync),
    alone(Fault::DirectorySync),
    alone(Fault::EarlyAnswer),
    alone(Fault::EarlyBlockAnswer),
    alone(Fault::RowsBeforeFile),
    alone(Fault::Pin),
    alone(Fault::BlockDelay),
    alone(Fault::Guards),
    alone(Fault::References),
    alone(Fault::Tombstones),
    alone(Fault::Intents),
    alone(Fault::Payloads),
    alone(Fault::StaleReads),
    alone(Fault::Counters),
    alone(Fault::Queue),
    cluster(Fault::QuorumOfOne, &[("faults", "cut, kill"), ("night", "no")]),
    cluster(Fault::EarlyAnswer, &[("faults", "power"), ("night", "no")]),
    cluster(Fault::Sync, &[("faults", "kill"), ("night", "no")]),
    cluster(Fault::EarlyForget, &[("faults", "kill"), ("keys", "3"), ("night", "no")]),
    cluster(Fault::Fetch, &[("faults", "kill"), ("small_only", "no"), ("night", "yes")]),
    scripted(Fault::Fencing, scripts::NAMED_TOO_LATE),
    cluster(
        Fault::Seal,
        &[("faults", "kill"), ("founders", "6"), ("clients", "1"), ("night", "no")],
    ),
    cluster(
        Fault::Promises,
        &[("faults", "kill"), ("founders", "6"), ("clients", "1"), ("night", "no")],
    ),
    cluster(
        Fault::ReadRepair,
        &[("faults", "cut, kill"), ("keys", "1"), ("small_only", "yes"), ("night", "no")],
    ),
    scripted(Fault::Outdated, scripts::SLEPT_THROUGH_A_CHANGE),
    scripted(Fault::Offload, scripts::SLOW_TO_FETCH),
    cluster(Fault::Recovering, &[("faults", "wipe, kill"), ("night", "no")]),
    cluster(
        Fault::Starts,
        &[
            ("faults", "put-back, kill"),
            ("fault_every_ms", "150"),
            ("down_ms", "150"),
            ("ops", "300"),
            ("keys", "40"),
            ("small_only", "yes"),
            ("night", "no"),
        ],
    ),
];

impl Planted {
    /// Where it has to show, in words.
    pub fn place(&self) -> &'static str {
        match self.setting {
            Setting::Alone => "alone",
            Setting::Cluster(_) | Setting::Scripted(_) => "cluster",
        }
    }

    /// Plants the fault and runs seeds until a checker finds something wrong that is not found without it. `None` if none does.
    pub fn catch(&self) -> Option<Caught> {
        (1..=SEEDS).find_map(|seed| {
            let by = self.wrong(seed, Some(self.fault))?;
            self.wrong(seed, None).is_none().then_some(Caught { seed, by })
        })
    }

    /// What is found wrong with a seed, with the fault and without it.
    pub fn about(&self, seed: u64) -> String {
        let [with, without] = [Some(self.fault), None].map(|fault| self.wrong(seed, fault));
        let text = |wrong: Option<String>| wrong.unwrap_or_else(|| "nothing".to_owned());
        format!("{} is wrong, and without it {}", text(with), text(without))
    }

    /// What is found wrong first in a run.
    fn wrong(&self, seed: u64, fault: Option<Fault>) -> Option<String> {
        match self.setting {
            Setting::Alone => alone_with(seed, self.fault, fault),
            Setting::Scripted(script) => scripts::play(script, seed, fault),
            Setting::Cluster(lines) => {
                let fixed = lines.iter().fold(small(), |all, (name, value)| all.with(name, value));
                match fixed.plan(seed) {
                    Ok(plan) => storm::run(seed, &plan.with(fault)).wrong.into_iter().next(),
                    Err(error) => panic!("a scenario of this file: {error}"),
                }
            }
        }
    }
}

/// A cluster of three and some work.
fn small() -> Fixed {
    let lines = [
        ("ops", "150"),
        ("replication", "3"),
        ("hosts", "3"),
        ("gateways", "0"),
        ("spare", "0"),
        ("founders", "0"),
        ("fault_every_ms", "500"),
        ("down_ms", "2000"),
    ];
    lines.into_iter().fold(Fixed::default(), |all, (name, value)| all.with(name, value))
}

/// Most faults show in any run; some need what happens rarely to happen often.
fn alone_with(seed: u64, shown: Fault, fault: Option<Fault>) -> Option<String> {
    let mut scenario = Scenario { ops: 120, ..Scenario::default() };
    scenario.options.fault = fault;
    if shown == Fault::Pin {
        // Needs a meeting within milliseconds: brought about rather than waited for.
        return race::reaped_and_written(seed, &scenario.options).err();
    }
    if shown == Fault::BlockDelay {
        scenario = Scenario { ops: 300, keys: 2, crash_every: 0, slow_every: 2, ..scenario };
    }
    workload::run(seed, &scenario).wrong.into_iter().next()
}
