//! Three nodes as one cluster: the suite that both daemons must pass, mixed.

#[test]
#[ignore = "new, and not seen to pass yet: run it with --ignored"]
fn a_cluster_of_three_outlives_the_loss_of_any_one() {
    mews_conformance::cluster::heals(env!("CARGO_BIN_EXE_mewsd"));
}

#[test]
#[ignore = "new, and not seen to pass yet: run it with --ignored"]
fn small_requests_take_one_round_trip() {
    mews_conformance::cluster::round_trips(env!("CARGO_BIN_EXE_mewsd"));
}
