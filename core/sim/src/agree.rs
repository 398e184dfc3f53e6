//! Whether a cluster has converged: every replica of every row the same, byte for byte, and none where it does not belong; and
//! whether all of it together fits.

use std::collections::BTreeMap;

use mews_core::{
    id::{NodeId, Position},
    store::{StoreError, Table, Writer, map::MapStore},
    view::Ring,
};

use crate::{check, cluster::Cluster};

/// Tables whose rows are kept by the replicas of their position.
const SHARDED: [Table; 8] = [
    Table::Object,
    Table::Inline,
    Table::Upload,
    Table::Part,
    Table::Manifest,
    Table::Intent,
    Table::BlockList,
    Table::BlockRef,
];

/// Tables that every node has in full.
const FULL: [Table; 4] = [Table::Alias, Table::Bucket, Table::AccessKey, Table::AdminToken];

/// More than this is not told of one kind: the rest would say the same.
const TOLD_MAX: usize = 5;

/// Whether a host still has work queued: a look that costs little, for as long as they do.
pub fn is_at_work(cluster: &Cluster) -> bool {
    cluster.hosts.iter().any(check::has_work)
}

/// What keeps the cluster from having converged; empty if it has.
pub fn differences(cluster: &Cluster) -> Vec<String> {
    let ring = match common_ring(cluster) {
        Ok(ring) => ring,
        Err(why) => return vec![why],
    };
    let mut wrong = Vec::new();
    for host in &cluster.hosts {
        match check::to_do(host) {
            Ok(None) => {}
            Ok(Some(jobs)) => wrong.push(format!("host {} still has {jobs}", host.number)),
            Err(why) => wrong.push(format!("host {}: {why}", host.number)),
        }
    }
    for table in SHARDED {
        wrong.extend(compare(cluster, table, &|row, node| Some(ring.holds(node, position(row)))));
    }
    for table in FULL {
        // Nothing of these is ever forgotten, so who is no member may keep what it has.
        let belongs = |node| ring.everyone().contains(&node).then_some(true);
        wrong.extend(compare(cluster, table, &|_, node| belongs(node)));
    }
    wrong
}

/// The ring, if every node has the same one and no change of it is under way.
fn common_ring(cluster: &Cluster) -> Result<Ring, String> {
    let mut common: Option<Ring> = None;
    for host in &cluster.hosts {
        let view = host.view().ok_or_else(|| format!("host {} is down", host.number))?;
        let ring = &view.ring;
        if ring.version() == 0 || ring.oldest() != ring.version() {
            let (oldest, newest) = (ring.oldest(), ring.version());
            return Err(format!("host {} goes by layouts {oldest} to {newest}", host.number));
        }
        match &common {
            Some(other) if other.version() != ring.version() => {
                let (one, other) = (other.version(), ring.version());
                return Err(format!(
                    "host {} goes by layout {other}, others by {one}",
                    host.number
                ));
            }
            Some(_) | None => common = Some(ring.clone()),
        }
    }
    common.ok_or_else(|| "there are no hosts".to_owned())
}

/// The rows of a table that a host has.
fn rows(
    cluster: &Cluster,
    host: usize,
    table: Table,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, String> {
    let (db, _) = cluster.hosts[host].stores().ok_or_else(|| format!("host {host} is down"))?;
    let rows = db.look(|snapshot| {
        let mut rows = BTreeMap::new();
        let mut cursor = snapshot.cursor(table, &[], None)?;
        while cursor.advance()? {
            rows.insert(cursor.key().to_vec(), cursor.value().to_vec());
        }
        Ok(rows)
    });
    rows.map_err(|error| format!("host {host}: {error}"))
}

/// What is wrong with a table. `belongs` says whether a row has to be on a node; `None` if it may or may not.
fn compare(
    cluster: &Cluster,
    table: Table,
    belongs: &dyn Fn(&[u8], NodeId) -> Option<bool>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut all: BTreeMap<Vec<u8>, BTreeMap<usize, Vec<u8>>> = BTreeMap::new();
    for host in 0..cluster.hosts.len() {
        match rows(cluster, host, table) {
            Ok(rows) => {
                let node = cluster.hosts[host].node;
                for (key, value) in rows {
                    if belongs(&key, node).is_none() {
                        continue;
                    }
                    all.entry(key).or_default().insert(host, value);
                }
            }
            Err(why) => wrong.push(why),
        }
    }
    for (key, copies) in &all {
        let mut values = copies.values();
        let first = values.next();
        let what = || format!("{} {}", table.name(), hex::encode(key));
        let differ = values.any(|value| Some(value) != first);
        if differ {
            let copies: Vec<String> = copies
                .iter()
                .map(|(host, value)| format!("{host}: {}", hex::encode(value)))
                .collect();
            wrong.push(format!("{} differs: {}", what(), copies.join(", ")));
        }
        for host in &cluster.hosts {
            match (belongs(key, host.node), copies.contains_key(&host.number)) {
                (Some(true), false) => {
                    wrong.push(format!("{} is not on host {}", what(), host.number))
                }
                (Some(false), true) => {
                    wrong.push(format!("{} is on host {} still", what(), host.number));
                }
                (Some(true), true) | (Some(false), false) | (None, _) => {}
            }
        }
        if wrong.len() > TOLD_MAX {
            break;
        }
    }
    wrong
}

/// Everything wrong with a cluster that has converged and come to rest.
pub fn at_rest(cluster: &Cluster) -> Vec<String> {
    let mut wrong = Vec::new();
    match union(cluster) {
        Ok(all) => {
            let runs = |boot: u64, node: NodeId| {
                let mut hosts = cluster.hosts.iter();
                hosts.any(|host| {
                    host.node == node && host.stores().is_some_and(|(db, _)| db.boot() == boot)
                })
            };
            let whole = check::whole(&all, &runs);
            wrong.extend(whole.unwrap_or_else(|error| vec![error.to_string()]));
        }
        Err(error) => wrong.push(error),
    }
    for host in &cluster.hosts {
        wrong.extend(check::local(host));
    }
    wrong
}

/// All sharded rows of all hosts and their queued work, as one node would have them.
fn union(cluster: &Cluster) -> Result<MapStore, String> {
    let mut all = MapStore::default();
    for table in SHARDED.into_iter().chain([Table::Queue]) {
        for host in 0..cluster.hosts.len() {
            for (key, value) in rows(cluster, host, table)? {
                all.put(table, &key, &value).map_err(|error: StoreError| error.to_string())?;
            }
        }
    }
    Ok(all)
}

fn position(row_key: &[u8]) -> Position {
    let byte = |at: usize| row_key.get(at).copied().unwrap_or_default();
    Position(u16::from_be_bytes([byte(0), byte(1)]))
}
