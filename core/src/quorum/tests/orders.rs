//! Two requests at the same time, their calls done in any order.

use crate::testing::cluster::{Cluster, Session};

/// Runs both to their ends. `schedule` says which of the calls under way, of both, is done next; after its end, the first. Gives
/// how many there were each time.
pub(super) fn in_order(
    cluster: &mut Cluster,
    sessions: &mut [Session; 2],
    schedule: &[usize],
) -> Vec<usize> {
    let mut choices = Vec::new();
    while !sessions.iter().all(Session::is_done) {
        let calls = calls(sessions);
        if calls.is_empty() {
            // Each waits for the other to finish.
            for session in &mut *sessions {
                session.wake(cluster);
            }
            continue;
        }
        let choice = schedule.get(choices.len()).copied().unwrap_or(0);
        choices.push(calls.len());
        let (at, id) = calls[choice];
        sessions[at].deliver(cluster, id);
    }
    for session in sessions {
        session.run(cluster);
    }
    choices
}

/// Every order of the first `depth` calls, whichever goes first of those under way; and after those, as they come. `play` plays
/// one by [`in_order`]. How many there were.
pub(super) fn every_order(depth: usize, mut play: impl FnMut(&[usize]) -> Vec<usize>) -> usize {
    let mut played = 0;
    let mut schedule: Vec<usize> = Vec::new();
    loop {
        let choices = play(&schedule);
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

/// Runs both to their ends, the calls in an order drawn by `seed`, and timers in between.
pub(super) fn by_chance(cluster: &mut Cluster, sessions: &mut [Session; 2], seed: u64) {
    let mut state = seed;
    let mut chance = move |below: usize| {
        state = u64::from_le_bytes(
            blake3::hash(&state.to_le_bytes()).as_bytes()[..8].try_into().expect("eight"),
        );
        usize::try_from(state % below as u64).expect("small")
    };
    while !sessions.iter().all(Session::is_done) {
        let calls = calls(sessions);
        if calls.is_empty() || chance(20) == 0 {
            let waiting = sessions.iter_mut().filter(|session| !session.is_done());
            for session in waiting {
                session.wake(cluster);
            }
        } else {
            let (at, id) = calls[chance(calls.len())];
            sessions[at].deliver(cluster, id);
        }
    }
    for session in sessions {
        session.run(cluster);
    }
}

fn calls(sessions: &[Session; 2]) -> Vec<(usize, crate::effect::EffectId)> {
    let of = |at: usize| sessions[at].calls().into_iter().map(move |(id, _)| (at, id));
    (0..2).flat_map(of).collect()
}
