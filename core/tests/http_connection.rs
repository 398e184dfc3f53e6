//! A whole connection through the guard: what it makes of a stream of bytes must not depend on how the stream is cut, and no
//! stream may make it panic or hold more than its limits.

use mews_core::{
    http::{
        body::BodyFault,
        guard::{BodyNeed, Guard, Need},
        limits::Limits,
    },
    time::Instant,
};
use proptest::prelude::*;

/// What a connection did, as its client and its handler see it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Did {
    Served { method: String, target: String },
    Continued,
    Body(Vec<u8>),
    Trailers(usize),
    Fault(BodyFault),
    Refused(u16),
    Answered { keep: bool },
    ShutDown,
    Closed,
}

/// Plays shell and handler: feeds `stream` in pieces as long as `cuts` say (then the rest), reads every body to its end
/// unless `lazy`, and answers.
struct Shell<'a> {
    guard: Guard,
    stream: &'a [u8],
    cuts: std::slice::Iter<'a, usize>,
    lazy: bool,
    did: Vec<Did>,
}

const START: Instant = Instant(0);

impl<'a> Shell<'a> {
    fn new(stream: &'a [u8], cuts: &'a [usize], lazy: bool) -> Self {
        let guard = Guard::new(Limits::default(), START, "peer".to_owned());
        Self { guard, stream, cuts: cuts.iter(), lazy, did: Vec::new() }
    }

    fn run(mut self) -> Vec<Did> {
        loop {
            assert!(self.guard.room() <= Limits::default().head_bytes);
            match self.guard.next(START) {
                Need::Read => self.read(),
                Need::Serve(head, _) => {
                    let target = String::from_utf8_lossy(&head.target).into_owned();
                    self.did.push(Did::Served { method: head.method, target });
                    if !self.lazy {
                        self.body();
                    }
                    self.answer();
                }
                Need::Refuse(reject) => {
                    self.did.push(Did::Refused(reject.status));
                    self.answer();
                }
                Need::ShutDown => self.did.push(Did::ShutDown),
                Need::Close => {
                    self.did.push(Did::Closed);
                    return self.did;
                }
            }
        }
    }

    fn body(&mut self) {
        let mut body = Vec::new();
        loop {
            match self.guard.body(START, 100) {
                Ok(BodyNeed::Continue) => self.did.push(Did::Continued),
                Ok(BodyNeed::Read) => self.read(),
                Ok(BodyNeed::Direct(max)) => {
                    let piece = self.piece(usize::try_from(max).expect("small tests"));
                    if piece.is_empty() {
                        self.guard.receive_end();
                    } else {
                        self.guard.took(START, piece.len() as u64);
                        body.extend_from_slice(piece);
                    }
                }
                Ok(BodyNeed::Data(data)) => body.extend_from_slice(&data),
                Ok(BodyNeed::End) => {
                    self.did.push(Did::Body(body));
                    return self.did.push(Did::Trailers(self.guard.trailers().len()));
                }
                Err(fault) => return self.did.push(Did::Fault(fault)),
            }
        }
    }

    fn answer(&mut self) {
        let keep = self.guard.begin_answer();
        self.did.push(Did::Answered { keep });
        self.guard.answered(START, true);
    }

    fn read(&mut self) {
        let room = self.guard.room();
        assert!(room > 0, "asked to read without room");
        match self.piece(room) {
            [] => self.guard.receive_end(),
            piece => self.guard.receive(START, piece),
        }
    }

    fn piece(&mut self, max: usize) -> &'a [u8] {
        let cut = self.cuts.next().copied().unwrap_or(usize::MAX).max(1);
        let (piece, rest) = self.stream.split_at(cut.min(max).min(self.stream.len()));
        self.stream = rest;
        piece
    }
}

fn run(stream: &str) -> Vec<Did> {
    let whole = Shell::new(stream.as_bytes(), &[], false).run();
    let bytewise = Shell::new(stream.as_bytes(), &vec![1; stream.len()], false).run();
    assert_eq!(whole, bytewise, "{stream:?}");
    whole
}

fn served(method: &str, target: &str) -> Did {
    Did::Served { method: method.to_owned(), target: target.to_owned() }
}

fn body(text: &str) -> Did {
    Did::Body(text.as_bytes().to_vec())
}

const KEPT: Did = Did::Answered { keep: true };
const LEFT: Did = Did::Answered { keep: false };

#[test]
fn pipelined_requests_are_served_in_order() {
    let stream = "PUT /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
        \r\n\r\nPUT /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\nx: y\r\n\r\n\
        GET /3 HTTP/1.1\r\nHost: h\r\n\r\n";
    let expected = [
        [served("PUT", "/1"), body("abc"), Did::Trailers(0), KEPT],
        [served("PUT", "/2"), body("def"), Did::Trailers(1), KEPT],
        [served("GET", "/3"), body(""), Did::Trailers(0), KEPT],
    ];
    assert_eq!(run(stream), [&expected.concat()[..], &[Did::Closed]].concat());
}

#[test]
fn a_body_cut_short_is_a_fault_and_the_end() {
    let expected =
        [served("PUT", "/"), Did::Fault(BodyFault::Incomplete), LEFT, Did::ShutDown, Did::Closed];
    assert_eq!(run("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc"), expected);
    let chunked = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    assert_eq!(run(chunked), expected);
}

#[test]
fn nothing_is_served_after_a_refusal() {
    let next = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let both = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let expected = [Did::Refused(400), LEFT, Did::ShutDown, Did::Closed];
    assert_eq!(run(&format!("{both}{next}")), expected);
}

#[test]
fn continue_is_sent_once_and_only_to_who_waits() {
    let head = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let shell = Shell::new(head.as_bytes(), &[], false);
    let did = shell.run();
    assert_eq!(did[..2], [served("PUT", "/"), Did::Continued]);
    let stream = format!("{head}abc");
    let eager = Shell::new(stream.as_bytes(), &[], false).run();
    assert_eq!(eager[..3], [served("PUT", "/"), body("abc"), Did::Trailers(0)]);
}

#[test]
fn an_early_answer_keeps_the_connection_only_if_that_is_cheap_and_certain() {
    let put = |length: usize, more: &str| {
        let rest = "x".repeat(length);
        let next = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
        let head = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{more}\r\n");
        Shell::new(format!("{head}{rest}{next}").as_bytes(), &[], true).run()
    };
    let goes_on = vec![served("PUT", "/"), KEPT, served("GET", "/next"), KEPT, Did::Closed];
    let ends = vec![served("PUT", "/"), LEFT, Did::ShutDown, Did::Closed];
    assert_eq!(put(64 << 10, ""), goes_on);
    assert_eq!(put((64 << 10) + 1, ""), ends);
    assert_eq!(put(3, "Expect: 100-continue\r\n"), ends);
    let chunked = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(Shell::new(chunked, &[], true).run(), ends);
}

#[test]
fn a_lingering_close_is_bounded() {
    let limits = Limits::default();
    let length = usize::try_from(limits.linger_bytes).expect("small") * 2;
    let stream = format!(
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{}",
        "x".repeat(length)
    );
    let mut shell = Shell::new(stream.as_bytes(), &[], true);
    let guard = &mut shell.guard;
    let (head, rest) = shell.stream.split_at(1000);
    guard.receive(START, head);
    assert!(matches!(guard.next(START), Need::Serve(..)));
    assert!(!guard.begin_answer());
    guard.answered(START, true);
    assert_eq!(guard.next(START), Need::ShutDown);
    let mut read = 0;
    while guard.next(START) == Need::Read {
        guard.receive(START, &rest[..1000]);
        read += 1000;
    }
    assert!(read <= limits.linger_bytes + 1000, "{read}");
}

#[test]
fn long_heads_are_refused_without_being_kept() {
    let stream = "x".repeat(1 << 20);
    let expected = [Did::Refused(431), LEFT, Did::ShutDown, Did::Closed];
    assert_eq!(Shell::new(stream.as_bytes(), &[], false).run(), expected);
    let fields = format!("GET / HTTP/1.1\r\nHost: h\r\n{}", "A: b\r\n".repeat(10_000));
    assert_eq!(Shell::new(fields.as_bytes(), &[], false).run(), expected);
}

#[test]
fn a_head_of_exactly_the_limit_is_served() {
    let limit = Limits::default().head_bytes;
    let head = |len: usize| {
        let start = "GET / HTTP/1.1\r\nHost: h\r\nA: ";
        format!("{start}{}\r\n\r\n", "x".repeat(len - start.len() - 4))
    };
    assert_eq!(run(&head(limit))[0], served("GET", "/"));
    assert_eq!(run(&head(limit + 1))[0], Did::Refused(431));
}

mod deadlines {
    use super::*;

    fn guard() -> Guard {
        Guard::new(Limits::default(), START, "peer".to_owned())
    }

    /// Goes to the next deadline.
    fn wait(guard: &mut Guard) -> (Instant, &'static str) {
        let (at, reason) = guard.poll_timeout().expect("something is waited for");
        guard.handle_timeout(at);
        (at, reason.0)
    }

    #[test]
    fn an_idle_connection_is_closed_silently() {
        let mut guard = guard();
        assert_eq!(guard.next(START), Need::Read);
        guard.receive(START, b"\r\n\r");
        assert_eq!(guard.next(START), Need::Read);
        let (at, _) = wait(&mut guard);
        assert_eq!(at, START.after(Limits::default().idle));
        assert_eq!(guard.next(at), Need::Close);
    }

    #[test]
    fn a_slow_head_is_a_408_however_it_drips() {
        let mut guard = guard();
        let limits = Limits::default();
        for (step, byte) in b"GET /aaaaaaa".iter().enumerate() {
            let now = START.after(std::time::Duration::from_secs(step as u64));
            guard.receive(now, &[*byte]);
            assert_eq!(guard.next(now), Need::Read);
        }
        let (at, _) = wait(&mut guard);
        assert_eq!(at, START.after(limits.head));
        assert!(matches!(guard.next(at), Need::Refuse(reject) if reject.status == 408));
    }

    #[test]
    fn a_stalled_body_is_a_fault() {
        let mut guard = guard();
        guard.receive(START, b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n");
        assert!(matches!(guard.next(START), Need::Serve(..)));
        // The handler takes its time; that is not the client's fault.
        let later = START.after(Limits::default().body * 10);
        guard.handle_timeout(later);
        assert_eq!(guard.body(later, 100), Ok(BodyNeed::Direct(9)));
        let (at, _) = wait(&mut guard);
        assert_eq!(at, later.after(Limits::default().body));
        assert_eq!(guard.body(at, 100), Err(BodyFault::TimedOut));
        assert!(!guard.begin_answer());
    }

    #[test]
    fn a_client_that_does_not_read_is_noticed() {
        let mut guard = guard();
        guard.receive(START, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(matches!(guard.next(START), Need::Serve(..)));
        guard.begin_answer();
        guard.wait_to_write(START);
        assert!(!guard.is_write_stalled());
        let (at, reason) = wait(&mut guard);
        assert_eq!((at, reason), (START.after(Limits::default().write), "response"));
        assert!(guard.is_write_stalled());
        assert_eq!(guard.poll_timeout(), None);
    }

    #[test]
    fn a_stopping_guard_closes_when_idle() {
        let mut guard = guard();
        guard.receive(START, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(matches!(guard.next(START), Need::Serve(..)));
        guard.stop();
        assert!(!guard.begin_answer());
        let mut idle = super::deadlines::guard();
        idle.stop();
        assert_eq!(idle.next(START), Need::Close);
    }
}

/// Pieces of requests, good and bad, of which streams are made.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        b"PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PUT /d HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        b"GET /e HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"5\r\nhello\r\n",
        b"5;ext=1\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nx-trailer: y\r\n\r\n",
        b"\r\n",
        b"\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"hello",
        b"HTTP/1.1",
    ];
    prop_oneof![
        8 => prop::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(fragment(), 0..12).prop_map(|fragments| fragments.concat())
}

/// `100 Continue` depends on whether the body was there when it was first asked for, so on the cut; nothing else may.
fn without_continue(did: Vec<Did>) -> Vec<Did> {
    did.into_iter().filter(|did| *did != Did::Continued).collect()
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        stream in stream(),
        cuts in prop::collection::vec(1_usize..40, 0..200),
        lazy: bool,
    ) {
        // An unread body behind Expect closes the connection whether it has come or not, so laziness is comparable too.
        let whole = without_continue(Shell::new(&stream, &[], lazy).run());
        let cut = without_continue(Shell::new(&stream, &cuts, lazy).run());
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn no_bytes_make_it_panic(stream in prop::collection::vec(any::<u8>(), 0..4000)) {
        let did = Shell::new(&stream, &[], false).run();
        prop_assert_eq!(did.last(), Some(&Did::Closed));
    }

    #[test]
    fn bodies_come_out_as_they_went_in(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20),
        cuts in prop::collection::vec(1_usize..100, 0..100),
    ) {
        let mut stream = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in &chunks {
            stream.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            stream.extend_from_slice(chunk);
            stream.extend_from_slice(b"\r\n");
        }
        stream.extend_from_slice(b"0\r\n\r\n");
        let did = Shell::new(&stream, &cuts, false).run();
        prop_assert_eq!(&did[1], &Did::Body(chunks.concat()));
    }
}
