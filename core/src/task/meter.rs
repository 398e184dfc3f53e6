//! What is counted of a task: how long it waits for what, and the bytes that it moves.

use std::sync::Arc;

use crate::{
    effect::{Chunk, Completion, Effect},
    id::NodeId,
    metrics::Metrics,
    time::Instant,
};

/// Bytes of bodies that a task has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// From its client.
    pub received: u64,
    /// To its client.
    pub sent: u64,
}

/// Where a task counts how long it waits for what.
pub(super) struct Meter {
    pub me: NodeId,
    pub metrics: Arc<Metrics>,
}

impl Meter {
    /// An effect is about to be performed.
    pub fn begun(&self, effect: &Effect) {
        if effect.at().is_some_and(|at| at != self.me) {
            self.metrics.rpc.of(effect.name()).count.increment();
        }
    }

    /// An effect that was to happen `at` a node has been waited for from `since` until now.
    pub fn done(
        &self,
        what: &'static str,
        at: Option<NodeId>,
        (since, now): (Instant, Instant),
        completion: &Completion,
    ) {
        let took = now.since(since);
        match at {
            Some(at) if at == self.me => self.metrics.storage.of(what).took(took),
            Some(_) => self.metrics.rpc.of(what).answered(took, completion.failure()),
            None => {}
        }
    }
}

/// Bytes of the client's body that a completion brings.
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else it is, it brings none")]
pub(super) fn received(completion: &Completion) -> u64 {
    match completion {
        Completion::Collected(Ok(bytes)) => bytes.len() as u64,
        Completion::Pulled(Ok(pulled)) => match &pulled.chunk {
            Chunk::None => 0,
            Chunk::Inline(bytes) => bytes.len() as u64,
            Chunk::Block(block) => u64::from(block.len()),
        },
        _ => 0,
    }
}
