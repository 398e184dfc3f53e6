//! The best assignment of partitions to nodes.
//!
//! Objectives, in order: the most usable capacity, then the least that moves from the previous layout, then balance: equal
//! fill of the nodes, as the least sum of load²/capacity. The first two are those of Garage (Auvolat, Bouzidi: "An algorithm
//! for geo-distributed and redundant storage in Garage", arXiv 2302.13798). All is in integers, and nodes and partitions are gone
//! through in order, so that the same input gives the same layout on every machine.
//!
//! *Capacity.* A partition size s is possible if the nodes' quotas ⌊capacity/s⌋ admit an assignment. Partitions are alike, so the
//! network of the paper has a minimum cut that treats them alike, and max-flow becomes two sums; see `Problem::possible`.
//! Bisection finds the greatest s.
//!
//! *Movement and balance* are in `assign`.

mod assign;
mod exchange;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::layout::{Layout, LayoutError, NODES_MAX, Parameters, Redundancy, Role};
use crate::id::NodeId;

/// Why there is no layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SolveError {
    /// Fewer storage nodes than copies.
    TooFewNodes {
        /// Storage nodes that there are.
        nodes: usize,
        /// Copies asked for.
        replication: u16,
    },
    /// Fewer zones with storage nodes than the redundancy asks for.
    TooFewZones {
        /// Zones that there are.
        zones: usize,
        /// Zones asked for.
        redundancy: u16,
    },
    /// The capacities are so small, or so unequal, that a partition would not hold a byte.
    NoCapacity,
    /// Roles or parameters that no layout can have.
    Invalid(LayoutError),
}

impl std::fmt::Display for SolveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooFewNodes { nodes, replication } => write!(
                f,
                "{replication} copies need as many storage nodes, and there are {nodes}: add nodes, or lower the replication factor"
            ),
            Self::TooFewZones { zones, redundancy } => write!(
                f,
                "copies in {redundancy} zones need as many zones with storage nodes, and there are {zones}"
            ),
            Self::NoCapacity => write!(f, "the storage nodes' capacities are too small"),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SolveError {}

/// The best layout of these roles and parameters, as number `version`, seen from the `previous` one.
pub fn solve(
    previous: Option<&Layout>,
    version: u64,
    roles: BTreeMap<NodeId, Role>,
    parameters: Parameters,
) -> Result<Layout, SolveError> {
    parameters.check().map_err(SolveError::Invalid)?;
    roles.values().try_for_each(Role::check).map_err(SolveError::Invalid)?;
    if roles.len() > NODES_MAX {
        return Err(SolveError::Invalid(LayoutError::Nodes(roles.len())));
    }
    let stores = |(node, role): (&NodeId, &Role)| role.capacity.map(|bytes| (*node, bytes));
    let (storage, capacities): (Vec<NodeId>, Vec<u64>) = roles.iter().filter_map(stores).unzip();
    let names: Vec<&str> = storage.iter().map(|node| roles[node].zone.as_str()).collect();
    let mut zones = names.clone();
    zones.sort_unstable();
    zones.dedup();
    let zone_of = names.iter().map(|name| zones.partition_point(|zone| zone < name)).collect();
    let previous = previous.filter(|layout| layout.parameters.bits == parameters.bits);
    let index = |node: &NodeId| storage.binary_search(node).ok();
    let before = |partition| {
        let nodes = previous.map(|layout| layout.replicas(partition)).unwrap_or_default();
        nodes.iter().filter_map(index).collect()
    };
    let problem = Problem {
        replication: usize::from(parameters.replication),
        redundancy: redundancy(parameters, zones.len()),
        zones: zones.len(),
        zone_of,
        capacities,
        before: (0..1 << parameters.bits).map(before).collect(),
    };
    let assignment = problem.solve()?;
    let assignment = assignment.iter().flatten();
    let assignment = assignment.map(|n| u16::try_from(*n).expect("fewer nodes than 65536"));
    Ok(Layout { version, parameters, roles, storage, assignment: assignment.collect() })
}

/// Over how many zones each partition is spread, where there are `zones` with storage.
pub fn redundancy(parameters: Parameters, zones: usize) -> usize {
    match parameters.redundancy {
        Redundancy::AtLeast(zones) => usize::from(zones),
        Redundancy::Maximum => zones.min(usize::from(parameters.replication)),
    }
}

/// The question in numbers: nodes, zones and partitions are counted from 0.
#[derive(Clone, Debug)]
struct Problem {
    replication: usize,
    /// In how many zones each partition must be.
    redundancy: usize,
    zones: usize,
    zone_of: Vec<usize>,
    capacities: Vec<u64>,
    /// For each partition, which of the nodes had it.
    before: Vec<Vec<usize>>,
}

impl Problem {
    fn partitions(&self) -> usize {
        self.before.len()
    }

    /// For each partition, its nodes in order.
    fn solve(&self) -> Result<Vec<Vec<usize>>, SolveError> {
        let size = self.size()?;
        Ok(assign::assign(self, &self.quotas(size)))
    }

    /// Whether a partition on these nodes may get `node` too, and find the rest of its nodes after that.
    fn admits(&self, nodes: &[usize], node: usize) -> bool {
        nodes.len() < self.replication
            && !nodes.contains(&node)
            && self.spreads(nodes.iter().chain([&node]))
    }

    /// Whether these nodes can be among those of one partition.
    fn holds(&self, nodes: &[usize]) -> bool {
        let distinct = nodes.iter().enumerate().all(|(n, node)| !nodes[..n].contains(node));
        distinct && nodes.len() <= self.replication && self.spreads(nodes.iter())
    }

    /// Whether enough zones are among these nodes' or can still be, with the copies that are missing.
    fn spreads<'n>(&self, nodes: impl Iterator<Item = &'n usize> + Clone) -> bool {
        let (mut zones, mut count) = (0, 0);
        for (n, node) in nodes.clone().enumerate() {
            let zone = self.zone_of[*node];
            count += 1;
            zones += usize::from(nodes.clone().take(n).all(|other| self.zone_of[*other] != zone));
        }
        zones + (self.replication - count) >= self.redundancy
    }

    /// How many partitions of `size` bytes each node has room for, as far as there are so many.
    fn quotas(&self, size: u64) -> Vec<usize> {
        let most = self.partitions();
        let quota = |bytes: &u64| usize::try_from(bytes / size).map_or(most, |q| q.min(most));
        self.capacities.iter().map(quota).collect()
    }

    /// Whether all partitions find `replication` nodes in `redundancy` zones within these quotas.
    ///
    /// Each partition sends `redundancy` units through different zones and the rest anywhere. A zone takes at most one unit of
    /// the first kind from each partition, and no more in all than its nodes' quotas. By max-flow and min-cut, that is all.
    fn possible(&self, quotas: &[usize]) -> bool {
        let mut room = vec![0; self.zones];
        for (node, quota) in quotas.iter().enumerate() {
            room[self.zone_of[node]] += quota;
        }
        let spread: usize = room.iter().map(|zone| (*zone).min(self.partitions())).sum();
        let all: usize = room.iter().sum();
        spread >= self.partitions() * self.redundancy && all >= self.partitions() * self.replication
    }

    /// The greatest possible size of a partition, in bytes.
    fn size(&self) -> Result<u64, SolveError> {
        if self.capacities.len() < self.replication {
            let replication = u16::try_from(self.replication).expect("it was a u16");
            return Err(SolveError::TooFewNodes { nodes: self.capacities.len(), replication });
        }
        if self.zones < self.redundancy {
            let redundancy = u16::try_from(self.redundancy).expect("it was a u16");
            return Err(SolveError::TooFewZones { zones: self.zones, redundancy });
        }
        let (mut possible, mut impossible) =
            (0, self.capacities.iter().max().map_or(1, |most| most.saturating_add(1)));
        while impossible - possible > 1 {
            let size = possible + (impossible - possible) / 2;
            if self.possible(&self.quotas(size)) {
                possible = size;
            } else {
                impossible = size;
            }
        }
        if possible == 0 { Err(SolveError::NoCapacity) } else { Ok(possible) }
    }
}
