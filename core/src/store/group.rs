//! Group commit: what a writer takes from its queue for one transaction.
//!
//! There is no timer. A group is what had arrived by the time the last commit was done, up to two bounds.

use super::{Batch, Op};

/// At most so many batches to a transaction: the bound that keeps one commit, and so the wait of the next group, short. At
/// about 20 µs a batch that is 20 ms.
pub const GROUP_BATCHES_MAX: usize = 1024;

/// At most so many bytes of batches to a transaction: it bounds the dirty pages of one commit, which redb holds in memory
/// until then. Random keys dirty a page of 4 KiB for a row of a few hundred bytes, so 4 MiB of rows make about 64 MiB of
/// pages at the very worst.
pub const GROUP_BYTES_MAX: usize = 4 << 20;

/// Batches for one transaction, each with whoever waits for its outcome.
#[derive(Debug)]
pub struct Group<W> {
    batches: Vec<Batch>,
    waiters: Vec<W>,
    bytes: usize,
}

impl<W> Default for Group<W> {
    fn default() -> Self {
        Self { batches: Vec::new(), waiters: Vec::new(), bytes: 0 }
    }
}

impl<W> Group<W> {
    /// Adds a batch. One that alone is over the bound is a group of its own.
    pub fn push(&mut self, batch: Batch, waiter: W) {
        self.bytes += size(&batch);
        self.batches.push(batch);
        self.waiters.push(waiter);
    }

    /// Whether nothing more should be added.
    pub fn is_full(&self) -> bool {
        self.batches.len() >= GROUP_BATCHES_MAX || self.bytes >= GROUP_BYTES_MAX
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The batches gathered, in order.
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// The waiters, in the order of their batches; the group is empty after it.
    pub fn finish(&mut self) -> Vec<W> {
        self.batches.clear();
        self.bytes = 0;
        std::mem::take(&mut self.waiters)
    }
}

/// Roughly how many bytes a batch writes.
fn size(batch: &Batch) -> usize {
    // A queue row with its key, a count row: small and of one size.
    const SMALL_ROW: usize = 64;
    let ops = batch.ops.iter().map(|op| match op {
        Op::Merge { key, value, inline, table: _ } => {
            key.len() + value.len() + inline.as_ref().map_or(0, |payload| payload.len())
        }
        Op::Collect { key, value, table: _ } => key.len() + value.len(),
        Op::Remove { key, table: _ } | Op::Forget { key, table: _ } => key.len(),
        Op::Correct(_) | Op::Enqueue { .. } | Op::Reap { .. } => SMALL_ROW,
    });
    ops.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{store::Table, time::Timestamp};

    fn batch(bytes: usize) -> Batch {
        let (key, value) = (Vec::new(), vec![0; bytes]);
        Batch::new(Timestamp(0), vec![Op::Merge { table: Table::Meta, key, value, inline: None }])
    }

    #[test]
    fn a_group_is_full_by_number_or_by_size() {
        let mut many = Group::default();
        for waiter in 0..GROUP_BATCHES_MAX {
            assert!(!many.is_full());
            many.push(batch(1), waiter);
        }
        assert!(many.is_full());

        let mut large = Group::default();
        large.push(batch(GROUP_BYTES_MAX - 1), ());
        assert!(!large.is_full());
        large.push(batch(1), ());
        assert!(large.is_full());
        assert_eq!(large.finish().len(), 2);
        assert!(large.is_empty() && !large.is_full());
    }
}
