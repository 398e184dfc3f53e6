//! The same seed gives the same run, down to the last byte of the database.

use mews_sim::{
    host::Options,
    sim::Sim,
    workload::{self, Scenario},
};

#[test]
fn two_runs_of_one_seed_have_one_trace() {
    let scenario = Scenario { ops: 80, ..Scenario::default() };
    for seed in [3, 4] {
        let (a, b) = (workload::run(seed, &scenario), workload::run(seed, &scenario));
        assert_eq!(a.wrong, Vec::<String>::new());
        assert!(a.ops == 80 && a.met.effects > 300, "{a:?}");
        assert_eq!(a.hash, b.hash);
    }
}

#[test]
fn two_seeds_have_two_traces() {
    let scenario = Scenario { ops: 20, ..Scenario::default() };
    assert_ne!(workload::run(1, &scenario).hash, workload::run(2, &scenario).hash);
}

#[test]
fn two_runs_of_one_seed_leave_one_database() {
    let leave = || {
        let mut sim = Sim::new(7, Options::default()).expect("it starts");
        sim.rest().expect("it comes to rest");
        (
            sim.host().platter().fingerprint(),
            sim.cluster.world.trace.hash(),
            sim.host().disk().mem.files(),
        )
    };
    assert_eq!(leave(), leave());
}
