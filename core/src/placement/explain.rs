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
    /// Bytes that are stored, each object counted once; `None` where nobody has counted.
    pub stored: Option<u64>,
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
        self.share(stored, self.moved())
    }

    /// Bytes in so many copies of partitions, where it is known what is stored.
    pub fn bytes(&self, copies: u64) -> Option<u64> {
        self.stored.map(|stored| self.share(stored, copies))
    }

    fn share(&self, stored: u64, copies: u64) -> u64 {
        let bytes = u128::from(stored) * u128::from(copies) / u128::from(self.partitions.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Display for Plan {
    /// The plan for people, as several lines: what is gained, what moves, what may fail, and a line for each node.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let copies = self.partitions * u64::from(self.replication);
        let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let copy = if self.replication == 1 { "copy" } else { "copies" };
        writeln!(
            f,
            "Version {}: {} {copy} of everything, in {}; {} partitions of up to {}.",
            self.version,
            self.replication,
            counted(self.zones, "zone"),
            self.partitions,
            Bytes(self.partition_size.1),
        )?;
        write!(f, "Usable capacity: {}", Bytes(self.usable()))?;
        match self.usable_before() {
            Some(before) => writeln!(f, " (before: {}).", Bytes(before))?,
            None => writeln!(f, ".")?,
        }
        let moved = self.moved();
        // In tenths of a percent, rounded.
        let share = (moved * 1000 + copies / 2) / copies.max(1);
        let bytes = self.bytes(moved).map(|bytes| format!(", about {}", Bytes(bytes)));
        writeln!(
            f,
            "To be fetched: {moved} of {copies} copies of partitions ({}.{} %){}.",
            share / 10,
            share % 10,
            bytes.unwrap_or_default(),
        )?;
        let kinds = [
            (self.survives.writes, "everything can be written", "some writes"),
            (self.survives.reads, "everything can be read", "some reads"),
            (self.survives.data, "nothing is lost", "some data"),
        ];
        for (Failures { zones, nodes }, still, or_else) in kinds {
            match (zones, nodes) {
                (0, 0) => writeln!(f, "The failure of a node costs {or_else}.")?,
                (0, _) => writeln!(
                    f,
                    "With any {} down, but no whole zone, {still}.",
                    counted(nodes, "node")
                )?,
                (_, _) => writeln!(
                    f,
                    "With any {} or any {} down, {still}.",
                    counted(zones, "zone"),
                    counted(nodes, "node")
                )?,
            }
        }
        writeln!(f)?;
        write!(
            f,
            "{:16}  {:12}  {:>10}  {:>10}  {:>6}  {:>6}  {:>6}",
            "node", "zone", "capacity", "partitions", "keeps", "gets", "gives"
        )?;
        if self.stored.is_some() {
            write!(f, "  {:>9}", "to fetch")?;
        }
        writeln!(f)?;
        for node in &self.nodes {
            let role = node.after.as_ref().or(node.before.as_ref());
            let zone = role.map_or("", |role| role.zone.as_str());
            let capacity = match &node.after {
                None => "leaves".to_owned(),
                Some(Role { capacity: None, .. }) => "gateway".to_owned(),
                Some(Role { capacity: Some(bytes), .. }) => Bytes(*bytes).to_string(),
            };
            let id = node.node.to_string();
            write!(
                f,
                "{:16}  {zone:12}  {capacity:>10}  {:>10}  {:>6}  {:>6}  {:>6}",
                &id[..16],
                node.partitions(),
                node.kept,
                node.gained,
                node.lost
            )?;
            if let Some(bytes) = self.bytes(node.gained) {
                write!(f, "  {:>9}", Bytes(bytes))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// A number of bytes, for people: three digits and a binary unit, rounded down so that nobody is promised more than there is.
pub struct Bytes(
    /// The bytes.
    pub u64,
);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let unit = (self.0.max(1).ilog2() / 10) as usize;
        let whole = self.0 >> (10 * unit);
        let rest = self.0 - (whole << (10 * unit));
        let text = if unit == 0 || whole >= 100 {
            format!("{whole} {}", UNITS[unit])
        } else {
            let tenths = (u128::from(rest) * 10) >> (10 * unit);
            format!("{whole}.{tenths} {}", UNITS[unit])
        };
        f.pad(&text)
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
        stored: None,
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
