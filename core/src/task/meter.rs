//! What is counted of a task: how long it waits for what, and the bytes that it moves.

use std::sync::Arc;

use crate::{
    effect::{Chunk, Completion, Effect},
    id::NodeId,
    metrics::Metrics,
    node::pace::{Operation, WINDOW, Waits},
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
    me: NodeId,
    metrics: Arc<Metrics>,
    waits: Waits,
    /// When the waits were last told.
    told: Instant,
}

impl Meter {
    pub fn new(me: NodeId, metrics: Arc<Metrics>) -> Self {
        Self { me, metrics, waits: Waits::default(), told: Instant::default() }
    }

    /// An effect is about to be performed.
    pub fn begun(&self, effect: &Effect) {
        if effect.at().is_some_and(|at| at != self.me) {
            self.metrics.rpc.of(effect.name()).count.increment();
        }
    }

    /// An effect that was to happen `at` a node has been waited for from `since` until now.
    pub fn done(
        &mut self,
        (what, operation): (&'static str, Option<Operation>),
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
        let operation = if at == Some(self.me) { operation } else { at.map(|_| Operation::Remote) };
        // One that failed was not waited for as long as it takes.
        if let Some(operation) = operation.filter(|_| completion.failure().is_none()) {
            self.waits.add(operation, took);
        }
    }

    /// What is to be told of the waits: all at the task's end, and what there is by now every second.
    pub fn tell(&mut self, now: Instant, ended: bool) -> Option<Waits> {
        if self.waits.is_empty() || !(ended || now >= self.told.after(WINDOW)) {
            return None;
        }
        self.told = now;
        Some(std::mem::take(&mut self.waits))
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
