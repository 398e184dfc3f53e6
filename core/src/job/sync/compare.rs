//! Narrowing down where this node and a peer differ, to the rows that travel.

use super::{Fault, Run};
use crate::{
    effect::PeerError,
    id::{NodeId, Position},
    job::rest,
    node::pace::Work,
    quorum,
    store::{
        Batch, COLLECTED_KEY, Guard, Op, Outcome, StoreError, Table,
        digest::{
            FULL_COPY, Findings, Fingerprint, FullRow, KeyRange, Question, RowHash, RowKey, payload,
        },
    },
};

/// Into so many parts a range of positions that differs is cut: a partition of 256 positions takes two rounds.
const FAN_OUT: u32 = 16;

/// Ranges asked about at a time: some 10 KiB each way.
const RANGES: usize = 512;

/// A range of no more rows than this is not cut further: their keys and hashes are a few KiB.
const LEAF: u64 = 64;

/// Into at most so many ranges rows are cut at a time.
const PIECES: u64 = 64;

/// Hashes asked for at a time: with keys of a kibibyte each some 256 KiB, as a rule a tenth of that.
const HASHES: usize = 256;

/// Rows are fetched, and committed, in pages of about so many bytes: they keep the writer for some ten milliseconds.
const PAGE_BYTES: usize = 1 << 20;

type PositionRange = (Table, Position, Position);

impl Run<'_> {
    /// Fetches what `peer` has and this node lacks in these ranges of positions.
    pub(super) async fn compare(
        &mut self,
        peer: NodeId,
        ranges: &[PositionRange],
    ) -> Result<(), Fault> {
        let mut level = self.differing(peer, ranges).await?;
        while !level.is_empty() {
            let mut narrower = Vec::new();
            for range in level {
                match cut(range) {
                    Some(parts) => narrower.extend(parts),
                    None => self.rows_at(peer, range).await?,
                }
            }
            level = self.differing(peer, &narrower).await?;
        }
        Ok(())
    }

    /// Those of the ranges in which the peer has something that differs from what this node has.
    async fn differing(
        &self,
        peer: NodeId,
        ranges: &[PositionRange],
    ) -> Result<Vec<PositionRange>, Fault> {
        let mut differing = Vec::new();
        for some in ranges.chunks(RANGES) {
            let theirs = self.ask(peer, Question::Positions(some.to_vec())).await?;
            let theirs = fingerprints(theirs, some.len()).map_err(Fault::Peer)?;
            let ours = self.ask(self.view.node, Question::Positions(some.to_vec())).await?;
            let ours = fingerprints(ours, some.len()).map_err(Fault::Own)?;
            let pairs = some.iter().zip(theirs.into_iter().zip(ours));
            let differs =
                |(theirs, ours): &(Fingerprint, Fingerprint)| theirs.rows > 0 && theirs != ours;
            differing.extend(pairs.filter(|(_, pair)| differs(pair)).map(|(range, _)| *range));
        }
        Ok(differing)
    }

    /// Compares the rows of a table at one position.
    async fn rows_at(
        &mut self,
        peer: NodeId,
        (table, position, _): PositionRange,
    ) -> Result<(), Fault> {
        let mut open = vec![key_range(table, position)];
        // Depth first; a range makes at most PIECES smaller ones, and three levels are 64³ × 64 rows.
        while let Some(range) = open.pop() {
            let ours = self.recount(self.view.node, table, vec![range.clone()]).await?;
            let rows = ours.first().map_or(0, |ours| ours.rows);
            if rows <= LEAF {
                self.rows_in(peer, table, range).await?;
                continue;
            }
            let rows = LEAF.max(rows.div_ceil(PIECES));
            let from = range.0.clone();
            let pieces =
                self.ask(self.view.node, Question::Cut { table, range, rows }).await?.cut();
            let pieces = pieces.ok_or_else(|| Fault::Own(unasked()))?;
            let mut starts = from;
            let mut ranges = Vec::with_capacity(pieces.len());
            for (until, _) in &pieces {
                ranges.push((starts, until.clone()));
                starts = until.clone().unwrap_or_default();
            }
            let theirs = self.recount(peer, table, ranges.clone()).await?;
            let pairs = ranges.into_iter().zip(pieces.iter().zip(theirs));
            let differs = |((_, ours), theirs): &(&(_, Fingerprint), Fingerprint)| {
                theirs.rows > 0 && ours != theirs
            };
            open.extend(pairs.filter(|(_, pair)| differs(pair)).map(|(range, _)| range));
        }
        Ok(())
    }

    async fn recount(
        &self,
        at: NodeId,
        table: Table,
        ranges: Vec<KeyRange>,
    ) -> Result<Vec<Fingerprint>, Fault> {
        let count = ranges.len();
        let findings = self.ask(at, Question::Ranges { table, ranges }).await?;
        let fault = if at == self.view.node { Fault::Own } else { Fault::Peer };
        fingerprints(findings, count).map_err(fault)
    }

    /// Fetches the rows of a range that the peer has and this node does not have like that.
    async fn rows_in(
        &mut self,
        peer: NodeId,
        table: Table,
        (mut from, until): KeyRange,
    ) -> Result<(), Fault> {
        loop {
            let range = (from, until.clone());
            let question = Question::Hashes { table, range, limit: HASHES };
            let hashes = self.ask(peer, question).await?.hashes();
            let hashes = hashes.ok_or_else(|| Fault::Peer(unasked()))?;
            let next = hashes.last().filter(|_| hashes.len() >= HASHES);
            // The least key greater than the last.
            let next = next.map(|(key, _)| RowKey::from([key, &[0][..]].concat()));
            let lacking = self.lacking(table, hashes).await?;
            self.fetch(peer, table, lacking).await?;
            let Some(next) = next else { return Ok(()) };
            from = next;
        }
    }

    /// The keys of those rows that do not stand here like that.
    async fn lacking(
        &self,
        table: Table,
        rows: Vec<(RowKey, RowHash)>,
    ) -> Result<Vec<RowKey>, Fault> {
        let keys: Vec<RowKey> = rows.iter().map(|(key, _)| key.clone()).collect();
        let same = self.ask(self.view.node, Question::Same { table, rows }).await?.flags();
        let same = same.ok_or_else(|| Fault::Own(unasked()))?;
        let pairs = keys.into_iter().zip(same);
        Ok(pairs.filter(|(_, same)| !same).map(|(key, _)| key).collect())
    }

    async fn fetch(
        &mut self,
        peer: NodeId,
        table: Table,
        mut keys: Vec<RowKey>,
    ) -> Result<(), Fault> {
        while !keys.is_empty() {
            let began = self.cx.now().mono;
            let guard = self.nothing_collected().await.map_err(Fault::Own)?;
            let question = Question::Rows { table, keys: keys.clone(), bytes: PAGE_BYTES };
            let rows = self.ask(peer, question).await?.rows();
            let rows = rows.filter(|rows| !rows.is_empty() && rows.len() <= keys.len());
            let rows = rows.ok_or_else(|| Fault::Peer(unasked()))?;
            let pairs = keys.iter().cloned().zip(rows.iter().cloned());
            let ops: Vec<Op> =
                pairs.filter_map(|(key, row)| Some(merge(table, key, row?))).collect();
            let count = ops.len() as u64;
            if self.commit(peer, ops, guard).await.map_err(Fault::Own)? {
                self.pulled += count;
                self.view.metrics.table(table).received.add(count);
                keys.drain(..rows.len());
            }
            rest(self.cx, Work::Owed, began, 1).await;
        }
        Ok(())
    }

    /// The condition under which rows that a peer is asked for from now on may be merged. It may have had an old row until it heard
    /// of the tombstone, and with that everybody has; once this is collected here, nothing keeps the old row away.
    async fn nothing_collected(&self) -> Result<Guard, PeerError> {
        let (table, key) = (Table::Meta, COLLECTED_KEY.to_vec());
        let values = quorum::get_local(self.cx, self.view, vec![(table, key.clone())]).await?;
        Ok(match values.into_iter().flatten().next() {
            Some(value) => Guard::Unchanged { table, key, value },
            None => Guard::Absent { table, key },
        })
    }

    /// Merges rows into this node's tables. One that does not decode does not keep the others. False if they have to be asked for
    /// again.
    async fn commit(
        &mut self,
        peer: NodeId,
        ops: Vec<Op>,
        guard: Guard,
    ) -> Result<bool, PeerError> {
        if ops.is_empty() {
            return Ok(true);
        }
        match self.merge(ops.clone(), guard.clone()).await {
            Err(PeerError::Store(StoreError::Damaged { .. })) => {}
            done => return done,
        }
        for op in ops {
            match self.merge(vec![op], guard.clone()).await {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(PeerError::Store(error @ StoreError::Damaged { .. })) => {
                    log::error!("sync: a row of {peer} cannot be merged: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    async fn merge(&self, ops: Vec<Op>, guard: Guard) -> Result<bool, PeerError> {
        let batch = Batch::new(self.cx.now().wall, ops).guarded(guard);
        Ok(matches!(self.cx.commit(self.view.node, batch).await?, Outcome::Applied(_)))
    }
}

/// A range of positions in smaller ones; `None` if it is a single position.
fn cut((table, first, last): PositionRange) -> Option<impl Iterator<Item = PositionRange>> {
    if first == last {
        return None;
    }
    let (start, end) = (u32::from(first.0), u32::from(last.0) + 1);
    let width = (end - start).div_ceil(FAN_OUT);
    let narrow = |position: u32| u16::try_from(position).expect("between two positions");
    Some((0..FAN_OUT).map(move |part| start + part * width).take_while(move |at| *at < end).map(
        move |at| {
            let last = (at + width).min(end) - 1;
            (table, Position(narrow(at)), Position(narrow(last)))
        },
    ))
}

/// The rows of a table at a position. Full copies stand at position 0 as a whole.
fn key_range(table: Table, position: Position) -> KeyRange {
    if FULL_COPY.contains(&table) {
        return (RowKey::new(), None);
    }
    let until = position.0.checked_add(1).map(|next| RowKey::from(next.to_be_bytes()));
    (RowKey::from(position.0.to_be_bytes()), until)
}

fn merge(table: Table, key: RowKey, (value, inline): FullRow) -> Op {
    Op::Merge { table, key: key.into_vec(), value: value.into_vec(), inline: payload(inline) }
}

fn fingerprints(findings: Findings, count: usize) -> Result<Vec<Fingerprint>, PeerError> {
    let each = findings.fingerprints().filter(|each| each.len() == count);
    each.ok_or_else(unasked)
}

/// An answer that does not fit the question. From the own node it would be a bug; a peer may be of another release.
fn unasked() -> PeerError {
    log::error!("sync: an answer does not fit its question");
    PeerError::Malformed
}
