//! One connection to one peer, as a machine.

use std::{collections::VecDeque, time::Duration};

use bytes::BytesMut;

use super::{Event, Identity, Message, Priority, StreamId, WireError};
use crate::{
    effect::PeerError,
    id::NodeId,
    seed::Seed,
    task::Reason,
    time::{Instant, Now},
};

/// The handshake must have ended this long after the connection began.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// One connection to one peer: encryption, streams, priorities, credit, keepalive. It touches no socket and no clock.
pub struct Connection {
    closed: bool,
    deadline: Instant,
    events: VecDeque<Event>,
}

impl Connection {
    /// The end that opened the TCP connection. `expected` is who must answer, if that is known; `seed` must be secret and
    /// fresh: the handshake's keys come from it.
    pub fn dial(_identity: &Identity, _expected: Option<NodeId>, _seed: Seed, now: Now) -> Self {
        let deadline = now.mono.after(HANDSHAKE_PATIENCE);
        Self { closed: false, deadline, events: VecDeque::new() }
    }

    /// The end that accepted the TCP connection; see [`Connection::dial`] for `seed`.
    pub fn accept(identity: &Identity, seed: Seed, now: Now) -> Self {
        Self::dial(identity, None, seed, now)
    }

    /// Takes what has come from the socket, in any slicing. Consumes all complete records and leaves the rest (less than one
    /// record, 16 KiB) in `input`, for the next bytes to be appended.
    ///
    /// # Errors
    /// The connection has ended: see [`Connection::close`].
    pub fn handle_input(&mut self, _now: Now, input: &mut BytesMut) -> Result<(), WireError> {
        input.clear();
        Err(WireError::Closed)
    }

    /// Appends sealed records to `out` until it holds 64 KiB or nothing is left to send now. False if it appended nothing.
    pub fn poll_output(&mut self, _now: Now, _out: &mut BytesMut) -> bool {
        false
    }

    /// Asks the peer. Gives up after `patience`. May be called before the connection is established.
    ///
    /// # Errors
    /// [`PeerError::Busy`] when too much is queued to this peer, [`PeerError::Unreachable`] when the connection has ended,
    /// [`PeerError::Malformed`] when no message may be so long.
    pub fn request(
        &mut self,
        _now: Now,
        _priority: Priority,
        _message: Message,
        _patience: Duration,
    ) -> Result<StreamId, PeerError> {
        Err(PeerError::Unreachable)
    }

    /// Answers a request of the peer's; ignored if it has cancelled it or the connection has ended.
    pub fn respond(&mut self, _now: Now, _stream: StreamId, _message: Message) {}

    /// No longer waits for a request of ours: no event will come for it.
    pub fn cancel(&mut self, _now: Now, stream: StreamId) {
        self.events
            .retain(|event| !matches!(event, Event::Response { stream: of, .. } if *of == stream));
    }

    /// The next thing to tell, if there is one.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Does what is due: pings, gives up on requests.
    ///
    /// # Errors
    /// The connection has ended: see [`Connection::close`].
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), WireError> {
        if now.mono >= self.deadline { Err(WireError::HandshakeTimedOut) } else { Ok(()) }
    }

    /// When to call [`Connection::handle_timeout`] at the latest, and why. None once it has ended.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        (!self.closed).then_some((self.deadline, Reason("handshake")))
    }

    /// Ends it: the socket has ended, an error came, or the node has no more use for it. The requests under way fail with
    /// [`PeerError::Unreachable`], by events that can still be taken. Says what the socket's end means at this stage.
    pub fn close(&mut self) -> WireError {
        self.closed = true;
        WireError::Closed
    }

    /// The smoothed round-trip time, once measured.
    pub fn rtt(&self) -> Option<Duration> {
        None
    }

    /// The peer, once it is proven who it is.
    pub fn peer(&self) -> Option<NodeId> {
        None
    }
}
