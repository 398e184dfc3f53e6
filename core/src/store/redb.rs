//! The tables in redb, over a backend that the shell injects: a file, or the simulator's disk that tears and forgets.
//!
//! Every commit is durable, unless there is a [journal](super::journal), and saves the allocator's state ("quick repair"), so that reopening after a kill takes
//! milliseconds at any size. Measured, with the price: two flushes a commit instead of one, which group commit shares among
//! all who wait.

mod error;
mod unsynced;

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use ::redb::{
    AccessGuard, Builder, Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    ReadableTable, ReadableTableMetadata, StorageBackend, TableDefinition, TableHandle,
    WriteTransaction,
};

pub use self::error::OpenError;
use self::unsynced::Journal;
pub use self::unsynced::Replayed;
use super::{
    BOOT_KEY, Batch, Cursor, FINGERPRINTED_KEY, FORMAT_KEY, LOST, Outcome, SYNCED_KEY, Snapshot,
    StoreError, Table, Writer,
    apply::{Delays, apply},
    digest,
};
use crate::metrics::Metrics;

/// What [`FORMAT_KEY`] holds: the name, and the number of the format.
const FORMAT: (&str, u32) = ("mews", 1);

type Bytes = &'static [u8];

pub(super) fn definition(table: Table) -> TableDefinition<'static, Bytes, Bytes> {
    TableDefinition::new(table.name())
}

fn index(table: Table) -> usize {
    let at = Table::ALL.iter().position(|t| *t == table);
    at.expect("every table is in Table::ALL")
}

pub(super) fn engine(error: impl Into<::redb::Error>) -> StoreError {
    StoreError::Engine(error.into().to_string())
}

/// One open database. Reads from any thread; commits from the shell's one writer.
pub struct Db {
    database: Database,
    delays: Delays,
    boot: u64,
    /// The snapshot of the last commit, if anybody has asked for one since: opening one, and its tables, costs more than a
    /// read from it.
    latest: Mutex<Option<Arc<DbSnapshot>>>,
    /// Where commits go that are not synced one by one. Locked for the whole of each commit, so that the two have one order.
    journal: Mutex<Option<Journal>>,
    metrics: Arc<Metrics>,
}

impl Db {
    /// Opens the database on `backend`, or creates it where the backend is empty, and counts the boot.
    ///
    /// `cache_bytes` bounds redb's own page cache; everything else it keeps is small.
    ///
    /// # Errors
    /// See [`OpenError`]. A database that is refused is left as it was.
    pub fn open(
        backend: impl StorageBackend,
        cache_bytes: usize,
        delays: Delays,
    ) -> Result<Self, OpenError> {
        let open = || {
            if is_begun_only(&backend).map_err(disk)? {
                backend.set_len(0).map_err(disk)?;
            }
            let mut builder = Builder::new();
            builder.set_cache_size(cache_bytes);
            builder.set_repair_callback(|session| {
                let done = session.progress() * 100.0;
                log::warn!(
                    "the metadata database was not closed cleanly; checking it: {done:.0} %"
                );
            });
            let database = builder.create_with_backend(backend)?;
            let boot = count_boot(&database)?;
            fingerprint(&database)?;
            let (latest, journal) = (Mutex::default(), Mutex::default());
            Ok(Self { database, delays, boot, latest, journal, metrics: Arc::default() })
        };
        // redb trusts the pages of a file that was closed cleanly, so rot in it may surface as a panic.
        catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(OpenError::Damaged(text.unwrap_or("no reason given").to_owned()))
        })
    }

    /// The same database, which counts in these metrics from now on.
    #[must_use]
    pub fn metered(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Where it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How often this database has been opened, this time included.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Counts on from `before`, the last start of the node that is remembered elsewhere: this database is an older one, put back.
    /// If it is `incomplete`, it no longer says that it has all that its node is to have.
    ///
    /// # Errors
    /// What the engine reports; nothing has changed then.
    pub fn count_on(&mut self, before: u64, incomplete: bool) -> Result<(), StoreError> {
        let boot = self.boot.max(before.saturating_add(1));
        let transaction = self.database.begin_write().map_err(engine)?;
        {
            let mut meta = transaction.open_table(definition(Table::Meta)).map_err(engine)?;
            meta.insert(BOOT_KEY, &boot.to_be_bytes()[..]).map_err(engine)?;
            if incomplete {
                meta.insert(SYNCED_KEY, &LOST.to_be_bytes()[..]).map_err(engine)?;
            }
        }
        transaction.commit().map_err(engine)?;
        self.boot = boot;
        Ok(())
    }

    /// The state as of the last commit. Later commits do not change it; while it lives, their pages are kept apart from it.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine has failed before.
    pub fn snapshot(&self) -> Result<DbSnapshot, StoreError> {
        let transaction = self.database.begin_read().map_err(engine)?;
        Ok(DbSnapshot { transaction, tables: Default::default() })
    }

    /// Like [`Db::snapshot`], but shared by all who ask before the next commit.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine has failed before.
    pub fn latest(&self) -> Result<Arc<DbSnapshot>, StoreError> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = &*latest {
            return Ok(Arc::clone(snapshot));
        }
        let snapshot = Arc::new(self.snapshot()?);
        *latest = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// Applies these batches in order, in one transaction, and commits it: durably, or to the [journal](Db::unsynced). Gives what became of each: a refused or
    /// damaged batch changes nothing and does not disturb its neighbours.
    ///
    /// # Errors
    /// [`StoreError::Engine`]: the disk failed. All of the batches or none are in the database, and which is only known after
    /// opening it again. The process must not go on writing.
    pub fn commit(
        &self,
        batches: &[Batch],
    ) -> Result<Vec<Result<Outcome, StoreError>>, StoreError> {
        // A batch that cannot be applied leaves half of itself in the transaction. So the transaction is given up and done
        // again without it, which is dear, and as rare as a damaged row.
        let mut damaged: BTreeMap<usize, StoreError> = BTreeMap::new();
        let mut journal = self.journal();
        loop {
            let mut transaction = self.database.begin_write().map_err(engine)?;
            match *journal {
                Some(_) => transaction.set_durability(Durability::None).map_err(engine)?,
                None => transaction.set_quick_repair(true),
            }
            match self.apply_all(batches, &transaction, &damaged) {
                Ok(outcomes) => {
                    let applied =
                        outcomes.iter().any(|outcome| matches!(outcome, Ok(Outcome::Applied(_))));
                    if applied {
                        if let Some(journal) = &mut *journal {
                            journal.append(batches, &outcomes, &transaction)?;
                        }
                        transaction.commit().map_err(engine)?;
                        self.committed();
                        self.checkpoint_if_full(&mut journal)?;
                    } else {
                        transaction.abort().map_err(engine)?;
                    }
                    return Ok(outcomes);
                }
                Err((at, error @ StoreError::Damaged { .. })) => {
                    log::error!("a batch was not applied: {error}");
                    transaction.abort().map_err(engine)?;
                    damaged.insert(at, error);
                }
                Err((_, error @ (StoreError::Engine(_) | StoreError::Closed))) => {
                    return Err(error);
                }
            }
        }
    }

    /// Before anybody is told: whoever knows of a commit reads it.
    fn committed(&self) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        drop(latest.take());
    }

    fn apply_all(
        &self,
        batches: &[Batch],
        transaction: &WriteTransaction,
        damaged: &BTreeMap<usize, StoreError>,
    ) -> Result<Vec<Result<Outcome, StoreError>>, (usize, StoreError)> {
        let metrics = Some(&*self.metrics);
        let mut tables = Transaction { transaction, tables: Default::default(), metrics };
        let outcomes = batches.iter().enumerate().map(|(at, batch)| match damaged.get(&at) {
            Some(error) => Ok(Err(error.clone())),
            None => match apply(batch, &mut tables, &self.delays) {
                Ok(outcome) => Ok(Ok(outcome)),
                Err(error) => Err((at, error)),
            },
        });
        outcomes.collect()
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Db(boot {})", self.boot)
    }
}

fn disk(error: std::io::Error) -> OpenError {
    OpenError::Disk(error.to_string())
}

/// Whether a crash has broken off redb's creation of the file. It writes its header without the magic number first, and the
/// magic number last; until then it has nothing else in the file, and would refuse it for ever after.
fn is_begun_only(backend: &impl StorageBackend) -> std::io::Result<bool> {
    /// The header of redb's format, and all that a creation writes.
    const HEADER: usize = 512;
    const MAGIC: usize = 9;
    /// Longer than redb makes a new file.
    const LONGEST: u64 = 8 << 20;
    let len = backend.len()?;
    let mut magic = [0; MAGIC];
    if len < HEADER as u64 || len > LONGEST {
        return Ok(false);
    }
    backend.read(0, &mut magic)?;
    if magic != [0; MAGIC] {
        return Ok(false);
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    backend.read(0, &mut bytes)?;
    Ok(bytes[HEADER..].iter().all(|byte| *byte == 0))
}

/// Checks the format marker, or writes it together with the tables if there is nothing yet, and adds one to the boot counter.
fn count_boot(database: &Database) -> Result<u64, OpenError> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let empty = transaction.list_tables()?.next().is_none();
    let ours = empty || transaction.list_tables()?.any(|t| t.name() == Table::Meta.name());
    if !ours {
        transaction.abort()?;
        return Err(OpenError::Foreign("a redb file of another program".to_owned()));
    }
    let boot = {
        let mut meta = transaction.open_table(definition(Table::Meta))?;
        if empty {
            let marker = format!("{} {}", FORMAT.0, FORMAT.1);
            meta.insert(FORMAT_KEY, marker.as_bytes())?;
        } else {
            let marker = meta.get(FORMAT_KEY)?;
            check_format(marker.as_ref().map(AccessGuard::value))?;
        }
        let boot = match meta.get(BOOT_KEY)? {
            Some(value) => {
                let bytes = value.value().try_into();
                let bytes = bytes
                    .map_err(|_| OpenError::Damaged("the boot counter is no number".into()))?;
                u64::from_be_bytes(bytes)
            }
            None if empty => 0,
            None => return Err(OpenError::Damaged("the boot counter is missing".to_owned())),
        };
        let boot = boot + 1;
        meta.insert(BOOT_KEY, &boot.to_be_bytes()[..])?;
        boot
    };
    for table in Table::ALL {
        // A table that a later release of this format adds is created here too.
        transaction.open_table(definition(table))?;
    }
    transaction.commit()?;
    Ok(boot)
}

/// Makes the fingerprints of a database that has none yet, or not of all its rows. Others would take it for empty where it is not.
fn fingerprint(database: &Database) -> Result<(), OpenError> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let failed = |error: StoreError| match error {
        StoreError::Damaged { .. } => OpenError::Damaged(error.to_string()),
        StoreError::Engine(_) | StoreError::Closed => OpenError::Disk(error.to_string()),
    };
    {
        let mut tables =
            Transaction { transaction: &transaction, tables: Default::default(), metrics: None };
        if tables.get(Table::Meta, FINGERPRINTED_KEY).map_err(failed)?.is_none() {
            let rows = digest::rebuild(&mut tables).map_err(failed)?;
            if rows > 0 {
                log::info!(
                    "fingerprints of {rows} rows were made, to compare them with other nodes'"
                );
            }
            tables.put(Table::Meta, FINGERPRINTED_KEY, b"1").map_err(failed)?;
        } else {
            drop(tables);
            transaction.abort()?;
            return Ok(());
        }
    }
    transaction.commit()?;
    Ok(())
}

pub(super) fn check_format(marker: Option<&[u8]>) -> Result<(), OpenError> {
    let foreign = || OpenError::Foreign("it has no format marker of ours".to_owned());
    let marker = marker.and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or_else(foreign)?;
    let (name, number) = marker.split_once(' ').ok_or_else(foreign)?;
    let format: u32 = number.parse().map_err(|_| foreign())?;
    if name != FORMAT.0 {
        Err(foreign())
    } else if format > FORMAT.1 {
        Err(OpenError::Newer { format })
    } else {
        Ok(())
    }
}

type TableCells<T> = [T; Table::ALL.len()];

/// A consistent view of a [`Db`]. May be shared by threads.
pub struct DbSnapshot {
    transaction: ReadTransaction,
    /// Opened when first asked for, since most reads want one or two.
    tables: TableCells<OnceLock<ReadOnlyTable<Bytes, Bytes>>>,
}

impl DbSnapshot {
    fn table(&self, table: Table) -> Result<&ReadOnlyTable<Bytes, Bytes>, StoreError> {
        let cell = &self.tables[index(table)];
        if let Some(open) = cell.get() {
            return Ok(open);
        }
        let open = self.transaction.open_table(definition(table)).map_err(engine)?;
        Ok(cell.get_or_init(|| open))
    }
}

impl Snapshot for DbSnapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.table(table)?.get(key).map_err(engine)?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn cursor<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
    ) -> Result<Box<dyn Cursor + 'a>, StoreError> {
        cursor(self.table(table)?, from, until)
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        self.table(table)?.len().map_err(engine)
    }
}

fn cursor<'a, T: ReadableTable<Bytes, Bytes>>(
    table: &'a T,
    from: &[u8],
    until: Option<&[u8]>,
) -> Result<Box<dyn Cursor + 'a>, StoreError> {
    if until.is_some_and(|until| until <= from) {
        return Ok(Box::new(RangeCursor { range: None, row: None }));
    }
    let until = until.map_or(Bound::Unbounded, Bound::Excluded);
    let range = table.range::<&[u8]>((Bound::Included(from), until)).map_err(engine)?;
    Ok(Box::new(RangeCursor { range: Some(range), row: None }))
}

struct RangeCursor<'a> {
    /// `None` where the range is empty from the start.
    range: Option<::redb::Range<'a, Bytes, Bytes>>,
    row: Option<(AccessGuard<'a, Bytes>, AccessGuard<'a, Bytes>)>,
}

impl Cursor for RangeCursor<'_> {
    fn advance(&mut self) -> Result<bool, StoreError> {
        self.row = match self.range.as_mut().and_then(Iterator::next) {
            Some(row) => Some(row.map_err(engine)?),
            None => None,
        };
        Ok(self.row.is_some())
    }

    fn key(&self) -> &[u8] {
        self.row.as_ref().expect("advance has returned true").0.value()
    }

    fn value(&self) -> &[u8] {
        self.row.as_ref().expect("advance has returned true").1.value()
    }
}

/// The write transaction as the transaction body sees it: each table opened once, when first touched.
struct Transaction<'t> {
    transaction: &'t WriteTransaction,
    tables: TableCells<OnceCell<::redb::Table<'t, Bytes, Bytes>>>,
    metrics: Option<&'t Metrics>,
}

impl<'t> Transaction<'t> {
    fn table(&self, table: Table) -> Result<&::redb::Table<'t, Bytes, Bytes>, StoreError> {
        let cell = &self.tables[index(table)];
        if let Some(open) = cell.get() {
            return Ok(open);
        }
        let open = self.transaction.open_table(definition(table)).map_err(engine)?;
        Ok(cell.get_or_init(|| open))
    }

    fn table_mut(
        &mut self,
        table: Table,
    ) -> Result<&mut ::redb::Table<'t, Bytes, Bytes>, StoreError> {
        self.table(table)?;
        Ok(self.tables[index(table)].get_mut().expect("it was just opened"))
    }
}

impl Snapshot for Transaction<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.table(table)?.get(key).map_err(engine)?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn cursor<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
    ) -> Result<Box<dyn Cursor + 'a>, StoreError> {
        cursor(self.table(table)?, from, until)
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        self.table(table)?.len().map_err(engine)
    }
}

impl Writer for Transaction<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.table_mut(table)?.insert(key, value).map_err(engine)?;
        if let Some(metrics) = self.metrics {
            metrics.table(table).updates.increment();
        }
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        let removed = self.table_mut(table)?.remove(key).map_err(engine)?.is_some();
        if let Some(metrics) = self.metrics.filter(|_| removed) {
            metrics.table(table).deletes.increment();
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "redb_tests.rs"]
mod tests;
