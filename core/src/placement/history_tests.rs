//! The merge laws of histories, and the way of a version from applied to retired.

use std::sync::Arc;

use proptest::prelude::*;

use super::{
    explain::Plan,
    history::{ApplyError, History, IN_FORCE_MAX, OtherCluster, RETIRED_MAX, StageError, Waiting},
    layout::{Layout, Parameters, Redundancy, Role},
    trackers::Step,
};
use crate::{
    id::{ClusterId, NodeId},
    time::Timestamp,
};

const CLUSTER: ClusterId = ClusterId([9; 16]);
const STEPS: [Step; 3] = [Step::Ack, Step::Sync, Step::Read];

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn role(zone: &str, capacity: u64) -> Role {
    Role { zone: zone.to_owned(), capacity: Some(capacity), tags: Vec::new() }
}

fn single() -> History {
    History::new(CLUSTER, Layout::single(node(1), role("a", 1 << 30)))
}

/// A command given at some node.
#[derive(Clone, Debug)]
enum Command {
    Stage(u8, Option<u64>),
    Forget(u8),
    Parameters(u16),
    Apply,
    Revert,
    Reach(usize, u8, u64),
    Advance,
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (1_u8..5, proptest::option::of(1_u64..4)).prop_map(|(n, c)| Command::Stage(n, c)),
        (1_u8..5).prop_map(Command::Forget),
        (1_u16..3).prop_map(Command::Parameters),
        Just(Command::Apply),
        Just(Command::Revert),
        (0_usize..3, 1_u8..5, 1_u64..5).prop_map(|(s, n, v)| Command::Reach(s, n, v)),
        Just(Command::Advance),
    ]
}

/// Works the next version out and applies it.
fn apply(history: &mut History, version: u64, now: Timestamp) -> Result<Plan, ApplyError> {
    history.may_apply(version)?;
    let draft = history.draft()?;
    history.apply(draft, CLUSTER, now)
}

fn run(history: &mut History, commands: &[Command], at: u64) {
    for (n, command) in commands.iter().enumerate() {
        let now = Timestamp(at + n as u64);
        // What is refused changes nothing, which is as good a history as any.
        let _refused = match command {
            Command::Stage(n, c) => {
                let role = c.map(|c| role(if *n < 3 { "a" } else { "b" }, c << 20));
                history.stage(node(*n), role, now).is_ok()
            }
            Command::Forget(n) => history.forget_node(node(*n), now).is_ok(),
            Command::Parameters(replication) => {
                let new = Parameters { replication: *replication, ..Parameters::default() };
                history.stage_parameters(new, now).is_ok()
            }
            Command::Apply => {
                let next = history.version() + 1;
                apply(history, next, now).is_ok()
            }
            Command::Revert => {
                history.revert(now);
                true
            }
            Command::Reach(step, n, version) => history.reach(STEPS[*step], node(*n), *version),
            Command::Advance => history.advance(),
        };
    }
}

fn merged(a: &History, b: &History) -> History {
    let mut a = a.clone();
    a.merge(b).expect("the same cluster");
    a
}

fn three(commands: &[Vec<Command>; 4]) -> [History; 3] {
    let mut common = single();
    run(&mut common, &commands[0], 1);
    [1, 2, 3].map(|n| {
        let mut history = common.clone();
        run(&mut history, &commands[n], 100 + n as u64);
        history
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Layouts in conflict included: each of the three applies what it likes.
    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        commands in proptest::array::uniform4(proptest::collection::vec(command(), 0..8))
    ) {
        let [a, b, c] = three(&commands);
        prop_assert_eq!(merged(&a, &a), a.clone());
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(History::decode(&a.encode()), Ok(a));
    }
}

/// Three nodes in three zones, version 2 applied upon a cluster of one.
fn growing() -> History {
    let mut history = single();
    let now = Timestamp(1000);
    history.stage(node(2), Some(role("b", 1 << 30)), now).expect("staged");
    history.stage(node(3), Some(role("c", 1 << 30)), now).expect("staged");
    let parameters = Parameters { replication: 3, ..Parameters::default() };
    history.stage_parameters(parameters, now).expect("staged");
    let plan = apply(&mut history, 2, now).expect("applied");
    assert_eq!((plan.moved(), plan.survives.writes.zones), (512, 1));
    history
}

#[test]
fn a_version_is_applied_only_as_it_was_worked_out() {
    let mut history = single();
    let (early, late) = (Timestamp(5), Timestamp(9));
    history.stage(node(2), Some(role("b", 1 << 30)), early).expect("staged");
    let draft = history.draft().expect("a plan");
    history.stage(node(3), Some(role("b", 1 << 30)), late).expect("staged");
    let changed = Err(ApplyError::Changed);
    assert_eq!(history.apply(draft.clone(), CLUSTER, late), changed, "more is staged");
    history.revert(late);
    assert_eq!(history.apply(draft, CLUSTER, late), changed, "nothing is staged");
    history.stage(node(3), Some(role("b", 1 << 30)), late).expect("staged");
    let draft = history.draft().expect("a plan");
    // Steps that nodes go meanwhile change nothing in what is to come.
    history.reach(Step::Ack, node(1), 1);
    assert_eq!(history.apply(draft.clone(), CLUSTER, late), Ok(draft.plan.clone()));
    assert_eq!(history.current().map(Arc::as_ref), Some(&draft.layout));
    assert_eq!(history.apply(draft, CLUSTER, late), Err(ApplyError::WrongVersion { next: 3 }));
}

#[test]
fn a_node_that_is_forgotten_before_it_had_a_role_leaves_no_change_staged() {
    let mut history = single();
    let now = Timestamp(5);
    history.stage(node(2), Some(role("b", 1 << 30)), now).expect("staged");
    let before = history.clone();
    history.forget_node(node(2), now).expect("it has no role");
    assert!(history.staged().is_empty());
    assert_eq!(history.staged().roles().count(), 0, "nobody leaves");
    assert_eq!(apply(&mut history, 2, now), Err(ApplyError::NothingStaged));
    assert_eq!(merged(&history, &before), history, "others learn of it");
    assert_eq!(merged(&before, &history), history);
    assert_eq!(History::decode(&history.encode()), Ok(history.clone()));
    history.stage(node(2), Some(role("b", 1 << 30)), now).expect("staged");
    assert_eq!(history.staged().roles().count(), 1, "it may be given one all the same");
    let mut reverted = history.clone();
    reverted.revert(now);
    assert!(merged(&history, &reverted).staged().is_empty());
}

fn all_reach(history: &mut History, step: Step, version: u64) {
    for node in history.members() {
        history.reach(step, node, version);
    }
}

#[test]
fn a_version_is_acknowledged_synced_read_and_then_alone_in_force() {
    let mut history = growing();
    assert_eq!(history.cluster(), Some(CLUSTER), "the cluster stays the same");
    let waits = |history: &History, step| {
        history.waiting_for().contains(&Waiting { version: 2, step, nodes: vec![node(2)] })
    };
    assert_eq!((history.read_version(), history.sync_version()), (1, 1));
    for version in [1, 2] {
        for n in [1, 3] {
            history.reach(Step::Ack, node(n), version);
        }
    }
    assert!(waits(&history, Step::Ack));
    assert_eq!(history.sync_version(), 1, "one node may still write by version 1 alone");
    history.reach(Step::Ack, node(2), 2);
    assert_eq!((history.read_version(), history.sync_version()), (1, 2));
    history.reach(Step::Sync, node(1), 2);
    history.reach(Step::Sync, node(3), 2);
    assert!(waits(&history, Step::Sync));
    assert_eq!(history.read_version(), 1, "one node lacks data");
    history.reach(Step::Sync, node(2), 2);
    assert_eq!(history.read_version(), 2);
    assert!(!history.advance(), "nobody has said that it reads by version 2");
    all_reach(&mut history, Step::Read, 2);
    assert!(history.advance());
    assert_eq!((history.oldest(), history.active().count()), (2, 1));
    assert_eq!(history.retired().map(|layout| layout.version).collect::<Vec<_>>(), [1]);
    assert_eq!(history.waiting_for(), []);
}

#[test]
fn a_node_that_no_layout_names_is_not_waited_for() {
    let mut history = growing();
    for step in STEPS {
        for n in [1, 2, 3] {
            history.reach(step, node(n), 2);
        }
        history.reach(step, node(77), 1);
    }
    assert!(history.advance());
    assert!(!history.reach(Step::Ack, node(1), 99), "there is no such version");
}

#[test]
fn the_dead_are_skipped_and_only_on_demand_what_they_alone_had() {
    let mut history = growing();
    for step in STEPS {
        history.reach(step, node(1), 2);
        history.reach(step, node(3), 2);
    }
    assert!(history.skip_dead(2, &[node(2)], false));
    assert_eq!(history.read_version(), 1, "its data is still waited for");
    assert!(history.skip_dead(2, &[node(2)], true));
    assert_eq!(history.read_version(), 2);
    assert!(history.advance());
    assert!(!history.skip_dead(2, &[node(2)], true), "nothing is left to skip");
}

#[test]
fn what_is_applied_must_be_the_next_version_and_is_what_was_planned() {
    let mut history = single();
    let now = Timestamp(5);
    assert_eq!(apply(&mut history, 2, now), Err(ApplyError::NothingStaged));
    history.stage(node(2), Some(role("b", 1 << 30)), now).expect("staged");
    assert_eq!(apply(&mut history, 1, now), Err(ApplyError::WrongVersion { next: 2 }));
    let draft = history.draft().expect("a plan");
    assert_eq!(apply(&mut history, 2, now), Ok(draft.plan));
    assert_eq!(history.current().map(Arc::as_ref), Some(&draft.layout));
    assert!(history.staged().is_empty());
}

#[test]
fn what_is_staged_later_wins_whatever_the_clocks_say_and_reverting_clears_it() {
    let mut history = single();
    history.stage(node(2), Some(role("b", 1 << 30)), Timestamp(9000)).expect("staged");
    history.stage(node(2), Some(role("c", 1 << 30)), Timestamp(1)).expect("staged");
    let staged = |history: &History| {
        let roles = history.staged().roles();
        roles.map(|(_, role)| role.map(|role| role.zone.clone())).collect::<Vec<_>>()
    };
    assert_eq!(staged(&history), [Some("c".to_owned())]);
    let before = history.clone();
    history.revert(Timestamp(2));
    assert!(history.staged().is_empty());
    assert!(merged(&history, &before).staged().is_empty(), "it does not come back");
}

#[test]
fn two_layouts_of_one_version_leave_one_and_an_alarm() {
    let common = single();
    let with = |n| {
        let mut history = common.clone();
        history.stage(node(n), Some(role("b", 1 << 30)), Timestamp(n.into())).expect("staged");
        apply(&mut history, 2, Timestamp(10)).expect("applied");
        for step in STEPS {
            history.reach(step, node(1), 2);
        }
        history
    };
    let (mut a, b) = (with(2), with(3));
    let merge = a.merge(&b).expect("one cluster");
    assert_eq!(merge.conflict, Some(2));
    assert_eq!(a.conflicts().collect::<Vec<_>>(), [2]);
    let winner = a.current().cloned();
    assert!(winner == with(2).current().cloned() || winner == b.current().cloned());
    let mut loser = if winner == b.current().cloned() { with(2) } else { b };
    loser.merge(&a).expect("one cluster");
    assert_eq!(loser, a, "both sides agree");
    // Even with nothing staged, a new version may be applied then; once it is alone, all is well.
    apply(&mut a, 3, Timestamp(20)).expect("applied");
    for step in STEPS {
        all_reach(&mut a, step, 3);
    }
    assert!(a.advance());
    assert_eq!(a.conflicts().count(), 0);
}

#[test]
fn claims_about_a_layout_that_lost_are_void() {
    let common = single();
    let with = |n: u8| {
        let mut history = common.clone();
        history.stage(node(n), Some(role("b", 1 << 30)), Timestamp(1)).expect("staged");
        apply(&mut history, 2, Timestamp(10)).expect("applied");
        history.reach(Step::Ack, node(n), 2);
        history
    };
    let (two, three) = (with(2), with(3));
    let both = merged(&two, &three);
    let won = u8::from(both.current() == three.current()) + 2;
    assert_eq!(both.trackers().get(Step::Ack, node(won)), 2);
    assert_eq!(both.trackers().get(Step::Ack, node(5 - won)), 1);
}

#[test]
fn two_clusters_are_never_joined() {
    let mut ours = single();
    let theirs = ClusterId([3; 16]);
    let other = History::new(theirs, Layout::single(node(2), role("a", 1 << 30)));
    assert_eq!(ours.merge(&other), Err(OtherCluster { ours: CLUSTER, theirs }));
    assert_eq!(ours, single());
    let mut empty = History::default();
    assert!(empty.merge(&ours).is_ok_and(|merged| merged.layouts));
    assert_eq!(empty, ours);
}

#[test]
fn draining_replacing_and_forgetting() {
    let mut history = growing();
    let now = Timestamp(2000);
    assert_eq!(history.drain(node(9), now), Err(StageError::NoRole(node(9))));
    assert_eq!(history.forget_node(node(3), now), Err(StageError::InUse(node(3))));
    history.replace(node(3), node(4), now).expect("staged");
    assert_eq!(history.replace(node(1), node(2), now), Err(StageError::InUse(node(2))));
    let plan = apply(&mut history, 3, now).expect("applied");
    assert_eq!(plan.moved(), 256, "the new node fetches what the old one had, and no other does");
    assert_eq!(history.role(node(4)), Some(&role("c", 1 << 30)));
    for step in STEPS {
        all_reach(&mut history, step, 3);
    }
    history.advance();
    assert_eq!(history.forget_node(node(3), now), Ok(()));
}

#[test]
fn few_versions_are_in_force_and_few_retired_ones_remembered() {
    let mut history = single();
    for version in 2..30 {
        let capacity = (1 << 30) + version;
        history.stage(node(1), Some(role("a", capacity)), Timestamp(version)).expect("staged");
        let applied = apply(&mut history, version, Timestamp(version));
        if version > IN_FORCE_MAX as u64 {
            assert_eq!(applied, Err(ApplyError::InTransition));
            break;
        }
        assert!(applied.is_ok());
    }
    for version in IN_FORCE_MAX as u64..30 {
        for step in STEPS {
            history.reach(step, node(1), version);
        }
        history.advance();
        history.stage(node(1), Some(role("a", 1 << 31)), Timestamp(version)).expect("staged");
        apply(&mut history, version + 1, Timestamp(version)).expect("applied");
    }
    assert_eq!(history.retired().count(), RETIRED_MAX);
    assert_eq!(history.trackers().get(Step::Read, node(1)), 29);
}

#[test]
fn the_number_of_partitions_is_fixed() {
    let mut history = single();
    let more = Parameters { replication: 1, redundancy: Redundancy::Maximum, bits: 12 };
    assert_eq!(history.stage_parameters(more, Timestamp(1)), Err(StageError::BitsAreFixed));
    assert_eq!(History::default().stage_parameters(more, Timestamp(1)), Ok(()));
}

#[test]
fn bytes_that_are_no_history_are_refused() {
    let good = growing().encode();
    for at in 0..good.len() {
        assert!(History::decode(&good[..at]).is_err(), "cut at {at}");
    }
    let mut other = good.clone();
    other[0] = 9;
    assert!(History::decode(&other).is_err_and(|error| error.contains("format 9")));
    let mut longer = good;
    longer.push(0);
    assert!(History::decode(&longer).is_err());
}

/// Whoever changes the encoding adds a new sample; this one must decode for ever.
#[test]
fn the_sample_on_file_decodes_and_is_what_is_written() {
    let file = include_str!("../../../testdata/encodings/layout-1.txt");
    let sample = file.lines().find(|line| !line.starts_with('#')).expect("a sample");
    let mut history = growing();
    history.reach(Step::Ack, node(1), 2);
    history.stage(node(3), None, Timestamp(5000)).expect("staged");
    let ours = hex::encode(history.encode());
    assert_eq!(ours, sample, "it is written in another way now: that is a new format");
    let decoded = History::decode(&hex::decode(sample).expect("hexadecimal"));
    assert_eq!(decoded, Ok(history), "it has changed its meaning");
}

#[test]
fn a_plan_explains_itself() {
    let mut history = single();
    let now = Timestamp(1);
    for (n, zone) in [(2, "b"), (3, "c")] {
        history.stage(node(n), Some(role(zone, 1 << 40)), now).expect("staged");
    }
    let gateway = Role { capacity: None, ..role("a", 0) };
    history.stage(node(4), Some(gateway), now).expect("staged");
    let two = Parameters { replication: 2, ..Parameters::default() };
    history.stage_parameters(two, now).expect("staged");
    let plan = history.draft().expect("a plan").plan;
    assert_eq!(plan.to_string(), include_str!("../../../testdata/layout/grow.txt"));
    // 1 GiB stored, of which so many partitions are fetched.
    assert_eq!(plan.bytes_moved(1 << 30), (1 << 22) * plan.moved());
}
