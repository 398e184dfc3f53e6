//! Writers of one key side by side, their effects in any order.

use super::{assert_no_open_intent, bytes, get};
use crate::{
    seed::Seed,
    store::{Op, Table},
    table::{self, key, queue::Job},
    testing::{Ask, Host},
};

/// What the job does with all data that is queued to be dropped.
fn drop_queued_data(host: &mut Host) {
    let jobs = host.store.rows(Table::Queue).map(|(_, value)| value.to_vec()).collect::<Vec<_>>();
    let mut ops = Vec::new();
    for job in jobs {
        let job: Job = table::decode(Table::Queue, &job).expect("a job");
        let Job::DropData { position, data, .. } = job else { continue };
        let prefix = &key::block_list(position, data, 0)[..18];
        let rows = host.store.rows(Table::BlockList);
        let rows = rows.filter(|(row_key, _)| row_key.starts_with(prefix));
        ops.extend(
            rows.map(|(row_key, _)| Op::Remove { table: Table::BlockList, key: row_key.to_vec() }),
        );
        let refs = host.store.rows(Table::BlockRef);
        let refs = refs.filter(|(row_key, _)| row_key.ends_with(&data.0));
        ops.extend(
            refs.map(|(row_key, _)| Op::Remove { table: Table::BlockRef, key: row_key.to_vec() }),
        );
    }
    host.change(ops);
}

/// Every writer is acknowledged, one of them has the last word, its data is whole, and nobody else's is left.
#[test]
fn writers_of_one_key_leave_one_whole_object() {
    for n in 0..150u8 {
        let mut seed = Seed::new([n; 32]);
        let mut host = Host::new();
        let lengths = [50, 600, 2500, 3100];
        let mut contents: Vec<Option<Vec<u8>>> = Vec::new();
        let mut running = Vec::new();
        for _ in 0..4 {
            let content = match seed.below(5) {
                4 => None,
                kind => Some(bytes(lengths[usize::from(kind as u8)] + running.len())),
            };
            let ask = match &content {
                Some(content) => Ask::put("/bucket/k", content.clone()),
                None => Ask::new("DELETE", "/bucket/k"),
            };
            running.push(host.begin(ask));
            contents.push(content);
        }
        let mut open: Vec<usize> = (0..running.len()).collect();
        while !open.is_empty() {
            let at = seed.below(open.len() as u64) as usize;
            if !running[open[at]].step(&mut host) {
                open.remove(at);
            }
        }
        for writer in &running {
            assert!(matches!(writer.reply.status, 200 | 204), "seed {n}");
        }
        assert_no_open_intent(&host);
        drop_queued_data(&mut host);
        let reply = host.ask(Ask::get("/bucket/k"));
        match reply.status {
            404 => {
                assert!(contents.contains(&None), "seed {n}");
                assert_eq!(host.count(Table::BlockList), 0, "seed {n}");
            }
            _ => {
                let found = get(&mut host, "/bucket/k");
                assert!(contents.contains(&Some(found.clone())), "seed {n}");
                let blocks = if found.len() <= 100 { 0 } else { found.len().div_ceil(1000) };
                assert_eq!(host.count(Table::BlockList), blocks, "seed {n}");
                assert_eq!(host.count(Table::BlockRef), blocks, "seed {n}");
            }
        }
    }
}
