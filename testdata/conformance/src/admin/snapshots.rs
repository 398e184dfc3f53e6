//! Snapshots of the metadata: made under load, put back after the database is destroyed.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

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
    let restore = ["restore", "--dir", &dir, "--from", &name];
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

fn snapshots(daemon: &Daemon) -> Vec<String> {
    let entries = fs::read_dir(daemon.dir().join("meta/snapshots")).expect("it is there");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

fn as_many_are_kept_as_was_said(daemon: &Daemon) {
    let take = || {
        let answer = done(daemon, "POST CreateMetadataSnapshot", None);
        here(&answer)["snapshot"].as_str().expect("a name").to_owned()
    };
    let made = [take(), take(), take()];
    assert_eq!(snapshots(daemon), made[1..], "two, if nothing was said");
    let body = json!({ "variable": "metadata-snapshots-kept", "value": "1" });
    done(daemon, "POST SetWorkerVariable", Some(body));
    assert_eq!(snapshots(daemon), made[2..]);
}
