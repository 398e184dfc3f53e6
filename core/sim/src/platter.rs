//! What the metadata database stands on: a disk of 512-byte sectors that forgets and tears what was not synced.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mews_core::seed::Seed;
use redb::StorageBackend;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

type Sector = [u8; SECTOR];

/// One file on a disk, outliving the processes that have it open.
#[derive(Clone, Default)]
pub struct Platter(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What a running process reads.
    current: Vec<u8>,
    /// What is sure to be there after a power failure.
    durable: Vec<u8>,
    /// What was written to each sector since the last sync, oldest first: any of it may have reached the disk.
    unsynced: BTreeMap<usize, Vec<Sector>>,
    /// Counts crashes: a process of an earlier epoch has lost its hold on the file.
    epoch: u64,
    steps: u64,
    stop_at: Option<u64>,
    /// A planted fault: syncs that only claim to have been done.
    lying: bool,
}

impl Platter {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A simulation that panicked has failed anyway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, for the process that starts now.
    pub fn open(&self) -> Handle {
        Handle { platter: self.clone(), epoch: self.lock().epoch }
    }

    /// How many operations that change something (syncs among them) were asked for.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// From the step of this number on, nothing is done any more until the next crash: the power fails in the middle of
    /// whatever is under way.
    pub fn stop_at(&self, step: u64) {
        self.lock().stop_at = Some(step);
    }

    /// Whether the step given to [`Platter::stop_at`] has come.
    pub fn has_stopped(&self) -> bool {
        let state = self.lock();
        state.stop_at.is_some_and(|stop| state.steps > stop)
    }

    /// Plants a fault: from now on syncs do nothing.
    pub fn lie_about_syncs(&self) {
        self.lock().lying = true;
    }

    /// The process dies, and with it all that it has open; the machine and its caches live on.
    pub fn kill(&self) {
        let mut state = self.lock();
        state.epoch += 1;
        state.stop_at = None;
    }

    /// A power failure: of every sector, what was synced is there, or something written since.
    pub fn crash(&self, seed: &mut Seed) {
        let mut state = self.lock();
        state.epoch += 1;
        state.stop_at = None;
        let mut left = std::mem::take(&mut state.durable);
        let grown = state.current.len();
        if left.len() != grown && seed.below(2) == 0 {
            left.resize(grown, 0);
        }
        // From "nearly nothing got there" to "nearly all": both ends find bugs that the middle does not.
        let odds = [1, 4, 8, 12, 15];
        let odds = odds[usize::try_from(seed.below(5)).unwrap_or(0)];
        for (sector, versions) in std::mem::take(&mut state.unsynced) {
            let at = sector * SECTOR;
            if seed.below(16) >= odds || at >= left.len() {
                continue;
            }
            // The last version is the likeliest, as the one that the cache held.
            let pick =
                if seed.below(4) == 0 { seed.below(versions.len() as u64) } else { u64::MAX };
            let pick = usize::try_from(pick).unwrap_or(usize::MAX).min(versions.len() - 1);
            let end = left.len().min(at + SECTOR);
            left[at..end].copy_from_slice(&versions[pick][..end - at]);
        }
        state.current.clone_from(&left);
        state.durable = left;
    }

    /// Another disk, with the file as a process reads it now, all of it synced.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.lock();
        let (current, lying) = (state.current.clone(), state.lying);
        let durable = current.clone();
        Self(Arc::new(Mutex::new(State { current, durable, lying, ..State::default() })))
    }

    /// A fingerprint of the file as a process reads it.
    pub fn fingerprint(&self) -> [u8; 32] {
        *blake3::hash(&self.lock().current).as_bytes()
    }
}

impl fmt::Debug for Platter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Platter({} B)", self.lock().current.len())
    }
}

/// The file as one process has it open.
#[derive(Debug)]
pub struct Handle {
    platter: Platter,
    epoch: u64,
}

impl Handle {
    /// The state, unless the process is dead.
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.platter.lock();
        if state.epoch == self.epoch {
            Ok(state)
        } else {
            Err(io::Error::other("the process is dead"))
        }
    }

    /// Counts a step that changes something; nothing happens from the step on where the power fails.
    fn step(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.alive()?;
        state.steps += 1;
        match state.stop_at {
            Some(stop) if state.steps > stop => Err(io::Error::other("the power has failed")),
            Some(_) | None => Ok(state),
        }
    }
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated files are small")
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.alive()?;
        let at = position(offset);
        let bytes = state.current.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step()?.current.resize(position(len), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.step()?;
        if state.lying {
            return Ok(());
        }
        let State { current, durable, unsynced, .. } = &mut *state;
        durable.resize(current.len(), 0);
        for sector in std::mem::take(unsynced).into_keys() {
            let from = sector * SECTOR;
            let to = current.len().min(from + SECTOR);
            if from < to {
                durable[from..to].copy_from_slice(&current[from..to]);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.step()?;
        let State { current, unsynced, .. } = &mut *state;
        let at = position(offset);
        let end = at + data.len();
        current.get_mut(at..end).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        for sector in at / SECTOR..end.div_ceil(SECTOR) {
            let from = sector * SECTOR;
            let to = current.len().min(from + SECTOR);
            let mut version = [0; SECTOR];
            version[..to - from].copy_from_slice(&current[from..to]);
            unsynced.entry(sector).or_default().push(version);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_what_was_not_may_not() {
        let (mut kept, mut lost, mut torn) = (0, 0, 0);
        for n in 0..64 {
            let platter = Platter::default();
            let file = platter.open();
            file.set_len(4096).unwrap();
            file.write(0, &[1; 4096]).unwrap();
            file.sync_data().unwrap();
            file.write(0, &[2; 2048]).unwrap();
            platter.crash(&mut Seed::new([n; 32]));
            assert!(file.len().is_err(), "its process is dead");
            let mut bytes = [0; 4096];
            platter.open().read(0, &mut bytes).unwrap();
            assert_eq!(bytes[2048..], [1; 2048]);
            for sector in bytes[..2048].chunks(SECTOR) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is whole");
            }
            match bytes[..2048].iter().filter(|byte| **byte == 2).count() {
                0 => lost += 1,
                2048 => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(kept > 2 && lost > 2 && torn > 10, "{kept} kept, {lost} lost, {torn} torn");
    }

    #[test]
    fn a_kill_forgets_nothing() {
        let platter = Platter::default();
        let file = platter.open();
        file.set_len(3).unwrap();
        file.write(0, b"abc").unwrap();
        platter.kill();
        assert!(file.write(0, b"xyz").is_err());
        let mut bytes = [0; 3];
        platter.open().read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"abc");
    }

    #[test]
    fn a_stop_comes_in_the_middle() {
        let platter = Platter::default();
        let file = platter.open();
        platter.stop_at(2);
        file.set_len(1024).unwrap();
        file.write(0, &[1]).unwrap();
        assert!(!platter.has_stopped());
        assert!(file.sync_data().is_err());
        assert!(platter.has_stopped());
    }
}
