//! The block store of one node: files named by the hash of what is in them, over an injected [`Disk`].
//!
//! What it promises, whatever the moment of a crash or a power failure:
//! - a block that [`Files::store`] has accepted is there afterwards (unless `data_fsync = off`);
//! - a file under a block's name that does not hold that block is never taken for it: every read is verified;
//! - a block that is pinned, or that a row counts, is never unlinked.
//!
//! After a crash there may be files that no row counts. The orphan job finds them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

pub use super::pins::Pin;
use super::{
    Form, Payload,
    dirs::{Dirs, Room, SET_ASIDE, leaf_of},
    disk::{Disk, DiskError},
    pins::Pins,
    seal::{BLOCK_MAX, open},
};
use crate::{effect::PeerError, id::Hash, metrics::Metrics, store::StoreError};

/// A directory that holds blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    /// Its path, relative to the disk's root or absolute, as the shell likes; without a slash at its end.
    pub path: String,
    /// Its share of the blocks, relative to the other directories' capacities. In bytes, by convention.
    pub capacity: u64,
    /// Blocks in it are read and reaped; new ones are not put there.
    pub read_only: bool,
}

/// When blocks become durable: `data_fsync` in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataFsync {
    /// Blocks that arrive together share their syncs. An acknowledged block survives power loss.
    #[default]
    Batch,
    /// Each block is synced for itself. An acknowledged block survives power loss.
    Each,
    /// The operating system writes when it likes: an acknowledged block survives a kill of the process, not power loss.
    Off,
}

/// How the block store works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesOptions {
    /// When blocks become durable.
    pub fsync: DataFsync,
    /// Bytes that stay free on each file system, so that deletes still work when it is full. By default 5 % of it or 1 GiB,
    /// whichever is smaller.
    pub reserve: Option<u64>,
    /// Whether there are blocks already ([`holds_blocks`](crate::store::read::holds_blocks)): then a data directory without its
    /// marker file is a disk that is not mounted, and the start is refused.
    pub used_before: bool,
}

/// Why the block store cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesError {
    /// No directory is configured.
    None,
    /// One directory is configured twice.
    Twice {
        /// Which.
        path: String,
    },
    /// The directory is not what it was when the store ran last.
    NoMarker {
        /// The directory.
        path: String,
        /// The file that ought to be in it.
        marker: String,
    },
    /// The directory cannot be read or prepared.
    Disk {
        /// The directory.
        path: String,
        /// Why.
        error: DiskError,
    },
}

impl std::fmt::Display for FilesError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => write!(f, "no data directory is configured: set `data_dir`"),
            Self::Twice { path } => write!(f, "data directory {path} is configured twice"),
            Self::NoMarker { path, marker } => write!(
                f,
                "data directory {path} has no marker file: is its disk mounted? \
                 If it is a new, empty directory, create the file {marker} and start again"
            ),
            Self::Disk { path, error } => write!(f, "data directory {path}: {error}"),
        }
    }
}

impl std::error::Error for FilesError {}

/// Tells from the database, as of now and not from an older snapshot, whether a row counts this block
/// ([`Table::BlockCount`](crate::store::Table::BlockCount) has a row for it). Called while pinning is held up.
pub type Counted<'a> = &'a dyn Fn(Hash) -> Result<bool, StoreError>;

/// The block store. All methods block on the disk and may be called from many threads.
pub struct Files {
    pub(super) dirs: Dirs,
    pub(super) pins: Arc<Pins>,
    fsync: DataFsync,
    /// Makes the names of temporary files differ.
    next_tmp: AtomicU64,
    metrics: Arc<Metrics>,
}

/// A block of a group on its way to its place in one data directory.
struct Piece {
    /// Which of the group.
    index: usize,
    hash: Hash,
    /// What was created; `None` if a sound file was there before.
    tmp: Option<String>,
    file: String,
}

impl Piece {
    /// Where the bytes are now.
    fn written(&self) -> &String {
        self.tmp.as_ref().unwrap_or(&self.file)
    }
}

/// What a file turned out to be.
enum Found {
    Nothing,
    Damaged(String),
    Sound(Payload),
}

impl Files {
    /// Opens the data directories: checks their markers (writes them on the first start) and wipes temporary files. Takes a
    /// time that does not depend on how much is stored.
    pub fn open(
        disk: Arc<dyn Disk>,
        dirs: Vec<DataDir>,
        options: FilesOptions,
    ) -> Result<Self, FilesError> {
        let FilesOptions { fsync, reserve, used_before } = options;
        Ok(Self {
            dirs: Dirs::open(disk, dirs, reserve, used_before)?,
            pins: Arc::default(),
            fsync,
            next_tmp: AtomicU64::new(0),
            metrics: Arc::default(),
        })
    }

    /// The same store, which counts in these metrics from now on.
    #[must_use]
    pub fn metered(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Where it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Keeps the block's files from being unlinked for as long as the pin lives. [`Effect::StoreBlock`] holds one from before
    /// [`Files::store`] until the rows that refer to the block are committed.
    ///
    /// [`Effect::StoreBlock`]: crate::effect::Effect::StoreBlock
    pub fn pin(&self, hash: Hash) -> Pin {
        self.pins.pin(hash)
    }

    /// Stores blocks, with shared syncs unless configured otherwise; gives a result for each, in order. A block that is there
    /// already is compared, and its file synced like a new one: it may be a write that nobody was told of yet.
    ///
    /// Errors: [`PeerError::Full`] if only the reserve is left, [`PeerError::Disk`].
    pub fn store(&self, blocks: &[Payload]) -> Vec<Result<(), PeerError>> {
        let _pins: Vec<Pin> = blocks.iter().map(|block| self.pin(block.hash())).collect();
        match self.fsync {
            DataFsync::Batch | DataFsync::Off => self.store_group(blocks),
            DataFsync::Each => blocks
                .iter()
                .flat_map(|block| self.store_group(std::slice::from_ref(block)))
                .collect(),
        }
    }

    /// Reads a block and verifies it; the result is in [`Form::Plain`].
    ///
    /// Errors: [`PeerError::Missing`]; [`PeerError::Corrupt`] if every file of it was damaged (they are set aside, with
    /// `.corrupted` behind their names); [`PeerError::Disk`].
    pub fn load(&self, hash: Hash) -> Result<Payload, PeerError> {
        match self.load_pass(hash) {
            // A block that is being moved can be missed: not yet in the first directory, no longer in the second.
            Err(PeerError::Missing) if self.dirs.dirs.len() > 1 => self.load_pass(hash),
            done => done,
        }
    }

    fn load_pass(&self, hash: Hash) -> Result<Payload, PeerError> {
        let mut error = PeerError::Missing;
        for (_, form, file) in self.dirs.places(hash) {
            match self.look(hash, form, &file) {
                Ok(Found::Sound(payload)) => return Ok(payload),
                Ok(Found::Nothing) => {}
                Ok(Found::Damaged(reason)) => match self.set_aside(hash, form, &file, &reason) {
                    Some(payload) => return Ok(payload),
                    None => error = PeerError::Corrupt,
                },
                Err(failure) => {
                    log::error!("{file}: {failure}");
                    error = failed(&file, failure);
                }
            }
        }
        Err(error)
    }

    /// Which of these blocks there is a file of, unverified.
    ///
    /// Errors: [`PeerError::Disk`].
    pub fn holds(&self, blocks: &[Hash]) -> Result<Vec<bool>, PeerError> {
        let held = |hash: &Hash| {
            for (_, _, file) in self.dirs.places(*hash) {
                match self.dirs.disk.stat(&file) {
                    Ok(Some(_)) => return Ok(true),
                    Ok(None) => {}
                    Err(error) => return Err(failed(&file, error)),
                }
            }
            Ok(false)
        };
        blocks.iter().map(held).collect()
    }

    /// Unlinks blocks that a commit has [reaped](crate::store::Applied::reaped), after that commit. Those that are pinned, or
    /// counted again by now, stay. Says how many are gone; a failure of one (the first is returned) does not keep the others.
    pub fn unlink_reaped(&self, hashes: &[Hash], counted: Counted) -> Result<usize, PeerError> {
        let mut unlinked = 0;
        let mut first_error = None;
        for hash in hashes {
            let removed = self.pins.unless_pinned(*hash, 0, || {
                if counted(*hash).map_err(PeerError::Store)? {
                    return Ok(false);
                }
                self.unlink_all(*hash)
            });
            match removed.unwrap_or(Ok(false)) {
                Ok(removed) => unlinked += usize::from(removed),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(unlinked), Err)
    }

    /// Unlinks every file of a block, set-aside ones too, and says whether there was any.
    pub(super) fn unlink_all(&self, hash: Hash) -> Result<bool, PeerError> {
        let mut any = false;
        for (_, _, file) in self.dirs.places(hash) {
            for file in [format!("{file}{SET_ASIDE}"), file] {
                match self.dirs.disk.unlink(&file) {
                    Ok(()) => any = true,
                    Err(DiskError::NotFound) => {}
                    Err(error) => return Err(failed(&file, error)),
                }
            }
        }
        if any {
            self.metrics.blocks.deleted.increment();
        }
        Ok(any)
    }

    /// Unlinks the damaged files of a block that were set aside.
    pub(super) fn unlink_set_aside(&self, hash: Hash) -> Result<(), PeerError> {
        for (_, _, file) in self.dirs.places(hash) {
            let file = format!("{file}{SET_ASIDE}");
            match self.dirs.disk.unlink(&file) {
                Ok(()) => log::info!("{file}: removed, the block is sound again"),
                Err(DiskError::NotFound) => {}
                Err(error) => return Err(failed(&file, error)),
            }
        }
        Ok(())
    }

    /// Whether a damaged file of a block was set aside.
    pub(super) fn is_set_aside(&self, hash: Hash) -> Result<bool, PeerError> {
        for (_, _, file) in self.dirs.places(hash) {
            let file = format!("{file}{SET_ASIDE}");
            if self.dirs.disk.stat(&file).map_err(|error| failed(&file, error))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads one file and verifies it.
    fn look(&self, hash: Hash, form: Form, file: &str) -> Result<Found, DiskError> {
        let stored = match self.dirs.disk.read(file) {
            Ok(stored) => stored,
            Err(DiskError::NotFound) => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        self.metrics.blocks.read.add(stored.len() as u64);
        Ok(match open(hash, form, stored.into(), BLOCK_MAX) {
            Ok(payload) => Found::Sound(payload),
            Err(error) => Found::Damaged(error.to_string()),
        })
    }

    /// Renames a damaged file out of the way, unless a writer is about to replace it or has just done so: then the good block
    /// is returned. A file that cannot be renamed stays, and is found damaged again.
    fn set_aside(&self, hash: Hash, form: Form, file: &str, reason: &str) -> Option<Payload> {
        let found = self.pins.unless_pinned(hash, 0, || {
            let found = self.look(hash, form, file)?;
            if let Found::Damaged(_) = found {
                log::error!("{file}: {reason}; set aside as {file}{SET_ASIDE}");
                self.dirs.disk.rename(file, &format!("{file}{SET_ASIDE}"))?;
                self.metrics.blocks.corrupted.increment();
            }
            Ok(found)
        });
        match found {
            Some(Ok(Found::Sound(payload))) => Some(payload),
            Some(Ok(Found::Damaged(_) | Found::Nothing)) | None => None,
            Some(Err(error)) => {
                let error: DiskError = error;
                log::error!("{file}: {reason}; it cannot be set aside: {error}");
                None
            }
        }
    }

    fn store_group(&self, blocks: &[Payload]) -> Vec<Result<(), PeerError>> {
        let mut results = vec![Ok(()); blocks.len()];
        let mut firsts = BTreeMap::new();
        let mut room = self.dirs.room();
        let mut by_dir: BTreeMap<usize, Vec<Piece>> = BTreeMap::new();
        for (index, block) in blocks.iter().enumerate() {
            if firsts.contains_key(&block.hash()) {
                continue;
            }
            firsts.insert(block.hash(), index);
            match self.begin(index, block, &mut room) {
                Ok((dir, piece)) => by_dir.entry(dir).or_default().push(piece),
                Err(error) => results[index] = Err(error),
            }
        }
        // Directory by directory, so that a failing disk fails only what was meant for it.
        for (dir, pieces) in by_dir {
            let durable = self.fsync != DataFsync::Off;
            for (index, result) in self.settle(dir, pieces, durable) {
                results[index] = result;
            }
        }
        for (index, block) in blocks.iter().enumerate() {
            let first = firsts[&block.hash()];
            results[index] = results[first].clone();
        }
        results
    }

    /// Finds the block, or creates a temporary file for it.
    fn begin(
        &self,
        index: usize,
        block: &Payload,
        room: &mut Room,
    ) -> Result<(usize, Piece), PeerError> {
        let hash = block.hash();
        if let Some((dir, file)) = self.held(block) {
            return Ok((dir, Piece { index, hash, tmp: None, file }));
        }
        let (form, bytes) = block.stored();
        let dir = room.take(hash, bytes.len() as u64).ok_or(PeerError::Full)?;
        let piece = self.create(index, dir, hash, form, bytes)?;
        Ok((dir, piece))
    }

    /// Creates a temporary file with these bytes.
    fn create(
        &self,
        index: usize,
        dir: usize,
        hash: Hash,
        form: Form,
        bytes: &[u8],
    ) -> Result<Piece, PeerError> {
        let home = &self.dirs.dirs[dir];
        let tmp = format!("{}/{hash}.{}", home.tmp(), self.next_tmp.fetch_add(1, Relaxed));
        if let Err(error) = self.dirs.disk.create(&tmp, bytes) {
            self.discard(&tmp);
            return Err(failed(&tmp, error));
        }
        self.metrics.blocks.written.add(bytes.len() as u64);
        Ok(Piece { index, hash, tmp: Some(tmp), file: home.file(hash, form) })
    }

    /// Where a sound file of this block is, if there is one. Its bytes are compared, so that an upload replaces what has been
    /// damaged since the last one.
    fn held(&self, block: &Payload) -> Option<(usize, String)> {
        let (form, bytes) = block.stored();
        let mut places = self.dirs.places(block.hash()).into_iter();
        let (dir, _, file) = places.find(|(_, found, file)| {
            if *found == form {
                self.dirs.disk.read(file).is_ok_and(|stored| stored == **bytes)
            } else {
                matches!(self.look(block.hash(), *found, file), Ok(Found::Sound(_)))
            }
        })?;
        Some((dir, file))
    }

    /// Makes the pieces of one directory durable and visible: sync, rename, sync the folders.
    fn settle(
        &self,
        dir: usize,
        mut pieces: Vec<Piece>,
        durable: bool,
    ) -> Vec<(usize, Result<(), PeerError>)> {
        let disk = &*self.dirs.disk;
        if durable {
            let written: Vec<String> = pieces.iter().map(|piece| piece.written().clone()).collect();
            if let Err(error) = disk.sync(&written) {
                // Whether any of them is durable is not known, and syncing again would not tell.
                pieces
                    .iter()
                    .filter_map(|piece| piece.tmp.as_ref())
                    .for_each(|tmp| self.discard(tmp));
                let error = failed(&self.dirs.dirs[dir].path, error);
                return pieces.iter().map(|piece| (piece.index, Err(error.clone()))).collect();
            }
        }
        let mut results = Vec::with_capacity(pieces.len());
        pieces.retain(|piece| match self.show(dir, piece) {
            Ok(()) => true,
            Err(error) => {
                results.push((piece.index, Err(failed(&piece.file, error))));
                false
            }
        });
        let synced = if durable { self.sync_folders(dir, &pieces) } else { Ok(()) };
        results.extend(pieces.iter().map(|piece| (piece.index, synced.clone())));
        results
    }

    /// Gives a temporary file its name.
    fn show(&self, dir: usize, piece: &Piece) -> Result<(), DiskError> {
        let Some(tmp) = &piece.tmp else { return Ok(()) };
        let disk = &*self.dirs.disk;
        let renamed = match disk.rename(tmp, &piece.file) {
            Err(DiskError::NotFound) => {
                let leaf = self.dirs.dirs[dir].leaf(leaf_of(piece.hash));
                disk.create_dir(&leaf).and_then(|()| disk.rename(tmp, &piece.file))
            }
            done => done,
        };
        if renamed.is_err() {
            self.discard(tmp);
        }
        renamed
    }

    /// Makes the names of these files durable, and those of the folders above where this process has not done that before:
    /// another writer, or an earlier process, may have created a folder and not come to sync it.
    fn sync_folders(&self, dir: usize, pieces: &[Piece]) -> Result<(), PeerError> {
        let home = &self.dirs.dirs[dir];
        let mut leaves: Vec<u16> = pieces.iter().map(|piece| leaf_of(piece.hash)).collect();
        leaves.sort_unstable();
        leaves.dedup();
        let mut folders: Vec<String> = leaves.iter().map(|leaf| home.leaf(*leaf)).collect();
        let mut branches: Vec<u8> = Vec::new();
        let new = leaves.iter().filter(|leaf| !home.leaf_is_durable(**leaf));
        branches.extend(new.map(|leaf| leaf.to_be_bytes()[0]));
        branches.dedup();
        if !branches.is_empty() {
            folders.extend(branches.iter().map(|branch| home.branch(*branch)));
            folders.push(home.blocks());
        }
        if folders.is_empty() {
            return Ok(());
        }
        self.dirs.disk.sync_dirs(&folders).map_err(|error| failed(&home.path, error))?;
        leaves.iter().for_each(|leaf| home.set_leaf_durable(*leaf));
        Ok(())
    }

    /// Puts a copy of a block, as it is stored, into a directory, durably whatever is configured.
    pub(super) fn put_copy(
        &self,
        dir: usize,
        hash: Hash,
        form: Form,
        bytes: &[u8],
    ) -> Result<(), PeerError> {
        let piece = self.create(0, dir, hash, form, bytes)?;
        let mut results = self.settle(dir, vec![piece], true);
        results.pop().map_or(Ok(()), |(_, result)| result)
    }

    /// Makes a file that is in its place already durable, whatever is configured.
    pub(super) fn make_durable(&self, dir: usize, hash: Hash, file: &str) -> Result<(), PeerError> {
        let piece = Piece { index: 0, hash, tmp: None, file: file.to_owned() };
        let mut results = self.settle(dir, vec![piece], true);
        results.pop().map_or(Ok(()), |(_, result)| result)
    }

    /// Removes a temporary file that is of no use any more. If that fails too, the next start wipes it.
    fn discard(&self, tmp: &str) {
        match self.dirs.disk.unlink(tmp) {
            Ok(()) | Err(DiskError::NotFound) => {}
            Err(error) => log::warn!("{tmp}: {error}; it stays until the next start"),
        }
    }
}

/// The error as the rest of the core knows it.
pub(super) fn failed(path: &str, error: DiskError) -> PeerError {
    match error {
        DiskError::NoSpace => PeerError::Full,
        DiskError::NotFound | DiskError::Other(_) => PeerError::Disk(format!("{path}: {error}")),
    }
}
