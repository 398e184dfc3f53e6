//! How much room the data directories have, measured from time to time.

use std::{collections::BTreeSet, io, sync::Arc, thread, time::Duration};

use mews_core::{
    daemon::setup::Setup,
    metrics::{Metrics, Room},
    node::gossip::Space,
};

/// Full disks take longer than that to fill, and a look costs microseconds.
const EVERY: Duration = Duration::from_secs(60);

/// Starts a thread that says how much room the data directories have: once now, then every minute, for ever. That of the metadata
/// directory it tells the metrics alone.
///
/// # Errors
/// The thread cannot be made.
pub fn watch(
    setup: &Setup,
    metrics: Arc<Metrics>,
    measured: impl Fn(Space) + Send + 'static,
) -> io::Result<()> {
    let data: Vec<String> = setup.data.iter().map(|dir| dir.path.clone()).collect();
    let metadata = vec![setup.meta.clone()];
    let thread = thread::Builder::new().name("space".to_owned());
    thread.spawn(move || {
        loop {
            look(&metadata, &metrics.metadata);
            if let Some(space) = look(&data, &metrics.data) {
                measured(space);
            }
            thread::sleep(EVERY);
        }
    })?;
    Ok(())
}

fn look(dirs: &[String], room: &Room) -> Option<Space> {
    match measure(dirs) {
        Ok(space) => {
            room.measured(space.available, space.total);
            Some(space)
        }
        Err(error) => {
            log::warn!("cannot measure the room of {}: {error}", dirs.join(", "));
            None
        }
    }
}

/// The room of the file systems that these directories are on, each counted once.
fn measure(dirs: &[String]) -> io::Result<Space> {
    let (mut seen, mut all) = (BTreeSet::new(), Space { total: 0, available: 0 });
    for dir in dirs {
        if seen.insert(rustix::fs::stat(dir)?.st_dev) {
            let stat = rustix::fs::statvfs(dir)?;
            let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
            all.total = all.total.saturating_add(bytes(stat.f_blocks));
            all.available = all.available.saturating_add(bytes(stat.f_bavail));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_counts_once() {
        let once = measure(&["/".to_owned()]).expect("there is a root");
        let twice = measure(&["/".to_owned(), "/.".to_owned()]).expect("there is a root");
        assert!(once.total > 0);
        assert_eq!(once.total, twice.total);
        assert!(measure(&["/does/not/exist".to_owned()]).is_err());
    }
}
