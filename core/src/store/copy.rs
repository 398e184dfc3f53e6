//! A copy of a database, made while it serves.

use ::redb::{Builder, Database, ReadOnlyDatabase, ReadableDatabase, StorageBackend};

use super::{
    BOOT_KEY, Cursor, FORMAT_KEY, Snapshot, StoreError, Table,
    redb::{DbSnapshot, OpenError, check_format, definition, engine},
};

/// Bytes of rows that are committed at a time: as many are dirty in memory at most, and the disk gets a rest after each.
const CHUNK: usize = 4 << 20;

/// redb's page cache for the copy: rows come in order, so each page is written once.
const CACHE: usize = 16 << 20;

/// Copies all rows of a snapshot into a new database on `backend`, which is empty. `rest` is called after each piece, and may take
/// its time: the snapshot does not change. Says how many rows there are.
///
/// # Errors
/// What either engine reports. What is on `backend` then is of no use.
pub fn copy(
    snapshot: &DbSnapshot,
    backend: impl StorageBackend,
    rest: &mut dyn FnMut(),
) -> Result<u64, StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    let database = builder.create_with_backend(backend).map_err(engine)?;
    let mut rows = 0;
    for table in Table::ALL {
        let mut cursor = snapshot.cursor(table, &[], None)?;
        while let Some(copied) = chunk(&database, table, &mut *cursor)? {
            rows += copied;
            rest();
        }
    }
    Ok(rows)
}

/// Copies the next rows of a table; `None` at its end. The table is made even if it has none.
fn chunk(
    database: &Database,
    table: Table,
    cursor: &mut (dyn Cursor + '_),
) -> Result<Option<u64>, StoreError> {
    let mut transaction = database.begin_write().map_err(engine)?;
    transaction.set_quick_repair(true);
    let (mut rows, mut bytes) = (0, 0);
    {
        let mut into = transaction.open_table(definition(table)).map_err(engine)?;
        while bytes < CHUNK && cursor.advance()? {
            into.insert(cursor.key(), cursor.value()).map_err(engine)?;
            bytes += cursor.key().len() + cursor.value().len();
            rows += 1;
        }
    }
    transaction.commit().map_err(engine)?;
    Ok((rows > 0).then_some(rows))
}

/// How often the database on `backend` was opened, if it is one of this format, whole and closed cleanly. Changes nothing.
///
/// # Errors
/// What keeps it from being opened.
pub fn check(backend: impl StorageBackend) -> Result<u64, OpenError> {
    let database: ReadOnlyDatabase = Builder::new().open_read_only_with_backend(backend)?;
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(definition(Table::Meta))?;
    let marker = meta.get(FORMAT_KEY)?;
    check_format(marker.as_ref().map(::redb::AccessGuard::value))?;
    let boot = meta.get(BOOT_KEY)?.map(|boot| boot.value().try_into().map(u64::from_be_bytes));
    match boot {
        Some(Ok(boot)) => Ok(boot),
        Some(Err(_)) | None => Err(OpenError::Damaged("it has no boot counter".to_owned())),
    }
}
