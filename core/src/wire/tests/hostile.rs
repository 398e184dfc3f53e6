//! Anything at all as input: never a panic, never a loop, never more than the bounds.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::{bounds::Insider, *};
use crate::wire::{
    frame::{Kind, put_begin, put_cancel, put_credit, put_failed, put_more, put_ping, put_pong},
    limits::RECORD_MAX,
};

/// A frame that is right in form and often in substance.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let stream = prop_oneof![0..12u64, any::<u64>()];
    let size = prop_oneof![0..3000u32, Just(4 << 20), any::<u32>()];
    (0..9u8, stream, 0..4usize, any::<bool>(), size.clone(), size, vec(any::<u8>(), 0..600))
        .prop_map(|(code, stream, class, request, head, payload, data)| {
            let kind = if request { Kind::Request } else { Kind::Response };
            let priority = Priority::ALL[class];
            let mut out = BytesMut::new();
            match code {
                0..3 => {
                    put_begin(&mut out, kind, stream, priority, (head, payload), data.len());
                    out.extend_from_slice(&data);
                }
                3 => {
                    put_more(&mut out, kind, stream, data.len());
                    out.extend_from_slice(&data);
                }
                4 => put_cancel(&mut out, stream),
                5 => put_failed(&mut out, stream, data.first().copied().unwrap_or(1)),
                6 => put_credit(&mut out, kind, priority, head),
                7 => put_ping(&mut out, stream),
                _ => put_pong(&mut out, stream),
            }
            out.to_vec()
        })
}

/// What this end does meanwhile.
#[derive(Clone, Debug)]
enum Step {
    Frames(Vec<u8>),
    Ask(usize, usize),
    Respond(usize),
    Cancel(usize),
    Output,
    Sleep(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(frame(), 1..6).prop_map(|frames| Step::Frames(frames.concat())),
        2 => vec(any::<u8>(), 1..100).prop_map(Step::Frames),
        2 => (0..4usize, 0..70_000usize).prop_map(|(class, size)| Step::Ask(class, size)),
        2 => (0..70_000usize).prop_map(Step::Respond),
        1 => (0..20usize).prop_map(Step::Cancel),
        3 => Just(Step::Output),
        1 => (0..20_000u64).prop_map(Step::Sleep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_insider_may_send_any_frames(steps in vec(step(), 1..60)) {
        let mut insider = Insider::new();
        let (mut asked, mut served) = (Vec::new(), Vec::new());
        let (mut handed, mut out) = (BTreeSet::new(), BytesMut::new());
        for step in steps {
            match step {
                Step::Frames(frames) if frames.len() < RECORD_MAX - 18 => {
                    let _ended = insider.send(&frames);
                }
                Step::Frames(_) => {}
                Step::Ask(class, size) => {
                    let message = message(b"", size);
                    let wait = Duration::from_secs(20);
                    let stream = insider.victim.request(insider.now, Priority::ALL[class], message, wait);
                    asked.extend(stream.ok());
                }
                Step::Respond(size) => {
                    if let Some(stream) = served.pop() {
                        insider.victim.respond(insider.now, stream, message(b"", size));
                    }
                }
                Step::Cancel(at) => {
                    if at < asked.len() {
                        insider.victim.cancel(insider.now, asked.swap_remove(at));
                    }
                }
                Step::Output => {
                    out.clear();
                    let more = insider.victim.poll_output(insider.now, &mut out);
                    prop_assert_eq!(more, !out.is_empty());
                    prop_assert!(out.len() <= (64 << 10) + RECORD_MAX);
                }
                Step::Sleep(millis) => {
                    insider.now.mono = insider.now.mono.after(Duration::from_millis(millis));
                    let _ended = insider.victim.handle_timeout(insider.now);
                }
            }
            for _ in 0..10_000 {
                match insider.victim.poll_event() {
                    Some(Event::Request { stream, .. }) => {
                        prop_assert!(handed.insert(stream), "handed out twice");
                        served.push(stream);
                    }
                    Some(Event::Response { stream, .. }) => {
                        prop_assert!(asked.contains(&stream), "a second result");
                        asked.retain(|of| *of != stream);
                    }
                    Some(Event::Cancelled { stream }) => {
                        prop_assert!(handed.contains(&stream), "nobody was at it");
                        served.retain(|of| *of != stream);
                    }
                    Some(Event::Established { .. }) => prop_assert!(false, "established twice"),
                    None => break,
                }
            }
            prop_assert!(insider.victim.footprint() < 80 << 20, "{}", insider.victim.footprint());
        }
        insider.victim.close();
        let last = std::iter::from_fn(|| insider.victim.poll_event());
        let last = last.filter(|event| matches!(event, Event::Response { .. })).count();
        prop_assert_eq!(last, asked.len(), "exactly one result for each request");
    }

    #[test]
    fn a_stranger_may_send_any_bytes(
        bytes in vec(any::<u8>(), 0..2000),
        greeting in any::<bool>(),
        cuts in vec(1..300usize, 0..20),
        dialled in any::<bool>(),
    ) {
        let pair = Pair::of(&identity(1), &identity(2), None);
        let mut end = if dialled { pair.dialer } else { pair.acceptor };
        let mut all = if greeting { b"MEWS\x01\x01\x03\x00".to_vec() } else { Vec::new() };
        all.extend(bytes);
        let mut input = BytesMut::new();
        let mut cuts = cuts.into_iter();
        let mut rest = &all[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
            input.extend_from_slice(now);
            rest = later;
            if end.handle_input(pair.now, &mut input).is_err() {
                break;
            }
            end.poll_output(pair.now, &mut BytesMut::new());
        }
        prop_assert_eq!(end.peer(), None);
        prop_assert_eq!(end.poll_event(), None);
        prop_assert!(end.footprint() < 16 << 10);
    }

    #[test]
    fn no_changed_stream_of_records_passes_for_the_honest_one(
        sizes in vec(0..40_000usize, 1..8),
        at in any::<prop::sample::Index>(),
        change in 0..5u8,
        cut in 1..5000usize,
    ) {
        let mut pair = Pair::open();
        let asked = sizes.iter().map(|size| message(b"", *size)).collect::<Vec<_>>();
        for message in &asked {
            pair.ask(Priority::Request, message.clone());
        }
        let mut sent = BytesMut::new();
        while pair.dialer.poll_output(pair.now, &mut sent) {}
        let mut bytes = sent.to_vec();
        let at = at.index(bytes.len());
        match change {
            0 => bytes[at] ^= 1 << (cut % 8),
            1 => bytes.truncate(at),
            2 => { bytes.remove(at); }
            3 => {
                // Sent once more, from somewhere on.
                let again = bytes[at..].to_vec();
                bytes.extend(again);
            }
            _ => bytes.rotate_left(at),
        }
        let mut input = BytesMut::new();
        for piece in bytes.chunks(cut) {
            input.extend_from_slice(piece);
            if pair.acceptor.handle_input(pair.now, &mut input).is_err() {
                break;
            }
        }
        // What does arrive is a beginning of what was sent: small ones first, but nothing else and nothing twice.
        let mut left = asked.clone();
        while let Some(event) = pair.acceptor.poll_event() {
            if let Event::Request { message, .. } = event {
                let found = left.iter().position(|of| *of == message);
                prop_assert!(found.is_some(), "a message nobody sent");
                found.map(|found| left.remove(found));
            }
        }
    }

    #[test]
    fn honest_ends_deliver_everything_once_however_bytes_are_sliced(
        sizes in vec((0..4usize, prop_oneof![0..200usize, 0..60_000usize]), 1..40),
        cuts in vec(1..40_000usize, 1..50),
    ) {
        let mut pair = Pair::open();
        let mut expected = Vec::new();
        for (at, (class, size)) in sizes.iter().enumerate() {
            let message = message(&at.to_be_bytes(), *size);
            let asked = pair.dialer.request(pair.now, Priority::ALL[*class], message.clone(), PATIENCE);
            if let Ok(stream) = asked {
                expected.push((stream, Ok(message)));
            }
        }
        let mut cuts = cuts.iter().cycle();
        let (mut wire, mut back, mut got) = (BytesMut::new(), BytesMut::new(), Vec::new());
        loop {
            let moved = pair.dialer.poll_output(pair.now, &mut wire)
                | pair.acceptor.poll_output(pair.now, &mut back);
            while !wire.is_empty() || !back.is_empty() {
                let cut = *cuts.next().expect("endless");
                let piece = wire.split_to(cut.min(wire.len()));
                pair.to_acceptor.extend_from_slice(&piece);
                let piece = back.split_to(cut.min(back.len()));
                pair.to_dialer.extend_from_slice(&piece);
                pair.acceptor.handle_input(pair.now, &mut pair.to_acceptor).expect("honest");
                pair.dialer.handle_input(pair.now, &mut pair.to_dialer).expect("honest");
            }
            let mut busy = moved;
            while let Some(event) = pair.acceptor.poll_event() {
                if let Event::Request { stream, message, .. } = event {
                    pair.acceptor.respond(pair.now, stream, message);
                    busy = true;
                }
            }
            while let Some(event) = pair.dialer.poll_event() {
                if let Event::Response { stream, result } = event {
                    got.push((stream, result));
                    busy = true;
                }
            }
            if !busy {
                break;
            }
        }
        got.sort_by_key(|(stream, _)| *stream);
        prop_assert_eq!(got, expected);
    }
}
