//! A daemon under test, as a process.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The bucket that every daemon under test has.
pub const BUCKET: &str = "conformance";
/// The access key that may do everything in it.
pub const ACCESS_KEY: &str = "conformance-key";
/// That key's secret.
pub const SECRET_KEY: &str = "conformance-secret";

/// A start takes milliseconds; a loaded machine with an unoptimised build may need longer.
const START_MAX: Duration = Duration::from_secs(30);
/// The daemon gives requests in flight ten seconds; what it then still needs must be little.
const STOP_MAX: Duration = Duration::from_secs(15);

/// A running daemon with a directory of its own. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    binary: PathBuf,
    dir: Arc<TempDir>,
    args: Vec<String>,
    /// Of its environment.
    variables: Vec<(String, String)>,
    child: Child,
    s3: SocketAddr,
    output: Arc<Mutex<String>>,
}

impl Daemon {
    /// Starts `binary` on a fresh directory and waits until it serves.
    pub fn start(binary: impl AsRef<Path>) -> Self {
        Self::start_with(binary, &[])
    }

    /// The same, with these environment variables.
    pub fn start_with(binary: impl AsRef<Path>, variables: &[(&str, &str)]) -> Self {
        let dir =
            tempfile::Builder::new().prefix("mews-").tempdir().expect("a temporary directory");
        let args = quickstart(dir.path());
        Self::launch_with(binary.as_ref(), Arc::new(dir), args, owned(variables))
    }

    /// Starts `binary` with these arguments, which concern this directory, and waits until it serves.
    pub fn launch(binary: &Path, dir: Arc<TempDir>, args: Vec<String>) -> Self {
        Self::launch_with(binary, dir, args, Vec::new())
    }

    fn launch_with(
        binary: &Path,
        dir: Arc<TempDir>,
        args: Vec<String>,
        variables: Vec<(String, String)>,
    ) -> Self {
        let mut command = command(binary, &args);
        command.envs(variables.iter().cloned());
        let mut child = command.spawn().expect("the daemon's binary runs");
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().expect("it is piped"), Arc::clone(&output));
        collect(child.stderr.take().expect("it is piped"), Arc::clone(&output));
        let began = Instant::now();
        let s3 = loop {
            if let Some(address) = address(&read(&output), "endpoint") {
                break address;
            }
            let exited = child.try_wait().expect("the child can be waited for");
            let late = began.elapsed() > START_MAX;
            assert!(exited.is_none() && !late, "no start ({exited:?}):\n{}", read(&output));
            thread::sleep(Duration::from_millis(5));
        };
        Self { binary: binary.to_owned(), dir, args, variables, child, s3, output }
    }

    /// Where the S3 API listens.
    pub fn s3(&self) -> SocketAddr {
        self.s3
    }

    /// Where the Admin API listens.
    pub fn admin(&self) -> SocketAddr {
        let began = Instant::now();
        loop {
            // It is named a few lines after the endpoint.
            if let Some(address) = address(&self.output(), "admin") {
                return address;
            }
            assert!(began.elapsed() < START_MAX, "no Admin API:\n{}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where websites are, if it serves any.
    pub fn web(&self) -> Option<SocketAddr> {
        // It says so before the line that ends the list.
        let began = Instant::now();
        while !self.output().contains("Stop with Ctrl-C") {
            assert!(began.elapsed() < START_MAX, "no start:\n{}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
        let output = self.output();
        let line = output.lines().find_map(|line| line.trim().strip_prefix("websites "))?;
        let port = line.rsplit_once(':')?.1.parse().expect("a port");
        Some(SocketAddr::new(self.s3.ip(), port))
    }

    /// The directory that it was started with.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where it listens for other nodes.
    pub fn rpc(&self) -> SocketAddr {
        let began = Instant::now();
        loop {
            let output = self.output();
            let node = output.lines().find_map(|line| line.trim().strip_prefix("node "));
            if let Some((_, address)) = node.and_then(|node| node.split_once('@')) {
                return address.parse().expect("an address");
            }
            assert!(began.elapsed() < START_MAX, "no node:\n{output}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// From its next start on, it has these environment variables.
    pub fn set_variables(&mut self, variables: &[(&str, &str)]) {
        self.variables = owned(variables);
    }

    /// What it has logged about a request, as JSON.
    pub fn logged(&self, request: &str) -> Vec<Value> {
        let output = self.output();
        let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["request"] == *request).collect()
    }

    /// All it has written so far, stdout and stderr together.
    pub fn output(&self) -> String {
        read(&self.output)
    }

    /// Kills it as a power cut would, then starts it again on the same directory.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// After a kill: starts it again on the same directory.
    pub fn start_again(&mut self) {
        let (args, variables) = (self.args.clone(), self.variables.clone());
        *self = Self::launch_with(&self.binary, Arc::clone(&self.dir), args, variables);
    }

    /// The directory, which outlives the daemon.
    pub fn shared_dir(&self) -> Arc<TempDir> {
        Arc::clone(&self.dir)
    }

    /// Its process id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// After a kill: starts it on the same directory and kills that one, too, after so long, ready or not.
    pub fn false_start(&self, after: Duration) {
        let mut command = command(&self.binary, &self.args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the daemon's binary runs");
        thread::sleep(after);
        child.kill().expect("the child is ours");
        child.wait().expect("the child can be waited for");
    }

    /// Stops it cleanly, then starts it again on the same directory.
    pub fn restart(&mut self) {
        let status = self.terminate();
        assert!(status.success(), "{status} after SIGTERM:\n{}", self.output());
        self.start_again();
    }

    /// Stops it cleanly, then serves what this configuration file describes.
    pub fn restart_as_configured(&mut self, config: &Path) {
        let status = self.terminate();
        assert!(status.success(), "{status} after SIGTERM:\n{}", self.output());
        let args = ["serve", "--config"].map(str::to_owned).to_vec();
        self.args = [args, vec![config.display().to_string()]].concat();
        self.start_again();
    }

    /// SIGKILL, and waits for the process to be gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child can be waited for");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the child is ours");
    }

    /// SIGTERM, and waits for the exit.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for the exit.
    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            assert!(began.elapsed() < STOP_MAX, "it does not stop:\n{}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What a second daemon on the same directory says: whether it succeeded, and its output.
    pub fn second(&self) -> (bool, String) {
        let child = command(&self.binary, &self.args).output().expect("the daemon's binary runs");
        let text = [child.stdout, child.stderr].concat();
        (child.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Its resident memory in bytes now, and the most that it has been.
    pub fn memory(&self) -> (u64, u64) {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).expect("the process is alive");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            kib.expect("a number of KiB") * 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The arguments of a quickstart on any free ports.
pub(crate) fn quickstart(dir: &Path) -> Vec<String> {
    let mut args = vec!["quickstart".to_owned(), "--dir".to_owned(), dir.display().to_string()];
    for address in ["--s3-addr", "--rpc-addr", "--web-addr", "--admin-addr"] {
        args.extend([address, "127.0.0.1:0"].map(str::to_owned));
    }
    let key = ["--bucket", BUCKET, "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY];
    args.extend(key.map(str::to_owned));
    args
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    variables.iter().map(pair).collect()
}

fn command(binary: &Path, args: &[String]) -> Command {
    let mut command = Command::new(binary);
    command.args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The address in the line that says where to find an API: `endpoint` is S3's.
fn address(output: &str, api: &str) -> Option<SocketAddr> {
    // A whole line, or the port may still be missing a digit.
    let complete = output.rsplit_once('\n')?.0;
    let line = complete.lines().find_map(|line| line.trim().strip_prefix(api))?;
    line.trim().strip_prefix("http://")?.parse().ok()
}

fn collect(pipe: impl Read + Send + 'static, output: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            output.push_str(&line);
            output.push('\n');
        }
    });
}

fn read(output: &Mutex<String>) -> String {
    output.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
