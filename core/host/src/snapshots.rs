//! Snapshots of the database, and putting one back.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, TryLockError},
    thread,
    time::{Duration, Instant},
};

use mews_core::{
    block::disk::Disk,
    daemon::{plan, trouble::Trouble},
    effect::{PeerError, Shot},
    store::{
        copy,
        redb::{Db, OpenError},
    },
    time::Timestamp,
};
use redb::backends::FileBackend;

use crate::disk::{self, StdDisk};

/// The longest rest between two pieces of a copy.
const REST_MAX: Duration = Duration::from_secs(2);

/// Where the snapshots are.
#[derive(Debug)]
pub struct Snapshots {
    dir: PathBuf,
    /// The database's file.
    database: PathBuf,
    /// Held while one is made.
    making: Mutex<()>,
}

impl Snapshots {
    /// Those in this directory, which need not be there, of this database.
    pub fn new(dir: PathBuf, database: PathBuf) -> Self {
        Self { dir, database, making: Mutex::new(()) }
    }

    /// Does what an [`Effect::Snapshot`](mews_core::effect::Effect::Snapshot) asks for, and says which snapshots there are then. It
    /// blocks, for as long as a copy takes.
    ///
    /// # Errors
    /// [`PeerError::Busy`] if a snapshot is being made; what disk and database report.
    pub fn perform(&self, db: &Db, shot: Shot) -> Result<Vec<Timestamp>, PeerError> {
        match shot {
            Shot::List => {}
            Shot::Take { at, rest } => {
                let _making = match self.making.try_lock() {
                    Ok(making) => making,
                    Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                    Err(TryLockError::WouldBlock) => return Err(PeerError::Busy),
                };
                self.take(db, at, rest)?;
            }
            Shot::Remove { at } => {
                let path = self.dir.join(plan::snapshot_name(at));
                remove(&path).map_err(|error| told(&path, &error))?;
            }
        }
        self.list().map_err(|error| told(&self.dir, &error))
    }

    fn list(&self) -> io::Result<Vec<Timestamp>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            found.extend(plan::snapshot_of(&entry?.file_name().to_string_lossy()));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn take(&self, db: &Db, at: Timestamp, rest: u32) -> Result<(), PeerError> {
        let dir = |error: io::Error| told(&self.dir, &error);
        disk::create_dirs(&self.dir).map_err(dir)?;
        let path = self.dir.join(plan::snapshot_name(at));
        // No name of a snapshot, so that what a crash leaves is none.
        let partial = self.dir.join(plan::SNAPSHOT_PARTIAL);
        remove(&partial).map_err(|error| told(&partial, &error))?;
        let needed = fs::metadata(&self.database).map_err(|e| told(&self.database, &e))?.len();
        let space = StdDisk::new(Path::new(".")).space(&self.dir.display().to_string());
        let space = space.map_err(|error| PeerError::Disk(error.to_string()))?;
        let spare = space.spare(None);
        if spare < needed {
            let reason = format!(
                "no room for a snapshot in {}: the database has {needed} bytes, and {spare} are free beside the reserve",
                self.dir.display()
            );
            return Err(PeerError::Disk(reason));
        }
        disk::create_dirs(&partial).map_err(|error| told(&partial, &error))?;
        let file = partial.join(plan::DATABASE);
        let made = self.copy(db, &file, rest).and_then(|rows| {
            sync_all(&[&file, &partial]).map_err(|error| told(&file, &error))?;
            fs::rename(&partial, &path).map_err(|error| told(&path, &error))?;
            sync_all(&[&self.dir]).map_err(dir)?;
            Ok(rows)
        });
        match made {
            Ok(rows) => {
                log::info!("snapshot {} of the metadata: {rows} rows", path.display());
                Ok(())
            }
            Err(error) => {
                if let Err(left) = remove(&partial) {
                    log::warn!("cannot remove {}: {left}", partial.display());
                }
                Err(error)
            }
        }
    }

    fn copy(&self, db: &Db, to: &Path, rest: u32) -> Result<u64, PeerError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(plan::SECRET_MODE);
        let file = options.open(to).map_err(|error| told(to, &error))?;
        let backend = FileBackend::new(file).map_err(|error| PeerError::Disk(error.to_string()))?;
        let mut began = Instant::now();
        let mut yielding = || {
            thread::sleep(began.elapsed().saturating_mul(rest).min(REST_MAX));
            began = Instant::now();
        };
        let rows = db.snapshot().and_then(|rows| copy::copy(&rows, backend, &mut yielding));
        rows.map_err(PeerError::Store)
    }
}

/// Removes a directory with all that is in it; one that is not there is as good.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_all(paths: &[&Path]) -> io::Result<()> {
    paths.iter().try_for_each(|path| File::open(path)?.sync_all())
}

fn told(path: &Path, error: &io::Error) -> PeerError {
    PeerError::Disk(format!("{}: {error}", path.display()))
}

/// The names of the snapshots in this directory.
pub(crate) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let all = Snapshots::new(dir.to_owned(), PathBuf::new()).list()?;
    Ok(all.into_iter().map(plan::snapshot_name).collect())
}

/// The database's file of a snapshot that an operator has named: its directory or that file, or its name among `dir`'s.
pub(crate) fn find(from: &str, dir: &Path) -> Option<PathBuf> {
    let candidates = [PathBuf::from(from), dir.join(from)];
    let files = candidates.into_iter().flat_map(|path| [path.join(plan::DATABASE), path]);
    files.into_iter().find(|path| path.is_file())
}

/// Puts the database of a snapshot in the place of `database`. What was there is kept beside it, under the name that is given back.
pub(crate) fn put_back(from: &Path, database: &Path, aside: &Path) -> Result<bool, Trouble> {
    let trouble = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| Trouble::file(&path, &error)
    };
    let fresh = database.with_extension("restored");
    fs::copy(from, &fresh).map_err(trouble(&fresh))?;
    let mut mode = fs::metadata(&fresh).map_err(trouble(&fresh))?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, plan::SECRET_MODE);
    fs::set_permissions(&fresh, mode).map_err(trouble(&fresh))?;
    sync_all(&[&fresh]).map_err(trouble(&fresh))?;
    let kept = match fs::rename(database, aside) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(trouble(database)(error)),
    };
    fs::rename(&fresh, database).map_err(trouble(database))?;
    if let Some(dir) = database.parent() {
        sync_all(&[dir]).map_err(trouble(dir))?;
    }
    Ok(kept)
}

/// How often the database in this file was opened, if it is a whole one of ours.
pub(crate) fn check(path: &Path) -> Result<u64, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let backend = FileBackend::new(file).map_err(|error| error.to_string())?;
    copy::check(backend).map_err(|error: OpenError| error.to_string())
}
