//! The node: the long-lived machine of one process. It says what may begin (requests) and when (background jobs), and hands
//! out the randomness that both start from. It waits for nothing and moves no data: what it starts are [`Task`]s.

mod schedule;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    effect::EffectId,
    http::RequestHead,
    job::{self, Job, Verdict},
    s3::{
        error::{Code, S3Error},
        serve,
    },
    seed::Seed,
    task::{Reason, Task},
    time::{Instant, Now},
    view::View,
};
use schedule::Schedule;

/// Requests in flight; one more is answered with 503 SlowDown, which every client of S3 takes for "again, and slower". At 10 ms
/// each, so many are 200,000 a second, more than a node can serve: beyond, they would only wait and hold memory. Each holds some
/// 16 KiB beside the shell's pooled buffers, so all together 32 MiB at most.
pub const REQUESTS_MAX: usize = 2048;

/// Something the shell must do for the node.
pub enum NodeEffect {
    /// Drive this task to its end, then say [`NodeEvent::JobDone`], also if it has panicked. It has no client: it never emits
    /// effects about a request or its response.
    Run(Task),
}

impl std::fmt::Debug for NodeEffect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Run(task) => write!(f, "Run({})", task.name()),
        }
    }
}

/// Something the node learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// The task of a [`NodeEffect::Run`] has ended.
    JobDone,
}

/// The machine. See the [crate's run loop](crate#the-run-loop); it never ends.
pub struct Node {
    view: Arc<View>,
    seed: Seed,
    requests: usize,
    schedule: Schedule,
    running: BTreeMap<EffectId, (Job, job::Slot)>,
    effects: VecDeque<(EffectId, NodeEffect)>,
    next_effect: u64,
}

impl Node {
    /// The node as of a start of its process. `seed` must be fresh at every start: version ids come from it.
    pub fn new(view: Arc<View>, seed: Seed, now: Now) -> Self {
        Self {
            view,
            seed,
            requests: 0,
            schedule: Schedule::new(now.mono),
            running: BTreeMap::new(),
            effects: VecDeque::new(),
            next_effect: 0,
        }
    }

    /// The cluster and the configuration as they are now.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Begins a request. The task is to be driven to its end, and then to be [released](Node::released).
    pub fn admit(&mut self, _now: Now, head: RequestHead) -> Task {
        self.requests += 1;
        let (view, seed) = (Arc::clone(&self.view), self.seed.child());
        if self.requests <= REQUESTS_MAX {
            return Task::new("request", seed, |cx| serve::serve(cx, view, head));
        }
        Task::new("refusal", seed, |cx| async move {
            let error = S3Error::new(Code::SlowDown, "Please reduce your request rate.");
            serve::refuse(cx, &view, &head, &error);
        })
    }

    /// A request has ended, however it did. Call once for each [`Node::admit`].
    pub fn released(&mut self) {
        self.requests = self.requests.checked_sub(1).expect("each request is released once");
    }

    /// How many requests are in flight.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Tells the node that time has passed. Spurious calls are harmless. Then drain [`Node::poll_effect`].
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(job) = self.schedule.begin(now.mono) {
            let (task, slot) = job.task(Arc::clone(&self.view), self.seed.child());
            let id = EffectId(self.next_effect);
            self.next_effect += 1;
            // The queue's line would come every second.
            let level = if job == Job::Queue { log::Level::Trace } else { log::Level::Debug };
            log::log!(level, "{}: begins", job.name());
            self.running.insert(id, (job, slot));
            self.effects.push_back((id, NodeEffect::Run(task)));
        }
    }

    /// Hands in the answer to an effect. Then drain [`Node::poll_effect`].
    pub fn handle_event(&mut self, now: Now, id: EffectId, event: NodeEvent) {
        let NodeEvent::JobDone = event;
        let Some((job, slot)) = self.running.remove(&id) else { return };
        let verdict = slot.get().copied().unwrap_or_else(|| {
            log::error!("{}: the job has panicked", job.name());
            Verdict::Failed
        });
        let wait = self.schedule.end(now.mono, job, verdict);
        if verdict == Verdict::Failed {
            log::warn!("{}: failed; it comes again in {} s", job.name(), wait.as_secs());
        }
        self.handle_timeout(now);
    }

    /// The next effect to perform. Poll until `None` after every `handle_*`.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<(EffectId, NodeEffect)> {
        self.effects.pop_front()
    }

    /// When the node wants [`Node::handle_timeout`], and why. `None` while every job that may run does.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.schedule.next().map(|(at, job)| (at, Reason(job.name())))
    }
}
