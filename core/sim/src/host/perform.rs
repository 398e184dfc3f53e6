//! How effects are performed.

use std::time::Duration;

use mews_core::{
    block::Payload,
    effect::{ClientGone, Completion, Effect, EffectId, PeerError},
    id::Hash,
    store::{
        Applied, Batch, Outcome, Snapshot, StoreError, Table,
        group::Group,
        read::read,
        redb::{Db, DbSnapshot},
    },
    table::key,
};

use super::{Event, Host, Waiter};
use crate::{fault::Fault, sabotage};

impl Host {
    pub(super) fn perform(&mut self, task: u64, id: EffectId, effect: Effect) {
        self.met.effects += 1;
        let what = sabotage::describe(&effect);
        self.trace.note(self.now, format_args!("task {task} effect {}: {what}", id.0));
        let fault = self.options.fault;
        let completion = match effect {
            Effect::Read { at: _, read: plan } => {
                let result = self.snapshot().and_then(|snapshot| read(&plan, &snapshot));
                Completion::Read(result.map_err(PeerError::Store))
            }
            Effect::Commit { at: _, batch } => {
                let waiter = Waiter { task, effect: id, _pin: None, late: None };
                if fault == Some(Fault::EarlyAnswer) {
                    self.soon(Event::Complete(task, id, applied()));
                }
                return self.enqueue(batch, waiter);
            }
            Effect::StoreBlock { at: _, block, then } => {
                return self.store_block(task, id, block, then);
            }
            Effect::LoadBlock { at: _, hash } => {
                Completion::Loaded(self.process().files.load(hash))
            }
            Effect::Holds { at: _, blocks } => {
                Completion::Held(self.process().files.holds(&blocks))
            }
            Effect::Chore(chore) => {
                let process = self.process();
                let counted = |hash| is_counted(&process.db, hash);
                Completion::Chore(process.files.chore(&chore, &counted))
            }
            Effect::Pull { block, inline } => {
                let level = self.options.config.compression;
                let Some(body) = self.running(task).and_then(|r| r.body.as_mut()) else { return };
                Completion::Pulled(body.pull(block, inline, level))
            }
            Effect::Collect { max } => {
                let Some(body) = self.running(task).and_then(|r| r.body.as_mut()) else { return };
                Completion::Collected(body.collect(max))
            }
            Effect::Send(bytes) => {
                let Some(running) = self.running(task) else { return };
                let received = running.received.as_mut().expect("a head comes before its body");
                received.body.extend_from_slice(&bytes);
                received.complete = received.body.len() as u64 == received.head.len;
                let sent = Completion::Sent(if running.gone { Err(ClientGone) } else { Ok(()) });
                if running.slow {
                    let wait = Duration::from_millis(100 + self.seed.below(1400));
                    return self.schedule(wait, Event::Complete(task, id, sent));
                }
                sent
            }
            Effect::Open(_) | Effect::Respond { .. } | Effect::Cancel(_) => {
                unreachable!("these are not scheduled")
            }
        };
        self.soon(Event::Complete(task, id, completion));
    }

    fn snapshot(&mut self) -> Result<DbSnapshot, StoreError> {
        let stale = self.options.fault == Some(Fault::StaleReads) && self.seed.below(4) == 0;
        let fresh = self.process().db.snapshot()?;
        if stale && let Some(old) = self.process().old.replace(fresh) {
            return Ok(old);
        }
        self.process().db.snapshot()
    }

    fn store_block(&mut self, task: u64, id: EffectId, block: Payload, then: Batch) {
        let fault = self.options.fault;
        let pin = self.process().files.pin(block.hash());
        let then = then.with_stored(block.hash());
        let mut waiter = Waiter { task, effect: id, _pin: None, late: None };
        if fault == Some(Fault::EarlyBlockAnswer) {
            self.soon(Event::Complete(task, id, applied()));
        }
        if fault == Some(Fault::RowsBeforeFile) {
            waiter.late = Some(block);
            return self.enqueue(then, waiter);
        }
        let process = self.process();
        process.blocks.push((block, pin, then, waiter));
        if !std::mem::replace(&mut process.storing, true) {
            self.soon(Event::Store);
        }
    }

    /// The block threads: everything that waits, in one group.
    pub(super) fn store(&mut self) {
        let fault = self.options.fault;
        let process = self.process();
        process.storing = false;
        let group = std::mem::take(&mut process.blocks);
        let payloads: Vec<Payload> = group.iter().map(|(block, ..)| block.clone()).collect();
        let results = process.files.store(&payloads);
        let count = results.len();
        self.trace.note(self.now, format_args!("{count} blocks stored"));
        for ((_, pin, then, mut waiter), result) in group.into_iter().zip(results) {
            match result {
                Ok(()) => {
                    waiter._pin = (fault != Some(Fault::Pin)).then_some(pin);
                    self.enqueue(then, waiter);
                }
                Err(error) => {
                    let failed = Completion::Committed(Err(error));
                    self.soon(Event::Complete(waiter.task, waiter.effect, failed));
                }
            }
        }
    }

    /// With [`Fault::RowsBeforeFile`]: the file, after its rows.
    pub(super) fn store_late(&mut self, block: Payload, task: u64, id: EffectId, done: Completion) {
        for result in self.process().files.store(&[block]) {
            self.trace.note(self.now, format_args!("stored late: {result:?}"));
        }
        self.soon(Event::Complete(task, id, done));
    }

    fn enqueue(&mut self, mut batch: Batch, waiter: Waiter) {
        if let Some(fault) = self.options.fault {
            sabotage::batch(fault, &mut batch);
        }
        let process = self.process();
        process.queue.push_back((batch, waiter));
        if !std::mem::replace(&mut process.writing, true) {
            self.soon(Event::Write);
        }
    }

    /// The writer: everything that waits, in one transaction.
    pub(super) fn write(&mut self) {
        let process = self.process();
        let mut group = Group::default();
        while !group.is_full()
            && let Some((batch, waiter)) = process.queue.pop_front()
        {
            group.push(batch, waiter);
        }
        let committed = process.db.commit(group.batches());
        self.met.commits += 1;
        let count = group.batches().len();
        self.trace.note(self.now, format_args!("{count} batches committed"));
        let mut reaped = Vec::new();
        for (at, waiter) in group.finish().into_iter().enumerate() {
            let outcome = match &committed {
                Ok(outcomes) => outcomes[at].clone(),
                Err(error) => Err(error.clone()),
            };
            if let Ok(Outcome::Applied(applied)) = &outcome {
                reaped.extend_from_slice(&applied.reaped);
            }
            let done = Completion::Committed(outcome.map_err(PeerError::Store));
            self.soon(match waiter.late {
                Some(block) => Event::StoreLate(block, waiter.task, waiter.effect, done),
                None => Event::Complete(waiter.task, waiter.effect, done),
            });
        }
        // The writer goes on once it has unlinked.
        self.soon(Event::Unlink(reaped));
    }

    pub(super) fn unlink(&mut self, hashes: &[Hash]) {
        let careless = self.options.fault == Some(Fault::Pin);
        if !hashes.is_empty() {
            let process = self.process();
            let counted = |hash| if careless { Ok(false) } else { is_counted(&process.db, hash) };
            let result = process.files.unlink_reaped(hashes, &counted);
            self.trace.note(self.now, format_args!("unlinked of {}: {result:?}", hashes.len()));
        }
        let process = self.process();
        process.writing = !process.queue.is_empty();
        if process.writing {
            self.soon(Event::Write);
        }
    }
}

fn applied() -> Completion {
    Completion::Committed(Ok(Outcome::Applied(Applied::default())))
}

/// Whether a row counts this block, as of now.
fn is_counted(db: &Db, hash: Hash) -> Result<bool, StoreError> {
    Ok(db.snapshot()?.get(Table::BlockCount, &key::block_count(hash))?.is_some())
}
