//! Clients side by side, doing this and that to a few keys, on a machine that crashes now and then; every answer is held
//! against the model, and in the end everything on the disks against everything else.

use std::{collections::BTreeMap, time::Duration};

use mews_core::seed::Seed;

use crate::{
    client::{Ask, Content, texts},
    history::{History, Tick, WriteId},
    host::{Crash, Happened, Options, Received},
    sim::{NIGHT, Sim},
    world::Met,
};

/// A setup of a run; see `testdata/scenarios`.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The machine.
    pub options: Options,
    /// Requests in all.
    pub ops: u64,
    /// Clients.
    pub clients: u64,
    /// Keys that they share.
    pub keys: u64,
    /// A crash about every so many events; 0 for none.
    pub crash_every: u64,
    /// One client of so many leaves before its answer; 0 for none.
    pub leave_every: u64,
    /// One client of so many reads its answer slowly; 0 for none.
    pub slow_every: u64,
    /// One object of so many shares its blocks with others; 0 for none.
    pub repeat_every: u64,
    /// From how many contents those are chosen.
    pub pool: u64,
    /// The longest object, in blocks.
    pub blocks_max: u64,
    /// How far the wall clock may be ahead after a start, in milliseconds.
    pub skew: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            options: Options::default(),
            ops: 150,
            clients: 5,
            keys: 5,
            crash_every: 400,
            leave_every: 12,
            slow_every: 8,
            repeat_every: 6,
            pool: 1,
            blocks_max: 8,
            skew: 5_000,
        }
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Requests sent.
    pub ops: u64,
    /// What was met.
    pub met: Met,
    /// The trace's hash.
    pub hash: String,
    /// What is wrong; nothing, if all held.
    pub wrong: Vec<String>,
    /// The trace, if it was kept.
    pub text: Vec<String>,
}

/// A multipart upload that a client has under way.
#[derive(Clone, Debug)]
struct Upload {
    key: String,
    id: String,
    part: Content,
    etag: Option<String>,
}

/// A request whose answer is awaited.
struct Pending {
    client: u64,
    ask: Ask,
    began: Tick,
    write: Option<WriteId>,
    /// A crash or a leaving client may break its answer off.
    disturbed: bool,
}

struct Run {
    sim: Sim,
    scenario: Scenario,
    seed: Seed,
    history: History,
    pending: BTreeMap<u64, Pending>,
    uploads: BTreeMap<u64, Upload>,
    contents: BTreeMap<[u8; 32], Content>,
    written: u64,
    sent: u64,
    crash_at: u64,
    wrong: Vec<String>,
}

/// Objects that copies are made of: they never change.
const SOURCES: [(&str, Content); 2] = [
    ("source/small", Content { number: 1, len: 33 }),
    ("source/large", Content { number: 2, len: 9000 }),
];

/// Runs a scenario with one seed.
pub fn run(seed: u64, scenario: &Scenario) -> Report {
    let mut bytes = [0x5e; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    match Sim::new(seed, scenario.options.clone()) {
        Ok(sim) => {
            let mut run = Run {
                sim,
                scenario: scenario.clone(),
                seed: Seed::new(bytes),
                history: History::default(),
                pending: BTreeMap::new(),
                uploads: BTreeMap::new(),
                contents: BTreeMap::new(),
                written: 1000,
                sent: 0,
                crash_at: u64::MAX,
                wrong: Vec::new(),
            };
            if let Err(error) = run.all() {
                run.wrong.push(error);
            }
            Report {
                seed,
                ops: run.sent,
                met: run.sim.cluster.world.met,
                hash: run.sim.cluster.world.trace.hash(),
                wrong: run.wrong,
                text: run.sim.cluster.world.trace.text().to_vec(),
            }
        }
        Err(error) => Report {
            seed,
            ops: 0,
            met: Met::default(),
            hash: String::new(),
            wrong: vec![error],
            text: Vec::new(),
        },
    }
}

fn pick<T: Copy>(seed: &mut Seed, from: &[T]) -> T {
    from[usize::try_from(seed.below(from.len() as u64)).unwrap_or(0)]
}

impl Run {
    fn all(&mut self) -> Result<(), String> {
        for (key, content) in SOURCES {
            self.remember(content);
            let write = self.history.begin(key, Some(content));
            match self.sim.call(&Ask::Put(key.to_owned(), content)) {
                Some(received) if received.head.status == 200 => self.history.succeeded(&write),
                other => return Err(format!("the first PUT was answered {other:?}")),
            }
        }
        for client in 0..self.scenario.clients {
            self.pause(client);
        }
        self.next_crash();
        while self.sent < self.scenario.ops || !self.pending.is_empty() {
            if self.sim.handled() >= self.crash_at && self.sent < self.scenario.ops {
                self.crash()?;
            }
            let Some(happened) = self.sim.cluster.step() else {
                return Err("nothing happens any more".to_owned());
            };
            for happened in happened {
                match happened {
                    Happened::Wake(client) => self.ask(client),
                    Happened::Answered(request, received) => self.answered(request, received),
                }
            }
            if self.wrong.len() > 20 {
                return Err("too much is wrong to go on".to_owned());
            }
        }
        self.end()
    }

    fn pause(&mut self, client: u64) {
        let wait = Duration::from_micros(self.seed.below(30_000));
        self.sim.cluster.wake_in(wait, client);
    }

    fn next_crash(&mut self) {
        let every = self.scenario.crash_every;
        self.crash_at = match every {
            0 => u64::MAX,
            every => self.sim.handled() + 1 + self.seed.below(2 * every),
        };
    }

    /// Crashes before the next event, or in the middle of it, and starts again.
    fn crash(&mut self) -> Result<(), String> {
        let how = if self.seed.below(3) == 0 { Crash::Kill } else { Crash::Power };
        for pending in self.pending.values_mut() {
            pending.disturbed = true;
        }
        if self.seed.below(2) == 0 {
            let (platter, disk) = (self.sim.host().platter(), self.sim.host().disk());
            platter.stop_at(platter.steps() + self.seed.below(30));
            disk.mem.fail_at(disk.mem.steps() + self.seed.below(8), true);
            // What is said after the power has failed is heard by nobody.
            if let Some(happened) = self.sim.cluster.step() {
                for happened in happened {
                    match happened {
                        Happened::Wake(client) => self.pause(client),
                        Happened::Answered(request, _) => self.answered(request, None),
                    }
                }
            }
        }
        self.sim.cluster.crash(0, how);
        self.history.crashed();
        let ahead = self.seed.below(self.scenario.skew + 1);
        self.sim.cluster.hosts[0].set_skew(i64::try_from(ahead).unwrap_or(0));
        let down = Duration::from_millis(self.seed.below(3_000));
        self.sim.cluster.stay_down(if self.seed.below(8) == 0 { NIGHT } else { down });
        self.next_crash();
        let started = self.sim.boot();
        started.map_err(|error| format!("it does not start again: {error}"))
    }

    fn one_in(&mut self, many: u64) -> bool {
        many > 0 && self.seed.below(many) == 0
    }

    fn content(&mut self) -> Content {
        self.written += 1;
        let inline = u64::from(self.scenario.options.config.inline_max);
        let block = u64::from(self.scenario.options.config.block_size);
        let Scenario { blocks_max, pool, repeat_every, .. } = self.scenario;
        let len = match self.seed.below(4) {
            0 => self.seed.below(inline + 1),
            1 => self.seed.below(block + 1),
            2 => block * self.seed.below(blocks_max / 2),
            _ => self.seed.below(block * blocks_max),
        };
        let number =
            if self.one_in(repeat_every) { 10 + self.seed.below(pool) } else { self.written };
        let content = Content { number, len: usize::try_from(len).unwrap_or(0) };
        self.remember(content);
        content
    }

    fn remember(&mut self, content: Content) {
        self.canonical(content);
    }

    /// Two contents may have the same bytes, above all short ones: the first stands for all.
    fn canonical(&mut self, content: Content) -> Content {
        let hash = *blake3::hash(&content.bytes()).as_bytes();
        *self.contents.entry(hash).or_insert(content)
    }

    fn ask(&mut self, client: u64) {
        if self.sent >= self.scenario.ops {
            return;
        }
        let ask = self.choose(client);
        let write = match &ask {
            Ask::Put(key, content) => Some((key.clone(), Some(*content))),
            Ask::Delete(key) => Some((key.clone(), None)),
            Ask::Copy(from, to) => {
                let source = SOURCES.iter().find(|(name, _)| name == from);
                Some((to.clone(), source.map(|(_, content)| *content)))
            }
            Ask::Complete(key, ..) => {
                Some((key.clone(), self.uploads.get(&client).map(|upload| upload.part)))
            }
            Ask::Get(_)
            | Ask::Head(_)
            | Ask::List(..)
            | Ask::Create(_)
            | Ask::Part(..)
            | Ask::Abort(..) => None,
        };
        let began = self.history.tick();
        let write = write.map(|(key, value)| {
            let value = value.map(|content| self.canonical(content));
            self.history.begin(&key, value)
        });
        let request = self.sim.send(&ask);
        self.sent += 1;
        if self.one_in(self.scenario.slow_every) {
            self.sim.cluster.hosts[0].read_slowly(request);
        }
        let leaves = self.one_in(self.scenario.leave_every);
        if leaves {
            let wait = Duration::from_micros(self.seed.below(40_000));
            self.sim.cluster.leave_in(0, request, wait);
        }
        self.pending.insert(request, Pending { client, ask, began, write, disturbed: leaves });
    }

    fn choose(&mut self, client: u64) -> Ask {
        let key = format!("key/{}", self.seed.below(self.scenario.keys));
        if let Some(upload) = self.uploads.get(&client).cloned() {
            let Upload { key, id, part, etag } = upload;
            return match (etag, self.seed.below(8)) {
                (_, 0) => Ask::Abort(key, id),
                (None, _) | (Some(_), 1) => Ask::Part(key, id, 1, part),
                (Some(etag), _) => Ask::Complete(key, id, vec![etag]),
            };
        }
        match self.seed.below(20) {
            0..7 => Ask::Put(key, self.content()),
            7..12 => Ask::Get(key),
            12 => Ask::Head(key),
            13 | 14 => Ask::Delete(key),
            15 => Ask::Copy(pick(&mut self.seed, &SOURCES).0.to_owned(), key),
            16 => Ask::List(100, None),
            _ => Ask::Create(key),
        }
    }

    fn answered(&mut self, request: u64, received: Option<Received>) {
        let Some(pending) = self.pending.remove(&request) else { return };
        self.pause(pending.client);
        let Some(received) = received else {
            if !pending.disturbed {
                self.wrong.push(format!("{:?} was never answered", pending.ask));
            }
            // Whatever it has begun, somebody else has to see to it.
            self.uploads.remove(&pending.client);
            return;
        };
        let status = received.head.status;
        // A success may turn into an error once the head is out.
        let failed = status / 100 == 2
            && received.body.starts_with(b"<?xml")
            && String::from_utf8_lossy(&received.body).contains("<Error>");
        if status >= 500 || failed {
            if !pending.disturbed {
                let text = String::from_utf8_lossy(&received.body).into_owned();
                self.wrong.push(format!("{:?} was answered {status}: {text}", pending.ask));
            }
            return;
        }
        if let Some(write) = &pending.write {
            if status / 100 == 2 {
                self.history.succeeded(write);
            } else {
                self.history.refused(write);
            }
        }
        if let Err(wrong) = self.judge(&pending, &received) {
            self.wrong.push(format!("request {request}: {wrong}"));
        }
    }

    /// Holds an answer against the model.
    fn judge(&mut self, pending: &Pending, received: &Received) -> Result<(), String> {
        let status = received.head.status;
        let unexpected = || {
            let text = String::from_utf8_lossy(&received.body);
            Err(format!("{:?} was answered {status}: {text}", pending.ask))
        };
        let header = |name: &str| {
            let found = received.head.headers.iter().find(|(field, _)| field == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        match (&pending.ask, status) {
            (Ask::Put(..) | Ask::Copy(..), 200) | (Ask::Delete(_), 204) => Ok(()),
            (Ask::Get(key), 404) => self.history.read(key, pending.began, None),
            (Ask::Get(key), 200) => {
                if !received.complete {
                    return if pending.disturbed {
                        Ok(())
                    } else {
                        Err(format!("GET {key} broke off after {} bytes", received.body.len()))
                    };
                }
                let hash = *blake3::hash(&received.body).as_bytes();
                match self.contents.get(&hash).copied() {
                    Some(content) => self.history.read(key, pending.began, Some(content)),
                    None => Err(format!(
                        "GET {key} gave {} bytes that nobody wrote",
                        received.body.len()
                    )),
                }
            }
            (Ask::Head(key), 404) => self.history.listed(key, pending.began, None),
            (Ask::Head(key), 200) => {
                let len = usize::try_from(received.head.len).unwrap_or(usize::MAX);
                self.history.listed(key, pending.began, Some(len))
            }
            (Ask::List(..), 200) => self.judge_listing(pending.began, &received.body),
            (Ask::Create(key), 200) => {
                let body = String::from_utf8_lossy(&received.body);
                let Some(id) = texts(&body, "UploadId").first().map(|id| (*id).to_owned()) else {
                    return unexpected();
                };
                let part = self.content();
                let upload = Upload { key: key.clone(), id, part, etag: None };
                self.uploads.insert(pending.client, upload);
                Ok(())
            }
            (Ask::Part(..), 200) => {
                let etag = header("etag").ok_or("a part without an entity tag")?;
                if let Some(upload) = self.uploads.get_mut(&pending.client) {
                    upload.etag = Some(etag);
                }
                Ok(())
            }
            (Ask::Complete(..), 200) | (Ask::Abort(..), 204) => {
                self.uploads.remove(&pending.client);
                Ok(())
            }
            _ => unexpected(),
        }
    }

    fn judge_listing(&mut self, began: Tick, body: &[u8]) -> Result<(), String> {
        let body = String::from_utf8_lossy(body);
        let sizes = texts(&body, "Size").into_iter().map(|size| size.parse::<usize>().ok());
        let listed: BTreeMap<&str, Option<usize>> =
            texts(&body, "Key").into_iter().zip(sizes).collect();
        for key in self.history.keys() {
            let len = listed.get(key.as_str()).copied().flatten();
            self.history.listed(&key, began, len)?;
        }
        let unknown = listed.keys().find(|key| !self.history.keys().contains(&(**key).to_owned()));
        unknown.map_or(Ok(()), |key| Err(format!("{key} is listed, and nobody wrote it")))
    }

    /// A last crash, a rest, and a look at everything.
    fn end(&mut self) -> Result<(), String> {
        let how = if self.seed.below(2) == 0 { Crash::Kill } else { Crash::Power };
        self.history.crashed();
        let started = self.sim.crash_and_boot(how);
        started.map_err(|error| format!("it does not start again: {error}"))?;
        self.read_all()?;
        self.sim.rest()?;
        self.wrong.extend(self.sim.check());
        self.read_all()
    }

    fn read_all(&mut self) -> Result<(), String> {
        let mut asks: Vec<Ask> = self.history.keys().into_iter().map(Ask::Get).collect();
        asks.push(Ask::List(100, None));
        for ask in asks {
            let began = self.history.tick();
            let received = self.sim.call(&ask).ok_or("the node does not answer")?;
            let pending = Pending { client: 0, ask, began, write: None, disturbed: false };
            if let Err(wrong) = self.judge(&pending, &received) {
                self.wrong.push(format!("in the end: {wrong}"));
            }
        }
        Ok(())
    }
}
