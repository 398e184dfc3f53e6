//! Two connections in memory, and what may be expected of them.

mod bounds;
mod golden;
mod handshake;
mod hostile;
mod keepalive;
mod streams;

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{Connection, Event, Identity, Message, Priority, StreamId, WireError};
use crate::{
    effect::PeerError,
    id::NodeId,
    seed::Seed,
    time::{Instant, Now},
};

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn at(millis: u64) -> Now {
    Now { mono: Instant(millis * 1_000_000), ..Now::default() }
}

pub(super) fn identity(name: u8) -> Identity {
    Identity::new([name; 32], [42; 32], true)
}

pub(super) fn message(head: &[u8], payload: usize) -> Message {
    let bytes = (0..payload).map(|i| (i % 251) as u8).collect::<Vec<_>>();
    Message { head: Bytes::copy_from_slice(head), payload: Bytes::from(bytes) }
}

/// Both ends of a connection and what is on the way between them.
pub(super) struct Pair {
    pub dialer: Connection,
    pub acceptor: Connection,
    pub to_acceptor: BytesMut,
    pub to_dialer: BytesMut,
    pub now: Now,
}

impl Pair {
    pub fn of(dialer: &Identity, acceptor: &Identity, expected: Option<NodeId>) -> Self {
        let now = at(1);
        Self {
            dialer: Connection::dial(dialer, expected, Seed::new([1; 32]), now),
            acceptor: Connection::accept(acceptor, Seed::new([2; 32]), now),
            to_acceptor: BytesMut::new(),
            to_dialer: BytesMut::new(),
            now,
        }
    }

    /// A pair whose session stands and whose first events are taken.
    pub fn open() -> Self {
        let mut pair = Self::of(&identity(1), &identity(2), Some(identity(2).id));
        pair.settle().expect("an honest pair");
        let established = |peer| Some(Event::Established { peer });
        assert_eq!(pair.dialer.poll_event(), established(identity(2).id));
        assert_eq!(pair.acceptor.poll_event(), established(identity(1).id));
        pair
    }

    /// Moves bytes until nothing moves any more.
    pub fn settle(&mut self) -> Result<(), WireError> {
        for _ in 0..100_000 {
            let sent = self.dialer.poll_output(self.now, &mut self.to_acceptor)
                | self.acceptor.poll_output(self.now, &mut self.to_dialer);
            if !sent {
                return Ok(());
            }
            self.acceptor.handle_input(self.now, &mut self.to_acceptor)?;
            self.dialer.handle_input(self.now, &mut self.to_dialer)?;
        }
        panic!("two honest ends never come to rest");
    }

    pub fn ask(&mut self, priority: Priority, message: Message) -> StreamId {
        self.dialer.request(self.now, priority, message, PATIENCE).expect("room for a request")
    }

    /// Settles and answers each request with itself, until there are none; gives the dialer's events.
    pub fn echo(&mut self) -> Vec<Event> {
        let mut told = Vec::new();
        loop {
            self.settle().expect("an honest pair");
            let before = told.len();
            told.extend(std::iter::from_fn(|| self.dialer.poll_event()));
            let mut answered = false;
            while let Some(event) = self.acceptor.poll_event() {
                if let Event::Request { stream, message, .. } = event {
                    self.acceptor.respond(self.now, stream, message);
                    answered = true;
                }
            }
            if !answered && told.len() == before {
                return told;
            }
        }
    }
}
