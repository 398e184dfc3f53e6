//! Background jobs as the node runs them: each is a task of its own, begun when its time has come, and broken off when it would
//! keep a new layout waiting.

use std::{sync::Arc, time::Duration};

use super::{Node, NodeEffect};
use crate::{
    effect::EffectId,
    job::{self, Ended, Job, Verdict},
    rpc::Origin,
    time::{Instant, Now},
};

/// How long a job may go on by a view that the layout has moved on from, before it is broken off: most end within this, and the
/// rest would keep the whole cluster waiting.
pub(super) const JOB_GRACE: Duration = Duration::from_secs(10);

/// Between a sync and the next that is begun because of something missed: a look costs every replica a fingerprint for each
/// partition, and a line that comes and goes must not make it do nothing else.
const SYNC_GAP: Duration = Duration::from_secs(30);

/// Why a job comes again that was not broken off.
const LEFT: &str = "not all could be done yet; the node's log says what is left";

/// A job under way.
pub(super) struct Running {
    job: Job,
    slot: job::Slot,
    pub(super) origin: Origin,
    /// The layout that everybody had acknowledged when it began.
    acknowledged: u64,
    pub(super) stopped: bool,
}

impl Node {
    /// Begins the jobs that are due.
    pub(super) fn begin_jobs(&mut self, now: Now) {
        while let Some(job) = self.schedule.begin(now.mono) {
            let (task, slot) = job.task(Arc::clone(&self.view), self.seed.child());
            let origin = self.layouts.begin(true);
            let task = self.task(task, origin);
            // The queue's line would come every second.
            let level = if job == Job::Queue { log::Level::Trace } else { log::Level::Debug };
            log::log!(level, "{}: begins", job.name());
            let id = self.effects.push(NodeEffect::Run(task));
            self.running.insert(
                id,
                Running {
                    job,
                    slot,
                    origin,
                    acknowledged: self.layouts.acknowledged(),
                    stopped: false,
                },
            );
        }
    }

    /// A layout that everybody has acknowledged waits for nobody but those who fetch its data. And whoever has been away, or has
    /// had others away, lacks what was written meanwhile.
    pub(super) fn hasten_sync(&mut self, now: Instant) {
        let wanted = self.layouts.to_sync();
        if wanted.is_some_and(|version| self.hastened < version) {
            self.hastened = wanted.unwrap_or(0);
            self.schedule.hasten(now, Job::Sync);
        }
        if self.membership.behind && self.synced_at.after(SYNC_GAP) <= now {
            self.membership.behind = false;
            self.schedule.hasten(now, Job::Sync);
        }
    }

    /// Jobs go by the view of their start; one that takes hours must not hold the layout up for so long.
    pub(super) fn stop_late_jobs(&mut self, now: Now) {
        if now.mono < self.epoch.1.after(JOB_GRACE) {
            return;
        }
        for (id, running) in &mut self.running {
            if self.layouts.is_behind(running.origin) && !running.stopped {
                log::info!("{}: broken off, because the layout has changed", running.job.name());
                running.stopped = true;
                self.effects.push(NodeEffect::Stop(*id));
            }
        }
    }

    pub(super) fn job_done(&mut self, now: Now, id: EffectId) {
        let Some(Running { job, slot, origin, acknowledged, stopped }) = self.running.remove(&id)
        else {
            return;
        };
        self.layouts.end(origin);
        let ended = slot.get().cloned();
        if ended.is_none() && stopped {
            return self.schedule.stopped(now.mono, job);
        }
        let Ended { verdict, error } = ended.unwrap_or_else(|| {
            log::error!("{}: the job has panicked", job.name());
            Ended { verdict: Verdict::Failed, error: Some("the job has panicked".to_owned()) }
        });
        if let Verdict::Synced { version } = verdict {
            self.layouts.synced(version, acknowledged);
            // If a later layout was acknowledged meanwhile, another run is due for that.
            (self.synced_at, self.hastened) = (now.mono, 0);
        }
        let wait = self.schedule.end(now.mono, job, verdict);
        if verdict == Verdict::Failed {
            self.schedule.note(now.mono, job, error.unwrap_or_else(|| LEFT.to_owned()));
            log::warn!("{}: failed; it comes again in {} s", job.name(), wait.as_secs());
        }
    }
}
