//! What a new layout would mean, before it is applied.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    layout::{Layout, Role},
    solve,
};
use crate::{id::NodeId, view::Consistency};

/// The consequences of going from one layout to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The new version's number.
    pub version: u64,
    /// Copies of everything.
    pub replication: u16,
    /// Over how many zones each partition is spread.
    pub zones: usize,
    /// How many partitions there are.
    pub partitions: u64,
    /// Bytes that a partition can hold, before and after.
    pub partition_size: (Option<u64>, u64),
    /// Everybody who had or has a role, in order of id.
    pub nodes: Vec<NodePlan>,
    /// What may fail.
    pub survives: Survival,
}

/// What changes for one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// Which.
    pub node: NodeId,
    /// Its role until now.
    pub before: Option<Role>,
    /// Its role from now on.
    pub after: Option<Role>,
    /// Partitions that it has and keeps.
    pub kept: u64,
    /// Partitions that it must fetch.
    pub gained: u64,
    /// Partitions that it gives away.
    pub lost: u64,
}

impl NodePlan {
    /// Partitions that it will hold.
    pub fn partitions(&self) -> u64 {
        self.kept + self.gained
    }
}

/// How many whole zones, or how many nodes, may fail at once, wherever they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survival {
    /// Everything can still be written.
    pub writes: Failures,
    /// Everything can still be read.
    pub reads: Failures,
    /// Nothing is lost.
    pub data: Failures,
}

/// So many failures of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// Any so many zones.
    pub zones: usize,
    /// Any so many nodes.
    pub nodes: usize,
}

impl Plan {
    /// Bytes that the cluster can hold, each object counted once.
    pub fn usable(&self) -> u64 {
        self.partition_size.1.saturating_mul(self.partitions)
    }

    /// The same with the layout before.
    pub fn usable_before(&self) -> Option<u64> {
        self.partition_size.0.map(|size| size.saturating_mul(self.partitions))
    }

    /// Copies of partitions that are fetched over the network.
    pub fn moved(&self) -> u64 {
        self.nodes.iter().map(|node| node.gained).sum()
    }

    /// Bytes that are fetched over the network, if `stored` bytes are stored, each object counted once. Partitions are filled
    /// alike, by hash.
    pub fn bytes_moved(&self, stored: u64) -> u64 {
        let bytes =
            u128::from(stored) * u128::from(self.moved()) / u128::from(self.partitions.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// What going from `old` to `new` means.
pub fn explain(old: Option<&Layout>, new: &Layout) -> Plan {
    let mut nodes = BTreeMap::new();
    let roles = |layout: &Layout| layout.roles.keys().copied().collect::<Vec<_>>();
    for node in old.map(roles).into_iter().flatten().chain(roles(new)) {
        nodes.entry(node).or_insert_with(|| NodePlan {
            node,
            before: old.and_then(|layout| layout.roles.get(&node)).cloned(),
            after: new.roles.get(&node).cloned(),
            kept: 0,
            gained: 0,
            lost: 0,
        });
    }
    for partition in 0..new.partitions() {
        let before = old.map(|layout| layout.replicas(partition)).unwrap_or_default();
        let after = new.replicas(partition);
        for node in before.iter().chain(&after).collect::<BTreeSet<_>>() {
            let Some(plan) = nodes.get_mut(node) else { continue };
            match (before.contains(node), after.contains(node)) {
                (true, true) => plan.kept += 1,
                (true, false) => plan.lost += 1,
                (false, true) => plan.gained += 1,
                (false, false) => {}
            }
        }
    }
    let zones: BTreeSet<&str> = new
        .storage
        .iter()
        .filter_map(|node| new.roles.get(node))
        .map(|r| r.zone.as_str())
        .collect();
    Plan {
        version: new.version,
        replication: new.parameters.replication,
        zones: solve::redundancy(new.parameters, zones.len()),
        partitions: new.partitions() as u64,
        partition_size: (old.map(Layout::partition_size), new.partition_size()),
        nodes: nodes.into_values().collect(),
        survives: survival(new),
    }
}

fn survival(layout: &Layout) -> Survival {
    let copies = usize::from(layout.parameters.replication);
    let quorums = Consistency::Consistent.quorums(copies);
    // By zone how many copies are in it, the most first: for each partition, the worst that failing zones can do.
    let spreads: BTreeSet<Vec<usize>> = (0..layout.partitions())
        .map(|partition| {
            let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
            for node in layout.replicas(partition) {
                let zone = layout.roles.get(&node).map_or("", |role| role.zone.as_str());
                *zones.entry(zone).or_default() += 1;
            }
            let mut spread: Vec<usize> = zones.into_values().collect();
            spread.sort_unstable_by(|a, b| b.cmp(a));
            spread
        })
        .collect();
    let failures = |needed: usize| {
        let spare = copies.saturating_sub(needed);
        let zones = spreads.iter().map(|spread| {
            let mut lost = 0;
            spread
                .iter()
                .take_while(|copies| {
                    lost += **copies;
                    lost <= spare
                })
                .count()
        });
        Failures { zones: zones.min().unwrap_or(0), nodes: spare }
    };
    Survival { writes: failures(quorums.write), reads: failures(quorums.read), data: failures(1) }
}
