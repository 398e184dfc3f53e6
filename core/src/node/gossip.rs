//! What nodes tell each other about themselves and about the others.

use serde::{Deserialize, Serialize};

use crate::{
    id::{ClusterId, Hash, NodeId},
    time::Timestamp,
};

/// One side of an exchange. The payload beside it is the sender's layout history, where the receiver lacks something of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gossip {
    /// The sender.
    #[serde(rename = "c")]
    pub card: Card,
    /// The sender's wall clock as it sent this.
    #[serde(rename = "w")]
    pub clock: Timestamp,
    /// The cluster that the sender belongs to; `None` before its first layout.
    #[serde(rename = "i")]
    pub cluster: Option<ClusterId>,
    /// Others that the sender knows, and where they are.
    #[serde(rename = "p")]
    pub peers: Vec<Known>,
    /// A write of the sender's has not reached the receiver, who should look what others have.
    #[serde(rename = "m", default, skip_serializing_if = "std::ops::Not::not")]
    pub missed: bool,
    /// The hash of the sender's layout history; `None` while there is nothing in it.
    #[serde(rename = "l")]
    pub layout: Option<Digest>,
    /// The hash of the layouts alone in that history. Who has the same ones sends a history without them.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub layouts: Option<Hash>,
}

/// The first 16 bytes of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(#[serde(with = "serde_bytes")] pub [u8; 16]);

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Which start of the node's process this is; later ones are greater.
    #[serde(rename = "b")]
    pub boot: u64,
    /// The machine's name.
    #[serde(rename = "h")]
    pub hostname: String,
    /// The program's version.
    #[serde(rename = "v")]
    pub version: String,
    /// Where it may be reached, as its operator says.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The port that it listens on, if any: with the host that a connection comes from, another guess.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its data directories, all together; `None` before they are measured.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Space>,
    /// It is still fetching rows that it should have.
    #[serde(rename = "r", default, skip_serializing_if = "std::ops::Not::not")]
    pub recovering: bool,
}

/// Room on disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Bytes in all.
    #[serde(rename = "t")]
    pub total: u64,
    /// Bytes that are free.
    #[serde(rename = "a")]
    pub available: u64,
}

/// A node that somebody knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Which.
    #[serde(rename = "i")]
    pub id: NodeId,
    /// Where it may be reached, the best first.
    #[serde(rename = "a")]
    pub addresses: Vec<String>,
}
