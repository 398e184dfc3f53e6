//! A network of nodes in virtual time: connections, state files, clocks; no store behind them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    effect::{EffectId, PeerError},
    id::NodeId,
    node::{Contact, LinkId, Node, NodeEffect, NodeEvent, Saved, Served, Setup, StateFile},
    seed::Seed,
    time::{Instant, Now, Timestamp},
    view::Config,
    wire::Message,
};

/// How long a message takes.
pub(super) const LATENCY: Duration = Duration::from_millis(5);

/// How long a job takes.
const JOB: Duration = Duration::from_millis(100);

/// How long it takes a node to fetch its data.
const SYNC: Duration = Duration::from_secs(2);

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(15);

/// A host, and what it calls one of its connections.
pub(super) type End = (usize, LinkId);

enum Event {
    Dialled { from: End, address: String, expected: Option<NodeId> },
    Request { to: End, back: (usize, EffectId), message: Message },
    Answered { to: (usize, EffectId), answer: Result<Message, PeerError> },
    Saved { to: (usize, EffectId), file: StateFile, bytes: Vec<u8> },
    Done { to: (usize, EffectId) },
    Synced { host: usize, version: u64, acknowledged: u64 },
    Silent { end: End },
    Measured { end: End, rtt: Duration },
}

/// A node and its surroundings.
pub(super) struct Machine {
    pub(super) id: NodeId,
    pub(super) address: String,
    pub(super) bootstrap: Vec<Contact>,
    pub(super) saved: Saved,
    pub(super) skew: Duration,
    pub(super) disk_fails: bool,
    /// It closes every connection as soon as it is up.
    pub(super) hangs_up: bool,
    /// Its data cannot be fetched.
    pub(super) stuck: bool,
    /// Its jobs end only when they are broken off.
    pub(super) jobs_hang: bool,
    boot: u64,
    /// Events of earlier ones are void.
    syncing: Option<u64>,
    pub(super) node: Option<Node>,
}

/// See the [module](self).
pub(super) struct Net {
    pub(super) machines: Vec<Machine>,
    pub(super) now: Instant,
    events: BTreeMap<(Instant, u64), (u64, usize, Event)>,
    next: u64,
    /// Both ends of each connection.
    wires: BTreeMap<End, End>,
    /// This address leads to each of these in turn.
    pub(super) alias: (&'static str, Vec<usize>),
    /// Pairs that cannot talk.
    pub(super) cut: BTreeSet<(usize, usize)>,
    /// How many messages have been sent, and their bytes.
    pub(super) sent: (u64, u64),
    pub(super) dials: u64,
}

pub(super) fn id(number: usize) -> NodeId {
    NodeId(crate::id::Hash::of(&number.to_le_bytes()).0)
}

impl Net {
    /// So many machines, switched off; all but the first know the first one's address.
    pub(super) fn new(count: usize) -> Self {
        let machine = |number: usize| {
            let contact = Contact { id: None, address: "host-0:1".to_owned() };
            Machine {
                id: id(number),
                address: format!("host-{number}:1"),
                bootstrap: if number == 0 { vec![] } else { vec![contact] },
                saved: Saved::default(),
                skew: Duration::ZERO,
                disk_fails: false,
                hangs_up: false,
                stuck: false,
                jobs_hang: false,
                boot: 0,
                syncing: None,
                node: None,
            }
        };
        Self {
            machines: (0..count).map(machine).collect(),
            now: Instant(0),
            events: BTreeMap::new(),
            next: 0,
            wires: BTreeMap::new(),
            alias: ("all:1", Vec::new()),
            cut: BTreeSet::new(),
            sent: (0, 0),
            dials: 0,
        }
    }

    /// The same, running.
    pub(super) fn running(count: usize) -> Self {
        let mut net = Self::new(count);
        (0..count).for_each(|host| net.start(host));
        net
    }

    pub(super) fn clock(&self, host: usize) -> Now {
        let wall = Timestamp(1_750_000_000_000 + self.now.0 / 1_000_000);
        Now { mono: self.now, wall: wall.after(self.machines[host].skew) }
    }

    pub(super) fn start(&mut self, host: usize) {
        let now = self.clock(host);
        let machine = &mut self.machines[host];
        assert!(machine.node.is_none(), "it is running");
        machine.boot += 1;
        let mut key = [0; 32];
        (key[0], key[1]) = (u8::try_from(host).unwrap(), u8::try_from(machine.boot).unwrap());
        let setup = Setup {
            id: machine.id,
            boot: machine.boot,
            config: Config::default(),
            seed: Seed::new(key),
            hostname: format!("host-{host}"),
            listen: Some(1),
            public: None,
            disk: None,
            bootstrap: machine.bootstrap.clone(),
            saved: machine.saved.clone(),
        };
        machine.node = Some(Node::new(setup, now).unwrap());
        machine.syncing = None;
    }

    /// Ends a machine's process; the others learn of it.
    pub(super) fn stop(&mut self, host: usize) {
        self.machines[host].node = None;
        self.events.retain(|_, (_, of, _)| *of != host);
        let ends: Vec<End> = self.wires.keys().filter(|(of, _)| *of == host).copied().collect();
        for end in ends {
            self.hang_up(end);
        }
    }

    /// A machine loses its power: nobody is told, and the others find out by its silence.
    pub(super) fn lose_power(&mut self, host: usize) {
        self.machines[host].node = None;
        self.events.retain(|_, (_, of, _)| *of != host);
        let ends: Vec<End> = self.wires.keys().filter(|(of, _)| *of == host).copied().collect();
        for end in ends {
            let other = self.wires.remove(&end).unwrap();
            self.wires.remove(&other);
            self.post(SILENCE, other.0, Event::Silent { end: other });
        }
    }

    /// Cuts or mends the line between two.
    pub(super) fn set_cut(&mut self, a: usize, b: usize, cut: bool) {
        let pair = (a.min(b), a.max(b));
        if !cut {
            self.cut.remove(&pair);
            return;
        }
        self.cut.insert(pair);
        let between = |((x, _), (y, _)): (&End, &End)| (*x.min(y), *x.max(y)) == pair;
        let ends: Vec<End> =
            self.wires.iter().filter(|wire| between(*wire)).map(|(end, _)| *end).collect();
        for end in ends {
            self.hang_up(end);
        }
    }

    pub(super) fn node(&self, host: usize) -> &Node {
        self.machines[host].node.as_ref().expect("it is running")
    }

    /// Does something with a node, and what that leads to.
    pub(super) fn with<T>(&mut self, host: usize, act: impl FnOnce(&mut Node, Now) -> T) -> T {
        let now = self.clock(host);
        let node = self.machines[host].node.as_mut().expect("it is running");
        let result = act(node, now);
        self.drain(host);
        result
    }

    fn post(&mut self, wait: Duration, host: usize, event: Event) {
        let boot = self.machines[host].boot;
        self.events.insert((self.now.after(wait), self.next), (boot, host, event));
        self.next += 1;
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now.after(time);
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 3_000_000, "it does not come to rest");
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let nodes = self.machines.iter().enumerate().filter_map(|(host, machine)| {
                let (at, _) = machine.node.as_ref()?.poll_timeout()?;
                Some((at.max(self.now), host))
            });
            let due = nodes.min();
            match (event, due) {
                (Some(at), due) if at <= end && due.is_none_or(|(due, _)| at <= due) => {
                    self.now = self.now.max(at);
                    let (_, (boot, host, event)) = self.events.pop_first().unwrap();
                    if self.machines[host].boot == boot && self.machines[host].node.is_some() {
                        self.handle(event);
                    }
                }
                (_, Some((at, host))) if at <= end => {
                    self.now = self.now.max(at);
                    self.with(host, |node, now| node.handle_timeout(now));
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// Lets time pass until something holds; how long that took.
    pub(super) fn until(&mut self, most: Duration, what: impl Fn(&Self) -> bool) -> Duration {
        let begun = self.now;
        while !what(self) {
            assert!(self.now.since(begun) < most, "it has not happened");
            self.run(Duration::from_millis(10));
        }
        self.now.since(begun)
    }

    fn drain(&mut self, host: usize) {
        while let Some((id, effect)) = self.machines[host].node.as_mut().and_then(Node::poll_effect)
        {
            let to = (host, id);
            match effect {
                NodeEffect::Run(task) => {
                    drop(task);
                    if !self.machines[host].jobs_hang {
                        self.post(JOB, host, Event::Done { to });
                    }
                }
                NodeEffect::Stop(run) => {
                    self.post(Duration::ZERO, host, Event::Done { to: (host, run) });
                }
                NodeEffect::Dial { link, address, expected } => {
                    self.dials += 1;
                    let from = (host, link);
                    // A name that stands for several is looked up first.
                    let wait = if address == self.alias.0 { LATENCY * 4 } else { LATENCY * 2 };
                    self.post(wait, host, Event::Dialled { from, address, expected });
                }
                NodeEffect::Close { link } => self.hang_up((host, link)),
                NodeEffect::Call { link, message, .. } => {
                    self.sent.0 += 1;
                    self.sent.1 += message.len() as u64;
                    match self.wires.get(&(host, link)).copied() {
                        Some(end) => {
                            let request = Event::Request { to: end, back: to, message };
                            self.post(LATENCY, end.0, request);
                        }
                        None => {
                            let answer = Err(PeerError::Unreachable);
                            self.post(LATENCY, host, Event::Answered { to, answer });
                        }
                    }
                }
                NodeEffect::Save { file, bytes } => {
                    self.post(Duration::from_millis(3), host, Event::Saved { to, file, bytes });
                }
            }
        }
        let machine = &mut self.machines[host];
        let wanted = machine.node.as_ref().and_then(|node| node.layouts.to_sync());
        if wanted.is_some() && machine.syncing != wanted && !machine.stuck {
            machine.syncing = wanted;
            // As the job: for the newest layout, by what everybody has acknowledged when it begins.
            let node = self.node(host);
            let (version, acknowledged) = (node.view().ring.version(), node.layouts.acknowledged());
            self.post(SYNC, host, Event::Synced { host, version, acknowledged });
        }
    }

    fn hang_up(&mut self, end: End) {
        let Some(other) = self.wires.remove(&end) else { return };
        self.wires.remove(&other);
        for (host, link) in [end, other] {
            if self.machines[host].node.is_some() {
                self.with(host, |node, now| node.link_down(now, link, "hung up"));
            }
        }
        // What was asked by it is not answered any more.
        let lost = |(_, _, event): &(u64, usize, Event)| match event {
            Event::Request { to, back, .. } if *to == other || *to == end => Some(*back),
            _ => None,
        };
        let back: Vec<_> = self.events.values().filter_map(lost).collect();
        self.events.retain(|_, event| lost(event).is_none());
        for to in back {
            let answer = Err(PeerError::Unreachable);
            self.post(LATENCY, to.0, Event::Answered { to, answer });
        }
    }

    fn dialled(&mut self, from: End, address: &str, expected: Option<NodeId>) {
        if address.starts_with("hole-") {
            // Nothing comes back from there.
            return;
        }
        let mut there = self.machines.iter().position(|machine| machine.address == address);
        if address == self.alias.0 && !self.alias.1.is_empty() {
            there = self.alias.1.first().copied();
            self.alias.1.rotate_left(1);
        }
        let there = there.filter(|host| {
            let pair = (from.0.min(*host), from.0.max(*host));
            self.machines[*host].node.is_some() && !self.cut.contains(&pair)
        });
        if there == Some(from.0) {
            // As the connection does: whoever is expected there.
            let address = address.to_owned();
            return self.with(from.0, |node, now| node.link_to_self(now, from.1, address));
        }
        let found = there.filter(|host| expected.is_none_or(|id| self.machines[*host].id == id));
        let Some(host) = found else {
            return self.with(from.0, |node, now| node.link_down(now, from.1, "nobody there"));
        };
        let (me, peer) = (self.machines[from.0].id, self.machines[host].id);
        let (name, _) = self.machines[from.0].address.rsplit_once(':').unwrap();
        let seen = format!("{name}:50000");
        let link = self.with(host, |node, now| node.link_accepted(now, me, seen));
        self.wires.insert(from, (host, link));
        self.wires.insert((host, link), from);
        self.drain(host);
        self.with(from.0, |node, now| node.link_up(now, from.1, peer, address.to_owned()));
        for end in [from, (host, link)] {
            self.post(LATENCY * 2, end.0, Event::Measured { end, rtt: LATENCY * 2 });
        }
        if self.machines[host].hangs_up {
            self.hang_up((host, link));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Dialled { from, address, expected } => self.dialled(from, &address, expected),
            Event::Request { to, back, message } => {
                match self.with(to.0, |node, now| node.serve(now, to.1, message)) {
                    Served::Reply(reply) => {
                        self.sent.1 += reply.len() as u64;
                        self.post(LATENCY, back.0, Event::Answered { to: back, answer: Ok(reply) });
                    }
                    Served::Run(..) => panic!("only gossip is sent"),
                }
            }
            Event::Answered { to, answer } => {
                self.with(to.0, |node, now| {
                    node.handle_event(now, to.1, NodeEvent::Answered(answer))
                });
            }
            Event::Saved { to, file, bytes } => {
                let machine = &mut self.machines[to.0];
                let result = if machine.disk_fails {
                    Err("no space".to_owned())
                } else {
                    match file {
                        StateFile::Layout => machine.saved.layout = Some(bytes),
                        StateFile::Peers => machine.saved.peers = Some(bytes),
                    }
                    Ok(())
                };
                self.with(to.0, |node, now| node.handle_event(now, to.1, NodeEvent::Saved(result)));
            }
            Event::Done { to } => {
                self.with(to.0, |node, now| node.handle_event(now, to.1, NodeEvent::Done));
            }
            Event::Measured { end, rtt } => {
                self.with(end.0, |node, now| node.link_measured(now, end.1, rtt));
            }
            Event::Silent { end } => {
                self.with(end.0, |node, now| node.link_down(now, end.1, "silent"));
            }
            Event::Synced { host, version, acknowledged } => {
                self.machines[host].saved.synced = version;
                self.with(host, |node, now| {
                    node.layouts.synced(version, acknowledged);
                    node.handle_timeout(now);
                });
            }
        }
    }

    /// What a connection of a host is called at its other end.
    pub(super) fn other_end(&self, end: End) -> End {
        self.wires[&end]
    }

    /// Whether each of these is connected to each other.
    pub(super) fn is_mesh(&self, hosts: &[usize]) -> bool {
        hosts.iter().all(|a| {
            let others = hosts.iter().filter(|b| *b != a);
            let up = others.filter(|b| self.node(*a).link_to(self.machines[**b].id).is_some());
            up.count() == hosts.len() - 1
        })
    }
}
