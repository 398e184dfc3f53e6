//! Several worlds side by side, who ask each other as nodes do: every call is encoded, served by a task, and decoded.

use std::collections::BTreeMap;

use super::*;
use crate::{
    placement::layout::{Layout, Parameters, Redundancy, Role},
    rpc,
    view::Consistency,
};

/// Nodes with one clock.
pub(super) struct Cluster {
    pub nodes: Vec<World>,
    /// Who cannot be reached.
    pub down: BTreeSet<usize>,
    /// Plain bytes of blocks that each node was given by others, by giver and taker.
    pub given: BTreeMap<(usize, usize), u64>,
}

pub(super) fn node(index: usize) -> NodeId {
    NodeId([u8::try_from(index + 1).unwrap(); 32])
}

/// A layout in which partition p is held by `holders(p)`.
pub(super) fn layout(version: u64, nodes: usize, holders: impl Fn(usize) -> Vec<usize>) -> Layout {
    let role = Role { zone: "z".to_owned(), capacity: Some(1 << 40), tags: vec![] };
    let replication = u16::try_from(holders(0).len()).unwrap();
    let parameters = Parameters { replication, redundancy: Redundancy::AtLeast(1), bits: 8 };
    let storage: Vec<NodeId> = (0..nodes).map(node).collect();
    let indices = |p| holders(p).into_iter().map(|index| u16::try_from(index).unwrap());
    Layout {
        version,
        parameters,
        roles: storage.iter().map(|node| (*node, role.clone())).collect(),
        storage,
        assignment: (0..1 << 8).flat_map(indices).collect(),
    }
}

impl Cluster {
    pub fn new(seed: u8, count: usize) -> Self {
        let nodes = (0..count).map(|index| {
            let mut world = World::new(seed.wrapping_add(u8::try_from(index).unwrap() * 16));
            world.node = node(index);
            world
        });
        Self { nodes: nodes.collect(), down: BTreeSet::new(), given: BTreeMap::new() }
    }

    /// A cluster in which everybody holds everything.
    pub fn replicated(seed: u8, count: usize) -> Self {
        let mut cluster = Self::new(seed, count);
        cluster.set_layouts(&[&layout(1, count, |_| (0..count).collect())], 1, &[]);
        cluster
    }

    pub fn set_layouts(&mut self, active: &[&Layout], read: u64, retired: &[&Layout]) {
        for world in &mut self.nodes {
            let me = world.node;
            let near = |other: NodeId| (u64::from(other != me), other);
            world.ring = Some(Ring::new(active, read, retired, Consistency::Consistent, &near));
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.nodes.iter_mut().for_each(|world| world.pass(time));
    }

    /// Runs a job of one node to its end.
    pub fn run(&mut self, index: usize, job: Job) -> Verdict {
        let seed = self.nodes[index].seed.child();
        let view = self.nodes[index].view();
        let origin = rpc::Origin { background: true, ..rpc::Origin::of(&view.ring) };
        let (task, slot) = job.task(view, seed);
        let mut running = self.nodes[index].start(task);
        self.drive(index, &mut running, origin);
        slot.get().expect("a job leaves a verdict").verdict
    }

    /// Runs a flow on one node to its end.
    pub fn flow<F>(&mut self, index: usize, flow: impl FnOnce(Cx, Arc<View>) -> F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + Sync + 'static,
    {
        let (seed, view) = (self.nodes[index].seed.child(), self.nodes[index].view());
        let origin = rpc::Origin { background: true, ..rpc::Origin::of(&view.ring) };
        let slot = Arc::new(OnceLock::new());
        let result = Arc::clone(&slot);
        let task = Task::new("flow", seed, |cx| {
            let flow = flow(cx, view);
            async move { drop(result.set(flow.await)) }
        });
        let mut running = self.nodes[index].start(task);
        self.drive(index, &mut running, origin);
        drop(running);
        Arc::into_inner(slot).and_then(OnceLock::into_inner).expect("the flow has ended")
    }

    fn drive(&mut self, index: usize, running: &mut Running, origin: rpc::Origin) {
        while !running.task.is_done() {
            let Some((id, to)) = away(running, node(index)) else {
                self.nodes[index].step(running, 0);
                let now = self.nodes[index].now;
                for world in &mut self.nodes {
                    let behind = now.mono.since(world.now.mono);
                    world.pass(behind);
                }
                continue;
            };
            let at = running.open.iter().position(|(open, _)| *open == id).expect("open");
            let (id, Step::Effect(effect)) = running.open.remove(at) else { panic!("an effect") };
            let completion = self.ask(index, usize::from(to.0[0]) - 1, *effect, origin);
            running.task.handle_event(self.nodes[index].now, id, completion);
            running.collect();
        }
    }

    /// One node's effect at another.
    fn ask(&mut self, from: usize, to: usize, effect: Effect, origin: rpc::Origin) -> Completion {
        let call = rpc::call(effect, origin).expect("an effect of another node's");
        let answer = if self.down.contains(&to) || self.down.contains(&from) {
            Err(PeerError::Unreachable)
        } else {
            Ok(self.serve(from, to, call.message))
        };
        let completion = rpc::completion(call.expect, answer);
        if let Completion::Loaded(Ok(block)) = &completion {
            *self.given.entry((to, from)).or_default() += u64::from(block.len());
        }
        completion
    }

    fn serve(
        &mut self,
        from: usize,
        index: usize,
        message: crate::wire::Message,
    ) -> crate::wire::Message {
        let world = &mut self.nodes[index];
        let (view, seed) = (world.view(), world.seed.child());
        let (task, slot) = rpc::serve(view, node(from), message, seed);
        let mut running = world.start(task);
        while !running.task.is_done() {
            world.step(&mut running, 0);
        }
        drop(running);
        Arc::into_inner(slot).and_then(OnceLock::into_inner).expect("a reply")
    }

    /// The file of a block on one node's disk.
    pub fn file(&self, index: usize, block: Hash) -> Option<String> {
        let (name, files) = (block.to_string(), self.nodes[index].disk.files());
        files.into_iter().find(|file| file.contains(&name) && !file.ends_with(".corrupted"))
    }

    pub fn lose(&mut self, index: usize, block: Hash) {
        let file = self.file(index, block).expect("it has a file");
        crate::block::disk::Disk::unlink(&*self.nodes[index].disk, &file).unwrap();
    }

    pub fn damage(&mut self, index: usize, block: Hash) {
        let file = self.file(index, block).expect("it has a file");
        self.nodes[index].disk.damage(&file, |bytes| bytes[0] ^= 1);
    }

    pub fn is_sound(&self, index: usize, block: Hash) -> bool {
        self.nodes[index].files.load(block).is_ok()
    }
}

/// An open effect that is another node's to perform.
fn away(running: &Running, me: NodeId) -> Option<(EffectId, NodeId)> {
    running.open.iter().find_map(|(id, step)| {
        let Step::Effect(effect) = step else { return None };
        let at = match &**effect {
            Effect::Read { at, .. }
            | Effect::Commit { at, .. }
            | Effect::StoreBlock { at, .. }
            | Effect::LoadBlock { at, .. }
            | Effect::Holds { at, .. } => *at,
            _ => return None,
        };
        (at != me).then_some((*id, at))
    })
}
