//! Two nodes create a bucket of one name at the same time: one wins, the other is told, whatever comes in which order.

use super::orders::{by_chance, every_order, in_order};
use crate::{
    store::{Snapshot, Table},
    table::{self, access::AliasRow},
    testing::{
        Ask,
        cluster::{Cluster, Fate, Session, layout},
    },
};

const SECRET: &str = "another secret";

fn create(key: Option<&str>) -> Ask {
    match key {
        Some(id) => Ask::put("/wanted", "").key(id, SECRET),
        None => Ask::put("/wanted", ""),
    }
}

fn world(nodes: usize) -> Cluster {
    let mut cluster = Cluster::empty(nodes, &layout(1, nodes, |_| (0..nodes).collect()));
    cluster.hosts.iter_mut().for_each(|host| host.add_key("rival", SECRET, true));
    cluster
}

/// What both were told, sorted.
fn outcomes(a: &Session, b: &Session) -> Vec<String> {
    let mut outcomes = vec![a.running.reply.outcome(), b.running.reply.outcome()];
    outcomes.sort();
    outcomes
}

/// One bucket of the name, the same on every node that can be asked.
fn assert_one_bucket(cluster: &mut Cluster, nodes: &[usize]) {
    let alias = |cluster: &Cluster, at: usize| {
        let value = cluster.hosts[at].store.get(Table::Alias, b"wanted").expect("a map");
        let row: AliasRow = table::decode(Table::Alias, &value.expect("an alias")).expect("a row");
        row.bucket.value.expect("a bucket")
    };
    let bucket = alias(cluster, nodes[0]);
    for at in nodes {
        assert_eq!(alias(cluster, *at), bucket);
        assert!(cluster.hosts[*at].store.get(Table::Bucket, &bucket.0).expect("a map").is_some());
    }
}

/// Plays one schedule: which of the calls under way is done next, of both. Gives how many there were each time.
fn play(nodes: usize, schedule: &[usize], same_owner: bool) -> Vec<usize> {
    let mut cluster = world(nodes);
    let rival = (!same_owner).then_some("rival");
    let mut sessions = [cluster.begin(0, create(None)), cluster.begin(1, create(rival))];
    let choices = in_order(&mut cluster, &mut sessions, schedule);
    let [a, b] = &sessions;
    let loser = if same_owner { "409 BucketAlreadyOwnedByYou" } else { "409 BucketAlreadyExists" };
    assert_eq!(outcomes(a, b), ["200", loser], "{schedule:?}");
    assert_one_bucket(&mut cluster, &(0..nodes).collect::<Vec<_>>());
    choices
}

/// Both are the majority of two, so each call counts, and no order is left out.
#[test]
fn every_order_of_two_creations_on_two_nodes_has_one_winner() {
    let mut owner = false;
    let played = every_order(usize::MAX, |schedule| {
        owner = !owner;
        play(2, schedule, owner)
    });
    assert!(played >= 20, "{played} orders");
}

#[test]
fn every_order_of_the_first_calls_on_three_nodes_has_one_winner() {
    let mut owner = false;
    let played = every_order(8, |schedule| {
        owner = !owner;
        play(3, schedule, owner)
    });
    assert!(played > 288, "{played} orders");
}

#[test]
fn three_nodes_and_chance() {
    for seed in 0..300_u64 {
        let mut cluster = world(3);
        let mut sessions =
            [cluster.begin(0, create(None)), cluster.begin(1, create(Some("rival")))];
        by_chance(&mut cluster, &mut sessions, seed);
        let [a, b] = &sessions;
        assert_eq!(outcomes(a, b), ["200", "409 BucketAlreadyExists"], "seed {seed}");
        assert_one_bucket(&mut cluster, &[0, 1, 2]);
    }
}

/// A proposer that dies midway has either created the bucket or not; whoever comes next finds out, and finishes what was decided.
#[test]
fn a_creation_broken_off_is_done_or_undone_by_the_next() {
    for after in 0..12 {
        let mut cluster = world(3);
        let mut first = cluster.begin(0, create(None));
        for _ in 0..after {
            let Some((id, _)) = first.calls().first().cloned() else { break };
            first.deliver(&mut cluster, id);
        }
        let finished = first.running.reply.status == 200;
        drop(first);
        cluster.down(&[0]);
        let second = cluster.ask(1, create(Some("rival")));
        if finished {
            assert_eq!(second.outcome(), "409 BucketAlreadyExists", "after {after}");
        }
        assert_one_bucket(&mut cluster, &[1, 2]);
        let owner = if second.status == 200 { Some("rival") } else { None };
        let put = match owner {
            Some(id) => Ask::put("/wanted/k", "x").key(id, SECRET),
            None => Ask::put("/wanted/k", "x"),
        };
        assert_eq!(cluster.ask(2, put).outcome(), "200", "after {after}");
    }
}

#[test]
fn a_minority_creates_nothing() {
    let mut cluster = world(5);
    cluster.network(|call| if call.to < 2 { Fate::Answered } else { Fate::Unreachable });
    assert_eq!(cluster.ask(0, create(None)).outcome(), "503 ServiceUnavailable");
    cluster.down(&[0, 1]);
    assert_eq!(cluster.ask(2, create(Some("rival"))).outcome(), "200");
    cluster.down(&[]);
    assert_eq!(cluster.ask(0, create(None)).outcome(), "409 BucketAlreadyExists");
}
