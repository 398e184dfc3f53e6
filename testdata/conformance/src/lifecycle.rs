//! How a daemon starts, refuses to start, and stops.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    configured,
    daemon::{ACCESS_KEY, BUCKET, Daemon},
    signed,
    wire::Wire,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs all of it against `binary`.
pub fn run(binary: impl AsRef<Path>) {
    let binary = binary.as_ref();
    started_again_it_serves_what_is_there(binary);
    a_second_daemon_is_refused(binary);
    requests_in_flight_end_before_it_stops(binary);
    a_port_in_use_is_named(binary);
    what_is_not_a_store_is_left_alone(binary);
    another_secret_for_a_known_key_is_refused(binary);
    a_first_start_makes_a_key_that_stays(binary);
    a_connection_beyond_the_bound_is_told_so(binary);
    the_command_line_is_checked(binary);
    configured::run(binary);
}

/// A quickstart on any free ports but for the S3 API's.
fn quickstart<'a>(dir: &'a str, s3: &'a str) -> Vec<&'a str> {
    let any = "127.0.0.1:0";
    let others = ["--rpc-addr", any, "--web-addr", any, "--admin-addr", any];
    [&["quickstart", "--dir", dir, "--s3-addr", s3][..], &others].concat()
}

/// Runs the daemon until it exits by itself.
pub(crate) fn output(binary: &Path, args: &[&str]) -> Output {
    Command::new(binary).args(args).output().expect("the daemon's binary runs")
}

/// Runs it with arguments that it must fail on, with this exit code; what it says on stderr.
pub(crate) fn refusal(binary: &Path, args: &[&str], code: i32) -> String {
    let output = output(binary, args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    text
}

fn secrets(dir: &Path) -> Vec<String> {
    let names = ["credentials", "admin.token", "meta/node_key", "meta/rpc_secret"];
    let read = |name| {
        let path = dir.join(name);
        let mode = fs::metadata(&path).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        fs::read_to_string(&path).expect(name)
    };
    names.map(read).to_vec()
}

fn started_again_it_serves_what_is_there(binary: &Path) {
    let mut daemon = Daemon::start(binary);
    assert_eq!(signed::put(&daemon, "kept", b"what was stored").status, 200);
    let before = secrets(daemon.dir());
    assert!(before[0].contains(ACCESS_KEY), "{}", before[0]);
    daemon.restart();
    assert_eq!(signed::get(&daemon, "kept").body, b"what was stored");
    assert_eq!(secrets(daemon.dir()), before);
    daemon.kill_and_restart();
    assert_eq!(signed::get(&daemon, "kept").body, b"what was stored");
    assert_eq!(secrets(daemon.dir()), before);
    assert!(daemon.output().contains(BUCKET), "{}", daemon.output());
}

fn a_second_daemon_is_refused(binary: &Path) {
    let daemon = Daemon::start(binary);
    let (success, text) = daemon.second();
    assert!(!success, "{text}");
    assert!(text.contains("in use by another Mews daemon"), "{text}");
    assert_eq!(signed::put(&daemon, "k", b"v").status, 200, "the first one serves on");
}

fn requests_in_flight_end_before_it_stops(binary: &Path) {
    let mut daemon = Daemon::start(binary);
    let target = signed::presigned(&daemon, "PUT", "in-flight", &[]);
    let mut wire = Wire::connect(daemon.s3());
    let head =
        format!("PUT {target} HTTP/1.1\r\nhost: {}\r\ncontent-length: 10\r\n\r\n", daemon.s3());
    assert!(wire.send(format!("{head}first").as_bytes()));
    thread::sleep(Duration::from_millis(300));
    daemon.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(300));
    assert!(TcpStream::connect(daemon.s3()).is_err(), "it still takes connections");
    assert!(wire.send(b" half"));
    let response = wire.response(false, PATIENCE).expect("a request in flight is answered");
    assert_eq!(response.status, 200);
    let status = daemon.wait();
    assert!(status.success(), "{status}: {}", daemon.output());
    daemon.kill_and_restart();
    assert_eq!(signed::get(&daemon, "in-flight").body, b"first half");
}

fn a_port_in_use_is_named(binary: &Path) {
    let daemon = Daemon::start(binary);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (dir, address) = (dir.path().display().to_string(), daemon.s3().to_string());
    let text = refusal(binary, &quickstart(&dir, &address), 1);
    assert!(text.contains(&address) && text.contains("in use"), "{text}");
    assert!(text.contains("--s3-addr"), "{text}");
}

fn what_is_not_a_store_is_left_alone(binary: &Path) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("thesis.txt"), "years").expect("a writable directory");
    let name = dir.path().display().to_string();
    let text = refusal(binary, &quickstart(&name, "127.0.0.1:0"), 1);
    assert!(text.contains("thesis.txt") && text.contains("--dir"), "{text}");
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 1, "it left something");
}

fn another_secret_for_a_known_key_is_refused(binary: &Path) {
    let mut daemon = Daemon::start(binary);
    assert!(daemon.terminate().success());
    let dir = daemon.dir().display().to_string();
    let key = ["--access-key", ACCESS_KEY, "--secret-key", "another-secret"];
    let args = [&quickstart(&dir, "127.0.0.1:0")[..], &key].concat();
    let text = refusal(binary, &args, 1);
    assert!(text.contains(ACCESS_KEY) && text.contains("another secret"), "{text}");
}

fn a_first_start_makes_a_key_that_stays(binary: &Path) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let start = dir.path().join("new/data");
    let mut printed = Vec::new();
    for _ in 0..2 {
        let output = start_and_stop(binary, &start);
        let find = |name: &str| {
            let line = output.lines().find_map(|line| line.trim().strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name}in:\n{output}")).trim().to_owned()
        };
        printed.push(["bucket ", "access key ", "secret key ", "region "].map(find));
    }
    assert_eq!(printed[0], printed[1]);
    let [bucket, key, secret, _] = &printed[0];
    assert_eq!((bucket.as_str(), key.len(), secret.len()), ("default", 26, 64));
    assert!(key.starts_with("GK"), "{key}");
}

/// Starts it without a bucket and a key, and stops it once it serves; what it has printed.
fn start_and_stop(binary: &Path, dir: &Path) -> String {
    let mut command = Command::new(binary);
    command.args(quickstart(&dir.display().to_string(), "127.0.0.1:0"));
    let (child, printed) = start(command);
    stop(child);
    printed
}

/// A process that does not outlive a test that has failed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a daemon and reads what it prints until it serves.
fn start(mut command: Command) -> (Running, String) {
    let child = command.stdout(Stdio::piped()).spawn().expect("the daemon's binary runs");
    let mut child = Running(child);
    let mut stdout = BufReader::new(child.0.stdout.take().expect("it is piped"));
    let mut printed = String::new();
    while !printed.contains("Ctrl-C") {
        assert!(stdout.read_line(&mut printed).expect("text") > 0, "it ended: {printed}");
    }
    (child, printed)
}

fn stop(mut child: Running) {
    kill_process(Pid::from_child(&child.0), Signal::TERM).expect("the child is ours");
    assert!(child.0.wait().expect("the child can be waited for").success());
}

fn a_connection_beyond_the_bound_is_told_so(binary: &Path) {
    // So few descriptors that the daemon allows itself sixteen connections.
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 144 && exec \"$0\" \"$@\""]).arg(binary);
    command.args(quickstart(&dir.path().join("data").display().to_string(), "127.0.0.1:0"));
    let (child, printed) = start(command);
    let line = printed.lines().find_map(|line| line.trim().strip_prefix("endpoint"));
    let address = line.and_then(|line| line.trim().strip_prefix("http://"));
    let address = address.and_then(|address| address.parse().ok()).expect("an address");
    let mut open: Vec<Wire> = (0..16).map(|_| Wire::connect(address)).collect();
    let request = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    for wire in &mut open {
        assert!(wire.send(request));
        assert_eq!(wire.response(false, PATIENCE).expect("a response").status, 403);
    }
    let refused = Wire::connect(address).response(false, PATIENCE).expect("a refusal");
    assert_eq!((refused.status, refused.whole), (503, true));
    assert!(String::from_utf8_lossy(&refused.body).contains("SlowDown"));
    drop(open.pop());
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let mut wire = Wire::connect(address);
        wire.send(request);
        if wire.response(false, PATIENCE).expect("a response").status == 403 {
            return stop(child);
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("the place of a closed connection is not given to another");
}

fn the_command_line_is_checked(binary: &Path) {
    for args in [&[][..], &["serv"], &["quickstart", "--s3-addr", "here"]] {
        refusal(binary, args, 2);
    }
    for args in [&["--version"][..], &["--help"], &["quickstart", "--help"]] {
        let output = output(binary, args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{args:?}");
    }
}
