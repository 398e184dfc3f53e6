//! The house rules that no compiler checks: which rooms may wait, what may be named, how long a file may be.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(under: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![under.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("readable folder").path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                files.push(path);
            }
        }
    }
    assert!(!files.is_empty(), "no sources under {}", under.display());
    files.sort();
    files
}

fn core() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of a file: without its comments, and without the tests at its end.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("readable source");
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn long_lived_machines_are_explicit() {
    for room in ["node", "placement", "table", "block", "wire", "store"] {
        let room = core().join(room);
        if !room.exists() {
            continue;
        }
        for file in sources(&room) {
            let code = code(&file);
            let waits =
                code.contains("async fn") || code.contains("async move") || code.contains(".await");
            assert!(!waits, "{}: no async in this room; write the state machine", file.display());
        }
    }
}

#[test]
fn the_core_names_no_clock_thread_socket_or_file() {
    let banned = [
        "std::fs",
        "std::net",
        "std::thread",
        "std::env",
        "Instant::now",
        "SystemTime",
        "thread::spawn",
    ];
    for file in sources(&core()) {
        let code = code(&file);
        for name in banned {
            assert!(!code.contains(name), "{}: {name} belongs to a shell", file.display());
        }
    }
}

#[test]
fn rooms_depend_one_way() {
    // Below: what may not be named from there.
    let rules: [(&str, &[&str]); 4] = [
        ("wire", &["crate::s3", "crate::node", "crate::job", "crate::daemon", "crate::rpc"]),
        ("store", &["crate::s3", "crate::node", "crate::job", "crate::daemon"]),
        ("table", &["crate::s3", "crate::node", "crate::job", "crate::daemon", "crate::quorum"]),
        ("block", &["crate::s3", "crate::node", "crate::job", "crate::daemon"]),
    ];
    for (room, banned) in rules {
        for file in sources(&core().join(room)) {
            let code = code(&file);
            for name in banned {
                assert!(!code.contains(name), "{}: {room} must not know {name}", file.display());
            }
        }
    }
}

#[test]
fn files_stay_readable() {
    let top = core().join("../..");
    for folder in ["core", "shell-smol", "shell-tokio", "cli", "testdata"] {
        for file in sources(&top.join(folder)) {
            let lines = fs::read_to_string(&file).expect("readable source").lines().count();
            assert!(lines <= 650, "{}: {lines} lines; split it by meaning", file.display());
        }
    }
}
