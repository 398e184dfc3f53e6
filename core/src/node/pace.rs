//! How long background work rests between its steps: long enough that requests hardly notice it, and never so long that it stands
//! still.
//!
//! Tasks that serve somebody report how long they wait for this node's database and disk and for other nodes ([`Waits`]). Second
//! by second that is smoothed, and compared with what is usual here: a baseline that falls with whatever is faster and rises
//! slowly. While requests wait clearly longer than usual, the rest doubles every second; while they do not, it shrinks by one step's
//! time a second; without requests it halves. So background work finds the share of the machine that requests leave to it, on
//! any disk, without a number that somebody has to set.
//!
//! Each step of a job asks here how long to rest ([`Ask`]), for as long as it took itself: what finds the disk busy rests longer
//! already because of that.

use std::time::Duration;

use super::Node;
use crate::{
    effect::Effect,
    time::{Instant, Now},
    view::Pace,
};

/// The longest rest between two steps, whatever happens: so many steps are made at least.
pub const REST_MAX: Duration = Duration::from_secs(10);

/// The same for what requests leave behind, which must not pile up: a page of 256 rows a second is more than a disk writes objects
/// of while it is so slow.
pub const REST_OWED_MAX: Duration = Duration::from_secs(1);

/// The longest rest where there is nobody to yield to.
pub const REST_FAST_MAX: Duration = Duration::from_millis(50);

/// A longer rest is taken in pieces of this, so that it ends soon once things have calmed down.
const PIECE: Duration = Duration::from_millis(500);

/// With [`Pace::Idle`], how long no request must have been there.
const QUIET: Duration = Duration::from_secs(1);

/// The time that is judged as a whole. A task under way reports as often.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// How many windows without requests count: after that, nothing is left to forget.
const QUIET_WINDOWS: u64 = 8;

/// A step is followed by a rest of at most so many times what it took.
const FACTOR_MAX: u32 = 64;

/// With [`Pace::Idle`], all rests are longer by this.
const IDLE: u32 = 9;

/// Half a millisecond more or less means nothing.
const NOISE: u64 = 500_000;

/// What tasks wait for. The slow ones that background work can slow down further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// A read of the own database.
    Read,
    /// A commit to it.
    Commit,
    /// A block's way to the own disk, with its rows.
    StoreBlock,
    /// A block's way from the own disk.
    LoadBlock,
    /// Another node's answer.
    Remote,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Read, Self::Commit, Self::StoreBlock, Self::LoadBlock, Self::Remote];

    /// What performing this effect on the own node is, if it tells anything.
    pub(crate) fn of(effect: &Effect) -> Option<Self> {
        match effect {
            Effect::Read { .. } => Some(Self::Read),
            Effect::Commit { .. } => Some(Self::Commit),
            Effect::StoreBlock { .. } => Some(Self::StoreBlock),
            Effect::LoadBlock { .. } => Some(Self::LoadBlock),
            Effect::Holds { .. }
            | Effect::Chore(_)
            | Effect::Snapshot(_)
            | Effect::Control(_)
            | Effect::Ask { .. }
            | Effect::Open(_)
            | Effect::Pull { .. }
            | Effect::Collect { .. }
            | Effect::Respond { .. }
            | Effect::Send(_)
            | Effect::Waited(_)
            | Effect::Cancel(_) => None,
        }
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Commit => "Commit",
            Self::StoreBlock => "StoreBlock",
            Self::LoadBlock => "LoadBlock",
            Self::Remote => "Remote",
        }
    }
}

/// How often, and for how long altogether, something was waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    nanos: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    fn mean(self) -> Option<u64> {
        self.nanos.checked_div(self.count)
    }
}

/// What a task that serves somebody has waited for since its last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits([Sum; 5]);

impl Waits {
    /// It has waited once more.
    pub fn add(&mut self, operation: Operation, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0[operation as usize].add(Sum { count: 1, nanos });
    }

    /// Whether it has waited for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whose work rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// What looks after things, and can wait.
    Upkeep,
    /// What requests, or a change of the layout, have left to be done: it must keep up with them.
    Owed,
}

/// A job's question after a step: how long is it to rest?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whose work it is.
    pub work: Work,
    /// What the step took; twice that for a job that is to have less of the disk.
    pub took: Duration,
    /// For how long it has rested since.
    pub rested: Duration,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Rest for so long.
    pub rest: Duration,
    /// Then ask again: it may be too early still.
    pub again: bool,
}

/// How the pace is, for people and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaceStatus {
    /// What the operator chose.
    pub pace: Pace,
    /// How many times as long as a step took the rest after it is, at the pace normal.
    pub factor: u32,
    /// What the last job that asked was told to rest altogether.
    pub rest: Duration,
    /// How long requests have waited lately, and how long they usually do.
    pub waits: Vec<Waited>,
}

impl PaceStatus {
    /// How many times as long as a step took the rest after it is, at the pace that is set.
    pub fn times(&self) -> u32 {
        times(self.pace, self.factor)
    }

    /// What is slower than usual by most.
    pub fn slowest(&self) -> Option<&Waited> {
        self.waits.iter().max_by_key(|waited| waited.recent.saturating_sub(waited.usual))
    }
}

/// How long requests wait for something; zeros until they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// For what.
    pub operation: Operation,
    /// Lately, smoothed.
    pub recent: Duration,
    /// Usually.
    pub usual: Duration,
}

fn times(pace: Pace, factor: u32) -> u32 {
    match pace {
        Pace::Idle => factor.saturating_mul(IDLE),
        Pace::Normal => factor,
        Pace::Fast => factor.saturating_sub(1),
    }
}

/// How one operation goes.
#[derive(Clone, Copy, Debug, Default)]
struct Signal {
    /// Of the window that is not over yet.
    sum: Sum,
    recent: u64,
    usual: Option<u64>,
    /// Whether anybody waited for it in the last window.
    heard: bool,
}

impl Signal {
    fn close(&mut self) {
        let mean = std::mem::take(&mut self.sum).mean();
        self.heard = mean.is_some();
        let Some(mean) = mean else { return };
        let usual = *self.usual.get_or_insert_with(|| {
            self.recent = mean;
            mean
        });
        self.recent = self.recent / 2 + mean / 2;
        self.usual = Some(if mean < usual {
            usual - (usual - mean) / 8
        } else {
            // A stall counts as four times what is usual at most. After some minutes of the new, that is usual.
            usual + (mean.min(usual.saturating_mul(4)) - usual).div_ceil(256)
        });
    }

    fn is_slow(&self) -> bool {
        let usual = self.usual.unwrap_or(self.recent);
        self.heard && self.recent > usual.saturating_mul(2).max(usual.saturating_add(2 * NOISE))
    }

    fn is_fine(&self) -> bool {
        let usual = self.usual.unwrap_or(self.recent);
        let most = usual.saturating_add(usual / 4).max(usual.saturating_add(NOISE));
        !self.heard || self.recent <= most
    }
}

/// The machine that measures and answers.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    signals: [Signal; 5],
    /// When the window that is not over yet began.
    window: Instant,
    /// When somebody was last served.
    served: Option<Instant>,
    factor: u32,
    rest: Duration,
}

impl Pacer {
    pub(crate) fn new(now: Instant) -> Self {
        let signals = [Signal::default(); 5];
        Self { signals, window: now, served: None, factor: 1, rest: Duration::ZERO }
    }

    /// A request has come, or ended.
    pub(crate) fn request(&mut self, now: Instant) {
        self.served = Some(now);
    }

    /// A task that serves somebody has waited for these.
    pub(crate) fn waited(&mut self, now: Instant, waits: &Waits) {
        self.pass(now);
        self.served = Some(now);
        for (signal, sum) in self.signals.iter_mut().zip(waits.0) {
            signal.sum.add(sum);
        }
    }

    /// How long a job rests, with so many requests under way.
    pub(crate) fn rest(&mut self, now: Instant, pace: Pace, requests: usize, ask: Ask) -> Turn {
        self.pass(now);
        let Ask { work, took, rested } = ask;
        // Deletions in particular would otherwise be slower than those who order them.
        let pace = if pace == Pace::Idle && work == Work::Owed { Pace::Normal } else { pace };
        let most = match (pace, work) {
            (Pace::Fast, _) => REST_FAST_MAX,
            (Pace::Idle | Pace::Normal, Work::Upkeep) => REST_MAX,
            (Pace::Idle | Pace::Normal, Work::Owed) => REST_OWED_MAX,
        };
        let mut rest = took.saturating_mul(times(pace, self.factor)).min(most);
        let recent = self.served.is_some_and(|served| now < served.after(QUIET));
        if pace == Pace::Idle && (requests > 0 || recent) {
            rest = most;
        }
        self.rest = rest;
        let left = rest.saturating_sub(rested);
        Turn { rest: left.min(PIECE), again: left > PIECE }
    }

    /// How it goes.
    pub(crate) fn status(&self, pace: Pace) -> PaceStatus {
        let waits =
            Operation::ALL.into_iter().zip(&self.signals).map(|(operation, signal)| Waited {
                operation,
                recent: Duration::from_nanos(signal.recent),
                usual: Duration::from_nanos(signal.usual.unwrap_or(0)),
            });
        PaceStatus { pace, factor: self.factor, rest: self.rest, waits: waits.collect() }
    }

    /// Judges the windows that are over by now.
    fn pass(&mut self, now: Instant) {
        let window = u64::try_from(WINDOW.as_nanos()).unwrap_or(u64::MAX);
        let over = now.0.saturating_sub(self.window.0) / window;
        if over == 0 {
            return;
        }
        self.window = Instant(self.window.0 + over * window);
        // What was reported falls into the first of them; in the others, nobody was there.
        for _ in 0..over.min(QUIET_WINDOWS) {
            self.signals.iter_mut().for_each(Signal::close);
            self.judge();
        }
    }

    fn judge(&mut self) {
        let heard = self.signals.iter().any(|signal| signal.heard);
        let factor = if !heard {
            self.factor / 2
        } else if self.signals.iter().any(Signal::is_slow) {
            self.factor * 2
        } else if self.signals.iter().all(Signal::is_fine) {
            self.factor - 1
        } else {
            self.factor
        };
        self.factor = factor.clamp(1, FACTOR_MAX);
    }
}

impl Node {
    /// A task that serves somebody has waited: see [`Effect::Waited`].
    pub fn waited(&mut self, now: Now, waits: &Waits) {
        self.pacer.waited(now.mono, waits);
    }

    /// How long a job rests after a step. Nobody rests while the node lacks rows: until it has them, it is of no use to requests.
    pub(super) fn rest(&mut self, now: Now, ask: Ask) -> Turn {
        let pace = self.view.config.tuning.pace;
        let pace = if self.view.recovering { Pace::Fast } else { pace };
        self.pacer.rest(now.mono, pace, self.requests, ask)
    }
}

#[cfg(test)]
mod tests;
