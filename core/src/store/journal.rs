//! The journal: changes that are committed, and not yet synced to the database's file.
//!
//! It is for who would rather lose the last second than wait for the disk (`metadata_fsync = false`). A record holds the batches of one
//! transaction and is handed to the operating system before the transaction is committed, which is in memory only; about once a second
//! the database is synced, and the journal begins anew. So:
//!
//! * When the process dies, the operating system has the journal, and all of it is applied again: nothing is lost.
//! * When the machine dies, the database is as it was last synced, for nothing has been written over it since, and of the journal a
//!   beginning is left, which is applied again. What came later is lost, and the file says that it may be.
//!
//! Applying is a function of database and batch alone, so applying again gives the same. Records are numbered, and the database has the
//! number of the last one in it: none is applied twice.

use std::io;

use super::{Applied, Batch, Outcome, StoreError};
use crate::id::Hash;

/// What a journal is kept in: a file.
pub trait Log: Send {
    /// Adds these bytes, so that they are there when the process dies.
    ///
    /// # Errors
    /// The operating system's. The bytes may be there in part.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Takes away all that was added.
    ///
    /// # Errors
    /// The operating system's.
    fn clear(&mut self) -> io::Result<()>;

    /// Takes away the log itself, durably.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&mut self) -> io::Result<()>;
}

/// What a journal begins with: name and number of the format, and the start of the machine that it was written in.
const NAME: &str = "mews-journal 1 ";

/// The header of a journal. `machine` tells this start of the machine from all others; it is empty where nothing does.
pub fn header(machine: &str) -> Vec<u8> {
    format!("{NAME}{machine}\n").into_bytes()
}

/// What is left of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains<'a> {
    /// Whether the machine has been down since it was written, or may have been: then the last records may be missing.
    pub torn: bool,
    /// The records, for `records`.
    pub records: &'a [u8],
}

/// Reads the header of a journal's bytes, on this start of the machine. None if it is no journal.
pub fn open<'a>(bytes: &'a [u8], machine: &str) -> Option<Remains<'a>> {
    let rest = bytes.strip_prefix(NAME.as_bytes())?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let torn = machine.is_empty() || &rest[..end] != machine.as_bytes();
    Some(Remains { torn, records: &rest[end + 1..] })
}

/// Of each record: its length without this head, its number, and a checksum of the number and what follows.
const HEAD: usize = 4 + 8 + CHECKSUM;
const CHECKSUM: usize = 16;

/// One record, to be appended.
pub(super) fn record(number: u64, batches: &[(&Batch, Option<Hash>)]) -> Vec<u8> {
    let mut bytes = vec![0; HEAD];
    ciborium::into_writer(batches, &mut bytes)
        .expect("batches are plain data and memory does not fail");
    let len = u32::try_from(bytes.len() - HEAD).expect("a group is bounded far below");
    bytes[..4].copy_from_slice(&len.to_be_bytes());
    bytes[4..12].copy_from_slice(&number.to_be_bytes());
    let sum = checksum(number, &bytes[HEAD..]);
    bytes[12..HEAD].copy_from_slice(&sum);
    bytes
}

fn checksum(number: u64, body: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_be_bytes()).update(body);
    let mut sum = [0; CHECKSUM];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

/// The records in these bytes, up to the first that is not whole or not the next. What a crash has left behind it is older, or
/// nothing at all.
pub(super) fn records(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Vec<Batch>)> {
    let mut expected = None;
    std::iter::from_fn(move || {
        let (number, batches, rest) = first(bytes)?;
        if expected.is_some_and(|expected| expected != number) {
            return None;
        }
        (expected, bytes) = (number.checked_add(1), rest);
        Some((number, batches))
    })
}

fn first(bytes: &[u8]) -> Option<(u64, Vec<Batch>, &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let len = u32::from_be_bytes(head[..4].try_into().ok()?);
    let number = u64::from_be_bytes(head[4..12].try_into().ok()?);
    let (body, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    if checksum(number, body) != head[12..] {
        return None;
    }
    let batches: Vec<(Batch, Option<Hash>)> = ciborium::from_reader(body).ok()?;
    let stored = |(batch, stored)| Batch { stored, ..batch };
    Some((number, batches.into_iter().map(stored).collect(), rest))
}

/// Of the batches of one transaction, those that have changed something.
pub(super) fn applied<'b>(
    batches: &'b [Batch],
    outcomes: &[Result<Outcome, StoreError>],
) -> Vec<(&'b Batch, Option<Hash>)> {
    let pairs = batches.iter().zip(outcomes);
    let applied = pairs.filter(|(_, outcome)| match outcome {
        Ok(Outcome::Applied(Applied { .. })) => true,
        Ok(Outcome::Refused { .. }) | Err(_) => false,
    });
    applied.map(|(batch, _)| (batch, batch.stored)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{Op, Table},
        time::Timestamp,
    };

    fn batch(name: u8) -> Batch {
        let op = Op::Remove { table: Table::Object, key: vec![name; 20] };
        Batch::new(Timestamp(u64::from(name)), vec![op])
    }

    fn journal(numbers: &[u64]) -> Vec<u8> {
        let record = |number: &u64| {
            let (one, two) = (batch(1), batch(2).with_stored(Hash([7; 32])));
            record(*number, &[(&one, one.stored), (&two, two.stored)])
        };
        numbers.iter().flat_map(record).collect()
    }

    fn numbers(bytes: &[u8]) -> Vec<u64> {
        records(bytes).map(|(number, _)| number).collect()
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let bytes = journal(&[5, 6]);
        let read: Vec<_> = records(&bytes).collect();
        let batches = vec![batch(1), batch(2).with_stored(Hash([7; 32]))];
        assert_eq!(read, [(5, batches.clone()), (6, batches)]);
    }

    #[test]
    fn a_record_that_is_not_whole_or_not_the_next_is_the_end() {
        let bytes = journal(&[5, 6, 7]);
        let one = bytes.len() / 3;
        for len in 0..bytes.len() {
            assert_eq!(numbers(&bytes[..len]).len(), len / one, "cut at {len}");
        }
        for at in one..2 * one {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(numbers(&bytes), [5], "changed at {at}");
        }
        assert_eq!(numbers(&journal(&[5, 6, 3, 4])), [5, 6], "older ones behind");
        assert_eq!(numbers(&journal(&[5, 7])), [5], "a gap");
    }

    #[test]
    fn a_journal_of_another_start_of_the_machine_may_be_torn() {
        let mut bytes = header("this-start");
        bytes.push(9);
        let remains = |torn| Some(Remains { torn, records: &[9] });
        assert_eq!(open(&bytes, "this-start"), remains(false));
        assert_eq!(open(&bytes, "another"), remains(true));
        assert_eq!(open(&header(""), ""), Some(Remains { torn: true, records: &[] }));
        assert_eq!((open(b"", "x"), open(b"mews-journal 2 x\n", "x")), (None, None));
    }
}
