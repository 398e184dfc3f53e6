//! Random work with crashes: everything that clients were told holds, and everything on the disks fits together.

use mews_sim::workload::{self, Scenario};

#[test]
fn a_few_seeds_hold() {
    let scenario = Scenario::default();
    let (mut kills, mut power) = (0, 0);
    for seed in 1..=12 {
        let report = workload::run(seed, &scenario);
        assert!(report.wrong.is_empty(), "seed {seed}: {}", report.wrong.join("\n"));
        kills += report.met.kills;
        power += report.met.power;
    }
    assert!(kills > 5 && power > 20, "{kills} kills, {power} power failures: too few to tell");
}
