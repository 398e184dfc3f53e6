//! Raw bytes on a connection, and what a daemon must make of them: the table `testdata/http/cases.txt`, which also explains
//! its own language.

mod play;
mod table;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::daemon::Daemon;

const TABLE: &str = include_str!("../../../http/cases.txt");

/// Cases that run side by side. Most wait rather than work, and some of them long.
const AT_ONCE: usize = 12;

/// What the daemon may have taken in memory after all of it: the 64 MiB that two of the cases send must not be in there.
const MEMORY_MAX: u64 = 56 << 20;

/// Runs every case against `binary`; panics with a list of what failed.
pub fn run(binary: impl AsRef<Path>) {
    let daemon = Daemon::start(binary);
    let cases = table::parse(TABLE);
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let played = catch_unwind(AssertUnwindSafe(|| play::play(&daemon, case)));
                    let outcome = played.unwrap_or_else(|_| Err("it panicked".to_owned()));
                    if let Err(what) = outcome {
                        let text = format!("{} (line {}): {what}", case.name, case.line);
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (count, list) = (failures.len(), failures.join("\n  "));
    assert!(count == 0, "{count} of {} cases failed:\n  {list}", cases.len());
    let output = daemon.output();
    assert!(!output.contains("panicked"), "the daemon panicked:\n{output}");
    let (_, most) = daemon.memory();
    assert!(most < MEMORY_MAX, "the daemon took {} MiB of memory", most >> 20);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_read() {
        let cases = table::parse(TABLE);
        assert!(cases.len() > 100, "{} cases", cases.len());
        for case in &cases {
            assert!(
                case.steps.iter().any(table::Step::is_expectation),
                "{} expects nothing",
                case.name
            );
        }
    }
}
