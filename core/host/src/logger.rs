//! `log` on stderr.

use std::{
    io::Write,
    sync::{Arc, OnceLock},
};

use log::{Log, Metadata, Record};
use mews_core::{daemon::log::Logging, metrics::Metrics};

use crate::clock::wall;

struct Stderr(Logging);

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.admits(metadata.target(), metadata.level())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let mut line = self.0.line(wall(), record);
            line.push('\n');
            // When stderr is gone there is nowhere left to complain to.
            drop(std::io::stderr().write_all(line.as_bytes()));
        }
    }

    fn flush(&self) {}
}

/// Where panics are counted.
static PANICS: OnceLock<Arc<Metrics>> = OnceLock::new();

/// Counts panics here from now on; the first to ask for it is who gets it.
pub fn count_panics(metrics: Arc<Metrics>) {
    PANICS.get_or_init(|| metrics);
}

/// Logs as told from now on, panics among it.
pub fn start(logging: Logging) {
    static LOGGER: OnceLock<Stderr> = OnceLock::new();
    let max = logging.max();
    let logger = LOGGER.get_or_init(|| Stderr(logging));
    log::set_logger(logger).expect("set once, at the start");
    log::set_max_level(max);
    std::panic::set_hook(Box::new(|panic| {
        log::error!(target: "panic", "{panic}");
        if let Some(metrics) = PANICS.get() {
            metrics.panics.increment();
        }
    }));
}
