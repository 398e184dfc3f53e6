use std::time::Duration;

use super::net::{LATENCY, Net, id};
use crate::{
    id::NodeId,
    node::{Contact, Saved},
    placement::layout::Role,
};

const SECOND: Duration = Duration::from_secs(1);

fn all(net: &Net) -> Vec<usize> {
    (0..net.machines.len()).collect()
}

#[test]
fn one_address_is_enough_for_a_full_mesh() {
    let mut net = Net::running(12);
    let hosts = all(&net);
    let took = net.until(SECOND * 10, |net| net.is_mesh(&hosts));
    assert!(took < SECOND * 3, "{took:?}");
    // It stays so, and no pair keeps more than one connection.
    net.run(SECOND * 180);
    assert!(net.is_mesh(&hosts));
    for host in &hosts {
        let node = net.node(*host);
        let links: usize = hosts.iter().map(|b| node.membership.links.of(id(*b)).count()).sum();
        assert_eq!(links, 11, "host {host}");
        assert_eq!(node.view().peers.len(), 11);
        assert!(node.view().peers.values().all(|peer| peer.up && peer.rtt.is_some()));
    }
    let dials = net.dials;
    net.run(SECOND * 60);
    assert_eq!(net.dials, dials, "who is connected dials nobody");
}

#[test]
fn both_ends_choose_the_same_of_two_connections() {
    let mut net = Net::new(2);
    // Each knows the other: both dial at once.
    net.machines[0].bootstrap = vec![Contact { id: Some(id(1)), address: "host-1:1".to_owned() }];
    net.machines[1].bootstrap = vec![Contact { id: Some(id(0)), address: "host-0:1".to_owned() }];
    net.start(0);
    net.start(1);
    net.run(SECOND);
    let both = |net: &Net, host: usize| net.node(host).membership.links.of(id(1 - host)).count();
    assert_eq!((both(&net, 0), both(&net, 1)), (2, 2));
    let chosen = |net: &Net, host: usize| {
        let node = net.node(host);
        let link = node.link_to(id(1 - host)).unwrap();
        node.membership.links.get(link).unwrap().outbound
    };
    assert_eq!(chosen(&net, 0), id(0) < id(1));
    assert_eq!(chosen(&net, 1), id(1) < id(0));
    net.run(SECOND * 120);
    assert_eq!((both(&net, 0), both(&net, 1)), (1, 1), "the other one is closed");
    assert_eq!(chosen(&net, 0), id(0) < id(1));
}

#[test]
fn of_two_connections_that_one_node_has_made_none_is_closed_that_the_other_uses() {
    let mut net = Net::new(3);
    // Node 1 meets node 0 at two places at once, and the attempt that it makes first succeeds last.
    net.alias.1 = vec![0];
    let places = [net.alias.0, "host-0:1"];
    net.machines[1].bootstrap =
        places.map(|place| Contact { id: None, address: place.to_owned() }).to_vec();
    (0..3).for_each(|host| net.start(host));
    net.run(SECOND);
    let links = |net: &Net, host: usize| net.node(host).membership.links.of(id(1 - host)).count();
    assert_eq!((links(&net, 0), links(&net, 1)), (2, 2));
    let chosen = |net: &Net, host: usize| {
        let link = net.node(host).link_to(id(1 - host)).expect("they are connected");
        net.other_end((host, link))
    };
    for _ in 0..120 {
        let used = chosen(&net, 0);
        assert_eq!(chosen(&net, 1), (0, net.node(0).link_to(id(1)).expect("as above")));
        net.run(SECOND);
        assert_eq!(chosen(&net, 0), used, "it is not closed, and nothing changes their minds");
    }
    assert_eq!((links(&net, 0), links(&net, 1)), (1, 1), "the other one is");
}

#[test]
fn a_node_that_moves_is_found_by_all() {
    let mut net = Net::running(4);
    net.until(SECOND * 10, |net| net.is_mesh(&[0, 1, 2, 3]));
    net.stop(2);
    net.run(SECOND * 120);
    net.machines[2].address = "elsewhere:1".to_owned();
    net.start(2);
    net.until(SECOND * 40, |net| net.is_mesh(&[0, 1, 2, 3]));
    // And the others find it there, should the connections break.
    net.set_cut(2, 3, true);
    net.run(SECOND * 20);
    assert!(!net.is_mesh(&[2, 3]));
    net.set_cut(2, 3, false);
    net.until(SECOND * 40, |net| net.is_mesh(&[2, 3]));
}

#[test]
fn peers_are_remembered_across_restarts_without_any_bootstrap_address() {
    let mut net = Net::running(4);
    net.until(SECOND * 10, |net| net.is_mesh(&[0, 1, 2, 3]));
    net.run(SECOND * 10);
    (0..4).for_each(|host| net.stop(host));
    net.machines.iter_mut().for_each(|machine| machine.bootstrap.clear());
    // The one whose address they all began with stays away.
    (1..4).for_each(|host| net.start(host));
    let took = net.until(SECOND * 10, |net| net.is_mesh(&[1, 2, 3]));
    assert!(took < SECOND * 2, "{took:?}");
    net.run(SECOND * 300);
    let before = net.dials;
    net.run(SECOND * 60);
    assert!(net.dials - before <= 3 * 5, "{} dials in a minute", net.dials - before);
    net.start(0);
    net.until(SECOND * 40, |net| net.is_mesh(&[0, 1, 2, 3]));
}

#[test]
fn a_restart_that_tcp_has_not_noticed_gets_the_new_connection() {
    let mut net = Net::running(2);
    net.until(SECOND * 10, |net| net.is_mesh(&[0, 1]));
    net.run(SECOND * 2);
    let stale = net.node(0).link_to(id(1)).unwrap();
    net.lose_power(1);
    net.start(1);
    net.run(SECOND * 2);
    let fresh = net.node(0).link_to(id(1)).unwrap();
    assert_ne!(stale, fresh);
    assert!(net.is_mesh(&[0, 1]));
    assert_eq!(net.node(0).membership.links.of(id(1)).count(), 1);
}

#[test]
fn nodes_without_a_role_are_forgotten_an_hour_after_they_were_last_seen() {
    let mut net = Net::running(3);
    net.until(SECOND * 10, |net| net.is_mesh(&[0, 1, 2]));
    net.stop(2);
    net.run(SECOND * 3500);
    assert!(net.node(0).membership.peers.contains_key(&id(2)));
    net.run(SECOND * 200);
    assert!(!net.node(0).membership.peers.contains_key(&id(2)));
    assert!(!net.node(1).membership.peers.contains_key(&id(2)), "nobody brings it up again");
}

#[test]
fn a_node_that_was_named_is_looked_for_however_long_it_is_away() {
    let mut net = Net::new(2);
    net.machines[0].bootstrap = vec![Contact { id: Some(id(1)), address: "host-1:1".to_owned() }];
    net.machines[1].bootstrap.clear();
    net.start(0);
    net.run(SECOND * 3 * 3600);
    net.start(1);
    net.until(SECOND * 40, |net| net.is_mesh(&[0, 1]));
    // Nor does it matter that it was elsewhere in between.
    net.stop(1);
    net.with(0, |node, now| node.forget(now, id(1)));
    net.machines[1].saved.peers = None;
    net.run(SECOND * 60);
    net.start(1);
    net.until(SECOND * 40, |net| net.is_mesh(&[0, 1]));
}

#[test]
fn nobody_is_forgotten_because_the_clock_is_set() {
    let mut net = Net::running(2);
    net.until(SECOND * 10, |net| net.is_mesh(&[0, 1]));
    net.run(SECOND * 10);
    (0..2).for_each(|host| net.stop(host));
    net.start(0);
    net.run(SECOND * 3);
    net.machines[0].skew = SECOND * 50 * 365 * 86400;
    net.run(SECOND * 60);
    assert!(net.node(0).membership.peers.contains_key(&id(1)));
    net.run(SECOND * 3700);
    assert!(!net.node(0).membership.peers.contains_key(&id(1)), "after an hour, it is");
}

#[test]
fn a_clock_that_differs_is_noticed() {
    let mut net = Net::new(2);
    net.machines[1].skew = Duration::from_secs(60);
    (0..2).for_each(|host| net.start(host));
    net.run(SECOND * 5);
    let skew =
        |net: &Net, host: usize| net.node(host).membership.peers[&id(1 - host)].skew.unwrap();
    assert!((59_900..=60_100).contains(&skew(&net, 0)), "{}", skew(&net, 0));
    assert!((-60_100..=-59_900).contains(&skew(&net, 1)));
}

#[test]
fn two_clusters_refuse_to_merge() {
    let mut net = Net::new(4);
    for (host, cluster) in [(0, 1), (1, 2)] {
        let role = Role { zone: "z".to_owned(), capacity: Some(1 << 30), tags: vec![] };
        let cluster = crate::id::ClusterId([cluster; 16]);
        let layout = crate::node::layouts::found(id(host), role, cluster);
        net.machines[host].saved =
            Saved { layout: Some(layout), peers: None, synced: 1, lost: false };
    }
    // One fresh node beside each; by mistake, the first cluster is told of the second.
    net.machines[1].bootstrap.clear();
    net.machines[3].bootstrap = vec![Contact { id: None, address: "host-1:1".to_owned() }];
    net.machines[0].bootstrap = vec![Contact { id: None, address: "host-1:1".to_owned() }];
    (0..4).for_each(|host| net.start(host));
    net.run(SECOND * 30);
    for (host, other) in [(0, 1), (1, 0)] {
        let cluster = net.node(host).history().cluster();
        assert_eq!(cluster.unwrap().0[0], u8::try_from(host).unwrap() + 1);
        assert!(net.node(host).link_to(id(other)).is_none(), "not connected");
        assert!(net.node(host).view().peers.keys().all(|peer| *peer != id(other)));
        assert!(net.node(host).membership.peers[&id(other)].foreign.is_some());
    }
    let dials = net.dials;
    net.run(SECOND * 60);
    assert!(net.dials - dials < 20, "{} dials", net.dials - dials);
}

#[test]
fn a_node_that_is_told_its_own_address_dials_it_ever_more_seldom() {
    let mut net = Net::running(1);
    let address = net.machines[0].address.clone();
    let contact = || Contact { id: None, address: address.clone() };
    net.run(SECOND * 10);
    let before = net.dials;
    net.with(0, |node, now| node.connect(now, contact()));
    net.run(SECOND * 3600);
    assert!(net.dials <= before + 35, "{} dials in an hour", net.dials - before);
    let before = net.dials;
    net.run(SECOND * 3600);
    assert!(net.dials <= before + 24, "{} dials in an hour", net.dials - before);
    assert_eq!(net.node(0).view().peers.len(), 0);
}

#[test]
fn one_name_for_all_nodes_is_enough() {
    let mut net = Net::new(2);
    for host in 0..2 {
        net.machines[host].bootstrap = vec![Contact { id: None, address: "all:1".to_owned() }];
    }
    // At first, each meets itself there.
    net.alias.1 = vec![0, 1, 0, 1, 1, 0];
    (0..2).for_each(|host| net.start(host));
    net.until(SECOND * 20, |net| net.is_mesh(&[0, 1]));
}

#[test]
fn a_node_does_not_look_for_others_where_it_listens_itself() {
    let mut net = Net::running(1);
    let own = "192.0.2.9:3901".to_owned();
    net.with(0, |node, _| node.listens_at(own.clone()));
    net.run(SECOND * 10);
    let before = net.dials;
    net.with(0, |node, now| node.connect(now, Contact { id: None, address: own.clone() }));
    net.run(SECOND * 120);
    assert_eq!(net.dials, before);
    let status = net.with(0, |node, now| node.status(now));
    assert!(status.nodes.iter().any(|node| node.address.is_some()));
}

#[test]
fn a_peer_that_is_said_to_be_at_the_own_address_is_dialled_ever_more_seldom() {
    let mut net = Net::running(1);
    let address = net.machines[0].address.clone();
    net.run(SECOND * 10);
    let before = net.dials;
    net.with(0, |node, now| node.connect(now, Contact { id: Some(id(7)), address }));
    net.run(SECOND * 60);
    assert!(net.dials - before <= 8, "{} dials in a minute", net.dials - before);
    net.run(SECOND * 600);
    assert!(net.dials - before <= 60, "{} dials in eleven minutes", net.dials - before);
}

#[test]
fn connections_that_fall_as_soon_as_they_are_up_do_not_come_in_a_loop() {
    let mut net = Net::new(2);
    net.machines[0].hangs_up = true;
    (0..2).for_each(|host| net.start(host));
    net.run(SECOND * 60);
    // One knows the other by a name and by its address, and the other by that alone.
    assert!(net.dials <= 3 * 120, "{} dials in a minute", net.dials);
    net.machines[0].hangs_up = false;
    net.until(SECOND * 40, |net| net.is_mesh(&[0, 1]));
    net.run(SECOND * 60);
    net.set_cut(0, 1, true);
    net.set_cut(0, 1, false);
    let took = net.until(SECOND * 40, |net| net.is_mesh(&[0, 1]));
    assert!(took < SECOND, "a line that was good is tried at once: {took:?}");
}

#[test]
fn peers_that_never_answer_do_not_keep_others_waiting() {
    let mut net = Net::new(2);
    net.machines[1].bootstrap.clear();
    net.machines[0].bootstrap = vec![Contact { id: Some(id(1)), address: "host-1:1".to_owned() }];
    net.start(0);
    for hole in 1..=48 {
        // In the order of ids, all of them come before the one that is there.
        let low = NodeId(std::array::from_fn(|at| if at == 31 { hole } else { 0 }));
        let contact = Contact { id: Some(low), address: format!("hole-{hole}:1") };
        net.with(0, |node, now| node.connect(now, contact));
    }
    net.run(SECOND * 300);
    net.start(1);
    net.until(SECOND * 120, |net| net.is_mesh(&[0, 1]));
}

#[test]
fn a_damaged_file_of_peers_stops_nobody_and_is_replaced() {
    for damage in [&b""[..], b"\xff", b"\x01nonsense", b"\x02"] {
        let mut net = Net::new(2);
        net.machines[1].saved.peers = Some(damage.to_vec());
        (0..2).for_each(|host| net.start(host));
        net.until(SECOND * 10, |net| net.is_mesh(&[0, 1]));
        net.run(SECOND * 10);
        assert_ne!(net.machines[1].saved.peers.as_deref(), Some(damage));
        net.stop(1);
        net.machines[1].bootstrap.clear();
        net.start(1);
        net.until(SECOND * 10, |net| net.is_mesh(&[0, 1]));
    }
}

#[test]
fn a_peer_is_as_far_as_the_connection_that_is_used_says() {
    let mut net = Net::new(2);
    // Each knows the other: both dial at once, and there are two connections.
    net.machines[0].bootstrap = vec![Contact { id: Some(id(1)), address: "host-1:1".to_owned() }];
    net.machines[1].bootstrap = vec![Contact { id: Some(id(0)), address: "host-0:1".to_owned() }];
    (0..2).for_each(|host| net.start(host));
    net.run(SECOND * 5);
    let rtt = |net: &Net| net.node(0).view().peers[&id(1)].rtt;
    assert_eq!(rtt(&net), Some(LATENCY * 2));
    let used = net.node(0).link_to(id(1)).unwrap();
    let links: Vec<_> = net.node(0).membership.links.of(id(1)).map(|(link, _)| link).collect();
    assert_eq!(links.len(), 2);
    for link in links {
        let far = SECOND * if link == used { 1 } else { 2 };
        net.with(0, |node, now| node.link_measured(now, link, far));
        assert!(rtt(&net) != Some(SECOND * 2));
    }
    net.run(SECOND * 30);
    assert_eq!(rtt(&net), Some(SECOND), "gossip that is faster changes nothing");
}
