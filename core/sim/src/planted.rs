//! Planting faults to see that they are caught: a checker that nothing can fail checks nothing.

use crate::{
    fault::Fault,
    race,
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

/// Plants a fault and runs seeds until a checker finds something wrong. `None` if none does.
pub fn catch(fault: Fault) -> Option<Caught> {
    let scenario = setup(fault);
    (1..=SEEDS).find_map(|seed| {
        let wrong = if fault == Fault::Pin {
            // Needs a meeting within milliseconds: brought about rather than waited for.
            race::reaped_and_written(seed, &scenario.options).err()
        } else {
            workload::run(seed, &scenario).wrong.into_iter().next()
        };
        wrong.map(|by| Caught { seed, by })
    })
}

/// Most faults show in any run; some need what happens rarely to happen often.
fn setup(fault: Fault) -> Scenario {
    let mut scenario = Scenario { ops: 120, ..Scenario::default() };
    scenario.options.fault = Some(fault);
    if fault == Fault::BlockDelay {
        scenario = Scenario { ops: 300, keys: 2, crash_every: 0, slow_every: 2, ..scenario };
    }
    scenario
}
