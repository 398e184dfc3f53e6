//! Snapshots of the metadata: made under load, put back after the database is destroyed.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use mews_core::daemon::plan;
use serde_json::json;

use super::{done, here};
use crate::{
    daemon::Daemon,
    lifecycle::{output, refusal},
    signed,
};

/// Objects that the snapshot must have.
const OBJECTS: usize = 24;

/// Some live in rows, most in blocks.
fn content(n: usize) -> Vec<u8> {
    let len = if n.is_multiple_of(4) { 100 } else { 20_000 * (n + 1) };
    (0..len).map(|at| u8::try_from((at * 31 + n * 7 + at / 251) % 256).expect("a byte")).collect()
}

pub(super) fn run(binary: &Path) {
    let mut daemon = Daemon::start(binary);
    for n in 0..OBJECTS {
        assert_eq!(signed::put(&daemon, &format!("kept-{n}"), &content(n)).status, 200);
    }
    let name = under_load(&daemon);
    // What is done after the snapshot is undone.
    for n in 0..OBJECTS {
        let key = format!("kept-{n}");
        let status = match n % 3 {
            0 => signed::send(&daemon, "DELETE", &key, b"").status,
            1 => signed::put(&daemon, &key, b"replaced").status,
            _ => 200,
        };
        assert!(matches!(status, 200 | 204), "{key}: {status}");
    }
    let dir = daemon.dir().display().to_string();
    let restore = as_documented(&dir, &name);
    let restore: Vec<&str> = restore.iter().map(String::as_str).collect();
    let said = refusal(binary, &restore, 1);
    assert!(said.contains("in use by another Mews daemon"), "{said}");
    daemon.kill();
    let said = refusal(binary, &["restore", "--dir", &dir, "--from", "yesterday"], 1);
    assert!(said.contains("no such snapshot") && said.contains(&name), "{said}");

    let database = daemon.dir().join("meta/db.redb");
    fs::write(&database, "not what it was").expect("it can be written");
    let restored = output(binary, &restore);
    let said = String::from_utf8_lossy(&restored.stdout).into_owned();
    assert!(restored.status.success() && said.contains("db.redb.before-"), "{restored:?}");
    daemon.start_again();
    assert!(daemon.output().contains("older"), "it knows: {}", daemon.output());
    for n in 0..OBJECTS {
        let response = signed::get(&daemon, &format!("kept-{n}"));
        assert_eq!(response.status, 200, "kept-{n}");
        assert!(response.body == content(n), "kept-{n} is another");
    }
    assert_eq!(signed::put(&daemon, "after", &content(5)).status, 200);
    assert!(signed::get(&daemon, "after").body == content(5));
    as_many_are_kept_as_was_said(&daemon);
    they_are_made_as_configured(binary, &mut daemon);
}

/// The arguments of the command that the README tells to put a snapshot back.
fn as_documented(dir: &str, snapshot: &str) -> Vec<String> {
    let readme = include_str!("../../../../README.md");
    let line = readme.lines().find(|line| line.starts_with("mewsd restore "));
    let (command, _comment) = line.and_then(|line| line.split_once('#')).expect("the command");
    let fill = |word: &str| word.replace("./mews-data", dir).replace("SNAPSHOT", snapshot);
    command.split_whitespace().skip(1).map(fill).collect()
}

/// By themselves, where the file says; as many are kept as was said before.
fn they_are_made_as_configured(binary: &Path, daemon: &mut Daemon) {
    let dir = daemon.dir().display().to_string();
    let text = format!(
        r#"
        metadata_dir = "{dir}/meta"
        data_dir = "{dir}/data"
        metadata_auto_snapshot_interval = "10s"
        metadata_snapshots_dir = "{dir}/copies"
        rpc_bind_addr = "127.0.0.1:0"
        [s3_api]
        api_bind_addr = "127.0.0.1:0"
        "#
    );
    let config = daemon.dir().join("snapshots.toml");
    fs::write(&config, text).expect("a file");
    let copies = daemon.dir().join("copies");
    daemon.restart_as_configured(&config);
    assert_eq!(signed::put(daemon, "in-both", b"of before").status, 200);
    // The first and its successor, which takes its place.
    let first = the_only_one(&copies, None);
    let second = the_only_one(&copies, Some(&first));
    assert_eq!(signed::put(daemon, "in-none", b"of after").status, 200);
    daemon.kill();
    let config = config.display().to_string();
    let restored = output(binary, &["restore", "--config", &config, "--from", &second]);
    assert!(restored.status.success(), "{restored:?}");
    daemon.start_again();
    assert_eq!(signed::get(daemon, "in-both").body, b"of before");
    assert_eq!(signed::get(daemon, "in-none").status, 404);
}

/// Waits until there is one snapshot, and another than this.
fn the_only_one(dir: &Path, other: Option<&str>) -> String {
    let began = Instant::now();
    loop {
        if let [name] = &snapshots(dir)[..]
            && other != Some(name)
        {
            return name.clone();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", snapshots(dir));
        thread::sleep(Duration::from_millis(100));
    }
}

/// Makes a snapshot while others write and delete; its name.
fn under_load(daemon: &Daemon) -> String {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..3 {
            let stop = &stop;
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("load-{writer}-{}", n % 5);
                    assert_eq!(signed::put(daemon, &key, &content(n % 7)).status, 200);
                    if n % 3 == 0 {
                        assert_eq!(signed::send(daemon, "DELETE", &key, b"").status, 204);
                    }
                }
            });
        }
        let answer = done(daemon, "POST CreateMetadataSnapshot?node=self", None);
        stop.store(true, Ordering::Relaxed);
        here(&answer)["snapshot"].as_str().expect("a name").to_owned()
    })
}

/// The snapshots in a directory, if it is there yet; the one that is being made is none.
fn snapshots(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name != plan::SNAPSHOT_PARTIAL);
    names.sort_unstable();
    names
}

fn as_many_are_kept_as_was_said(daemon: &Daemon) {
    let take = || {
        let answer = done(daemon, "POST CreateMetadataSnapshot", None);
        here(&answer)["snapshot"].as_str().expect("a name").to_owned()
    };
    let made = [take(), take(), take()];
    let snapshots = || snapshots(&daemon.dir().join("meta/snapshots"));
    assert_eq!(snapshots(), made[1..], "two, if nothing was said");
    let body = json!({ "variable": "metadata-snapshots-kept", "value": "1" });
    done(daemon, "POST SetWorkerVariable", Some(body));
    assert_eq!(snapshots(), made[2..]);
}
