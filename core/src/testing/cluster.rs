//! Several nodes in memory, with a network between them that does what a test says.
//!
//! Every call to another node is encoded, served there by a task, and decoded, as between real nodes. A call takes one round
//! trip, [`RTT`]; what happens at home takes no time. So the time until the response, divided by [`RTT`], is the number of times
//! the request has waited for others: what [`Session::round_trips`] gives.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{Ask, Host, KEY_ID, Pump, Reply, Running, SECRET, START, trace};
use crate::{
    effect::{Completion, Effect, EffectId, PeerError},
    id::NodeId,
    placement::layout::{Layout, Parameters, Redundancy, Role},
    rpc,
    s3::serve,
    seed::Seed,
    task::{Cx, Task},
    time::{Instant, Now},
    view::{Consistency, Peer, Ring, View},
    web,
    wire::Message,
};

/// How long a call to another node takes.
pub const RTT: Duration = Duration::from_millis(10);

/// After this time a call that nothing is heard of has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done at half of its time, and answered at its end.
    Answered,
    /// The same, but it takes so long.
    Slow(Duration),
    /// It never arrives, and that is known at once.
    Unreachable,
    /// It never arrives, and nobody says so.
    Lost,
    /// It is done, and the answer never arrives.
    AnswerLost,
}

/// A call to another node, as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who asks.
    pub from: usize,
    /// Whom.
    pub to: usize,
    /// What, as in [`Host::trace`].
    pub what: String,
}

type Network = Box<dyn FnMut(&Call) -> Fate>;

/// The nodes.
pub struct Cluster {
    /// Each a database and a disk.
    pub hosts: Vec<Host>,
    /// The clock of all. Nodes' wall clocks may be set apart by [`Cluster::skew`].
    pub now: Now,
    /// How far each node's wall clock is ahead, in milliseconds.
    pub skew: Vec<u64>,
    network: Network,
    pub(super) seed: Seed,
}

/// The id of a node.
pub fn node(index: usize) -> NodeId {
    NodeId([u8::try_from(index + 1).expect("few nodes"); 32])
}

/// A layout of `count` nodes in which partition p is held by `holders(p)`.
pub fn layout(version: u64, count: usize, holders: impl Fn(usize) -> Vec<usize>) -> Layout {
    let mut storage: Vec<usize> = (0..1 << 8).flat_map(&holders).collect();
    storage.sort_unstable();
    storage.dedup();
    let replication = u16::try_from(holders(0).len()).expect("few copies");
    let indices = |p| {
        holders(p).into_iter().map(|holder| {
            let at = storage.iter().position(|each| *each == holder).expect("it holds something");
            u16::try_from(at).expect("few nodes")
        })
    };
    Layout {
        version,
        parameters: Parameters { replication, redundancy: Redundancy::AtLeast(1), bits: 8 },
        assignment: (0..1 << 8).flat_map(indices).collect(),
        roles: (0..count)
            .map(|index| {
                let capacity = storage.contains(&index).then_some(1 << 40);
                (node(index), Role { zone: "z".to_owned(), capacity, tags: Vec::new() })
            })
            .collect(),
        storage: storage.into_iter().map(node).collect(),
    }
}

impl Cluster {
    /// Nodes with an access key and, created by the first, a bucket called `bucket`. Everybody holds everything.
    pub fn replicated(count: usize) -> Self {
        Self::new(count, &layout(1, count, |_| (0..count).collect()))
    }

    /// The same with this layout.
    pub fn new(count: usize, layout: &Layout) -> Self {
        let mut cluster = Self::empty(count, layout);
        let created = cluster.ask(0, Ask::put("/bucket", ""));
        assert_eq!(created.status, 200, "{}", created.text());
        cluster
    }

    /// The same without a bucket.
    pub fn empty(count: usize, layout: &Layout) -> Self {
        let now = Now { mono: Instant(0), wall: START };
        let hosts = (0..count).map(|index| Host::bare(node(index), Seed::new([index as u8; 32])));
        let mut cluster = Self {
            hosts: hosts.collect(),
            now,
            skew: vec![0; count],
            network: Box::new(|_| Fate::Answered),
            seed: Seed::new([9; 32]),
        };
        cluster.set_layouts(&[layout], layout.version);
        for host in &mut cluster.hosts {
            host.add_key(KEY_ID, SECRET, true);
        }
        cluster
    }

    /// Puts these versions of the layout in force on every node.
    pub fn set_layouts(&mut self, active: &[&Layout], read: u64) {
        let count = self.hosts.len();
        for (index, host) in self.hosts.iter_mut().enumerate() {
            let me = node(index);
            let near = |other: NodeId| (u64::from(other != me), other);
            let others = (0..count).filter(|other| *other != index);
            let peer = Peer { up: true, rtt: Some(RTT) };
            host.view = Arc::new(View {
                ring: Ring::new(active, read, &[], Consistency::Consistent, &near),
                peers: others.map(|other| (node(other), peer)).collect(),
                complete: read,
                ..View::clone(&host.view)
            });
        }
    }

    /// What becomes of calls from now on.
    pub fn network(&mut self, fate: impl FnMut(&Call) -> Fate + 'static) {
        self.network = Box::new(fate);
    }

    /// Calls to and from these nodes fail, and all others are answered.
    pub fn down(&mut self, nodes: &[usize]) {
        let nodes = nodes.to_vec();
        self.network(move |call| {
            if nodes.contains(&call.to) || nodes.contains(&call.from) {
                Fate::Unreachable
            } else {
                Fate::Answered
            }
        });
    }

    /// Runs a request at a node to its end, and what it has left under way.
    pub fn ask(&mut self, at: usize, ask: Ask) -> Reply {
        let mut session = self.begin(at, ask);
        session.run(self);
        session.running.reply
    }

    /// Runs a request at a node to its end; the response as in a test, and how many round trips it took.
    pub fn timed(&mut self, at: usize, ask: Ask) -> (String, u32) {
        let mut session = self.begin(at, ask);
        session.run(self);
        (session.running.reply.outcome(), session.round_trips())
    }

    /// Starts a request at a node.
    pub fn begin(&mut self, at: usize, ask: Ask) -> Session {
        let (head, body, cut) = ask.into_head(self.now.wall);
        let view = Arc::clone(&self.hosts[at].view);
        let origin = rpc::Origin::of(&view.ring);
        let task = Task::new("s3", self.seed.child(), |cx| serve::serve(cx, view, head));
        self.start(at, task, Pump::new(body, cut), origin)
    }

    /// Runs a request to a website, sent to a node, to its end.
    pub fn browse(&mut self, at: usize, ask: Ask) -> Reply {
        let (head, body, cut) = ask.anonymous().into_head(self.now.wall);
        let view = Arc::clone(&self.hosts[at].view);
        let origin = rpc::Origin::of(&view.ring);
        let task = Task::new("page", self.seed.child(), |cx| web::serve::serve(cx, view, head));
        let mut session = self.start(at, task, Pump::new(body, cut), origin);
        session.run(self);
        session.running.reply
    }

    /// Runs any flow on a node to its end.
    pub fn flow<F>(&mut self, at: usize, flow: impl FnOnce(Cx, Arc<View>) -> F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + Sync + 'static,
    {
        let view = Arc::clone(&self.hosts[at].view);
        let origin = rpc::Origin::of(&view.ring);
        let slot = Arc::new(OnceLock::new());
        let result = Arc::clone(&slot);
        let task = Task::new("flow", self.seed.child(), |cx| {
            let flow = flow(cx, view);
            async move { drop(result.set(flow.await)) }
        });
        let mut session = self.start(at, task, Pump::new(bytes::Bytes::new(), None), origin);
        session.run(self);
        drop(session);
        Arc::into_inner(slot).and_then(OnceLock::into_inner).expect("the flow has ended")
    }

    pub(super) fn start(
        &mut self,
        at: usize,
        task: Task,
        pump: Pump,
        origin: rpc::Origin,
    ) -> Session {
        self.set_clock(at);
        let running = Running::start(&self.hosts[at], task, pump);
        let began = self.now.mono;
        let (calls, due) = (BTreeMap::new(), BTreeMap::new());
        let mut session = Session { running, at, origin, calls, due, began, responded: None };
        session.settle(self);
        session
    }

    fn set_clock(&mut self, at: usize) {
        let ahead = Duration::from_millis(self.skew[at]);
        self.hosts[at].now = Now { mono: self.now.mono, wall: self.now.wall.after(ahead) };
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono.after(time), wall: self.now.wall.after(time) };
    }

    fn serve(&mut self, from: usize, at: usize, message: Message) -> Message {
        self.set_clock(at);
        let (view, seed) = (Arc::clone(&self.hosts[at].view), self.seed.child());
        let (task, slot) = rpc::serve(view, self.hosts[from].view.node, message, seed);
        let host = &mut self.hosts[at];
        let mut running = Running::start(host, task, Pump::new(bytes::Bytes::new(), None));
        while let Some((id, effect)) = running.queue.pop_front() {
            if let Some(completion) = running.perform(host, effect) {
                running.task.handle_event(host.now, id, completion);
            }
            running.drain();
        }
        drop(running);
        Arc::into_inner(slot).and_then(OnceLock::into_inner).expect("a request is answered")
    }
}

/// A call under way.
struct Away {
    call: Call,
    message: Message,
    expect: rpc::Expect,
    fate: Fate,
    /// What came back, once it is done.
    answer: Option<Result<Message, PeerError>>,
}

/// A request under way in a cluster.
pub struct Session {
    /// The request.
    pub running: Running,
    at: usize,
    origin: rpc::Origin,
    calls: BTreeMap<EffectId, Away>,
    /// When which call is done or answered.
    due: BTreeMap<(Instant, EffectId), ()>,
    began: Instant,
    responded: Option<Instant>,
}

impl Session {
    /// Runs it to its end, and then what it has left under way.
    pub fn run(&mut self, cluster: &mut Cluster) {
        while self.step(cluster) {}
    }

    /// Runs it until there has been a response.
    pub fn respond(&mut self, cluster: &mut Cluster) {
        while self.responded.is_none() {
            assert!(self.step(cluster), "the request ended without a response");
        }
    }

    /// How often, one after the other, it waited for other nodes before the response.
    pub fn round_trips(&self) -> u32 {
        let took = self.responded.expect("a response").since(self.began);
        let trips = took.as_nanos() / RTT.as_nanos();
        assert_eq!(took.as_nanos() % RTT.as_nanos(), 0, "took {took:?}");
        u32::try_from(trips).expect("a short request")
    }

    /// How long it took until the response.
    pub fn took(&self) -> Duration {
        self.responded.expect("a response").since(self.began)
    }

    /// The calls under way that have not been done yet, oldest first.
    pub fn calls(&self) -> Vec<(EffectId, Call)> {
        let open = self.calls.iter().filter(|(_, away)| away.answer.is_none());
        open.map(|(id, away)| (*id, away.call.clone())).collect()
    }

    /// Whether the request has ended; calls may still be under way.
    pub fn is_done(&self) -> bool {
        self.running.task.is_done()
    }

    /// Does a call now and answers it at once, whatever its fate was to be.
    pub fn deliver(&mut self, cluster: &mut Cluster, id: EffectId) {
        let mut away = self.calls.remove(&id).expect("a call under way");
        self.due.retain(|(_, each), ()| *each != id);
        let message = away.message.clone();
        away.answer = Some(Ok(cluster.serve(self.at, away.call.to, message)));
        self.complete(cluster, id, away);
    }

    /// Lets a timer of the request fire, if it has one. For tests that deliver calls themselves.
    pub fn wake(&mut self, cluster: &mut Cluster) -> bool {
        let Some((at, _)) = self.running.task.poll_timeout() else { return false };
        cluster.pass(at.since(cluster.now.mono));
        cluster.set_clock(self.at);
        self.running.task.handle_timeout(cluster.hosts[self.at].now);
        self.running.drain();
        self.settle(cluster);
        true
    }

    /// The next thing to happen, by the clock. False if nothing is left.
    pub fn step(&mut self, cluster: &mut Cluster) -> bool {
        let timer = self.running.task.poll_timeout().map(|(at, _)| at);
        let call = self.due.first_key_value().map(|(due, ())| *due);
        match (call, timer) {
            (Some((at, id)), timer) if timer.is_none_or(|timer| at <= timer) => {
                self.due.remove(&(at, id));
                cluster.pass(at.since(cluster.now.mono));
                self.happen(cluster, at, id);
                true
            }
            (_, Some(_)) => self.wake(cluster),
            (_, None) => {
                let waiting = self.running.task.waiting_for();
                assert!(self.is_done(), "waits for {waiting:?}");
                false
            }
        }
    }

    fn happen(&mut self, cluster: &mut Cluster, at: Instant, id: EffectId) {
        let Some(mut away) = self.calls.remove(&id) else { return };
        if away.answer.is_some() || matches!(away.fate, Fate::Unreachable | Fate::Lost) {
            let error = match away.fate {
                Fate::Unreachable => Some(PeerError::Unreachable),
                Fate::Lost | Fate::AnswerLost => Some(PeerError::TimedOut),
                Fate::Answered | Fate::Slow(_) => None,
            };
            if let Some(error) = error {
                away.answer = Some(Err(error));
            }
            self.complete(cluster, id, away);
            return;
        }
        let message = away.message.clone();
        away.answer = Some(Ok(cluster.serve(self.at, away.call.to, message)));
        let rest = match away.fate {
            Fate::Answered => RTT / 2,
            Fate::Slow(time) => time / 2,
            Fate::AnswerLost => PATIENCE,
            Fate::Unreachable | Fate::Lost => unreachable!("handled above"),
        };
        self.due.insert((at.after(rest), id), ());
        self.calls.insert(id, away);
    }

    fn complete(&mut self, cluster: &mut Cluster, id: EffectId, away: Away) {
        let answer = away.answer.expect("it is done");
        let completion = rpc::completion(away.expect, answer);
        self.tell(cluster, id, completion);
        self.settle(cluster);
    }

    fn tell(&mut self, cluster: &mut Cluster, id: EffectId, completion: Completion) {
        cluster.set_clock(self.at);
        self.running.task.handle_event(cluster.hosts[self.at].now, id, completion);
        self.running.drain();
    }

    /// Does all that is to be done at home, and sends off the calls to others.
    fn settle(&mut self, cluster: &mut Cluster) {
        while let Some((id, effect)) = self.running.queue.pop_front() {
            let to = effect.at().filter(|to| *to != node(self.at));
            if let Some(to) = to {
                self.send(cluster, id, to, effect);
                continue;
            }
            let responds = matches!(effect, Effect::Respond { .. });
            cluster.set_clock(self.at);
            let host = &mut cluster.hosts[self.at];
            host.trace.push(trace::describe(&effect));
            let completion = self.running.perform(host, effect);
            if self.running.pump.is_gone() {
                self.running.task.handle_disconnect(host.now);
                self.running.drain();
            }
            if responds {
                self.responded = Some(cluster.now.mono);
            }
            if let Some(completion) = completion {
                self.tell(cluster, id, completion);
            }
        }
        let cancelled = std::mem::take(&mut self.running.cancelled);
        for id in cancelled {
            // It may have been done; nobody hears of it.
            self.calls.remove(&id);
        }
    }

    fn send(&mut self, cluster: &mut Cluster, id: EffectId, to: NodeId, effect: Effect) {
        let to = usize::from(to.0[0]) - 1;
        let what = trace::describe(&effect);
        let sent = rpc::call(effect, self.origin).expect("an effect of another node's");
        let call = Call { from: self.at, to, what };
        let fate = (cluster.network)(&call);
        let wait = match fate {
            Fate::Answered | Fate::AnswerLost => RTT / 2,
            Fate::Slow(time) => time / 2,
            Fate::Unreachable => Duration::ZERO,
            Fate::Lost => PATIENCE,
        };
        self.due.insert((cluster.now.mono.after(wait), id), ());
        let away = Away { call, message: sent.message, expect: sent.expect, fate, answer: None };
        self.calls.insert(id, away);
    }
}
