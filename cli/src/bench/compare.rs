//! One row on one endpoint, or on two in turn: what happens on the machine meanwhile then happens to both.

use crate::bench::{
    Failure,
    load::Outcome,
    stage::Stage,
    work::{Kind, Work},
};

/// Each endpoint has so many turns for a row.
const ROUNDS: u32 = 4;

/// An endpoint, and the processes that serve it.
pub struct Side<'a> {
    /// The endpoint.
    pub stage: Stage,
    /// The processes.
    pub pids: &'a [u32],
}

/// Measures a row on each.
pub fn measure(sides: &mut [Side<'_>], row: &Work) -> Result<Vec<Outcome>, Failure> {
    let rounds = if sides.len() == 1 { 1 } else { ROUNDS };
    let mut outcomes = vec![Outcome::default(); sides.len()];
    for round in 0..rounds {
        let share = share(row, round, rounds);
        if share.count == Some(0) {
            continue;
        }
        let mut order: Vec<usize> = (0..sides.len()).collect();
        // Whoever goes second finds the machine warmer, or the disk busier. So they take turns at that, too.
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let Side { stage, pids } = &mut sides[at];
            outcomes[at].append(&stage.measure(&share, pids)?);
        }
    }
    Ok(outcomes)
}

/// What of a row is done in one round.
fn share(row: &Work, round: u32, rounds: u32) -> Work {
    let part = |all: u64| {
        let (round, rounds) = (u64::from(round), u64::from(rounds));
        all / rounds + u64::from(round < all % rounds)
    };
    let objects = if row.kind == Kind::Delete { part(row.objects).max(1) } else { row.objects };
    let duration = if row.count.is_some() { row.duration } else { row.duration / rounds };
    Work { duration, count: row.count.map(part), objects, ..row.clone() }
}

#[cfg(test)]
mod tests {
    use argh::FromArgs;

    use super::*;
    use crate::bench::Args;

    #[test]
    fn rounds_make_up_the_whole() {
        let row = |words: &[&str]| {
            let args = Args::from_args(&["bench"], words).unwrap();
            Work::new(args.kind.unwrap(), args.size, args.connections, &args)
        };
        let counted = row(&["put", "--count", "10"]);
        let counts = (0..4).map(|round| share(&counted, round, 4).count.unwrap());
        assert_eq!(counts.collect::<Vec<_>>(), [3, 3, 2, 2]);
        let timed = row(&["get", "--duration", "6s"]);
        let times = (0..4).map(|round| share(&timed, round, 4).duration);
        assert_eq!(times.sum::<std::time::Duration>(), timed.duration);
        assert_eq!(share(&timed, 0, 4).objects, timed.objects, "the same objects each time");
        let deleted = row(&["delete", "--count", "10"]);
        let objects = (0..4).map(|round| share(&deleted, round, 4).objects);
        assert_eq!(objects.sum::<u64>(), 10);
        assert_eq!(share(&counted, 0, 1), counted);
    }
}
