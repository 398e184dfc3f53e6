//! The few things the block store asks of a file system: injected, so that the simulator can tear and forget.
//!
//! Durability is spelled out in small steps, because their order is what a crash tests: [`Disk::create`] and
//! [`Disk::sync`] make the bytes durable, [`Disk::rename`] makes them visible, [`Disk::sync_dirs`] makes the name durable.

use std::fmt;

pub use super::mem::MemDisk;

/// A failure of the disk, in the operating system's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// No such file.
    NotFound,
    /// No space left on the device.
    NoSpace,
    /// Anything else.
    Other(String),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => write!(f, "no such file"),
            Self::NoSpace => write!(f, "no space left on the device"),
            Self::Other(reason) => write!(f, "{reason}"),
        }
    }
}

impl std::error::Error for DiskError {}

/// Space on the file system that a directory is on, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What we may still use.
    pub available: u64,
}

/// What stays free by default, at most: a delete writes little, but the database may have to grow before it can shrink. Its
/// largest transaction (4 MiB of rows, each row on pages of its own) touches some 64 MiB of pages, and free pages are only
/// used again by the next but one; several times that.
const RESERVE_MAX: u64 = 1 << 30;

/// What stays free by default, as a share of a small file system: one part in so many.
const RESERVE_SHARE: u64 = 20;

impl Space {
    /// What may be used while `reserve` bytes stay free, so that deletes still work on a full disk. By default 5 % or 1 GiB,
    /// whichever is smaller.
    pub fn spare(self, reserve: Option<u64>) -> u64 {
        let reserve = reserve.unwrap_or_else(|| RESERVE_MAX.min(self.total / RESERVE_SHARE));
        self.available.saturating_sub(reserve)
    }
}

/// What one entry of a directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name, without the path.
    pub name: String,
    /// Its size in bytes.
    pub len: u64,
    /// When it was last written, in milliseconds since the epoch.
    pub modified: u64,
}

/// A file system. Paths are relative to a root that the shell chose, with `/` between components. All calls block; the
/// shell makes them on threads made for that. Methods take `&self`: many threads work at once.
pub trait Disk: Send + Sync {
    /// Creates (or truncates) a file with these bytes. Not yet durable.
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), DiskError>;
    /// Makes the bytes of these files durable. Many at once, so that one flush of the device can serve them all; all of one
    /// call are in one data directory, hence on one file system.
    fn sync(&self, paths: &[String]) -> Result<(), DiskError>;
    /// Gives a file another name in the same file system, replacing what had it. Atomic; not yet durable.
    /// [`DiskError::NotFound`] if the file, or the directory of its new name, is not there.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;
    /// Makes the names in these directories durable. The root is the empty path. All of one call are on one file system, unless
    /// they are a data directory and the one above it.
    fn sync_dirs(&self, paths: &[String]) -> Result<(), DiskError>;
    /// Creates a directory and its missing parents; no error if it is there. Not yet durable: the name of a directory is, once
    /// its parent has been through [`Disk::sync_dirs`].
    fn create_dir(&self, path: &str) -> Result<(), DiskError>;
    /// The whole of a file.
    fn read(&self, path: &str) -> Result<Vec<u8>, DiskError>;
    /// Whether there is a file, and when it was written.
    fn stat(&self, path: &str) -> Result<Option<DirEntry>, DiskError>;
    /// Removes a file.
    fn unlink(&self, path: &str) -> Result<(), DiskError>;
    /// The entries of a directory, subdirectories among them, in any order; empty if there is no such directory.
    fn list(&self, path: &str) -> Result<Vec<DirEntry>, DiskError>;
    /// Space where a directory is.
    fn space(&self, path: &str) -> Result<Space, DiskError>;
}
