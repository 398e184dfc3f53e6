//! Who gets a session, and what those who do not are told.

use super::*;
use crate::wire::{Cipher, VERSIONS};

#[test]
fn both_ends_learn_who_the_other_is() {
    for expected in [None, Some(identity(2).id)] {
        let mut pair = Pair::of(&identity(1), &identity(2), expected);
        assert_eq!(pair.dialer.peer(), None);
        pair.settle().expect("an honest pair");
        assert_eq!(pair.dialer.peer(), Some(identity(2).id));
        assert_eq!(pair.acceptor.peer(), Some(identity(1).id));
    }
}

#[test]
fn the_faster_cipher_is_taken_where_both_have_it() {
    for (one, other, cipher) in [
        (true, true, Cipher::AesGcm),
        (true, false, Cipher::ChaChaPoly),
        (false, true, Cipher::ChaChaPoly),
        (false, false, Cipher::ChaChaPoly),
    ] {
        let (one, other) =
            (Identity { aes: one, ..identity(1) }, Identity { aes: other, ..identity(2) });
        let mut pair = Pair::of(&one, &other, None);
        pair.settle().expect("an honest pair");
        assert_eq!(pair.dialer.agreed(), Some((VERSIONS.1, cipher)));
        assert_eq!(pair.acceptor.agreed(), Some((VERSIONS.1, cipher)));
        while pair.dialer.poll_event().is_some() || pair.acceptor.poll_event().is_some() {}
        pair.ask(Priority::Bulk, message(b"", 100_000));
        assert_eq!(pair.echo().len(), 1);
    }
}

#[test]
fn another_secret_opens_no_session_on_either_end() {
    let stranger = Identity { secret: [43; 32], ..identity(1) };
    let mut pair = Pair::of(&stranger, &identity(2), None);
    let asked = pair.ask(Priority::Request, message(b"let me in", 0));
    assert_eq!(pair.settle(), Err(WireError::Secret));
    assert_eq!(pair.acceptor.poll_event(), None);
    // The dialer has done its part of the handshake, yet says and believes nothing before the acceptor has proven itself.
    assert_eq!(pair.dialer.peer(), None);
    assert_eq!(pair.dialer.poll_event(), None);
    assert!(!pair.dialer.poll_output(pair.now, &mut pair.to_acceptor));
    assert_eq!(pair.dialer.close(), WireError::Refused);
    let result = Err(PeerError::Unreachable);
    assert_eq!(pair.dialer.poll_event(), Some(Event::Response { stream: asked, result }));
    assert_eq!(pair.dialer.poll_event(), None);
}

#[test]
fn another_node_than_the_one_dialled_learns_nothing() {
    let (expected, found) = (identity(3).id, identity(2).id);
    let mut pair = Pair::of(&identity(1), &identity(2), Some(expected));
    assert_eq!(pair.settle(), Err(WireError::WrongPeer { expected, found }));
    assert!(!pair.dialer.poll_output(pair.now, &mut pair.to_acceptor));
    assert_eq!(pair.acceptor.peer(), None);
}

#[test]
fn a_node_that_reaches_itself_says_so() {
    let mut pair = Pair::of(&identity(1), &identity(1), None);
    assert_eq!(pair.settle(), Err(WireError::Myself));
}

#[test]
fn whatever_is_changed_in_the_opening_ends_it_on_both_ends() {
    // What the dialer says up to its last message (8, 50 and 108 bytes), and the acceptor up to its first record (8, 140, 29).
    for (direction, len) in [166, 177].into_iter().enumerate() {
        for byte in 0..len {
            let mut pair = Pair::of(&identity(1), &identity(2), None);
            let mut passed = [0, 0];
            let mut ended = [None, None];
            for _ in 0..6 {
                let before = [pair.to_acceptor.len(), pair.to_dialer.len()];
                pair.dialer.poll_output(pair.now, &mut pair.to_acceptor);
                pair.acceptor.poll_output(pair.now, &mut pair.to_dialer);
                for (way, bytes) in
                    [&mut pair.to_acceptor, &mut pair.to_dialer].into_iter().enumerate()
                {
                    let new = passed[way]..passed[way] + bytes.len() - before[way];
                    if way == direction && new.contains(&byte) {
                        bytes[before[way] + byte - new.start] ^= 0x40;
                    }
                    passed[way] = new.end;
                }
                let results = [
                    pair.acceptor.handle_input(pair.now, &mut pair.to_acceptor),
                    pair.dialer.handle_input(pair.now, &mut pair.to_dialer),
                ];
                for (ended, result) in ended.iter_mut().zip(results) {
                    *ended = ended.take().or(result.err());
                }
            }
            let which = format!("byte {byte} of direction {direction}");
            assert_eq!(pair.dialer.peer(), None, "{which} went unnoticed");
            // The acceptor has heard all it needs to before its first record, which only the dialer can see to be damaged.
            let heard_all = direction == 1 && byte >= 8 + 140;
            assert_eq!(pair.acceptor.peer().is_some(), heard_all, "{which}");
            // Who has not noticed waits in vain, for what is not said or for the rest of a length that became greater.
            let [acceptor, dialer] = ended;
            for (end, ended) in [(&mut pair.acceptor, acceptor), (&mut pair.dialer, dialer)] {
                let silent = end.peer().map_or(WireError::HandshakeTimedOut, |_| WireError::Silent);
                let late = end.handle_timeout(at(10_001));
                assert_eq!(late, Err(ended.unwrap_or(silent)), "{which}");
            }
        }
    }
}

#[test]
fn an_attacker_cannot_talk_two_nodes_into_the_slower_cipher() {
    let mut pair = Pair::of(&identity(1), &identity(2), None);
    pair.dialer.poll_output(pair.now, &mut pair.to_acceptor);
    pair.acceptor.poll_output(pair.now, &mut pair.to_dialer);
    // The offers stand in the seventh byte. Both ends now agree on ChaChaPoly, and on nothing more.
    for offers in [&mut pair.to_acceptor, &mut pair.to_dialer] {
        assert_eq!(offers[6], 3);
        offers[6] = 1;
    }
    pair.acceptor.handle_input(pair.now, &mut pair.to_acceptor).expect("nothing to see yet");
    pair.dialer.handle_input(pair.now, &mut pair.to_dialer).expect("nothing to see yet");
    assert_eq!(pair.settle(), Err(WireError::Handshake));
}

#[test]
fn what_is_not_mews_is_refused_at_its_first_byte() {
    let mut pair = Pair::of(&identity(1), &identity(2), None);
    let mut request = BytesMut::from(&b"GET / HTTP/1.1\r\n\r\n"[..]);
    assert_eq!(pair.acceptor.handle_input(pair.now, &mut request), Err(WireError::NotMews));
    let mut pair = Pair::of(&identity(1), &identity(2), None);
    let mut future = BytesMut::from(&b"MEWS\x07\x09\x03\x00"[..]);
    let error = Err(WireError::Version { ours: VERSIONS.1, theirs: (7, 9) });
    assert_eq!(pair.acceptor.handle_input(pair.now, &mut future), error);
}

#[test]
fn the_opening_may_come_byte_by_byte() {
    let mut pair = Pair::of(&identity(1), &identity(2), None);
    let (mut to_acceptor, mut to_dialer) = (BytesMut::new(), BytesMut::new());
    for _ in 0..10 {
        pair.dialer.poll_output(pair.now, &mut to_acceptor);
        pair.acceptor.poll_output(pair.now, &mut to_dialer);
        for byte in to_acceptor.split() {
            pair.to_acceptor.extend_from_slice(&[byte]);
            pair.acceptor.handle_input(pair.now, &mut pair.to_acceptor).expect("honest");
        }
        for byte in to_dialer.split() {
            pair.to_dialer.extend_from_slice(&[byte]);
            pair.dialer.handle_input(pair.now, &mut pair.to_dialer).expect("honest");
        }
    }
    assert!(pair.dialer.peer().is_some() && pair.acceptor.peer().is_some());
    assert!(pair.to_acceptor.is_empty() && pair.to_dialer.is_empty());
}

#[test]
fn a_handshake_that_stops_is_given_up_in_time() {
    for end in 0..2 {
        let mut pair = Pair::of(&identity(1), &identity(2), None);
        let silent = if end == 0 { &mut pair.dialer } else { &mut pair.acceptor };
        assert_eq!(silent.poll_timeout().map(|(at, _)| at), Some(at(10_001).mono));
        assert_eq!(silent.handle_timeout(at(10_000)), Ok(()));
        assert_eq!(silent.handle_timeout(at(10_001)), Err(WireError::HandshakeTimedOut));
        assert_eq!(silent.poll_timeout(), None);
    }
}
