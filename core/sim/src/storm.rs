//! A run of a whole cluster: clients at work while things go wrong (safety), then everything is healed and the cluster has to
//! converge within a bound (liveness), then everything is held against everything else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mews_core::{
    daemon::quickstart::{self, Wanted},
    id::ClusterId,
    placement::layout::{CAPACITY_MIN, Parameters, Redundancy, Role},
    time::Instant,
};

use crate::{
    agree,
    client::{Ask, BUCKET, Client, texts},
    clients::{Clients, SOURCES},
    cluster::Cluster,
    dice::Dice,
    founders::Founders,
    host::{Crash, Happened, Received},
    rebalance,
    sim::key,
    swarm::Plan,
    workload::Report,
};

/// A healed cluster that has not converged after this never will: two rounds of synchronisation, which comes every ten
/// minutes, what they leave to do, and the time for which that is remembered.
const CONVERGED_MAX: Duration = Duration::from_secs(60 * 60);

/// After this all replicas have been synchronised at least once.
const SYNC: Duration = Duration::from_secs(15 * 60);

/// A cluster without a fault serves everything again after this. A connection that hangs is given up after 15 s of silence and dialled
/// again within a second. One that was dialled in vain for long waits for 10 s at most until the last attempt has failed, and for
/// 30 s, the longest wait, until the next. What was asked meanwhile by a connection that hung is given up after another 10 s.
const GRACE: Duration = Duration::from_secs(60);

/// How long everybody is away in the end: what launches itself once a month is due then, and all that a crash has left is old enough
/// to be looked at.
const MONTH: Duration = Duration::from_secs(32 * 24 * 3600);

/// Clients whose requests are all answered or given up take no longer than this.
const STUCK: Duration = Duration::from_secs(20 * 60);

/// Nor do they need more events than this: in [`STUCK`], a busy host has some hundred thousand.
const STUCK_STEPS: u64 = 1_000_000;

/// Wakes with numbers from here on are not the clients'.
pub(crate) const NEMESIS: u64 = 1 << 32;

/// One run.
pub struct Storm {
    /// The machines.
    pub cluster: Cluster,
    /// Who uses them.
    pub clients: Clients,
    /// Who creates and deletes buckets.
    pub founders: Founders,
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    client: Client,
    /// Where requests under way were sent to.
    pub(crate) routes: BTreeMap<u64, usize>,
    /// Hosts with a role, which clients talk to.
    pub(crate) members: Vec<usize>,
    sent: u64,
    next: u64,
    /// Whether nothing more is to go wrong.
    pub(crate) calm: bool,
    /// Whether a disk was lost or has rotted since the cluster last had everything everywhere.
    pub(crate) damaged: bool,
}

/// Runs a plan with one seed.
pub fn run(seed: u64, plan: &Plan) -> Report {
    let mut storm = Storm::new(seed, plan.clone());
    let done = if plan.fill > 0 { rebalance::run(&mut storm) } else { storm.all() };
    if let Err(error) = done {
        storm.clients.wrong.push(error);
    }
    let world = &mut storm.cluster.world;
    world.met.unavailable = storm.clients.unavailable;
    Report {
        seed,
        ops: storm.sent,
        met: world.met,
        hash: world.trace.hash(),
        wrong: storm.clients.wrong,
        text: world.trace.text().to_vec(),
    }
}

impl Storm {
    /// The machines of a plan, switched off.
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut dice = Dice::new(seed ^ 0x0073_746f_726d);
        let mut clients = Clients::new(plan.habits.clone(), dice.child());
        let block = plan.habits.block;
        let founders = Founders::new(Dice::new(seed ^ 0x666f_756e), 3 * block);
        // A read asks half of an even number of copies, and what these agree on the other half may lack.
        clients.history.flickers = plan.replication.is_multiple_of(2);
        let mut zones = plan.zones.clone();
        zones.extend((0..plan.spare).map(|spare| spare % 3));
        Self {
            cluster: Cluster::new(seed, &zones, plan.weather.clone(), &plan.options),
            clients,
            founders,
            client: Client::new(&key(), dice.seed()),
            members: (0..plan.zones.len()).collect(),
            plan,
            dice,
            routes: BTreeMap::new(),
            sent: 0,
            next: 0,
            calm: true,
            damaged: false,
        }
    }

    fn all(&mut self) -> Result<(), String> {
        self.found()?;
        self.work()?;
        self.heal()?;
        self.converge()?;
        self.read_all()?;
        if self.plan.night {
            self.night()?;
        }
        self.clients.wrong.extend(self.founders.wrong());
        Ok(())
    }

    /// Lets time pass until something is so.
    pub(crate) fn until(
        &mut self,
        what: &str,
        wait: Duration,
        every: Duration,
        so: impl Fn(&Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let end = self.cluster.world.now.after(wait);
        loop {
            let Err(why) = so(self) else { return Ok(()) };
            let now = self.cluster.world.now;
            if now >= end {
                return Err(format!("{what} within {} s: {why}", wait.as_secs()));
            }
            self.pass(now.after(every))?;
        }
    }

    /// Handles everything up to this time.
    pub(crate) fn pass(&mut self, until: Instant) -> Result<(), String> {
        while self.cluster.next_at().is_some_and(|at| at <= until) {
            self.step()?;
        }
        self.cluster.world.now = self.cluster.world.now.max(until);
        Ok(())
    }

    pub(crate) fn step(&mut self) -> Result<(), String> {
        let happened = self.cluster.step().ok_or("nothing happens any more")?;
        for happened in happened {
            match happened {
                Happened::Wake(number) if number >= NEMESIS => self.trouble(number)?,
                Happened::Wake(client) => self.ask(client),
                Happened::Answered(request, received) => self.answered(request, received),
            }
        }
        if self.clients.wrong.len() > 20 {
            return Err("too much is wrong to go on".to_owned());
        }
        Ok(())
    }

    /// Starts the machines, lets them find each other, and makes the first layout, the bucket and the key.
    pub(crate) fn found(&mut self) -> Result<(), String> {
        for host in 0..self.cluster.hosts.len() {
            self.cluster.boot(host)?;
        }
        let second = Duration::from_secs(1);
        self.until("the mesh was not complete", 2 * GRACE, second, Self::is_mesh)?;
        self.first_layout()?;
        self.until("the first layout was not in force", 2 * GRACE, second, |storm| {
            let lacks = storm.cluster.hosts.iter().find(|host| {
                host.view().is_none_or(|view| view.ring.version() != 1 || view.ring.oldest() != 1)
            });
            lacks.map_or(Ok(()), |host| Err(format!("host {} lacks it", host.number)))
        })?;
        let view = self.cluster.hosts[0].view().ok_or("host 0 is down")?;
        let wanted = Wanted { bucket: Some(BUCKET.to_owned()), key: Some(key()), fresh: key() };
        let (task, slot) = quickstart::task(view, self.dice.seed(), wanted);
        self.cluster.start(0, task);
        let end = self.cluster.world.now.after(GRACE);
        while slot.get().is_none() && self.cluster.world.now < end {
            self.step()?;
        }
        let slot = Arc::into_inner(slot).and_then(|slot| slot.into_inner());
        let prepared = slot.ok_or("the bucket was never made")?;
        prepared.map_err(|error| error.to_string())?;
        if self.plan.fill > 0 {
            return Ok(());
        }
        for (key, content) in SOURCES {
            self.insist(&Ask::Put(key.to_owned(), content))?;
        }
        self.clients.prepare();
        Ok(())
    }

    pub(crate) fn is_mesh(&self) -> Result<(), String> {
        let others = self.cluster.hosts.len() - 1;
        for host in &self.cluster.hosts {
            let view = host.view().ok_or_else(|| format!("host {} is down", host.number))?;
            let up = view.peers.values().filter(|peer| peer.up).count();
            if up != others {
                return Err(format!("host {} has {up} of {others} peers", host.number));
            }
        }
        Ok(())
    }

    /// The role that a host is given.
    pub(crate) fn role(&mut self, host: usize, gateway: bool) -> Role {
        let capacity = CAPACITY_MIN * self.dice.range(1, 3);
        Role {
            zone: format!("zone-{}", self.cluster.net.zone(host)),
            capacity: (!gateway).then_some(capacity),
            tags: Vec::new(),
        }
    }

    fn first_layout(&mut self) -> Result<(), String> {
        let replication = self.plan.replication;
        let gateways = self.plan.gateways;
        let parameters =
            Parameters { replication, redundancy: Redundancy::Maximum, ..Parameters::default() };
        let storage = self.members.len() - gateways;
        let roles: Vec<_> = self
            .members
            .clone()
            .into_iter()
            .map(|host| (self.cluster.hosts[host].node, self.role(host, host >= storage)))
            .collect();
        let now = self.cluster.world.true_time();
        self.cluster.change_layout(0, |history| {
            for (node, role) in roles {
                history.stage(node, Some(role), now).map_err(|error| error.to_string())?;
            }
            history.stage_parameters(parameters, now).map_err(|error| error.to_string())?;
            let applied =
                history.draft().and_then(|draft| history.apply(draft, ClusterId([7; 16]), now));
            applied.map(drop).map_err(|error| error.to_string())
        })
    }

    /// Clients at work, and things that go wrong.
    fn work(&mut self) -> Result<(), String> {
        self.calm = self.plan.fault_every.is_zero();
        for client in 0..self.plan.clients + self.plan.founders {
            self.pause(client);
        }
        self.next_trouble();
        let mut last = (self.cluster.world.now, 0, 0);
        let mut steps = 0;
        while self.sent < self.plan.ops || self.waiting() > 0 {
            self.step()?;
            steps += 1;
            let now = self.cluster.world.now;
            if (self.sent, self.waiting()) != (last.1, last.2) {
                last = (now, self.sent, self.waiting());
                steps = 0;
            } else if now.since(last.0) > STUCK || steps > STUCK_STEPS {
                return Err(self.stuck());
            }
        }
        Ok(())
    }

    fn waiting(&self) -> usize {
        self.clients.waiting() + self.founders.waiting()
    }

    fn stuck(&self) -> String {
        let hosts = self.cluster.hosts.iter();
        let waiting: Vec<String> = hosts
            .map(|host| format!("host {}: {}", host.number, host.waiting().join(", ")))
            .collect();
        format!("requests are never answered; {}", waiting.join("; "))
    }

    fn pause(&mut self, client: u64) {
        let most = u64::try_from(self.plan.pause.as_micros()).unwrap_or(0);
        let wait = Duration::from_micros(self.dice.below(most + 1));
        self.cluster.wake_in(wait, client);
    }

    fn ask(&mut self, client: u64) {
        if self.sent >= self.plan.ops {
            return;
        }
        let Some(host) = self.route(client) else {
            // Everybody is down: the client tries again.
            return self.cluster.wake_in(Duration::from_millis(100), client);
        };
        let founds = client >= self.plan.clients;
        let ask = if founds { self.founders.ask() } else { self.clients.next(client) };
        let request = self.send(host, &ask);
        let hindered = !self.calm || self.cluster.net.weather.reset_every > 0;
        if founds {
            self.founders.sent(request, client, ask, hindered);
        } else {
            self.clients.sent(request, client, ask, hindered);
        }
        self.sent += 1;
        if self.dice.one_in(self.plan.slow_every) {
            self.cluster.hosts[host].read_slowly(request);
        }
        if self.dice.one_in(self.plan.leave_every) {
            let wait = Duration::from_micros(self.dice.below(80_000));
            self.cluster.leave_in(host, request, wait);
            self.may_leave(request);
        }
    }

    /// Mostly the same host for a client, now and then another.
    fn route(&mut self, client: u64) -> Option<usize> {
        let up: Vec<usize> =
            self.members.iter().copied().filter(|host| self.cluster.hosts[*host].is_up()).collect();
        if up.is_empty() {
            return None;
        }
        let own = self.members[usize::try_from(client).unwrap_or(0) % self.members.len()];
        let strays = self.dice.one_in(4) || !up.contains(&own);
        Some(if strays { self.dice.pick(&up) } else { own })
    }

    /// The answer to this request may be broken off.
    pub(crate) fn may_leave(&mut self, request: u64) {
        self.clients.may_leave(request);
        self.founders.may_leave(request);
    }

    pub(crate) fn send(&mut self, host: usize, ask: &Ask) -> u64 {
        let sent = self.client.request(ask, self.cluster.world.true_time());
        let request = self.next;
        self.next += 1;
        self.routes.insert(request, host);
        self.cluster.send(host, request, sent);
        request
    }

    fn answered(&mut self, request: u64, received: Option<Received>) {
        self.routes.remove(&request);
        if let Some((client, told)) = self.founders.answered(request, &received) {
            self.clients
                .wrong
                .extend(told.err().map(|wrong| format!("request {request}: {wrong}")));
            self.pause(client);
        } else if let Some(client) = self.clients.answered(request, received) {
            self.pause(client);
        }
    }

    /// Everything is whole again.
    pub(crate) fn heal(&mut self) -> Result<(), String> {
        self.calm = true;
        self.cluster.net.heal(&mut self.cluster.world);
        self.cluster.net.weather.reset_every = 0;
        for host in 0..self.cluster.hosts.len() {
            self.cluster.hosts[host].set_slow(1);
            self.cluster.hosts[host].set_skew(0);
            self.cluster.hosts[host].disk().mem.kill();
            if !self.cluster.hosts[host].is_up() {
                self.boot(host)?;
            }
        }
        let now = self.cluster.world.now;
        self.pass(now.after(GRACE))?;
        self.settle_members()?;
        // What was begun before is over by now, unless it has left something that the replicas do not agree on.
        self.read_all()?;
        self.abort_uploads()
    }

    /// Where two hosts that could not hear each other have applied two layouts, one of them has won.
    fn settle_members(&mut self) -> Result<(), String> {
        let newest = self.cluster.change_layout(0, |history| {
            history.current().cloned().ok_or_else(|| "there is no layout".to_owned())
        })?;
        let hosts = self.cluster.hosts.iter();
        let hosts = hosts.filter(|host| newest.roles.contains_key(&host.node));
        self.members = hosts.map(|host| host.number).collect();
        Ok(())
    }

    /// Aborts what clients have left open, as a lifecycle rule would: parts that were sent again wait for that. An upload that was
    /// never acknowledged may be known to one replica, and not be found by who asks the others, until that has spread.
    fn abort_uploads(&mut self) -> Result<(), String> {
        let mut left = Vec::new();
        for _ in 0..3 {
            let listing = self.call(self.members[0], &Ask::Uploads)?;
            let listing = String::from_utf8_lossy(&listing.body).into_owned();
            let mut missed = Vec::new();
            for (key, id) in texts(&listing, "Key").into_iter().zip(texts(&listing, "UploadId")) {
                let host = self.dice.pick(&self.members);
                let answer = self.call(host, &Ask::Abort(key.to_owned(), id.to_owned()))?;
                if answer.head.status != 204 {
                    missed.push(format!("{id} of {key} ({})", answer.head.status));
                }
            }
            if missed.is_empty() {
                return Ok(());
            }
            left = missed;
            let now = self.cluster.world.now;
            self.pass(now.after(SYNC))?;
        }
        Err(format!("uploads are listed and cannot be aborted: {}", left.join(", ")))
    }

    /// Starts a host. If its disk fails just then, as was planned, somebody tries again.
    pub(crate) fn boot(&mut self, host: usize) -> Result<(), String> {
        let booted = self.cluster.boot(host).or_else(|error| {
            if !error.contains("injected failure") {
                return Err(error);
            }
            self.cluster.hosts[host].disk().mem.kill();
            self.cluster.boot(host)
        });
        booted.map_err(|error| format!("host {host} does not start again: {error}"))
    }

    pub(crate) fn converge(&mut self) -> Result<(), String> {
        let every = Duration::from_secs(10);
        let converged =
            self.until("a healed cluster did not converge", CONVERGED_MAX, every, |storm| {
                if agree::is_at_work(&storm.cluster) {
                    return Err("there is work left".to_owned());
                }
                let differences = agree::differences(&storm.cluster);
                if differences.is_empty() { Ok(()) } else { Err("replicas differ".to_owned()) }
            });
        if let Err(why) = converged {
            return Err(format!("{why}: {}", agree::differences(&self.cluster).join("; ")));
        }
        // All replicas are equal, so nothing is left of what was never answered, or it is there to stay.
        self.clients.history.crashed();
        self.clients.history.flickers = false;
        self.founders.settled();
        Ok(())
    }

    /// All go down for a month, and what is found after that must fit in every way.
    fn night(&mut self) -> Result<(), String> {
        for host in 0..self.cluster.hosts.len() {
            let how = if self.dice.one_in(2) { Crash::Kill } else { Crash::Power };
            self.cluster.crash(host, how);
        }
        self.cluster.stay_down(MONTH);
        for host in 0..self.cluster.hosts.len() {
            self.boot(host)?;
        }
        // Orphaned files are looked for five minutes after a start, and before that references to what is gone.
        let now = self.cluster.world.now;
        self.pass(now.after(Duration::from_secs(400)))?;
        self.converge()?;
        self.clients.wrong.extend(agree::at_rest(&self.cluster));
        self.read_all()
    }

    /// Every key and a listing, from every host with a role.
    pub(crate) fn read_all(&mut self) -> Result<(), String> {
        let mut asks: Vec<Ask> = self.clients.history.keys().into_iter().map(Ask::Get).collect();
        asks.push(Ask::List(1000, None));
        for ask in asks {
            let host = self.dice.pick(&self.members);
            let began = self.clients.history.tick();
            let received = self.call(host, &ask)?;
            self.clients.look(ask, began, &received);
        }
        for ask in self.founders.looks() {
            let host = self.dice.pick(&self.members);
            let request = self.send(host, &ask);
            self.founders.sent(request, 0, ask.clone(), false);
            let received = self.answer(host, request, &ask)?;
            let told = self.founders.answered(request, &Some(received));
            self.clients.wrong.extend(told.and_then(|(_, told)| told.err()));
        }
        Ok(())
    }

    pub(crate) fn call(&mut self, host: usize, ask: &Ask) -> Result<Received, String> {
        let request = self.send(host, ask);
        self.answer(host, request, ask)
    }

    fn answer(&mut self, host: usize, request: u64, ask: &Ask) -> Result<Received, String> {
        let end = self.cluster.world.now.after(GRACE);
        while self.cluster.world.now < end {
            let happened = self.cluster.step().ok_or("nothing happens any more")?;
            for happened in happened {
                match happened {
                    Happened::Answered(answered, received) if answered == request => {
                        self.routes.remove(&request);
                        return received.ok_or_else(|| format!("{ask:?} was broken off"));
                    }
                    Happened::Answered(request, received) => self.answered(request, received),
                    Happened::Wake(number) if number >= NEMESIS => self.trouble(number)?,
                    Happened::Wake(_) => {}
                }
            }
        }
        Err(format!("{ask:?} to host {host} is not answered"))
    }

    /// Asks until it succeeds.
    fn insist(&mut self, ask: &Ask) -> Result<(), String> {
        let end = self.cluster.world.now.after(GRACE);
        loop {
            let received = self.call(0, ask)?;
            if received.head.status / 100 == 2 {
                return Ok(());
            }
            if self.cluster.world.now >= end {
                let text = String::from_utf8_lossy(&received.body).into_owned();
                return Err(format!("{ask:?} was answered {}: {text}", received.head.status));
            }
        }
    }
}
