//! `log` on stderr.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};
use mews_core::daemon;

use crate::clock::wall;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let mut line =
                daemon::log::line(wall(), record.level(), record.target(), record.args());
            line.push('\n');
            // When stderr is gone there is nowhere left to complain to.
            drop(std::io::stderr().write_all(line.as_bytes()));
        }
    }

    fn flush(&self) {}
}

/// Logs up to this level from now on, panics among it.
pub fn start(level: LevelFilter) {
    static LOGGER: Stderr = Stderr;
    log::set_logger(&LOGGER).expect("set once, at the start");
    log::set_max_level(level);
    std::panic::set_hook(Box::new(|panic| log::error!(target: "panic", "{panic}")));
}
