//! Other nodes, as both daemons deal with them.

use std::{io, time::Duration};

use mews_core::{
    effect::{Completion, PeerError},
    id::NodeId,
    node::{LinkId, Node},
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
            // The system's own words say that it has ended, and more.
            Self::Socket(error) if *closed == WireError::Closed => error.to_string(),
            Self::Socket(error) => format!("{closed} ({error})"),
        }
    }

    /// Whether the node has dialled itself.
    fn is_myself(&self) -> bool {
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

/// One end of a connection, as the node knows it. `P` is a place among so many of a kind, given back when it is dropped.
pub struct End<P> {
    /// Where the other end is.
    address: String,
    /// None until the connection has its name.
    id: Option<LinkId>,
    handshake: Option<P>,
    _open: Option<P>,
}

impl<P> End<P> {
    /// Of a connection that this node makes.
    pub fn dialled(id: LinkId, address: String) -> Self {
        Self { address, id: Some(id), handshake: None, _open: None }
    }

    /// Of a connection that the other end has made. `handshake` is one of [`HANDSHAKES`], `open` one of [`ACCEPTED`].
    pub fn accepted(address: String, handshake: P, open: P) -> Self {
        Self { address, id: None, handshake: Some(handshake), _open: Some(open) }
    }

    /// Where the other end is, `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The connection's name, once it has one. Requests come after that.
    pub fn id(&self) -> Option<LinkId> {
        self.id
    }

    /// The handshake is done. `enter` makes a new name known: in one step with the node's learning of it, so that its first call
    /// by that name finds the connection.
    pub fn up(&mut self, node: &mut Node, now: Now, peer: NodeId, enter: impl FnOnce(LinkId)) {
        self.handshake = None;
        match self.id {
            Some(id) => node.link_up(now, id, peer, self.address.clone()),
            None => {
                let id = node.link_accepted(now, peer, self.address.clone());
                enter(id);
                self.id = Some(id);
            }
        }
    }

    /// The round trip has changed.
    pub fn measured(&self, node: &mut Node, now: Now, rtt: Duration) {
        if let Some(id) = self.id {
            node.link_measured(now, id, rtt);
        }
    }

    /// The connection has ended. One that never had a name was none of the node's: it is only told why.
    pub fn down(&self, node: &mut Node, now: Now, over: &Over, reason: &str) {
        let Some(id) = self.id else {
            match over {
                Over::Wire(error) => node.link_refused(now, &self.address, error),
                Over::Socket(_) => log::debug!("connection from {}: {reason}", self.address),
            }
            return;
        };
        if over.is_myself() {
            node.link_to_self(now, id, self.address.clone());
        }
        node.link_down(now, id, reason);
    }
}
