//! Round-trip times, silence, and time that jumps.

use super::*;

/// Moves all bytes once, each way taking `millis`.
fn exchange(pair: &mut Pair, millis: u64) {
    pair.dialer.poll_output(pair.now, &mut pair.to_acceptor);
    pair.acceptor.poll_output(pair.now, &mut pair.to_dialer);
    pair.now.mono = pair.now.mono.after(Duration::from_millis(millis));
    pair.acceptor.handle_input(pair.now, &mut pair.to_acceptor).expect("honest");
    pair.dialer.handle_input(pair.now, &mut pair.to_dialer).expect("honest");
}

#[test]
fn both_ends_measure_the_round_trip() {
    let mut pair = Pair::of(&identity(1), &identity(2), None);
    assert_eq!(pair.dialer.rtt(), None);
    for _ in 0..10 {
        exchange(&mut pair, 25);
    }
    assert_eq!(pair.dialer.rtt(), Some(Duration::from_millis(50)));
    assert_eq!(pair.acceptor.rtt(), Some(Duration::from_millis(50)));
}

#[test]
fn an_idle_connection_lives_for_hours_on_two_pings_every_five_seconds() {
    let mut pair = Pair::open();
    let (mut bytes, end) = (0, at(3_600_000).mono);
    while pair.now.mono < end {
        let next = [&pair.dialer, &pair.acceptor].map(|end| end.poll_timeout().expect("alive").0);
        pair.now.mono = next[0].min(next[1]);
        pair.dialer.handle_timeout(pair.now).expect("alive");
        pair.acceptor.handle_timeout(pair.now).expect("alive");
        for _ in 0..3 {
            pair.dialer.poll_output(pair.now, &mut pair.to_acceptor);
            pair.acceptor.poll_output(pair.now, &mut pair.to_dialer);
            bytes += pair.to_acceptor.len() + pair.to_dialer.len();
            pair.acceptor.handle_input(pair.now, &mut pair.to_acceptor).expect("honest");
            pair.dialer.handle_input(pair.now, &mut pair.to_dialer).expect("honest");
        }
    }
    // A ping and a pong each way, 29 bytes each with what is around them, every five seconds.
    assert!(bytes <= 720 * 4 * 29 + 200, "{bytes} bytes in an hour");
    assert!(bytes >= 700 * 4 * 20, "pings must go on: {bytes} bytes in an hour");
    assert_eq!(pair.dialer.poll_event(), None);
}

#[test]
fn a_silent_peer_is_given_up_and_requests_with_it() {
    let mut pair = Pair::open();
    let asked = pair.ask(Priority::Request, message(b"anybody?", 0));
    let mut wakes = 0;
    let error = loop {
        pair.now.mono = pair.dialer.poll_timeout().expect("alive").0;
        wakes += 1;
        if let Err(error) = pair.dialer.handle_timeout(pair.now) {
            break error;
        }
        pair.dialer.poll_output(pair.now, &mut pair.to_acceptor);
    };
    assert_eq!(error, WireError::Silent);
    assert!(wakes < 10, "woken {wakes} times for nothing");
    assert!(pair.now.mono.since(Instant(0)) <= Duration::from_millis(15_001));
    let result = Err(PeerError::Unreachable);
    assert_eq!(pair.dialer.poll_event(), Some(Event::Response { stream: asked, result }));
}

#[test]
fn a_machine_that_has_slept_does_not_blame_its_peer() {
    let mut pair = Pair::open();
    pair.settle().expect("honest");
    pair.now = at(3_600_000);
    pair.dialer.handle_timeout(pair.now).expect("first a ping");
    pair.acceptor.handle_timeout(pair.now).expect("first a ping");
    pair.settle().expect("honest");
    pair.now = at(3_610_001);
    pair.dialer.handle_timeout(pair.now).expect("the ping was answered");
}
