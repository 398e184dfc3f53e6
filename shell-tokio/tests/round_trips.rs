//! How many round trips between nodes requests take. In a binary of its own, as tests beside it would be measured too.

#[test]
fn small_requests_take_one_round_trip() {
    mews_conformance::cluster::round_trips(env!("CARGO_BIN_EXE_mewsd"));
}
