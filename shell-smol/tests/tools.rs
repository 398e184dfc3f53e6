//! What `mews doctor` and `mews bench` say of this daemon.

#[test]
fn tools() {
    mews_conformance::tools::run(env!("CARGO_BIN_EXE_mewsd-smol"));
}
