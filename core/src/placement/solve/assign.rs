//! Filling the nodes' quotas.

use super::Problem;

/// For each partition, its nodes in order, within the quotas, which must admit that.
pub(super) fn assign(problem: &Problem, quotas: &[usize]) -> Vec<Vec<usize>> {
    let mut loads = vec![0; quotas.len()];
    let mut all = Vec::new();
    for before in &problem.before {
        let mut nodes: Vec<usize> = Vec::new();
        while nodes.len() < problem.replication {
            let zones = |nodes: &[usize]| {
                let mut zones: Vec<usize> = nodes.iter().map(|n| problem.zone_of[*n]).collect();
                zones.sort_unstable();
                zones.dedup();
                zones.len()
            };
            let allowed = |node: &usize| {
                let mut with = nodes.clone();
                with.push(*node);
                !nodes.contains(node)
                    && zones(&with) + problem.replication - with.len() >= problem.redundancy
            };
            let rank = |node: &usize| {
                (
                    loads[*node] >= quotas[*node],
                    !before.contains(node),
                    loads[*node] * 1000 / quotas[*node].max(1),
                    *node,
                )
            };
            let node =
                (0..quotas.len()).filter(allowed).min_by_key(rank).expect("enough nodes and zones");
            loads[node] += 1;
            nodes.push(node);
        }
        nodes.sort_unstable();
        all.push(nodes);
    }
    all
}
