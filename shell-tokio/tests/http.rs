//! HTTP as it is spoken: the table of raw bytes that both daemons must pass, and websites.

#[test]
fn every_case_of_the_table_holds() {
    mews_conformance::http_cases::run(env!("CARGO_BIN_EXE_mewsd"));
}

#[test]
fn websites() {
    mews_conformance::websites::run(env!("CARGO_BIN_EXE_mewsd"));
}
