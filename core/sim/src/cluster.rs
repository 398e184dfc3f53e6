//! Machines that run side by side in one virtual time.

use std::time::Duration;

use mews_core::{id::NodeId, placement::history::History, task::Task, time::Instant};

use crate::{
    dice::Dice,
    host::{Crash, Happened, Host, Options, Sent},
    net::{Net, Weather},
    world::{Event, World},
};

/// The hosts, and all that they share.
pub struct Cluster {
    /// The machines.
    pub hosts: Vec<Host>,
    /// Time, chance, and what is to come.
    pub world: World,
    /// What is between the machines.
    pub net: Net,
}

/// The name of the node on a host.
fn name(host: usize) -> NodeId {
    let hash = blake3::hash(&(host as u64).to_le_bytes());
    NodeId(*hash.as_bytes())
}

impl Cluster {
    /// So many machines with empty disks, switched off, and a network between them. `zones` gives each its zone.
    pub fn new(seed: u64, zones: &[usize], weather: Weather, options: &Options) -> Self {
        let mut dice = Dice::new(seed);
        let hosts = (0..zones.len())
            .map(|number| Host::new(number, name(number), dice.child(), options.clone()));
        let hosts: Vec<Host> = hosts.collect();
        let names = hosts.iter().map(|host| host.node).collect();
        let net = Net::new(dice.child(), weather, zones.to_vec(), names);
        Self { hosts, world: World::new(dice, options.keep_trace), net }
    }

    /// One machine that is a cluster by itself.
    pub fn single(seed: u64, options: &Options) -> Self {
        Self::new(seed, &[0], Weather::default(), options)
    }

    /// Hands to the network what hosts have given, and does what comes of that.
    pub fn flush(&mut self) {
        while let Some(out) = self.world.out.pop_front() {
            self.net.take(&mut self.world, &mut self.hosts, out);
        }
    }

    /// Starts the process of a host.
    ///
    /// # Errors
    /// What a person would read if the store did not open.
    pub fn boot(&mut self, host: usize) -> Result<(), String> {
        let booted = self.hosts[host].boot(&mut self.world);
        self.flush();
        booted
    }

    /// Ends the process of a host.
    pub fn crash(&mut self, host: usize, how: Crash) {
        self.hosts[host].crash(&mut self.world, how);
        self.world.out.clear();
        self.net.crashed(&mut self.world, host);
    }

    /// Time passes while every machine is switched off.
    pub fn stay_down(&mut self, time: Duration) {
        assert!(self.hosts.iter().all(|host| !host.is_up()), "one is running");
        self.world.now = self.world.now.after(time);
    }

    /// Sends a request to a host; it will be answered by [`Happened::Answered`] with this number.
    pub fn send(&mut self, host: usize, request: u64, sent: Sent) {
        self.hosts[host].send(&mut self.world, request, sent);
        self.flush();
    }

    /// Runs a task on a host that nobody sent.
    pub fn start(&mut self, host: usize, task: Task) {
        self.hosts[host].start(&mut self.world, task);
        self.flush();
    }

    /// Changes the layouts on a host, as an operator would.
    ///
    /// # Errors
    /// Those of `change`, or that the host is down.
    pub fn change_layout<T>(
        &mut self,
        host: usize,
        change: impl FnOnce(&mut History) -> Result<T, String>,
    ) -> Result<T, String> {
        let changed = self.hosts[host].change_layout(&mut self.world, change);
        self.flush();
        changed
    }

    /// The client of a request goes away after this time, if it is not answered by then.
    pub fn leave_in(&mut self, host: usize, request: u64, wait: Duration) {
        self.hosts[host].leave_in(&mut self.world, request, wait);
    }

    /// Asks for [`Happened::Wake`] after this time.
    pub fn wake_in(&mut self, wait: Duration, number: u64) {
        self.world.schedule(wait, Event::Wake(number));
    }

    /// Handles the next event, and says what clients learn from it. `None`: nothing will ever happen again.
    pub fn step(&mut self) -> Option<Vec<Happened>> {
        if self.world.happened.is_empty() {
            match self.world.pop()? {
                Event::Host(host, event) => self.hosts[host].handle(&mut self.world, event),
                Event::Net(event) => self.net.handle(&mut self.world, &mut self.hosts, event),
                Event::Wake(number) => self.world.happened.push_back(Happened::Wake(number)),
            }
            self.flush();
        }
        Some(self.world.happened.drain(..).collect())
    }

    /// When the next event comes.
    pub fn next_at(&self) -> Option<Instant> {
        if self.world.happened.is_empty() { self.world.next_at() } else { Some(self.world.now) }
    }
}
