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
