//! Table and block operations as handlers use them: on a replica set, by quorum. With one member, a quorum is one call.
//!
//! Reads ask as many of the nearest replicas as it takes, and others when these fail or dawdle. Writes go to every member of
//! every replica set in force, and return when each set has its quorum; the rest goes on by itself. A node of an older layout
//! and one of a newer one thus always meet in a node that both have asked.

mod ask;
mod ballot;
mod blocks;
mod edit;
mod full_copy;
mod list;
mod pages;
mod read;
mod repair;
#[cfg(test)]
mod tests;
mod usage;
mod write;

pub use ballot::{Change, change, release};
pub use blocks::{load_block, look_at, store_block};
pub use edit::{confirmed, edit};
pub use full_copy::{
    FULL_COPY_PAGE, confirm, get_local, read_local, scan_confirmed, write_full_copy,
    write_full_copy_at, write_full_copy_everywhere,
};
pub use list::{list, list_among};
pub use read::{read, settle};
pub use usage::{Usage, usage, usage_near};
pub use write::{Last, write, write_last};

use crate::{
    effect::PeerError,
    id::Position,
    view::{Replicas, View},
};

/// Whether rows of these two positions may travel in one batch, and be read together.
pub fn same_replicas(view: &View, a: Position, b: Position) -> bool {
    view.ring.replicas(a) == view.ring.replicas(b)
        && view.ring.write_sets(a) == view.ring.write_sets(b)
}

/// Whether one replica alone decides about the rows of `position`: then a guard is exact, because it is checked inside the only
/// writer's transaction. Among several, one may apply what another refuses.
pub fn is_sole(view: &View, position: Position) -> bool {
    is_one(&view.ring.write_sets(position))
}

/// The same for the full-copy tables.
pub fn is_sole_copy(view: &View) -> bool {
    is_one(&view.ring.full_copy_write_sets()) && view.ring.everyone().len() <= 1
}

fn is_one(sets: &[Replicas<'_>]) -> bool {
    matches!(sets, [set] if set.nodes.len() == 1)
}

/// Which of two failures to tell of: one that passes tells a client to come again, whatever else has gone wrong.
fn graver(a: Option<PeerError>, b: PeerError) -> PeerError {
    match a {
        Some(a) if passes(&a) || !passes(&b) => a,
        Some(_) | None => b,
    }
}

fn passes(error: &PeerError) -> bool {
    match error {
        PeerError::Unreachable
        | PeerError::TimedOut
        | PeerError::Busy
        | PeerError::Outdated
        | PeerError::Syncing
        | PeerError::Full => true,
        PeerError::Malformed
        | PeerError::Store(_)
        | PeerError::Missing
        | PeerError::Corrupt
        | PeerError::Disk(_) => false,
    }
}
