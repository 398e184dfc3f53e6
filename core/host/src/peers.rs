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
                Over::Socket(_) => {
                    node.view().metrics.refused.handshakes.increment();
                    log::debug!("connection from {}: {reason}", self.address);
                }
            }
            return;
        };
        if over.is_myself() {
            node.link_to_self(now, id, self.address.clone());
        }
        node.link_down(now, id, reason);
    }
}

#[cfg(test)]
mod tests {
    use mews_core::{
        node::{Contact, NodeEffect, Setup},
        seed::Seed,
        view::Config,
    };

    use super::*;

    const PEER: NodeId = NodeId([2; 32]);

    fn node() -> Node {
        let setup = Setup::alone(NodeId([1; 32]), 1, Config::default(), Seed::new([1; 32]));
        Node::new(setup, Now::default()).unwrap()
    }

    fn dialled(node: &mut Node) -> End<()> {
        let now = Now::default();
        node.connect(now, Contact { id: None, address: "host:3901".to_owned() });
        node.handle_timeout(now);
        loop {
            let (_, effect) = node.poll_effect().expect("it dials");
            if let NodeEffect::Dial { link, address, .. } = effect {
                return End::dialled(link, address);
            }
        }
    }

    fn trouble(node: &Node) -> Option<String> {
        node.status(Now::default()).places[0].trouble.clone()
    }

    #[test]
    fn the_node_learns_of_a_connection_from_its_beginning_to_its_end() {
        let now = Now::default();
        let mut node = node();
        let mut end = End::accepted("10.0.0.2:50000".to_owned(), (), ());
        assert_eq!((end.id(), end.address()), (None, "10.0.0.2:50000"));
        end.measured(&mut node, now, Duration::from_millis(1));
        let mut entered = None;
        end.up(&mut node, now, PEER, |link| entered = Some(link));
        assert!(entered.is_some() && end.id() == entered);
        assert_eq!(node.link_to(PEER), entered);
        end.measured(&mut node, now, Duration::from_millis(7));
        assert_eq!(node.view().peers[&PEER].rtt, Some(Duration::from_millis(7)));
        end.down(&mut node, now, &Over::Wire(WireError::Silent), "silent");
        assert_eq!(node.link_to(PEER), None);
    }

    #[test]
    fn a_connection_that_was_dialled_keeps_the_name_it_has() {
        let mut node = node();
        let mut end = dialled(&mut node);
        let link = end.id();
        end.up(&mut node, Now::default(), PEER, |_| panic!("it has one"));
        assert!(link.is_some() && node.link_to(PEER) == link);
        assert_eq!(trouble(&node), None);
    }

    #[test]
    fn the_node_is_told_that_it_has_dialled_itself_and_why_else_it_has_failed() {
        let mut node = node();
        let over = Over::Wire(WireError::Myself);
        dialled(&mut node).down(&mut node, Now::default(), &over, "any");
        assert!(trouble(&node).is_some_and(|why| why.contains("this node's own")));
        let mut node = self::node();
        let over = Over::Socket(io::ErrorKind::ConnectionRefused.into());
        let reason = over.reason(&WireError::Closed);
        dialled(&mut node).down(&mut node, Now::default(), &over, &reason);
        assert!(trouble(&node).is_some_and(|why| why.contains("refused")));
    }

    #[test]
    fn a_reason_says_what_the_end_of_the_socket_means() {
        let closed = WireError::Refused;
        assert_eq!(Over::Wire(WireError::Silent).reason(&closed), WireError::Silent.to_string());
        let over = Over::Socket(io::ErrorKind::UnexpectedEof.into());
        assert_eq!(over.reason(&closed), closed.to_string());
        let text = Over::Socket(io::ErrorKind::ConnectionReset.into()).reason(&closed);
        assert!(text.contains(&closed.to_string()) && text.contains("reset"), "{text}");
    }

    #[test]
    fn a_request_whose_task_has_panicked_is_answered_all_the_same() {
        let slot = Slot::default();
        assert_eq!(reply(&slot), rpc::failed(PeerError::Busy));
    }
}
