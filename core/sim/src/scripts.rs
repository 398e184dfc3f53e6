//! Runs in which what has to meet for a fault to show is brought together: what a node is to do is held back there until the rest has
//! happened.

use std::time::Duration;

use mews_core::{
    effect::Effect,
    id::{ClusterId, NodeId},
    job::Job,
    store::{Guard, Op, Table},
};

use crate::{
    client::{Ask, Content},
    fault::Fault,
    host::Crash,
    scenario::Fixed,
    storm::Storm,
};

/// Everything that a script waits for comes sooner than this, if it comes at all.
const PATIENCE: Duration = Duration::from_secs(120);

/// Plays a script with a fault or without. What is wrong then; `None` if nothing is.
pub(crate) fn play(script: Script, seed: u64, fault: Option<Fault>) -> Option<String> {
    let common = [
        ("ops", "0"),
        ("founders", "0"),
        ("late_every", "0"),
        ("reset_every", "0"),
        ("far_us", "500"),
    ];
    let lines = common.iter().chain(script.lines);
    let fixed = lines.fold(Fixed::default(), |all, (name, value)| all.with(name, value));
    let plan = fixed.plan(seed).expect("a scenario of this file").with(fault);
    let mut storm = Storm::new(seed, plan);
    let played = storm.found().and_then(|()| (script.play)(&mut storm));
    played.err().or_else(|| storm.clients.wrong.into_iter().next())
}

/// A cluster, and what happens to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    lines: &'static [(&'static str, &'static str)],
    play: fn(&mut Storm) -> Result<(), String>,
}

/// The batch that names an object's data has arrived at the replicas when its writer dies; it is committed after the data was given up.
pub(crate) const NAMED_TOO_LATE: Script = Script {
    lines: &[
        ("replication", "3"),
        ("hosts", "3"),
        ("zones", "1"),
        ("gateways", "0"),
        ("spare", "0"),
    ],
    play: named_too_late,
};

fn named_too_late(storm: &mut Storm) -> Result<(), String> {
    for host in &mut storm.cluster.hosts {
        host.hold(Some(|effect, me| names_data(effect) && effect.at() == Some(me)));
    }
    put(storm, 0, blocks(storm, 3));
    storm.until("the batch has not arrived", PATIENCE, MOMENT, |storm| {
        let held = storm.cluster.hosts[1..].iter().all(|host| host.holds() > 0);
        if held { Ok(()) } else { Err("it is not there".to_owned()) }
    })?;
    storm.cluster.crash(0, Crash::Kill);
    storm.boot(0)?;
    storm.until("the writer is not there again", PATIENCE, MOMENT, Storm::is_mesh)?;
    // What its start has tried before there was anybody to ask.
    let view = storm.cluster.hosts[0].view().ok_or("it is down")?;
    let (task, slot) = Job::Intents.task(view, storm.dice.seed());
    storm.cluster.start(0, task);
    storm.until("the intent is not looked at", PATIENCE, MOMENT, |_| {
        slot.get().map(drop).ok_or("it is under way".to_owned())
    })?;
    let_go(storm);
    let now = storm.cluster.world.now;
    storm.pass(now.after(Duration::from_secs(5)))?;
    storm.converge()?;
    storm.read_all()
}

/// Three hosts that store, a gateway (3), and one that is to take the place of host 2 (4).
const REPLACED: &[(&str, &str)] =
    &[("replication", "3"), ("hosts", "4"), ("zones", "1"), ("gateways", "1"), ("spare", "1")];
const GATEWAY: usize = 3;
const NEW: usize = 4;
/// Of those that read by the new layout, and of those that write by the old one.
const SIDES: [&[usize]; 2] = [&[1, NEW], &[0, 2, GATEWAY]];

/// A gateway sleeps through a change of the layout, and wakes with a request under way.
pub(crate) const SLEPT_THROUGH_A_CHANGE: Script =
    Script { lines: REPLACED, play: slept_through_a_change };

fn slept_through_a_change(storm: &mut Storm) -> Result<(), String> {
    begin_by_the_old_layout(storm)?;
    cut(storm, &[GATEWAY], &[0, 1, 2, NEW]);
    replace(storm, 2, NEW)?;
    let now = storm.cluster.world.now;
    storm.pass(now.after(Duration::from_secs(20)))?;
    let gateway = storm.cluster.hosts[GATEWAY].node;
    storm.cluster.change_layout(0, |history| Ok(history.skip_dead(2, &[gateway], false)))?;
    storm.until("the old layout is not left behind", PATIENCE, MOMENT, |storm| {
        let left = [0, 1, 2, NEW].iter().all(|host| {
            storm.cluster.hosts[*host].view().is_some_and(|view| view.ring.oldest() == 2)
        });
        if left { Ok(()) } else { Err("not by all".to_owned()) }
    })?;
    storm.cluster.net.heal(&mut storm.cluster.world);
    cut(storm, SIDES[0], SIDES[1]);
    storm.until("the gateway reaches nobody", PATIENCE, MOMENT, |storm| {
        let view = storm.cluster.hosts[GATEWAY].view().ok_or("it is down")?;
        let up = [0, 2].iter().all(|host| {
            view.peers.get(&storm.cluster.hosts[*host].node).is_some_and(|peer| peer.up)
        });
        if up { Ok(()) } else { Err("of those that it writes to".to_owned()) }
    })?;
    write_here_and_read_there(storm)
}

fn begin_by_the_old_layout(storm: &mut Storm) -> Result<(), String> {
    let first = put(storm, 0, Content { number: 1_001, len: 21 });
    answered(storm, first)?;
    storm.cluster.hosts[GATEWAY].hold(Some(|effect, _| makes_an_object(effect)));
    put(storm, GATEWAY, Content { number: 1_002, len: 22 });
    storm.until("the request is not under way", PATIENCE, MOMENT, |storm| {
        let held = storm.cluster.hosts[GATEWAY].holds();
        if held == 3 { Ok(()) } else { Err(format!("{held} of 3 effects")) }
    })
}

fn write_here_and_read_there(storm: &mut Storm) -> Result<(), String> {
    cut(storm, SIDES[0], SIDES[1]);
    let_go(storm);
    let now = storm.cluster.world.now;
    storm.pass(now.after(Duration::from_secs(2)))?;
    let read = ask(storm, NEW, Ask::Get(KEY.to_owned()));
    answered(storm, read)
}

/// Data goes from one host to another, which is slow to fetch its blocks.
pub(crate) const SLOW_TO_FETCH: Script = Script {
    lines: &[
        ("replication", "1"),
        ("hosts", "1"),
        ("zones", "1"),
        ("gateways", "0"),
        ("spare", "1"),
    ],
    play: slow_to_fetch,
};

fn slow_to_fetch(storm: &mut Storm) -> Result<(), String> {
    let written = put(storm, 0, blocks(storm, 3));
    answered(storm, written)?;
    storm.cluster.hosts[1].hold(Some(fetches));
    replace(storm, 0, 1)?;
    storm.members = vec![1];
    // Long enough for the former holder to look several times whether it may let go, and to reap what it has let go of.
    let now = storm.cluster.world.now;
    storm.pass(now.after(Duration::from_secs(600)))?;
    let_go(storm);
    storm.read_all()
}

const MOMENT: Duration = Duration::from_millis(1);
const KEY: &str = "key/0";

fn blocks(storm: &Storm, count: usize) -> Content {
    let block = usize::try_from(storm.plan.options.config.block_size).expect("small");
    Content { number: 1_000, len: count * block }
}

fn ask(storm: &mut Storm, host: usize, ask: Ask) -> u64 {
    let request = storm.send(host, &ask);
    storm.clients.sent(request, 0, ask, true);
    storm.clients.may_leave(request);
    request
}

fn put(storm: &mut Storm, host: usize, content: Content) -> u64 {
    ask(storm, host, Ask::Put(KEY.to_owned(), content))
}

fn answered(storm: &mut Storm, request: u64) -> Result<(), String> {
    storm.until("a request is not answered", PATIENCE, MOMENT, |storm| {
        let open = storm.routes.contains_key(&request);
        if open { Err("it is under way".to_owned()) } else { Ok(()) }
    })
}

fn cut(storm: &mut Storm, one: &[usize], other: &[usize]) {
    let cluster = &mut storm.cluster;
    cluster.net.cut(&mut cluster.world, one, other);
    cluster.net.cut(&mut cluster.world, other, one);
}

fn let_go(storm: &mut Storm) {
    for host in &mut storm.cluster.hosts {
        host.hold(None);
        host.let_go(&mut storm.cluster.world);
    }
}

fn replace(storm: &mut Storm, old: usize, new: usize) -> Result<(), String> {
    let nodes = [old, new].map(|host| storm.cluster.hosts[host].node);
    let now = storm.cluster.world.true_time();
    storm.cluster.change_layout(0, |history| {
        history.replace(nodes[0], nodes[1], now).map_err(|error| error.to_string())?;
        let applied =
            history.draft().and_then(|draft| history.apply(draft, ClusterId([7; 16]), now));
        applied.map(drop).map_err(|error| error.to_string())
    })
}

fn names_data(effect: &Effect) -> bool {
    let Effect::Commit { batch, .. } = effect else { return false };
    batch.guards.iter().any(|guard| matches!(guard, Guard::Wanted { .. }))
}

fn fetches(effect: &Effect, me: NodeId) -> bool {
    matches!(effect, Effect::LoadBlock { at, .. } if *at != me)
}

fn makes_an_object(effect: &Effect) -> bool {
    let Effect::Commit { batch, .. } = effect else { return false };
    batch.ops.iter().any(|op| matches!(op, Op::Merge { table: Table::Object, .. }))
}

/// Which effects are held back, given the node that was to perform them.
pub(crate) type Held = fn(&Effect, NodeId) -> bool;
