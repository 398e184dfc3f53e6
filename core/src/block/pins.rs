//! Which blocks are in use: what is pinned is not unlinked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::id::Hash;

/// How often each block is pinned. Bounded by the requests in flight, times the blocks each may have under way.
#[derive(Default)]
pub(super) struct Pins(Mutex<BTreeMap<Hash, usize>>);

impl Pins {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Hash, usize>> {
        // Each change is a single step on the map: a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pin(self: &Arc<Self>, hash: Hash) -> Pin {
        *self.lock().entry(hash).or_default() += 1;
        Pin { pins: self.clone(), hash }
    }

    /// Runs `f` if at most `own` pins are on the block, and lets nobody pin anything before `f` is done. So `f` must be short:
    /// a system call or two.
    pub(super) fn unless_pinned<R>(
        &self,
        hash: Hash,
        own: usize,
        f: impl FnOnce() -> R,
    ) -> Option<R> {
        let pins = self.lock();
        (pins.get(&hash).copied().unwrap_or(0) <= own).then(f)
    }
}

/// As long as it lives, no file of its block is unlinked or set aside. From [`Files::pin`](super::files::Files::pin).
#[must_use = "a pin that is dropped at once protects nothing"]
pub struct Pin {
    pins: Arc<Pins>,
    hash: Hash,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.lock();
        match pins.get_mut(&self.hash) {
            Some(1) | None => drop(pins.remove(&self.hash)),
            Some(count) => *count -= 1,
        }
    }
}
