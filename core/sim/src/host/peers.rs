//! What a host has to do with others.

use std::time::Duration;

use mews_core::{
    effect::{Completion, Effect, EffectId, PeerError},
    id::NodeId,
    node::{LinkId, NodeEvent, Served, StateFile},
    placement::history::History,
    rpc::{self, Expect, Origin},
    wire::Message,
};

use super::{Event, Host, Kind};
use crate::{
    fault::Fault,
    net::{Caller, Out, Token},
    world::World,
};

impl Host {
    /// Changes the layouts as an operator would.
    ///
    /// # Errors
    /// Those of `change`, or that the host is down.
    pub fn change_layout<T>(
        &mut self,
        world: &mut World,
        change: impl FnOnce(&mut History) -> Result<T, String>,
    ) -> Result<T, String> {
        let now = self.now(world);
        let process = self.process.as_mut().ok_or("the host is down")?;
        let changed = process.node.change_layout(now, change);
        self.drain_node(world);
        changed
    }

    /// A connection that the node has dialled is up.
    pub fn link_up(&mut self, world: &mut World, link: LinkId, peer: NodeId, address: String) {
        let now = self.now(world);
        if let Some(process) = &mut self.process {
            process.node.link_up(now, link, peer, address);
            self.drain_node(world);
        }
    }

    /// A peer has connected.
    pub fn link_accepted(&mut self, world: &mut World, peer: NodeId, address: String) -> LinkId {
        let now = self.now(world);
        let link = self.process().node.link_accepted(now, peer, address);
        self.drain_node(world);
        link
    }

    /// The round trip of a connection was measured.
    pub fn measured(&mut self, world: &mut World, link: LinkId, rtt: Duration) {
        let now = self.now(world);
        if let Some(process) = &mut self.process {
            process.node.link_measured(now, link, rtt);
            self.drain_node(world);
        }
    }

    /// A connection is gone.
    pub fn link_down(&mut self, world: &mut World, link: LinkId, reason: &str) {
        let now = self.now(world);
        if let Some(process) = &mut self.process {
            process.node.link_down(now, link, reason);
            self.drain_node(world);
        }
    }

    /// A peer's request has arrived.
    pub fn serve(&mut self, world: &mut World, link: LinkId, token: Token, message: Message) {
        let now = self.now(world);
        let Some(process) = &mut self.process else { return };
        match process.node.serve(now, link, message) {
            Served::Reply(reply) => world.out.push_back(Out::Reply(token, reply)),
            Served::Run(task, slot) => self.run(world, task, Kind::Served(token, slot)),
        }
        self.drain_node(world);
    }

    /// A peer no longer waits for what it has asked.
    pub fn break_off(&mut self, world: &mut World, token: Token) {
        let now = self.now(world);
        let Some(process) = &mut self.process else { return };
        let is_it = |kind: &Kind| matches!(kind, Kind::Served(of, _) if *of == token);
        let served = process.tasks.iter().find(|(_, running)| is_it(&running.kind));
        let Some(number) = served.map(|(number, _)| *number) else { return };
        if let Some(running) = process.tasks.remove(&number) {
            process.node.served(now, running.task.origin());
            self.drain_node(world);
        }
    }

    /// A peer has answered, or will not.
    pub fn answered(
        &mut self,
        world: &mut World,
        peer: NodeId,
        caller: Caller,
        expect: Option<Expect>,
        result: Result<Message, PeerError>,
    ) {
        let now = self.now(world);
        let Some(process) = &mut self.process else { return };
        match (caller, expect) {
            (Caller::Node(id), _) => {
                process.node.handle_event(now, id, NodeEvent::Answered(result));
                self.drain_node(world);
            }
            (Caller::Task(task, id), Some(expect)) => {
                let completion = rpc::completion(expect, result);
                self.note(world, peer, task, &completion);
                self.handle(world, Event::Complete(task, id, completion));
            }
            (Caller::Task(..), None) => unreachable!("an effect of a task expects something"),
        }
    }

    /// Asks another node to do what a task wants done there.
    pub(super) fn ask(
        &mut self,
        world: &mut World,
        task: u64,
        id: EffectId,
        effect: Effect,
        origin: Origin,
    ) {
        let forged = Origin { layout: u64::MAX, ..origin };
        let origin = if self.options.fault == Some(Fault::Outdated) { forged } else { origin };
        let call = rpc::call(effect, origin).expect("it is for another node");
        let (host, caller) = (self.number, Caller::Task(task, id));
        match self.process().node.link_to(call.to) {
            Some(link) => {
                let (expect, message) = (Some(call.expect), call.message);
                let patience = call.patience;
                let call = Out::Call { host, link, caller, expect, message, patience };
                world.out.push_back(call);
            }
            None => {
                let failed = rpc::completion(call.expect, Err(PeerError::Unreachable));
                self.note(world, call.to, task, &failed);
                self.soon(world, Event::Complete(task, id, failed));
            }
        }
    }

    /// Tells the node what went wrong at a peer.
    fn note(&mut self, world: &mut World, peer: NodeId, task: u64, completion: &Completion) {
        let now = self.now(world);
        let Some(process) = &mut self.process else { return };
        if let Some(error) = failure(completion) {
            process.node.note_failure(now, peer, error);
            if matches!(completion, Completion::Committed(_)) && !process.tasks.contains_key(&task)
            {
                process.node.note_missed(now, peer);
            }
            self.drain_node(world);
        }
    }

    pub(super) fn save(
        &mut self,
        world: &mut World,
        id: EffectId,
        file: StateFile,
        bytes: Vec<u8>,
    ) {
        match file {
            StateFile::Layout => self.saved.layout = Some(bytes),
            StateFile::Peers => self.saved.peers = Some(bytes),
        }
        let now = self.now(world);
        self.process().node.handle_event(now, id, NodeEvent::Saved(Ok(())));
        self.drain_node(world);
    }
}

fn failure(completion: &Completion) -> Option<&PeerError> {
    match completion {
        Completion::Read(Err(error))
        | Completion::Committed(Err(error))
        | Completion::Loaded(Err(error))
        | Completion::Held(Err(error))
        | Completion::Asked(Err(error)) => Some(error),
        Completion::Read(Ok(_))
        | Completion::Committed(Ok(_))
        | Completion::Loaded(Ok(_))
        | Completion::Held(Ok(_))
        | Completion::Asked(Ok(_))
        | Completion::Control(_)
        | Completion::Chore(_)
        | Completion::Snapshots(_)
        | Completion::Pulled(_)
        | Completion::Collected(_)
        | Completion::Sent(_) => None,
    }
}
