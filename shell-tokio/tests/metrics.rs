//! Metrics and the log.

#[test]
fn a_daemon_tells_of_itself() {
    mews_conformance::metrics::run(env!("CARGO_BIN_EXE_mewsd"));
}
