//! The data directories: which of them a block belongs to, how its files are named, what makes a directory usable.
//!
//! ```text
//! DIR/mews-marker               tells the directory from the empty mount point of an unmounted disk
//! DIR/blocks/ab/cd/<64 hex>     a block, plain; with .zst, compressed; with .corrupted behind, set aside
//! DIR/tmp/<64 hex>.<n>          being written; wiped at every start
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    Form,
    disk::{Disk, DiskError},
    files::{DataDir, FilesError},
};
use crate::id::Hash;

/// Behind the name of a file that was found damaged.
pub(super) const SET_ASIDE: &str = ".corrupted";

/// The leaf folders `ab/cd` under a data directory.
pub(super) const LEAVES: usize = 1 << 16;

const MARKER: &str = "mews-marker";
const MARKER_TEXT: &[u8] =
    b"This directory holds blocks of a Mews store. Mews starts only if this file is here:\n\
    if it is not, the disk is probably not mounted.\n";

/// One data directory.
pub(super) struct Dir {
    pub(super) path: String,
    capacity: u64,
    pub(super) read_only: bool,
    key: u64,
    /// A bit for each leaf folder whose own name, and those of its parents, are known to be durable.
    leaves: Vec<AtomicU64>,
}

impl Dir {
    fn new(dir: DataDir) -> Self {
        let digest = Hash::of(dir.path.as_bytes());
        Self {
            key: first_u64(&digest.0),
            path: dir.path,
            capacity: dir.capacity.max(1),
            read_only: dir.read_only,
            leaves: (0..LEAVES / 64).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The folder of all blocks.
    pub(super) fn blocks(&self) -> String {
        format!("{}/blocks", self.path)
    }

    /// The folder of the blocks whose hashes begin with this byte.
    pub(super) fn branch(&self, first: u8) -> String {
        format!("{}/blocks/{first:02x}", self.path)
    }

    /// The folder of the blocks whose hashes begin with these two bytes.
    pub(super) fn leaf(&self, leaf: u16) -> String {
        let [first, second] = leaf.to_be_bytes();
        format!("{}/blocks/{first:02x}/{second:02x}", self.path)
    }

    /// Where a block's file is, or would be.
    pub(super) fn file(&self, hash: Hash, form: Form) -> String {
        let suffix = match form {
            Form::Plain => "",
            Form::Zstd => ".zst",
        };
        format!("{}/{hash}{suffix}", self.leaf(leaf_of(hash)))
    }

    pub(super) fn tmp(&self) -> String {
        format!("{}/tmp", self.path)
    }

    pub(super) fn leaf_is_durable(&self, leaf: u16) -> bool {
        self.leaves[usize::from(leaf) / 64].load(Relaxed) & (1 << (leaf % 64)) != 0
    }

    pub(super) fn set_leaf_durable(&self, leaf: u16) {
        self.leaves[usize::from(leaf) / 64].fetch_or(1 << (leaf % 64), Relaxed);
    }
}

/// The leaf folder of a block.
pub(super) fn leaf_of(hash: Hash) -> u16 {
    u16::from_be_bytes([hash.0[0], hash.0[1]])
}

/// The block that a file in a leaf folder belongs to, and whether it was set aside; `None` for a stranger's file.
pub(super) fn parse_name(name: &str) -> Option<Hash> {
    let (hex, rest) = name.split_at_checked(64)?;
    let known = ["", ".zst", ".corrupted", ".zst.corrupted"].contains(&rest);
    known.then(|| Hash::from_hex(hex)).flatten()
}

/// All data directories.
pub(super) struct Dirs {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dirs: Vec<Dir>,
    reserve: Option<u64>,
}

impl Dirs {
    /// Checks the directories, prepares new ones and wipes what half-finished writes left behind.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dirs: Vec<DataDir>,
        reserve: Option<u64>,
        used_before: bool,
    ) -> Result<Self, FilesError> {
        if dirs.is_empty() {
            return Err(FilesError::None);
        }
        if dirs.iter().all(|dir| dir.read_only) {
            log::warn!("every data directory is read-only: new blocks will be refused");
        }
        for (i, dir) in dirs.iter().enumerate() {
            if dirs[..i].iter().any(|other| other.path == dir.path) {
                return Err(FilesError::Twice { path: dir.path.clone() });
            }
        }
        for dir in &dirs {
            prepare(&*disk, dir, used_before).map_err(|failure| failure.at(&dir.path))?;
        }
        let dirs = dirs.into_iter().map(Dir::new).collect();
        Ok(Self { disk, dirs, reserve })
    }

    /// The directories in the order in which this block would have them: the writable ones by weighted rendezvous hashing
    /// (Thaler and Ravishankar 1998, with the weights of Schindelhauer and Schomaker 2005), so that adding a directory moves
    /// only its fair share; then the read-only ones.
    pub(super) fn order(&self, hash: Hash) -> Vec<usize> {
        let block = first_u64(&hash.0[8..]);
        let mut order: Vec<(usize, u64)> = (0..self.dirs.len())
            .map(|index| (index, minus_log2(mix(block ^ self.dirs[index].key))))
            .collect();
        order.sort_by(|(a, log_a), (b, log_b)| {
            let (dir_a, dir_b) = (&self.dirs[*a], &self.dirs[*b]);
            // Score = capacity / log, greatest first; multiplied out, because integers are the same on every machine.
            let score_a = u128::from(dir_a.capacity) * u128::from(*log_b);
            let score_b = u128::from(dir_b.capacity) * u128::from(*log_a);
            let by_score = score_b.cmp(&score_a);
            dir_a.read_only.cmp(&dir_b.read_only).then(by_score).then(a.cmp(b))
        });
        order.into_iter().map(|(index, _)| index).collect()
    }

    /// Every path at which a file of this block may be, likeliest first.
    pub(super) fn places(&self, hash: Hash) -> Vec<(usize, Form, String)> {
        let forms = [Form::Plain, Form::Zstd];
        let order = self.order(hash).into_iter();
        order
            .flat_map(|index| forms.map(|form| (index, form, self.dirs[index].file(hash, form))))
            .collect()
    }

    /// What may still be written now, directory by directory.
    pub(super) fn room(&self) -> Room<'_> {
        Room { dirs: self, left: vec![None; self.dirs.len()] }
    }
}

/// A count of the space that one group of blocks may use. Groups on several threads do not see each other's counts; what they
/// overdraw (threads × one group, a few dozen MiB) comes out of the reserve.
pub(super) struct Room<'a> {
    dirs: &'a Dirs,
    left: Vec<Option<u64>>,
}

impl Room<'_> {
    /// The first writable directory in the block's order with room for `len` bytes, which are then taken.
    pub(super) fn take(&mut self, hash: Hash, len: u64) -> Option<usize> {
        let order = self.dirs.order(hash).into_iter();
        let mut writable = order.filter(|index| !self.dirs.dirs[*index].read_only);
        writable.find(|index| {
            let left = self.left(*index);
            let fits = left >= len;
            if fits {
                self.left[*index] = Some(left - len);
            }
            fits
        })
    }

    fn left(&mut self, index: usize) -> u64 {
        if let Some(left) = self.left[index] {
            return left;
        }
        let path = &self.dirs.dirs[index].path;
        let left = match self.dirs.disk.space(path) {
            Ok(space) => space.spare(self.dirs.reserve),
            Err(error) => {
                log::error!("data directory {path}: {error}; nothing is written to it");
                0
            }
        };
        self.left[index] = Some(left);
        left
    }
}

enum Failure {
    Disk(DiskError),
    NoMarker,
}

impl Failure {
    fn at(self, path: &str) -> FilesError {
        let path = path.to_owned();
        match self {
            Self::Disk(error) => FilesError::Disk { path, error },
            Self::NoMarker => FilesError::NoMarker { marker: format!("{path}/{MARKER}"), path },
        }
    }
}

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

fn prepare(disk: &dyn Disk, dir: &DataDir, used_before: bool) -> Result<(), Failure> {
    let path = &dir.path;
    let marker = format!("{path}/{MARKER}");
    let marked = disk.stat(&marker)?.is_some();
    if !marked && used_before {
        return Err(Failure::NoMarker);
    }
    if dir.read_only {
        // Nothing is written here, not even a marker: the file system may be read-only too.
        return Ok(());
    }
    let (blocks, tmp) = (format!("{path}/blocks"), format!("{path}/tmp"));
    disk.create_dir(&blocks)?;
    disk.create_dir(&tmp)?;
    for left_behind in disk.list(&tmp)? {
        disk.unlink(&format!("{tmp}/{}", left_behind.name))?;
    }
    if !marked {
        // By way of a temporary file: a marker is whole or not there.
        let new = format!("{tmp}/{MARKER}");
        disk.create(&new, MARKER_TEXT)?;
        disk.sync(std::slice::from_ref(&new))?;
        disk.rename(&new, &marker)?;
    }
    // The directory's own name too: on the first start we may just have created it.
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let parent = if parent.is_empty() && path.starts_with('/') { "/" } else { parent };
    disk.sync_dirs(&[path.clone(), parent.to_owned()])?;
    Ok(())
}

fn first_u64(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Spreads the bits of a number: the finalizer of splitmix64 (Steele, Lea and Flood 2014).
fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// −log₂(x / 2⁶⁴) in units of 2⁻³², at least 1. Fixed point: floats may differ in the last bit between machines.
fn minus_log2(x: u64) -> u64 {
    let x = x.max(1);
    let zeros = x.leading_zeros();
    // 1 ≤ m < 2, as a fixed-point number of 63 fractional bits. Squaring doubles the logarithm, bit by bit.
    let mut m = x << zeros;
    let mut fraction = 0;
    for _ in 0..32 {
        let square = (u128::from(m) * u128::from(m)) >> 63;
        let carry = square >> 64 != 0;
        fraction = fraction << 1 | u64::from(carry);
        let square = if carry { square >> 1 } else { square };
        m = u64::try_from(square).expect("less than 2, hence below 2^64");
    }
    (u64::from(zeros + 1) << 32) - fraction
}
