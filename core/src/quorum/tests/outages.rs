//! Nodes that are dead, slow, or take a write and never say so.

use std::{collections::BTreeSet, time::Duration};

use super::{bytes, get, put, spread};
use crate::{
    id::Hash,
    seed::Seed,
    store::Table,
    table::{
        self,
        block::{BlockListRow, BlockRefRow},
        upload::IntentRow,
    },
    testing::{
        Ask, Host,
        cluster::{Cluster, Fate, RTT, layout, node},
    },
    view::{Ring, View},
};

#[test]
fn one_of_three_may_be_dead() {
    for dead in 0..3 {
        let mut cluster = Cluster::replicated(3);
        put(&mut cluster, 0, "before", bytes(2500));
        cluster.down(&[dead]);
        for at in (0..3).filter(|at| *at != dead) {
            for (key, len) in [("inline", 5), ("block", 1000), ("blocks", 3500)] {
                put(&mut cluster, at, key, bytes(len));
                assert_eq!(get(&mut cluster, at, key), Ok(bytes(len)));
            }
            assert_eq!(get(&mut cluster, at, "before"), Ok(bytes(2500)));
            let list = cluster.ask(at, Ask::get("/bucket?list-type=2"));
            assert_eq!(list.elements("Key"), ["before", "block", "blocks", "inline"]);
            let delete = cluster.ask(at, Ask::new("DELETE", "/bucket/inline"));
            assert_eq!(delete.status, 204);
            assert_eq!(get(&mut cluster, at, "inline"), Err("404 NoSuchKey".to_owned()));
        }
    }
}

#[test]
fn without_a_quorum_nothing_is_promised() {
    let mut cluster = Cluster::replicated(3);
    put(&mut cluster, 0, "k", "old");
    cluster.down(&[1, 2]);
    for ask in [
        Ask::put("/bucket/k", "new"),
        Ask::put("/bucket/k", bytes(1000)),
        Ask::put("/bucket/k", bytes(3500)),
        Ask::get("/bucket/k"),
        Ask::new("DELETE", "/bucket/k"),
        Ask::get("/bucket?list-type=2"),
        Ask::get("/"),
        Ask::put("/another", ""),
        Ask::new("DELETE", "/bucket"),
        Ask::get("/unknown/k"),
    ] {
        let reply = cluster.ask(0, ask);
        assert_eq!(reply.outcome(), "503 ServiceUnavailable");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
}

/// Any of the lines may be the only one that lands, and nobody may be left to say that the data is given up.
#[test]
fn each_line_of_a_list_comes_with_the_intent() {
    for (mut cluster, at) in [(Cluster::replicated(3), 0), (spread(), 6)] {
        let lines = std::rc::Rc::new(std::cell::Cell::new(0));
        let seen = std::rc::Rc::clone(&lines);
        cluster.network(move |call| {
            if call.what.contains("block_list") {
                assert!(call.what.contains("intent writing"), "{}", call.what);
                seen.set(seen.get() + 1);
            }
            Fate::Answered
        });
        put(&mut cluster, at, "k", bytes(3500));
        assert!(lines.get() > 4, "{} lines", lines.get());
    }
}

/// It does not even know that there is a layout, or not yet that it had vouched for one.
#[test]
fn a_node_that_has_lost_everything_counts_for_no_read() {
    for knows_the_layout in [false, true] {
        let mut cluster = Cluster::replicated(3);
        cluster.down(&[2]);
        put(&mut cluster, 0, "k", "acknowledged");
        let lost =
            std::mem::replace(&mut cluster.hosts[1], Host::bare(node(1), Seed::new([7; 32])));
        let mut view = View { complete: 0, ..View::clone(&lost.view) };
        if !knows_the_layout {
            view.ring = Ring::empty();
        }
        cluster.hosts[1].view = view.into();
        cluster.down(&[0]);
        let unsure = Err("503 ServiceUnavailable".to_owned());
        assert_eq!(get(&mut cluster, 2, "k"), unsure, "knows the layout: {knows_the_layout}");
        cluster.down(&[]);
        assert_eq!(get(&mut cluster, 2, "k"), Ok(b"acknowledged".to_vec()));
    }
}

#[test]
fn a_silent_replica_is_hedged() {
    let mut cluster = Cluster::replicated(3);
    put(&mut cluster, 0, "inline", "hello");
    put(&mut cluster, 0, "block", bytes(1000));
    for silent in 1..3 {
        cluster.network(move |call| if call.to == silent { Fate::Lost } else { Fate::Answered });
        for target in ["/bucket/inline", "/bucket/block", "/bucket?list-type=2"] {
            let mut session = cluster.begin(0, Ask::get(target));
            session.respond(&mut cluster);
            assert_eq!(session.running.reply.status, 200);
            // At most three round trips until another is asked, and one for its answer.
            assert!(session.took() <= RTT * 4, "{target}: {:?}", session.took());
            session.run(&mut cluster);
        }
        let mut session = cluster.begin(0, Ask::put("/bucket/inline", "hello"));
        session.respond(&mut cluster);
        assert_eq!(session.round_trips(), 1, "a write asks all");
        session.run(&mut cluster);
    }
}

/// The list of blocks goes on in another page, which is slow to come, too: blocks are asked of others meanwhile.
#[test]
fn blocks_are_hedged_while_the_next_page_of_their_list_is_waited_for() {
    let mut cluster = Cluster::new(4, &layout(1, 4, |_| vec![0, 1, 2]));
    let body = bytes(300 * 1024);
    put(&mut cluster, 3, "k", body.clone());
    cluster.network(|call| match call.what.as_str() {
        "Read scan block_list" => Fate::Slow(Duration::from_secs(1)),
        "LoadBlock" if call.to == 0 => Fate::Slow(Duration::from_secs(5)),
        _ => Fate::Answered,
    });
    assert_eq!(get(&mut cluster, 3, "k"), Ok(body));
    let copy = Ask::put("/bucket/copy", "").header("x-amz-copy-source", "bucket/k");
    assert_eq!(cluster.ask(3, copy.header("x-amz-checksum-algorithm", "SHA256")).outcome(), "200");
}

#[test]
fn a_block_that_is_slow_to_come_is_asked_of_another() {
    let mut cluster = Cluster::replicated(3);
    put(&mut cluster, 0, "k", bytes(1000));
    cluster.hosts[0].blocks.clear();
    cluster.network(|call| match (call.to, call.what.as_str()) {
        (1, "LoadBlock") => Fate::Slow(Duration::from_secs(5)),
        _ => Fate::Answered,
    });
    let mut session = cluster.begin(0, Ask::get("/bucket/k"));
    session.run(&mut cluster);
    assert_eq!(session.running.reply.body, bytes(1000));
    assert!(session.took() < Duration::from_millis(300), "{:?}", session.took());
}

#[test]
fn a_block_lost_here_comes_from_there_and_is_queued_to_be_fetched() {
    let mut cluster = Cluster::replicated(3);
    put(&mut cluster, 0, "k", bytes(3500));
    cluster.hosts[0].blocks.clear();
    assert_eq!(get(&mut cluster, 0, "k"), Ok(bytes(3500)));
    assert_eq!(cluster.hosts[0].count(Table::Fetch), 4);
    for host in &mut cluster.hosts {
        host.blocks.clear();
    }
    assert_eq!(get(&mut cluster, 1, "k"), Err("500 InternalError".to_owned()));
    cluster.down(&[2]);
    let unsure = Err("503 ServiceUnavailable".to_owned());
    assert_eq!(get(&mut cluster, 1, "k"), unsure, "the node that is down may have it");
}

/// The final batch may have been applied where nobody answers: its data stays, and the intent leads to it.
#[test]
fn data_that_may_be_named_is_not_dropped() {
    for applied in [None, Some(1), Some(2)] {
        let mut cluster = Cluster::replicated(3);
        cluster.network(move |call| {
            if !call.what.starts_with("Commit: object") {
                Fate::Answered
            } else if Some(call.to) == applied {
                Fate::AnswerLost
            } else {
                Fate::Unreachable
            }
        });
        let reply = cluster.ask(0, Ask::put("/bucket/k", bytes(3500)));
        assert_eq!(reply.outcome(), "503 ServiceUnavailable");
        for (index, host) in cluster.hosts.iter().enumerate() {
            assert_eq!(host.count(Table::BlockList), 4);
            let (_, intent) = host.store.rows(Table::Intent).next().expect("the intent");
            let intent: IntentRow = table::decode(Table::Intent, intent).expect("an intent");
            let done = index == 0 || Some(index) == applied;
            assert_eq!(intent == IntentRow::Done, done, "{intent:?} at {index}");
        }
        cluster.down(&[]);
        // The coordinator has applied it, so whoever asks it sees it, and then everybody does.
        assert_eq!(get(&mut cluster, 0, "k"), Ok(bytes(3500)));
        cluster.down(&[0]);
        assert_eq!(get(&mut cluster, 1, "k"), Ok(bytes(3500)));
    }
}

/// A block that landed where its line in the list did not is let go by its writer: nobody else would find it.
#[test]
fn a_block_without_its_line_is_let_go() {
    let mut cluster = spread();
    cluster.network(|call| {
        let is_list = call.what.starts_with("Commit:") && call.what.contains("block_list");
        if is_list { Fate::Unreachable } else { Fate::Answered }
    });
    let reply = cluster.ask(6, Ask::put("/bucket/k", bytes(3500)));
    assert_eq!(reply.outcome(), "503 ServiceUnavailable");
    let mut let_go = 0;
    for host in &cluster.hosts {
        let listed: BTreeSet<Hash> = host
            .store
            .rows(Table::BlockList)
            .map(|(_, value)| table::decode::<BlockListRow>(Table::BlockList, value))
            .map(|row| row.expect("a row").block)
            .collect();
        for (row_key, value) in host.store.rows(Table::BlockRef) {
            let row: BlockRefRow = table::decode(Table::BlockRef, value).expect("a row");
            let block = Hash::from_slice(&row_key[..32]).expect("a block");
            // One that lives with its list came with its line, and goes with it.
            assert_eq!(row.is_live(), listed.contains(&block));
            let_go += usize::from(!row.is_live());
        }
    }
    assert!(let_go > 0, "every block lives with its list");
}

/// A write that fails before its final batch is given up on all replicas.
#[test]
fn data_that_was_never_named_is_dropped() {
    let mut cluster = Cluster::replicated(3);
    let reply = cluster.ask(0, Ask::put("/bucket/k", bytes(3500)).cut(2700));
    assert_eq!(reply.outcome(), "400 IncompleteBody");
    for host in &cluster.hosts {
        let (_, intent) = host.store.rows(Table::Intent).next().expect("the intent");
        let intent: IntentRow = table::decode(Table::Intent, intent).expect("an intent");
        assert_eq!(intent, IntentRow::Dropped);
        assert_eq!(host.count(Table::Queue), 2, "to drop the data, and to forget that");
    }
}
