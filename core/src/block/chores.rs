//! Maintenance of block files: listing, checking, removing orphans, moving between directories.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;

use super::{
    Form,
    chore::{Chore, ChoreReport, Soundness},
    dirs::{LEAVES, leaf_of, parse_name},
    disk::DiskError,
    files::{Counted, Files, failed},
    seal::{self, BLOCK_MAX},
};
use crate::{effect::PeerError, id::Hash, time::Timestamp};

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Files {
    /// Does a piece of maintenance. `counted` is asked by [`Chore::RemoveOrphan`] alone.
    pub fn chore(&self, chore: &Chore, counted: Counted) -> Result<ChoreReport, PeerError> {
        match chore {
            Chore::List { after, limit } => self.list(*after, *limit).map(ChoreReport::Files),
            Chore::Verify(hash) => self.verify(*hash).map(ChoreReport::Checked),
            Chore::RemoveOrphan { block, written_before } => {
                self.remove_orphan(*block, *written_before, counted).map(ChoreReport::Removed)
            }
            Chore::Rebalance(hash) => self.rebalance(*hash).map(ChoreReport::Moved),
        }
    }

    /// Hashes in order. At any time, no more than one leaf folder and the page itself are in memory: with a thousand million
    /// blocks, about 15,000 names.
    fn list(&self, after: Option<Hash>, limit: usize) -> Result<Vec<Hash>, PeerError> {
        let mut page = Vec::new();
        let mut leaf = after.map_or(0, |after| usize::from(leaf_of(after)));
        let mut branch = None;
        let mut present = [false; 256];
        while leaf < LEAVES && page.len() < limit {
            let number = u16::try_from(leaf).expect("below LEAVES");
            let [first, second] = number.to_be_bytes();
            if branch != Some(first) {
                branch = Some(first);
                present = self.leaves_of(first)?;
            }
            if present[usize::from(second)] {
                let found = self.blocks_in(number)?;
                let new = found.into_iter().filter(|hash| after.is_none_or(|after| *hash > after));
                page.extend(new.take(limit - page.len()));
            }
            leaf += 1;
        }
        Ok(page)
    }

    /// Which leaf folders there are under a branch, in any data directory.
    fn leaves_of(&self, first: u8) -> Result<[bool; 256], PeerError> {
        let mut present = [false; 256];
        for dir in &self.dirs.dirs {
            let path = dir.branch(first);
            for entry in self.dirs.disk.list(&path).map_err(|error| failed(&path, error))? {
                let name = entry.name.as_str();
                if name.len() == 2
                    && let Ok(second) = u8::from_str_radix(name, 16)
                {
                    present[usize::from(second)] = true;
                }
            }
        }
        Ok(present)
    }

    fn blocks_in(&self, leaf: u16) -> Result<BTreeSet<Hash>, PeerError> {
        let mut hashes = BTreeSet::new();
        for dir in &self.dirs.dirs {
            let path = dir.leaf(leaf);
            let entries = self.dirs.disk.list(&path).map_err(|error| failed(&path, error))?;
            let found = entries.iter().filter_map(|entry| parse_name(&entry.name));
            // A file in the wrong folder would never be found again by its name: it is a stranger's.
            hashes.extend(found.filter(|hash| leaf_of(*hash) == leaf));
        }
        Ok(hashes)
    }

    fn verify(&self, hash: Hash) -> Result<Soundness, PeerError> {
        match self.load(hash) {
            Ok(_) => {
                // What is left of an earlier file is of no use to anybody. If it cannot go now, the next look finds it.
                if let Err(error) = self.unlink_set_aside(hash) {
                    log::warn!("what was set aside of block {hash} stays: {error}");
                }
                Ok(Soundness::Sound)
            }
            Err(PeerError::Corrupt) => Ok(Soundness::Damaged),
            Err(PeerError::Missing) if self.is_set_aside(hash)? => Ok(Soundness::Damaged),
            Err(PeerError::Missing) => Ok(Soundness::Missing),
            Err(error) => Err(error),
        }
    }

    /// All under the lock of the pins: whoever pins the block afterwards finds it gone, and whoever has pinned it before, and
    /// is done, has left a row that `counted` sees.
    fn remove_orphan(
        &self,
        hash: Hash,
        written_before: Timestamp,
        counted: Counted,
    ) -> Result<bool, PeerError> {
        let removed = self.pins.unless_pinned(hash, 0, || {
            if counted(hash).map_err(PeerError::Store)? || self.is_younger(hash, written_before)? {
                return Ok(false);
            }
            self.unlink_all(hash)
        });
        removed.unwrap_or(Ok(false))
    }

    /// Whether a file of the block was written at this time or in the day after. Later than that is the future: such a date is
    /// from a clock that was wrong, and would protect the file for as long as it was wrong by.
    fn is_younger(&self, hash: Hash, than: Timestamp) -> Result<bool, PeerError> {
        for (_, _, file) in self.dirs.places(hash) {
            let stat = self.dirs.disk.stat(&file).map_err(|error| failed(&file, error))?;
            let day = than.0..than.after(DAY).0;
            if stat.is_some_and(|entry| day.contains(&entry.modified)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves a block to the first directory of its order that has room: copied durably, then unlinked where it was. Somebody
    /// may use it meanwhile; then the old file stays, a spare copy that the next rebalance removes.
    fn rebalance(&self, hash: Hash) -> Result<bool, PeerError> {
        let _pin = self.pin(hash);
        if self.is_only_at_home(hash)? {
            return Ok(false);
        }
        let copies = self.copies(hash)?;
        let Some(first) = copies.first() else { return Ok(false) };
        let wanted = self.dirs.order(hash)[0];
        let home = if first.dir == wanted {
            // It may be there since a moment ago, or since a time when nothing was synced.
            self.make_durable(first.dir, hash, &first.file)?;
            first.dir
        } else {
            match self.dirs.room().take(hash, first.stored.len() as u64) {
                Some(dir) if dir != first.dir => {
                    self.put_copy(dir, hash, first.form, &first.stored)?;
                    dir
                }
                Some(_) | None => return Ok(false),
            }
        };
        let mut moved = false;
        for Copy { file, .. } in copies.iter().filter(|copy| copy.dir != home) {
            let unlinked = self.pins.unless_pinned(hash, 1, || match self.dirs.disk.unlink(file) {
                Ok(()) => Ok(true),
                Err(DiskError::NotFound) => Ok(false),
                Err(error) => Err(failed(file, error)),
            });
            moved |= unlinked.unwrap_or(Ok(false))?;
        }
        Ok(moved)
    }

    /// Whether the block has one file, in the directory where it belongs: then there is nothing to move, and nothing to read.
    fn is_only_at_home(&self, hash: Hash) -> Result<bool, PeerError> {
        let home = self.dirs.order(hash)[0];
        let (mut there, mut elsewhere) = (false, false);
        for (dir, _, file) in self.dirs.places(hash) {
            let stat = self.dirs.disk.stat(&file).map_err(|error| failed(&file, error))?;
            there |= stat.is_some() && dir == home;
            elsewhere |= stat.is_some() && dir != home;
        }
        Ok(there && !elsewhere)
    }

    /// The sound files of a block, in its order of directories. Rarely more than one.
    fn copies(&self, hash: Hash) -> Result<Vec<Copy>, PeerError> {
        let mut copies = Vec::new();
        for (dir, form, file) in self.dirs.places(hash) {
            let stored = match self.dirs.disk.read(&file) {
                Ok(stored) => Bytes::from(stored),
                Err(DiskError::NotFound) => continue,
                Err(error) => return Err(failed(&file, error)),
            };
            if seal::open(hash, form, stored.clone(), BLOCK_MAX).is_ok() {
                copies.push(Copy { dir, form, file, stored });
            }
        }
        Ok(copies)
    }
}

/// A sound file of a block.
struct Copy {
    dir: usize,
    form: Form,
    file: String,
    stored: Bytes,
}
