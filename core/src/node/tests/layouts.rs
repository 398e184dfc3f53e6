use std::time::Duration;

use super::net::{Net, id};
use crate::{
    http::RequestHead,
    id::{ClusterId, NodeId},
    node::{
        Node, NodeEffect, NodeEvent, Saved, Setup, StateFile,
        control::{Command, Refusal, Report},
        layouts::{self, Layouts},
    },
    placement::{
        history::History,
        layout::{Layout, Parameters, ParametersChange, Redundancy, Role},
        trackers::Step,
    },
    seed::Seed,
    time::Now,
    view::{Config, Consistency, Ring},
};

const SECOND: Duration = Duration::from_secs(1);

fn role(zone: usize) -> Role {
    Role { zone: format!("zone-{zone}"), capacity: Some(1 << 40), tags: vec![] }
}

fn head() -> RequestHead {
    RequestHead {
        method: "GET".to_owned(),
        target: b"/bucket/key".to_vec(),
        headers: vec![],
        body_len: Some(0),
        peer: "127.0.0.1:1".to_owned(),
    }
}

/// The first of `count` machines has a cluster of its own, as quickstart makes it; the others are fresh.
fn grown(count: usize) -> Net {
    let mut net = Net::new(count);
    let layout = layouts::found(id(0), role(0), ClusterId([7; 16]));
    net.machines[0].saved = Saved { layout: Some(layout), peers: None, synced: 1, lost: false };
    (0..count).for_each(|host| net.start(host));
    let hosts: Vec<usize> = (0..count).collect();
    net.until(SECOND * 10, |net| net.is_mesh(&hosts));
    net
}

#[test]
fn a_member_recovers_what_its_database_lost_before_it_ever_said_that_it_had_it() {
    let first = History::new(ClusterId([7; 16]), Layout::single(id(1), role(1))).encode();
    let recovers = |node, lost| {
        let loaded = Layouts::load(node, Some(&first), 0, lost);
        loaded.map(|layouts| layouts.is_recovering())
    };
    assert_eq!(recovers(id(1), true), Ok(true));
    assert_eq!(recovers(id(1), false), Ok(false), "nothing was there when the layout began");
    assert_eq!(recovers(id(2), true), Ok(false), "it is not a member, and holds nothing");
}

/// Gives these hosts a role each, with so many copies.
fn apply(net: &mut Net, at: usize, hosts: &[usize], copies: u16) -> u64 {
    let version = net.node(at).history().version() + 1;
    let result = net.with(at, |node, now| {
        node.change_layout(now, |history| {
            let gone =
                history.members().into_iter().filter(|node| hosts.iter().all(|h| id(*h) != *node));
            for node in gone.collect::<Vec<_>>() {
                history.drain(node, now.wall).unwrap();
            }
            for host in hosts {
                history.stage(id(*host), Some(role(*host)), now.wall).unwrap();
            }
            let bits = Parameters::default().bits;
            let parameters =
                Parameters { replication: copies, redundancy: Redundancy::Maximum, bits };
            history.stage_parameters(parameters, now.wall).unwrap();
            let draft = history.draft()?;
            history.apply(draft, ClusterId([9; 16]), now.wall)
        })
    });
    result.unwrap();
    version
}

fn skip(net: &mut Net, at: usize, version: u64, dead: &[usize]) -> Result<Vec<NodeId>, Refusal> {
    let nodes = dead.iter().map(|host| id(*host)).collect();
    let command = Command::SkipDead { version, nodes, missing_data: true };
    net.with(at, |node, now| node.control(now, command)).map(|report| match report {
        Report::Skipped(nodes) => nodes,
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_change_is_on_disk_with_its_own_save_whatever_comes_after_it() {
    let now = Now::default();
    let setup = Setup::alone(NodeId([1; 32]), 1, Config::default(), Seed::new([1; 32]));
    let mut node = Node::new(setup, now).unwrap();
    let save = |node: &mut Node| loop {
        let (id, effect) = node.poll_effect().expect("a save");
        if matches!(effect, NodeEffect::Save { file: StateFile::Layout, .. }) {
            break id;
        }
    };
    let saves = |node: &Node| {
        let status = node.status(now);
        (status.save, status.saved)
    };
    assert_eq!(saves(&node), (0, 0));
    let parameters = |replication| {
        let change = ParametersChange { replication: Some(replication), ..Default::default() };
        Command::Stage { roles: vec![], parameters: Some(change), force: false }
    };
    node.control(now, parameters(2)).unwrap();
    assert_eq!(saves(&node), (1, 0));
    let first = save(&mut node);
    node.control(now, parameters(3)).unwrap();
    assert_eq!(saves(&node), (2, 0));
    node.handle_event(now, first, NodeEvent::Saved(Ok(())));
    assert_eq!(saves(&node), (2, 1), "the first change is there, and the second on its way");
    let second = save(&mut node);
    node.handle_event(now, second, NodeEvent::Saved(Err("injected".to_owned())));
    assert_eq!(saves(&node), (3, 1), "what could not be saved is saved again");
}

/// Whether these go by this version alone.
fn settled(net: &Net, hosts: &[usize], version: u64) -> bool {
    hosts.iter().all(|host| {
        let ring = &net.node(*host).view().ring;
        (ring.version(), ring.oldest()) == (version, version)
    })
}

/// What must hold at every moment.
fn check(net: &Net) {
    let decode = |bytes: &Vec<u8>| History::decode(bytes).unwrap();
    let machines = net.machines.iter();
    let saved: Vec<History> = machines
        .map(|machine| machine.saved.layout.as_ref().map_or(History::default(), decode))
        .collect();
    let running = || (0..net.machines.len()).filter(|host| net.machines[*host].node.is_some());
    for host in running() {
        let node = net.node(host);
        let history = node.layouts.saved();
        for (other, machine) in net.machines.iter().enumerate() {
            for step in [Step::Ack, Step::Sync, Step::Read] {
                let told = history.trackers().get(step, machine.id);
                let kept = saved[other].trackers().get(step, machine.id);
                assert!(
                    told <= kept,
                    "host {host} is told of {step:?} {told} of host {other}, who has {kept} on disk"
                );
            }
        }
        // Whoever is read from has been written to by everybody.
        for other in running().filter(|other| history.members().contains(&id(*other))) {
            let version = net.node(other).view().ring.version();
            let ring = &node.view().ring;
            if ring.version() > 1 {
                assert!(
                    history.read_version() <= version.max(1),
                    "host {host} reads what host {other} does not write"
                );
            }
            assert!(
                ring.oldest() <= version.max(1),
                "host {host} has retired what host {other} goes by"
            );
        }
    }
}

fn run(net: &mut Net, most: Duration, what: impl Fn(&Net) -> bool) -> Duration {
    net.until(most, |net| {
        check(net);
        what(net)
    })
}

#[test]
fn a_sync_claims_no_layout_that_somebody_may_write_past() {
    let mut net = grown(3);
    let held = net.with(2, |node, now| node.admit(now, head()));
    let version = apply(&mut net, 0, &[0, 1, 2], 2);
    let goes = |net: &Net, host: usize| net.node(host).view().ring.version();
    run(&mut net, SECOND * 10, |net| (0..3).all(|host| goes(net, host) == version));
    net.run(SECOND * 5);
    // One node has not said that it goes by the new layout alone: its task may write by the old one. A sync ends meanwhile.
    let acknowledged = net.node(0).layouts.acknowledged();
    assert!(acknowledged < version);
    net.with(0, |node, now| {
        node.layouts.synced(version, acknowledged);
        node.handle_timeout(now);
    });
    net.run(SECOND * 5);
    let claimed = |net: &Net| net.node(1).history().trackers().get(Step::Sync, id(0));
    assert!(claimed(&net) < version, "what is written now, it lacks");
    net.with(2, |node, now| node.released(now, held.origin()));
    run(&mut net, SECOND * 20, |net| settled(net, &[0, 1, 2], version));
    assert_eq!(claimed(&net), version, "another sync has begun after that");
}

#[test]
fn a_quickstart_node_grows_to_three() {
    let mut net = grown(3);
    let task = net.with(0, |node, now| node.admit(now, head()));
    assert_eq!(task.name(), "request");
    net.with(0, |node, now| node.released(now, task.origin()));
    let task = net.with(1, |node, now| node.admit(now, head()));
    assert_eq!(task.name(), "refusal", "it belongs to no cluster yet");
    net.with(1, |node, now| node.released(now, task.origin()));
    let version = apply(&mut net, 1, &[0, 1, 2], 3);
    assert_eq!(version, 2);
    let took = run(&mut net, SECOND * 20, |net| settled(net, &[0, 1, 2], 2));
    assert!(took < SECOND * 4, "two of which are for fetching the data: {took:?}");
    for host in 0..3 {
        let history = net.node(host).history();
        assert_eq!(history.cluster(), Some(ClusterId([7; 16])), "still the same cluster");
        assert_eq!(history.waiting_for(), []);
        assert_eq!(history.retired().count(), 1);
        assert_eq!(net.node(host).view().ring.everyone().len(), 3);
    }
    // Nothing more is said than that there is nothing to say.
    let (messages, bytes) = net.sent;
    net.run(SECOND * 30);
    let each = (net.sent.1 - bytes) / (net.sent.0 - messages);
    assert!(net.sent.0 - messages <= 30 * 6 + 6 && each < 1500, "{each} bytes a message");
}

#[test]
fn what_is_under_way_holds_a_layout_up_and_nothing_else() {
    let mut net = grown(3);
    apply(&mut net, 0, &[0, 1, 2], 3);
    run(&mut net, SECOND * 20, |net| settled(net, &[0, 1, 2], 2));
    let old = net.with(1, |node, now| node.admit(now, head()).origin());
    assert_eq!(old.layout, 2);
    apply(&mut net, 0, &[0, 1, 2], 2);
    net.run(SECOND * 30);
    let waiting = net.node(2).history().waiting_for();
    assert_eq!(
        (waiting[0].version, waiting[0].step, &waiting[0].nodes[..]),
        (3, Step::Ack, &[id(1)][..])
    );
    assert_eq!(net.node(0).view().ring.oldest(), 2);
    // What begins now goes by the new one and is not waited for.
    let new = net.with(1, |node, now| node.admit(now, head()).origin());
    assert_eq!(new.layout, 3);
    net.with(1, |node, now| node.released(now, old));
    run(&mut net, SECOND * 20, |net| net.node(0).history().read_version() == 3);
    // But it was begun when reads went to the old one.
    net.run(SECOND * 20);
    assert_eq!(net.node(0).history().waiting_for()[0].step, Step::Read);
    net.with(1, |node, now| node.released(now, new));
    run(&mut net, SECOND * 20, |net| settled(net, &[0, 1, 2], 3));
}

/// Until a node has said that it has what a layout gives it, nobody counts on that; then everybody does, whatever it has heard since.
#[test]
fn readers_say_whether_they_count_on_a_layout() {
    let mut net = grown(3);
    apply(&mut net, 0, &[0, 1, 2], 3);
    run(&mut net, SECOND * 20, |net| settled(net, &[0, 1, 2], 2));
    net.machines[2].saved = Saved::default();
    net.lose_power(2);
    net.start(2);
    assert!(!net.node(2).view().vouches_for(0), "it knows nothing");
    let task = net.with(0, |node, now| node.admit(now, head()).origin());
    assert_eq!((task.layout, task.vouched), (2, 2));
    assert!(!net.node(2).view().vouches_for(task.vouched));
    net.until(SECOND * 20, |net| net.node(2).view().ring.version() == 2);
    assert!(!net.node(2).view().vouches_for(task.vouched), "it knows what it has lost");
    net.until(SECOND * 20, |net| net.node(2).view().vouches_for(task.vouched));
}

#[test]
fn a_dead_node_is_waited_for_until_it_is_skipped() {
    let mut net = grown(4);
    apply(&mut net, 0, &[0, 1, 2, 3], 3);
    run(&mut net, SECOND * 20, |net| settled(net, &[0, 1, 2, 3], 2));
    net.stop(3);
    apply(&mut net, 0, &[0, 1, 2], 3);
    net.run(SECOND * 60);
    check(&net);
    let waiting = net.node(1).history().waiting_for();
    assert_eq!((waiting[0].step, &waiting[0].nodes[..]), (Step::Ack, &[id(3)][..]));
    assert_eq!(skip(&mut net, 1, 3, &[]), Ok(vec![id(3)]));
    net.until(SECOND * 20, |net| settled(net, &[0, 1, 2], 3));
    // It comes back, learns that it has no role any more, and serves nobody.
    net.start(3);
    net.until(SECOND * 20, |net| settled(net, &[3], 3));
    assert_eq!(net.with(3, |node, now| node.admit(now, head()).name()), "refusal");
}

/// It has never said that it has all, because there was nothing to be had: reads went to it at once.
#[test]
fn a_node_that_loses_its_disks_in_the_first_seconds_notices_it() {
    let mut net = Net::running(3);
    net.until(SECOND * 10, |net| net.is_mesh(&[0, 1, 2]));
    apply(&mut net, 0, &[0, 1, 2], 3);
    let acked = |net: &Net| net.node(0).history().trackers().get(Step::Ack, id(1)) == 1;
    net.until(SECOND, |net| settled(net, &[0, 1, 2], 1) && acked(net));
    assert_eq!(net.node(0).history().trackers().get(Step::Sync, id(1)), 0);
    net.stop(1);
    net.machines[1].saved = Saved::default();
    net.start(1);
    net.until(SECOND * 10, |net| net.node(1).view().ring.version() > 0);
    assert!(net.node(1).view().recovering);
    net.until(SECOND * 20, |net| !net.node(1).view().recovering);
    assert_eq!(net.node(1).history().trackers().get(Step::Sync, id(1)), 1);
}

#[test]
fn only_the_dead_are_skipped() {
    let mut net = grown(4);
    apply(&mut net, 0, &[0, 1, 2, 3], 3);
    run(&mut net, SECOND * 20, |net| settled(net, &[0, 1, 2, 3], 2));
    assert_eq!(skip(&mut net, 0, 2, &[]), Ok(vec![]), "all are there");
    assert_eq!(skip(&mut net, 0, 1, &[3]), Err(Refusal::NoSuchVersion(1)));
    assert_eq!(skip(&mut net, 0, 2, &[9]), Err(Refusal::NoMember(id(9))));
    assert_eq!(skip(&mut net, 0, 2, &[2, 3]), Err(Refusal::Alive(vec![id(2), id(3)])));
    net.stop(3);
    net.run(SECOND * 50);
    assert_eq!(skip(&mut net, 0, 2, &[]), Err(Refusal::Alive(vec![id(3)])), "it may be back soon");
    net.run(SECOND * 11);
    assert_eq!(skip(&mut net, 0, 2, &[]), Ok(vec![id(3)]));
    // Two of four: either half may be the one that is cut off.
    net.stop(2);
    net.run(SECOND * 61);
    assert_eq!(skip(&mut net, 0, 2, &[]), Err(Refusal::Minority { reached: 2, members: 4 }));
    assert_eq!(skip(&mut net, 0, 2, &[2, 3]), Ok(vec![id(2), id(3)]), "the operator knows");
}

#[test]
fn nothing_is_claimed_that_a_failing_disk_has_not_kept() {
    let mut net = grown(3);
    net.machines[2].disk_fails = true;
    apply(&mut net, 0, &[0, 1, 2], 3);
    for _ in 0..300 {
        net.run(Duration::from_millis(100));
        check(&net);
    }
    assert_eq!(net.node(2).view().ring.version(), 1, "it goes by what it has saved");
    assert_eq!(net.node(0).history().waiting_for()[0].nodes, [id(2)]);
    net.machines[2].disk_fails = false;
    run(&mut net, SECOND * 20, |net| settled(net, &[0, 1, 2], 2));
}

#[test]
fn two_layouts_at_once_end_in_one() {
    let mut net = grown(4);
    apply(&mut net, 0, &[0, 1, 2, 3], 3);
    run(&mut net, SECOND * 20, |net| settled(net, &[0, 1, 2, 3], 2));
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        net.set_cut(a, b, true);
    }
    assert_eq!(apply(&mut net, 0, &[0, 1, 2], 3), apply(&mut net, 2, &[1, 2, 3], 3));
    net.run(SECOND * 5);
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        net.set_cut(a, b, false);
    }
    net.until(SECOND * 60, |net| net.is_mesh(&[0, 1, 2, 3]));
    net.run(SECOND * 5);
    for host in 0..4 {
        let history = net.node(host).history();
        assert_eq!(history.current(), net.node(0).history().current(), "host {host}");
        assert_eq!(history.conflicts().collect::<Vec<_>>(), [3]);
    }
    let version = apply(&mut net, 1, &[0, 1, 2, 3], 3);
    net.until(SECOND * 30, |net| settled(net, &[0, 1, 2, 3], version));
}

#[test]
fn jobs_of_an_older_layout_are_broken_off() {
    let mut net = grown(2);
    net.machines[1].jobs_hang = true;
    net.run(SECOND * 2);
    apply(&mut net, 0, &[0, 1], 2);
    let took = run(&mut net, SECOND * 60, |net| settled(net, &[0, 1], 2));
    assert!(took > SECOND * 9 && took < SECOND * 40, "each step waits its ten seconds: {took:?}");
}

#[test]
fn layouts_come_through_whatever_order_nodes_crash_in() {
    for seed in 0..3 {
        let mut dice = Seed::new([seed; 32]);
        let mut net = grown(5);
        let mut version = apply(&mut net, 0, &[0, 1, 2], 3);
        for round in 0..24 {
            let host = usize::try_from(dice.below(5)).unwrap();
            match dice.below(4) {
                0 if net.machines[host].node.is_some() => net.lose_power(host),
                1 if net.machines[host].node.is_some() => net.stop(host),
                _ if net.machines[host].node.is_none() => net.start(host),
                _ => {}
            }
            if round == 8 || round == 16 {
                (0..5)
                    .filter(|h| net.machines[*h].node.is_none())
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|h| net.start(h));
                net.until(SECOND * 120, |net| net.is_mesh(&[0, 1, 2, 3, 4]));
                net.run(SECOND);
                let hosts: &[usize] = if round == 8 { &[2, 3, 4] } else { &[0, 1, 2, 3, 4] };
                version = apply(&mut net, host, hosts, 3);
                net.run(Duration::from_millis(10));
            }
            for _ in 0..dice.below(12) {
                net.run(Duration::from_millis(80));
                check(&net);
            }
        }
        (0..5)
            .filter(|h| net.machines[*h].node.is_none())
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|h| net.start(h));
        run(&mut net, SECOND * 120, |net| settled(net, &[0, 1, 2, 3, 4], version));
    }
}

#[test]
fn what_a_change_among_twenty_costs() {
    let mut net = grown(20);
    let hosts: Vec<usize> = (0..20).collect();
    apply(&mut net, 0, &hosts, 3);
    net.until(SECOND * 60, |net| settled(net, &hosts, 2));
    net.run(SECOND * 10);
    let (_, before) = net.sent;
    let version = apply(&mut net, 0, &hosts[1..], 3);
    let took = net.until(SECOND * 60, |net| settled(net, &hosts[1..], version));
    let bytes = net.sent.1 - before;
    // Each step of each node goes to all others, and a new layout goes once. With the layouts beside each step it would be 20 MB.
    assert!(bytes < 10_000_000, "{bytes} bytes");
    assert!(took < SECOND * 4, "two of which are for fetching the data: {took:?}");
}

#[test]
fn a_ring_seen_by_other_distances_is_as_a_new_one() {
    let mut net = grown(4);
    apply(&mut net, 0, &[0, 1, 2, 3], 3);
    net.until(SECOND * 20, |net| settled(net, &[0, 1, 2, 3], 2));
    let far = |node: NodeId| (u64::from(node.0[0]), node);
    let history = net.node(0).history();
    let layouts: Vec<_> = history.active().map(|layout| &**layout).collect();
    let retired: Vec<_> = history.retired().map(|layout| &**layout).collect();
    let ring = &net.node(0).view().ring;
    let new = Ring::new(&layouts, ring.read_version(), &retired, Consistency::Consistent, &far);
    assert_eq!(format!("{:?}", ring.ordered(&far)), format!("{new:?}"));
}
