//! The disk under the block files: the core's disk in memory, which forgets what was not synced, with faults on top.

use mews_core::block::{
    disk::{DirEntry, Disk, DiskError, Space},
    mem::MemDisk,
};

use crate::fault::Fault;

/// The disk of one machine, outliving its processes.
pub struct SimDisk {
    /// Where the files are.
    pub mem: MemDisk,
    fault: Option<Fault>,
}

impl SimDisk {
    /// An empty disk, with a fault or without.
    pub fn new(fault: Option<Fault>) -> Self {
        Self { mem: MemDisk::new(), fault }
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.mem.create(path, bytes)
    }

    fn sync(&self, paths: &[String]) -> Result<(), DiskError> {
        if self.fault == Some(Fault::FileSync) { Ok(()) } else { self.mem.sync(paths) }
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.mem.rename(from, to)
    }

    fn sync_dirs(&self, paths: &[String]) -> Result<(), DiskError> {
        if self.fault == Some(Fault::DirectorySync) { Ok(()) } else { self.mem.sync_dirs(paths) }
    }

    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        self.mem.create_dir(path)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, DiskError> {
        self.mem.read(path)
    }

    fn stat(&self, path: &str) -> Result<Option<DirEntry>, DiskError> {
        self.mem.stat(path)
    }

    fn unlink(&self, path: &str) -> Result<(), DiskError> {
        self.mem.unlink(path)
    }

    fn list(&self, path: &str) -> Result<Vec<DirEntry>, DiskError> {
        self.mem.list(path)
    }

    fn space(&self, path: &str) -> Result<Space, DiskError> {
        self.mem.space(path)
    }
}
