//! Requests and responses of every size, many at once, cancelled and given up.

use super::*;
use crate::wire::limits::{MESSAGE_MAX, QUEUE_WINDOWS, STREAMS, WINDOWS};

fn response(event: &Event) -> (StreamId, Result<Message, PeerError>) {
    match event {
        Event::Response { stream, result } => (*stream, result.clone()),
        other => panic!("not a response: {other:?}"),
    }
}

#[test]
fn messages_of_every_size_come_back_as_they_went() {
    let mut pair = Pair::open();
    for size in [0, 1, 4095, 4096, 4097, 16_300, 16_384, 100_000, 1 << 20, (8 << 20) + 5] {
        for priority in Priority::ALL {
            for message in [message(b"", size), message(&vec![7; size], 3)] {
                let stream = pair.ask(priority, message.clone());
                let events = pair.echo();
                assert_eq!(events.len(), 1, "{size} bytes, {priority:?}");
                assert_eq!(response(&events[0]), (stream, Ok(message)), "{size} bytes");
            }
        }
    }
    assert_eq!(pair.acceptor.poll_event(), None);
}

#[test]
fn both_ends_may_ask_at_once_and_no_wait_is_circular() {
    let mut pair = Pair::open();
    // More than both windows, each way: responses must flow although requests have taken all their credit.
    let mut expected = 0;
    for _ in 0..12 {
        let asked = [
            pair.dialer.request(pair.now, Priority::Bulk, message(b"", 1 << 20), PATIENCE),
            pair.acceptor.request(pair.now, Priority::Bulk, message(b"", 1 << 20), PATIENCE),
        ];
        expected += asked.iter().filter(|asked| asked.is_ok()).count();
    }
    assert_eq!(expected, 24);
    let mut done = 0;
    for _ in 0..1000 {
        pair.settle().expect("an honest pair");
        for end in [&mut pair.dialer, &mut pair.acceptor] {
            while let Some(event) = end.poll_event() {
                match event {
                    Event::Request { stream, message, .. } => {
                        end.respond(pair.now, stream, message);
                    }
                    Event::Response { result, .. } => {
                        assert_eq!(result, Ok(message(b"", 1 << 20)));
                        done += 1;
                    }
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
    }
    assert_eq!(done, expected);
}

#[test]
fn urgent_messages_overtake_blocks_that_have_begun() {
    let mut pair = Pair::open();
    pair.ask(Priority::Background, message(b"back", 1 << 20));
    pair.ask(Priority::Bulk, message(b"bulk", 1 << 20));
    // One helping of output is on its way before the urgent ones are asked.
    assert!(pair.dialer.poll_output(pair.now, &mut pair.to_acceptor));
    pair.ask(Priority::Request, message(b"rows", 100));
    pair.ask(Priority::Control, message(b"gossip", 100));
    assert!(pair.dialer.poll_output(pair.now, &mut pair.to_acceptor));
    pair.acceptor.handle_input(pair.now, &mut pair.to_acceptor).expect("honest");
    let mut order = Vec::new();
    for _ in 0..2 {
        while let Some(event) = pair.acceptor.poll_event() {
            let Event::Request { message, .. } = event else { panic!("unexpected {event:?}") };
            order.push(message.head);
        }
        pair.settle().expect("honest");
    }
    assert_eq!(order, ["gossip", "rows", "bulk", "back"]);
}

#[test]
fn messages_of_one_class_take_turns() {
    let mut pair = Pair::open();
    for name in [b"a", b"b", b"c"] {
        pair.ask(Priority::Bulk, message(name, 300_000));
    }
    pair.ask(Priority::Bulk, message(b"small", 10));
    let mut rounds = Vec::new();
    for round in 0..100 {
        if !pair.dialer.poll_output(pair.now, &mut pair.to_acceptor) {
            break;
        }
        pair.acceptor.handle_input(pair.now, &mut pair.to_acceptor).expect("honest");
        while let Some(Event::Request { message, .. }) = pair.acceptor.poll_event() {
            rounds.push((message.head, round));
        }
    }
    let names = rounds.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names, ["small", "a", "b", "c"]);
    assert_eq!(rounds[0].1, 0, "a small one goes first");
    assert!(rounds[3].1 - rounds[1].1 <= 1, "equal ones end together: {rounds:?}");
}

#[test]
fn a_response_that_comes_too_late_is_timed_out_and_then_ignored() {
    let mut pair = Pair::open();
    let asked = pair.dialer.request(
        pair.now,
        Priority::Request,
        message(b"?", 0),
        Duration::from_millis(500),
    );
    let asked = asked.expect("room");
    pair.settle().expect("honest");
    let Some(Event::Request { stream, .. }) = pair.acceptor.poll_event() else { panic!("asked") };
    assert_eq!(pair.dialer.poll_timeout().map(|(at, _)| at), Some(at(501).mono));
    pair.now = at(501);
    pair.dialer.handle_timeout(pair.now).expect("alive");
    let late = Event::Response { stream: asked, result: Err(PeerError::TimedOut) };
    assert_eq!(pair.dialer.poll_event(), Some(late));
    // The response crosses the cancellation.
    pair.acceptor.respond(pair.now, stream, message(b"!", 100_000));
    pair.settle().expect("what crosses is no offence");
    assert_eq!(pair.dialer.poll_event(), None);
    assert_eq!(pair.acceptor.poll_event(), None);
    pair.ask(Priority::Request, message(b"again", 0));
    assert_eq!(pair.echo().len(), 1);
}

#[test]
fn a_cancelled_request_reaches_whoever_serves_it() {
    let mut pair = Pair::open();
    let stream = pair.ask(Priority::Bulk, message(b"", 1000));
    pair.settle().expect("honest");
    let Some(Event::Request { stream: served, .. }) = pair.acceptor.poll_event() else {
        panic!("asked")
    };
    pair.dialer.cancel(pair.now, stream);
    pair.settle().expect("honest");
    assert_eq!(pair.acceptor.poll_event(), Some(Event::Cancelled { stream: served }));
    pair.acceptor.respond(pair.now, served, message(b"nobody listens", 0));
    pair.settle().expect("honest");
    assert_eq!(pair.dialer.poll_event(), None);
}

#[test]
fn cancelling_at_any_point_gives_all_credit_back() {
    let block = message(b"", WINDOWS[2] as usize);
    for steps in 0..140 {
        let mut pair = Pair::open();
        let stream = pair.ask(Priority::Bulk, block.clone());
        for _ in 0..steps {
            pair.dialer.poll_output(pair.now, &mut pair.to_acceptor);
            pair.acceptor.handle_input(pair.now, &mut pair.to_acceptor).expect("honest");
            if let Some(Event::Request { stream, message, .. }) = pair.acceptor.poll_event() {
                pair.acceptor.respond(pair.now, stream, message);
            }
            pair.acceptor.poll_output(pair.now, &mut pair.to_dialer);
            pair.dialer.handle_input(pair.now, &mut pair.to_dialer).expect("honest");
        }
        pair.dialer.cancel(pair.now, stream);
        pair.settle().expect("honest");
        while pair.acceptor.poll_event().is_some() {}
        assert_eq!(pair.dialer.poll_event(), None, "after {steps} steps");
        // A message that takes the whole window goes through only if all of it has come back.
        let again = pair.ask(Priority::Bulk, block.clone());
        let events = pair.echo();
        assert_eq!(events.len(), 1, "after {steps} steps");
        assert_eq!(response(&events[0]), (again, Ok(block.clone())));
    }
}

#[test]
fn a_response_that_is_too_long_fails_its_request_alone() {
    let mut pair = Pair::open();
    let stream = pair.ask(Priority::Bulk, message(b"", 1));
    pair.settle().expect("honest");
    let Some(Event::Request { stream: served, .. }) = pair.acceptor.poll_event() else {
        panic!("asked")
    };
    let long = Message { head: Bytes::new(), payload: Bytes::from(vec![0; MESSAGE_MAX + 1]) };
    pair.acceptor.respond(pair.now, served, long.clone());
    pair.settle().expect("honest");
    assert_eq!(
        response(&pair.dialer.poll_event().expect("told")),
        (stream, Err(PeerError::Malformed))
    );
    let refused = pair.dialer.request(pair.now, Priority::Bulk, long, PATIENCE);
    assert_eq!(refused, Err(PeerError::Malformed));
    pair.ask(Priority::Bulk, message(b"again", 0));
    assert_eq!(pair.echo().len(), 1);
}

#[test]
fn when_the_connection_ends_every_request_has_its_one_response() {
    let mut pair = Pair::open();
    let sent = pair.ask(Priority::Control, message(b"sent", 0));
    pair.settle().expect("honest");
    let Some(Event::Request { stream: served, .. }) = pair.acceptor.poll_event() else {
        panic!("asked")
    };
    let queued = pair.ask(Priority::Bulk, message(b"queued", 1 << 20));
    assert_eq!(pair.dialer.close(), WireError::Closed);
    let mut lost = Vec::new();
    while let Some(event) = pair.dialer.poll_event() {
        lost.push(response(&event));
    }
    assert_eq!(lost, [sent, queued].map(|stream| (stream, Err(PeerError::Unreachable))));
    assert_eq!(pair.acceptor.close(), WireError::Closed);
    assert_eq!(pair.acceptor.poll_event(), Some(Event::Cancelled { stream: served }));
    assert_eq!(pair.acceptor.poll_event(), None);
    let refused = pair.dialer.request(pair.now, Priority::Bulk, message(b"", 1), PATIENCE);
    assert_eq!(refused, Err(PeerError::Unreachable));
    assert_eq!(pair.dialer.poll_timeout(), None);
    assert!(!pair.dialer.poll_output(pair.now, &mut pair.to_acceptor));
}

#[test]
fn a_peer_that_takes_nothing_makes_callers_busy_and_no_other_class() {
    let mut pair = Pair::open();
    for priority in Priority::ALL {
        let class = priority as usize;
        let (mut bytes, mut asked) = (0, 0);
        let one = message(b"", 64 << 10);
        while pair.dialer.request(pair.now, priority, one.clone(), PATIENCE).is_ok() {
            bytes += one.len();
            asked += 1;
            assert!(bytes <= QUEUE_WINDOWS * WINDOWS[class] as usize, "{priority:?}");
            assert!(asked <= QUEUE_WINDOWS * usize::from(STREAMS[class]), "{priority:?}");
        }
        assert!(asked > 16, "{priority:?} takes some");
    }
    assert!(pair.echo().len() > 64, "and all goes through once it reads");
}
