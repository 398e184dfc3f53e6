//! Messages as bytes.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Reply, Request};
use crate::{effect::PeerError, wire::Message};

/// The first byte of every head. A later format takes the next number; the wire's version handshake says which ones the
/// other side reads.
pub const FORMAT: u8 = 1;

/// A request as a message.
pub fn encode_request(request: &Request, payload: Bytes) -> Message {
    Message { head: encode(request), payload }
}

/// A reply as a message.
pub fn encode_reply(reply: &Reply, payload: Bytes) -> Message {
    Message { head: encode(reply), payload }
}

/// The request in a message.
///
/// # Errors
/// [`PeerError::Malformed`].
pub fn decode_request(message: &Message) -> Result<Request, PeerError> {
    decode(&message.head)
}

/// The reply in a message.
///
/// # Errors
/// [`PeerError::Malformed`].
pub fn decode_reply(message: &Message) -> Result<Reply, PeerError> {
    decode(&message.head)
}

/// Whether a message is gossip, which the node's machine answers by itself; told from its first bytes: a map of one entry, and
/// its key.
pub fn is_gossip(message: &Message) -> bool {
    message.head.starts_with(&[FORMAT, 0xa1, 0x61, b'm'])
}

fn encode<T: Serialize>(value: &T) -> Bytes {
    let mut bytes = Vec::with_capacity(256);
    bytes.push(FORMAT);
    ciborium::into_writer(value, &mut bytes).expect("plain data, and memory does not fail");
    bytes.into()
}

/// Lengths in the head are claims of the peer's: the decoder reads piece by piece and never allocates for more than is there
/// (4 KiB at a time for strings, at most 1 MiB ahead for lists, as serde bounds its size hints).
fn decode<T: DeserializeOwned>(head: &[u8]) -> Result<T, PeerError> {
    let malformed = |reason: &dyn std::fmt::Display| {
        log::warn!("a peer's message does not decode: {reason}");
        PeerError::Malformed
    };
    let Some((&FORMAT, mut body)) = head.split_first() else {
        return Err(malformed(&"it is of another format"));
    };
    let value = ciborium::from_reader(&mut body).map_err(|error| malformed(&error))?;
    if body.is_empty() { Ok(value) } else { Err(malformed(&"it goes on after its end")) }
}
