//! Maintenance of the own node's block files, as effects. The decisions are made by the jobs that issue them.

use crate::{id::Hash, time::Timestamp};

/// A piece of maintenance, small enough to be paced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chore {
    /// The blocks of which there is a file (sound or set aside) and whose hashes follow `after` in order, at most `limit` →
    /// [`ChoreReport::Files`].
    List {
        /// Where the last page ended; `None` to begin.
        after: Option<Hash>,
        /// At most so many.
        limit: usize,
    },
    /// Read one block and check it against its hash; a damaged file is set aside, and one that was set aside goes once the block is
    /// sound again → [`ChoreReport::Checked`].
    Verify(Hash),
    /// Unlink the files of a block that no row counts, unless it was written lately or is being written now →
    /// [`ChoreReport::Removed`].
    RemoveOrphan {
        /// The block.
        block: Hash,
        /// Only if the file was last written before this, by the clock of the machine that the disk is on.
        written_before: Timestamp,
    },
    /// Move one block to the data directory where it belongs now → [`ChoreReport::Moved`].
    Rebalance(Hash),
}

/// What came of a [`Chore`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChoreReport {
    /// The files found, in order of hash.
    Files(Vec<Hash>),
    /// Whether the block was there and sound.
    Checked(Soundness),
    /// Whether the file was unlinked.
    Removed(bool),
    /// Whether the file was moved.
    Moved(bool),
}

/// What a scrub finds of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Soundness {
    /// It is there and matches its hash.
    Sound,
    /// It was damaged, and is set aside since now or earlier.
    Damaged,
    /// There is no file of it at all.
    Missing,
}
