//! Effects as short lines of text.

use crate::{
    effect::{Effect, ResponseBody},
    store::{Batch, Guard, Op, Read, Table},
    table::{self, queue::Job, upload::IntentRow},
};

pub(super) fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Read { read, .. } => format!("Read {}", reading(read)),
        Effect::Commit { batch, .. } => format!("Commit{}", content(batch)),
        Effect::StoreBlock { block, then, .. } => {
            format!("StoreBlock {} B{}", block.len(), content(then))
        }
        Effect::LoadBlock { .. } => "LoadBlock".to_owned(),
        Effect::Holds { blocks, .. } => format!("Holds {blocks:?}"),
        Effect::Chore(chore) => format!("Chore {chore:?}"),
        Effect::Snapshot(shot) => format!("Snapshot {shot:?}"),
        Effect::Control(command) => format!("Control {command:?}"),
        Effect::Ask { call, .. } => format!("Ask {}", call.call),
        Effect::Open(_) => "Open".to_owned(),
        Effect::Pull { .. } => "Pull".to_owned(),
        Effect::Collect { .. } => "Collect".to_owned(),
        Effect::Respond { head, body } => {
            let body = match body {
                ResponseBody::Empty => "empty",
                ResponseBody::Full(_) => "full",
                ResponseBody::Stream => "stream",
            };
            format!("Respond {} {body}", head.status)
        }
        Effect::Send(bytes) => format!("Send {} B", bytes.len()),
        Effect::Waited(_) => "Waited".to_owned(),
        Effect::Cancel(_) => "Cancel".to_owned(),
    }
}

fn reading(read: &Read) -> String {
    match read {
        Read::Get(keys) => {
            let tables: Vec<_> = keys.iter().map(|(table, _)| table.name()).collect();
            tables.join(" ")
        }
        Read::Object { payload: true, .. } => "object and payload".to_owned(),
        Read::Object { payload: false, .. } => "object".to_owned(),
        Read::Scan { table, .. } => format!("scan {}", table.name()),
        Read::Count(tables) => format!("count {} tables", tables.len()),
        Read::List(list) => format!("list {}", list.table.name()),
        Read::Recount(_) => "recount".to_owned(),
        Read::Compare(_) => "compare".to_owned(),
    }
}

fn content(batch: &Batch) -> String {
    let ops: Vec<_> = batch.ops.iter().map(change).collect();
    let guards: Vec<_> = batch.guards.iter().map(condition).collect();
    let guards =
        if guards.is_empty() { String::new() } else { format!(" if {}", guards.join(", ")) };
    format!(": {}{guards}", ops.join(", "))
}

fn change(op: &Op) -> String {
    match op {
        Op::Merge { table: Table::Intent, value, .. } => {
            match table::decode::<IntentRow>(Table::Intent, value) {
                Ok(IntentRow::Writing { .. }) => "intent writing".to_owned(),
                Ok(IntentRow::Abandoned) => "intent abandoned".to_owned(),
                Ok(IntentRow::Done) => "intent done".to_owned(),
                Ok(IntentRow::Dropped) => "intent dropped".to_owned(),
                Err(error) => error.to_string(),
            }
        }
        Op::Merge { table, inline: Some(bytes), .. } => {
            format!("{} and {} B", table.name(), bytes.len())
        }
        Op::Merge { table, .. } => table.name().to_owned(),
        Op::Remove { table, .. } => format!("remove {}", table.name()),
        Op::Correct(_) => "correct a count".to_owned(),
        Op::Forget { table, .. } => format!("forget {}", table.name()),
        Op::Collect { table, .. } => format!("collect {}", table.name()),
        Op::Enqueue { job, .. } => match job {
            Job::DropData { .. } => "queue DropData".to_owned(),
            Job::DropUpload { .. } => "queue DropUpload".to_owned(),
            Job::DropPart { .. } => "queue DropPart".to_owned(),
            Job::TidyUpload { .. } => "queue TidyUpload".to_owned(),
            Job::Collect { .. } => "queue Collect".to_owned(),
            Job::Reap { .. } => "queue Reap".to_owned(),
            Job::Fetch { .. } => "queue Fetch".to_owned(),
        },
        Op::Reap { .. } => "reap".to_owned(),
    }
}

fn condition(guard: &Guard) -> String {
    match guard {
        Guard::Absent { table, .. } => format!("{} absent", table.name()),
        Guard::Live { table, .. } => format!("{} live", table.name()),
        Guard::NotDeleted { table, .. } => format!("{} not deleted", table.name()),
        Guard::Before { .. } => "in time".to_owned(),
        Guard::Unchanged { table, .. } => format!("{} unchanged", table.name()),
        Guard::Empty { .. } => "bucket empty".to_owned(),
        Guard::Unsealed { .. } => "bucket unsealed".to_owned(),
        Guard::Newest { .. } => "newest".to_owned(),
        Guard::Wanted { .. } => "data wanted".to_owned(),
        Guard::Held { .. } => "block held".to_owned(),
    }
}
