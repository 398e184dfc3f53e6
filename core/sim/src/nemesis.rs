//! What goes wrong in a run of a cluster, and when.

use std::time::Duration;

use mews_core::id::ClusterId;

use crate::{
    host::{Crash, Host},
    storm::{NEMESIS, Storm},
    swarm::Trouble,
};

/// The next trouble.
const NEXT: u64 = NEMESIS;
/// The network heals.
const WHOLE: u64 = 2 * NEMESIS;
/// A host starts again.
const BOOT: u64 = 3 * NEMESIS;
/// A disk is quick again.
const QUICK: u64 = 4 * NEMESIS;

impl Storm {
    /// Plans the next trouble.
    pub(crate) fn next_trouble(&mut self) {
        if self.calm || self.plan.faults.is_empty() {
            return;
        }
        let every = u64::try_from(self.plan.fault_every.as_millis()).unwrap_or(1);
        let wait = Duration::from_millis(1 + self.dice.below(2 * every));
        self.cluster.wake_in(wait, NEXT);
    }

    /// Something planned is due.
    pub(crate) fn trouble(&mut self, number: u64) -> Result<(), String> {
        let host = usize::try_from(number % NEMESIS).unwrap_or(0);
        match number - number % NEMESIS {
            BOOT if !self.cluster.hosts[host].is_up() => self.boot(host)?,
            QUICK => self.cluster.hosts[host].set_slow(1),
            WHOLE => self.cluster.net.heal(&mut self.cluster.world),
            NEXT if !self.calm => {
                let trouble = self.dice.pick(&self.plan.faults.clone());
                self.happen(trouble)?;
                self.next_trouble();
            }
            _ => {}
        }
        Ok(())
    }

    fn some_time(&mut self) -> Duration {
        let most = u64::try_from(self.plan.down.as_millis()).unwrap_or(1);
        Duration::from_millis(10 + self.dice.below(most))
    }

    fn host(&mut self) -> usize {
        self.dice.index(self.cluster.hosts.len())
    }

    fn happen(&mut self, trouble: Trouble) -> Result<(), String> {
        match trouble {
            Trouble::Kill => self.crash(Crash::Kill),
            Trouble::Power => self.crash(Crash::Power),
            Trouble::Cut => self.cut(),
            Trouble::OneWay => {
                let (from, to) = (self.host(), self.host());
                self.cluster.world.met.partitions += 1;
                self.cluster.net.cut(&mut self.cluster.world, &[from], &[to]);
                self.whole_again();
            }
            Trouble::Reset => {
                let (world, hosts) = (&mut self.cluster.world, &mut self.cluster.hosts);
                self.cluster.net.break_one(world, hosts);
                self.cluster.flush();
            }
            Trouble::SlowLink => {
                let (a, b) = (self.host(), self.host());
                let times = u32::try_from(self.dice.range(5, 100)).unwrap_or(5);
                self.cluster.world.met.slow += 1;
                self.cluster.net.slow_down(&mut self.cluster.world, a, b, times);
                self.whole_again();
            }
            Trouble::SlowDisk => {
                let (host, wait) = (self.host(), self.some_time());
                let times = u32::try_from(self.dice.range(5, 100)).unwrap_or(5);
                self.cluster.world.met.slow += 1;
                self.cluster.hosts[host].set_slow(times);
                self.cluster.wake_in(wait, QUICK + host as u64);
            }
            Trouble::Disk => {
                let host = self.host();
                let disk = self.cluster.hosts[host].disk();
                disk.mem.fail_at(disk.mem.steps() + self.dice.below(20), false);
                self.cluster.world.met.disk += 1;
            }
            Trouble::Skew => {
                let host = self.host();
                let skew = i64::try_from(self.dice.below(2 * self.plan.skew + 1)).unwrap_or(0);
                let skew = skew - i64::try_from(self.plan.skew).unwrap_or(0);
                self.cluster.world.met.skews += 1;
                self.cluster.hosts[host].set_skew(skew);
            }
            Trouble::Rot => self.rot(),
            Trouble::Wipe => self.wipe(),
            Trouble::Layout => self.change_layout(),
            Trouble::PutBack => self.put_back(),
        }
        Ok(())
    }

    fn whole_again(&mut self) {
        let wait = self.some_time();
        self.cluster.wake_in(wait, WHOLE);
    }

    fn down(&self) -> usize {
        self.cluster.hosts.iter().filter(|host| !host.is_up()).count()
    }

    /// Ends the process of some host; gives which, if one may go down.
    fn end_one(&mut self, how: Crash) -> Option<usize> {
        let host = self.host();
        if self.down() >= self.plan.down_max || !self.cluster.hosts[host].is_up() {
            return None;
        }
        self.end(host, how);
        Some(host)
    }

    fn end(&mut self, host: usize, how: Crash) {
        let broken: Vec<u64> = self
            .routes
            .iter()
            .filter(|(_, at)| **at == host)
            .map(|(request, _)| *request)
            .collect();
        for request in broken {
            self.may_leave(request);
        }
        self.cluster.crash(host, how);
        let wait = self.some_time();
        self.cluster.wake_in(wait, BOOT + host as u64);
    }

    fn crash(&mut self, how: Crash) {
        self.end_one(how);
    }

    /// Cuts some hosts off from the others.
    fn cut(&mut self) {
        let hosts = self.cluster.hosts.len();
        let off: Vec<usize> = (0..hosts).filter(|_| self.dice.one_in(3)).collect();
        let rest: Vec<usize> = (0..hosts).filter(|host| !off.contains(host)).collect();
        if off.is_empty() || rest.is_empty() {
            return;
        }
        self.cluster.world.met.partitions += 1;
        self.cluster.net.cut(&mut self.cluster.world, &off, &rest);
        self.cluster.net.cut(&mut self.cluster.world, &rest, &off);
        self.whole_again();
    }

    /// Whether a copy may be lost: one, as long as not everything is everywhere again.
    fn may_damage(&mut self) -> bool {
        self.plan.replication > 1 && !std::mem::replace(&mut self.damaged, true)
    }

    /// Damages a file of one block on one host.
    fn rot(&mut self) {
        let host = self.host();
        let disk = self.cluster.hosts[host].disk();
        let files: Vec<String> =
            disk.mem.files().into_iter().filter(|path| path.contains("/blocks/")).collect();
        if files.is_empty() || !self.may_damage() {
            return;
        }
        let path = &files[self.dice.index(files.len())];
        let at = self.dice.draw();
        disk.mem.damage(path, |bytes| {
            if !bytes.is_empty() {
                let at = usize::try_from(at % bytes.len() as u64).unwrap_or(0);
                bytes[at] ^= 0x40;
            }
        });
        self.cluster.world.met.rot += 1;
        let world = &mut self.cluster.world;
        world.trace.note(world.now, format_args!("host {host}: {path} rots"));
    }

    /// A host loses its disks.
    fn wipe(&mut self) {
        if self.plan.replication > 1
            && !self.damaged
            && let Some(host) = self.end_one(Crash::Power)
        {
            self.damaged = true;
            self.cluster.hosts[host].wipe(&mut self.cluster.world);
        }
    }

    /// A host's database is replaced by a copy that was made of it, or that copy is made now.
    fn put_back(&mut self) {
        let Some(with_copy) = self.cluster.hosts.iter().position(Host::has_copy) else {
            let host = self.host();
            return self.cluster.hosts[host].copy_database();
        };
        if self.plan.replication > 1
            && !self.damaged
            && self.down() < self.plan.down_max
            && self.cluster.hosts[with_copy].is_up()
        {
            self.damaged = true;
            self.end(with_copy, Crash::Power);
            self.cluster.hosts[with_copy].put_back(&mut self.cluster.world);
        }
    }

    /// Applies a layout: a host joins, leaves, is replaced, or gives more or less.
    fn change_layout(&mut self) {
        let at = self.dice.pick(&self.members);
        if !self.cluster.hosts[at].is_up() {
            return;
        }
        let members = self.members.clone();
        let storage: Vec<usize> = members[..members.len() - self.plan.gateways].to_vec();
        let spare: Vec<usize> =
            (0..self.cluster.hosts.len()).filter(|host| !members.contains(host)).collect();
        let joins = (!spare.is_empty()).then(|| self.dice.pick(&spare));
        let may_leave = storage.len() > usize::from(self.plan.replication) || joins.is_some();
        let leaves = (may_leave && self.dice.one_in(2)).then(|| self.dice.pick(&storage));
        let resized = self.dice.pick(&storage);
        let mut roles = vec![(resized, Some(self.role(resized, false)))];
        roles.extend(joins.map(|host| (host, Some(self.role(host, false)))));
        roles.extend(leaves.map(|host| (host, None)));
        let names = roles.into_iter().map(|(host, role)| (self.cluster.hosts[host].node, role));
        let roles: Vec<_> = names.collect();
        let now = self.cluster.world.true_time();
        let applied = self.cluster.change_layout(at, |history| {
            if history.active().count() > 1 {
                return Err("one is under way".to_owned());
            }
            for (node, role) in roles {
                history.stage(node, role, now).map_err(|error| error.to_string())?;
            }
            let applied =
                history.draft().and_then(|draft| history.apply(draft, ClusterId([7; 16]), now));
            applied.map(|plan| plan.version).map_err(|error| error.to_string())
        });
        match applied {
            Ok(version) => {
                self.cluster.world.met.layouts += 1;
                let gateways = self.members.split_off(storage.len());
                self.members.retain(|host| Some(*host) != leaves);
                self.members.extend(joins);
                self.members.extend(gateways);
                let (world, members) = (&mut self.cluster.world, &self.members);
                let now = world.now;
                world.trace.note(now, format_args!("layout {version}: hosts {members:?}"));
            }
            Err(why) => {
                let world = &mut self.cluster.world;
                world.trace.note(world.now, format_args!("no layout: {why}"));
            }
        }
    }
}
