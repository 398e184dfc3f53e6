//! Where the clients come from: package registries, into a folder of the build's own. Nothing is installed on the machine.
//!
//! Versions are pinned by `requirements.txt` and `package-lock.json` in `testdata/clients`; those of Debian's packages by its
//! release. Each kind is fetched once for each set of pins, under a lock, because two shells' tests may run side by side.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use ring::digest;
use rustix::fs::{FlockOperation, flock};

const REQUIREMENTS: &str = include_str!("../../../clients/requirements.txt");
const PACKAGE: &str = include_str!("../../../clients/package.json");
const PACKAGE_LOCK: &str = include_str!("../../../clients/package-lock.json");
/// Debian's packages that hold nothing but a program.
const DEBIAN: [&str; 2] = ["rclone", "restic"];
/// The one that promtool is in.
const PROMETHEUS: &str = "prometheus";

/// Where the clients of each kind are, or in one line why they are not there.
#[derive(Debug)]
pub struct Toolbox {
    /// A virtual environment.
    pub python: Result<PathBuf, String>,
    /// A folder with `node_modules`.
    pub node: Result<PathBuf, String>,
    /// A folder with the contents of Debian's packages.
    pub debian: Result<PathBuf, String>,
}

impl Toolbox {
    /// Fetches what is not there yet, into a folder under the build's `target`.
    pub fn prepare(target: &Path) -> Self {
        let (folder, _lock) = locked(target);
        Self {
            python: once(&folder, "python", REQUIREMENTS, python),
            node: once(&folder, "node", &[PACKAGE, PACKAGE_LOCK].concat(), node),
            debian: once(&folder, "debian", &DEBIAN.join(" "), debian),
        }
    }
}

/// A virtual environment of this kind with these requirements.
pub(crate) fn python_for(target: &Path, kind: &str, requirements: &str) -> Result<PathBuf, String> {
    let (folder, _lock) = locked(target);
    once(&folder, kind, requirements, |folder| install(folder, requirements))
}

/// The folder of all kinds, and the lock under which they are fetched.
fn locked(target: &Path) -> (PathBuf, File) {
    let folder = target.join("clients");
    fs::create_dir_all(&folder).expect("a folder under target");
    let lock = File::create(folder.join("lock")).expect("a file under target");
    flock(&lock, FlockOperation::LockExclusive).expect("a lock on a file of ours");
    (folder, lock)
}

/// The folder for these pins, made by `make` if it is not there. It gets its name only when it is complete.
fn once(
    folder: &Path,
    kind: &str,
    pins: &str,
    make: impl Fn(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let hash = digest::digest(&digest::SHA256, pins.as_bytes());
    let ready = folder.join(format!("{kind}-{}", &hex::encode(hash)[..16]));
    let complete = ready.join("complete");
    if !complete.exists() {
        // A virtual environment holds its own path, so it must be made where it is to stay.
        let _ = fs::remove_dir_all(&ready);
        fs::create_dir_all(&ready).map_err(|error| format!("{}: {error}", ready.display()))?;
        make(&ready)?;
        fs::write(&complete, pins).map_err(|error| format!("{}: {error}", complete.display()))?;
    }
    Ok(ready)
}

fn python(folder: &Path) -> Result<(), String> {
    install(folder, REQUIREMENTS)
}

fn install(folder: &Path, requirements: &str) -> Result<(), String> {
    let requirements = write(folder, "requirements.txt", requirements)?;
    run(Command::new("python3").args(["-m", "venv"]).arg(folder), "python3 -m venv")?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    run(pip.arg(requirements), "PyPI (pip install)")
}

fn node(folder: &Path) -> Result<(), String> {
    write(folder, "package.json", PACKAGE)?;
    write(folder, "package-lock.json", PACKAGE_LOCK)?;
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder);
    run(&mut npm, "the npm registry (npm ci)")
}

/// Where Prometheus's own checker is, or in one line why it is not there.
pub fn promtool(target: &Path) -> Result<PathBuf, String> {
    let folder = target.join("clients");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let lock = File::create(folder.join("lock")).expect("a file under target");
    flock(&lock, FlockOperation::LockExclusive).expect("a lock on a file of ours");
    let make = |folder: &Path| packages(folder, &[PROMETHEUS]);
    Ok(once(&folder, PROMETHEUS, PROMETHEUS, make)?.join("usr/bin/promtool"))
}

fn debian(folder: &Path) -> Result<(), String> {
    packages(folder, &DEBIAN)
}

/// Unpacks packages of Debian's into a folder.
fn packages(folder: &Path, names: &[&str]) -> Result<(), String> {
    let download = |options: &[String]| {
        let mut apt = Command::new("apt-get");
        apt.args(options).arg("download").args(names).current_dir(folder);
        run(&mut apt, "Debian (apt-get download)")
    };
    if download(&[]).is_err() {
        // A fresh container has no package lists. They go into a folder of ours: the machine's are not ours to change.
        let lists = folder.join("lists");
        fs::create_dir_all(lists.join("partial")).map_err(|error| error.to_string())?;
        let lists = [format!("-oDir::State::lists={}", lists.display())];
        run(Command::new("apt-get").args(&lists).arg("update"), "Debian (apt-get update)")?;
        download(&lists)?;
    }
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    for package in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if package.extension().is_some_and(|end| end == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&package).arg(folder), "dpkg -x")?;
        }
    }
    Ok(())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// Runs a command; what went wrong, in one line.
fn run(command: &mut Command, what: &str) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    // What went wrong comes first; hints follow.
    let says = |word: &str| text.lines().find(|line| line.to_lowercase().contains(word));
    let line = says("error").or_else(|| says("e:")).or_else(|| text.lines().last());
    Err(format!("{what} failed: {}", line.unwrap_or_default()))
}
