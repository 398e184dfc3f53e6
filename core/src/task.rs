//! One request, ours or a peer's, as a machine: an `async fn` inside, plain data in and out.
//!
//! A handler is written as a sequence (`read`, then `pull`, then `commit`), and yet it can wait for nothing but core effects.
//! `Task::step` polls it once with a no-op waker. For the duration of that poll the task's *airlock* (effects going out,
//! completions coming in, timers) stands in a thread-local, so that [`Cx`] can be a zero-sized token: no lock, no `Arc`, no
//! `unsafe`. The open slots of the airlock are the task's visible state; [`Task::waiting_for`] shows them.

mod meter;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    block::{
        Payload,
        chore::{Chore, ChoreReport},
    },
    effect::{ClientGone, Completion, Effect, EffectId, PeerError, Pulled, ResponseBody, Shot},
    http::ResponseHead,
    id::{Hash, NodeId, RequestId, VersionId},
    metrics::Metrics,
    node::{
        control::{Command, Refusal, Report},
        pace::Operation,
    },
    rpc::AdminCall,
    rpc::Origin,
    s3::intake::{BodyError, Intake},
    seed::Seed,
    store::{Answer, Batch, Outcome, Read},
    time::{Instant, Now, Stamp, Timestamp},
};
use meter::{Meter, received};

pub use meter::Moved;

/// Why a machine wants to be woken; shown by whoever debugs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(pub &'static str);

struct Airlock {
    now: Now,
    seed: Seed,
    next: u64,
    out: VecDeque<(EffectId, Effect)>,
    slots: BTreeMap<EffectId, Slot>,
    timers: BTreeMap<(Instant, EffectId), Reason>,
    gone: bool,
    /// The id of the request that the task serves.
    request: Option<RequestId>,
    moved: Moved,
}

struct Slot {
    what: &'static str,
    operation: Option<Operation>,
    /// The node that is to do it, for what any node can do.
    at: Option<NodeId>,
    since: Instant,
    done: Option<Completion>,
}

thread_local! {
    static AIRLOCK: RefCell<Option<Box<Airlock>>> = const { RefCell::new(None) };
}

fn airlock<R>(f: impl FnOnce(&mut Airlock) -> R) -> Option<R> {
    AIRLOCK.with(|airlock| airlock.borrow_mut().as_deref_mut().map(f))
}

/// The id of the request that is being served on this thread at this moment, for the log.
pub fn current_request() -> Option<String> {
    // Whatever logs while the airlock is taken, or while the thread ends, does so without it.
    let request = AIRLOCK.try_with(|airlock| {
        let airlock = airlock.try_borrow().ok()?;
        airlock.as_deref()?.request
    });
    request.ok().flatten().map(RequestId::to_text)
}

fn inside<R>(f: impl FnOnce(&mut Airlock) -> R) -> R {
    airlock(f).expect("core futures are polled by Task alone")
}

/// The outside world, as handlers see it. Zero-sized; it makes the dependency visible in signatures.
#[derive(Clone, Copy, Debug)]
pub struct Cx(());

impl Cx {
    fn emit(self, effect: Effect) -> EffectId {
        inside(|a| {
            let id = EffectId(a.next);
            a.next += 1;
            a.out.push_back((id, effect));
            id
        })
    }

    fn issue<T>(self, effect: Effect) -> Wait<T> {
        let (what, at, operation) = (effect.name(), effect.at(), Operation::of(&effect));
        let id = self.emit(effect);
        inside(|a| {
            let since = a.now.mono;
            a.slots.insert(id, Slot { what, operation, at, since, done: None });
        });
        Wait { id, done: false, _answer: PhantomData }
    }

    /// Both clocks, as of this step.
    pub fn now(self) -> Now {
        inside(|a| a.now)
    }

    /// Fresh random bytes, derived from the task's seed.
    pub fn random<const N: usize>(self) -> [u8; N] {
        inside(|a| a.seed.bytes())
    }

    /// A new version id, later than the clock and than `seen`.
    pub fn version_past(self, seen: Stamp) -> VersionId {
        VersionId::new(Stamp::past(self.now().wall, seen), self.random())
    }

    /// Says which request the task serves: the lines that it logs from now on name it.
    pub fn serves(self, request: RequestId) {
        inside(|a| a.request = Some(request));
    }

    /// The request that the task serves. Where [`Task::serving`] has not given it an id, it gets one now.
    pub fn request(self) -> RequestId {
        inside(|a| {
            let request = a.request.unwrap_or_else(|| RequestId(a.seed.bytes()));
            *a.request.insert(request)
        })
    }

    /// How many bytes of bodies have been moved so far.
    pub fn moved(self) -> Moved {
        inside(|a| a.moved)
    }

    /// See [`Effect::Read`].
    pub fn read(self, at: NodeId, read: Read) -> Wait<Result<Answer, PeerError>> {
        self.issue(Effect::Read { at, read })
    }

    /// See [`Effect::Commit`].
    pub fn commit(self, at: NodeId, batch: Batch) -> Wait<Result<Outcome, PeerError>> {
        self.issue(Effect::Commit { at, batch })
    }

    /// See [`Effect::StoreBlock`].
    pub fn store_block(
        self,
        at: NodeId,
        block: Payload,
        then: Batch,
    ) -> Wait<Result<Outcome, PeerError>> {
        self.issue(Effect::StoreBlock { at, block, then })
    }

    /// See [`Effect::LoadBlock`].
    pub fn load_block(self, at: NodeId, hash: Hash) -> Wait<Result<Payload, PeerError>> {
        self.issue(Effect::LoadBlock { at, hash })
    }

    /// See [`Effect::Holds`].
    pub fn holds(self, at: NodeId, blocks: Vec<Hash>) -> Wait<Result<Vec<bool>, PeerError>> {
        self.issue(Effect::Holds { at, blocks })
    }

    /// See [`Effect::Chore`].
    pub fn chore(self, chore: Chore) -> Wait<Result<ChoreReport, PeerError>> {
        self.issue(Effect::Chore(chore))
    }

    /// See [`Effect::Snapshot`].
    pub fn snapshot(self, shot: Shot) -> Wait<Result<Vec<Timestamp>, PeerError>> {
        self.issue(Effect::Snapshot(shot))
    }

    /// See [`Effect::Control`].
    pub fn control(self, command: Command) -> Wait<Result<Report, Refusal>> {
        self.issue(Effect::Control(Box::new(command)))
    }

    /// See [`Effect::Ask`].
    pub fn ask(
        self,
        at: NodeId,
        call: AdminCall,
    ) -> Wait<Result<Result<String, String>, PeerError>> {
        self.issue(Effect::Ask { at, call })
    }

    /// See [`Effect::Open`].
    pub fn open(self, intake: Intake) {
        self.emit(Effect::Open(Box::new(intake)));
    }

    /// See [`Effect::Pull`].
    pub fn pull(self, block: u32, inline: u32) -> Wait<Result<Pulled, BodyError>> {
        self.issue(Effect::Pull { block, inline })
    }

    /// See [`Effect::Collect`].
    pub fn collect(self, max: u32) -> Wait<Result<Bytes, BodyError>> {
        self.issue(Effect::Collect { max })
    }

    /// See [`Effect::Respond`].
    pub fn respond(self, head: ResponseHead, body: ResponseBody) {
        if let ResponseBody::Full(bytes) = &body {
            inside(|a| a.moved.sent += bytes.len() as u64);
        }
        self.emit(Effect::Respond { head, body });
    }

    /// See [`Effect::Send`].
    pub fn send(self, bytes: Bytes) -> Wait<Result<(), ClientGone>> {
        inside(|a| a.moved.sent += bytes.len() as u64);
        self.issue(Effect::Send(bytes))
    }

    /// Waits for `wait` to pass.
    pub async fn sleep(self, wait: Duration, reason: Reason) {
        Timer::start(wait, reason).await;
    }

    /// Waits until the client has gone away; for ever, if it stays.
    pub async fn client_gone(self) {
        poll_fn(|_| if inside(|a| a.gone) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

struct Timer {
    at: Instant,
    id: EffectId,
}

impl Timer {
    fn start(wait: Duration, reason: Reason) -> Self {
        inside(|a| {
            let id = EffectId(a.next);
            a.next += 1;
            let at = a.now.mono.after(wait);
            a.timers.insert((at, id), reason);
            Self { at, id }
        })
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if inside(|a| a.now.mono >= self.at) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        airlock(|a| a.timers.remove(&(self.at, self.id)));
    }
}

/// What [`Wait`] can be for.
trait FromCompletion: Sized {
    fn from_completion(completion: Completion) -> Self;
}

macro_rules! completes {
    ($($variant:ident => $answer:ty),* $(,)?) => { $(
        impl FromCompletion for $answer {
            fn from_completion(completion: Completion) -> Self {
                #[allow(clippy::wildcard_enum_match_arm)]
                match completion {
                    Completion::$variant(answer) => answer,
                    other => panic!(concat!("the shell owed ", stringify!($variant), " and gave {:?}"), other),
                }
            }
        }
    )* };
}

completes!(
    Read => Result<Answer, PeerError>,
    Committed => Result<Outcome, PeerError>,
    Loaded => Result<Payload, PeerError>,
    Held => Result<Vec<bool>, PeerError>,
    Chore => Result<ChoreReport, PeerError>,
    Snapshots => Result<Vec<Timestamp>, PeerError>,
    Control => Result<Report, Refusal>,
    Asked => Result<Result<String, String>, PeerError>,
    Pulled => Result<Pulled, BodyError>,
    Collected => Result<Bytes, BodyError>,
    Sent => Result<(), ClientGone>,
);

/// An effect under way: the only leaf future of the core. Dropping it cancels the effect.
#[must_use]
pub struct Wait<T> {
    id: EffectId,
    done: bool,
    _answer: PhantomData<fn() -> T>,
}

#[allow(private_bounds)]
impl<T: FromCompletion> Future for Wait<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        let id = self.id;
        let completion = inside(|a| {
            let completion = a.slots.get_mut(&id)?.done.take();
            if completion.is_some() {
                a.slots.remove(&id);
            }
            completion
        });
        match completion {
            Some(completion) => {
                self.done = true;
                Poll::Ready(T::from_completion(completion))
            }
            None => Poll::Pending,
        }
    }
}

impl<T> Wait<T> {
    /// Lets the effect go on without anybody waiting for it, even after the task's end: a write that has its quorum still goes to
    /// the other replicas.
    pub fn detach(mut self) {
        self.done = true;
        inside(|a| a.slots.remove(&self.id));
    }
}

impl<T> Drop for Wait<T> {
    fn drop(&mut self) {
        if !self.done {
            let id = self.id;
            airlock(|a| {
                if a.slots.remove(&id).is_some() {
                    a.out.push_back((id, Effect::Cancel(id)));
                }
            });
        }
    }
}

/// One sequential flow as a sans-IO machine. See the [crate's run loop](crate#the-run-loop).
pub struct Task {
    name: &'static str,
    origin: Origin,
    meter: Option<Meter>,
    flow: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    airlock: Option<Box<Airlock>>,
}

impl Task {
    /// A task that will run `flow`. Nothing runs before the first [`Task::start`].
    pub fn new<F>(name: &'static str, seed: Seed, flow: impl FnOnce(Cx) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            name,
            origin: Origin::default(),
            meter: None,
            flow: Some(Box::pin(flow(Cx(())))),
            airlock: Some(Box::new(Airlock {
                now: Now::default(),
                seed,
                next: 0,
                out: VecDeque::new(),
                slots: BTreeMap::new(),
                timers: BTreeMap::new(),
                gone: false,
                request: None,
                moved: Moved::default(),
            })),
        }
    }

    /// The same task, for a request of a client's: it gets an id, which its calls to other nodes carry.
    #[must_use]
    pub fn serving(mut self) -> Self {
        let airlock = self.lock();
        let request = Some(RequestId(airlock.seed.bytes()));
        airlock.request = request;
        self.origin.request = request;
        self
    }

    /// The same task, its calls to other nodes marked with `origin`.
    #[must_use]
    pub fn of(self, origin: Origin) -> Self {
        let origin = Origin { request: self.origin.request, ..origin };
        Self { origin, ..self }
    }

    /// The same task of the node `me`, which counts in these metrics how long it waits.
    #[must_use]
    pub fn metered(self, me: NodeId, metrics: Arc<Metrics>) -> Self {
        Self { meter: Some(Meter::new(me, metrics)), ..self }
    }

    /// What the task's calls to other nodes are marked with.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The request that the task serves, once that is known.
    pub fn request(&self) -> Option<RequestId> {
        self.airlock.as_deref().expect("not inside a step").request
    }

    /// What the task is, for logs.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the flow up to its first wait. Call once, then drain [`Task::poll_effect`].
    pub fn start(&mut self, now: Now) {
        self.step(now);
    }

    /// Hands in the answer to an effect. Answers to cancelled effects are ignored. Then drain [`Task::poll_effect`].
    pub fn handle_event(&mut self, now: Now, id: EffectId, completion: Completion) {
        let airlock = self.airlock.as_deref_mut().expect("not inside a step");
        if let Some(slot) = airlock.slots.get_mut(&id) {
            if let Some(meter) = &mut self.meter {
                meter.done(
                    (slot.what, slot.operation),
                    slot.at,
                    (slot.since, now.mono),
                    &completion,
                );
            }
            airlock.moved.received += received(&completion);
            slot.done = Some(completion);
            self.step(now);
        }
    }

    /// Tells the task that time has passed. Spurious calls are harmless. Then drain [`Task::poll_effect`].
    pub fn handle_timeout(&mut self, now: Now) {
        if self.poll_timeout().is_some_and(|(at, _)| at <= now.mono) {
            self.step(now);
            // The shell would come back with it at once, and again, and never rest.
            debug_assert!(
                self.is_done() || self.poll_timeout().is_none_or(|(at, _)| at > now.mono),
                "task `{}` has a timer that it does not look at: {:?}",
                self.name,
                self.poll_timeout()
            );
        }
    }

    /// Tells the task that its client has gone away. Then drain [`Task::poll_effect`].
    pub fn handle_disconnect(&mut self, now: Now) {
        self.lock().gone = true;
        self.step(now);
    }

    /// The next effect to perform. Poll until `None` after `start` and after every `handle_*`.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<(EffectId, Effect)> {
        let Some((id, effect)) = self.lock().out.pop_front() else { return self.tell() };
        if let Some(meter) = &self.meter {
            meter.begun(&effect);
        }
        Some((id, effect))
    }

    /// Tells the node how long a task has waited that somebody waits for.
    fn tell(&mut self) -> Option<(EffectId, Effect)> {
        let ended = self.is_done();
        let airlock = self.airlock.as_deref_mut().expect("not inside a step");
        airlock.request.as_ref()?;
        let waits = self.meter.as_mut()?.tell(airlock.now.mono, ended)?;
        let id = EffectId(airlock.next);
        airlock.next += 1;
        Some((id, Effect::Waited(waits)))
    }

    /// When the task wants [`Task::handle_timeout`], and why. May change after every `handle_*`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let airlock = self.airlock.as_deref().expect("not inside a step");
        airlock.timers.first_key_value().map(|((at, _), reason)| (*at, *reason))
    }

    /// Whether the flow has ended. Effects may still be left to drain.
    pub fn is_done(&self) -> bool {
        self.flow.is_none()
    }

    /// What the task is waiting for and since when, oldest first.
    pub fn waiting_for(&self) -> Vec<(&'static str, Instant)> {
        let airlock = self.airlock.as_deref().expect("not inside a step");
        airlock.slots.values().map(|slot| (slot.what, slot.since)).collect()
    }

    fn lock(&mut self) -> &mut Airlock {
        self.airlock.as_deref_mut().expect("not inside a step")
    }

    fn step(&mut self, now: Now) {
        let Some(flow) = self.flow.as_mut() else { return };
        let mut airlock = self.airlock.take().expect("a step is not re-entrant");
        airlock.now = now;
        // A panic must not leave this task's airlock behind for the next task on the thread.
        let mut entered = Entered::new(airlock, &mut self.airlock);
        let done = flow.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if done {
            // Inside the airlock, so that waits still open turn into cancellations.
            self.flow = None;
        }
        entered.leave();
        drop(entered);
        let airlock = self.airlock.as_deref().expect("the step has ended");
        assert!(
            done || !airlock.slots.is_empty() || !airlock.timers.is_empty(),
            "task `{}` waits for something that is not an effect",
            self.name
        );
    }
}

struct Entered<'a> {
    home: &'a mut Option<Box<Airlock>>,
}

impl<'a> Entered<'a> {
    fn new(airlock: Box<Airlock>, home: &'a mut Option<Box<Airlock>>) -> Self {
        AIRLOCK.with(|slot| {
            let before = slot.borrow_mut().replace(airlock);
            assert!(before.is_none(), "a task was stepped inside a task");
        });
        Self { home }
    }

    fn leave(&mut self) {
        if self.home.is_none() {
            *self.home = AIRLOCK.with(|slot| slot.borrow_mut().take());
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
