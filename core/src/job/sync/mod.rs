//! Anti-entropy: fetches the rows that other replicas have and this node lacks.
//!
//! Each node pulls; what it has and others lack, they pull. A run goes over every partition that this node holds in any layout
//! in force, and compares it with each of the other holders: what is equal costs a fingerprint, what differs is narrowed down
//! (see [`crate::store::digest`]), and only rows that differ travel. Everything read merges by the rules of the tables, so it
//! does not matter who pulls first, how often, or where a run is broken off.
//!
//! A node whose database is empty or new to a partition may vouch for it once it has pulled from a read quorum of those who
//! held it: every acknowledged write is known to one of them. In all modes the quorum that overlaps that of writes is meant.

mod compare;

use std::{collections::BTreeSet, time::Duration};

use super::{Verdict, commit_local, rest};
use crate::{
    effect::PeerError,
    id::{NodeId, Position},
    node::pace::Work,
    quorum,
    store::{
        Op, Read, SYNCED_KEY, Table,
        digest::{FULL_COPY, Findings, Question, SHARDED},
    },
    task::Cx,
    view::{Replicas, View},
};

/// Partitions whose fingerprints are asked for at a time: with seven tables a question of some 5 KiB, an answer of 12 KiB.
const PARTITIONS: usize = 64;

/// A run ends after this and goes on in a new one: for as long as it lasts, no layout later than its own comes into force. What
/// it has fetched is not looked at again beyond a fingerprint.
const RUN_MAX: Duration = Duration::from_secs(300);

/// Compares this node's rows with those of all other replicas and fetches what it lacks.
pub(super) async fn run(cx: Cx, view: &View) -> Result<Verdict, PeerError> {
    if view.ring.version() == 0 {
        return Ok(Verdict::Done);
    }
    let began = cx.now().mono;
    let mut run = Run { cx, view, lost: BTreeSet::new(), pulled: 0 };
    let mut enough = run.full_copies().await?;
    let held = |partition: &(Position, Position)| view.ring.holds(view.node, partition.0);
    // At most 4096 of four bytes.
    let partitions: Vec<_> = view.ring.partitions().filter(held).collect();
    for some in partitions.chunks(PARTITIONS) {
        enough &= run.partitions(some).await?;
        if cx.now().mono.since(began) > RUN_MAX {
            run.tell();
            return Ok(Verdict::Paused);
        }
    }
    run.tell();
    if !enough {
        return Ok(Verdict::Failed);
    }
    let version = view.ring.version();
    mark(cx, view, version).await?;
    Ok(Verdict::Synced { version })
}

/// Remembers in the database that it has all that this node is to have under this version of the layout.
async fn mark(cx: Cx, view: &View, version: u64) -> Result<(), PeerError> {
    let key = SYNCED_KEY.to_vec();
    let value = version.to_be_bytes().to_vec();
    let stored = quorum::get_local(cx, view, vec![(Table::Meta, key.clone())]).await?;
    if stored == [Some(value.clone())] {
        return Ok(());
    }
    commit_local(cx, view, vec![Op::Merge { table: Table::Meta, key, value, inline: None }]).await
}

/// Who failed: a peer, which is left alone for the rest of the run, or this node, which ends the run.
enum Fault {
    Peer(PeerError),
    Own(PeerError),
}

/// Who has answered.
#[derive(Default)]
struct Answered {
    /// All of them.
    all: BTreeSet<NodeId>,
    /// Those that have all that they are to have. The others are fetching what they have lost.
    whole: BTreeSet<NodeId>,
}

struct Run<'a> {
    cx: Cx,
    view: &'a View,
    /// Peers that have failed to answer in this run.
    lost: BTreeSet<NodeId>,
    /// Rows fetched.
    pulled: u64,
}

impl Run<'_> {
    /// Compares the tables of which everybody has a copy. Whether enough of the others have answered.
    async fn full_copies(&mut self) -> Result<bool, PeerError> {
        let ring = &self.view.ring;
        let ranges: Vec<_> =
            FULL_COPY.iter().map(|table| (*table, Position(0), Position(0))).collect();
        let mut answered = Answered::default();
        for peer in ring.everyone() {
            if *peer != self.view.node {
                self.pull(*peer, &ranges, &mut answered).await?;
            }
        }
        Ok(is_enough(self.view, &ring.full_copy_write_sets(), &answered))
    }

    /// Compares some partitions with all their other holders. Whether enough have answered for each.
    async fn partitions(&mut self, some: &[(Position, Position)]) -> Result<bool, PeerError> {
        let began = self.cx.now().mono;
        let ring = &self.view.ring;
        let mut peers: BTreeSet<NodeId> =
            some.iter().flat_map(|(first, _)| ring.holders(*first)).collect();
        peers.remove(&self.view.node);
        let mut answered = Answered::default();
        for peer in peers {
            let shared = some.iter().filter(|(first, _)| ring.holds(peer, *first));
            let ranges: Vec<_> = SHARDED
                .iter()
                .flat_map(|table| shared.clone().map(|(first, last)| (*table, *first, *last)))
                .collect();
            self.pull(peer, &ranges, &mut answered).await?;
        }
        rest(self.cx, Work::Owed, began, 1).await;
        let sets = |first: Position| ring.write_sets(first);
        Ok(some.iter().all(|(first, _)| is_enough(self.view, &sets(*first), &answered)))
    }

    /// Fetches from `peer` what differs in these ranges of positions, and notes that it has answered.
    async fn pull(
        &mut self,
        peer: NodeId,
        ranges: &[(Table, Position, Position)],
        answered: &mut Answered,
    ) -> Result<(), PeerError> {
        if self.lost.contains(&peer) {
            return Ok(());
        }
        // Before the rows: who has them all later may have lacked some of those that it was asked for.
        let pulled = match self.is_whole(peer).await {
            Ok(whole) => Box::pin(self.compare(peer, ranges)).await.map(|()| whole),
            Err(error) => Err(Fault::Peer(error)),
        };
        match pulled {
            Ok(whole) => {
                answered.all.insert(peer);
                answered.whole.extend(whole.then_some(peer));
                Ok(())
            }
            Err(Fault::Own(error)) => Err(error),
            Err(Fault::Peer(error)) => {
                log::info!("sync: {peer} does not answer and is left out: {error}");
                self.lost.insert(peer);
                Ok(())
            }
        }
    }

    /// Whether a peer has all that it is to have: only then does it answer reads, even one of nothing.
    async fn is_whole(&self, peer: NodeId) -> Result<bool, PeerError> {
        match self.cx.read(peer, Read::Get(Vec::new())).await {
            Ok(_) => Ok(true),
            Err(PeerError::Syncing) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, at: NodeId, question: Question) -> Result<Findings, Fault> {
        let answer = self.cx.read(at, Read::Compare(question)).await;
        let fault = if at == self.view.node { Fault::Own } else { Fault::Peer };
        answer.map(crate::store::Answer::into_compared).map_err(fault)
    }

    fn tell(&self) {
        if self.pulled > 0 {
            log::info!("sync: fetched {} rows from other replicas", self.pulled);
        }
    }
}

/// Whether this node may vouch for rows with these replica sets (oldest first), having pulled from those who have answered.
///
/// For a set of an older layout it must have heard, or itself be, a read quorum. Of the newest it holds its own share, and
/// has done since that came into force; what is not there was written to a quorum of the others. The word of a node whose
/// database has lost something counts for nothing, be it this one or another. But once every other member has told what it has,
/// there is nothing more to wait for.
fn is_enough(view: &View, sets: &[Replicas<'_>], answered: &Answered) -> bool {
    sets.iter().enumerate().all(|(age, set)| {
        let here = set.nodes.contains(&view.node) && !view.recovering;
        let others = || set.nodes.iter().filter(|node| **node != view.node);
        let whole = others().filter(|node| answered.whole.contains(node)).count();
        others().all(|node| answered.all.contains(node))
            || whole + usize::from(here) >= set.sync_quorum()
            || (here && age + 1 == sets.len())
    })
}
