//! Raw bytes on a connection: the table that both daemons must pass.

#[test]
fn every_case_of_the_table_holds() {
    mews_conformance::http_cases::run(env!("CARGO_BIN_EXE_mewsd-smol"));
}
