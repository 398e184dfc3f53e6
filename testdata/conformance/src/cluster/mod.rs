//! Several daemons as one cluster, on one machine: real processes with configuration files, led by `mews` as an operator would,
//! with a network between them that delays and cuts.

mod cases;
mod growth;
mod load;
mod net;
mod trips;

use std::{
    fs, mem,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use mews_core::{
    daemon::{identity::NodeKey, plan},
    id::NodeId,
};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;
use tempfile::TempDir;

pub use cases::{heals, serves_clients};
pub use growth::grows;
pub use net::{Net, Passage};
pub use trips::round_trips;

use crate::daemon::Daemon;

/// How long a cluster may take to settle: a sync begins within seconds, and there is next to no data.
const SETTLE_MAX: Duration = Duration::from_secs(90);

/// The most nodes of a cluster, those that are gone included.
const NODES_MAX: usize = 8;

const TOKEN: &str = "the-operator-of-the-conformance-suite";

/// One cluster at a time: what they measure, and how long they may take, is meant for a machine of their own.
static TURN: Mutex<()> = Mutex::new(());

/// A cluster under test.
#[derive(Debug)]
pub struct Cluster {
    /// The daemons.
    pub nodes: Vec<Daemon>,
    /// What is between them.
    pub net: Net,
    plans: Vec<Plan>,
    secret: String,
    mews: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

/// What a node is before it is started.
#[derive(Debug)]
struct Plan {
    binary: PathBuf,
    dir: Arc<TempDir>,
    id: NodeId,
    rpc: SocketAddr,
    public: SocketAddr,
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the machine has random bytes");
    bytes
}

/// A port that is free now, at an address of the node's own. Connections come from 127.0.0.1, where only the proxies are: a
/// node that guesses where another listens, from where its connection comes from and the port that it names, finds nobody.
fn free_port(node: usize) -> SocketAddr {
    let last = u8::try_from(node + 2).expect("few nodes");
    let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let listener = TcpListener::bind((ip, 0)).expect("a port");
    listener.local_addr().expect("bound")
}

fn write_secret(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(plan::SECRET_MODE).open(path);
    std::io::Write::write_all(&mut file.expect("a writable directory"), text.as_bytes())
        .expect("there is space");
}

/// Another binary of the workspace, built like this one and beside it.
pub fn sibling(binary: &Path, name: &str) -> PathBuf {
    let dir = binary.parent().expect("a binary is in a directory");
    // A profile's directory has its name, but for this one.
    match dir.file_name().and_then(|profile| profile.to_str()) {
        Some("debug") => build(&["--package", name]),
        // With the same features whichever of them is asked for first: they are slow to build.
        Some(profile) => build(&["--workspace", "--profile", profile]),
        None => panic!("{} is in no profile's directory", binary.display()),
    }
    dir.join(name)
}

fn build(arguments: &[&str]) {
    let mut build = Command::new(std::env::var_os("CARGO").expect("tests are run by cargo"));
    build.args(["build", "--quiet", "--bins"]).args(arguments);
    // Cargo tells a test about its package; a build script that looks at that would find it changed, and all above it were built anew.
    let of_package =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.starts_with(of));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_package) {
            build.env_remove(name);
        }
    }
    assert!(build.status().expect("cargo runs").success(), "{arguments:?} do not build");
}

/// The same binary, optimised as the simulator is: for what is measured.
pub fn optimised(binary: &Path) -> PathBuf {
    let (dir, name) = (binary.parent().expect("a directory"), binary.file_name().expect("a name"));
    sibling(&dir.with_file_name("sim").join(name), name.to_str().expect("ASCII"))
}

impl Cluster {
    /// A cluster of one node for each binary, in these zones, with three copies of everything. It has grown out of a quickstart
    /// with the first binary, and has settled.
    pub fn start(nodes: &[(PathBuf, &str)]) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mews = sibling(&nodes[0].0, "mews");
        let mut cluster = Self {
            nodes: Vec::new(),
            net: Net::new(NODES_MAX),
            plans: Vec::new(),
            secret: hex::encode(random::<32>()),
            mews,
            _turn: turn,
        };
        // A cluster of one first, for its bucket and its key.
        let mut first = Daemon::start(&nodes[0].0);
        assert!(first.terminate().success(), "{}", first.output());
        cluster.launch(&nodes[0].0, first.shared_dir());
        for (binary, _) in &nodes[1..] {
            cluster.add(binary);
        }
        cluster.wait_for(&(0..nodes.len()).collect::<Vec<_>>());
        for (node, (_, zone)) in nodes.iter().enumerate() {
            cluster.assign(node, zone);
        }
        cluster.lead(0, &["layout", "config", "--replication-factor", "3"]);
        cluster.lead(0, &["layout", "apply", "--wait"]);
        cluster.settle(2);
        cluster
    }

    /// Starts one more node, which has no role yet; its number.
    pub fn add(&mut self, binary: &Path) -> usize {
        let dir = tempfile::Builder::new().prefix("mews-").tempdir().expect("a directory");
        self.launch(binary, Arc::new(dir));
        self.nodes.len() - 1
    }

    /// Starts one more node, which knows another secret; its number.
    pub fn add_stranger(&mut self, binary: &Path) -> usize {
        let secret = mem::replace(&mut self.secret, hex::encode(random::<32>()));
        let stranger = self.add(binary);
        self.secret = secret;
        stranger
    }

    fn launch(&mut self, binary: &Path, dir: Arc<TempDir>) {
        let index = self.nodes.len();
        let plan = Plan::new(index, binary, dir, &self.net);
        let first = self.plans.first().unwrap_or(&plan);
        let bootstrap = format!("{}@{}", first.id, first.public);
        let args = plan.configure(&self.secret, &bootstrap, "consistent");
        self.nodes.push(Daemon::launch(&plan.binary, Arc::clone(&plan.dir), args));
        self.plans.push(plan);
        self.net.set_process(index, Some(self.nodes[index].process()));
    }

    /// A node's id, in hexadecimal digits.
    pub fn id(&self, node: usize) -> String {
        self.plans[node].id.to_string()
    }

    /// Runs `mews` against a node; what it prints.
    pub fn lead(&self, node: usize, args: &[&str]) -> String {
        let admin = format!("http://{}", self.nodes[node].admin());
        let mut command = Command::new(&self.mews);
        command.args(["--admin", &admin, "--token", TOKEN]).args(args);
        let output = command.output().expect("mews runs");
        assert!(output.status.success(), "mews {args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The answer of the Admin API of a node.
    pub fn ask(&self, node: usize, call: &str) -> Value {
        serde_json::from_str(&self.lead(node, &["json-api", call])).expect("JSON")
    }

    /// Stages a role for a node.
    pub fn assign(&self, node: usize, zone: &str) {
        let args = ["layout", "assign", &self.id(node), "--zone", zone, "--capacity", "1G"];
        self.lead(0, &args);
    }

    /// Waits until the first node has connections to all of these.
    pub fn wait_for(&self, nodes: &[usize]) {
        self.wait(|| {
            let status = self.ask(0, "GetClusterStatus");
            let known = status["nodes"].as_array().map_or(&[][..], Vec::as_slice);
            let is_up = |node: &usize| {
                let id = self.id(*node);
                known.iter().any(|known| known["id"] == id && known["isUp"] == true)
            };
            nodes.iter().all(is_up).then_some(()).ok_or_else(|| status.to_string())
        });
    }

    /// Waits until every node that runs goes by this layout alone.
    pub fn settle(&self, version: u64) {
        for node in self.running() {
            self.wait(|| {
                let history = self.ask(node, "GetClusterLayoutHistory");
                let waits = history["waitingFor"].as_array().is_none_or(|list| !list.is_empty());
                let here = history["readVersion"] == version && !waits;
                here.then_some(()).ok_or_else(|| history.to_string())
            });
        }
    }

    /// Waits until a node has compared its tables with the others', and has fetched every block that it lacked.
    pub fn wait_until_healed(&self, node: usize) {
        // A sync begins as soon as the others are there, and is then not due again for ten minutes.
        self.wait(|| {
            let workers = self.lead(node, &["json-api", "ListWorkers", "null"]);
            let parsed: Value = serde_json::from_str(&workers).expect("JSON");
            let list = &parsed["success"][self.id(node)];
            let list = list.as_array().unwrap_or_else(|| panic!("no list: {workers}"));
            let worker = |name: &str| list.iter().find(|worker| worker["name"] == name);
            let due = worker("sync").and_then(|sync| {
                let text = sync["freeform"][0].as_str()?.strip_prefix("next run in ")?;
                text.strip_suffix(" s")?.parse::<u64>().ok()
            });
            let fetched = worker("fetch").is_some_and(|fetch| fetch["queueLength"] == 0);
            let healed = fetched && due.is_some_and(|secs| secs > 60);
            healed.then_some(()).ok_or(workers)
        });
    }

    fn wait(&self, ready: impl Fn() -> Result<(), String>) {
        let began = Instant::now();
        while let Err(state) = ready() {
            assert!(began.elapsed() < SETTLE_MAX, "after {SETTLE_MAX:?}: {state}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.net.is_running(*node)).collect()
    }

    /// Kills a node as a power cut would.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
        self.net.set_process(node, None);
    }

    /// Starts a killed node again.
    pub fn start_again(&mut self, node: usize) {
        self.nodes[node].start_again();
        self.net.set_process(node, Some(self.nodes[node].process()));
    }

    /// Starts a killed node again, with this `consistency_mode`.
    pub fn start_again_in_mode(&mut self, node: usize, mode: &str) {
        let bootstrap = format!("{}@{}", self.plans[0].id, self.plans[0].public);
        self.plans[node].configure(&self.secret, &bootstrap, mode);
        self.start_again(node);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            for (index, node) in self.nodes.iter().enumerate() {
                eprintln!("---- node {index}:\n{}", node.output());
            }
        }
    }
}

impl Plan {
    fn new(index: usize, binary: &Path, dir: Arc<TempDir>, net: &Net) -> Self {
        let meta = dir.path().join(plan::META);
        fs::create_dir_all(&meta).expect("a writable directory");
        let path = meta.join(plan::NODE_KEY);
        if !path.exists() {
            write_secret(&path, &NodeKey::from_random(random()).to_text());
        }
        let key = NodeKey::from_text(&fs::read_to_string(&path).expect("a key")).expect("a key");
        let rpc = free_port(index);
        let public = net.proxy(index, rpc);
        Self { binary: binary.to_owned(), dir, id: key.id(), rpc, public }
    }

    /// Writes the configuration file; the arguments that name it.
    fn configure(&self, secret: &str, bootstrap: &str, mode: &str) -> Vec<String> {
        let dir = self.dir.path();
        let text = format!(
            "metadata_dir = {meta:?}\n\
             data_dir = {data:?}\n\
             replication_factor = 3\n\
             consistency_mode = \"{mode}\"\n\
             rpc_secret = \"{secret}\"\n\
             rpc_bind_addr = \"{rpc}\"\n\
             rpc_public_addr = \"{public}\"\n\
             bootstrap_peers = [\"{bootstrap}\"]\n\
             [s3_api]\n\
             api_bind_addr = \"127.0.0.1:0\"\n\
             s3_region = \"mews\"\n\
             root_domain = \"localhost\"\n\
             [admin]\n\
             api_bind_addr = \"127.0.0.1:0\"\n\
             admin_token = \"{TOKEN}\"\n",
            meta = dir.join(plan::META),
            data = dir.join(plan::DATA),
            rpc = self.rpc,
            public = self.public,
        );
        let path = dir.join("mews.toml");
        write_secret(&path, &text);
        vec!["serve".to_owned(), "--config".to_owned(), path.display().to_string()]
    }
}
