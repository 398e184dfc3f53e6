//! One HTTP/1.1 connection, from its first byte to its close, as a machine without IO: which bytes are a head, which a body,
//! when patience ends, and whether the connection lives on.
//!
//! The shell owns the socket and does what it is told:
//!
//! 1. Between requests it calls [`Guard::next`] and does what that needs, until it is told to [`Serve`](Need::Serve) a request,
//!    to [`Refuse`](Need::Refuse) one, or to [`Close`](Need::Close).
//! 2. While a request is served, [`Guard::body`] gives its body piece by piece.
//! 3. [`Guard::begin_answer`] says whether the response must carry `connection: close`; [`Guard::answered`] ends the exchange.
//!    Then 1 again.
//!
//! Bytes read for the machine go in by [`Guard::receive`]. Its memory is bounded by [`Limits::head_bytes`]: the shell never
//! reads more than [`Guard::room`], and bodies don't pass through the machine unless they came along with a head. An idle
//! connection holds no buffer.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    RequestHead,
    body::{Body, BodyFault, Next},
    check::{Framing, Meta},
    limits::{Limits, Pace},
    parse::{Scan, parse},
    reject::Reject,
};
use crate::{task::Reason, time::Instant};

/// What a connection needs between two exchanges.
#[derive(Debug, PartialEq, Eq)]
pub enum Need {
    /// Read up to [`Guard::room`] bytes, and hand them to [`Guard::receive`].
    Read,
    /// A request has begun: answer it. Its body is to be had from [`Guard::body`].
    Serve(Box<RequestHead>, Meta),
    /// Answer with this, as for a request: [`Guard::begin_answer`], write, [`Guard::answered`].
    Refuse(Reject),
    /// Shut the sending side down, so that the client sees the end of our answer, and go on.
    ShutDown,
    /// Close the socket. It is over.
    Close,
}

/// What reading a request's body needs.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyNeed {
    /// Write `HTTP/1.1 100 Continue` and an empty line, and go on. Asked for at most once.
    Continue,
    /// Read up to [`Guard::room`] bytes, and hand them to [`Guard::receive`].
    Read,
    /// Up to so many of the next bytes on the connection are body and nothing else: read them where they are wanted, and tell
    /// [`Guard::took`].
    Direct(u64),
    /// The next piece of the body.
    Data(Bytes),
    /// Nothing: the body has ended as declared.
    End,
}

/// The machine. See the [module](self).
#[derive(Debug)]
pub struct Guard {
    limits: Limits,
    peer: String,
    /// Read, and not yet understood.
    input: BytesMut,
    phase: Phase,
    /// Until when the present phase may last, whatever comes in.
    until: Option<Instant>,
    reading: Pace,
    writing: Pace,
    stalled: bool,
    stopping: bool,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Head(Scan),
    Refused(Reject),
    Exchange(Exchange),
    /// The rest of an answered request's body is read and dropped.
    Draining(Body),
    ShuttingDown,
    /// Our side is shut down; so many bytes may still come in, to be dropped.
    Lingering(u64),
    Closed,
}

#[derive(Debug)]
struct Exchange {
    body: Body,
    /// The client waits for `100 Continue`, and none of its body has come.
    owes_continue: bool,
    client_stays: bool,
    /// Decided when the answer begins: whether the connection lives on.
    keep: Option<bool>,
}

impl Guard {
    /// The machine of a connection that `peer` has just opened.
    pub fn new(limits: Limits, now: Instant, peer: String) -> Self {
        Self {
            peer,
            input: BytesMut::new(),
            phase: Phase::Idle,
            until: Some(now.after(limits.idle)),
            reading: Pace::of_body(&limits),
            writing: Pace::of_write(&limits),
            stalled: false,
            stopping: false,
            limits,
        }
    }

    /// How many bytes may be read for [`Guard::receive`]; at least one whenever a read is needed.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limits.head_bytes.saturating_sub(self.input.len())
    }

    /// These bytes have come in, at least one.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.reading.progress(now, bytes.len() as u64);
        match &mut self.phase {
            Phase::Lingering(left) => match left.checked_sub(bytes.len() as u64) {
                Some(less) => *left = less,
                None => self.phase = Phase::Closed,
            },
            Phase::Closed => {}
            Phase::Idle
            | Phase::Head(_)
            | Phase::Refused(_)
            | Phase::Exchange(_)
            | Phase::Draining(_)
            | Phase::ShuttingDown => {
                assert!(bytes.len() <= self.room(), "more was read than there is room for");
                self.input.extend_from_slice(bytes);
            }
        }
    }

    /// The client has closed its side, or the connection broke.
    pub fn receive_end(&mut self) {
        match &mut self.phase {
            Phase::Exchange(exchange) if exchange.body.is_done() => exchange.client_stays = false,
            Phase::Exchange(exchange) => {
                exchange.body.fail(BodyFault::Incomplete);
            }
            Phase::Refused(_) | Phase::ShuttingDown => {}
            Phase::Idle
            | Phase::Head(_)
            | Phase::Draining(_)
            | Phase::Lingering(_)
            | Phase::Closed => self.phase = Phase::Closed,
        }
    }

    /// What is to be done next. Not while a request is being answered.
    pub fn next(&mut self, now: Instant) -> Need {
        loop {
            match &mut self.phase {
                Phase::Idle => {
                    self.skip_blank_lines();
                    if self.input.is_empty() || self.input[..] == *b"\r" {
                        if self.stopping {
                            return self.close();
                        }
                        return Need::Read;
                    }
                    self.until = Some(now.after(self.limits.head));
                    self.phase = Phase::Head(Scan::default());
                }
                Phase::Head(_) => match self.head() {
                    Ok(Some((head, meta))) => return self.serve(head, meta),
                    Ok(None) => return Need::Read,
                    Err(reject) => self.phase = Phase::Refused(reject),
                },
                Phase::Refused(reject) => {
                    let reject = *reject;
                    self.until = None;
                    self.phase = Phase::Exchange(Exchange::lost(&self.limits));
                    return Need::Refuse(reject);
                }
                Phase::Exchange(_) => unreachable!("the request has not been answered yet"),
                Phase::Draining(_) => {
                    if self.drain(now) {
                        return Need::Read;
                    }
                }
                Phase::ShuttingDown => {
                    self.input = BytesMut::new();
                    self.until = Some(now.after(self.limits.linger));
                    self.phase = Phase::Lingering(self.limits.linger_bytes);
                    return Need::ShutDown;
                }
                Phase::Lingering(_) => return Need::Read,
                Phase::Closed => return self.close(),
            }
        }
    }

    /// The next of the request's body, at most `max` bytes of it, while it is being answered. After an error every further
    /// call gives the same error.
    pub fn body(&mut self, now: Instant, max: usize) -> Result<BodyNeed, BodyFault> {
        let exchange = exchange(&mut self.phase);
        let (used, next) = exchange.body.advance(&self.input)?;
        self.input.advance(used);
        if next == Next::End {
            return Ok(BodyNeed::End);
        }
        // Whoever sends the body unasked needs no invitation; once the answer has begun it is too late for one.
        let owed = std::mem::take(&mut exchange.owes_continue);
        if owed && used == 0 && self.input.is_empty() && exchange.keep.is_none() {
            return Ok(BodyNeed::Continue);
        }
        let data = match next {
            Next::Data(left) => usize::try_from(left).unwrap_or(usize::MAX).min(max),
            Next::More | Next::End => {
                self.reading.wait(now);
                return Ok(BodyNeed::Read);
            }
        };
        if self.input.is_empty() {
            self.reading.wait(now);
            return Ok(BodyNeed::Direct(data as u64));
        }
        let data = self.input.split_to(data.min(self.input.len())).freeze();
        exchange.body.took(data.len() as u64);
        Ok(BodyNeed::Data(data))
    }

    /// After [`BodyNeed::Direct`]: so many bytes were read, at least one.
    pub fn took(&mut self, now: Instant, bytes: u64) {
        self.reading.progress(now, bytes);
        exchange(&mut self.phase).body.took(bytes);
    }

    /// The trailer fields of the request's body, once that has ended.
    pub fn trailers(&mut self) -> &[(String, Vec<u8>)] {
        exchange(&mut self.phase).body.trailers()
    }

    /// The answer is about to be written: whether the connection stays open after it. If not, the response says
    /// `connection: close`.
    pub fn begin_answer(&mut self) -> bool {
        let (stopping, drain_bytes) = (self.stopping, self.limits.drain_bytes);
        let exchange = exchange(&mut self.phase);
        let cheap = match exchange.body.remaining() {
            // A client that still waits for `100 Continue` may send the body after all, or may not: we could not tell.
            Some(left) => left == 0 || (left <= drain_bytes && !exchange.owes_continue),
            None => false,
        };
        *exchange.keep.insert(exchange.client_stays && cheap && !stopping)
    }

    /// The answer has been written; `whole` says whether it is as long as its head promised.
    pub fn answered(&mut self, now: Instant, whole: bool) {
        let exchange = exchange(&mut self.phase);
        let keep = exchange.keep == Some(true) && exchange.body.remaining().is_some();
        self.phase = if !whole {
            // Whatever followed would be taken for the rest of the body.
            Phase::Closed
        } else if keep {
            Phase::Draining(exchange.body.clone())
        } else {
            Phase::ShuttingDown
        };
        self.writing = Pace::of_write(&self.limits);
        self.reading = Pace::of_body(&self.limits);
        self.until = keep.then(|| now.after(self.limits.body));
    }

    /// The shell waits for room to write.
    pub fn wait_to_write(&mut self, now: Instant) {
        self.writing.wait(now);
    }

    /// So many bytes have been written.
    pub fn wrote(&mut self, now: Instant, bytes: u64) {
        self.writing.progress(now, bytes);
    }

    /// Whether the client takes its answer too slowly: break the connection off.
    #[must_use]
    pub fn is_write_stalled(&self) -> bool {
        self.stalled
    }

    /// Refuses whatever the client is about to ask; for a connection just opened.
    pub fn refuse(&mut self, reject: Reject) {
        self.phase = Phase::Refused(reject);
    }

    /// The daemon stops: no request after this one.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// When to call [`Guard::handle_timeout`], and why. May change with every other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let phase = match self.phase {
            Phase::Idle => "idle connection",
            Phase::Head(_) => "request head",
            Phase::Draining(_) => "rest of an answered request",
            Phase::Lingering(_) => "lingering close",
            Phase::Refused(_) | Phase::Exchange(_) | Phase::ShuttingDown | Phase::Closed => "",
        };
        [
            self.until.map(|at| (at, Reason(phase))),
            self.reading.deadline().map(|at| (at, Reason("request body"))),
            self.writing.deadline().map(|at| (at, Reason("response"))),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }

    /// Time has passed. Spurious calls are harmless, and a deadline counts once. Then [`Guard::next`], [`Guard::body`] or
    /// [`Guard::is_write_stalled`], as before.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.writing.is_over(now) {
            self.stalled = true;
            self.writing.rest();
        }
        let late = self.until.take_if(|until| *until <= now).is_some();
        match &mut self.phase {
            Phase::Head(_) if late => {
                let reject = Reject::new(408, "the request head came too slowly");
                self.phase = Phase::Refused(reject);
            }
            Phase::Idle | Phase::Draining(_) | Phase::Lingering(_) if late => {
                self.phase = Phase::Closed;
            }
            Phase::Exchange(exchange) if self.reading.is_over(now) => {
                exchange.body.fail(BodyFault::TimedOut);
                self.reading.rest();
            }
            Phase::Idle
            | Phase::Head(_)
            | Phase::Refused(_)
            | Phase::Exchange(_)
            | Phase::Draining(_)
            | Phase::ShuttingDown
            | Phase::Lingering(_)
            | Phase::Closed => {}
        }
    }

    /// A client may send an empty line or two before a request (RFC 9112 § 2.2); they don't count as one.
    fn skip_blank_lines(&mut self) {
        while self.input.starts_with(b"\r\n") {
            self.input.advance(2);
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    fn head(&mut self) -> Result<Option<(RequestHead, Meta)>, Reject> {
        let Phase::Head(scan) = &mut self.phase else { unreachable!("called in this phase only") };
        match scan.end(&self.input)? {
            Some(end) => {
                let head = self.input.split_to(end).freeze();
                parse(&head, &self.limits, &self.peer).map(Some)
            }
            None if self.room() == 0 => Err(Reject::new(431, "the request head is too long")),
            None => Ok(None),
        }
    }

    fn serve(&mut self, head: RequestHead, meta: Meta) -> Need {
        self.until = None;
        self.reading = Pace::of_body(&self.limits);
        self.phase = Phase::Exchange(Exchange {
            body: Body::new(meta.framing, &self.limits),
            owes_continue: meta.expects_continue,
            client_stays: meta.keep_alive,
            keep: None,
        });
        Need::Serve(Box::new(head), meta)
    }

    /// Drops what is here of an answered request; whether more must be read for that.
    fn drain(&mut self, now: Instant) -> bool {
        let Phase::Draining(body) = &mut self.phase else {
            unreachable!("called in this phase only")
        };
        let Ok((used, next)) = body.advance(&self.input) else {
            self.phase = Phase::Closed;
            return false;
        };
        self.input.advance(used);
        match next {
            Next::End => {
                self.phase = Phase::Idle;
                self.until = Some(now.after(self.limits.idle));
                false
            }
            Next::More => true,
            Next::Data(_) if self.input.is_empty() => true,
            Next::Data(left) => {
                let here = left.min(self.input.len() as u64);
                body.took(here);
                self.input.advance(usize::try_from(here).expect("no more than is in memory"));
                false
            }
        }
    }

    fn close(&mut self) -> Need {
        self.phase = Phase::Closed;
        self.until = None;
        self.input = BytesMut::new();
        Need::Close
    }
}

impl Exchange {
    /// The exchange of a request whose end is unknown, so that only closing is left.
    fn lost(limits: &Limits) -> Self {
        let mut body = Body::new(Framing::Chunked, limits);
        body.fail(BodyFault::Malformed("the request was refused"));
        Self { body, owes_continue: false, client_stays: false, keep: None }
    }
}

/// The exchange under way. Callers are between [`Need::Serve`] or [`Need::Refuse`] and [`Guard::answered`].
fn exchange(phase: &mut Phase) -> &mut Exchange {
    match phase {
        Phase::Exchange(exchange) => exchange,
        Phase::Idle
        | Phase::Head(_)
        | Phase::Refused(_)
        | Phase::Draining(_)
        | Phase::ShuttingDown
        | Phase::Lingering(_)
        | Phase::Closed => unreachable!("no request is being answered"),
    }
}
