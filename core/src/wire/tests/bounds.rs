//! What a peer can make this end hold, whatever it does.

use super::*;
use crate::wire::{
    frame::{self, Kind, put_begin, put_more},
    limits::{MESSAGE_MAX, RECORD_MAX, STREAMS, WINDOWS},
    receive::Windows,
    seal::{Half, TAG},
    send::Outbox,
};

#[test]
fn a_window_holds_its_bytes_or_one_long_message() {
    let mut windows = Windows::new();
    for priority in Priority::ALL {
        for kind in Kind::ALL {
            let window = WINDOWS[priority as usize];
            let charge = windows.take(kind, priority, MESSAGE_MAX).expect("it goes alone");
            assert_eq!(charge, window);
            assert!(windows.take(kind, priority, 1).is_err(), "{kind:?} {priority:?}");
            windows.give_back(kind, priority, charge);
            assert!(windows.take(kind, priority, 1).is_err(), "the peer is not yet told");
            assert_eq!(windows.credit(), Some((kind, priority, window)));
            let half = windows.take(kind, priority, window as usize / 2).expect("room again");
            windows.take(kind, priority, window as usize / 2).expect("room again");
            assert!(windows.take(kind, priority, 1).is_err());
            windows.give_back(kind, priority, half);
            assert!(windows.credit().is_some());
        }
    }
    let all = WINDOWS.iter().sum::<u32>();
    assert_eq!(windows.held(), all, "half of all windows, twice");
    assert_eq!(all, 17 << 20, "as the table in the room's documentation says");
}

#[test]
fn unread_responses_stop_requests_from_being_handed_out() {
    let mut pair = Pair::open();
    let block = message(b"", 1 << 20);
    let mut held = 0;
    // The peer asks without end and reads nothing.
    for _ in 0..200 {
        let asked = pair.dialer.request(pair.now, Priority::Bulk, message(b"", 10), PATIENCE);
        assert!(asked.is_ok() || held > 0);
        pair.dialer.poll_output(pair.now, &mut pair.to_acceptor);
        pair.acceptor.handle_input(pair.now, &mut pair.to_acceptor).expect("within the rules");
        if let Some(Event::Request { stream, .. }) = pair.acceptor.poll_event() {
            pair.acceptor.respond(pair.now, stream, block.clone());
            held += block.len();
        }
    }
    assert_eq!(held, WINDOWS[2] as usize, "one window and not a byte more");
    assert_eq!(pair.echo().len(), 2 * usize::from(STREAMS[2]), "and then all goes on");
}

#[test]
fn output_comes_in_helpings() {
    let mut pair = Pair::open();
    pair.ask(Priority::Bulk, message(b"", 8 << 20));
    let mut helpings = 0;
    while pair.dialer.poll_output(pair.now, &mut pair.to_acceptor) {
        assert!(pair.to_acceptor.len() <= (64 << 10) + RECORD_MAX);
        pair.acceptor.handle_input(pair.now, &mut pair.to_acceptor).expect("honest");
        assert!(pair.to_acceptor.len() < RECORD_MAX, "whole records are consumed");
        helpings += 1;
    }
    assert!(helpings > 100);
}

/// A peer that knows the secret and the protocol, and keeps to neither: it seals whatever frames it likes.
pub(super) struct Insider {
    pub victim: Connection,
    seal: Half,
    pub now: Now,
}

impl Insider {
    pub fn new() -> Self {
        let pair = Pair::open();
        let (dialer, victim, now) = (pair.dialer, pair.acceptor, pair.now);
        Self { victim, seal: dialer.into_seal(), now }
    }

    /// Sends one record of `frames`.
    pub fn send(&mut self, frames: &[u8]) -> Result<(), WireError> {
        let mut record = BytesMut::from(&[0, 0][..]);
        record.extend_from_slice(frames);
        self.seal.seal(&mut record, 0);
        self.victim.handle_input(self.now, &mut record)
    }
}

fn begin(stream: u64, priority: Priority, payload: u32, data: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    put_begin(&mut out, Kind::Request, stream, priority, (0, payload), data.len());
    out.extend_from_slice(data);
    out
}

fn more(kind: Kind, stream: u64, data: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    put_more(&mut out, kind, stream, data.len());
    out.extend_from_slice(data);
    out
}

#[test]
fn every_broken_rule_ends_the_connection() {
    let bulk = Priority::Bulk;
    let one = begin(5, bulk, 10, b"x");
    let mut response = BytesMut::new();
    put_begin(&mut response, Kind::Response, 2, bulk, (0, 0), 0);
    let mut credit = BytesMut::new();
    frame::put_credit(&mut credit, Kind::Request, bulk, 1);
    let mut class = begin(5, bulk, 0, b"");
    class[11] = 4;
    let cases: Vec<(&str, Vec<BytesMut>)> = vec![
        ("longer than it said", vec![one.clone(), more(Kind::Request, 5, &[0; 10])]),
        ("longer than it said at once", vec![begin(5, bulk, 1, b"xx")]),
        ("a stream twice", vec![one.clone(), one.clone()]),
        ("numbers that go down", vec![one.clone(), begin(3, bulk, 0, b"")]),
        ("our own numbers", vec![begin(4, bulk, 0, b"")]),
        ("more for nothing", vec![more(Kind::Request, 7, b"x")]),
        ("an empty frame", vec![one.clone(), more(Kind::Request, 5, b"")]),
        ("longer than any", vec![begin(5, bulk, u32::MAX, b"")]),
        ("a response to nothing", vec![response]),
        ("more of a response to nothing", vec![more(Kind::Response, 2, b"x")]),
        ("credit for nothing", vec![credit]),
        ("a class there is not", vec![class]),
        ("a cut frame", vec![one[..8].into()]),
        ("over the window", vec![begin(5, bulk, WINDOWS[2], b""), begin(7, bulk, 1, b"")]),
    ];
    for (what, records) in cases {
        let mut insider = Insider::new();
        let (last, before) = records.split_last().expect("each has one");
        for record in before {
            assert_eq!(insider.send(record), Ok(()), "{what}");
        }
        let ended = insider.send(last);
        assert!(matches!(ended, Err(WireError::Protocol(_))), "{what}: {ended:?}");
        assert_eq!(insider.victim.poll_event(), None, "{what}");
        assert_eq!(insider.send(&one), ended, "{what}: it stays ended");
    }
}

#[test]
fn streams_are_counted() {
    for priority in Priority::ALL {
        let mut insider = Insider::new();
        let most = u64::from(STREAMS[priority as usize]);
        for stream in 0..most {
            assert_eq!(insider.send(&begin(2 * stream + 1, priority, 1, b"")), Ok(()));
        }
        let ended = insider.send(&begin(2 * most + 1, priority, 1, b""));
        assert!(matches!(ended, Err(WireError::Protocol(_))), "{priority:?}");
    }
}

#[test]
fn records_longer_than_agreed_are_refused_by_their_length() {
    let mut insider = Insider::new();
    let len = u16::try_from(RECORD_MAX - 1).expect("small");
    let mut record = BytesMut::from(&len.to_be_bytes()[..]);
    let ended = insider.victim.handle_input(insider.now, &mut record);
    assert!(matches!(ended, Err(WireError::Protocol(_))), "{ended:?}");
    let mut insider = Insider::new();
    let mut short = BytesMut::from(&(TAG as u16).to_be_bytes()[..]);
    assert!(insider.victim.handle_input(insider.now, &mut short).is_err());
}

#[test]
fn a_flood_of_pings_is_answered_once_a_record() {
    let mut insider = Insider::new();
    let mut out = BytesMut::new();
    insider.victim.poll_output(insider.now, &mut out);
    let mut pings = BytesMut::new();
    for token in 0..1000 {
        frame::put_ping(&mut pings, token);
    }
    insider.send(&pings).expect("pinging is allowed");
    out.clear();
    insider.victim.poll_output(insider.now, &mut out);
    assert!(out.len() < 100, "{} bytes for a record of pings", out.len());
}

#[test]
fn an_idle_end_is_small() {
    // The keys of both directions are most of it; no buffer, no table.
    let pair = Pair::open();
    assert!(pair.dialer.footprint() < 8 << 10, "{} bytes", pair.dialer.footprint());
}

#[test]
fn an_outbox_without_a_hello_sends_nothing() {
    let mut outbox = Outbox::new(true);
    outbox.push(Kind::Request, 1, Priority::Control, message(b"early", 0));
    assert_eq!(outbox.write(&mut BytesMut::new(), RECORD_MAX, true), None);
}
