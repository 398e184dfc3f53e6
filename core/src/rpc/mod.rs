//! What nodes say to each other: an effect at another node becomes a [`Request`], and the [`Reply`] becomes its completion.
//!
//! A message's head is one format byte and then CBOR; a block travels as the payload, in its stored form, and is verified
//! against its hash on arrival. Requests about rows carry the version of the layout that their sender goes by: a replica that
//! has left that version behind refuses them, so that a sender which slept through a change of the layout cannot write to
//! replicas that nobody reads any more.

mod codec;
mod serve;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    block::{Form, Payload, seal},
    effect::{Completion, Effect, PeerError},
    id::{Hash, NodeId, RequestId},
    node::gossip::Gossip,
    store::{Answer, Batch, Outcome, Read},
    view::Ring,
    wire::{Message, Priority},
};

pub use codec::{decode_reply, decode_request, encode_reply, encode_request, is_gossip};
pub use serve::{Slot, serve};

/// How long a node may take to answer a question that carries no block, before the asker gives it up.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The same for one with a block: 1 MiB over a line of 256 kbit/s takes half a minute.
pub const PATIENCE_BLOCK: Duration = Duration::from_secs(60);

/// What one node asks another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// [`Effect::Read`].
    #[serde(rename = "r")]
    Read {
        /// The newest layout that the asker knows.
        #[serde(rename = "l")]
        layout: u64,
        /// The layout whose storage nodes, as the asker knows, have all said that they have its data; 0 if there is none. By that one it
        /// reads.
        #[serde(rename = "v", default)]
        vouched: u64,
        /// What.
        #[serde(rename = "r")]
        read: Read,
        /// The client's request that this is for, if there is one.
        #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
    },
    /// [`Effect::Commit`].
    #[serde(rename = "c")]
    Commit {
        /// The newest layout that the asker knows.
        #[serde(rename = "l")]
        layout: u64,
        /// The change.
        #[serde(rename = "b")]
        batch: Batch,
        /// The client's request that this is for, if there is one.
        #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
    },
    /// [`Effect::StoreBlock`]. The payload is the block.
    #[serde(rename = "s")]
    StoreBlock {
        /// The newest layout that the asker knows.
        #[serde(rename = "l")]
        layout: u64,
        /// The block that the payload is.
        #[serde(rename = "h")]
        block: BlockHead,
        /// The rows that go with it.
        #[serde(rename = "b")]
        then: Batch,
        /// The client's request that this is for, if there is one.
        #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
    },
    /// [`Effect::LoadBlock`].
    #[serde(rename = "g")]
    LoadBlock {
        /// Which.
        #[serde(rename = "h")]
        hash: Hash,
        /// The client's request that this is for, if there is one.
        #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
    },
    /// [`Effect::Holds`].
    #[serde(rename = "h")]
    Holds {
        /// Which blocks.
        #[serde(rename = "h")]
        blocks: Vec<Hash>,
        /// The client's request that this is for, if there is one.
        #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
    },
    /// What the sender knows of the cluster.
    #[serde(rename = "m")]
    Gossip(Box<Gossip>),
    /// A call of the Admin API, for the node that is asked.
    #[serde(rename = "a")]
    Admin(AdminCall),
}

impl Request {
    /// The client's request that this is for, if there is one: what it logs is found by that, and somebody waits for it.
    pub fn request(&self) -> Option<RequestId> {
        match self {
            Self::Read { request, .. }
            | Self::Commit { request, .. }
            | Self::StoreBlock { request, .. }
            | Self::LoadBlock { request, .. }
            | Self::Holds { request, .. } => *request,
            Self::Admin(call) => call.request,
            Self::Gossip(_) => None,
        }
    }

    /// What it is, for the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "Read",
            Self::Commit { .. } => "Commit",
            Self::StoreBlock { .. } => "StoreBlock",
            Self::LoadBlock { .. } => "LoadBlock",
            Self::Holds { .. } => "Holds",
            Self::Gossip(_) => "Gossip",
            Self::Admin(_) => "Ask",
        }
    }
}

/// A call of the Admin API on its way to another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminCall {
    /// The call's name, as in `/v2/<name>`.
    #[serde(rename = "c")]
    pub call: String,
    /// Its parameters, as JSON.
    #[serde(rename = "p")]
    pub parameters: String,
    /// The client's request that this is for; set when it is sent.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

/// Which block a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockHead {
    /// Its name.
    #[serde(rename = "h")]
    pub hash: Hash,
    /// How its bytes are stored.
    #[serde(rename = "f")]
    pub form: Form,
}

impl BlockHead {
    fn of(block: &Payload) -> (Self, Bytes) {
        let (form, bytes) = block.stored();
        (Self { hash: block.hash(), form }, bytes.clone())
    }
}

/// What the other node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Read`].
    #[serde(rename = "r")]
    Answer(Answer),
    /// To [`Request::Commit`] and [`Request::StoreBlock`].
    #[serde(rename = "c")]
    Outcome(Outcome),
    /// To [`Request::LoadBlock`]. The payload is the block.
    #[serde(rename = "b")]
    Block(BlockHead),
    /// To [`Request::Holds`].
    #[serde(rename = "h")]
    Held(Vec<bool>),
    /// To [`Request::Gossip`]: what the asked node knows.
    #[serde(rename = "m")]
    Gossip(Box<Gossip>),
    /// To [`Request::Admin`]: JSON, of the answer or of the error.
    #[serde(rename = "a")]
    Admin(Result<String, String>),
    /// To any of them.
    #[serde(rename = "f")]
    Failed(PeerError),
}

/// What a task's calls to other nodes are marked with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The newest layout of the view that the task goes by.
    pub layout: u64,
    /// The layout that it reads by, if all storage nodes of that have vouched for their data; otherwise 0.
    pub vouched: u64,
    /// Which view that is, by the node's own count.
    pub epoch: u64,
    /// Nobody waits for the task.
    pub background: bool,
    /// The client's request that the task serves.
    pub request: Option<RequestId>,
}

impl Origin {
    /// Of a task that goes by this ring, whose nodes have all said that they have what it gives them.
    pub fn of(ring: &Ring) -> Self {
        Self { layout: ring.version(), vouched: ring.read_version(), ..Self::default() }
    }
}

/// A call to another node.
#[derive(Debug)]
pub struct Call {
    /// Whom to ask.
    pub to: NodeId,
    /// How urgent it is.
    pub priority: Priority,
    /// How long to wait for the answer.
    pub patience: Duration,
    /// The request.
    pub message: Message,
    /// What to make of the answer.
    pub expect: Expect,
}

/// Which answer is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// [`Completion::Read`].
    Read,
    /// [`Completion::Committed`].
    Committed,
    /// [`Completion::Loaded`], with this block.
    Loaded(Hash),
    /// [`Completion::Held`], for so many blocks.
    Held(usize),
    /// [`Completion::Asked`].
    Asked,
}

/// An effect as a call to the node it is to happen at. `None` for effects that only the own node performs.
pub fn call(effect: Effect, origin: Origin) -> Option<Call> {
    let Origin { layout, vouched, request: id, .. } = origin;
    let urgent = if origin.background { Priority::Background } else { Priority::Request };
    let bulk = if origin.background { Priority::Background } else { Priority::Bulk };
    let (to, request, payload, priority, expect) = match effect {
        Effect::Read { at, read } => {
            let request = Request::Read { layout, vouched, read, request: id };
            (at, request, Bytes::new(), urgent, Expect::Read)
        }
        Effect::Commit { at, batch } => {
            let request = Request::Commit { layout, batch, request: id };
            (at, request, Bytes::new(), urgent, Expect::Committed)
        }
        Effect::StoreBlock { at, block, then } => {
            let (block, bytes) = BlockHead::of(&block);
            let request = Request::StoreBlock { layout, block, then, request: id };
            (at, request, bytes, bulk, Expect::Committed)
        }
        Effect::LoadBlock { at, hash } => {
            let request = Request::LoadBlock { hash, request: id };
            (at, request, Bytes::new(), bulk, Expect::Loaded(hash))
        }
        Effect::Holds { at, blocks } => {
            let expect = Expect::Held(blocks.len());
            (at, Request::Holds { blocks, request: id }, Bytes::new(), urgent, expect)
        }
        Effect::Ask { at, call } => {
            let request = Request::Admin(AdminCall { request: id, ..call });
            (at, request, Bytes::new(), urgent, Expect::Asked)
        }
        Effect::Chore(_)
        | Effect::Snapshot(_)
        | Effect::Control(_)
        | Effect::Open(_)
        | Effect::Pull { .. }
        | Effect::Collect { .. }
        | Effect::Respond { .. }
        | Effect::Send(_)
        | Effect::Waited(_)
        | Effect::Cancel(_) => return None,
    };
    let blocks = matches!(request, Request::StoreBlock { .. } | Request::LoadBlock { .. });
    let patience = if blocks { PATIENCE_BLOCK } else { PATIENCE };
    let message = encode_request(&request, payload);
    Some(Call { to, priority, patience, message, expect })
}

/// The completion of an effect from what came back. Verifies a block, which takes a millisecond for each MiB.
pub fn completion(expect: Expect, answer: Result<Message, PeerError>) -> Completion {
    let reply = answer.and_then(|message| decode_reply(&message).map(|reply| (reply, message)));
    let reply = match reply {
        Ok((Reply::Failed(error), _)) => Err(error),
        other @ (Ok(_) | Err(_)) => other,
    };
    match expect {
        Expect::Read => Completion::Read(reply.and_then(|(reply, _)| {
            if let Reply::Answer(answer) = reply { Ok(answer) } else { Err(unasked(&reply)) }
        })),
        Expect::Committed => Completion::Committed(reply.and_then(|(reply, _)| {
            if let Reply::Outcome(outcome) = reply { Ok(outcome) } else { Err(unasked(&reply)) }
        })),
        Expect::Loaded(hash) => Completion::Loaded(reply.and_then(|(reply, message)| {
            if let Reply::Block(head) = reply
                && head.hash == hash
            {
                received(head, message.payload)
            } else {
                Err(unasked(&reply))
            }
        })),
        Expect::Held(count) => Completion::Held(reply.and_then(|(reply, _)| {
            if let Reply::Held(held) = &reply
                && held.len() == count
            {
                Ok(held.clone())
            } else {
                Err(unasked(&reply))
            }
        })),
        Expect::Asked => Completion::Asked(reply.and_then(|(reply, _)| {
            if let Reply::Admin(answer) = reply { Ok(answer) } else { Err(unasked(&reply)) }
        })),
    }
}

fn received(head: BlockHead, bytes: Bytes) -> Result<Payload, PeerError> {
    seal::open(head.hash, head.form, bytes, seal::BLOCK_MAX).map_err(|error| {
        log::error!("block {} came damaged from a peer: {error}", head.hash);
        PeerError::Corrupt
    })
}

fn unasked(reply: &Reply) -> PeerError {
    log::warn!("a peer answered something else than it was asked: {reply:?}");
    PeerError::Malformed
}

/// A message that says only this error.
pub fn failed(error: PeerError) -> Message {
    encode_reply(&Reply::Failed(error), Bytes::new())
}
