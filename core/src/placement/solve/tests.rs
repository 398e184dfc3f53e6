//! Against brute force on small problems, against bounds on large ones.

use proptest::prelude::*;

use super::*;

/// A small problem: few enough choices to try them all.
fn small() -> impl Strategy<Value = Problem> {
    (1_usize..=5, 1_usize..=3, 1_usize..=6).prop_flat_map(|(nodes, replication, partitions)| {
        let replication = replication.min(nodes);
        (
            proptest::collection::vec(0_usize..4, nodes),
            proptest::collection::vec(1_u64..40, nodes),
            proptest::collection::vec(
                proptest::sample::subsequence((0..nodes).collect::<Vec<_>>(), 0..=nodes.min(4)),
                partitions,
            ),
            1_usize..=replication,
        )
            .prop_map(move |(zone_of, capacities, before, redundancy)| {
                let mut names = zone_of.clone();
                names.sort_unstable();
                names.dedup();
                let zone_of = zone_of.iter().map(|z| names.partition_point(|name| name < z));
                Problem {
                    replication,
                    redundancy: redundancy.min(names.len()),
                    zones: names.len(),
                    zone_of: zone_of.collect(),
                    capacities,
                    before,
                }
            })
    })
}

/// What is compared: smaller is better.
type Score = (std::cmp::Reverse<u64>, usize, u128);

fn score(problem: &Problem, loads: &[usize], moved: usize) -> Score {
    // A common multiple of all capacities, so that the sums are exact.
    let common: u128 = problem.capacities.iter().fold(1, |all, c| {
        let (mut a, mut b) = (all, u128::from(*c));
        while b > 0 {
            (a, b) = (b, a % b);
        }
        all / a * u128::from(*c)
    });
    let used = problem.capacities.iter().zip(loads).filter(|(_, load)| **load > 0);
    let size = used.map(|(capacity, load)| capacity / *load as u64).min().unwrap_or(0);
    let squares = problem.capacities.iter().zip(loads);
    let squares =
        squares.map(|(capacity, load)| (load * load) as u128 * (common / u128::from(*capacity)));
    (std::cmp::Reverse(size), moved, squares.sum())
}

fn score_of(problem: &Problem, assignment: &[Vec<usize>]) -> Score {
    let mut loads = vec![0; problem.capacities.len()];
    let mut moved = 0;
    for (nodes, before) in assignment.iter().zip(&problem.before) {
        for node in nodes {
            loads[*node] += 1;
            moved += usize::from(!before.contains(node));
        }
    }
    score(problem, &loads, moved)
}

/// The best score of all assignments, by trying them all: for each vector of loads the least that moves.
fn brute(problem: &Problem) -> Option<Score> {
    let nodes = problem.capacities.len();
    let sets: Vec<Vec<usize>> = (0..1_u32 << nodes)
        .map(|mask| (0..nodes).filter(|node| mask >> node & 1 == 1).collect::<Vec<_>>())
        .filter(|set| set.len() == problem.replication && problem.holds(set))
        .collect();
    let mut reached = BTreeMap::from([(vec![0; nodes], 0)]);
    for before in &problem.before {
        let mut next: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        for (loads, moved) in &reached {
            for set in &sets {
                let (mut loads, mut moved) = (loads.clone(), *moved);
                for node in set {
                    loads[*node] += 1;
                    moved += usize::from(!before.contains(node));
                }
                let least = next.entry(loads).or_insert(moved);
                *least = moved.min(*least);
            }
        }
        reached = next;
    }
    let scores = reached.iter().map(|(loads, moved)| score(problem, loads, *moved));
    scores.min().filter(|(size, ..)| size.0 > 0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_assignment_is_better(problem in small()) {
        let best = brute(&problem);
        match problem.solve() {
            Err(error) => {
                prop_assert_eq!(error, SolveError::NoCapacity);
                prop_assert_eq!(best, None);
            }
            Ok(assignment) => {
                for nodes in &assignment {
                    prop_assert!(problem.holds(nodes) && nodes.len() == problem.replication);
                }
                prop_assert_eq!(Some(score_of(&problem, &assignment)), best);
            }
        }
    }
}

fn node(n: u16) -> NodeId {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&n.to_be_bytes());
    NodeId(id)
}

/// 100 nodes in 7 zones of unequal size, with 10 different capacities.
fn hundred() -> BTreeMap<NodeId, Role> {
    let role = |n: u16| Role {
        zone: format!("zone{}", n * n % 7),
        capacity: Some((500 + 250 * u64::from(n % 10)) << 30),
        tags: Vec::new(),
    };
    (0..100).map(|n| (node(n), role(n))).collect()
}

fn moved(old: &Layout, new: &Layout) -> usize {
    let lacks = |partition| {
        let before = old.replicas(partition);
        new.replicas(partition).iter().filter(|node| !before.contains(node)).count()
    };
    (0..new.partitions()).map(lacks).sum()
}

#[test]
fn a_hundred_nodes_and_4096_partitions_are_filled_to_what_fits() {
    let parameters = Parameters { replication: 3, redundancy: Redundancy::AtLeast(2), bits: 12 };
    let first = solve(None, 1, hundred(), parameters).expect("a layout");
    assert_eq!(first.check(), Ok(()));
    // No assignment fills the nodes to more than their sum, and what rounding to whole partitions costs is under one partition
    // for each node.
    let all: u64 = hundred().values().filter_map(|role| role.capacity).sum();
    let used = first.partition_size() * 3 * 4096;
    assert!(used <= all && all - used < 100 * first.partition_size(), "{used} of {all}");
    assert_eq!(solve(None, 1, hundred(), parameters), Ok(first.clone()), "the same every time");
    assert_eq!(solve(Some(&first), 1, hundred(), parameters), Ok(first.clone()), "nothing to do");

    let mut fewer = hundred();
    fewer.remove(&node(13));
    let second = solve(Some(&first), 2, fewer, parameters).expect("a layout");
    let lost = first.loads()[13];
    assert_eq!(moved(&first, &second) as u64, lost, "only what the lost node had");

    let third = solve(Some(&second), 3, hundred(), parameters).expect("a layout");
    let gained = third.loads()[13];
    assert_eq!(moved(&second, &third) as u64, gained, "only what the new node gets");
    assert_eq!(third.partition_size(), first.partition_size(), "the same capacity as before");
}

#[test]
fn raising_and_lowering_the_replication_factor_moves_the_least() {
    let parameters = Parameters { replication: 2, redundancy: Redundancy::Maximum, bits: 8 };
    let two = solve(None, 1, hundred(), parameters).expect("a layout");
    let raised = Parameters { replication: 3, ..parameters };
    let three = solve(Some(&two), 2, hundred(), raised).expect("a layout");
    assert!(moved(&two, &three) < 256 + 100, "a copy more of each of 256, and rounding");
    let back = solve(Some(&three), 3, hundred(), parameters).expect("a layout");
    assert!(moved(&three, &back) < 30, "dropping a copy moves next to nothing");
    assert!(back.check().is_ok() && three.check().is_ok());
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let parameters = Parameters::default();
    let roles = |nodes: u16, zones: u16, capacity| -> BTreeMap<NodeId, Role> {
        let role = |n: u16| Role { zone: (n % zones).to_string(), capacity, tags: Vec::new() };
        (0..nodes).map(|n| (node(n), role(n))).collect()
    };
    let refused = |roles, parameters| solve(None, 1, roles, parameters).expect_err("impossible");
    assert_eq!(
        refused(roles(2, 2, Some(1 << 30)), parameters),
        SolveError::TooFewNodes { nodes: 2, replication: 3 }
    );
    assert_eq!(
        refused(roles(3, 3, None), parameters),
        SolveError::TooFewNodes { nodes: 0, replication: 3 },
        "gateways store nothing"
    );
    let spread = Parameters { redundancy: Redundancy::AtLeast(3), ..parameters };
    assert_eq!(
        refused(roles(4, 2, Some(1 << 30)), spread),
        SolveError::TooFewZones { zones: 2, redundancy: 3 }
    );
    assert_eq!(
        refused(roles(4, 2, Some(9)), parameters),
        SolveError::Invalid(LayoutError::Capacity(9))
    );
}
