//! One version of the cluster's layout: who takes part, with what, and which nodes hold which partition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, Position};

/// What a node is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Role {
    /// Nodes that are likely to fail together: a home, a rack, a datacenter.
    #[serde(rename = "z")]
    pub zone: String,
    /// How many bytes it gives; `None` for a gateway, which serves requests and stores nothing sharded.
    #[serde(rename = "c")]
    pub capacity: Option<u64>,
    /// Words for people.
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// Over how many zones the replicas of a partition are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Redundancy {
    /// Over at least so many zones.
    #[serde(rename = "n")]
    AtLeast(u16),
    /// Over as many as there are zones, up to the replication factor.
    #[serde(rename = "m")]
    Maximum,
}

/// What a layout is computed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Parameters {
    /// Copies of everything.
    #[serde(rename = "r")]
    pub replication: u16,
    /// See [`Redundancy`].
    #[serde(rename = "z")]
    pub redundancy: Redundancy,
    /// The partitions are 2 to the power of this: 8 to 12, so 256 to 4096. Fixed for the cluster's life.
    #[serde(rename = "b")]
    pub bits: u8,
}

/// The longest zone name, and the longest tag, in bytes.
pub const NAME_MAX: usize = 128;

/// Tags of a node.
pub const TAGS_MAX: usize = 16;

/// Nodes of a layout: indices into them are 16 bits, and the solver's tables grow with their square.
pub const NODES_MAX: usize = 1024;

/// Copies of everything: more replicas than this are a slip.
pub const REPLICATION_MAX: u16 = 16;

/// What is wrong with a layout, a role or parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The replication factor is 0 or above [`REPLICATION_MAX`].
    Replication(u16),
    /// A redundancy of 0 zones, or of more zones than there are copies.
    Redundancy(u16),
    /// The number of partitions is not 2 to the power of 8 to 12.
    Bits(u8),
    /// A zone's name is empty or longer than [`NAME_MAX`].
    Zone,
    /// More than [`TAGS_MAX`] tags, or a tag that is empty or longer than [`NAME_MAX`].
    Tags,
    /// A storage node with less than [`CAPACITY_MIN`] bytes.
    Capacity(u64),
    /// More than [`NODES_MAX`] nodes.
    Nodes(usize),
    /// The assignment does not fit the roles.
    Assignment,
}

impl std::fmt::Display for LayoutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Replication(r) => {
                write!(f, "a replication factor of {r}: it must be from 1 to {REPLICATION_MAX}")
            }
            Self::Redundancy(zones) => write!(
                f,
                "a zone redundancy of {zones}: it must be from 1 to the replication factor"
            ),
            Self::Bits(bits) => write!(f, "2^{bits} partitions: it must be 2^8 to 2^12"),
            Self::Zone => write!(f, "a zone's name must have 1 to {NAME_MAX} bytes"),
            Self::Tags => write!(f, "at most {TAGS_MAX} tags, each of 1 to {NAME_MAX} bytes"),
            Self::Capacity(bytes) => {
                write!(f, "a capacity of {bytes} bytes: it must be at least {CAPACITY_MIN}")
            }
            Self::Nodes(nodes) => write!(f, "{nodes} nodes: at most {NODES_MAX} are possible"),
            Self::Assignment => write!(f, "the assignment of partitions does not fit the roles"),
        }
    }
}

impl std::error::Error for LayoutError {}

/// The least that a storage node may give: below, a partition would not hold a byte.
pub const CAPACITY_MIN: u64 = 4096;

impl Role {
    /// Whether a layout may contain this.
    pub fn check(&self) -> Result<(), LayoutError> {
        let named = |name: &String| !name.is_empty() && name.len() <= NAME_MAX;
        if !named(&self.zone) {
            return Err(LayoutError::Zone);
        }
        if self.tags.len() > TAGS_MAX || !self.tags.iter().all(named) {
            return Err(LayoutError::Tags);
        }
        match self.capacity {
            Some(bytes) if bytes < CAPACITY_MIN => Err(LayoutError::Capacity(bytes)),
            Some(_) | None => Ok(()),
        }
    }
}

impl Parameters {
    /// Whether a layout may have these.
    pub fn check(&self) -> Result<(), LayoutError> {
        if !(1..=REPLICATION_MAX).contains(&self.replication) {
            return Err(LayoutError::Replication(self.replication));
        }
        if let Redundancy::AtLeast(zones) = self.redundancy
            && !(1..=self.replication).contains(&zones)
        {
            return Err(LayoutError::Redundancy(zones));
        }
        if !(8..=12).contains(&self.bits) {
            return Err(LayoutError::Bits(self.bits));
        }
        Ok(())
    }
}

/// What is to change of [`Parameters`]; `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParametersChange {
    /// See [`Parameters::replication`].
    pub replication: Option<u16>,
    /// See [`Parameters::redundancy`].
    pub redundancy: Option<Redundancy>,
    /// See [`Parameters::bits`].
    pub bits: Option<u8>,
}

impl ParametersChange {
    /// The changed parameters.
    pub fn upon(self, old: Parameters) -> Parameters {
        Parameters {
            replication: self.replication.unwrap_or(old.replication),
            redundancy: self.redundancy.unwrap_or(old.redundancy),
            bits: self.bits.unwrap_or(old.bits),
        }
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self { replication: 3, redundancy: Redundancy::Maximum, bits: 8 }
    }
}

/// One version of the layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Counts up from 1.
    #[serde(rename = "v")]
    pub version: u64,
    /// What it was computed for.
    #[serde(rename = "p")]
    pub parameters: Parameters,
    /// Everybody who takes part, gateways too.
    #[serde(rename = "n")]
    pub roles: BTreeMap<NodeId, Role>,
    /// The nodes that hold anything, in order of id: what [`Layout::assignment`] counts by.
    #[serde(rename = "s")]
    pub storage: Vec<NodeId>,
    /// For each partition in turn, as many indices into [`Layout::storage`] as there are copies.
    #[serde(rename = "a")]
    pub assignment: Vec<u16>,
}

impl Layout {
    /// The layout of a cluster of one: version 1, one copy of everything.
    pub fn single(node: NodeId, role: Role) -> Self {
        let parameters =
            Parameters { replication: 1, redundancy: Redundancy::Maximum, ..Parameters::default() };
        Self {
            version: 1,
            parameters,
            roles: BTreeMap::from([(node, role)]),
            storage: vec![node],
            assignment: vec![0; 1 << parameters.bits],
        }
    }

    /// Whether this holds together, as far as the rest of the program relies on it.
    pub fn check(&self) -> Result<(), LayoutError> {
        self.parameters.check()?;
        self.roles.values().try_for_each(Role::check)?;
        if self.roles.len() > NODES_MAX {
            return Err(LayoutError::Nodes(self.roles.len()));
        }
        let copies = usize::from(self.parameters.replication);
        let stores =
            |node: &NodeId| self.roles.get(node).is_some_and(|role| role.capacity.is_some());
        let distinct = |indices: &[u16]| {
            let mut seen = indices.to_vec();
            seen.sort_unstable();
            seen.windows(2).all(|pair| pair[0] < pair[1])
                && seen.last().is_none_or(|last| usize::from(*last) < self.storage.len())
        };
        let fits = self.version > 0
            && self.storage.iter().all(stores)
            && self.storage.windows(2).all(|pair| pair[0] < pair[1])
            && self.assignment.len() == self.partitions() * copies
            && self.assignment.chunks(copies).all(distinct);
        if fits { Ok(()) } else { Err(LayoutError::Assignment) }
    }

    /// For each node of [`Layout::storage`] in turn, how many partitions it holds.
    pub fn loads(&self) -> Vec<u64> {
        let mut loads = vec![0; self.storage.len()];
        for index in &self.assignment {
            if let Some(load) = loads.get_mut(usize::from(*index)) {
                *load += 1;
            }
        }
        loads
    }

    /// How many bytes a partition can hold before the first node is full.
    pub fn partition_size(&self) -> u64 {
        let room = self.storage.iter().zip(self.loads()).filter(|(_, load)| *load > 0);
        let size = room.map(|(node, load)| {
            let capacity = self.roles.get(node).and_then(|role| role.capacity);
            capacity.unwrap_or(0) / load
        });
        size.min().unwrap_or(0)
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> usize {
        1 << self.parameters.bits
    }

    /// The partition that a position falls into.
    pub fn partition_of(&self, position: Position) -> usize {
        usize::from(position.0 >> (16 - self.parameters.bits))
    }

    /// The nodes that hold a partition, in order of id.
    pub fn replicas(&self, partition: usize) -> Vec<NodeId> {
        let copies = usize::from(self.parameters.replication);
        let indices = self.assignment.get(partition * copies..(partition + 1) * copies);
        let indices = indices.unwrap_or_default().iter();
        let mut nodes: Vec<NodeId> =
            indices.filter_map(|index| self.storage.get(usize::from(*index)).copied()).collect();
        nodes.sort_unstable();
        nodes
    }
}
