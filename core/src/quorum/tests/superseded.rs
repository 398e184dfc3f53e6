//! Writers whose clocks lie: an acknowledged write comes after all that was acknowledged before it.

use std::{cell::Cell, rc::Rc, time::Duration};

use super::{bytes, get, put, spread};
use crate::testing::{
    Ask,
    cluster::{Cluster, Fate},
};

#[test]
fn a_writer_whose_clock_is_behind_still_comes_last() {
    for mut cluster in [Cluster::replicated(3), spread()] {
        cluster.skew[1] = 600_000;
        for (round, len) in [5, 1000, 2500, 5, 2500, 1000].into_iter().enumerate() {
            let (ahead, behind) = (format!("ahead {round}").into_bytes(), bytes(len));
            put(&mut cluster, 1, "k", ahead.clone());
            assert_eq!(get(&mut cluster, 0, "k"), Ok(ahead));
            put(&mut cluster, 0, "k", behind.clone());
            for at in 0..3 {
                assert_eq!(get(&mut cluster, at, "k"), Ok(behind.clone()), "{len} at {at}");
            }
        }
        put(&mut cluster, 1, "k", "ahead");
        assert_eq!(cluster.timed(0, Ask::new("DELETE", "/bucket/k")), ("204".to_owned(), 2));
        assert_eq!(get(&mut cluster, 2, "k"), Err("404 NoSuchKey".to_owned()));
    }
}

/// The first node has a version from the future, of a writer that was never answered.
fn with_a_leftover() -> Cluster {
    let mut cluster = Cluster::replicated(3);
    put(&mut cluster, 1, "k", "old");
    cluster.skew[0] = 600_000;
    cluster.network(|call| match call.what.starts_with("Commit: object") {
        true => Fate::Lost,
        false => Fate::Answered,
    });
    let reply = cluster.ask(0, Ask::put("/bucket/k", "leftover"));
    assert_eq!(reply.outcome(), "503 ServiceUnavailable");
    cluster
}

/// Somebody may have seen what the first round wrote, and replaced it: a second round would bring it back.
#[test]
fn what_came_last_on_a_quorum_is_not_written_twice() {
    for ask in [Ask::put("/bucket/k", "new"), Ask::new("DELETE", "/bucket/k")] {
        let mut cluster = with_a_leftover();
        let commits = Rc::new(Cell::new(0));
        let count = Rc::clone(&commits);
        cluster.network(move |call| {
            count.set(count.get() + usize::from(call.what.starts_with("Commit: object")));
            if call.to == 2 { Fate::Slow(Duration::from_millis(200)) } else { Fate::Answered }
        });
        let reply = cluster.ask(1, ask);
        assert!(reply.outcome().starts_with('2'), "{}", reply.outcome());
        assert_eq!(commits.get(), 2, "one round, to two others");
    }
}

#[test]
fn whether_it_came_last_is_found_out_before_it_is_written_again() {
    let mut cluster = with_a_leftover();
    cluster.down(&[2]);
    let ask = || Ask::put("/bucket/k", "new");
    assert_eq!(cluster.ask(1, ask()).outcome(), "503 SlowDown");
    assert_eq!(cluster.ask(1, ask()).outcome(), "200");
    for at in [0, 1] {
        assert_eq!(get(&mut cluster, at, "k"), Ok(b"new".to_vec()));
    }
}
