use crate::{
    id::NodeId,
    node::{
        Node, Saved, Setup,
        control::{Command, Refusal},
        layouts,
    },
    placement::layout::{Parameters, ParametersChange, Redundancy},
    seed::Seed,
    time::{Instant, Now, Timestamp},
    view::Config,
};

const NOW: Now = Now { mono: Instant(1), wall: Timestamp(1000) };

fn node(replication_factor: u16, alone: bool) -> Node {
    let config = Config { replication_factor, ..Config::default() };
    let mut setup = Setup::alone(NodeId([7; 32]), 1, config, Seed::new([1; 32]));
    if !alone {
        setup.saved = Saved::default();
    }
    Node::new(setup, NOW).expect("nothing is damaged")
}

fn stage(node: &mut Node, parameters: Option<ParametersChange>) -> Option<Parameters> {
    let roles = vec![(NodeId([7; 32]), Some(layouts::default_role(1 << 40)))];
    node.control(NOW, Command::Stage { roles, parameters, force: false }).expect("a sound role");
    node.history().staged().parameters()
}

#[test]
fn the_configuration_says_how_many_copies_the_first_layout_makes() {
    let mut fresh = node(2, false);
    let staged = stage(&mut fresh, None).expect("they are staged with the first role");
    assert_eq!(staged, Parameters { replication: 2, ..Parameters::default() });
    let chosen = Parameters { replication: 1, ..Parameters::default() };
    let change = ParametersChange { replication: Some(1), ..ParametersChange::default() };
    assert_eq!(stage(&mut fresh, Some(change)), Some(chosen));
    assert_eq!(stage(&mut fresh, None), Some(chosen), "what somebody chose stays");
}

#[test]
fn what_is_staged_first_changes_what_the_configuration_says_and_no_more() {
    let mut fresh = node(2, false);
    assert_eq!(fresh.status(NOW).parameters.replication, 2, "before anything is staged");
    let redundancy = Some(Redundancy::AtLeast(1));
    let change = ParametersChange { redundancy, ..ParametersChange::default() };
    let changed =
        Parameters { replication: 2, redundancy: Redundancy::AtLeast(1), ..Parameters::default() };
    assert_eq!(stage(&mut fresh, Some(change)), Some(changed));
    assert_eq!(fresh.status(NOW).parameters.replication, 2, "and after");
    let change = ParametersChange { bits: Some(9), ..ParametersChange::default() };
    assert_eq!(stage(&mut fresh, Some(change)), Some(Parameters { bits: 9, ..changed }));
    let mut grown = node(3, true);
    let change = ParametersChange { redundancy, ..ParametersChange::default() };
    let upon = stage(&mut grown, Some(change)).expect("they are staged");
    assert_eq!(upon.replication, 1, "a layout is in force, and its number stays");
    assert_eq!(grown.status(NOW).parameters.redundancy, Redundancy::Maximum);
}

#[test]
fn a_layout_in_force_has_its_own_number_of_copies() {
    let mut grown = node(3, true);
    assert_eq!(stage(&mut grown, None), None);
    assert_eq!(grown.other_replication(), Some(1));
    assert_eq!(node(1, true).other_replication(), None);
    assert_eq!(node(3, false).other_replication(), None, "there is none yet");
}

#[test]
fn a_role_is_for_a_node_that_somebody_has_met() {
    let mut node = node(3, true);
    let (met, slip) = (NodeId([8; 32]), NodeId([9; 32]));
    let stage = |id, force| {
        let roles = vec![(id, Some(layouts::default_role(1 << 40)))];
        Command::Stage { roles, parameters: None, force }
    };
    let contact = format!("{met}@10.0.0.8:3901").parse().expect("a place");
    node.control(NOW, Command::Connect(vec![contact])).expect("looked for");
    assert!(node.control(NOW, stage(met, false)).is_ok());
    let unknown = Err(Refusal::Unknown(slip));
    assert_eq!(node.control(NOW, stage(slip, false)).map(drop), unknown);
    let old = NodeId([7; 32]);
    assert_eq!(node.control(NOW, Command::Replace { old, new: slip }).map(drop), unknown);
    let roles = vec![(met, None)];
    let leave = Command::Stage { roles, parameters: None, force: false };
    assert!(node.control(NOW, leave).is_ok());
    assert!(node.control(NOW, stage(slip, true)).is_ok(), "the operator knows");
}
