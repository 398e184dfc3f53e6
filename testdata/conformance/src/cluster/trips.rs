//! How many round trips between nodes a request takes.

use std::{
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{Cluster, NODES_MAX, Passage, cases::mixed, load::blob, net::Echo, optimised};
use crate::signed::Session;

const PATIENCE: Duration = Duration::from_secs(30);

/// From one node to another and back.
const RTT: Duration = Duration::from_millis(50);
/// Enough that the middle is not moved by what else the machine does now and then.
const ROUNDS: usize = 15;
/// How often a kind of request is measured before it counts as too slow: a machine that others use as well makes it slower, never
/// quicker.
const ATTEMPTS: usize = 4;
/// What is to be counted: round trips to the other zones, with all that the machine does beside.
const SMALL_MAX: f64 = 1.3;
const LARGE_PUT_MAX: f64 = 2.5;
const LARGE_GET_NEAR_MAX: f64 = 1.3;
const LARGE_GET_FAR_MAX: f64 = 2.3;

/// Or, without what the same request takes where there is no delay, so much more than the round trips that it has to make: here all
/// the daemons share one machine, which may be slow or busy.
const MARGIN: f64 = 0.1;

/// With a delay between nodes, how many round trips an operation takes in the middle (the median): not more than these. By a node
/// that has a copy of everything, and by one that has nothing (a gateway).
pub fn round_trips(binary: impl AsRef<Path>) {
    // What an unoptimised daemon computes would be counted too, and is a good part of 50 ms.
    let binary = &*optimised(binary.as_ref());
    let mut cluster = Cluster::start(&mixed(binary));
    let gateway = cluster.add(binary);
    cluster.wait_for(&[0, 1, 2, gateway]);
    let id = cluster.id(gateway);
    cluster.lead(0, &["layout", "assign", &id, "--zone", "d", "--gateway"]);
    cluster.lead(0, &["layout", "apply", "--wait"]);
    cluster.settle(3);
    let mut echo = cluster.net.echo(NODES_MAX - 1, NODES_MAX - 2);
    let ways = [("with a copy", 0, LARGE_GET_NEAR_MAX), ("without", gateway, LARGE_GET_FAR_MAX)];
    let mut own = BTreeMap::new();
    let mut wrong = Vec::new();
    for delay in [Duration::ZERO, RTT] {
        cluster.net.set_all(Passage::After(delay / 2));
        // The next pings tell the nodes how far they are from each other.
        thread::sleep(Duration::from_secs(6));
        for (name, node, large_get_max) in ways {
            let session = Session::open(&cluster.nodes[node]).expect("up");
            let (echo, own, wrong) = (&mut echo, &mut own, &mut wrong);
            let seed = 1_000_000 * (node as u64 + 1) + 1_000 * delay.as_millis() as u64;
            Trips { name, seed, delay, session, echo, own, wrong }.all(large_get_max);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Requests by one node, and how many round trips they took.
struct Trips<'a> {
    name: &'static str,
    /// Of the contents.
    seed: u64,
    /// Between the nodes, there and back.
    delay: Duration,
    session: Session<'a>,
    echo: &'a mut Echo,
    /// What each kind of request took without a delay.
    own: &'a mut BTreeMap<(&'static str, &'static str), Duration>,
    wrong: &'a mut Vec<String>,
}

impl Trips<'_> {
    fn all(&mut self, large_get_max: f64) {
        self.small("PUT of 1 KiB", "PUT", 200, 1 << 10);
        self.small("GET of 1 KiB", "GET", 200, 0);
        let list = |_| ("?list-type=2&prefix=small%2F".to_owned(), Vec::new());
        self.measure("LIST", "GET", 200, SMALL_MAX, &list);
        self.small("DELETE", "DELETE", 204, 0);
        let (name, seed) = (self.name, self.seed);
        let key = |number: usize| format!("large/{name}/{}", number % ROUNDS);
        // Content of its own for each: a block that is there already need not be sent.
        let large = |number: usize| (key(number), blob(seed + number as u64, 1 << 20));
        self.measure("PUT of 1 MiB", "PUT", 200, LARGE_PUT_MAX, &large);
        let large = |number| (key(number), Vec::new());
        self.measure("GET of 1 MiB", "GET", 200, large_get_max, &large);
    }

    fn small(&mut self, what: &'static str, method: &str, status: u16, len: usize) {
        let (name, seed) = (self.name, self.seed);
        let key = |number: usize| format!("small/{name}/{}", number % ROUNDS);
        let of = |number: usize| (key(number), blob(seed + number as u64, len));
        self.measure(what, method, status, SMALL_MAX, &of);
    }

    /// Measures a kind of request, of which `of` tells the key and the body of the number so-and-so.
    fn measure(
        &mut self,
        what: &'static str,
        method: &str,
        status: u16,
        most: f64,
        of: &dyn Fn(usize) -> (String, Vec<u8>),
    ) {
        if self.delay.is_zero() {
            let (_, took) = self.attempt(method, status, 0, of);
            self.own.insert((self.name, what), took);
            return;
        }
        let own = self.own[&(self.name, what)];
        let mut texts = Vec::new();
        for attempt in 0..ATTEMPTS {
            let (trip, took) = self.attempt(method, status, attempt, of);
            let trips = |time: Duration| time.as_secs_f64() / trip.as_secs_f64();
            let (all, net) = (trips(took), trips(took.saturating_sub(own)));
            let text = format!(
                "{what}, {}: {all:.2} round trips (at most {most}): {took:.1?}, of {trip:.1?}; {net:.2} without the {own:.1?} \
                 that it takes without a delay",
                self.name
            );
            println!("{text}");
            if all <= most || net <= most.floor() + MARGIN {
                return;
            }
            texts.push(text);
        }
        self.wrong.append(&mut texts);
    }

    /// What a round trip takes in the middle, and what the request does.
    fn attempt(
        &mut self,
        method: &str,
        status: u16,
        attempt: usize,
        of: &dyn Fn(usize) -> (String, Vec<u8>),
    ) -> (Duration, Duration) {
        let (mut trips, mut took) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let (key, body) = of(attempt * ROUNDS + round);
            // What it takes just now: the delay, and what a busy machine adds to it.
            trips.push(self.echo.round_trip());
            let began = Instant::now();
            let response = self.session.ask(method, &key, &[], &body, PATIENCE);
            took.push(began.elapsed());
            let response = response.expect("an answer");
            let text = String::from_utf8_lossy(&response.body[..response.body.len().min(500)]);
            assert_eq!(response.status, status, "{method} {key}: {text}");
        }
        (median(trips), median(took))
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
