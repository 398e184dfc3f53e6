//! What every task may look at: an immutable picture of the cluster and of the configuration, replaced and never mutated.

use std::time::Duration;

use crate::id::{NodeId, Position};

/// The cluster and the configuration as of one moment. Shared as `Arc<View>`.
#[derive(Clone, Debug)]
pub struct View {
    /// This node.
    pub node: NodeId,
    /// Tells this start of the process from earlier ones: intents of earlier boots are dead.
    pub boot: u64,
    /// Who holds what.
    pub ring: Ring,
    /// What the operator chose.
    pub config: Config,
}

/// Which nodes hold which positions.
#[derive(Clone, Debug)]
pub struct Ring {
    members: Vec<NodeId>,
}

impl Ring {
    /// The ring of a cluster of one.
    pub fn single(node: NodeId) -> Self {
        Self { members: vec![node] }
    }

    /// The nodes that hold `position`, with the quorums that overlap: r nodes, ⌈r/2⌉ to read, r+1−⌈r/2⌉ to write.
    pub fn replicas(&self, _position: Position) -> Replicas<'_> {
        // One layout, one member: every position is everywhere. The assignment of partitions joins with placement.
        Replicas { nodes: &self.members }
    }
}

/// The replica set of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas<'a> {
    /// The members, nearest first.
    pub nodes: &'a [NodeId],
}

impl Replicas<'_> {
    /// How many must answer a read.
    pub fn read_quorum(&self) -> usize {
        self.nodes.len().div_ceil(2)
    }

    /// How many must have committed a write.
    pub fn write_quorum(&self) -> usize {
        self.nodes.len() + 1 - self.read_quorum()
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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            region: "mews".to_owned(),
            region_strict: false,
            root_domain: None,
            block_size: 1 << 20,
            // Two pages of the database: a larger row would be cheaper as a file.
            inline_max: 8 << 10,
            compression: Some(1),
            index_shards: 16,
            block_delay: Duration::from_secs(600),
            tombstone_delay: Duration::from_secs(24 * 3600),
        }
    }
}
