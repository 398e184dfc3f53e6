//! Clients side by side, doing this and that to a few keys, on a machine that crashes now and then; every answer is held
//! against the model, and in the end everything on the disks against everything else.

use std::time::Duration;

use crate::{
    client::Ask,
    clients::{Clients, Habits, SOURCES},
    dice::Dice,
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

impl Scenario {
    /// What its clients like to do.
    pub fn habits(&self) -> Habits {
        Habits {
            keys: self.keys,
            repeat_every: self.repeat_every,
            pool: self.pool,
            blocks_max: self.blocks_max,
            small_only: false,
            block: u64::from(self.options.config.block_size),
            inline: u64::from(self.options.config.inline_max),
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

impl Report {
    /// The report of a run that did not begin.
    pub fn failed(seed: u64, error: String) -> Self {
        let (met, wrong) = (Met::default(), vec![error]);
        Self { seed, ops: 0, met, hash: String::new(), wrong, text: Vec::new() }
    }
}

struct Run {
    sim: Sim,
    scenario: Scenario,
    dice: Dice,
    clients: Clients,
    sent: u64,
    crash_at: u64,
}

/// Runs a scenario with one seed.
pub fn run(seed: u64, scenario: &Scenario) -> Report {
    let mut dice = Dice::new(seed ^ 0x5e5e);
    match Sim::new(seed, scenario.options.clone()) {
        Ok(sim) => {
            let mut run = Run {
                sim,
                scenario: scenario.clone(),
                clients: Clients::new(scenario.habits(), dice.child()),
                dice,
                sent: 0,
                crash_at: u64::MAX,
            };
            if let Err(error) = run.all() {
                run.clients.wrong.push(error);
            }
            Report {
                seed,
                ops: run.sent,
                met: run.sim.cluster.world.met,
                hash: run.sim.cluster.world.trace.hash(),
                wrong: run.clients.wrong,
                text: run.sim.cluster.world.trace.text().to_vec(),
            }
        }
        Err(error) => Report::failed(seed, error),
    }
}

impl Run {
    fn all(&mut self) -> Result<(), String> {
        for (key, content) in SOURCES {
            match self.sim.call(&Ask::Put(key.to_owned(), content)) {
                Some(received) if received.head.status == 200 => {}
                other => return Err(format!("the first PUT was answered {other:?}")),
            }
        }
        self.clients.prepare();
        for client in 0..self.scenario.clients {
            self.pause(client);
        }
        self.next_crash();
        while self.sent < self.scenario.ops || self.clients.waiting() > 0 {
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
            if self.clients.wrong.len() > 20 {
                return Err("too much is wrong to go on".to_owned());
            }
        }
        self.end()
    }

    fn pause(&mut self, client: u64) {
        let wait = Duration::from_micros(self.dice.below(30_000));
        self.sim.cluster.wake_in(wait, client);
    }

    fn next_crash(&mut self) {
        let every = self.scenario.crash_every;
        self.crash_at = match every {
            0 => u64::MAX,
            every => self.sim.handled() + 1 + self.dice.below(2 * every),
        };
    }

    /// Crashes before the next event, or in the middle of it, and starts again.
    fn crash(&mut self) -> Result<(), String> {
        let how = if self.dice.below(3) == 0 { Crash::Kill } else { Crash::Power };
        self.clients.disturb();
        if self.dice.below(2) == 0 {
            let (platter, disk) = (self.sim.host().platter(), self.sim.host().disk());
            platter.stop_at(platter.steps() + self.dice.below(30));
            disk.mem.fail_at(disk.mem.steps() + self.dice.below(8), true);
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
        self.clients.history.crashed();
        let ahead = self.dice.below(self.scenario.skew + 1);
        self.sim.cluster.hosts[0].set_skew(i64::try_from(ahead).unwrap_or(0));
        let down = Duration::from_millis(self.dice.below(3_000));
        self.sim.cluster.stay_down(if self.dice.below(8) == 0 { NIGHT } else { down });
        self.next_crash();
        let started = self.sim.boot();
        started.map_err(|error| format!("it does not start again: {error}"))
    }

    fn ask(&mut self, client: u64) {
        if self.sent >= self.scenario.ops {
            return;
        }
        let ask = self.clients.next(client);
        let request = self.sim.send(&ask);
        self.clients.sent(request, client, ask, false);
        self.sent += 1;
        if self.dice.one_in(self.scenario.slow_every) {
            self.sim.cluster.hosts[0].read_slowly(request);
        }
        if self.dice.one_in(self.scenario.leave_every) {
            let wait = Duration::from_micros(self.dice.below(40_000));
            self.sim.cluster.leave_in(0, request, wait);
            self.clients.may_leave(request);
        }
    }

    fn answered(&mut self, request: u64, received: Option<Received>) {
        if let Some(client) = self.clients.answered(request, received) {
            self.pause(client);
        }
    }

    /// A last crash, a rest, and a look at everything.
    fn end(&mut self) -> Result<(), String> {
        let how = if self.dice.below(2) == 0 { Crash::Kill } else { Crash::Power };
        self.clients.history.crashed();
        let started = self.sim.crash_and_boot(how);
        started.map_err(|error| format!("it does not start again: {error}"))?;
        self.read_all()?;
        self.sim.rest()?;
        self.clients.wrong.extend(self.sim.check());
        self.read_all()
    }

    fn read_all(&mut self) -> Result<(), String> {
        let mut asks: Vec<Ask> = self.clients.history.keys().into_iter().map(Ask::Get).collect();
        asks.push(Ask::List(100, None));
        for ask in asks {
            let began = self.clients.history.tick();
            let received = self.sim.call(&ask).ok_or("the node does not answer")?;
            self.clients.look(ask, began, &received);
        }
        Ok(())
    }
}
