//! The end of the process, for panics that nothing can go on after.

use std::thread;

/// Ends the process if it is dropped by a panic that began after it was made: for what nothing can go on without.
#[derive(Debug)]
pub struct AbortOnPanic {
    what: &'static str,
    /// A panic that was under way before is somebody else's.
    before: bool,
}

impl AbortOnPanic {
    /// Guards `what`, which is its name in the log.
    #[must_use = "it guards for as long as it is held"]
    pub fn new(what: &'static str) -> Self {
        Self { what, before: thread::panicking() }
    }
}

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() && !self.before {
            log::error!("{} has panicked (see above); the process ends", self.what);
            std::process::abort();
        }
    }
}
