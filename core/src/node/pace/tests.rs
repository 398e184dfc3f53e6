//! How long background work rests: by what requests wait, and within bounds.

use proptest::{collection::vec, prelude::*};

use super::*;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn waits(operation: Operation, took: Duration) -> Waits {
    let mut waits = Waits::default();
    waits.add(operation, took);
    waits
}

/// A node's pacer and its clock.
struct Machine {
    pacer: Pacer,
    now: Instant,
}

impl Machine {
    fn new() -> Self {
        Self { pacer: Pacer::new(Instant(0)), now: Instant(0) }
    }

    /// For so many seconds, ten requests a second whose commits take so long.
    fn serve(&mut self, seconds: u32, took: Duration) {
        for _ in 0..seconds * 10 {
            self.now = self.now.after(SECOND / 10);
            self.pacer.waited(self.now, &waits(Operation::Commit, took));
        }
    }

    /// Without any request.
    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    fn turn(&mut self, pace: Pace, work: Work, took: Duration, rested: Duration) -> Turn {
        self.pacer.rest(self.now, pace, 0, Ask { work, took, rested })
    }

    /// How long a step that took so long rests altogether, as things are now.
    fn rest(&mut self, pace: Pace, took: Duration) -> Duration {
        self.turn(pace, Work::Upkeep, took, Duration::ZERO);
        self.pacer.rest
    }
}

#[test]
fn a_step_rests_as_long_as_it_took_while_requests_wait_no_longer_than_usual() {
    let mut machine = Machine::new();
    assert_eq!(machine.rest(Pace::Normal, 20 * MILLI), 20 * MILLI);
    machine.serve(60, 3 * MILLI);
    assert_eq!(machine.rest(Pace::Normal, 20 * MILLI), 20 * MILLI);
    machine.pass(2 * SECOND);
    assert_eq!(machine.rest(Pace::Idle, 20 * MILLI), 180 * MILLI);
    assert_eq!(machine.rest(Pace::Fast, 20 * MILLI), Duration::ZERO);
}

#[test]
fn the_rest_grows_while_requests_wait_longer_than_usual_and_shrinks_when_they_do_not() {
    let mut machine = Machine::new();
    machine.serve(30, 3 * MILLI);
    let usual = machine.rest(Pace::Normal, 10 * MILLI);
    let mut rests = vec![usual];
    for _ in 0..3 {
        machine.serve(2, 30 * MILLI);
        rests.push(machine.rest(Pace::Normal, 10 * MILLI));
    }
    assert!(rests.is_sorted_by(|a, b| a < b), "{rests:?}");
    assert!(rests[3] >= 32 * usual, "{rests:?}");
    // The disk is quick again, and the requests go on: by and by.
    machine.serve(10, 3 * MILLI);
    let later = machine.rest(Pace::Normal, 10 * MILLI);
    assert!(usual < later && later < rests[3], "{later:?}");
    // And soon when there are none.
    machine.pass(8 * SECOND);
    assert_eq!(machine.rest(Pace::Normal, 10 * MILLI), usual);
}

#[test]
fn what_is_slow_for_long_becomes_the_usual() {
    let mut machine = Machine::new();
    machine.serve(30, 3 * MILLI);
    machine.serve(60, 9 * MILLI);
    assert!(machine.rest(Pace::Normal, 10 * MILLI) > 100 * MILLI);
    machine.serve(1200, 9 * MILLI);
    assert_eq!(machine.rest(Pace::Normal, 10 * MILLI), 10 * MILLI);
}

#[test]
fn each_operation_has_a_baseline_of_its_own() {
    let mut machine = Machine::new();
    for _ in 0..300 {
        machine.pass(SECOND / 10);
        for (operation, took) in [(Operation::Read, 1), (Operation::LoadBlock, 40)] {
            machine.pacer.waited(machine.now, &waits(operation, took * MILLI));
        }
    }
    assert_eq!(machine.rest(Pace::Normal, 10 * MILLI), 10 * MILLI);
    let status = machine.pacer.status(Pace::Normal);
    let of = |operation| status.waits.iter().find(|waited| waited.operation == operation);
    assert_eq!(of(Operation::Read).map(|waited| waited.usual), Some(MILLI));
    assert_eq!(of(Operation::LoadBlock).map(|waited| waited.recent), Some(40 * MILLI));
    assert_eq!(of(Operation::Commit).map(|waited| waited.recent), Some(Duration::ZERO));
}

#[test]
fn a_fraction_of_a_millisecond_is_no_burden() {
    let mut machine = Machine::new();
    machine.serve(30, MILLI / 100);
    machine.serve(30, MILLI / 2);
    assert_eq!(machine.rest(Pace::Normal, 10 * MILLI), 10 * MILLI);
}

#[test]
fn idle_gives_way_to_requests_under_way_and_to_recent_ones() {
    let mut machine = Machine::new();
    machine.pacer.request(machine.now);
    assert_eq!(machine.rest(Pace::Idle, MILLI), REST_MAX);
    machine.pass(SECOND / 2);
    assert_eq!(machine.rest(Pace::Idle, MILLI), REST_MAX);
    let turn = machine.turn(Pace::Idle, Work::Upkeep, MILLI, SECOND / 2);
    assert_eq!(turn, Turn { rest: PIECE, again: true });
    // The first question after it has calmed down ends the rest.
    machine.pass(SECOND / 2);
    let turn = machine.turn(Pace::Idle, Work::Upkeep, MILLI, SECOND);
    assert_eq!(turn, Turn { rest: Duration::ZERO, again: false });
    let ask = Ask { work: Work::Upkeep, took: MILLI, rested: SECOND };
    let turn = machine.pacer.rest(machine.now, Pace::Idle, 1, ask);
    assert!(turn.again, "a request that hangs is under way, too");
}

#[test]
fn what_requests_leave_behind_keeps_up_with_them() {
    let mut machine = Machine::new();
    machine.serve(30, 3 * MILLI);
    machine.serve(30, 300 * MILLI);
    for pace in [Pace::Idle, Pace::Normal] {
        machine.turn(pace, Work::Owed, 100 * MILLI, Duration::ZERO);
        assert_eq!(machine.pacer.rest, REST_OWED_MAX, "{pace:?}");
    }
}

/// Something that happens, after so many milliseconds.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Wait(Operation, u64),
    Request,
    /// A job's step has taken so many milliseconds, with so many requests under way.
    Step(Work, u64, usize),
}

fn happens() -> impl Strategy<Value = (u64, Happens)> {
    let operation = proptest::sample::select(&Operation::ALL[..]);
    let work = prop_oneof![Just(Work::Upkeep), Just(Work::Owed)];
    let millis = || prop_oneof![0..50_u64, 0..100_000_u64, Just(u64::MAX / 1_000_000)];
    let what = prop_oneof![
        3 => (operation, millis()).prop_map(|(operation, took)| Happens::Wait(operation, took)),
        1 => Just(Happens::Request),
        2 => (work, millis(), 0..3_usize)
            .prop_map(|(work, took, requests)| Happens::Step(work, took, requests)),
    ];
    (prop_oneof![0..20_u64, 0..5000_u64], what)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happens, a job that rests as it is told makes its next step within the bound, having asked a bounded number of times;
    /// and the same that happens is answered the same.
    #[test]
    fn background_work_never_stands_still(
        pace in proptest::sample::select(&Pace::ALL[..]),
        all in vec(happens(), 0..200),
    ) {
        let (mut machine, mut again) = (Machine::new(), Machine::new());
        for (wait, what) in all {
            machine.pass(Duration::from_millis(wait));
            again.now = machine.now;
            match what {
                Happens::Wait(operation, took) => {
                    let waits = waits(operation, Duration::from_millis(took));
                    machine.pacer.waited(machine.now, &waits);
                    again.pacer.waited(again.now, &waits);
                }
                Happens::Request => {
                    machine.pacer.request(machine.now);
                    again.pacer.request(again.now);
                }
                Happens::Step(work, took, requests) => {
                    let most = match (pace, work) {
                        (Pace::Fast, _) => REST_FAST_MAX,
                        (_, Work::Owed) => REST_OWED_MAX,
                        (_, Work::Upkeep) => REST_MAX,
                    };
                    let (mut rested, mut asked) = (Duration::ZERO, 0);
                    loop {
                        let ask = Ask { work, took: Duration::from_millis(took), rested };
                        let turn = machine.pacer.rest(machine.now, pace, requests, ask);
                        prop_assert_eq!(turn, again.pacer.rest(again.now, pace, requests, ask));
                        machine.pass(turn.rest);
                        again.now = machine.now;
                        rested += turn.rest;
                        asked += 1;
                        prop_assert!(rested <= most && asked <= 21, "{:?} in {}", rested, asked);
                        if !turn.again {
                            break;
                        }
                    }
                }
            }
        }
    }
}
