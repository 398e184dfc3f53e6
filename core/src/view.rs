//! What every task may look at: an immutable picture of the cluster and of the configuration, replaced and never mutated.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    id::{NodeId, Position},
    metrics::Metrics,
    placement::layout::Layout,
};

/// The cluster and the configuration as of one moment. Shared as `Arc<View>`.
#[derive(Clone, Debug)]
pub struct View {
    /// This node.
    pub node: NodeId,
    /// Tells this start of the process from earlier ones: intents of earlier boots are dead.
    pub boot: u64,
    /// Who holds what.
    pub ring: Ring,
    /// The other nodes that there are, and how they are.
    pub peers: BTreeMap<NodeId, Peer>,
    /// The own database lacks rows that it should have (the disk was replaced, say): until it has fetched them, what it does not
    /// find means nothing, and reads go to others.
    pub recovering: bool,
    /// The newest layout that the own database says it has all rows of; 0 for a new one.
    pub complete: u64,
    /// What the operator chose.
    pub config: Config,
    /// Where whatever happens is counted. The only thing in here that changes, and nothing is decided by it.
    pub metrics: Arc<Metrics>,
}

impl View {
    /// The view of a node that is alone.
    pub fn single(node: NodeId, boot: u64, config: Config) -> Self {
        let (ring, peers, metrics) = (Ring::single(node), BTreeMap::new(), Arc::default());
        Self { node, boot, ring, peers, recovering: false, complete: 1, config, metrics }
    }

    /// Whether what this node does not find was never there, to somebody who knows that the storage nodes of layout `version` have all
    /// said that they have its data.
    ///
    /// A node that has lost its disks has lost what it knew of layouts too, and learns only by and by that it has lost anything:
    /// a reader who counts on this node knows it better.
    pub fn vouches_for(&self, version: u64) -> bool {
        let counted_on = self.ring.stores(version, self.node).unwrap_or(true);
        let complete = self.complete >= version || !counted_on;
        self.ring.version() > 0 && !self.recovering && complete
    }
}

/// Another node, as this one sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Whether there is a connection to it.
    pub up: bool,
    /// The round trip to it, smoothed; `None` before the first measurement.
    pub rtt: Option<Duration>,
}

/// Which nodes hold which positions.
///
/// While the layout changes, several versions are in force at once: writes go to a quorum of the replica set in each of them, reads
/// to one that has all its data.
#[derive(Clone, Debug)]
pub struct Ring {
    /// The newest layout's version; 0 if there is none yet.
    version: u64,
    read: Arc<Sets>,
    /// From the oldest version in force to the newest; sets that are the same in two versions stand here twice.
    writes: Vec<Arc<Sets>>,
    /// Versions that are no longer in force, but whose nodes may still have blocks that others lack; newest first.
    retired: Vec<Arc<Sets>>,
    everyone: Vec<NodeId>,
    mode: Consistency,
}

/// How much of the machine background work may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// A tenth of the time, and next to nothing while there are requests.
    Idle,
    /// Half of the time, and less while requests wait longer than usual.
    #[default]
    Normal,
    /// All of it, or nearly: there is nobody to yield to.
    Fast,
}

impl Pace {
    /// All of them, slowest first.
    pub const ALL: [Self; 3] = [Self::Idle, Self::Normal, Self::Fast];

    /// Its name in the configuration and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Normal => "normal",
            Self::Fast => "fast",
        }
    }

    /// The pace of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pace| pace.name() == name)
    }
}

/// What an answer is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Reads and writes by quorums that overlap.
    #[default]
    Consistent,
    /// Reads of one replica: may miss what was just written.
    Degraded,
    /// Reads and writes of one replica: may lose what was just written.
    Dangerous,
}

/// The replica sets of one layout.
#[derive(Debug)]
struct Sets {
    version: u64,
    bits: u8,
    /// The different sets, members nearest first.
    sets: Vec<Vec<NodeId>>,
    /// For each partition, its set.
    of: Arc<[u16]>,
    /// All that hold anything, nearest first.
    storage: Vec<NodeId>,
}

impl Sets {
    fn new(layout: &Layout, near: &dyn Fn(NodeId) -> (u64, NodeId)) -> Self {
        let mut sets: Vec<Vec<NodeId>> = Vec::new();
        let mut index = BTreeMap::new();
        let of = (0..layout.partitions()).map(|partition| {
            let nodes = layout.replicas(partition);
            *index.entry(nodes).or_insert_with_key(|nodes| {
                let mut nodes = nodes.clone();
                nodes.sort_by_key(|node| near(*node));
                sets.push(nodes);
                u16::try_from(sets.len() - 1).expect("not more sets than partitions, at most 4096")
            })
        });
        let of = of.collect();
        let mut storage = layout.storage.clone();
        storage.sort_by_key(|node| near(*node));
        Self { version: layout.version, bits: layout.parameters.bits, sets, of, storage }
    }

    /// The same sets with their members in another order: which partition has which stays as it is.
    fn ordered(&self, near: &dyn Fn(NodeId) -> (u64, NodeId)) -> Self {
        let (mut sets, mut storage) = (self.sets.clone(), self.storage.clone());
        for nodes in sets.iter_mut().chain([&mut storage]) {
            nodes.sort_by_key(|node| near(*node));
        }
        Self { version: self.version, bits: self.bits, sets, of: Arc::clone(&self.of), storage }
    }

    fn at(&self, position: Position) -> &[NodeId] {
        let partition = usize::from(position.0) >> (16 - self.bits);
        &self.sets[usize::from(self.of[partition])]
    }
}

impl Ring {
    /// The ring of a cluster of one.
    pub fn single(node: NodeId) -> Self {
        let sets = Arc::new(Sets {
            version: 1,
            bits: 0,
            sets: vec![vec![node]],
            of: Arc::new([0]),
            storage: vec![node],
        });
        Self {
            version: 1,
            read: Arc::clone(&sets),
            writes: vec![sets],
            retired: Vec::new(),
            everyone: vec![node],
            mode: Consistency::Consistent,
        }
    }

    /// The ring of a cluster that has no layout yet: nothing can be read or written.
    pub fn empty() -> Self {
        let sets = Arc::new(Sets {
            version: 0,
            bits: 0,
            sets: vec![Vec::new()],
            of: Arc::new([0]),
            storage: Vec::new(),
        });
        Self {
            version: 0,
            read: Arc::clone(&sets),
            writes: vec![sets],
            retired: Vec::new(),
            everyone: Vec::new(),
            mode: Consistency::Consistent,
        }
    }

    /// The ring of these layouts: `active` in order of version and not empty, `read` the version that reads go to (one of
    /// them), `retired` older ones. `near` orders the members of a set, the nearest least.
    pub fn new(
        active: &[&Layout],
        read: u64,
        retired: &[&Layout],
        mode: Consistency,
        near: &dyn Fn(NodeId) -> (u64, NodeId),
    ) -> Self {
        let writes: Vec<Arc<Sets>> =
            active.iter().map(|layout| Arc::new(Sets::new(layout, near))).collect();
        let newest = writes.last().expect("at least one layout is in force");
        let read = writes.iter().find(|sets| sets.version == read);
        let read = Arc::clone(read.expect("reads go to a version in force"));
        let mut everyone: Vec<NodeId> =
            active.iter().flat_map(|layout| layout.roles.keys().copied()).collect();
        everyone.sort_by_key(|node| near(*node));
        everyone.dedup();
        Self {
            version: newest.version,
            read,
            retired: retired.iter().map(|layout| Arc::new(Sets::new(layout, near))).collect(),
            writes,
            everyone,
            mode,
        }
    }

    /// The ring of the same layouts, seen by other distances. Much less work than a [new](Self::new) one.
    #[must_use]
    pub fn ordered(&self, near: &dyn Fn(NodeId) -> (u64, NodeId)) -> Self {
        let ordered = |sets: &Arc<Sets>| Arc::new(sets.ordered(near));
        let writes: Vec<Arc<Sets>> = self.writes.iter().map(ordered).collect();
        let read = writes.iter().find(|sets| sets.version == self.read.version);
        let mut everyone = self.everyone.clone();
        everyone.sort_by_key(|node| near(*node));
        Self {
            version: self.version,
            read: Arc::clone(read.expect("reads go to a version in force")),
            retired: self.retired.iter().map(ordered).collect(),
            writes,
            everyone,
            mode: self.mode,
        }
    }

    /// The newest layout's version; 0 if there is none yet.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The version that reads go by.
    pub fn read_version(&self) -> u64 {
        self.read.version
    }

    /// Whether `node` holds anything in this version; `None` if that is not in force.
    fn stores(&self, version: u64, node: NodeId) -> Option<bool> {
        let sets = self.writes.iter().find(|sets| sets.version == version)?;
        Some(sets.storage.contains(&node))
    }

    /// The oldest version in force.
    pub fn oldest(&self) -> u64 {
        self.writes.first().map_or(0, |sets| sets.version)
    }

    /// The nodes to read `position` from, with the quorums that overlap: r nodes, ⌈r/2⌉ to read, r+1−⌈r/2⌉ to write.
    pub fn replicas(&self, position: Position) -> Replicas<'_> {
        Replicas { nodes: self.read.at(position), mode: self.mode }
    }

    /// The replica sets that a write of `position` needs a quorum of, each: one, unless the layout is changing.
    pub fn write_sets(&self, position: Position) -> Vec<Replicas<'_>> {
        self.distinct(|sets| sets.at(position))
    }

    /// The nodes that hold everything of the full-copy tables and count for their quorums.
    pub fn full_copy(&self) -> Replicas<'_> {
        Replicas { nodes: &self.read.storage, mode: self.mode }
    }

    /// The same for writes, as in [`Ring::write_sets`].
    pub fn full_copy_write_sets(&self) -> Vec<Replicas<'_>> {
        self.distinct(|sets| &sets.storage)
    }

    /// Everybody with a role in a version in force, gateways too, nearest first: whom full-copy rows are sent to.
    pub fn everyone(&self) -> &[NodeId] {
        &self.everyone
    }

    /// Where a block may be, likeliest first: those who should have it, then those who had to in the past.
    pub fn sources(&self, position: Position) -> Vec<NodeId> {
        let all = [&self.read].into_iter().chain(self.writes.iter().rev()).chain(&self.retired);
        let mut nodes = Vec::new();
        for node in all.flat_map(|sets| sets.at(position)) {
            if !nodes.contains(node) {
                nodes.push(*node);
            }
        }
        nodes
    }

    /// Everybody who holds `position` in a version in force: for a row to be forgotten, each of them has to agree.
    pub fn holders(&self, position: Position) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        for node in self.writes.iter().flat_map(|sets| sets.at(position)) {
            if !nodes.contains(node) {
                nodes.push(*node);
            }
        }
        nodes
    }

    /// The partitions, as first and last position: the largest ranges that lie within one partition of each version in force.
    pub fn partitions(&self) -> impl Iterator<Item = (Position, Position)> + use<> {
        let bits = self.writes.iter().map(|sets| sets.bits).max().unwrap_or(0);
        let width = (1_u32 << 16) >> bits;
        (0..1_u32 << bits).map(move |partition| {
            let first = u16::try_from(partition * width).expect("below 2 to the 16th");
            (
                Position(first),
                Position(first + u16::try_from(width - 1).expect("at most 2 to the 16th")),
            )
        })
    }

    /// Whether `node` holds `position` in a version in force.
    pub fn holds(&self, node: NodeId, position: Position) -> bool {
        self.writes.iter().any(|sets| sets.at(position).contains(&node))
    }

    fn distinct<'a>(&'a self, of: impl Fn(&'a Sets) -> &'a [NodeId]) -> Vec<Replicas<'a>> {
        let mut sets: Vec<Replicas<'a>> = Vec::with_capacity(1);
        for version in &self.writes {
            let replicas = Replicas { nodes: of(version), mode: self.mode };
            if !sets.contains(&replicas) {
                sets.push(replicas);
            }
        }
        sets
    }
}

/// The replica set of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas<'a> {
    /// The members, nearest first.
    pub nodes: &'a [NodeId],
    mode: Consistency,
}

impl Replicas<'_> {
    /// How many must answer a read.
    pub fn read_quorum(&self) -> usize {
        self.mode.quorums(self.nodes.len()).read
    }

    /// How many must have been asked, so that what is known to a quorum of writes is known to one of them: for a replica that vouches
    /// for its data. Not fewer where the operator has chosen to read less: that is about single answers, and this about what all
    /// later ones build on. Where writes have no quorum either, a majority is as good as it gets without waiting for everybody.
    pub fn sync_quorum(&self) -> usize {
        Consistency::Consistent.quorums(self.nodes.len()).read
    }

    /// How many must agree for what they agree on to be on a write quorum: with an even number of replicas one more than a read
    /// quorum. Where reads may miss what was written, they do not ask for more than they need.
    pub fn sure_quorum(&self) -> usize {
        match self.mode {
            Consistency::Consistent => self.write_quorum(),
            Consistency::Degraded | Consistency::Dangerous => self.read_quorum(),
        }
    }

    /// How many must have committed a write.
    pub fn write_quorum(&self) -> usize {
        self.mode.quorums(self.nodes.len()).write
    }
}

/// How many of some replicas must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorums {
    /// To a read.
    pub read: usize,
    /// To a write.
    pub write: usize,
}

impl Consistency {
    /// The quorums among so many replicas.
    pub fn quorums(self, replicas: usize) -> Quorums {
        let (read, one) = (replicas.div_ceil(2), replicas.min(1));
        let write = replicas + 1 - read;
        match self {
            Self::Consistent => Quorums { read, write },
            Self::Degraded => Quorums { read: one, write },
            Self::Dangerous => Quorums { read: one, write: one },
        }
    }
}

/// What can be changed of background work while it runs: see [`crate::job::variables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// How much of the machine background work may take.
    pub pace: Pace,
    /// In how long the scrub looks at every block once.
    pub scrub_interval: Duration,
    /// How many snapshots of the metadata are kept.
    pub snapshots_kept: u32,
    /// For how long after a snapshot the blocks of what is deleted stay on disk.
    pub snapshot_hold: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            pace: Pace::Normal,
            scrub_interval: 30 * DAY,
            snapshots_kept: 2,
            snapshot_hold: 3 * DAY,
        }
    }
}

/// What websites are served by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// `bucket.ROOT_DOMAIN` in a Host header names a bucket's website. Lower case, without a leading dot.
    pub root_domain: Option<String>,
    /// The index document of a website that is set up without one being named.
    pub index: String,
}

impl Default for Web {
    fn default() -> Self {
        Self { root_domain: None, index: "index.html".to_owned() }
    }
}

/// The configuration, checked and with its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The region this store says it is in.
    pub region: String,
    /// Whether a signature for another region is refused.
    pub region_strict: bool,
    /// `bucket.ROOT_DOMAIN` in a Host header names a bucket. Lower case, without a leading dot.
    pub root_domain: Option<String>,
    /// What websites are served by.
    pub web: Web,
    /// Objects are cut into blocks of this many bytes.
    pub block_size: u32,
    /// Payloads up to this many bytes live in a row.
    pub inline_max: u32,
    /// zstd level for blocks; `None` stores them as they are.
    pub compression: Option<i32>,
    /// How many index shards a new bucket gets.
    pub index_shards: u16,
    /// How long data that was replaced or deleted stays listed, for reads that have begun; and after that, how long its blocks stay
    /// on disk.
    pub block_delay: Duration,
    /// How long a closed upload or a tombstone is remembered.
    pub tombstone_delay: Duration,
    /// What reads and writes promise.
    pub consistency: Consistency,
    /// What can be changed of background work while it runs.
    pub tuning: Tuning,
    /// How often a snapshot of the metadata is made; `None` for never.
    pub snapshot_interval: Option<Duration>,
    /// How many copies a cluster's first layout makes; from then on, the layouts say.
    pub replication_factor: u16,
    /// Whether changes are on the disk before they are acknowledged, and not only with the operating system.
    pub metadata_fsync: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            region: "mews".to_owned(),
            region_strict: false,
            root_domain: None,
            web: Web::default(),
            block_size: 1 << 20,
            // Two pages of the database: a larger row would be cheaper as a file.
            inline_max: 8 << 10,
            compression: Some(1),
            index_shards: 16,
            block_delay: Duration::from_secs(600),
            tombstone_delay: Duration::from_secs(24 * 3600),
            consistency: Consistency::Consistent,
            tuning: Tuning::default(),
            snapshot_interval: None,
            replication_factor: 3,
            metadata_fsync: true,
        }
    }
}
