//! How much of a machine background work may take.

use std::time::Duration;

use super::rest;
use crate::{
    node::pace::Work,
    task::Cx,
    time::Instant,
    view::{Pace, View},
};

/// How long a run of a job goes on before it ends and is begun anew. A run goes by the view of its start, and a new layout waits
/// for every run that does not know it yet.
pub(super) const SLICE: Duration = Duration::from_secs(20);

/// A run's share of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    end: Instant,
    pace: Pace,
}

impl Slice {
    pub(super) fn begin(cx: Cx, view: &View) -> Self {
        Self { end: cx.now().mono.after(SLICE), pace: view.config.tuning.pace }
    }

    /// Whether the run has had its share.
    pub(super) fn is_over(self, cx: Cx) -> bool {
        cx.now().mono >= self.end
    }

    /// How many blocks may be under way at a time. Each is in memory as a whole: 16 MiB at most with blocks of 1 MiB.
    pub(super) fn window(self) -> usize {
        match self.pace {
            Pace::Idle => 1,
            Pace::Normal => 4,
            Pace::Fast => 16,
        }
    }

    /// Rests after what was begun at `began`.
    pub(super) async fn rest(self, cx: Cx, began: Instant) {
        rest(cx, Work::Upkeep, began, 1).await;
    }
}
