//! Filling the nodes' quotas: the least movement first, then balance.
//!
//! The choices are pairs of a partition and a node. Which pairs a partition admits (distinct nodes, enough zones) is a matroid, for
//! its sets are those that flow reaches in the network of the paper; how many a node admits is another. What is sought is a common
//! basis with the most pairs of the previous layout in it: weighted matroid intersection by successive shortest paths (Lawler
//! 1975; Schrijver, "Combinatorial Optimization", ch. 41). Paths go from node to node: a partition leaves one for the next; see
//! [`Exchanges`]. Of the best assignments, balance then takes the one with the least sum of load²/capacity, by shifting single
//! partitions along paths that move nothing more, until there is no such path: then no better one exists, as the sum is convex.

use super::{Problem, exchange::Exchanges};

/// For each partition, its nodes in order, within the quotas, which must admit that.
pub(super) fn assign(problem: &Problem, quotas: &[usize]) -> Vec<Vec<usize>> {
    let mut filling = Filling::new(problem, quotas);
    filling.keep();
    if !filling.keeps_all_it_can() {
        // While a longer path still keeps one pair more, adding fresh pairs would be too early.
        let mut exchanges = Exchanges::new(problem, &filling.nodes);
        while filling.augment(&mut exchanges, Some(-1)) {}
    }
    filling.fill();
    let mut exchanges = Exchanges::new(problem, &filling.nodes);
    while filling.augment(&mut exchanges, None) {}
    filling.balance(&mut exchanges);
    for nodes in &mut filling.nodes {
        assert_eq!(nodes.len(), problem.replication, "the quotas admit an assignment");
        nodes.sort_unstable();
    }
    filling.nodes
}

struct Filling<'a> {
    problem: &'a Problem,
    quotas: &'a [usize],
    /// How many partitions each node has.
    loads: Vec<usize>,
    /// The nodes of each partition, so far.
    nodes: Vec<Vec<usize>>,
}

impl<'a> Filling<'a> {
    fn new(problem: &'a Problem, quotas: &'a [usize]) -> Self {
        let nodes = vec![Vec::with_capacity(problem.replication); problem.partitions()];
        Self { problem, quotas, loads: vec![0; quotas.len()], nodes }
    }

    /// Keeps what the quotas let each node keep.
    fn keep(&mut self) {
        for partition in 0..self.nodes.len() {
            for node in &self.problem.before[partition] {
                if self.has_room(*node) && self.problem.admits(&self.nodes[partition], *node) {
                    self.put(partition, *node);
                }
            }
        }
    }

    /// Whether each node keeps all it had, or all its quota allows.
    fn keeps_all_it_can(&self) -> bool {
        let mut had = vec![0; self.quotas.len()];
        for node in self.problem.before.iter().flatten() {
            had[*node] += 1;
        }
        (0..had.len()).all(|node| self.loads[node] == self.quotas[node].min(had[node]))
    }

    /// Fills up partitions from nodes with room, the emptiest first, as far as that goes.
    fn fill(&mut self) {
        for partition in 0..self.nodes.len() {
            while self.nodes[partition].len() < self.problem.replication {
                let candidates = (0..self.quotas.len()).filter(|node| {
                    self.has_room(*node) && self.problem.admits(&self.nodes[partition], *node)
                });
                // Among equally empty ones by lot: a node's partitions are then spread over many others, which all help when it
                // is lost.
                let rank = |node: &usize| (self.fill_of(*node), lot(partition, *node));
                let Some(node) = candidates.min_by_key(rank) else { break };
                self.put(partition, node);
            }
        }
    }

    /// Adds one pair along a cheapest path, if there is one that costs at most `limit`.
    fn augment(&mut self, exchanges: &mut Exchanges, limit: Option<i64>) -> bool {
        let paths = exchanges.paths_to_add();
        let open = (0..self.quotas.len()).filter(|node| self.has_room(*node));
        let best =
            open.filter_map(|node| Some((paths.cost(node)?, self.fill_of(node), node))).min();
        let Some((cost, _, to)) = best else { return false };
        if limit.is_some_and(|limit| cost.moved > limit) {
            return false;
        }
        let path = paths.to(to);
        exchanges.add_along(&path, &mut self.nodes);
        self.loads[to] += 1;
        true
    }

    /// Shifts partitions from full nodes to empty ones, as long as nothing more moves by that and the sum of load²/capacity falls.
    fn balance(&mut self, exchanges: &mut Exchanges) {
        loop {
            let mut fullest: Vec<usize> = (0..self.quotas.len()).collect();
            fullest.sort_by_key(|node| (std::cmp::Reverse(self.fill_of(*node)), *node));
            let mut shifted = false;
            for from in fullest {
                while self.loads[from] > 0 && self.shift(exchanges, from) {
                    shifted = true;
                }
            }
            if !shifted {
                return;
            }
        }
    }

    fn shift(&mut self, exchanges: &mut Exchanges, from: usize) -> bool {
        let better = |to: &usize| self.has_room(*to) && self.relieves(from, *to);
        if !(0..self.quotas.len()).any(|to| better(&to)) {
            return false;
        }
        let paths = exchanges.paths_from(from);
        let free = (0..self.quotas.len()).filter(better).filter_map(|to| {
            let cost = paths.cost(to)?;
            (cost.moved == 0).then_some((self.fill_of(to), cost, to))
        });
        let Some((_, _, to)) = free.min() else { return false };
        let path = paths.to(to);
        exchanges.shift_along(&path, &mut self.nodes);
        self.loads[from] -= 1;
        self.loads[to] += 1;
        true
    }

    fn put(&mut self, partition: usize, node: usize) {
        self.nodes[partition].push(node);
        self.loads[node] += 1;
    }

    fn has_room(&self, node: usize) -> bool {
        self.loads[node] < self.quotas[node]
    }

    /// What one partition more adds to load²/capacity, in units of 2⁻⁶⁴.
    fn fill_of(&self, node: usize) -> u128 {
        ((2 * self.loads[node] as u128 + 1) << 64) / u128::from(self.problem.capacities[node])
    }

    /// Whether the sum of load²/capacity falls if one partition goes from one to the other.
    fn relieves(&self, from: usize, to: usize) -> bool {
        let capacity = |node: usize| u128::from(self.problem.capacities[node]);
        (2 * self.loads[to] as u128 + 1) * capacity(from)
            < (2 * self.loads[from] as u128 - 1) * capacity(to)
    }
}

/// A number drawn for a pair, the same everywhere (the finaliser of SplitMix64; Steele et al., 2014).
fn lot(partition: usize, node: usize) -> u64 {
    let mut z = ((partition as u64) << 32 | node as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
