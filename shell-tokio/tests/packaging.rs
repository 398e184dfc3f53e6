//! What is packaged says what the programs understand.

use mews_core::daemon::args::{self, Invocation};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// What stands behind the word that begins a line.
fn behind<'t>(text: &'t str, begins: &str) -> &'t str {
    let line = text.lines().find_map(|line| line.strip_prefix(begins));
    line.unwrap_or_else(|| panic!("no {begins} in:\n{text}")).trim()
}

#[test]
fn the_unit_checks_a_file_and_serves_it() {
    let unit = include_str!("../packaging/mewsd.service");
    let asked = |key| {
        let all = words(behind(unit, key));
        args::parse(&all[0], &all[1..])
    };
    let config = || "/etc/mews/mews.toml".to_owned();
    assert_eq!(asked("ExecStartPre="), Invocation::Check { config: config() });
    assert_eq!(asked("ExecStart="), Invocation::Serve { config: config() });
}

#[test]
fn the_image_starts_a_store_that_can_be_reached_and_asked_for_its_health() {
    let file = include_str!("../packaging/Dockerfile");
    // A list of texts without escapes: each second piece stands between quotation marks.
    let list = |text: &str| -> Vec<String> {
        text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let program = list(behind(file, "ENTRYPOINT "));
    let Invocation::Quickstart(store) = args::parse(&program[0], &list(behind(file, "CMD ")))
    else {
        panic!("the image starts no store");
    };
    for address in [store.s3_addr, store.rpc_addr, store.web(), store.admin_addr] {
        assert!(address.ip().is_unspecified(), "{address} cannot be reached from outside");
        assert!(behind(file, "EXPOSE ").contains(&address.port().to_string()), "{address}");
    }
    assert_eq!(behind(file, "VOLUME "), store.dir);
    let (_, health) = behind(file, "HEALTHCHECK ").split_once("CMD ").expect("a command");
    assert_eq!(list(health), ["/mews", "--dir", &store.dir, "health", "-q"]);
}
