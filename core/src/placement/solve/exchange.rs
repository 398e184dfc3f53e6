//! Which partitions can go from which node to which, at what cost, kept up to date as they do.

use super::Problem;

/// What a path costs: pairs of the previous layout given up, then steps. Paths with the fewest steps among the cheapest may be
/// taken as a whole, even where they pass through one partition twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// Copies that must be fetched more; fewer, if negative.
    pub moved: i64,
    steps: u32,
}

/// No partition can go that way.
const NONE: i8 = i8::MAX;

/// For each pair of nodes, how many partitions can leave the one for the other.
pub(super) struct Exchanges<'a> {
    problem: &'a Problem,
    nodes: usize,
    /// At `from * nodes + to`: how many partitions can go at cost −1, 0, 1.
    counts: Vec<[u32; 3]>,
    /// The least cost in `counts`, or [`NONE`].
    least: Vec<i8>,
    /// For each node, how many partitions lack a copy and could have it there, at cost −1 and 0.
    adds: Vec<[u32; 2]>,
}

impl<'a> Exchanges<'a> {
    pub fn new(problem: &'a Problem, assigned: &[Vec<usize>]) -> Self {
        let nodes = problem.capacities.len();
        let mut new = Self {
            problem,
            nodes,
            counts: vec![[0; 3]; nodes * nodes],
            least: vec![NONE; nodes * nodes],
            adds: vec![[0; 2]; nodes],
        };
        for (partition, nodes) in assigned.iter().enumerate() {
            new.count(partition, nodes, true);
        }
        new
    }

    /// Cheapest paths from "a partition lacks a copy" to each node.
    pub fn paths_to_add(&self) -> Paths {
        let starts = self.adds.iter().map(|adds| match adds {
            [0, 0] => None,
            [0, _] => Some(Cost { moved: 0, steps: 0 }),
            [_, _] => Some(Cost { moved: -1, steps: 0 }),
        });
        self.search(starts.collect())
    }

    /// Cheapest paths from a node to each other one.
    pub fn paths_from(&self, from: usize) -> Paths {
        let mut starts = vec![None; self.nodes];
        starts[from] = Some(Cost { moved: 0, steps: 0 });
        self.search(starts)
    }

    /// Bellman and Ford's, by rounds: costs may be negative, cycles are not.
    fn search(&self, best: Vec<Option<Cost>>) -> Paths {
        let mut changed: Vec<usize> =
            (0..self.nodes).filter(|node| best[*node].is_some()).collect();
        let mut paths = Paths { best, parent: vec![None; self.nodes] };
        while !changed.is_empty() {
            let mut next = vec![false; self.nodes];
            for from in changed {
                let Some(cost) = paths.best[from] else { continue };
                let row = &self.least[from * self.nodes..(from + 1) * self.nodes];
                for (to, least) in row.iter().enumerate() {
                    if *least == NONE {
                        continue;
                    }
                    let cost =
                        Cost { moved: cost.moved + i64::from(*least), steps: cost.steps + 1 };
                    if paths.best[to].is_none_or(|best| cost < best) {
                        paths.best[to] = Some(cost);
                        paths.parent[to] = Some(from);
                        next[to] = true;
                    }
                }
            }
            changed = (0..self.nodes).filter(|node| next[*node]).collect();
        }
        paths
    }

    /// Gives a partition that lacks a copy one at the path's first node, and shifts others along it.
    pub fn add_along(&mut self, path: &[usize], assigned: &mut [Vec<usize>]) {
        let first = path[0];
        let kept = self.adds[first][0] > 0;
        let partition = (0..assigned.len()).find(|partition| {
            self.addable(&assigned[*partition], first) && self.had(*partition, first) == kept
        });
        let partition = partition.expect("what was counted is there");
        let mut changes = self.changes(path, assigned);
        changes.push((partition, None, first));
        self.make(&changes, assigned);
    }

    /// Shifts partitions along the path: one from each node on it to the next.
    pub fn shift_along(&mut self, path: &[usize], assigned: &mut [Vec<usize>]) {
        let changes = self.changes(path, assigned);
        self.make(&changes, assigned);
    }

    /// For each step of the path, a partition that can make it now: (partition, from, to).
    fn changes(
        &self,
        path: &[usize],
        assigned: &[Vec<usize>],
    ) -> Vec<(usize, Option<usize>, usize)> {
        let step = |pair: &[usize]| {
            let (from, to) = (pair[0], pair[1]);
            let least = self.least[from * self.nodes + to];
            let partition = (0..assigned.len()).find(|partition| {
                let nodes = &assigned[*partition];
                self.cost(*partition, from, to) == least
                    && nodes.contains(&from)
                    && !nodes.contains(&to)
                    && self.exchangeable(nodes, from, to)
            });
            (partition.expect("what was counted is there"), Some(from), to)
        };
        path.windows(2).map(step).collect()
    }

    fn make(&mut self, changes: &[(usize, Option<usize>, usize)], assigned: &mut [Vec<usize>]) {
        let mut partitions: Vec<usize> = changes.iter().map(|(partition, ..)| *partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        for partition in &partitions {
            self.count(*partition, &assigned[*partition], false);
        }
        for (partition, from, to) in changes {
            let nodes = &mut assigned[*partition];
            match nodes.iter_mut().find(|node| Some(**node) == *from) {
                Some(node) => *node = *to,
                None => nodes.push(*to),
            }
        }
        for partition in &partitions {
            debug_assert!(self.problem.holds(&assigned[*partition]), "a shortest path is sound");
            self.count(*partition, &assigned[*partition], true);
        }
    }

    /// Counts what a partition on these nodes can do, or takes it out of the count.
    fn count(&mut self, partition: usize, nodes: &[usize], more: bool) {
        let change = |count: &mut u32| *count = if more { *count + 1 } else { *count - 1 };
        for to in (0..self.nodes).filter(|node| !nodes.contains(node)) {
            let fresh = usize::from(!self.had(partition, to));
            if self.addable(nodes, to) {
                change(&mut self.adds[to][fresh]);
            }
            for from in nodes {
                if !self.exchangeable(nodes, *from, to) {
                    continue;
                }
                let at = from * self.nodes + to;
                let class = fresh + usize::from(self.had(partition, *from));
                change(&mut self.counts[at][class]);
                self.least[at] = match self.counts[at] {
                    [0, 0, 0] => NONE,
                    [0, 0, _] => 1,
                    [0, _, _] => 0,
                    [_, _, _] => -1,
                };
            }
        }
    }

    fn had(&self, partition: usize, node: usize) -> bool {
        self.problem.before[partition].contains(&node)
    }

    fn cost(&self, partition: usize, from: usize, to: usize) -> i8 {
        i8::from(self.had(partition, from)) - i8::from(self.had(partition, to))
    }

    fn addable(&self, nodes: &[usize], to: usize) -> bool {
        nodes.len() < self.problem.replication && self.problem.admits(nodes, to)
    }

    /// Whether `to`, which is not among the nodes, may come for `from`, which is.
    fn exchangeable(&self, nodes: &[usize], from: usize, to: usize) -> bool {
        self.problem.zone_of[from] == self.problem.zone_of[to]
            || self.problem.spreads(nodes.iter().filter(|node| **node != from).chain([&to]))
    }
}

/// The cheapest paths from somewhere to each node.
pub(super) struct Paths {
    best: Vec<Option<Cost>>,
    parent: Vec<Option<usize>>,
}

impl Paths {
    /// What it costs to get to `node`, if that is possible.
    pub fn cost(&self, node: usize) -> Option<Cost> {
        self.best[node]
    }

    /// The nodes on the path to `node`, in order.
    pub fn to(&self, node: usize) -> Vec<usize> {
        let mut path = vec![node];
        let mut at = node;
        while let Some(parent) = self.parent[at] {
            path.push(parent);
            at = parent;
        }
        path.reverse();
        path
    }
}
