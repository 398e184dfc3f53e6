//! While the layout changes: writes reach a quorum of the old replicas and of the new ones.

use super::{bytes, get, put};
use crate::{
    placement::layout::Layout,
    testing::{
        Ask,
        cluster::{Cluster, Fate, layout},
    },
};

fn old() -> Layout {
    layout(1, 6, |_| vec![0, 1, 2])
}

fn new() -> Layout {
    layout(2, 6, |_| vec![3, 4, 5])
}

fn changing(read: u64) -> Cluster {
    let mut cluster = Cluster::new(6, &old());
    cluster.set_layouts(&[&old(), &new()], read);
    cluster
}

#[test]
fn what_is_written_now_is_read_by_either_layout() {
    let mut cluster = changing(1);
    for (key, len) in [("inline", 5), ("block", 1000), ("blocks", 3500)] {
        put(&mut cluster, 0, key, bytes(len));
    }
    for read in [1, 2] {
        cluster.set_layouts(&[&old(), &new()], read);
        for at in 0..6 {
            for (key, len) in [("inline", 5), ("block", 1000), ("blocks", 3500)] {
                assert_eq!(get(&mut cluster, at, key), Ok(bytes(len)), "{key} at {at} by {read}");
            }
        }
    }
    cluster.set_layouts(&[&new()], 2);
    cluster.down(&[0, 1, 2, 4]);
    assert_eq!(get(&mut cluster, 3, "blocks"), Ok(bytes(3500)));
}

/// A write that nobody acknowledged reached all of the old replicas and none of the new ones, which have fetched their data before.
#[test]
fn what_was_seen_by_the_old_layout_is_seen_by_the_new_one() {
    let one = || (layout(1, 4, |_| vec![0]), layout(2, 4, |_| vec![3]));
    for (old, new) in [(old(), new()), one()] {
        let moved = new.storage.clone();
        let mut cluster = Cluster::new(old.roles.len(), &old);
        cluster.set_layouts(&[&old, &new], 1);
        cluster.network(move |call| {
            let to_new = moved.contains(&crate::testing::cluster::node(call.to));
            if to_new && call.what.starts_with("Commit") { Fate::Lost } else { Fate::Answered }
        });
        let reply = cluster.ask(0, Ask::put("/bucket/k", "new"));
        assert_eq!(reply.outcome(), "503 ServiceUnavailable");
        cluster.down(&[]);
        assert_eq!(get(&mut cluster, 0, "k"), Ok(b"new".to_vec()));
        assert_eq!(cluster.ask(1, Ask::new("HEAD", "/bucket/k")).status, 200);
        cluster.set_layouts(&[&new], 2);
        assert_eq!(get(&mut cluster, 3, "k"), Ok(b"new".to_vec()));
    }
}

/// One node left for another. The row is on a write quorum of the old set, and on one node of the new one.
#[test]
fn what_one_node_too_few_has_in_the_new_layout_is_written_there() {
    let (old, new) = (layout(1, 4, |_| vec![0, 1, 2]), layout(2, 4, |_| vec![0, 1, 3]));
    let mut cluster = Cluster::new(4, &old);
    cluster.set_layouts(&[&old, &new], 1);
    cluster.network(|call| match (call.to, call.what.starts_with("Commit")) {
        (1 | 3, true) => Fate::Lost,
        (_, _) => Fate::Answered,
    });
    let reply = cluster.ask(0, Ask::put("/bucket/k", "new"));
    assert_eq!(reply.outcome(), "503 ServiceUnavailable");
    cluster.network(|call| if call.to == 1 { Fate::Unreachable } else { Fate::Answered });
    assert_eq!(get(&mut cluster, 0, "k"), Ok(b"new".to_vec()));
    cluster.set_layouts(&[&new], 2);
    cluster.down(&[0, 2]);
    assert_eq!(
        get(&mut cluster, 1, "k").map_err(|_| ()),
        get(&mut cluster, 3, "k").map_err(|_| ())
    );
    assert_eq!(get(&mut cluster, 3, "k"), Ok(b"new".to_vec()));
}

#[test]
fn what_all_sets_have_is_read_in_one_round_trip() {
    let mut cluster = changing(1);
    put(&mut cluster, 0, "k", "there");
    cluster.network(|call| {
        assert!(!call.what.starts_with("Commit"), "{}", call.what);
        Fate::Answered
    });
    assert_eq!(cluster.timed(0, Ask::get("/bucket/k")), ("200".to_owned(), 1));
}

/// Nobody has fetched anything yet, and the new replicas are away: what is old is read all the same, and not written about.
#[test]
fn what_is_old_waits_for_the_sync() {
    let mut cluster = Cluster::new(6, &old());
    put(&mut cluster, 0, "k", "old");
    cluster.pass(std::time::Duration::from_secs(86_400));
    cluster.set_layouts(&[&old(), &new()], 1);
    for dead in [vec![], vec![3, 4, 5]] {
        cluster.network(move |call| {
            assert!(!call.what.starts_with("Commit"), "{}", call.what);
            if dead.contains(&call.to) { Fate::Unreachable } else { Fate::Answered }
        });
        assert_eq!(get(&mut cluster, 0, "k"), Ok(b"old".to_vec()));
    }
}

#[test]
fn each_set_needs_its_own_quorum() {
    for (dead, writes) in [
        (vec![0], true),
        (vec![5], true),
        (vec![2, 3], true),
        (vec![1, 2], false),
        (vec![4, 5], false),
    ] {
        let mut cluster = changing(1);
        put(&mut cluster, 0, "k", "old");
        cluster.down(&dead);
        let at = if dead.contains(&0) { 1 } else { 0 };
        for body in [bytes(5), bytes(1000), bytes(3500)] {
            let reply = cluster.ask(at, Ask::put("/bucket/k", body));
            let expected = if writes { "200" } else { "503 ServiceUnavailable" };
            assert_eq!(reply.outcome(), expected, "without {dead:?}");
        }
    }
}

#[test]
fn a_node_of_both_sets_counts_in_both() {
    let (old, new) = (layout(1, 4, |_| vec![0, 1, 2]), layout(2, 4, |_| vec![1, 2, 3]));
    let mut cluster = Cluster::new(4, &old);
    cluster.set_layouts(&[&old, &new], 1);
    cluster.down(&[0, 3]);
    put(&mut cluster, 1, "k", "both");
    assert_eq!(get(&mut cluster, 2, "k"), Ok(b"both".to_vec()));
}

#[test]
fn a_conditional_write_waits_for_the_end_of_a_change() {
    let mut cluster = Cluster::new(2, &layout(1, 2, |_| vec![0]));
    let ask = || Ask::put("/bucket/k", "x").header("if-none-match", "*");
    cluster.set_layouts(&[&layout(1, 2, |_| vec![0]), &layout(2, 2, |_| vec![1])], 1);
    assert_eq!(cluster.ask(0, ask()).outcome(), "503 ServiceUnavailable");
    cluster.set_layouts(&[&layout(1, 2, |_| vec![0])], 1);
    assert_eq!(cluster.ask(1, ask()).outcome(), "200", "one replica decides, wherever it is");
    assert_eq!(cluster.ask(0, ask()).outcome(), "412 PreconditionFailed");
    let mut cluster = Cluster::replicated(3);
    assert_eq!(cluster.ask(0, ask()).outcome(), "501 NotImplemented");
}

#[test]
fn without_a_layout_nothing_is_reachable() {
    let mut cluster = Cluster::replicated(1);
    let mut view = crate::view::View::clone(&cluster.hosts[0].view);
    view.ring = crate::view::Ring::empty();
    cluster.hosts[0].view = view.into();
    for ask in [Ask::put("/bucket/k", "x"), Ask::get("/bucket/k"), Ask::get("/bucket?list-type=2")]
    {
        assert_eq!(cluster.ask(0, ask).outcome(), "503 ServiceUnavailable");
    }
}
