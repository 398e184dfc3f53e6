//! The Admin API.

#[test]
fn admin() {
    mews_conformance::admin::run(env!("CARGO_BIN_EXE_mewsd"));
}

#[test]
fn admin_as_described() {
    mews_conformance::admin::described(env!("CARGO_BIN_EXE_mewsd"));
}
