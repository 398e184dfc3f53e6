//! Several daemons as one cluster, on one machine: real processes, with a network between them that delays and cuts.

mod cases;
mod net;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use mews_core::{
    daemon::{identity::NodeKey, plan},
    id::{ClusterId, NodeId},
    placement::{
        history::History,
        layout::{Parameters, Role},
    },
    time::Timestamp,
};
use ring::rand::{SecureRandom, SystemRandom};
use tempfile::TempDir;

pub use cases::{heals, round_trips};
pub use net::{Net, Passage};

use crate::daemon::Daemon;

/// How long a cluster may take to settle: a sync begins within seconds, and there is next to no data.
const SETTLE_MAX: Duration = Duration::from_secs(90);

/// A cluster under test.
#[derive(Debug)]
pub struct Cluster {
    /// The daemons.
    pub nodes: Vec<Daemon>,
    /// What is between them.
    pub net: Net,
}

/// What a node is before it is started.
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

/// A port that is free now.
fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

fn write_secret(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(plan::SECRET_MODE).open(path);
    std::io::Write::write_all(&mut file.expect("a writable directory"), text.as_bytes())
        .expect("there is space");
}

/// The other daemon's binary, built like this one and beside it.
pub fn sibling(binary: &Path, name: &str) -> PathBuf {
    let dir = binary.parent().expect("a binary is in a directory");
    let release = dir.ends_with("release");
    let mut build = Command::new(std::env::var_os("CARGO").expect("tests are run by cargo"));
    build.args(["build", "--quiet", "--package", name]);
    build.args(release.then_some("--release"));
    assert!(build.status().expect("cargo runs").success(), "{name} does not build");
    dir.join(name)
}

impl Cluster {
    /// A cluster of one node for each binary, each in a zone of its own, with a copy of everything on each. It has grown out of a
    /// quickstart with the first binary, and has settled.
    pub fn start(binaries: &[PathBuf]) -> Self {
        let net = Net::new(binaries.len());
        // A cluster of one first, for its bucket and its key.
        let mut first = Daemon::start(&binaries[0]);
        assert!(first.terminate().success(), "{}", first.output());
        let plans: Vec<Plan> = binaries
            .iter()
            .enumerate()
            .map(|(index, binary)| Plan::new(index, binary, &first, &net))
            .collect();
        grow(&plans);
        let secret = hex::encode(random::<32>());
        let mut nodes = Vec::new();
        for plan in &plans {
            let args = plan.configure(&secret, &plans);
            nodes.push(Daemon::launch(&plan.binary, Arc::clone(&plan.dir), args));
            let process = nodes.last().map(Daemon::process);
            net.set_process(nodes.len() - 1, process);
        }
        let cluster = Self { nodes, net };
        cluster.settle();
        cluster
    }

    /// Waits until every node goes by one layout alone, the newest, and reads from it.
    pub fn settle(&self) {
        let began = Instant::now();
        loop {
            let states: Vec<String> = self.nodes.iter().map(state).collect();
            if states.iter().all(|state| state == "2 2 2") {
                return;
            }
            if began.elapsed() > SETTLE_MAX {
                let outputs: Vec<String> = self.nodes.iter().map(Daemon::output).collect();
                panic!("not settled: {states:?}\n{}", outputs.join("\n----\n"));
            }
            thread::sleep(Duration::from_millis(100));
        }
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

/// The oldest and the newest version in force, and the one that is read from, as a node has saved them.
fn state(node: &Daemon) -> String {
    let saved = fs::read(node.dir().join(plan::META).join(plan::LAYOUT));
    let history = saved.ok().and_then(|bytes| History::decode(&bytes).ok()).unwrap_or_default();
    format!("{} {} {}", history.oldest(), history.version(), history.read_version())
}

/// Puts a layout with all nodes behind that of the first, as an operator would by the Admin API. On disk, because then the
/// others learn of it as they would after any change that they have slept through.
fn grow(plans: &[Plan]) {
    let path = plans[0].dir.path().join(plan::META).join(plan::LAYOUT);
    let saved = fs::read(&path).expect("quickstart saves a layout");
    let mut history = History::decode(&saved).expect("it decodes");
    let now = Timestamp(1);
    for (index, plan) in plans.iter().enumerate() {
        let role =
            Role { zone: format!("zone-{index}"), capacity: Some(1 << 30), tags: Vec::new() };
        history.stage(plan.id, Some(role), now).expect("a sound role");
    }
    let replication = u16::try_from(plans.len().min(3)).expect("few");
    let bits = history.current().expect("a layout").parameters.bits;
    let parameters = Parameters { replication, bits, ..Parameters::default() };
    history.stage_parameters(parameters, now).expect("sound parameters");
    history.apply(2, ClusterId::default(), now).expect("it can be applied");
    fs::write(path, history.encode()).expect("there is space");
}

impl Plan {
    fn new(index: usize, binary: &Path, first: &Daemon, net: &Net) -> Self {
        let dir = match index {
            0 => first.shared_dir(),
            _ => Arc::new(tempfile::Builder::new().prefix("mews-").tempdir().expect("a directory")),
        };
        let meta = dir.path().join(plan::META);
        fs::create_dir_all(&meta).expect("a writable directory");
        let path = meta.join(plan::NODE_KEY);
        if index > 0 {
            write_secret(&path, &NodeKey::from_random(random()).to_text());
        }
        let key = NodeKey::from_text(&fs::read_to_string(&path).expect("a key")).expect("a key");
        let rpc = free_port();
        let public = net.proxy(index, rpc);
        Self { binary: binary.to_owned(), dir, id: key.id(), rpc, public }
    }

    /// Writes the configuration file; the arguments that name it.
    fn configure(&self, secret: &str, all: &[Self]) -> Vec<String> {
        let dir = self.dir.path();
        let bootstrap = format!("{}@{}", all[0].id, all[0].public);
        let text = format!(
            "metadata_dir = {meta:?}\n\
             data_dir = {data:?}\n\
             replication_factor = 3\n\
             rpc_secret = \"{secret}\"\n\
             rpc_bind_addr = \"{rpc}\"\n\
             rpc_public_addr = \"{public}\"\n\
             bootstrap_peers = [\"{bootstrap}\"]\n\
             [s3_api]\n\
             api_bind_addr = \"127.0.0.1:0\"\n\
             s3_region = \"mews\"\n",
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
