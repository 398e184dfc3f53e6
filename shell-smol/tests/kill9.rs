//! What is acknowledged survives kill -9 at any moment.

#[test]
fn nothing_acknowledged_is_lost_in_twenty_five_kills() {
    mews_conformance::kill9::run(env!("CARGO_BIN_EXE_mewsd-smol"), 25);
}
