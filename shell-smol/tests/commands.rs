//! `mews`, command by command: the suite that both daemons must pass.

#[test]
fn every_command_does_what_it_says() {
    mews_conformance::commands::run(env!("CARGO_BIN_EXE_mewsd-smol"));
}
