//! A change of the layout over a full cluster: what goes over the network then is what the plan said before it was applied, and not
//! more. Blocks of a few bytes stand for blocks of a MiB: what is compared is counted in blocks.

use std::{collections::BTreeMap, time::Duration};

use mews_core::{
    block::seal,
    id::{ClusterId, Position},
    placement::{
        explain::Plan,
        layout::{CAPACITY_MIN, Role},
    },
};

use crate::{
    client::{Ask, Content},
    storm::Storm,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Partitions, by the default of layouts.
const PARTITIONS: usize = 256;

/// How many blocks an object has: fewer than fit into a page of its list.
const OBJECT: usize = 128;

/// Fills the cluster evenly, lets the first spare host join, and counts.
pub(crate) fn run(storm: &mut Storm) -> Result<(), String> {
    storm.found()?;
    let objects = fill(storm)?;
    let stored = objects.values().flatten().map(|block| block.len as u64).sum();
    storm.converge()?;
    storm.cluster.net.blocks.clear();

    let plan = apply(storm)?;
    storm.until("the layout is not in force", HOUR, MINUTE, |storm| {
        let versions = storm.cluster.hosts.iter().filter_map(|host| host.view());
        let behind = versions.filter(|view| view.ring.oldest() != plan.version).count();
        if behind == 0 { Ok(()) } else { Err(format!("{behind} hosts do not go by it alone")) }
    })?;
    storm.converge()?;
    let moved = std::mem::take(&mut storm.cluster.net.blocks);
    compare(storm, &plan, stored, &moved)?;
    for (key, blocks) in objects {
        let received = storm.call(storm.members[0], &Ask::Get(key.clone()))?;
        if received.body != blocks.iter().flat_map(|block| block.bytes()).collect::<Vec<u8>>() {
            return Err(format!("{key} is not what it was: {} bytes", received.body.len()));
        }
    }
    Ok(())
}

/// Puts as many blocks into each partition as the plan of the run says; gives the objects that they are in.
fn fill(storm: &mut Storm) -> Result<BTreeMap<String, Vec<Content>>, String> {
    let per_partition = storm.plan.fill;
    let len = storm.plan.options.config.block_size as usize;
    let mut room = vec![per_partition; PARTITIONS];
    let even = (1..).map(|number| Content { number: 2 * number, len }).filter(|block| {
        let hash = seal::seal(block.bytes().into(), None).hash();
        let room = &mut room[(usize::from(Position::of_block(hash).0) * PARTITIONS) >> 16];
        let fits = *room > 0;
        *room -= usize::from(fits);
        fits
    });
    let blocks: Vec<Content> = even.take(per_partition * PARTITIONS).collect();
    let mut objects = BTreeMap::new();
    for (number, blocks) in blocks.chunks(OBJECT).enumerate() {
        let key = format!("fill/{number}");
        let received = storm.call(0, &Ask::Join(key.clone(), blocks.to_vec()))?;
        if received.head.status != 200 {
            return Err(format!("{key} was answered {}", received.head.status));
        }
        objects.insert(key, blocks.to_vec());
    }
    Ok(objects)
}

/// Gives the first spare host a role, and as much room to each; what the plan said before.
fn apply(storm: &mut Storm) -> Result<Plan, String> {
    let joins = storm.members.len();
    storm.cluster.hosts.get(joins).ok_or("there is no spare host")?;
    storm.members.push(joins);
    let role = |host: usize| Role {
        zone: format!("zone-{}", storm.cluster.net.zone(host)),
        capacity: Some(2 * CAPACITY_MIN),
        tags: Vec::new(),
    };
    let roles = storm.members.iter().map(|host| (storm.cluster.hosts[*host].node, role(*host)));
    let roles: Vec<_> = roles.collect();
    let now = storm.cluster.world.true_time();
    storm.cluster.change_layout(0, |history| {
        for (node, role) in roles {
            history.stage(node, Some(role), now).map_err(|error| error.to_string())?;
        }
        let draft = history.draft().map_err(|error| error.to_string())?;
        let said = draft.plan.clone();
        history.apply(draft, ClusterId([7; 16]), now).map_err(|error| error.to_string())?;
        Ok(said)
    })
}

/// Holds what was sent against the plan.
fn compare(
    storm: &Storm,
    plan: &Plan,
    stored: u64,
    moved: &BTreeMap<(usize, usize), u64>,
) -> Result<(), String> {
    if plan.moved() == 0 {
        return Err("the plan moves nothing".to_owned());
    }
    // Those that have no role count as well.
    for host in &storm.cluster.hosts {
        let said = plan.nodes.iter().find(|part| part.node == host.node);
        let said = said.map_or(0, |part| stored / plan.partitions * part.gained);
        let taken = moved.iter().filter(|((_, to), _)| *to == host.number);
        let taken: u64 = taken.map(|(_, bytes)| bytes).sum();
        if taken > said {
            return Err(format!(
                "host {} was sent {taken} bytes of blocks, and the plan said {said}",
                host.number
            ));
        }
    }
    let (moved, said) = (moved.values().sum::<u64>(), plan.bytes_moved(stored));
    if moved != said {
        return Err(format!("{moved} bytes of blocks were sent, and the plan said {said}"));
    }
    Ok(())
}
