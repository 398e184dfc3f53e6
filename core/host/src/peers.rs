//! Other nodes, as both daemons deal with them.

use std::io;

use mews_core::{
    effect::{Completion, PeerError},
    id::NodeId,
    node::Node,
    rpc::{self, Expect, Slot},
    time::Now,
    wire::{Message, WireError},
};

/// Connections whose other end has not proven yet that it belongs to the cluster. Each costs a few KiB and ends after ten
/// seconds at most; beyond so many, new ones are closed at once, and a true node tries again soon.
pub const HANDSHAKES: usize = 64;

/// Connections that others have opened and that are up. Members of the cluster have one each, for a moment two: enough for a
/// cluster of more nodes than anybody has, and not for a member gone mad.
pub const ACCEPTED: usize = 1024;

/// Effects that go on after the end of their task, all together. What they hold is bounded elsewhere: blocks by the buffers of
/// uploads, messages by the windows of the connections; and none takes longer than a peer's patience. A task that finds no place
/// waits for its own.
pub const DETACHED: usize = 4096;

/// What one read from a peer's socket brings at most: four records.
pub const READ: usize = 64 << 10;

/// What the node learns from what a peer made of a call.
pub fn note(node: &mut Node, now: Now, to: NodeId, expect: Expect, completion: &Completion) {
    if let Some(error) = completion.failure() {
        node.note_failure(now, to, error);
        if expect == Expect::Committed {
            node.note_missed(now, to);
        }
    }
}

/// What a peer's request is answered with, once its task has ended.
pub fn reply(slot: &Slot) -> Message {
    slot.get().cloned().unwrap_or_else(|| rpc::failed(PeerError::Busy))
}

/// Why the loop of a connection has ended.
#[derive(Debug)]
pub enum Over {
    /// The connection's machine says so.
    Wire(WireError),
    /// The socket has ended, or failed.
    Socket(io::Error),
}

impl Over {
    /// For the log. `closed` is what the connection says that a socket's end means.
    pub fn reason(&self, closed: &WireError) -> String {
        match self {
            Self::Wire(error) => error.to_string(),
            Self::Socket(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                closed.to_string()
            }
            Self::Socket(error) => format!("{closed} ({error})"),
        }
    }
}

impl Over {
    /// Whether the node has dialled itself.
    pub fn is_myself(&self) -> bool {
        matches!(self, Self::Wire(WireError::Myself))
    }
}

impl From<WireError> for Over {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<io::Error> for Over {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}
