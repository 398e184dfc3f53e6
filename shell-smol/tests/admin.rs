//! The Admin API.

#[test]
fn admin() {
    mews_conformance::admin::run(env!("CARGO_BIN_EXE_mewsd-smol"));
}
