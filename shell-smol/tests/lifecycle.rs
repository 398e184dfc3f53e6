//! Starting, refusing to start, stopping.

#[test]
fn lifecycle() {
    mews_conformance::lifecycle::run(env!("CARGO_BIN_EXE_mewsd-smol"));
}
