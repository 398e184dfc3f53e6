//! The network between hosts: connections that are made and break, messages that take their time, parts that are cut off from
//! each other.
//!
//! It stands for TCP with the wire's session on it: what arrives is whole and comes once, requests of one connection may overtake
//! each other, and a message that does not arrive takes its connection with it in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mews_core::{
    effect::{EffectId, PeerError},
    id::NodeId,
    node::LinkId,
    rpc::Expect,
    time::Instant,
    wire::Message,
};

use crate::{
    dice::Dice,
    host::Host,
    world::{self, World},
};

/// How long a connection may be silent before it is given up, as the wire has it.
const SILENCE: Duration = Duration::from_secs(15);

/// How long a dial that nobody answers takes.
const DIAL: Duration = Duration::from_secs(10);

/// The port that every node listens on.
pub const PORT: u16 = 3901;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// A task's effect.
    Task(u64, EffectId),
    /// The node's own.
    Node(EffectId),
}

/// Names a request that a host serves, for its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    conn: u64,
    stream: u64,
    /// Which end asks.
    from: usize,
}

/// What a host gives to the network.
pub enum Out {
    /// Connect.
    Dial {
        /// Who.
        host: usize,
        /// Its name for the connection.
        link: LinkId,
        /// Where to.
        address: String,
        /// Who must be there.
        expected: Option<NodeId>,
    },
    /// Close a connection.
    Close {
        /// Whose.
        host: usize,
        /// Which.
        link: LinkId,
    },
    /// Ask.
    Call {
        /// Who.
        host: usize,
        /// By which connection.
        link: LinkId,
        /// For whom.
        caller: Caller,
        /// What is owed to a task.
        expect: Option<Expect>,
        /// The request.
        message: Message,
        /// How long to wait.
        patience: Duration,
    },
    /// Answer.
    Reply(Token, Message),
    /// The answer to a task's call is no longer waited for.
    Cancel {
        /// Whose.
        host: usize,
        /// Which.
        caller: Caller,
    },
}

/// Something that will happen in the network.
pub enum Event {
    /// A dial arrives, of the process that its host ran when so many had ended there.
    Arrive(Out, u64),
    /// A request arrives.
    Request(Token, Message),
    /// A reply arrives.
    Reply(Token, Message),
    /// A caller has waited long enough.
    Impatient(Token),
    /// Whether a connection has been silent for too long.
    Silence(u64),
    /// One end of a connection learns that it is gone.
    Gone(u64, usize),
}

/// How the network is.
#[derive(Clone, Debug)]
pub struct Weather {
    /// One-way latency between zones, in microseconds.
    pub far: u64,
    /// The same within a zone.
    pub near: u64,
    /// One message of so many is late by up to half a second; 0 for none.
    pub late_every: u64,
    /// One message of so many breaks its connection; 0 for none.
    pub reset_every: u64,
}

impl Default for Weather {
    fn default() -> Self {
        Self { far: 5_000, near: 300, late_every: 64, reset_every: 0 }
    }
}

struct End {
    host: usize,
    link: LinkId,
    alive: bool,
    /// The round trip, as the wire smooths it.
    rtt: Option<Duration>,
}

struct Open {
    /// Which end asks.
    from: usize,
    begun: Instant,
    caller: Caller,
    expect: Option<Expect>,
}

struct Conn {
    ends: [End; 2],
    calls: BTreeMap<u64, Open>,
    /// What could not get through yet.
    held: Vec<Event>,
}

/// All connections.
pub struct Net {
    /// How it is now.
    pub weather: Weather,
    dice: Dice,
    zones: Vec<usize>,
    names: Vec<NodeId>,
    /// How many processes have ended on each host. A dial ends with the process that made it: the next one gives its names anew, so
    /// what answers late would be taken for another connection.
    ended: Vec<u64>,
    conns: BTreeMap<u64, Conn>,
    ends: BTreeMap<(usize, LinkId), (u64, usize)>,
    callers: BTreeMap<(usize, Caller), Token>,
    /// From whom nothing gets to whom.
    blocked: BTreeSet<(usize, usize)>,
    /// How many bytes of blocks were sent, from whom to whom.
    pub blocks: BTreeMap<(usize, usize), u64>,
    /// Between whom everything takes so many times as long.
    slow: BTreeMap<(usize, usize), u32>,
    next: u64,
}

impl Net {
    /// A network of hosts in these zones, with these names.
    pub fn new(dice: Dice, weather: Weather, zones: Vec<usize>, names: Vec<NodeId>) -> Self {
        Self {
            weather,
            dice,
            ended: vec![0; zones.len()],
            zones,
            names,
            conns: BTreeMap::new(),
            ends: BTreeMap::new(),
            callers: BTreeMap::new(),
            blocked: BTreeSet::new(),
            blocks: BTreeMap::new(),
            slow: BTreeMap::new(),
            next: 0,
        }
    }

    /// Adds a host.
    pub fn add(&mut self, zone: usize, name: NodeId) {
        self.zones.push(zone);
        self.names.push(name);
        self.ended.push(0);
    }

    /// The zone of a host.
    pub fn zone(&self, host: usize) -> usize {
        self.zones[host]
    }

    /// Where a host listens.
    pub fn address(host: usize) -> String {
        format!("host-{host}:{PORT}")
    }

    fn at(address: &str) -> Option<usize> {
        let (name, port) = address.rsplit_once(':')?;
        if port.parse() != Ok(PORT) {
            return None;
        }
        name.strip_prefix("host-")?.parse().ok()
    }

    /// How long a message takes that is sent now. What a task sends beside its words are blocks.
    fn way(&mut self, from: usize, to: usize, caller: Caller, message: &Message) -> Duration {
        if matches!(caller, Caller::Task(..)) && !message.payload.is_empty() {
            *self.blocks.entry((from, to)).or_default() += message.payload.len() as u64;
        }
        self.latency(from, to, message.len())
    }

    fn latency(&mut self, from: usize, to: usize, bytes: usize) -> Duration {
        let weather = &self.weather;
        let base = if self.zones[from] == self.zones[to] { weather.near } else { weather.far };
        let late_every = weather.late_every;
        let mut micros = base + self.dice.below(base / 4 + 2) + bytes as u64 / 100;
        if self.dice.one_in(late_every) {
            micros += self.dice.below(500_000);
        }
        let slow = self.slow.get(&(from.min(to), from.max(to))).copied().unwrap_or(1);
        Duration::from_micros(micros * u64::from(slow))
    }

    fn is_blocked(&self, a: usize, b: usize) -> bool {
        self.blocked.contains(&(a, b)) || self.blocked.contains(&(b, a))
    }

    /// From now on nothing gets from any of these to any of those, nor can a connection between them live.
    pub fn cut(&mut self, world: &mut World, from: &[usize], to: &[usize]) {
        for a in from {
            self.blocked.extend(to.iter().filter(|b| *b != a).map(|b| (*a, *b)));
        }
        world.trace.note(world.now, format_args!("nothing gets from {from:?} to {to:?}"));
        let across = self.conns.iter().filter(|(_, conn)| {
            let [a, b] = &conn.ends;
            self.is_blocked(a.host, b.host)
        });
        for conn in across.map(|(conn, _)| *conn).collect::<Vec<_>>() {
            world.schedule(SILENCE, world::Event::Net(Event::Silence(conn)));
        }
    }

    /// Everything gets through again, as fast as ever.
    pub fn heal(&mut self, world: &mut World) {
        self.blocked.clear();
        self.slow.clear();
        world.trace.note(world.now, format_args!("the network is whole"));
        let held: Vec<Event> =
            self.conns.values_mut().flat_map(|conn| std::mem::take(&mut conn.held)).collect();
        for event in held {
            let wait = Duration::from_micros(200 + self.dice.below(1_000_000));
            world.schedule(wait, world::Event::Net(event));
        }
    }

    /// From now on everything between the two takes so many times as long.
    pub fn slow_down(&mut self, world: &mut World, a: usize, b: usize, times: u32) {
        world.trace.note(world.now, format_args!("between {a} and {b} all takes {times} times"));
        self.slow.insert((a.min(b), a.max(b)), times);
    }

    /// Breaks one connection, if there is any.
    pub fn break_one(&mut self, world: &mut World, hosts: &mut [Host]) {
        let conns: Vec<u64> = self.conns.keys().copied().collect();
        if !conns.is_empty() {
            let conn = self.dice.pick(&conns);
            self.reset(world, hosts, conn);
        }
    }

    fn reset(&mut self, world: &mut World, hosts: &mut [Host], conn: u64) {
        world.met.resets += 1;
        self.gone(world, hosts, conn, 0);
        self.gone(world, hosts, conn, 1);
    }

    /// A host's process has ended: its peers learn it now, or when they have heard nothing for long.
    pub fn crashed(&mut self, world: &mut World, host: usize) {
        self.ended[host] += 1;
        self.callers.retain(|(of, _), _| *of != host);
        let mut gone = Vec::new();
        for (number, conn) in &mut self.conns {
            for at in [0, 1] {
                if conn.ends[at].host == host && conn.ends[at].alive {
                    conn.ends[at].alive = false;
                    self.ends.remove(&(host, conn.ends[at].link));
                    conn.calls.retain(|_, open| open.from != at);
                    gone.push((*number, 1 - at));
                }
            }
        }
        let silent = self.dice.one_in(2);
        for (conn, end) in gone {
            let wait =
                if silent { SILENCE } else { Duration::from_micros(self.dice.below(50_000)) };
            world.schedule(wait, world::Event::Net(Event::Gone(conn, end)));
        }
    }

    /// What a host gives.
    pub fn take(&mut self, world: &mut World, hosts: &mut [Host], out: Out) {
        match out {
            Out::Dial { host, ref address, .. } => {
                let to = Self::at(address).filter(|to| *to < self.zones.len());
                let wait = match to {
                    Some(to) if !self.is_blocked(host, to) => self.latency(host, to, 0) * 4,
                    Some(_) | None => DIAL,
                };
                let dial = Event::Arrive(out, self.ended[host]);
                world.schedule(wait, world::Event::Net(dial));
            }
            Out::Close { host, link } => {
                if let Some((conn, end)) = self.ends.get(&(host, link)).copied() {
                    self.close(world, hosts, conn, end);
                    world.schedule(SILENCE, world::Event::Net(Event::Gone(conn, 1 - end)));
                }
            }
            Out::Call { host, link, caller, expect, message, patience } => {
                self.call(world, hosts, (host, link, caller, expect), message, patience);
            }
            Out::Reply(token, message) => {
                let Some(conn) = self.conns.get(&token.conn) else { return };
                let Some(open) = conn.calls.get(&token.stream) else { return };
                let (to, from) = (conn.ends[open.from].host, conn.ends[1 - open.from].host);
                let caller = open.caller;
                let wait = self.way(from, to, caller, &message);
                world.schedule(wait, world::Event::Net(Event::Reply(token, message)));
            }
            Out::Cancel { host, caller } => {
                if let Some(token) = self.callers.remove(&(host, caller))
                    && let Some(conn) = self.conns.get_mut(&token.conn)
                    && let Some(open) = conn.calls.remove(&token.stream)
                {
                    // What is done there for nobody may be broken off, or not.
                    let there = conn.ends[1 - open.from].host;
                    if self.dice.one_in(2) {
                        hosts[there].break_off(world, token);
                    }
                }
            }
        }
    }

    fn call(
        &mut self,
        world: &mut World,
        hosts: &mut [Host],
        (host, link, caller, expect): (usize, LinkId, Caller, Option<Expect>),
        message: Message,
        patience: Duration,
    ) {
        let end = self.ends.get(&(host, link)).copied();
        let Some((number, from)) = end else {
            let (peer, gone) = (hosts[host].node, Err(PeerError::Unreachable));
            return hosts[host].answered(world, peer, caller, expect, gone);
        };
        world.met.messages += 1;
        let token = Token { conn: number, stream: self.next, from };
        self.next += 1;
        let to = self.conns[&number].ends[1 - from].host;
        let wait = self.way(host, to, caller, &message);
        let conn = self.conns.get_mut(&number).expect("its end is known");
        conn.calls.insert(token.stream, Open { from, begun: world.now, caller, expect });
        self.callers.insert((host, caller), token);
        world.schedule(patience, world::Event::Net(Event::Impatient(token)));
        world.schedule(wait, world::Event::Net(Event::Request(token, message)));
    }

    /// Lets happen what was to happen in the network.
    pub fn handle(&mut self, world: &mut World, hosts: &mut [Host], event: Event) {
        match event {
            Event::Arrive(out, ended) => self.arrive(world, hosts, out, ended),
            Event::Request(token, message) => self.request(world, hosts, token, message),
            Event::Reply(token, message) => self.reply(world, hosts, token, message),
            Event::Impatient(token) => self.finish(world, hosts, token, Err(PeerError::TimedOut)),
            Event::Silence(number) => {
                if let Some(conn) = self.conns.get(&number) {
                    let [a, b] = &conn.ends;
                    if self.is_blocked(a.host, b.host) {
                        self.reset(world, hosts, number);
                    }
                }
            }
            Event::Gone(conn, end) => self.gone(world, hosts, conn, end),
        }
    }

    fn arrive(&mut self, world: &mut World, hosts: &mut [Host], out: Out, ended: u64) {
        let Out::Dial { host, link, address, expected } = out else { return };
        if !hosts[host].is_up() || self.ended[host] != ended {
            return;
        }
        let refused = match Self::at(&address).filter(|to| *to < hosts.len()) {
            None => Some("no such host"),
            Some(to) if self.is_blocked(host, to) => Some("timed out"),
            Some(to) if !hosts[to].is_up() => Some("refused"),
            Some(to) if expected.is_some_and(|id| id != hosts[to].node) => Some("somebody else"),
            Some(_) => None,
        };
        if let Some(reason) = refused {
            return hosts[host].link_down(world, link, reason);
        }
        let Some(to) = Self::at(&address) else { return };
        let number = self.next;
        self.next += 1;
        let port = 40_000 + number % 20_000;
        let (dialler, answerer) = (hosts[host].node, hosts[to].node);
        let theirs = hosts[to].link_accepted(world, dialler, format!("host-{host}:{port}"));
        let end = |host, link| End { host, link, alive: true, rtt: None };
        let ends = [end(host, link), end(to, theirs)];
        self.ends.insert((host, link), (number, 0));
        self.ends.insert((to, theirs), (number, 1));
        self.conns.insert(number, Conn { ends, calls: BTreeMap::new(), held: Vec::new() });
        hosts[host].link_up(world, link, answerer, address);
        world.trace.mark(world.now, &[2, host as u64, to as u64], || {
            format!("host {host} is connected to {to}")
        });
    }

    /// Whether a message has to wait: then it is kept, and given back otherwise.
    fn hold(&mut self, world: &mut World, from: usize, to: usize, event: Event) -> Option<Event> {
        let (Event::Request(token, _) | Event::Reply(token, _)) = &event else {
            return Some(event);
        };
        let number = token.conn;
        if self.blocked.contains(&(from, to)) {
            if let Some(conn) = self.conns.get_mut(&number) {
                conn.held.push(event);
                world.schedule(SILENCE, world::Event::Net(Event::Silence(number)));
            }
            return None;
        }
        Some(event)
    }

    fn request(&mut self, world: &mut World, hosts: &mut [Host], token: Token, message: Message) {
        let Some(conn) = self.conns.get(&token.conn) else { return };
        // The caller may have given up by now; the request arrives all the same.
        let from = token.from;
        let (a, b) = (conn.ends[from].host, conn.ends[1 - from].host);
        let link = conn.ends[1 - from].link;
        if !conn.ends[1 - from].alive {
            return;
        }
        let every = self.weather.reset_every;
        if self.dice.one_in(every) {
            return self.reset(world, hosts, token.conn);
        }
        let Some(Event::Request(token, message)) =
            self.hold(world, a, b, Event::Request(token, message))
        else {
            return;
        };
        hosts[b].serve(world, link, token, message);
    }

    fn reply(&mut self, world: &mut World, hosts: &mut [Host], token: Token, message: Message) {
        let Some(conn) = self.conns.get(&token.conn) else { return };
        let Some(open) = conn.calls.get(&token.stream) else { return };
        let (to, from) = (conn.ends[open.from].host, conn.ends[1 - open.from].host);
        let every = self.weather.reset_every;
        if self.dice.one_in(every) {
            return self.reset(world, hosts, token.conn);
        }
        let Some(Event::Reply(token, message)) =
            self.hold(world, from, to, Event::Reply(token, message))
        else {
            return;
        };
        self.finish(world, hosts, token, Ok(message));
    }

    /// A call has come to its end.
    fn finish(
        &mut self,
        world: &mut World,
        hosts: &mut [Host],
        token: Token,
        result: Result<Message, PeerError>,
    ) {
        let Some(conn) = self.conns.get_mut(&token.conn) else { return };
        let Some(open) = conn.calls.remove(&token.stream) else { return };
        let (host, peer) = (conn.ends[open.from].host, conn.ends[1 - open.from].host);
        self.callers.remove(&(host, open.caller));
        let peer = self.names[peer];
        if let (Caller::Node(_), Ok(_)) = (open.caller, &result) {
            // Gossip stands for the wire's pings, which are not played.
            let (sample, end) = (world.now.since(open.begun), &mut conn.ends[open.from]);
            let rtt = end.rtt.map_or(sample, |rtt| rtt - rtt / 8 + sample / 8);
            end.rtt = Some(rtt);
            let link = end.link;
            hosts[host].measured(world, link, rtt);
        }
        hosts[host].answered(world, peer, open.caller, open.expect, result);
    }

    /// One end learns that the connection is gone.
    fn gone(&mut self, world: &mut World, hosts: &mut [Host], number: u64, end: usize) {
        let Some(conn) = self.conns.get(&number) else { return };
        if conn.ends[end].alive {
            let (host, link) = (conn.ends[end].host, conn.ends[end].link);
            self.close(world, hosts, number, end);
            hosts[host].link_down(world, link, "reset");
        }
        if let Some(conn) = self.conns.get(&number)
            && conn.ends.iter().all(|end| !end.alive)
        {
            self.conns.remove(&number);
        }
    }

    fn close(&mut self, world: &mut World, hosts: &mut [Host], number: u64, end: usize) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        let (host, link) = (conn.ends[end].host, conn.ends[end].link);
        conn.ends[end].alive = false;
        self.ends.remove(&(host, link));
        let streams = conn.calls.iter().filter(|(_, open)| open.from == end);
        let streams: Vec<u64> = streams.map(|(stream, _)| *stream).collect();
        for stream in streams {
            let token = Token { conn: number, stream, from: end };
            self.finish(world, hosts, token, Err(PeerError::Unreachable));
        }
    }
}
