//! Why a connection ended.

use std::fmt;

use crate::id::NodeId;

/// Why a connection ended. All are final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The other end does not speak this protocol at all.
    NotMews,
    /// No version of the protocol is spoken by both ends.
    Version {
        /// The newest we speak.
        ours: u8,
        /// The range that the other end speaks.
        theirs: (u8, u8),
    },
    /// The handshake did not end in time.
    HandshakeTimedOut,
    /// A handshake message is damaged or forged.
    Handshake,
    /// The other end does not know the cluster's secret, or knows another.
    Secret,
    /// The other end hung up where it checks the secret: presumably it has another.
    Refused,
    /// Another node answered than the one that was dialled.
    WrongPeer {
        /// Whom we dialled.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
    },
    /// We have reached ourselves.
    Myself,
    /// Nothing has come for too long.
    Silent,
    /// A record is damaged, forged, repeated or out of order.
    Damaged,
    /// The peer broke a rule of the protocol; this one.
    Protocol(&'static str),
    /// The connection has ended.
    Closed,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMews => write!(f, "the other end is not a Mews node"),
            Self::Version { ours, theirs: (low, high) } => write!(
                f,
                "the other end speaks versions {low} to {high} of the protocol, this one {ours}"
            ),
            Self::HandshakeTimedOut => write!(f, "the handshake took too long"),
            Self::Handshake => write!(f, "the handshake was damaged on its way"),
            Self::Secret => write!(f, "the other end has another rpc_secret"),
            Self::Refused => {
                write!(f, "the other end hung up in the handshake: its rpc_secret may be another")
            }
            Self::WrongPeer { expected, found } => {
                write!(f, "node {found} answered in place of {expected}")
            }
            Self::Myself => write!(f, "the address is this node's own"),
            Self::Silent => write!(f, "the other end has fallen silent"),
            Self::Damaged => write!(f, "a record was damaged on its way"),
            Self::Protocol(rule) => write!(f, "the other end broke the protocol: {rule}"),
            Self::Closed => write!(f, "the connection has ended"),
        }
    }
}

impl std::error::Error for WireError {}
