//! Who has a bucket's name: agreed on by a majority of the nodes with a full copy, so that of two nodes that create a bucket of
//! one name at the same moment, one wins and the other is told.
//!
//! This is CASPaxos (Rystsov, 2018): a register per name, changed by prepare and accept, without a log or a leader. The
//! acceptors are rows of [`Table::Ballot`]; what an acceptor does is done to its row by compare-and-swap
//! ([`Guard::Unchanged`]), which is atomic inside its node's writer. The register's value is the [`AliasRow`] itself; an alias
//! row that is later than any proposal accepted (from before there were ballots here, or from acceptors that a change of the
//! layout has left behind) counts as the register's value too, as no proposal ever replaces a row without being later.
//!
//! A proposal carries the rows that it stands for. Whoever finds one accepted somewhere finishes it before going on, so what a
//! crash has left half done is either done or gone, never in between.

use std::time::Duration;

use super::{ask::Open, graver, write_full_copy};
use crate::{
    effect::PeerError,
    id::{BucketId, NodeId},
    store::{Batch, Guard, Op, Outcome, Read, Table},
    table::{
        self,
        access::{AliasRow, Lww},
        ballot::{Accepted, Ballot, BallotRow, FullCopyRow},
        merge,
    },
    task::{Cx, Reason},
    time::Stamp,
    view::{Replicas, View},
};

/// How often a proposer tries again because others were proposing. Each time it waits longer, by chance, so that one gets
/// through.
const ROUNDS: u32 = 24;

/// How often it tries again because nodes failed that had just answered.
const FAILURES: u32 = 3;

/// The unit of the waits between rounds: about a round trip.
const PAUSE: Duration = Duration::from_millis(10);

/// What a name is to stand for.
#[derive(Clone, Debug)]
pub struct Change {
    /// The alias, later than the one it replaces.
    pub alias: AliasRow,
    /// The other rows that are to appear with it.
    pub rows: Vec<FullCopyRow>,
}

/// Changes what `name` stands for, unless `decide` leaves it as it is: it is given the current value and gives the new one, or
/// `None`. It may be asked several times. Gives what the name stands for in the end, settled and written to the full-copy
/// tables.
///
/// # Errors
/// [`PeerError`] if no majority answers, or others keep changing the name. The change may then still come about.
pub async fn change(
    cx: Cx,
    view: &View,
    name: &str,
    decide: impl Fn(&AliasRow) -> Option<Change>,
) -> Result<AliasRow, PeerError> {
    let (mut failures, mut finished) = (0, None);
    for round in 0..ROUNDS {
        if round > 0 {
            let [byte] = cx.random();
            let pause = PAUSE * (u32::from(byte) % (1 << round.min(6))) + PAUSE;
            cx.sleep(pause, Reason("letting another proposer finish")).await;
        }
        match Proposer::new(cx, view, name).run(&decide, finished.as_ref()).await {
            Ok(Round::Settled(settled)) => return Ok(settled),
            Ok(Round::Finished(ballot)) => finished = Some(ballot),
            Ok(Round::Lost) => {}
            Err(Stopped::Before(error)) => return Err(error),
            Err(Stopped::Within(error)) => {
                failures += 1;
                if failures == FAILURES {
                    return Err(error);
                }
            }
        }
    }
    Err(PeerError::Busy)
}

/// What an acceptor has, as it was read.
struct Acceptor {
    /// Its row, encoded.
    value: Option<Vec<u8>>,
    row: BallotRow,
    alias: Option<AliasRow>,
}

/// Why a round ended early.
enum Stopped {
    /// Too few nodes answer at all.
    Before(PeerError),
    /// Nodes that had answered failed.
    Within(PeerError),
}

/// What came of a round.
enum Round {
    /// What the name stands for.
    Settled(AliasRow),
    /// What another had left half done, under this name's value, is done.
    Finished(AliasRow),
    /// Another proposer came in between.
    Lost,
}

/// One round.
struct Proposer<'a> {
    cx: Cx,
    view: &'a View,
    key: Vec<u8>,
    sets: Vec<Replicas<'a>>,
}

impl<'a> Proposer<'a> {
    fn new(cx: Cx, view: &'a View, name: &str) -> Self {
        let sets = view.ring.full_copy_write_sets();
        Self { cx, view, key: name.as_bytes().to_vec(), sets }
    }

    /// `finished` is what the rounds before have written into the tables.
    async fn run(
        &self,
        decide: impl Fn(&AliasRow) -> Option<Change>,
        finished: Option<&AliasRow>,
    ) -> Result<Round, Stopped> {
        let acceptors = self.read().await.map_err(Stopped::Before)?;
        let highest = acceptors.iter().map(|(_, acceptor)| acceptor.row.promised).max();
        let ballot = Ballot {
            counter: highest.unwrap_or_default().counter.saturating_add(1),
            node: self.view.node,
            random: u64::from_be_bytes(self.cx.random()),
        };
        let promised: Vec<(NodeId, Option<Vec<u8>>, BallotRow)> = acceptors
            .iter()
            .map(|(node, acceptor)| {
                let row = BallotRow { promised: ballot, ..acceptor.row.clone() };
                (*node, acceptor.value.clone(), row)
            })
            .collect();
        let Some(promised) = self.swap(promised).await? else { return Ok(Round::Lost) };
        let (current, accepted) = self.current(&acceptors);
        let half_done = accepted.as_ref().is_some_and(|accepted| {
            let is_there = |acceptor: &Acceptor| {
                let alias = acceptor.alias.as_ref();
                alias.is_some_and(|alias| alias.bucket.at >= accepted.alias.bucket.at)
            };
            finished != Some(&accepted.alias)
                && !accepted.rows.is_empty()
                && !acceptors.iter().all(|(_, acceptor)| is_there(acceptor))
        });
        let change = decide(&current);
        let goes_on = change.is_some();
        let proposal = match (change, accepted) {
            // Its rows have come to too few, and nobody will know of them once another value has taken its place.
            (Some(_), Some(accepted)) if half_done => Accepted { ballot, ..accepted },
            (Some(change), _) => Accepted { ballot, alias: change.alias, rows: change.rows },
            (None, Some(accepted)) => Accepted { ballot, ..accepted },
            // It stands in the table alone: settled, and nothing to finish.
            (None, None) => return Ok(Round::Settled(current)),
        };
        let next = promised.into_iter().map(|(node, row)| {
            let accepted = Some(proposal.clone());
            (node, Some(table::encode(&row)), BallotRow { promised: ballot, accepted })
        });
        if self.swap(next.collect()).await?.is_none() {
            return Ok(Round::Lost);
        }
        self.publish(&proposal).await.map_err(Stopped::Within)?;
        Ok(match goes_on && half_done {
            true => Round::Finished(proposal.alias),
            false => Round::Settled(proposal.alias),
        })
    }

    /// The register's value among a majority, and the proposal it comes from, if it does.
    fn current(&self, acceptors: &[(NodeId, Acceptor)]) -> (AliasRow, Option<Accepted>) {
        let accepted = acceptors.iter().filter_map(|(_, each)| each.row.accepted.as_ref());
        let accepted = accepted.max_by_key(|accepted| accepted.ballot).cloned();
        let rows = acceptors.iter().filter_map(|(_, each)| each.alias.clone());
        let stored = rows.reduce(merge::Row::merge);
        let none = AliasRow { bucket: Lww { at: Stamp(0), value: None } };
        match (stored, accepted) {
            (Some(stored), Some(accepted)) if stored.bucket.at > accepted.alias.bucket.at => {
                (stored, None)
            }
            (_, Some(accepted)) => (accepted.alias.clone(), Some(accepted)),
            (stored, None) => (stored.unwrap_or(none), None),
        }
    }

    async fn read(&self) -> Result<Vec<(NodeId, Acceptor)>, PeerError> {
        let keys = vec![(Table::Ballot, self.key.clone()), (Table::Alias, self.key.clone())];
        let read = Read::Get(keys);
        let mut open = Open::new();
        for node in self.nodes() {
            open.push(node, self.cx.read(node, read.clone()));
        }
        let mut answers = Vec::new();
        let mut failure = None;
        while !self.is_majority(&answers, |(node, _)| *node) {
            if open.is_empty() {
                return Err(failure.unwrap_or(PeerError::Unreachable));
            }
            let (node, answer) = open.next().await;
            let answer = answer.and_then(|answer| super::read::fitting(&read, answer));
            match answer.and_then(|answer| acceptor(answer.into_values())) {
                Ok(acceptor) => answers.push((node, acceptor)),
                Err(error) => failure = Some(graver(failure.take(), error)),
            }
        }
        Ok(answers)
    }

    /// Replaces acceptors' rows, each if it is still what it was: those that were replaced, if they are a majority.
    async fn swap(
        &self,
        rows: Vec<(NodeId, Option<Vec<u8>>, BallotRow)>,
    ) -> Result<Option<Vec<(NodeId, BallotRow)>>, Stopped> {
        let (table, key) = (Table::Ballot, self.key.clone());
        let mut open = Open::new();
        for (node, before, row) in rows {
            let op =
                Op::Merge { table, key: key.clone(), value: table::encode(&row), inline: None };
            let guard = match before {
                Some(value) => Guard::Unchanged { table, key: key.clone(), value },
                None => Guard::Absent { table, key: key.clone() },
            };
            let batch = Batch::new(self.cx.now().wall, vec![op]).guarded(guard);
            open.push((node, row), self.cx.commit(node, batch));
        }
        let (mut swapped, mut failure) = (Vec::new(), None);
        while !self.is_majority(&swapped, |(node, _)| *node) {
            if open.is_empty() {
                return failure.map_or(Ok(None), |error| Err(Stopped::Within(error)));
            }
            let (what, outcome) = open.next().await;
            match outcome {
                Ok(Outcome::Applied(_)) => swapped.push(what),
                Ok(Outcome::Refused { .. }) => {}
                Err(error) => failure = Some(graver(failure.take(), error)),
            }
        }
        Ok(Some(swapped))
    }

    /// Writes what has been settled into the tables.
    async fn publish(&self, settled: &Accepted) -> Result<(), PeerError> {
        let mut ops = vec![Op::Merge {
            table: Table::Alias,
            key: self.key.clone(),
            value: table::encode(&settled.alias),
            inline: None,
        }];
        for row in &settled.rows {
            // Only rows of tables that whoever proposed it knew; a later release may know more.
            let table = row.table().ok_or(PeerError::Malformed)?;
            let (key, value) = (row.key.clone(), row.value.clone());
            ops.push(Op::Merge { table, key, value, inline: None });
        }
        let batch = Batch::new(self.cx.now().wall, ops);
        match write_full_copy(self.cx, self.view, batch).await? {
            Outcome::Applied(_) => Ok(()),
            Outcome::Refused { guard } => panic!("guard {guard} of a batch without guards"),
        }
    }

    fn nodes(&self) -> Vec<NodeId> {
        let members = self.sets.iter().flat_map(|set| set.nodes).copied();
        // Having lost what it had promised, this node would promise anything.
        let lost = self.view.recovering.then_some(self.view.node);
        let mut nodes: Vec<NodeId> = members.filter(|node| Some(*node) != lost).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Whether these are a majority in each layout in force: any two such groups share a node.
    fn is_majority<T>(&self, those: &[T], node: impl Fn(&T) -> NodeId) -> bool {
        self.sets.iter().all(|set| {
            let counted = those.iter().filter(|each| set.nodes.contains(&node(each))).count();
            counted > set.nodes.len() / 2
        })
    }
}

fn acceptor(values: Vec<Option<Vec<u8>>>) -> Result<Acceptor, PeerError> {
    let mut values = values.into_iter();
    let (value, alias) = (values.next().flatten(), values.next().flatten());
    let row = value.as_deref().map(|value| table::decode(Table::Ballot, value));
    let row = row.transpose().map_err(PeerError::Store)?.unwrap_or_default();
    let alias = alias.as_deref().map(|value| table::decode(Table::Alias, value));
    Ok(Acceptor { value, row, alias: alias.transpose().map_err(PeerError::Store)? })
}

/// Takes the name away from `bucket`; nothing, if it stands for something else by now.
pub async fn release(
    cx: Cx,
    view: &View,
    name: &str,
    bucket: BucketId,
) -> Result<AliasRow, PeerError> {
    let now = cx.now().wall;
    change(cx, view, name, |current| {
        let at = Stamp::past(now, current.bucket.at);
        let alias = AliasRow { bucket: Lww { at, value: None } };
        let is_ours = current.bucket.value == Some(bucket);
        is_ours.then(|| Change { alias, rows: Vec::new() })
    })
    .await
}
