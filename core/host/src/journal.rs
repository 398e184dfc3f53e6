//! The journal of a database whose commits are not synced one by one, as a file beside it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use mews_core::{
    daemon::{plan, trouble::Trouble},
    store::{
        StoreError,
        journal::{self, Log},
        redb::{Db, Replayed},
    },
};

use crate::{disk, machine};

/// How long a change waits for its sync at most.
const EVERY: Duration = Duration::from_secs(1);

/// The file.
#[derive(Debug)]
struct Journal {
    path: PathBuf,
    file: File,
    header: u64,
    end: u64,
}

impl Journal {
    /// A new one, durably there, so that a start after the machine went down sees that there was one.
    fn create(path: PathBuf) -> io::Result<Self> {
        let header = journal::header(&machine::start_id());
        disk::replace(&path, &header)?;
        let file = OpenOptions::new().write(true).open(&path)?;
        let header = header.len() as u64;
        Ok(Self { path, file, header, end: header })
    }
}

impl Log for Journal {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(self.header)?;
        self.end = self.header;
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        remove(&self.path)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => disk::sync_dir(disk::parent(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn database(meta: &Path) -> impl Fn(StoreError) -> Trouble {
    let path = meta.join(plan::DATABASE).display().to_string();
    move |error| Trouble::Database { path: path.clone(), reason: error.to_string() }
}

fn file(path: &Path) -> impl Fn(io::Error) -> Trouble {
    let path = path.display().to_string();
    move |error| Trouble::file(&path, &error)
}

/// Applies what the last run has left in its journal, durably. Gives whether the end of it may be missing, as the machine was down.
///
/// # Errors
/// The journal cannot be read, or the database not be written.
pub fn replay(db: &Db, meta: &Path) -> Result<bool, Trouble> {
    let path = meta.join(plan::JOURNAL);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(file(&path)(error)),
    };
    let foreign = |what: &str| {
        let aside = meta.join(plan::FOREIGN_JOURNAL);
        log::warn!("{} {what}; it is kept as {}", path.display(), aside.display());
        fs::rename(&path, &aside).map_err(file(&path)).map(|()| true)
    };
    let Some(remains) = journal::open(&bytes, &machine::start_id()) else {
        return foreign("is no journal that this Mews can read");
    };
    match db.replay(remains.records).map_err(database(meta))? {
        Replayed::Records(0) => Ok(remains.torn),
        Replayed::Records(count) => {
            log::info!("{count} transactions that were not synced yet were taken from the journal");
            Ok(remains.torn)
        }
        Replayed::Foreign => foreign("does not belong to this database, which is an older one"),
    }
}

/// Takes away the journal of the last run: all of it is in the database.
///
/// # Errors
/// The file system's.
pub fn end_last(meta: &Path) -> Result<(), Trouble> {
    let path = meta.join(plan::JOURNAL);
    remove(&path).map_err(file(&path))
}

/// From now on commits are not synced one by one, but all of them every second, by a thread that ends with the database.
///
/// # Errors
/// The file system's.
pub fn begin(db: &Arc<Db>, meta: &Path) -> Result<(), Trouble> {
    let path = meta.join(plan::JOURNAL);
    let journal = Journal::create(path.clone()).map_err(file(&path))?;
    db.unsynced(Box::new(journal)).map_err(database(meta))?;
    let weak = Arc::downgrade(db);
    let thread = thread::Builder::new().name("syncer".to_owned());
    thread.spawn(move || sync(&weak)).map_err(machine::system)?;
    Ok(())
}

fn sync(db: &Weak<Db>) {
    loop {
        thread::sleep(EVERY);
        let Some(db) = db.upgrade().filter(|db| db.is_unsynced()) else { return };
        if let Err(error) = db.checkpoint() {
            // The next commit fails for the same reason, and ends the daemon. Until then the journal has everything.
            log::error!("cannot sync the metadata database: {error}");
            return;
        }
    }
}

/// At a clean stop: makes everything durable, so that nothing is lost if the machine is turned off next.
pub fn end(db: &Db) {
    if let Err(error) = db.end_journal() {
        log::error!("cannot sync the metadata database: {error}. Its journal is kept");
    }
}
