//! Large objects, stalling and breaking clients: the suite that both daemons must pass.

#[test]
fn transfers_are_whole_or_leave_nothing() {
    mews_conformance::transfers::run(env!("CARGO_BIN_EXE_mewsd"));
}
