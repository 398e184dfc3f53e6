//! The file system, as the block store asks for it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use mews_core::{
    block::disk::{DirEntry, Disk, DiskError, Space},
    daemon::plan,
};

/// From so many files on, one flush of the whole file system is cheaper than one of each.
const SYNCFS_FROM: usize = 8;

/// The file system. Paths are relative to a directory, or absolute.
#[derive(Debug)]
pub struct StdDisk {
    root: PathBuf,
}

impl StdDisk {
    /// The disk seen from this directory.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Makes the whole file system durable that a file or directory is on.
    fn sync_all(&self, path: &str) -> Result<(), DiskError> {
        let file = File::open(self.at(path)).map_err(failed)?;
        rustix::fs::syncfs(file).map_err(|error| failed(error.into()))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
fn failed(error: io::Error) -> DiskError {
    match error.kind() {
        io::ErrorKind::NotFound => DiskError::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::NoSpace,
        _ => DiskError::Other(error.to_string()),
    }
}

fn entry(name: &std::ffi::OsStr, meta: &fs::Metadata) -> DirEntry {
    let modified = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    DirEntry {
        name: name.to_string_lossy().into_owned(),
        len: meta.len(),
        modified: modified.map_or(0, |at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// The directory that a file's name is in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
/// The file system's.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Creates a directory and its parents, durably, readable by nobody else.
///
/// # Errors
/// The file system's.
pub fn create_dirs(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(plan::DIR_MODE).create(path) {
        Ok(()) => sync_dir(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_dirs(parent(path))?;
            DirBuilder::new().mode(plan::DIR_MODE).create(path)?;
            sync_dir(parent(path))
        }
        Err(error) => Err(error),
    }
}

/// Replaces a small file, so that after a crash either the old one or the new one is there, whole. Readable by nobody else.
///
/// # Errors
/// The file system's.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let tmp = path.with_added_extension("tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(plan::SECRET_MODE)
        .open(&tmp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&tmp, path)?;
    sync_dir(parent(path))
}

impl Disk for StdDisk {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(plan::SECRET_MODE);
        options.open(self.at(path)).and_then(|mut file| file.write_all(bytes)).map_err(failed)
    }

    fn sync(&self, paths: &[String]) -> Result<(), DiskError> {
        if paths.len() >= SYNCFS_FROM {
            return self.sync_all(&paths[0]);
        }
        paths.iter().try_for_each(|path| {
            File::open(self.at(path)).and_then(|file| file.sync_data()).map_err(failed)
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        fs::rename(self.at(from), self.at(to)).map_err(failed)
    }

    fn sync_dirs(&self, paths: &[String]) -> Result<(), DiskError> {
        if paths.len() >= SYNCFS_FROM {
            return self.sync_all(&paths[0]);
        }
        paths.iter().try_for_each(|path| sync_dir(&self.at(path)).map_err(failed))
    }

    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(plan::DIR_MODE).create(self.at(path)).map_err(failed)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, DiskError> {
        fs::read(self.at(path)).map_err(failed)
    }

    fn stat(&self, path: &str) -> Result<Option<DirEntry>, DiskError> {
        let path = self.at(path);
        match fs::metadata(&path) {
            Ok(meta) => Ok(Some(entry(path.file_name().unwrap_or_default(), &meta))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn unlink(&self, path: &str) -> Result<(), DiskError> {
        fs::remove_file(self.at(path)).map_err(failed)
    }

    fn list(&self, path: &str) -> Result<Vec<DirEntry>, DiskError> {
        let entries = match fs::read_dir(self.at(path)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut found = Vec::new();
        for item in entries {
            let item = item.map_err(failed)?;
            match item.metadata() {
                Ok(meta) => found.push(entry(&item.file_name(), &meta)),
                // Unlinked between the two calls.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(found)
    }

    fn space(&self, path: &str) -> Result<Space, DiskError> {
        let stat = rustix::fs::statvfs(self.at(path)).map_err(|error| failed(error.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Space { total: bytes(stat.f_blocks), available: bytes(stat.f_bavail) })
    }
}
