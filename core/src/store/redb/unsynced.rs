//! Commits that do not wait for the disk. See [`journal`] for what that means.

use std::sync::{MutexGuard, PoisonError};

use ::redb::{Durability, WriteTransaction};

use super::{Bytes, Db, definition, engine};
use crate::store::{
    Batch, JOURNAL_KEY, Outcome, Snapshot, StoreError, Table,
    journal::{self, Log},
};

/// A journal of so many bytes is ended by a sync, whatever the time: it bounds how long it takes to apply it again, which is some
/// seconds on a small board.
const JOURNAL_BYTES_MAX: usize = 16 << 20;

/// The journal of an open database.
pub(super) struct Journal {
    log: Box<dyn Log>,
    /// The number of the last record.
    number: u64,
    /// How much is in it.
    bytes: usize,
    /// A record may be there in part. What came behind it would not be found.
    failed: bool,
}

impl Journal {
    /// Adds the batches that were applied in this transaction. It must be committed then, or nothing ever again.
    pub fn append(
        &mut self,
        batches: &[Batch],
        outcomes: &[Result<Outcome, StoreError>],
        transaction: &WriteTransaction,
    ) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Engine("its journal could not be written".to_owned()));
        }
        let number = self.number + 1;
        note(transaction, number)?;
        let record = journal::record(number, &journal::applied(batches, outcomes));
        self.failed = true;
        self.log.append(&record).map_err(failed)?;
        self.failed = false;
        (self.number, self.bytes) = (number, self.bytes + record.len());
        Ok(())
    }
}

/// Writes into the database which record was the last.
fn note(transaction: &WriteTransaction, number: u64) -> Result<(), StoreError> {
    let mut meta =
        transaction.open_table::<Bytes, Bytes>(definition(Table::Meta)).map_err(engine)?;
    meta.insert(JOURNAL_KEY, &number.to_be_bytes()[..]).map_err(engine)?;
    Ok(())
}

fn failed(error: std::io::Error) -> StoreError {
    StoreError::Engine(format!("its journal: {error}"))
}

/// What came of applying a journal again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// So many transactions, which are durable now.
    Records(u64),
    /// It goes on where this database never was: it belongs to another one, such as one that was put back from a copy since.
    Foreign,
}

impl Db {
    pub(super) fn journal(&self) -> MutexGuard<'_, Option<Journal>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on commits do not wait for the disk, and go to this log first, which is empty.
    ///
    /// # Errors
    /// The database's.
    pub fn unsynced(&self, log: Box<dyn Log>) -> Result<(), StoreError> {
        let number = self.recorded()?;
        *self.journal() = Some(Journal { log, number, bytes: 0, failed: false });
        Ok(())
    }

    /// Whether commits go to a journal.
    pub fn is_unsynced(&self) -> bool {
        self.journal().is_some()
    }

    fn recorded(&self) -> Result<u64, StoreError> {
        let value = self.snapshot()?.get(Table::Meta, JOURNAL_KEY)?;
        let Some(value) = value else { return Ok(0) };
        let number = value.try_into().map(u64::from_be_bytes);
        number.map_err(|_| StoreError::Damaged {
            table: Table::Meta,
            reason: "the number of the last record of the journal is none".to_owned(),
        })
    }

    /// Applies again what a journal that was not ended has beyond this database, durably. For a database without a journal.
    ///
    /// # Errors
    /// The engine's; all of it is to be done again then.
    pub fn replay(&self, records: &[u8]) -> Result<Replayed, StoreError> {
        let mut last = self.recorded()?;
        let mut replayed = 0;
        for (number, batches) in journal::records(records) {
            if number <= last {
                continue;
            }
            if number > last + 1 {
                return Ok(Replayed::Foreign);
            }
            let mut transaction = self.database.begin_write().map_err(engine)?;
            transaction.set_durability(Durability::None).map_err(engine)?;
            let outcomes = self.apply_all(&batches, &transaction, &Default::default());
            let outcomes = outcomes.map_err(|(_, error)| error)?;
            if journal::applied(&batches, &outcomes).len() < batches.len() {
                let reason = format!("record {number} of the journal is not for this database");
                return Err(StoreError::Engine(reason));
            }
            note(&transaction, number)?;
            transaction.commit().map_err(engine)?;
            (last, replayed) = (number, replayed + 1);
        }
        if replayed > 0 {
            self.sync(last)?;
        }
        self.committed();
        Ok(Replayed::Records(replayed))
    }

    /// Makes everything durable that was committed so far. Does nothing if it is already.
    ///
    /// # Errors
    /// [`StoreError::Engine`]: the disk failed. The process must not go on writing.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        match &mut *self.journal() {
            Some(journal) if journal.bytes > 0 => self.end_records(journal),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn checkpoint_if_full(
        &self,
        journal: &mut Option<Journal>,
    ) -> Result<(), StoreError> {
        match journal {
            Some(journal) if journal.bytes >= JOURNAL_BYTES_MAX => self.end_records(journal),
            Some(_) | None => Ok(()),
        }
    }

    /// Makes everything durable and gives the journal up: later commits wait for the disk.
    ///
    /// # Errors
    /// [`StoreError::Engine`]: the disk failed. The journal is still there then.
    pub fn end_journal(&self) -> Result<(), StoreError> {
        let mut journal = self.journal();
        if let Some(open) = &mut *journal {
            self.end_records(open)?;
            open.log.remove().map_err(failed)?;
        }
        *journal = None;
        Ok(())
    }

    fn end_records(&self, journal: &mut Journal) -> Result<(), StoreError> {
        self.sync(journal.number)?;
        journal.log.clear().map_err(failed)?;
        (journal.bytes, journal.failed) = (0, false);
        Ok(())
    }

    /// One durable commit, which makes those before it durable as well.
    fn sync(&self, number: u64) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write().map_err(engine)?;
        transaction.set_quick_repair(true);
        note(&transaction, number)?;
        transaction.commit().map_err(engine)
    }
}
