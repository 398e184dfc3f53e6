//! What the machine has asked for and the shell has not fetched yet.

use std::collections::VecDeque;

use super::NodeEffect;
use crate::effect::EffectId;

/// Effects in the order given.
#[derive(Default)]
pub(super) struct Effects {
    queue: VecDeque<(EffectId, NodeEffect)>,
    next: u64,
}

impl Effects {
    pub(super) fn push(&mut self, effect: NodeEffect) -> EffectId {
        let id = EffectId(self.next);
        self.next += 1;
        self.queue.push_back((id, effect));
        id
    }

    pub(super) fn pop(&mut self) -> Option<(EffectId, NodeEffect)> {
        self.queue.pop_front()
    }
}
