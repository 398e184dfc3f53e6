//! How nodes talk: one [`Connection`] per TCP connection, bytes in, bytes out.
//!
//! A connection begins with a preamble in the clear (what each end speaks), then the Noise handshake
//! `Noise_XXpsk3_25519_{ChaChaPoly|AESGCM}_BLAKE2s`: a node's id is its static public key, the cluster's secret is the
//! pre-shared key, and the prologue is both preambles, so that nobody can talk two nodes into less than both speak. After
//! it, sealed records of up to 16 KiB carry the frames of many streams. A stream is one request and its response.
//!
//! The shell's side, for each connection:
//! 1. read from the socket into a buffer and hand that to [`Connection::handle_input`];
//! 2. write what [`Connection::poll_output`] gives, whenever the socket takes more and after every other call;
//! 3. take [`Connection::poll_event`] until it is empty, after every call above and below;
//! 4. call [`Connection::handle_timeout`] when [`Connection::poll_timeout`] says so;
//! 5. after an error, or when the socket has ended: [`Connection::close`], take the last events, drop it.

mod asked;
mod connection;
mod error;
mod frame;
pub mod limits;
mod noise;
mod opening;
mod preamble;
mod pulse;
mod receive;
mod seal;
mod send;
mod served;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;
use curve25519_dalek::MontgomeryPoint;

pub use self::{connection::Connection, error::WireError, noise::Cipher, preamble::VERSIONS};
use crate::{effect::PeerError, id::NodeId};

/// What goes first when there is more to send than the network takes. Strict: as long as a more urgent class has something
/// to send and credit for it, the others wait. A response has the priority of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// What keeps the cluster together: gossip, layouts.
    Control,
    /// What a client waits for: rows.
    Request,
    /// What a client waits for, with a block in the request or in the response.
    Bulk,
    /// What nobody waits for: synchronisation, healing, rebalancing.
    Background,
}

impl Priority {
    /// All, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Control, Self::Request, Self::Bulk, Self::Background];
}

/// A request or a response: a head that gets decoded, and bytes that only pass through.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// What is said.
    pub head: Bytes,
    /// What goes with it: a block as it is stored, or nothing.
    pub payload: Bytes,
}

impl Message {
    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} + {} bytes)", self.head.len(), self.payload.len())
    }
}

/// Who a node is and what it proves to others.
#[derive(Clone)]
pub struct Identity {
    /// The static X25519 private key.
    pub key: [u8; 32],
    /// The static public key.
    pub id: NodeId,
    /// The cluster's pre-shared secret.
    pub secret: [u8; 32],
    /// Whether this machine has instructions for AES; AES-GCM is used where both ends do.
    pub aes: bool,
}

impl Identity {
    /// The identity with this private key and this cluster secret.
    pub fn new(key: [u8; 32], secret: [u8; 32], aes: bool) -> Self {
        // RFC 7748 §5: the base point times the clamped scalar.
        let id = NodeId(MontgomeryPoint::mul_base_clamped(key).to_bytes());
        Self { key, id, secret, aes }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?}, aes: {})", self.id, self.aes)
    }
}

/// One request and its response, on one connection. Both ends may open streams; each end names its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u64);

/// What a connection has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer has proven who it is and that it knows the secret. Comes once, before all others.
    Established {
        /// The peer.
        peer: NodeId,
    },
    /// The peer asks. Owed: one [`Connection::respond`], unless [`Event::Cancelled`] comes first.
    Request {
        /// Names it for the response.
        stream: StreamId,
        /// How urgent the peer says it is.
        priority: Priority,
        /// What it asks.
        message: Message,
    },
    /// What became of a request of ours. Exactly one for each, unless it was cancelled by [`Connection::cancel`].
    Response {
        /// Which.
        stream: StreamId,
        /// The peer's response, or [`PeerError::TimedOut`] when the patience ended first, [`PeerError::Unreachable`] when the
        /// connection did, [`PeerError::Busy`] when the peer had no room for its response.
        result: Result<Message, PeerError>,
    },
    /// The peer no longer waits for this request of its; a response would go nowhere.
    Cancelled {
        /// Which.
        stream: StreamId,
    },
}
