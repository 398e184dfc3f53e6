//! One connection to one peer, as a machine.

use std::{collections::VecDeque, time::Duration};

use bytes::{Buf, BytesMut};

use super::{
    Event, Identity, Message, Priority, StreamId, WireError,
    asked::{Answered, Asked},
    frame::{
        self, FAILED_TOO_LONG, Frame, HEADER, Kind, put_cancel, put_credit, put_failed, put_ping,
        put_pong,
    },
    limits::{
        HANDSHAKE_PATIENCE, LENGTH, MESSAGE_MAX, OUTPUT, QUEUE_WINDOWS, RECORD_MAX, STREAMS,
        WINDOWS,
    },
    noise::Cipher,
    opening::{Opened, Opening},
    pulse::Pulse,
    receive::Windows,
    seal::{Half, TAG},
    send::Outbox,
    served::{Cancelled, Served},
};
use crate::{
    effect::PeerError,
    id::NodeId,
    seed::Seed,
    task::Reason,
    time::{Instant, Now},
};

/// One connection to one peer: encryption, streams, priorities, credit, keepalive. It touches no socket and no clock.
pub struct Connection {
    dialer: bool,
    stage: Stage,
    /// Of the opening: handed out before any record.
    pending: BytesMut,
    asked: Asked,
    served: Served,
    outbox: Outbox,
    windows: Windows,
    /// Short frames about single streams. Bounded by the streams that may be open: each ends one that has begun, and none begins
    /// in its place before these are written.
    notes: VecDeque<Note>,
    events: VecDeque<Told>,
}

enum Stage {
    Opening { opening: Box<Opening>, deadline: Instant },
    Open(Box<Session>),
    Ended(WireError),
}

struct Session {
    peer: NodeId,
    version: u8,
    seal: Half,
    open: Half,
    pulse: Pulse,
    /// Of a dialer: until the peer's first record, it is not known whether it accepts our secret. Until when to wait for it.
    unproven: Option<Instant>,
}

enum Note {
    Cancel(u64),
    TooLong(u64),
}

/// An event, and the credit to give back when it is taken.
struct Told {
    event: Event,
    credit: Option<(Priority, u32)>,
}

impl From<Event> for Told {
    fn from(event: Event) -> Self {
        Self { event, credit: None }
    }
}

impl Connection {
    /// The end that opened the TCP connection. `expected` is who must answer, if that is known; `seed` must be secret and
    /// fresh: the handshake's keys come from it.
    pub fn dial(identity: &Identity, expected: Option<NodeId>, seed: Seed, now: Now) -> Self {
        Self::new(identity, true, expected, seed, now)
    }

    /// The end that accepted the TCP connection; see [`Connection::dial`] for `seed`.
    pub fn accept(identity: &Identity, seed: Seed, now: Now) -> Self {
        Self::new(identity, false, None, seed, now)
    }

    fn new(
        identity: &Identity,
        dialer: bool,
        expected: Option<NodeId>,
        seed: Seed,
        now: Now,
    ) -> Self {
        let mut pending = BytesMut::new();
        let opening = Box::new(Opening::new(identity, dialer, expected, seed, &mut pending));
        Self {
            dialer,
            stage: Stage::Opening { opening, deadline: now.mono.after(HANDSHAKE_PATIENCE) },
            pending,
            asked: Asked::new(dialer),
            served: Served::new(),
            outbox: Outbox::new(dialer),
            windows: Windows::new(),
            notes: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes what has come from the socket, in any slicing. Consumes all complete records and leaves the rest (less than one
    /// record, 16 KiB) in `input`, for the next bytes to be appended.
    ///
    /// # Errors
    /// The connection has ended; what is to be told of it is in the last events.
    pub fn handle_input(&mut self, now: Now, input: &mut BytesMut) -> Result<(), WireError> {
        let taken = self.take_input(now, input);
        self.or_end(taken)
    }

    fn take_input(&mut self, now: Now, input: &mut BytesMut) -> Result<(), WireError> {
        if let Stage::Opening { opening, deadline } = &mut self.stage {
            let deadline = *deadline;
            match opening.handle_input(input, &mut self.pending)? {
                Some(opened) => self.open(now, opened, deadline),
                None => return Ok(()),
            }
        }
        while let Some(len) = record(input)? {
            let Stage::Open(session) = &mut self.stage else { break };
            let Session { open, pulse, .. } = &mut **session;
            let mut plain = open.open(&mut input[LENGTH..LENGTH + len])?;
            pulse.heard();
            if session.unproven.take().is_some() {
                let peer = session.peer;
                self.events.push_back(Event::Established { peer }.into());
            }
            while !plain.is_empty() {
                self.handle_frame(now, frame::next(&mut plain)?)?;
            }
            input.advance(LENGTH + len);
        }
        match &self.stage {
            Stage::Ended(error) => Err(error.clone()),
            Stage::Opening { .. } | Stage::Open(_) => Ok(()),
        }
    }

    fn open(&mut self, now: Now, opened: Opened, deadline: Instant) {
        let Opened { peer, hello, version, seal, open } = opened;
        self.outbox.open(hello);
        let pulse = Pulse::new(now);
        if !self.dialer {
            self.events.push_back(Event::Established { peer }.into());
        }
        let unproven = self.dialer.then_some(deadline);
        self.stage = Stage::Open(Box::new(Session { peer, version, seal, open, pulse, unproven }));
    }

    fn handle_frame(&mut self, now: Now, frame: Frame<'_>) -> Result<(), WireError> {
        let Stage::Open(session) = &mut self.stage else { return Ok(()) };
        let answered = match frame {
            Frame::Begin { kind: Kind::Request, stream, priority, head, payload, data } => {
                let lengths = (head, payload);
                let windows = &mut self.windows;
                return self.served.request(self.dialer, stream, priority, lengths, data, windows);
            }
            Frame::Begin { kind: Kind::Response, stream, priority, head, payload, data } => {
                self.asked.response(stream, priority, (head, payload), data, &mut self.windows)?
            }
            Frame::More { data: [], .. } => return Err(WireError::Protocol("an empty frame")),
            Frame::More { kind: Kind::Request, stream, data } => {
                return self.served.more(stream, data);
            }
            Frame::More { kind: Kind::Response, stream, data } => self.asked.more(stream, data)?,
            Frame::Failed { stream, code } => self.asked.failed(stream, code)?,
            Frame::Cancel { stream } => return self.handle_cancel(stream),
            Frame::Credit { kind, priority, bytes } => {
                let taken = self.outbox.give(kind, priority, bytes);
                return taken.then_some(()).ok_or(WireError::Protocol("credit for nothing"));
            }
            Frame::Ping { token } => {
                session.pulse.ping(token);
                None
            }
            Frame::Pong { token } => {
                session.pulse.pong(now, token);
                None
            }
            Frame::Unknown => None,
        };
        if let Some(Answered { stream, priority, result, charge }) = answered {
            self.outbox.end(priority);
            let event = Event::Response { stream, result };
            self.events.push_back(Told { event, credit: Some((priority, charge)) });
        }
        Ok(())
    }

    fn handle_cancel(&mut self, stream: u64) -> Result<(), WireError> {
        match self.served.cancel(self.dialer, stream, &mut self.windows)? {
            Cancelled::Unseen => {}
            Cancelled::Handed => {
                self.events.push_back(Event::Cancelled { stream: StreamId(stream) }.into());
            }
            Cancelled::Answering(priority) => {
                self.outbox.take_back(Kind::Response, priority, stream);
            }
        }
        Ok(())
    }

    /// Appends sealed records to `out` until it has grown by 64 KiB or nothing is left to send now. False if it appended nothing.
    pub fn poll_output(&mut self, now: Now, out: &mut BytesMut) -> bool {
        let before = out.len();
        out.extend_from_slice(&self.pending);
        self.pending = BytesMut::new();
        if self.dialer && self.unproven() {
            return out.len() > before;
        }
        let most = self.outbox.record(RECORD_MAX, LENGTH + TAG);
        while out.len() < before + OUTPUT {
            let start = out.len();
            out.extend_from_slice(&[0; LENGTH]);
            while self.write_frame(now, out, start, most) {}
            if out.len() == start + LENGTH {
                out.truncate(start);
                break;
            }
            let Stage::Open(session) = &mut self.stage else { break };
            session.seal.seal(out, start);
        }
        out.len() > before
    }

    fn unproven(&self) -> bool {
        !matches!(&self.stage, Stage::Open(session) if session.unproven.is_none())
    }

    /// Appends the most urgent frame to the record that begins at `start`, if there is one and it fits into `most` plain bytes.
    fn write_frame(&mut self, now: Now, out: &mut BytesMut, start: usize, most: usize) -> bool {
        let Stage::Open(session) = &mut self.stage else { return false };
        let plain = out.len() - start - LENGTH;
        let room = most.saturating_sub(plain);
        // The longest of the short frames, a credit, has six bytes of body.
        if room < HEADER + 6 {
            return false;
        }
        if let Some(token) = session.pulse.take_pong() {
            put_pong(out, token);
        } else if let Some(token) = session.pulse.take_ping(now) {
            put_ping(out, token);
        } else if let Some(note) = self.notes.pop_front() {
            match note {
                Note::Cancel(stream) => put_cancel(out, stream),
                Note::TooLong(stream) => {
                    put_failed(out, stream, FAILED_TOO_LONG);
                    self.served.answered(stream);
                }
            }
        } else if let Some((kind, priority, bytes)) = self.windows.credit() {
            put_credit(out, kind, priority, bytes);
        } else if let Some(written) = self.outbox.write(out, room, plain == 0) {
            if let Some(number) = written.began {
                self.asked.began(written.stream, number);
            }
            match written.kind {
                Kind::Request if written.ended => self.asked.sent(written.stream),
                Kind::Response if written.ended => self.served.answered(written.stream),
                Kind::Request | Kind::Response => {}
            }
        } else {
            return false;
        }
        true
    }

    /// Asks the peer. Gives up after `patience`. May be called before the connection is established.
    ///
    /// # Errors
    /// [`PeerError::Busy`] when too much is queued to this peer, [`PeerError::Unreachable`] when the connection has ended,
    /// [`PeerError::Malformed`] when no message may be so long.
    pub fn request(
        &mut self,
        now: Now,
        priority: Priority,
        message: Message,
        patience: Duration,
    ) -> Result<StreamId, PeerError> {
        if matches!(self.stage, Stage::Ended(_)) {
            return Err(PeerError::Unreachable);
        }
        if message.len() > MESSAGE_MAX {
            return Err(PeerError::Malformed);
        }
        let streams = QUEUE_WINDOWS * usize::from(STREAMS[priority as usize]);
        let bytes = QUEUE_WINDOWS * WINDOWS[priority as usize] as usize;
        let unsent = self.outbox.unsent(Kind::Request, priority);
        // One message alone may be longer than the queue.
        if self.asked.count(priority) >= streams || (unsent > 0 && unsent + message.len() > bytes) {
            return Err(PeerError::Busy);
        }
        let stream = self.asked.begin(now, priority, patience);
        self.outbox.push(Kind::Request, stream, priority, message);
        Ok(StreamId(stream))
    }

    /// Answers a request of the peer's; ignored if it has cancelled it or the connection has ended. A response longer than
    /// [`MESSAGE_MAX`] makes the peer's request fail with [`PeerError::Malformed`].
    pub fn respond(&mut self, _now: Now, stream: StreamId, message: Message) {
        let Some(priority) = self.served.respond(stream.0, &mut self.windows) else { return };
        if message.len() > MESSAGE_MAX {
            self.notes.push_back(Note::TooLong(stream.0));
        } else {
            self.outbox.push(Kind::Response, stream.0, priority, message);
        }
    }

    /// No longer waits for a request of ours: no event will come for it.
    pub fn cancel(&mut self, _now: Now, stream: StreamId) {
        if self.give_up(stream.0) {
            return;
        }
        // Its result may wait to be taken.
        let of = |told: &Told| matches!(&told.event, Event::Response { stream: of, .. } if *of == stream);
        let told = self.events.iter().position(of).and_then(|at| self.events.remove(at));
        if let Some((priority, charge)) = told.and_then(|told| told.credit) {
            self.windows.give_back(Kind::Response, priority, charge);
        }
    }

    /// Ends a request of ours that has no result yet; false if there is none such.
    fn give_up(&mut self, stream: u64) -> bool {
        let Some((priority, number)) = self.asked.end(stream, &mut self.windows) else {
            return false;
        };
        self.outbox.take_back(Kind::Request, priority, stream);
        if let Some(number) = number {
            self.outbox.end(priority);
            self.notes.push_back(Note::Cancel(number));
        }
        true
    }

    /// The next thing to tell, if there is one. To be asked after every call that changes the connection,
    /// [`Connection::poll_output`] included: requests wait while their class has a window of unsent responses.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(Told { event, credit }) = self.events.pop_front() {
            if let Some((priority, charge)) = credit {
                self.windows.give_back(Kind::Response, priority, charge);
            }
            return Some(event);
        }
        let outbox = &self.outbox;
        let may = |priority: Priority| {
            outbox.unsent(Kind::Response, priority) < WINDOWS[priority as usize] as usize
        };
        let (stream, priority, message) = self.served.next(may)?;
        Some(Event::Request { stream, priority, message })
    }

    /// Does what is due: pings, gives up on requests.
    ///
    /// # Errors
    /// The connection has ended; what is to be told of it is in the last events.
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), WireError> {
        while let Some((deadline, stream)) = self.asked.first_deadline() {
            if now.mono < deadline {
                break;
            }
            self.give_up(stream);
            let result = Err(PeerError::TimedOut);
            self.events.push_back(Event::Response { stream: StreamId(stream), result }.into());
        }
        let alive = match &mut self.stage {
            Stage::Opening { deadline, .. } if now.mono >= *deadline => {
                Err(WireError::HandshakeTimedOut)
            }
            Stage::Opening { .. } => Ok(()),
            Stage::Open(session) => match session.unproven {
                Some(deadline) if now.mono >= deadline => Err(WireError::HandshakeTimedOut),
                Some(_) => Ok(()),
                None => session.pulse.handle_timeout(now),
            },
            Stage::Ended(error) => Err(error.clone()),
        };
        self.or_end(alive)
    }

    /// When to call [`Connection::handle_timeout`] at the latest, and why. None once it has ended.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let own = match &self.stage {
            Stage::Opening { deadline, .. } => (*deadline, Reason("handshake")),
            Stage::Open(session) => match session.unproven {
                Some(deadline) => (deadline, Reason("handshake")),
                None => session.pulse.poll_timeout(),
            },
            Stage::Ended(_) => return None,
        };
        match self.asked.first_deadline() {
            Some((deadline, _)) if deadline < own.0 => Some((deadline, Reason("patience"))),
            _ => Some(own),
        }
    }

    /// Ends it: the socket has ended, or the node has no more use for it. The requests under way fail with
    /// [`PeerError::Unreachable`], by events that can still be taken. Says what the socket's end means at this stage, or, after an
    /// error, that.
    pub fn close(&mut self) -> WireError {
        let error = match &self.stage {
            Stage::Ended(error) => return error.clone(),
            Stage::Open(session) if session.unproven.is_some() => WireError::Refused,
            Stage::Open(_) | Stage::Opening { .. } => WireError::Closed,
        };
        self.end(error.clone());
        error
    }

    fn or_end(&mut self, result: Result<(), WireError>) -> Result<(), WireError> {
        if let Err(error) = &result
            && !matches!(self.stage, Stage::Ended(_))
        {
            self.end(error.clone());
        }
        result
    }

    fn end(&mut self, error: WireError) {
        self.stage = Stage::Ended(error);
        self.pending.clear();
        self.notes.clear();
        self.outbox = Outbox::new(self.dialer);
        for stream in self.asked.drain() {
            let result = Err(PeerError::Unreachable);
            self.events.push_back(Event::Response { stream: StreamId(stream), result }.into());
        }
        for stream in self.served.drain() {
            self.events.push_back(Event::Cancelled { stream }.into());
        }
    }

    /// The smoothed round-trip time, once measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.session().and_then(|session| session.pulse.rtt())
    }

    /// The peer, once it has proven who it is.
    pub fn peer(&self) -> Option<NodeId> {
        self.session().map(|session| session.peer)
    }

    /// The version of the protocol and the cipher that both ends have agreed upon.
    pub fn agreed(&self) -> Option<(u8, Cipher)> {
        self.session().map(|session| (session.version, session.seal.cipher()))
    }

    fn session(&self) -> Option<&Session> {
        match &self.stage {
            Stage::Open(session) if session.unproven.is_none() => Some(session),
            Stage::Open(_) | Stage::Opening { .. } | Stage::Ended(_) => None,
        }
    }

    /// The bytes this connection holds in memory: its own, its tables' and its messages'. What is shared with others (the parts of
    /// our own messages) is counted as if it were not.
    pub fn footprint(&self) -> usize {
        let stage = match &self.stage {
            Stage::Opening { .. } => size_of::<Opening>() + Opening::HANDSHAKE,
            Stage::Open(_) => size_of::<Session>(),
            Stage::Ended(_) => 0,
        };
        let told = |told: &Told| match &told.event {
            Event::Response { result: Ok(message), .. } => message.len(),
            Event::Response { .. }
            | Event::Request { .. }
            | Event::Established { .. }
            | Event::Cancelled { .. } => 0,
        };
        size_of::<Self>()
            + stage
            + self.pending.capacity()
            + self.asked.footprint()
            + self.served.footprint()
            + self.outbox.footprint()
            + self.notes.capacity() * size_of::<Note>()
            + self.events.capacity() * size_of::<Told>()
            + self.events.iter().map(told).sum::<usize>()
    }

    /// The key that this end seals with, for tests that seal what no honest end would.
    #[cfg(test)]
    pub(super) fn into_seal(self) -> Half {
        match self.stage {
            Stage::Open(session) => session.seal,
            Stage::Opening { .. } | Stage::Ended(_) => panic!("not established"),
        }
    }
}

/// The length of the first record in `input`, without its length field; None if it is not all there.
fn record(input: &[u8]) -> Result<Option<usize>, WireError> {
    let [high, low, ..] = input else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if !(TAG + HEADER..=RECORD_MAX - LENGTH).contains(&len) {
        return Err(WireError::Protocol("a record of a length there is not"));
    }
    Ok((input.len() >= LENGTH + len).then_some(len))
}
