//! Threads for what blocks or computes for long.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use mews_core::effect::PeerError;
use smol::lock::Semaphore;

/// A bounded number of them. They are made when there is work, and end soon after.
#[derive(Clone)]
pub struct Workers(Arc<Semaphore>);

impl Workers {
    /// At most so many at once.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Does `work` on one of them.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PeerError> {
        let permit = self.0.acquire_arc().await;
        let result = smol::unblock(move || {
            // Held by the work and not by who waits for it: a cancelled wait does not stop a thread.
            let _permit = permit;
            catch_unwind(AssertUnwindSafe(work))
        });
        // A panic has been logged by then.
        result.await.map_err(|_| PeerError::Disk("the work was not finished".to_owned()))
    }
}
