//! The metadata database of a host: redb on a disk that tears and forgets, or the tables in memory, which are quicker.
//!
//! The tables in memory commit whole transactions or none, and what is committed is durable: that redb does the same on a torn disk
//! is shown by the runs that use it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mews_core::store::{
    BOOT_KEY, Batch, Cursor, LOST, Outcome, SYNCED_KEY, Snapshot, StoreError, Table, Writer,
    apply::{Delays, apply},
    map::MapStore,
    redb::Db,
};

use crate::{dice::Dice, platter::Platter};

/// redb's cache: small, so that pages are read back from the disk.
const CACHE: usize = 256 << 10;

/// Which database a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Engine {
    /// redb.
    #[default]
    Redb,
    /// The tables in memory.
    Map,
}

/// What outlives the processes of a host.
#[derive(Clone, Default)]
pub struct Medium {
    engine: Engine,
    /// The file of redb.
    pub platter: Platter,
    map: Arc<Mutex<Rows>>,
}

#[derive(Default)]
/// The tables, and how to undo what was not synced.
pub struct Rows {
    store: MapStore,
    /// With syncs that lie: how to undo what was committed last, oldest first.
    unsynced: VecDeque<Undo>,
    lying: bool,
}

/// The values that rows had before, in the order in which they were changed.
type Undo = Vec<(Table, Vec<u8>, Option<Vec<u8>>)>;

fn undo(store: &mut MapStore, undo: Undo) -> Result<(), StoreError> {
    for (table, key, value) in undo.into_iter().rev() {
        match value {
            Some(value) => store.put(table, &key, &value)?,
            None => store.delete(table, &key)?,
        }
    }
    Ok(())
}

impl Medium {
    /// An empty disk for this engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine, ..Self::default() }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // A simulation that panicked has failed anyway.
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plants a fault: from now on syncs do nothing.
    pub fn lie_about_syncs(&self) {
        self.platter.lie_about_syncs();
        self.rows().lying = true;
    }

    /// Another disk with what a process reads on this one now.
    #[must_use]
    pub fn copy(&self) -> Self {
        let rows = self.rows();
        let copied = Rows { store: rows.store.clone(), lying: rows.lying, ..Rows::default() };
        Self {
            engine: self.engine,
            platter: self.platter.copy(),
            map: Arc::new(Mutex::new(copied)),
        }
    }

    /// The process dies.
    pub fn kill(&self) {
        self.platter.kill();
    }

    /// The power fails.
    pub fn crash(&self, dice: &mut Dice) {
        self.platter.crash(&mut dice.seed());
        let mut rows = self.rows();
        let kept = dice.index(rows.unsynced.len() + 1);
        for lost in rows.unsynced.split_off(kept).into_iter().rev() {
            undo(&mut rows.store, lost).expect("a map does not fail");
        }
        rows.unsynced.clear();
    }

    /// Opens the database, or creates it, and counts the boot.
    ///
    /// # Errors
    /// What a person would read if it did not open.
    pub fn open(&self, delays: Delays) -> Result<Database, String> {
        match self.engine {
            Engine::Redb => {
                let db = Db::open(self.platter.open(), CACHE, delays);
                let db = db.map_err(|error| error.to_string())?;
                Ok(Database::Redb(Box::new(db)))
            }
            Engine::Map => {
                let mut rows = self.rows();
                let before = rows.store.get(Table::Meta, BOOT_KEY).map_err(|e| e.to_string())?;
                let before = before.and_then(|bytes| bytes.try_into().ok());
                let boot = before.map_or(0, u64::from_be_bytes) + 1;
                let put = rows.store.put(Table::Meta, BOOT_KEY, &boot.to_be_bytes());
                put.map_err(|error| error.to_string())?;
                drop(rows);
                Ok(Database::Map { map: self.map.clone(), boot, delays })
            }
        }
    }
}

/// The database as one process has it open.
pub enum Database {
    /// redb.
    Redb(Box<Db>),
    /// The tables in memory.
    Map {
        /// The tables.
        map: Arc<Mutex<Rows>>,
        /// How often they were opened.
        boot: u64,
        /// For `apply`.
        delays: Delays,
    },
}

impl Database {
    /// How often it has been opened, this time included.
    pub fn boot(&self) -> u64 {
        match self {
            Self::Redb(db) => db.boot(),
            Self::Map { boot, .. } => *boot,
        }
    }

    /// This is an older database than the one of start `before`. As [`Db::count_on`].
    ///
    /// # Errors
    /// What the engine reports.
    pub fn count_on(&mut self, before: u64, incomplete: bool) -> Result<(), StoreError> {
        match self {
            Self::Redb(db) => db.count_on(before, incomplete),
            Self::Map { map, boot, .. } => {
                *boot = (*boot).max(before + 1);
                let mut rows = map.lock().unwrap_or_else(PoisonError::into_inner);
                rows.store.put(Table::Meta, BOOT_KEY, &boot.to_be_bytes())?;
                if !incomplete {
                    return Ok(());
                }
                rows.store.put(Table::Meta, SYNCED_KEY, &LOST.to_be_bytes())
            }
        }
    }

    /// Looks at the state as of the last commit.
    ///
    /// # Errors
    /// What the engine reports, or `look` does.
    pub fn look<R>(
        &self,
        look: impl FnOnce(&dyn Snapshot) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        match self {
            Self::Redb(db) => look(&db.snapshot()?),
            Self::Map { map, .. } => {
                let rows = map.lock().unwrap_or_else(PoisonError::into_inner);
                look(&rows.store)
            }
        }
    }

    /// The state as of the last commit, to be looked at later.
    ///
    /// # Errors
    /// What the engine reports.
    pub fn keep(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        match self {
            Self::Redb(db) => Ok(Box::new(db.snapshot()?)),
            Self::Map { map, .. } => {
                let rows = map.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(Box::new(rows.store.clone()))
            }
        }
    }

    /// Applies these batches in order and commits them durably. As [`Db::commit`].
    ///
    /// # Errors
    /// As [`Db::commit`].
    pub fn commit(
        &self,
        batches: &[Batch],
    ) -> Result<Vec<Result<Outcome, StoreError>>, StoreError> {
        match self {
            Self::Redb(db) => db.commit(batches),
            Self::Map { map, delays, .. } => {
                let mut rows = map.lock().unwrap_or_else(PoisonError::into_inner);
                batches.iter().map(|batch| rows.apply(batch, delays)).collect()
            }
        }
    }
}

impl Rows {
    fn apply(
        &mut self,
        batch: &Batch,
        delays: &Delays,
    ) -> Result<Result<Outcome, StoreError>, StoreError> {
        let mut writer = Undoable { store: &mut self.store, undo: Vec::new() };
        let outcome = apply(batch, &mut writer, delays);
        let changes = writer.undo;
        match &outcome {
            Ok(_) if self.lying => {
                /// More than any crash is likely to lose.
                const UNSYNCED_MAX: usize = 64;
                self.unsynced.push_back(changes);
                if self.unsynced.len() > UNSYNCED_MAX {
                    self.unsynced.pop_front();
                }
            }
            Ok(_) => {}
            Err(_) => undo(&mut self.store, changes)?,
        }
        Ok(outcome)
    }
}

/// A transaction on the tables in memory, which can be given up.
struct Undoable<'a> {
    store: &'a mut MapStore,
    undo: Undo,
}

impl Snapshot for Undoable<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(table, key)
    }

    fn cursor<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
    ) -> Result<Box<dyn Cursor + 'a>, StoreError> {
        self.store.cursor(table, from, until)
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        self.store.count(table)
    }
}

impl Writer for Undoable<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.undo.push((table, key.to_vec(), self.store.get(table, key)?));
        self.store.put(table, key, value)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if let Some(before) = self.store.get(table, key)? {
            self.undo.push((table, key.to_vec(), Some(before)));
            self.store.delete(table, key)?;
        }
        Ok(())
    }
}
