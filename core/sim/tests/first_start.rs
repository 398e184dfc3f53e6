//! A crash at any moment of a start, the first one too, leaves a store that starts again.

use mews_sim::{
    cluster::Cluster,
    host::{Crash, Options},
    sim::Sim,
};

/// Starts, and lets the power fail at this step of either disk. Gives whether the start came to its end before.
fn broken_start(cluster: &mut Cluster, step: u64) -> bool {
    let (platter, disk) = (cluster.hosts[0].platter(), cluster.hosts[0].disk());
    platter.stop_at(platter.steps() + step);
    let (database, files) = (platter.steps(), disk.mem.steps());
    disk.mem.fail_at(files + step, true);
    let started = cluster.boot(0).is_ok();
    let whole = platter.steps() < database + step && disk.mem.steps() < files + step;
    cluster.crash(0, Crash::Power);
    started && whole
}

#[test]
fn a_crash_in_the_first_start() {
    for seed in 0..6 {
        for step in 0.. {
            let mut cluster = Cluster::single(seed, &Options::default());
            let whole = broken_start(&mut cluster, step);
            cluster.boot(0).unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
            assert!(step < 1000, "a start of {step} steps?");
            if whole {
                assert!(step > 10, "a start of {step} steps?");
                break;
            }
        }
    }
}

#[test]
fn a_crash_in_a_later_start() {
    for seed in 0..6 {
        for step in (0..60).step_by(2) {
            let mut sim = Sim::new(seed, Options::default()).expect("it starts");
            sim.cluster.crash(0, Crash::Power);
            broken_start(&mut sim.cluster, step);
            sim.boot().unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
            sim.rest().expect("it comes to rest");
            assert_eq!(sim.check(), Vec::<String>::new());
        }
    }
}
