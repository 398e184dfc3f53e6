//! What nodes tell each other about themselves and about the others.

use serde::{Deserialize, Serialize};

use crate::{id::NodeId, time::Timestamp};

/// One side of an exchange. The payload beside it is the sender's layout history, where the receiver lacks something of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gossip {
    /// The sender.
    #[serde(rename = "c")]
    pub card: Card,
    /// The sender's wall clock as it sent this.
    #[serde(rename = "w")]
    pub clock: Timestamp,
    /// Others that the sender has been connected to, and where.
    #[serde(rename = "p")]
    pub peers: Vec<Known>,
    /// The hash of the sender's layout history; `None` while it has none.
    #[serde(rename = "l")]
    pub layout: Option<Digest>,
}

/// The first 16 bytes of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(#[serde(with = "serde_bytes")] pub [u8; 16]);

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The machine's name.
    #[serde(rename = "h")]
    pub hostname: String,
    /// The program's version.
    #[serde(rename = "v")]
    pub version: String,
    /// Where it may be reached, as its operator says.
    #[serde(rename = "a")]
    pub address: Option<String>,
    /// The port that it listens on, if any: with the address that a connection comes from, another guess.
    #[serde(rename = "l")]
    pub port: Option<u16>,
}

/// A node that somebody knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Which.
    #[serde(rename = "i")]
    pub id: NodeId,
    /// Where it was reached, the best first.
    #[serde(rename = "a")]
    pub addresses: Vec<String>,
}
