//! How effects are performed.

use std::time::Duration;

use mews_core::{
    block::Payload,
    effect::{ClientGone, Completion, Effect, EffectId, PeerError},
    id::Hash,
    job::Job,
    rpc::Origin,
    store::{Answer, Applied, Batch, Outcome, Read, StoreError, Table, group::Group, read::read},
    table::key,
};

use super::{Event, Host, Waiter};
use crate::{database::Database, fault::Fault, sabotage, world::World};

impl Host {
    pub(super) fn perform(&mut self, world: &mut World, task: u64, id: EffectId) {
        let given = self.process().given.remove(&(task, id));
        let Some((effect, origin)) = given else { return };
        world.met.effects += 1;
        let digest = sabotage::weigh_effect(&effect);
        world.trace.mark(world.now, &[0, self.number as u64, task, id.0, digest], || {
            let what = sabotage::describe(&effect);
            format!("host {} task {task} effect {}: {what}", self.number, id.0)
        });
        if effect.at().is_some_and(|at| at != self.node) {
            return self.ask_another(world, task, id, effect, origin);
        }
        let fault = self.options.fault;
        let completion = match effect {
            Effect::Read { at: _, read: plan } => {
                Completion::Read(self.read(world, &plan).map_err(PeerError::Store))
            }
            Effect::Commit { .. } if self.skips_repair(task) => applied(),
            Effect::Commit { at: _, batch } => {
                let waiter = Waiter { task, effect: id, _pin: None, late: None };
                if fault == Some(Fault::EarlyAnswer) {
                    self.soon(world, Event::Complete(task, id, applied()));
                }
                return self.enqueue(world, batch, waiter);
            }
            Effect::StoreBlock { at: _, block, then } => {
                return self.store_block(world, task, id, block, then);
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
            // Nothing of a scenario makes snapshots.
            Effect::Snapshot(_) => Completion::Snapshots(Ok(Vec::new())),
            Effect::Control(command) => {
                let now = self.now(world);
                let report = self.process().node.control(now, *command);
                self.drain_node(world);
                Completion::Control(report)
            }
            Effect::Ask { .. } => Completion::Asked(Err(PeerError::Malformed)),
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
                    let wait = Duration::from_millis(100 + world.dice.below(1400));
                    return self.schedule(world, wait, Event::Complete(task, id, sent));
                }
                sent
            }
            Effect::Open(_) | Effect::Respond { .. } | Effect::Waited(_) | Effect::Cancel(_) => {
                unreachable!("these are not scheduled")
            }
        };
        self.soon(world, Event::Complete(task, id, completion));
    }

    /// An effect on another node, as the fault has it.
    fn ask_another(
        &mut self,
        world: &mut World,
        task: u64,
        id: EffectId,
        effect: Effect,
        origin: Origin,
    ) {
        if let Some(fault) = self.options.fault {
            let process = self.process();
            let here = |plan: &Read| process.db.look(|snapshot| read(plan, snapshot));
            if let Some(answer) = sabotage::answer(fault, &effect, here) {
                return self.soon(world, Event::Complete(task, id, answer));
            }
            if matches!(effect, Effect::Commit { .. }) && self.skips_repair(task) {
                return self.soon(world, Event::Complete(task, id, applied()));
            }
            let writes = matches!(effect, Effect::Commit { .. } | Effect::StoreBlock { .. });
            if fault == Fault::QuorumOfOne && writes {
                self.soon(world, Event::Complete(task, id, applied()));
            }
        }
        self.ask(world, task, id, effect, origin);
    }

    /// With [`Fault::ReadRepair`], whether what this task commits is not committed.
    fn skips_repair(&mut self, task: u64) -> bool {
        self.options.fault == Some(Fault::ReadRepair)
            && self.running(task).is_some_and(|running| running.reads)
    }

    fn read(&mut self, world: &mut World, plan: &Read) -> Result<Answer, StoreError> {
        if self.options.fault == Some(Fault::StaleReads) && world.dice.below(4) == 0 {
            let process = self.process();
            let fresh = process.db.keep()?;
            if let Some(old) = process.old.replace(fresh) {
                return read(plan, &*old);
            }
        }
        self.process().db.look(|snapshot| read(plan, snapshot))
    }

    fn store_block(
        &mut self,
        world: &mut World,
        task: u64,
        id: EffectId,
        block: Payload,
        then: Batch,
    ) {
        let fault = self.options.fault;
        let pin = self.process().files.pin(block.hash());
        let then = then.with_stored(block.hash());
        let mut waiter = Waiter { task, effect: id, _pin: None, late: None };
        if fault == Some(Fault::EarlyBlockAnswer) {
            self.soon(world, Event::Complete(task, id, applied()));
        }
        if fault == Some(Fault::RowsBeforeFile) {
            waiter.late = Some(block);
            return self.enqueue(world, then, waiter);
        }
        if fault == Some(Fault::Fetch)
            && self.running(task).is_some_and(|running| running.task.name() == Job::Fetch.name())
        {
            return self.enqueue(world, then, waiter);
        }
        let process = self.process();
        process.blocks.push((block, pin, then, waiter));
        if !std::mem::replace(&mut process.storing, true) {
            self.soon(world, Event::Store);
        }
    }

    /// The block threads: everything that waits, in one group.
    pub(super) fn store(&mut self, world: &mut World) {
        let fault = self.options.fault;
        let process = self.process();
        process.storing = false;
        let group = std::mem::take(&mut process.blocks);
        let payloads: Vec<Payload> = group.iter().map(|(block, ..)| block.clone()).collect();
        let results = process.files.store(&payloads);
        let count = results.len();
        world.trace.note(world.now, format_args!("{count} blocks stored"));
        for ((_, pin, then, mut waiter), result) in group.into_iter().zip(results) {
            match result {
                Ok(()) => {
                    waiter._pin = (fault != Some(Fault::Pin)).then_some(pin);
                    self.enqueue(world, then, waiter);
                }
                Err(error) => {
                    let failed = Completion::Committed(Err(error));
                    self.soon(world, Event::Complete(waiter.task, waiter.effect, failed));
                }
            }
        }
    }

    /// With [`Fault::RowsBeforeFile`]: the file, after its rows.
    pub(super) fn store_late(
        &mut self,
        world: &mut World,
        block: Payload,
        task: u64,
        id: EffectId,
        done: Completion,
    ) {
        for result in self.process().files.store(&[block]) {
            world.trace.note(world.now, format_args!("stored late: {result:?}"));
        }
        self.soon(world, Event::Complete(task, id, done));
    }

    fn enqueue(&mut self, world: &mut World, mut batch: Batch, waiter: Waiter) {
        if let Some(fault) = self.options.fault {
            sabotage::batch(fault, &mut batch);
        }
        let process = self.process();
        process.queue.push_back((batch, waiter));
        if !std::mem::replace(&mut process.writing, true) {
            self.soon(world, Event::Write);
        }
    }

    /// The writer: everything that waits, in one transaction.
    pub(super) fn write(&mut self, world: &mut World) {
        let process = self.process();
        let mut group = Group::default();
        while !group.is_full()
            && let Some((batch, waiter)) = process.queue.pop_front()
        {
            group.push(batch, waiter);
        }
        let committed = process.db.commit(group.batches());
        world.met.commits += 1;
        let count = group.batches().len();
        world.trace.note(world.now, format_args!("{count} batches committed"));
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
            self.soon(
                world,
                match waiter.late {
                    Some(block) => Event::StoreLate(block, waiter.task, waiter.effect, done),
                    None => Event::Complete(waiter.task, waiter.effect, done),
                },
            );
        }
        // The writer goes on once it has unlinked.
        self.soon(world, Event::Unlink(reaped));
    }

    pub(super) fn unlink(&mut self, world: &mut World, hashes: &[Hash]) {
        let careless = self.options.fault == Some(Fault::Pin);
        if !hashes.is_empty() {
            let process = self.process();
            let counted = |hash| if careless { Ok(false) } else { is_counted(&process.db, hash) };
            let result = process.files.unlink_reaped(hashes, &counted);
            world.trace.note(world.now, format_args!("unlinked of {}: {result:?}", hashes.len()));
        }
        let process = self.process();
        process.writing = !process.queue.is_empty();
        if process.writing {
            self.soon(world, Event::Write);
        }
    }
}

fn applied() -> Completion {
    Completion::Committed(Ok(Outcome::Applied(Applied::default())))
}

/// Whether a row counts this block, as of now.
fn is_counted(db: &Database, hash: Hash) -> Result<bool, StoreError> {
    db.look(|rows| Ok(rows.get(Table::BlockCount, &key::block_count(hash))?.is_some()))
}
