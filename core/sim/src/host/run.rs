//! How tasks are driven: requests, jobs and the node itself.

use std::time::Duration;

use mews_core::{
    effect::{Effect, EffectId, PeerError, ResponseBody},
    node::{NodeEffect, NodeEvent},
    rpc::{self, Origin},
    task::Task,
};

use super::{Event, Happened, Host, Kind, Received, Running, Sent};
use crate::{
    body::Body,
    net::{Caller, Out},
    sabotage,
    world::World,
};

impl Host {
    /// Sends a request to the running node; it will be answered by [`Happened::Answered`] with this number.
    pub fn send(&mut self, world: &mut World, request: u64, sent: Sent) {
        let now = self.now(world);
        let Some(process) = &mut self.process else {
            world.happened.push_back(Happened::Answered(request, None));
            return;
        };
        let (method, target) = (&sent.head.method, String::from_utf8_lossy(&sent.head.target));
        world.trace.note(
            now.mono,
            format_args!("host {} request {request}: {method} {target}", self.number),
        );
        let task = process.node.admit(now, sent.head.clone());
        let body = Body::new(sent.pieces, sent.broken);
        let reads = ["GET", "HEAD"].contains(&&*sent.head.method);
        self.begin(world, task, Kind::Request(request), Some(body), reads);
    }

    /// Runs a task that nobody sent.
    pub fn start(&mut self, world: &mut World, task: Task) {
        let origin = Origin::of(&self.process().node.view().ring);
        let task = task.of(origin);
        self.run(world, task, Kind::Start);
    }

    fn task_of(&self, request: u64) -> Option<u64> {
        let of = |running: &Running| matches!(running.kind, Kind::Request(n) if n == request);
        let mut tasks = self.process.iter().flat_map(|process| &process.tasks);
        tasks.find(|(_, running)| of(running)).map(|(task, _)| *task)
    }

    /// The client of a request goes away after this time, if it is not answered by then.
    pub fn leave_in(&mut self, world: &mut World, request: u64, wait: Duration) {
        if let Some(task) = self.task_of(request) {
            self.schedule(world, wait, Event::Leave(task));
        }
    }

    /// The client of a request takes its time with the answer.
    pub fn read_slowly(&mut self, request: u64) {
        if let Some(running) = self.task_of(request).and_then(|task| self.running(task)) {
            running.slow = true;
        }
    }

    pub(super) fn run(&mut self, world: &mut World, task: Task, kind: Kind) {
        self.begin(world, task, kind, None, false);
    }

    fn begin(
        &mut self,
        world: &mut World,
        mut task: Task,
        kind: Kind,
        body: Option<Body>,
        reads: bool,
    ) {
        let number = self.next_task;
        self.next_task += 1;
        task.start(self.now(world));
        let running = Running {
            task,
            kind,
            body,
            received: None,
            gone: false,
            slow: false,
            due: None,
            reads,
        };
        self.process().tasks.insert(number, running);
        self.drain(world, number);
    }

    /// Lets happen what was to happen in this process.
    pub fn handle(&mut self, world: &mut World, event: Event) {
        let now = self.now(world);
        self.disk.mem.set_clock(now.wall.0);
        match event {
            Event::Perform(task, id) => self.perform(world, task, id),
            Event::Complete(task, id, completion) => {
                let (what, digest) = (&completion, sabotage::weigh(&completion));
                world.trace.mark(now.mono, &[1, self.number as u64, task, id.0, digest], || {
                    let what = sabotage::outline(what);
                    format!("host {} task {task} effect {}: {what}", self.number, id.0)
                });
                if let Some(running) = self.running(task) {
                    running.task.handle_event(now, id, completion);
                    self.drain(world, task);
                }
            }
            Event::Write => self.write(world),
            Event::Unlink(hashes) => self.unlink(world, &hashes),
            Event::Store => self.store(world),
            Event::StoreLate(block, task, id, done) => {
                self.store_late(world, block, task, id, done);
            }
            Event::TaskDue(task) => {
                // Where an earlier time was asked for since, this one means nothing any more.
                if let Some(running) = self.running(task)
                    && running.due.is_some_and(|due| due <= now.mono)
                {
                    running.due = None;
                    running.task.handle_timeout(now);
                    self.drain(world, task);
                }
            }
            Event::NodeDue => {
                let process = self.process();
                if process.node_due.is_some_and(|due| due <= now.mono) {
                    process.node_due = None;
                    process.node.handle_timeout(now);
                    self.drain_node(world);
                }
            }
            Event::Leave(task) => self.leave(world, task),
            Event::Saved(id, file, bytes) => self.save(world, id, file, bytes),
        }
    }

    fn leave(&mut self, world: &mut World, task: u64) {
        let now = self.now(world);
        let number = self.number;
        if let Some(running) = self.running(task) {
            running.gone = true;
            running.body.iter_mut().for_each(Body::break_off);
            running.task.handle_disconnect(now);
            world.met.gone += 1;
            world
                .trace
                .note(now.mono, format_args!("host {number}: the client of task {task} leaves"));
            self.drain(world, task);
        }
    }

    pub(super) fn drain_node(&mut self, world: &mut World) {
        while let Some((id, effect)) = self.process().node.poll_effect() {
            match effect {
                NodeEffect::Run(job) => {
                    world
                        .trace
                        .note(world.now, format_args!("host {} job {}", self.number, job.name()));
                    self.run(world, job, Kind::Job(id));
                }
                NodeEffect::Stop(run) => self.stop(world, run),
                NodeEffect::Dial { link, address, expected } => {
                    let host = self.number;
                    world.out.push_back(Out::Dial { host, link, address, expected });
                }
                NodeEffect::Close { link } => {
                    world.out.push_back(Out::Close { host: self.number, link });
                }
                NodeEffect::Call { link, priority: _, message, patience } => {
                    let (host, caller, expect) = (self.number, Caller::Node(id), None);
                    let call = Out::Call { host, link, caller, expect, message, patience };
                    world.out.push_back(call);
                }
                NodeEffect::Save { file, bytes } => {
                    // In the order given: each is done before the next one's turn could come.
                    let wait = Duration::from_millis(3);
                    self.schedule(world, wait, Event::Saved(id, file, bytes));
                }
            }
        }
        let process = self.process();
        let due = process.node.poll_timeout().map(|(at, _)| at);
        if let Some(at) = due
            && process.node_due.is_none_or(|before| at < before)
        {
            process.node_due = due;
            let wait = at.since(world.now);
            self.schedule(world, wait, Event::NodeDue);
        }
    }

    /// Breaks off a job. What it had under way is abandoned or not, as in a crash.
    fn stop(&mut self, world: &mut World, run: EffectId) {
        let now = self.now(world);
        let is_it = |kind: &Kind| matches!(kind, Kind::Job(id) if *id == run);
        let process = self.process();
        let job = process.tasks.iter().find(|(_, running)| is_it(&running.kind));
        let Some(number) = job.map(|(number, _)| *number) else { return };
        process.tasks.remove(&number);
        process.node.handle_event(now, run, NodeEvent::Done);
    }

    /// Takes all the effects that a task has to give, and ends it if it is done.
    fn drain(&mut self, world: &mut World, number: u64) {
        while let Some((id, effect)) = self.running(number).and_then(|r| r.task.poll_effect()) {
            self.take(world, number, id, effect);
        }
        let now = self.now(world);
        let Some(running) = self.running(number) else { return };
        if !running.task.is_done() {
            let due = running.task.poll_timeout().map(|(at, _)| at);
            if let Some(at) = due
                && running.due.is_none_or(|before| at < before)
            {
                running.due = due;
                self.schedule(world, at.since(now.mono), Event::TaskDue(number));
            }
            return;
        }
        let Some(running) = self.process().tasks.remove(&number) else { return };
        let origin = running.task.origin();
        match running.kind {
            Kind::Request(request) => {
                let received = running.received.filter(|_| !running.gone);
                let status = received.as_ref().map_or(0, |received| received.head.status);
                world.trace.note(now.mono, format_args!("request {request} answered: {status}"));
                world.happened.push_back(Happened::Answered(request, received));
                self.process().node.released(now, origin);
                self.drain_node(world);
            }
            Kind::Job(id) => {
                self.process().node.handle_event(now, id, NodeEvent::Done);
                self.drain_node(world);
            }
            Kind::Start => {}
            Kind::Served(token, slot) => {
                let reply = slot.get().cloned();
                let reply = reply.unwrap_or_else(|| rpc::failed(PeerError::Busy));
                world.out.push_back(Out::Reply(token, reply));
                self.process().node.served(now, origin);
                self.drain_node(world);
            }
        }
    }

    fn take(&mut self, world: &mut World, task: u64, id: EffectId, effect: Effect) {
        match effect {
            Effect::Cancel(cancelled) => {
                // Abandoned or completed, as it comes.
                if world.dice.below(2) == 0 {
                    self.process().given.remove(&(task, cancelled));
                }
                let caller = Caller::Task(task, cancelled);
                world.out.push_back(Out::Cancel { host: self.number, caller });
            }
            Effect::Open(intake) => {
                let body = self.running(task).and_then(|running| running.body.as_mut());
                body.expect("only requests have bodies").open(intake);
            }
            Effect::Respond { head, body } => {
                let running = self.running(task).expect("it gave the effect");
                assert!(running.received.is_none(), "a request is answered once");
                let (body, complete) = match body {
                    ResponseBody::Empty => (Vec::new(), true),
                    ResponseBody::Full(bytes) => (bytes.to_vec(), true),
                    ResponseBody::Stream => (Vec::new(), head.len == 0),
                };
                running.received = Some(Received { head, body, complete });
            }
            Effect::Waited(waits) => {
                let now = self.now(world);
                self.process().node.waited(now, &waits);
            }
            effect @ (Effect::Read { .. }
            | Effect::Commit { .. }
            | Effect::StoreBlock { .. }
            | Effect::LoadBlock { .. }
            | Effect::Holds { .. }
            | Effect::Chore(_)
            | Effect::Snapshot(_)
            | Effect::Control(_)
            | Effect::Ask { .. }
            | Effect::Pull { .. }
            | Effect::Collect { .. }
            | Effect::Send(_)) => {
                let origin = self.running(task).map(|running| running.task.origin());
                let origin = origin.expect("it gave the effect");
                let held = self.held.is_some_and(|held| held(&effect, self.node));
                self.process().given.insert((task, id), (effect, origin));
                if held {
                    self.process().held.push((task, id));
                } else {
                    self.soon(world, Event::Perform(task, id));
                }
            }
        }
    }
}
