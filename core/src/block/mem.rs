//! A file system in memory that forgets what was not synced.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::disk::{DirEntry, Disk, DiskError, Space};
use crate::seed::Seed;

/// A [`Disk`] for tests and for the simulator. It keeps two states: what a running process sees, and what has been made
/// durable. [`MemDisk::crash`] leaves of the first only what a power failure might leave. The root is the empty path or `/`.
#[derive(Default)]
pub struct MemDisk(Mutex<State>);

#[derive(Clone, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    names: Names,
    durable_names: Names,
    clock: u64,
    total: Option<u64>,
    steps: u64,
    failure: Option<Failure>,
}

type Names = BTreeMap<String, Entry>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(u64),
    Dir,
}

#[derive(Clone)]
struct Inode {
    bytes: Vec<u8>,
    durable: Option<Vec<u8>>,
    modified: u64,
}

#[derive(Clone, Copy)]
struct Failure {
    step: u64,
    for_ever: bool,
}

impl MemDisk {
    /// An empty disk of unlimited size.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked with the lock held has failed anyway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the time that files written from now on carry, in milliseconds since the epoch.
    pub fn set_clock(&self, millis: u64) {
        self.lock().clock = millis;
    }

    /// Limits the disk to so many bytes of file contents.
    pub fn set_total(&self, bytes: u64) {
        self.lock().total = Some(bytes);
    }

    /// How many operations that change something (syncs among them) have been asked for.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// Makes the operation fail that comes when [`MemDisk::steps`] is at `step`, and all later ones too if `for_ever`.
    pub fn fail_at(&self, step: u64, for_ever: bool) {
        self.lock().failure = Some(Failure { step, for_ever });
    }

    /// A power failure: of each change that was not made durable, `seed` decides whether and how far it got to the platter. An
    /// injected failure ends with it.
    pub fn crash(&self, seed: &mut Seed) {
        self.lock().crash(seed);
    }

    /// The process is killed, the machine runs on: nothing is forgotten. An injected failure ends with it.
    pub fn kill(&self) {
        self.lock().failure = None;
    }

    /// Changes a file's bytes behind everybody's back, on the platter too. Panics if there is no such file.
    pub fn damage(&self, path: &str, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let Some(Entry::File(inode)) = state.names.get(path).copied() else {
            panic!("no file {path}");
        };
        let inode = state.inodes.get_mut(&inode).expect("names refer to inodes");
        damage(&mut inode.bytes);
        inode.durable = Some(inode.bytes.clone());
    }

    /// The paths of all files, in order.
    pub fn files(&self) -> Vec<String> {
        let state = self.lock();
        let files = state.names.iter().filter(|(_, entry)| matches!(entry, Entry::File(_)));
        files.map(|(path, _)| path.clone()).collect()
    }
}

impl State {
    /// Counts an operation, and fails it if it is the one.
    fn step(&mut self) -> Result<(), DiskError> {
        let step = self.steps;
        self.steps += 1;
        match self.failure {
            Some(failure) if step == failure.step || (failure.for_ever && step > failure.step) => {
                Err(DiskError::Other("injected failure".to_owned()))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn dir_exists(&self, path: &str) -> bool {
        path.is_empty() || path == "/" || self.names.get(path) == Some(&Entry::Dir)
    }

    fn file(&self, path: &str) -> Result<&Inode, DiskError> {
        match self.names.get(path) {
            Some(Entry::File(inode)) => Ok(&self.inodes[inode]),
            Some(Entry::Dir) => Err(DiskError::Other("is a directory".to_owned())),
            None => Err(DiskError::NotFound),
        }
    }

    /// Bytes that may still be written.
    fn free(&self) -> u64 {
        self.total.map_or(u64::MAX, |total| total.saturating_sub(self.used()))
    }

    /// Bytes of the files that a running process sees.
    fn used(&self) -> u64 {
        let files = self.names.values().filter_map(|entry| match entry {
            Entry::File(inode) => self.inodes.get(inode),
            Entry::Dir => None,
        });
        files.map(|inode| inode.bytes.len() as u64).sum()
    }

    /// Forgets contents that no name leads to any more, today or after a crash. Looks only once there may be many.
    fn drop_unnamed(&mut self) {
        if self.inodes.len() < 2 * (self.names.len() + self.durable_names.len()) + 16 {
            return;
        }
        let named: BTreeSet<u64> = self
            .names
            .values()
            .chain(self.durable_names.values())
            .filter_map(|entry| match entry {
                Entry::File(inode) => Some(*inode),
                Entry::Dir => None,
            })
            .collect();
        self.inodes.retain(|inode, _| named.contains(inode));
    }

    fn crash(&mut self, seed: &mut Seed) {
        let paths: BTreeSet<String> =
            self.names.keys().chain(self.durable_names.keys()).cloned().collect();
        let mut names = Names::new();
        for path in paths {
            let (new, old) = (self.names.get(&path), self.durable_names.get(&path));
            let survivor = if new == old || seed.below(2) == 0 { old } else { new };
            // In order of path, a folder comes before what is in it.
            if let Some(entry) = survivor
                && parents(&path).all(|parent| names.get(parent) == Some(&Entry::Dir))
            {
                names.insert(path, *entry);
            }
        }
        for inode in self.inodes.values_mut() {
            if inode.durable.as_ref() != Some(&inode.bytes) {
                inode.bytes = torn(inode, seed);
                inode.durable = Some(inode.bytes.clone());
            }
        }
        self.names.clone_from(&names);
        self.durable_names = names;
        self.failure = None;
        self.drop_unnamed();
    }
}

/// What is left of a file whose bytes were not synced: the old ones, a beginning of the new ones, that with zeros to its
/// full length, or all.
fn torn(inode: &Inode, seed: &mut Seed) -> Vec<u8> {
    let len = inode.bytes.len();
    let cut = usize::try_from(seed.below(len as u64 + 1)).expect("at most a file's length");
    match seed.below(4) {
        0 => inode.durable.clone().unwrap_or_default(),
        1 => inode.bytes[..cut].to_vec(),
        2 => {
            let mut bytes = inode.bytes[..cut].to_vec();
            bytes.resize(len, 0);
            bytes
        }
        _ => inode.bytes.clone(),
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// What is in a folder, itself and not in the folders below.
fn inside<'a>(names: &'a Names, path: &'a str) -> impl Iterator<Item = (&'a String, &'a Entry)> {
    // The root's entries begin with anything; all others with their folder's path.
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    names
        .range(prefix.clone()..)
        .take_while(move |(name, _)| name.starts_with(&prefix))
        .filter(move |(name, _)| parent(name) == path)
}

/// All folders above, the root excepted.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(parent(path)), |path| Some(parent(path)))
        .take_while(|path| !path.is_empty())
}

impl Disk for MemDisk {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.lock();
        state.step()?;
        if !state.dir_exists(parent(path)) {
            return Err(DiskError::NotFound);
        }
        let free = state.free();
        let fits = usize::try_from(free).unwrap_or(usize::MAX).min(bytes.len());
        let inode = Inode { bytes: bytes[..fits].to_vec(), durable: None, modified: state.clock };
        let number = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(number, inode);
        state.names.insert(path.to_owned(), Entry::File(number));
        if fits < bytes.len() { Err(DiskError::NoSpace) } else { Ok(()) }
    }

    fn sync(&self, paths: &[String]) -> Result<(), DiskError> {
        let mut state = self.lock();
        for path in paths {
            state.step()?;
            state.file(path)?;
            if let Some(Entry::File(inode)) = state.names.get(path).copied()
                && let Some(inode) = state.inodes.get_mut(&inode)
            {
                inode.durable = Some(inode.bytes.clone());
            }
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut state = self.lock();
        state.step()?;
        state.file(from)?;
        if !state.dir_exists(parent(to)) {
            return Err(DiskError::NotFound);
        }
        if let Some(entry) = state.names.remove(from) {
            state.names.insert(to.to_owned(), entry);
        }
        state.drop_unnamed();
        Ok(())
    }

    fn sync_dirs(&self, paths: &[String]) -> Result<(), DiskError> {
        let mut state = self.lock();
        for path in paths {
            state.step()?;
            if !state.dir_exists(path) {
                return Err(DiskError::NotFound);
            }
            let path = path.trim_end_matches('/');
            let now: Vec<(String, Entry)> =
                inside(&state.names, path).map(|(name, entry)| (name.clone(), *entry)).collect();
            let before: Vec<String> =
                inside(&state.durable_names, path).map(|(name, _)| name.clone()).collect();
            for name in before {
                state.durable_names.remove(&name);
            }
            state.durable_names.extend(now);
        }
        state.drop_unnamed();
        Ok(())
    }

    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        let mut state = self.lock();
        state.step()?;
        for dir in parents(path).chain([path]) {
            match state.names.get(dir) {
                Some(Entry::File(_)) => {
                    return Err(DiskError::Other("not a directory".to_owned()));
                }
                Some(Entry::Dir) => {}
                None => drop(state.names.insert(dir.to_owned(), Entry::Dir)),
            }
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, DiskError> {
        self.lock().file(path).map(|inode| inode.bytes.clone())
    }

    fn stat(&self, path: &str) -> Result<Option<DirEntry>, DiskError> {
        let state = self.lock();
        match state.file(path) {
            Ok(inode) => Ok(Some(entry(path, inode))),
            Err(DiskError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn unlink(&self, path: &str) -> Result<(), DiskError> {
        let mut state = self.lock();
        state.step()?;
        state.file(path)?;
        state.names.remove(path);
        state.drop_unnamed();
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<DirEntry>, DiskError> {
        let state = self.lock();
        let path = path.trim_end_matches('/');
        Ok(inside(&state.names, path)
            .map(|(name, what)| match what {
                Entry::File(inode) => entry(name, &state.inodes[inode]),
                Entry::Dir => DirEntry { name: base(name), len: 0, modified: 0 },
            })
            .collect())
    }

    fn space(&self, _path: &str) -> Result<Space, DiskError> {
        let state = self.lock();
        Ok(Space { total: state.total.unwrap_or(u64::MAX), available: state.free() })
    }
}

fn base(path: &str) -> String {
    path.rsplit_once('/').map_or(path, |(_, base)| base).to_owned()
}

fn entry(path: &str, inode: &Inode) -> DirEntry {
    DirEntry { name: base(path), len: inode.bytes.len() as u64, modified: inode.modified }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_synced_is_sure_to_survive() {
        let (mut lost, mut kept) = (0, 0);
        for n in 0..64 {
            let disk = MemDisk::new();
            disk.create_dir("d").unwrap();
            disk.sync_dirs(&[String::new()]).unwrap();
            disk.create("d/sure", b"abc").unwrap();
            disk.sync(&["d/sure".to_owned()]).unwrap();
            disk.sync_dirs(&["d".to_owned()]).unwrap();
            disk.create("d/unsynced", b"abc").unwrap();
            disk.crash(&mut Seed::new([n; 32]));
            assert_eq!(disk.read("d/sure").unwrap(), b"abc");
            match disk.read("d/unsynced") {
                Ok(bytes) if bytes == b"abc" => kept += 1,
                _ => lost += 1,
            }
        }
        assert!(lost > 16 && kept > 4, "{lost} lost, {kept} kept: a crash must be able to do both");
    }

    #[test]
    fn a_file_does_not_survive_its_folder() {
        let lost = (0..64).filter(|n| {
            let disk = MemDisk::new();
            disk.create_dir("d").unwrap();
            disk.create("d/f", b"abc").unwrap();
            disk.sync(&["d/f".to_owned()]).unwrap();
            disk.sync_dirs(&["d".to_owned()]).unwrap();
            disk.crash(&mut Seed::new([*n; 32]));
            disk.files().is_empty()
        });
        assert!(lost.count() > 8, "the name of `d` was never synced");
    }

    #[test]
    fn a_full_disk_keeps_what_was_written_of_a_file() {
        let disk = MemDisk::new();
        disk.set_total(2);
        assert_eq!(disk.create("f", b"abc"), Err(DiskError::NoSpace));
        assert_eq!(disk.read("f").unwrap(), b"ab");
        assert_eq!(disk.space("").unwrap().available, 0);
    }
}
