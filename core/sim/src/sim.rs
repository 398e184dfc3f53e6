//! A machine with clients: boots, crashes and requests, one after the other or side by side.

use std::{sync::Arc, time::Duration};

use mews_core::{
    daemon::{
        identity::KeyPair,
        quickstart::{self, Wanted},
    },
    seed::Seed,
    time::Instant,
};

use crate::{
    check,
    client::{Ask, BUCKET, Client},
    cluster::Cluster,
    host::{Crash, Happened, Host, Options, Received},
};

/// Longer than everything that the node does by itself takes after a start: orphans are looked for after five minutes.
const REST: Duration = Duration::from_secs(320);

/// A node that has not come to rest after this never will.
const REST_MAX: Duration = Duration::from_secs(900);

/// Long enough for orphaned files to be old enough to be removed.
pub const NIGHT: Duration = Duration::from_secs(2 * 3600);

/// A machine and its client.
pub struct Sim {
    /// The machine, and time.
    pub cluster: Cluster,
    /// Its client.
    pub client: Client,
    next: u64,
    booted: Instant,
}

/// The key that all clients have.
pub fn key() -> KeyPair {
    KeyPair { id: "MKsimulated".to_owned(), secret: "not much of a secret".to_owned() }
}

impl Sim {
    /// A machine as of its first start, with a bucket and a key.
    ///
    /// # Errors
    /// What a person would read if the store did not start.
    pub fn new(number: u64, options: Options) -> Result<Self, String> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        let mut seed = Seed::new(bytes);
        let client = Client::new(&key(), seed.child());
        let cluster = Cluster::single(number, &options);
        let mut sim = Self { cluster, client, next: 0, booted: Instant(0) };
        sim.boot()?;
        sim.prepare()?;
        Ok(sim)
    }

    /// Starts the process.
    ///
    /// # Errors
    /// What a person would read if the store did not open.
    pub fn boot(&mut self) -> Result<(), String> {
        self.booted = self.cluster.world.now;
        self.cluster.boot(0)
    }

    /// The machine.
    pub fn host(&self) -> &Host {
        &self.cluster.hosts[0]
    }

    /// How many events have been handled: the places where a crash may come.
    pub fn handled(&self) -> u64 {
        self.cluster.world.handled()
    }

    /// Makes the bucket and the key, as `quickstart` does.
    fn prepare(&mut self) -> Result<(), String> {
        let view = self.host().view().ok_or("the node is not running")?;
        let wanted = Wanted { bucket: Some(BUCKET.to_owned()), key: Some(key()), fresh: key() };
        let (task, slot) = quickstart::task(view, Seed::new([3; 32]), wanted);
        self.cluster.start(0, task);
        while slot.get().is_none() {
            self.cluster.step().ok_or("the start stands still")?;
        }
        let slot = Arc::into_inner(slot).and_then(|slot| slot.into_inner());
        slot.ok_or("the start was lost")?.map(drop).map_err(|error| error.to_string())
    }

    /// Sends a request; gives its number.
    pub fn send(&mut self, ask: &Ask) -> u64 {
        let sent = self.client.request(ask, self.cluster.world.true_time());
        let number = self.next;
        self.next += 1;
        self.cluster.send(0, number, sent);
        number
    }

    /// Sends a request and waits for its answer.
    pub fn call(&mut self, ask: &Ask) -> Option<Received> {
        let number = self.send(ask);
        self.answer(number)
    }

    /// Waits for the answer to a request.
    pub fn answer(&mut self, number: u64) -> Option<Received> {
        while let Some(happened) = self.cluster.step() {
            for happened in happened {
                if let Happened::Answered(answered, received) = happened
                    && answered == number
                {
                    return received;
                }
            }
        }
        None
    }

    /// Crashes, stays down for the night, and starts again.
    ///
    /// # Errors
    /// What a person would read if the store did not open.
    pub fn crash_and_boot(&mut self, how: Crash) -> Result<(), String> {
        self.cluster.crash(0, how);
        self.cluster.stay_down(NIGHT);
        self.boot()
    }

    /// Lets the node do what it has to do by itself, until nothing is left.
    ///
    /// # Errors
    /// If something is always left.
    pub fn rest(&mut self) -> Result<(), String> {
        let mut until = self.booted.after(REST).max(self.cluster.world.now);
        let last = self.cluster.world.now.after(REST_MAX);
        loop {
            while self.cluster.next_at().is_some_and(|at| at <= until) {
                self.cluster.step();
            }
            // Tombstones too: what becomes due while we look is work as well.
            let Some(jobs) = check::to_do(self.host())? else { return Ok(()) };
            if until >= last {
                let waiting = self.host().waiting().join(", ");
                return Err(format!("there are still {jobs}; tasks wait for {waiting}"));
            }
            until = until.after(Duration::from_secs(10));
        }
    }

    /// Everything wrong with the node at rest.
    pub fn check(&self) -> Vec<String> {
        check::at_rest(self.host())
    }
}
