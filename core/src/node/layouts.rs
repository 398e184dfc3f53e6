//! The layouts that the cluster goes by, and how far this node has got with them.
//!
//! A node claims a step of a layout (acknowledged, synced, read) only once the claim is on its disk, and goes by a layout only
//! once that is: what others build on must not be forgotten by a crash. So there are two histories: the one that is saved,
//! which is told and gone by, and the one with what came since, which is being saved.
//!
//! A task goes by the view of its start. Each change of the view begins an *epoch*; a layout is acknowledged when the last
//! task of an epoch before it has ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::{NodeEffect, Saved, StateFile, effects::Effects, gossip::Digest, membership::Brief};
use crate::{
    effect::EffectId,
    id::{ClusterId, NodeId},
    placement::{
        history::{History, OtherCluster},
        layout::{CAPACITY_MIN, Layout, Role},
        trackers::Step,
    },
    rpc::Origin,
    time::{Instant, Now},
    view::{Consistency, Ring},
};

/// The zone of a node that was never given one.
const DEFAULT_ZONE: &str = "default";

/// From a failed save to the next.
const SAVE_AGAIN: Duration = Duration::from_secs(2);

/// The role of a node that founds a cluster of its own and gives it `capacity` bytes.
pub fn default_role(capacity: u64) -> Role {
    let capacity = Some(capacity.max(CAPACITY_MIN));
    Role { zone: DEFAULT_ZONE.to_owned(), capacity, tags: Vec::new() }
}

/// The saved layout of a new cluster, which `node` is alone in.
pub fn found(node: NodeId, role: Role, cluster: ClusterId) -> Vec<u8> {
    let mut history = History::new(cluster, Layout::single(node, role));
    // Nothing was ever written elsewhere, so there is nothing to wait for.
    for step in [Step::Ack, Step::Sync, Step::Read] {
        history.reach(step, node, 1);
    }
    history.encode()
}

/// Whether a node that has saved no layout may begin a cluster of its own. Not if it knows others, or if its database has followed
/// the changes of a layout: then that was lost, and beginning anew would part the node from its cluster for good. The first
/// layout of a node alone is no loss, because it can be made again.
pub fn may_found(saved: &Saved) -> bool {
    saved.layout.is_none() && saved.peers.is_none() && saved.synced <= 1
}

/// Whether by this saved layout nobody but `node` has anything of the cluster's: what it lacks, it cannot fetch.
pub fn is_alone(node: NodeId, saved: Option<&[u8]>) -> bool {
    let history = saved.and_then(|saved| History::decode(saved).ok());
    history.is_some_and(|history| history.members() == BTreeSet::from([node]))
}

/// What the tasks of an epoch go by.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    layout: u64,
    read: u64,
    /// How many are running.
    tasks: usize,
}

/// The ring that was made last, and what of.
struct Made {
    active: Vec<Arc<Layout>>,
    retired: Vec<Arc<Layout>>,
    ring: Ring,
}

/// See the [module](self).
pub(super) struct Layouts {
    me: NodeId,
    saved: Arc<History>,
    /// [`History::vouched_version`] of it.
    vouched: u64,
    brief: Brief,
    /// With what came since.
    working: History,
    dirty: bool,
    /// How many saves were begun, and the number of the last one that has succeeded.
    saves: (u64, u64),
    saving: Option<(EffectId, Arc<History>)>,
    save_at: Instant,
    /// The newest version that this node may say it has synced.
    synced: u64,
    /// The version that the own database says it is complete for.
    complete: u64,
    epoch: u64,
    epochs: BTreeMap<u64, Epoch>,
    made: Option<Made>,
}

impl Layouts {
    /// From what was saved.
    pub(super) fn load(
        me: NodeId,
        saved: Option<&[u8]>,
        complete: u64,
        lost: bool,
    ) -> Result<Self, String> {
        let mut history = saved.map_or(Ok(History::default()), History::decode)?;
        if lost && history.members().contains(&me) {
            // As in `remember`; found anew at each start until the rows have been fetched.
            history.reach(Step::Sync, me, history.read_version());
        }
        let synced = history.trackers().get(Step::Sync, me).min(complete);
        let mut this = Self {
            me,
            saved: Arc::default(),
            vouched: 0,
            brief: Brief::default(),
            working: history.clone(),
            dirty: false,
            saves: (0, 0),
            saving: None,
            save_at: Instant(0),
            synced,
            complete,
            epoch: 0,
            epochs: BTreeMap::new(),
            made: None,
        };
        this.settle(Arc::new(history));
        Ok(this)
    }

    /// What is saved: what this node goes by.
    #[cfg(test)]
    pub(super) fn saved(&self) -> &Arc<History> {
        &self.saved
    }

    /// What is known, saved or not: what changes are made to.
    pub(super) fn known(&self) -> &History {
        &self.working
    }

    /// The number of the save that has all that is known in it, and of the last one that is on disk. Changes come all the time: who
    /// waits for one of them waits for its save, and not for the moment when there is nothing else to save.
    pub(super) fn saves(&self) -> (u64, u64) {
        let (begun, saved) = self.saves;
        (begun + u64::from(self.dirty), saved)
    }

    /// What others are told.
    pub(super) fn brief(&self) -> &Brief {
        &self.brief
    }

    fn settle(&mut self, history: Arc<History>) {
        let bytes = Bytes::from(history.encode());
        let digest = (*history != History::default()).then(|| {
            let mut digest = [0; 16];
            digest.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..16]);
            Digest(digest)
        });
        let (cluster, members) = (history.cluster(), history.members());
        let layouts = digest.map(|_| history.layouts_hash());
        let news = layouts.map(|hash| Bytes::from(history.encode_upon(hash))).unwrap_or_default();
        self.brief = Brief { cluster, digest, bytes, layouts, news, members };
        self.vouched = history.vouched_version().unwrap_or(0);
        self.saved = history;
        self.begin_epoch();
    }

    fn begin_epoch(&mut self) {
        let (layout, read) = (self.saved.version(), self.saved.read_version());
        if self.current().is_some_and(|now| (now.layout, now.read) == (layout, read)) {
            return;
        }
        self.epoch += 1;
        self.epochs.insert(self.epoch, Epoch { layout, read, tasks: 0 });
        self.drop_idle();
    }

    fn current(&self) -> Option<&Epoch> {
        self.epochs.last_key_value().map(|(_, epoch)| epoch)
    }

    fn drop_idle(&mut self) {
        let current = self.epoch;
        self.epochs.retain(|number, epoch| *number == current || epoch.tasks > 0);
    }

    /// A task begins.
    pub(super) fn begin(&mut self, background: bool) -> Origin {
        let epoch = self.epochs.get_mut(&self.epoch).expect("the current epoch is kept");
        epoch.tasks += 1;
        let (layout, vouched) = (epoch.layout, self.vouched.min(epoch.read));
        let epoch = self.epoch;
        Origin { layout, vouched, epoch, background, request: None }
    }

    /// A task has ended.
    pub(super) fn end(&mut self, origin: Origin) {
        let epoch = self.epochs.get_mut(&origin.epoch).expect("an epoch with tasks is kept");
        epoch.tasks = epoch.tasks.checked_sub(1).expect("a task ends once");
        self.drop_idle();
    }

    /// The number of the epoch that tasks begin in.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether tasks of `origin` hold the newest layout up.
    pub(super) fn is_behind(&self, origin: Origin) -> bool {
        origin.epoch < self.epoch
    }

    /// How many tasks go by an earlier view.
    pub(super) fn behind(&self) -> usize {
        self.epochs.range(..self.epoch).map(|(_, epoch)| epoch.tasks).sum()
    }

    /// Takes in what a peer knows. Says whether there was news.
    pub(super) fn merge(&mut self, bytes: &[u8], from: NodeId) -> Result<bool, OtherCluster> {
        if bytes.is_empty() {
            return Ok(false);
        }
        let theirs = match History::decode_upon(bytes, &[&self.saved, &self.working]) {
            Ok(Some(theirs)) => theirs,
            // Layouts have changed here since it was told of them. It will hear of that, and send its own.
            Ok(None) => return Ok(false),
            Err(reason) => {
                log::warn!("node {from}: {reason}");
                return Ok(false);
            }
        };
        let mut both = self.working.clone();
        let merged = both.merge(&theirs)?;
        if let Err(reason) = both.check() {
            log::error!(
                "node {from} has layouts that do not fit to those here, and is not heeded: {reason}"
            );
            return Ok(false);
        }
        let claimed = theirs.trackers().get(Step::Ack, self.me);
        let forgotten = claimed > self.working.trackers().get(Step::Ack, self.me);
        self.working = both;
        if forgotten {
            self.remember(claimed);
        }
        if let Some(version) = merged.conflict {
            log::error!(
                "two different layouts were applied as version {version}, at two places that had lost each other. All nodes go by \
                 the same one of them now. Look at `mews layout show`, and apply a new version to end the doubt"
            );
            self.contest(version);
        }
        self.dirty |= merged.any();
        Ok(merged.any())
    }

    /// Others know of a claim that this node does not know to have made, though every claim is on its disk before it is told: it has
    /// lost what it had. If reads went to it, it is held to have it all, also if it had never said so because nothing was there to
    /// be fetched when the first layout began.
    fn remember(&mut self, claimed: u64) {
        let version = claimed.min(self.working.read_version());
        log::warn!(
            "this node was a member by layout version {claimed} and has lost what it had: it fetches that again"
        );
        self.dirty |= self.working.reach(Step::Sync, self.me, version);
    }

    /// What tasks and data were made for may not be version `version` after all.
    fn contest(&mut self, version: u64) {
        let before = version - 1;
        self.synced = self.synced.min(before);
        for epoch in self.epochs.values_mut() {
            (epoch.layout, epoch.read) = (epoch.layout.min(before), epoch.read.min(before));
        }
    }

    /// A sync has ended, after which the database is complete for `version`. When it began, everybody had acknowledged
    /// `acknowledged`: who does not know a version may have written past this node.
    pub(super) fn synced(&mut self, version: u64, acknowledged: u64) {
        self.complete = self.complete.max(version);
        self.synced = self.synced.max(version.min(acknowledged));
    }

    /// The version that everybody has acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.saved.sync_version()
    }

    /// The version that the own database says it is complete for.
    pub(super) fn complete(&self) -> u64 {
        self.complete
    }

    /// Whether the database lacks what this node is held to have: it was lost, or given up with the node for dead.
    pub(super) fn is_recovering(&self) -> bool {
        self.complete < self.saved.trackers().get(Step::Sync, self.me)
    }

    /// The version that this node should fetch its data for, if it has not done so.
    pub(super) fn to_sync(&self) -> Option<u64> {
        let version = self.saved.sync_version();
        let is_member = self.brief.members.contains(&self.me);
        (is_member && self.synced < version).then_some(version)
    }

    /// Changes the history by an operator's will.
    pub(super) fn change<T, E>(
        &mut self,
        change: impl FnOnce(&mut History) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut changed = self.working.clone();
        let result = change(&mut changed)?;
        if changed != self.working {
            (self.working, self.dirty) = (changed, true);
        }
        Ok(result)
    }

    /// Claims what this node has done, retires what nobody needs, has it all saved.
    pub(super) fn advance(&mut self, now: Now, effects: &mut Effects) {
        if self.brief.members.contains(&self.me) {
            let oldest = self.epochs.values().next().expect("the current epoch is kept");
            let (layout, read) = (oldest.layout, oldest.read);
            let synced = self.synced;
            for (step, version) in [(Step::Ack, layout), (Step::Sync, synced), (Step::Read, read)] {
                self.dirty |= self.working.reach(step, self.me, version);
            }
        }
        self.dirty |= self.working.advance();
        if self.dirty && self.saving.is_none() && self.save_at <= now.mono {
            self.dirty = false;
            self.saves.0 += 1;
            let (history, bytes) = (Arc::new(self.working.clone()), self.working.encode());
            let save = effects.push(NodeEffect::Save { file: StateFile::Layout, bytes });
            self.saving = Some((save, history));
        }
    }

    /// When there is something to save that could not be saved before.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        (self.dirty && self.saving.is_none()).then_some(self.save_at)
    }

    /// A save has come back. Says whether this node now goes by another history; `None` if it was another file's.
    pub(super) fn handle_saved(
        &mut self,
        now: Now,
        effect: EffectId,
        result: &Result<(), String>,
    ) -> Option<bool> {
        let (_, history) = self.saving.take_if(|(saving, _)| *saving == effect)?;
        match result {
            Ok(()) => {
                self.saves.1 = self.saves.0;
                self.settle(history);
                Some(true)
            }
            Err(reason) => {
                log::error!(
                    "the layout cannot be saved: {reason}. This node cannot follow changes of it until that works"
                );
                (self.dirty, self.save_at) = (true, now.mono.after(SAVE_AGAIN));
                Some(false)
            }
        }
    }

    /// The ring as of what is saved.
    pub(super) fn ring(
        &mut self,
        mode: Consistency,
        near: &dyn Fn(NodeId) -> (u64, NodeId),
    ) -> Ring {
        let active: Vec<Arc<Layout>> = self.saved.active().cloned().collect();
        if active.is_empty() {
            return Ring::empty();
        }
        let retired: Vec<Arc<Layout>> = self.saved.retired().cloned().collect();
        let read = self.saved.read_version();
        // Mostly, only a distance has changed: nodes come and go, layouts stay.
        let same = |made: &&Made| {
            (&made.active, &made.retired, made.ring.read_version()) == (&active, &retired, read)
        };
        let ring = match self.made.as_ref().filter(same) {
            Some(made) => made.ring.ordered(near),
            None => {
                let new: Vec<&Layout> = active.iter().map(AsRef::as_ref).collect();
                let old: Vec<&Layout> = retired.iter().map(AsRef::as_ref).collect();
                Ring::new(&new, read, &old, mode, near)
            }
        };
        self.made = Some(Made { active, retired, ring: ring.clone() });
        ring
    }
}
