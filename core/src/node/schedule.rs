//! When which background job runs.
//!
//! Five slots: the queue has its own, because deletes wait for it, and so have fetching and the sync, because layouts wait for
//! them; snapshots have one, because they rest longer than they work; the others share one, because each reads the disk from end
//! to end, and two would only disturb each other. Whoever has waited longest goes first.

use std::time::Duration;

use super::status::{JobError, JobStatus};
use crate::{
    job::{Job, Verdict},
    time::Instant,
};

/// How a job is scheduled.
struct Plan {
    job: Job,
    /// From the process's start to the first run.
    first: Duration,
    /// From the end of a run to the next.
    every: Duration,
    /// From a failed run to the next, at first; doubled with each further failure.
    retry: Duration,
    /// The longest wait after a failed run.
    retry_max: Duration,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// In order of precedence where two are due at once.
const PLANS: [Plan; 10] = [
    // Deleted data is to be gone soon after; an empty look costs microseconds.
    Plan {
        job: Job::Queue,
        first: Duration::ZERO,
        every: SECOND,
        retry: SECOND,
        retry_max: MINUTE,
    },
    // Replicas that agree cost a fingerprint for each partition. Soon after a start: something has been missed since the stop.
    Plan {
        job: Job::Sync,
        first: Duration::from_secs(5),
        every: Duration::from_secs(600),
        retry: Duration::from_secs(10),
        retry_max: Duration::from_secs(300),
    },
    // What the last run of the process left. Later on, this process leaves nothing.
    Plan { job: Job::Intents, first: Duration::ZERO, every: DAY, retry: MINUTE, retry_max: HOUR },
    Plan { job: Job::Uploads, first: MINUTE, every: HOUR, retry: MINUTE, retry_max: HOUR },
    // Not in the first minutes: after a crash the disk has other things to do.
    Plan {
        job: Job::Orphans,
        first: Duration::from_secs(300),
        every: DAY,
        retry: MINUTE,
        retry_max: HOUR,
    },
    // Each run goes on to where a pass of 30 days should be.
    Plan { job: Job::Scrub, first: MINUTE, every: MINUTE, retry: MINUTE, retry_max: HOUR },
    // Each run takes up what is queued then, for some seconds at most; an empty look costs microseconds.
    Plan { job: Job::Fetch, first: SECOND, every: SECOND, retry: SECOND, retry_max: MINUTE },
    // Once all is gone, a look costs two reads; while the new holders still fetch, it asks them again, which costs them little.
    Plan {
        job: Job::Offload,
        first: MINUTE,
        every: MINUTE,
        retry: MINUTE,
        retry_max: Duration::from_secs(300),
    },
    // An operator who has launched one is waiting; an empty look costs two reads.
    Plan {
        job: Job::Repair,
        first: MINUTE,
        every: Duration::from_secs(5),
        retry: MINUTE,
        retry_max: HOUR,
    },
    // A look costs a read.
    Plan { job: Job::Snapshot, first: MINUTE, every: MINUTE, retry: MINUTE, retry_max: HOUR },
];

struct Line {
    plan: &'static Plan,
    /// From the end of a run to the next: as planned, or sooner.
    every: Duration,
    /// When it is due; `None` while it runs.
    due: Option<Instant>,
    /// It was asked for while it ran: what it was to see may have come after it had looked there.
    again: bool,
    failures: u32,
    /// Since the start, also if runs after them have succeeded.
    errors: u64,
    last_error: Option<JobError>,
}

/// The state of all jobs.
pub(super) struct Schedule {
    lines: Vec<Line>,
}

impl Schedule {
    /// With snapshots made by themselves, as often as this, or without.
    pub(super) fn new(now: Instant, snapshots: Option<Duration>) -> Self {
        // Whoever wants them more often than the job usually looks wants it to look more often.
        let most = |plan: &Plan| match plan.job {
            Job::Snapshot => snapshots.unwrap_or(Duration::MAX),
            Job::Queue
            | Job::Intents
            | Job::Uploads
            | Job::Orphans
            | Job::Scrub
            | Job::Fetch
            | Job::Sync
            | Job::Offload
            | Job::Repair => Duration::MAX,
        };
        let line = |plan: &'static Plan| Line {
            plan,
            every: plan.every.min(most(plan)),
            due: Some(now.after(plan.first.min(most(plan)))),
            again: false,
            failures: 0,
            errors: 0,
            last_error: None,
        };
        let plans = PLANS.iter().filter(|plan| snapshots.is_some() || plan.job != Job::Snapshot);
        Self { lines: plans.map(line).collect() }
    }

    /// A job that is due and has its slot free; from now on it runs.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Job> {
        let (due, job) = self.next()?;
        if due > now {
            return None;
        }
        self.line(job).due = None;
        Some(job)
    }

    /// A job that has been running no longer is. Says how long it waits for its next run.
    pub(super) fn end(&mut self, now: Instant, job: Job, verdict: Verdict) -> Duration {
        let line = self.line(job);
        let wait = match verdict {
            Verdict::Done | Verdict::Synced { .. } => {
                line.failures = 0;
                line.every
            }
            Verdict::Paused => {
                line.failures = 0;
                Duration::ZERO
            }
            Verdict::Failed => {
                let doubled = line.plan.retry.saturating_mul(1 << line.failures.min(16));
                line.failures = line.failures.saturating_add(1);
                doubled.min(line.plan.retry_max)
            }
        };
        let wait = if std::mem::take(&mut line.again) { Duration::ZERO } else { wait };
        line.due = Some(now.after(wait));
        wait
    }

    /// Remembers why a run has failed, for those who ask.
    pub(super) fn note(&mut self, now: Instant, job: Job, reason: String) {
        let line = self.line(job);
        line.errors += 1;
        line.last_error = Some(JobError { at: now, reason });
    }

    /// A job that was broken off is due again at once.
    pub(super) fn stopped(&mut self, now: Instant, job: Job) {
        let line = self.line(job);
        (line.due, line.again) = (Some(now), false);
    }

    /// A job is wanted now. One that runs already goes on, and runs once more after that.
    pub(super) fn hasten(&mut self, now: Instant, job: Job) {
        let line = self.line(job);
        line.again |= line.due.is_none();
        line.due = line.due.map(|due| due.min(now));
    }

    /// How each job is.
    pub(super) fn lines(&self) -> impl Iterator<Item = JobStatus> {
        self.lines.iter().map(|line| JobStatus {
            job: line.plan.job,
            due: line.due,
            failures: line.failures,
            errors: line.errors,
            last_error: line.last_error.clone(),
        })
    }

    /// The job that is due next, of those whose slot is free.
    pub(super) fn next(&self) -> Option<(Instant, Job)> {
        let free = |line: &&Line| {
            self.lines.iter().all(|other| other.due.is_some() || !shares_slot(line, other))
        };
        let due =
            self.lines.iter().filter(free).filter_map(|line| Some((line.due?, line.plan.job)));
        // Of equals, the first: the order of the plans.
        due.min_by_key(|(due, _)| *due)
    }

    fn line(&mut self, job: Job) -> &mut Line {
        let line = self.lines.iter_mut().find(|line| line.plan.job == job);
        line.expect("every job has a plan")
    }
}

fn shares_slot(a: &Line, b: &Line) -> bool {
    slot(a.plan.job) == slot(b.plan.job)
}

/// Jobs of one slot never run side by side.
fn slot(job: Job) -> u8 {
    match job {
        Job::Queue => 0,
        // It waits for other nodes' disks more than for the own.
        Job::Fetch => 1,
        Job::Sync => 3,
        Job::Snapshot => 4,
        Job::Intents | Job::Uploads | Job::Orphans | Job::Scrub | Job::Offload | Job::Repair => 2,
    }
}
