//! Two nodes create a bucket of one name at the same time: one wins, the other is told, whatever comes in which order.

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
    let mut choices = Vec::new();
    while !sessions.iter().all(Session::is_done) {
        let calls: Vec<_> = (0..2)
            .flat_map(|at| sessions[at].calls().into_iter().map(move |(id, _)| (at, id)))
            .collect();
        if calls.is_empty() {
            // Each waits for the other to finish.
            for session in &mut sessions {
                session.wake(&mut cluster);
            }
            continue;
        }
        let choice = schedule.get(choices.len()).copied().unwrap_or(0);
        choices.push(calls.len());
        let (at, id) = calls[choice];
        sessions[at].deliver(&mut cluster, id);
    }
    for session in &mut sessions {
        session.run(&mut cluster);
    }
    let [a, b] = &sessions;
    let loser = if same_owner { "409 BucketAlreadyOwnedByYou" } else { "409 BucketAlreadyExists" };
    assert_eq!(outcomes(a, b), ["200", loser], "{schedule:?}");
    assert_one_bucket(&mut cluster, &(0..nodes).collect::<Vec<_>>());
    choices
}

/// Every order of the first `depth` calls, whichever goes first of those under way; and after those, as they come. How many.
fn play_all(nodes: usize, depth: usize) -> usize {
    let mut played = 0;
    let mut schedule: Vec<usize> = Vec::new();
    loop {
        let choices = play(nodes, &schedule, played % 2 == 0);
        played += 1;
        // The next schedule in order: the last choice that can be another one.
        schedule.resize(choices.len().min(depth), 0);
        while let Some(last) = schedule.pop() {
            if last + 1 < choices[schedule.len()] {
                schedule.push(last + 1);
                break;
            }
        }
        if schedule.is_empty() {
            return played;
        }
    }
}

/// Both are the majority of two, so each call counts, and no order is left out.
#[test]
fn every_order_of_two_creations_on_two_nodes_has_one_winner() {
    let played = play_all(2, usize::MAX);
    assert!(played >= 20, "{played} orders");
}

#[test]
fn every_order_of_the_first_calls_on_three_nodes_has_one_winner() {
    let played = play_all(3, 8);
    assert!(played > 288, "{played} orders");
}

#[test]
fn three_nodes_and_chance() {
    for seed in 0..300_u64 {
        let mut cluster = world(3);
        let mut sessions =
            [cluster.begin(0, create(None)), cluster.begin(1, create(Some("rival")))];
        let mut state = seed;
        let mut chance = move |below: usize| {
            state = u64::from_le_bytes(
                blake3::hash(&state.to_le_bytes()).as_bytes()[..8].try_into().expect("eight"),
            );
            usize::try_from(state % below as u64).expect("small")
        };
        while !sessions.iter().all(Session::is_done) {
            let calls: Vec<_> = (0..2)
                .flat_map(|at| sessions[at].calls().into_iter().map(move |(id, _)| (at, id)))
                .collect();
            if calls.is_empty() || chance(20) == 0 {
                let waiting = sessions.iter_mut().filter(|session| !session.is_done());
                for session in waiting {
                    session.wake(&mut cluster);
                }
            } else {
                let (at, id) = calls[chance(calls.len())];
                sessions[at].deliver(&mut cluster, id);
            }
        }
        for session in &mut sessions {
            session.run(&mut cluster);
        }
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
