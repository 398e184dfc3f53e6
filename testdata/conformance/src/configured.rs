//! `serve --config` and `check`.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::{
    daemon::Daemon,
    lifecycle::{output, refusal},
    signed,
};

/// Runs all of it against `binary`.
pub(crate) fn run(binary: &Path) {
    what_quickstart_began_is_served_from_a_file(binary);
    changes_that_are_not_synced_outlive_the_process(binary);
    every_option_is_explained(binary);
    mistakes_are_all_said_and_nothing_is_started(binary);
    directories_are_looked_at(binary);
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
}

fn what_quickstart_began_is_served_from_a_file(binary: &Path) {
    let mut daemon = Daemon::start(binary);
    assert_eq!(signed::put(&daemon, "kept", b"from quickstart").status, 200);
    let dir = daemon.dir().display().to_string();
    let text = format!(
        r#"
        metadata_dir = "{dir}/meta"
        data_dir = [{{ path = "{dir}/data", capacity = "1G" }}]
        rpc_bind_addr = "127.0.0.1:0"
        [s3_api]
        api_bind_addr = "127.0.0.1:0"
        [admin]
        api_bind_addr = "127.0.0.1:0"
        admin_token_file = "{dir}/admin.token"
        "#
    );
    let config = daemon.dir().join("mews.toml");
    write(&config, &text, 0o644);
    let named = config.display().to_string();
    let checked = output(binary, &["check", "--config", &named]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && said.contains("is fine"), "{checked:?}");
    daemon.restart_as_configured(&config);
    assert_eq!(signed::get(&daemon, "kept").body, b"from quickstart");
    assert_eq!(signed::put(&daemon, "more", b"from serve").status, 200);
    daemon.restart();
    assert_eq!(signed::get(&daemon, "more").body, b"from serve");
}

/// With `metadata_fsync = false`, a kill loses nothing, and a clean stop leaves nothing to apply again.
fn changes_that_are_not_synced_outlive_the_process(binary: &Path) {
    let mut daemon = Daemon::start(binary);
    let dir = daemon.dir().display().to_string();
    let text = format!(
        r#"
        metadata_dir = "{dir}/meta"
        data_dir = "{dir}/data"
        metadata_fsync = false
        rpc_bind_addr = "127.0.0.1:0"
        [s3_api]
        api_bind_addr = "127.0.0.1:0"
        "#
    );
    let config = daemon.dir().join("mews.toml");
    write(&config, &text, 0o644);
    let journal = daemon.dir().join("meta/journal");
    daemon.restart_as_configured(&config);
    assert!(daemon.output().contains("metadata_fsync = false: a power failure"), "not said aloud");
    for round in 0..3 {
        for number in 0..20 {
            let answer = signed::put(&daemon, &format!("{round}-{number}"), b"acknowledged");
            assert_eq!(answer.status, 200);
        }
        assert!(journal.exists());
        daemon.kill_and_restart();
        for number in 0..20 {
            let answer = signed::get(&daemon, &format!("{round}-{number}"));
            assert_eq!(answer.body, b"acknowledged", "object {number} of round {round}");
        }
    }
    assert!(daemon.terminate().success(), "{}", daemon.output());
    assert!(!journal.exists(), "a clean stop syncs");
    daemon.start_again();
    assert_eq!(signed::get(&daemon, "2-19").body, b"acknowledged");
}

fn every_option_is_explained(binary: &Path) {
    let printed = output(binary, &["config-reference"]);
    let reference = include_str!("../../../core/CONFIGURATION.md");
    assert!(printed.status.success() && String::from_utf8_lossy(&printed.stdout) == reference);
}

fn mistakes_are_all_said_and_nothing_is_started(binary: &Path) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("mews.toml");
    let named = config.display().to_string();
    let meta = dir.path().join("meta").display().to_string();
    let text = format!("metadata_dir = \"{meta}\"\ndata_dirs = \"d\"\nrpc_secret = \"5ec4e7\"\n");
    write(&config, &text, 0o644);
    for command in ["check", "serve"] {
        let said = refusal(binary, &[command, "--config", &named], 1);
        for part in [
            &format!("{named}: data_dir is missing"),
            &format!("{named}:2: unknown key data_dirs: the nearest known key is data_dir"),
            "rpc_secret must be 64 hexadecimal digits",
            &format!("{named}:3: everybody can read {named} (mode 0644)"),
        ] {
            assert!(said.contains(part), "{command}: no {part:?} in\n{said}");
        }
        assert!(!said.contains("5ec4e7"), "{command} tells the secret:\n{said}");
        assert!(!Path::new(&meta).exists(), "{command} has begun to start");
    }
    let said = refusal(binary, &["check", "--config", "/nowhere/mews.toml"], 1);
    assert!(said.contains("/nowhere/mews.toml"), "{said}");
}

fn directories_are_looked_at(binary: &Path) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (config, file) = (dir.path().join("mews.toml"), dir.path().join("file"));
    write(&file, "not a directory", 0o600);
    let (named, file) = (config.display().to_string(), file.display().to_string());
    let text = format!(
        "metadata_dir = \"{file}\"\ndata_dir = [\n{{ path = \"{file}/below\", capacity = 1 }},\n{{ path = \"{named}.d\", read_only = true }},\n]\n"
    );
    write(&config, &text, 0o600);
    let said = refusal(binary, &["check", "--config", &named], 1);
    for part in [
        format!("metadata_dir: {file} is not a directory"),
        format!("data_dir: {file}/below"),
        format!("data_dir: {named}.d is read-only, and it is not there"),
    ] {
        assert!(said.contains(&part), "no {part:?} in\n{said}");
    }
}
