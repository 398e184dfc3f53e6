//! How planted faults bend what passes through the host, and how effects are named in the trace.

use mews_core::{
    effect::{Completion, Effect},
    store::{Answer, Batch, Op, Table},
    table::{
        self, CounterRow,
        object::{Content, ObjectRow},
        upload::IntentRow,
    },
};
use redb::{Database, ReadableTable, TableDefinition};

use crate::{fault::Fault, platter::Platter};

/// Changes a batch as the fault has it, before it is committed.
pub fn batch(fault: Fault, batch: &mut Batch) {
    match fault {
        Fault::Guards => batch.guards.clear(),
        Fault::References => batch.ops.retain(|op| !merges(op, Table::BlockRef)),
        Fault::Tombstones => batch.ops.retain(|op| !is_tombstone(op)),
        Fault::Intents => batch.ops.retain(|op| !is_intent(op)),
        Fault::Payloads => batch.ops.iter_mut().for_each(cut_payload),
        // What hooks enqueue is out of reach here; what handlers and jobs enqueue is not.
        Fault::Queue => batch.ops.retain(|op| !matches!(op, Op::Enqueue { .. })),
        Fault::DatabaseSync
        | Fault::FileSync
        | Fault::DirectorySync
        | Fault::EarlyAnswer
        | Fault::EarlyBlockAnswer
        | Fault::RowsBeforeFile
        | Fault::Pin
        | Fault::BlockDelay
        | Fault::StaleReads
        | Fault::Counters => {}
    }
}

fn merges(op: &Op, into: Table) -> bool {
    matches!(op, Op::Merge { table, .. } if *table == into)
}

fn is_tombstone(op: &Op) -> bool {
    match op {
        Op::Merge { table: Table::Object, value, .. } => {
            let row = table::decode::<ObjectRow>(Table::Object, value);
            row.is_ok_and(|row| row.content == Content::Deleted)
        }
        Op::Merge { .. }
        | Op::Remove { .. }
        | Op::Forget { .. }
        | Op::Enqueue { .. }
        | Op::Reap { .. } => false,
    }
}

fn is_intent(op: &Op) -> bool {
    match op {
        Op::Merge { table: Table::Intent, value, .. } => {
            let row = table::decode::<IntentRow>(Table::Intent, value);
            row.is_ok_and(|row| row != IntentRow::Done)
        }
        Op::Merge { .. }
        | Op::Remove { .. }
        | Op::Forget { .. }
        | Op::Enqueue { .. }
        | Op::Reap { .. } => false,
    }
}

fn cut_payload(op: &mut Op) {
    if let Op::Merge { inline: Some(payload), .. } = op {
        payload.truncate(payload.len().saturating_sub(1));
    }
}

/// Adds one to the objects of the first bucket that has a counter, behind the store's back.
pub fn counters(platter: &Platter) -> Result<(), String> {
    const COUNTER: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("counter");
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let database = Database::builder().create_with_backend(platter.open());
    let database = database.map_err(|error| text(&error))?;
    let transaction = database.begin_write().map_err(|error| text(&error))?;
    {
        let mut table = transaction.open_table(COUNTER).map_err(|error| text(&error))?;
        let first = table.first().map_err(|error| text(&error))?;
        let first = first.map(|(key, value)| (key.value().to_vec(), value.value().to_vec()));
        if let Some((key, value)) = first {
            let mut row: CounterRow =
                table::decode(Table::Counter, &value).map_err(|error| text(&error))?;
            row.objects += 1;
            let value = table::encode(&row);
            table.insert(&key[..], &value[..]).map_err(|error| text(&error))?;
        }
    }
    transaction.commit().map_err(|error| text(&error))
}

/// An effect in a few words, with a digest of all that it says.
pub fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Read { read, .. } => {
            format!("Read {} {}", digest(read), beginning(&format!("{read:?}")))
        }
        Effect::Commit { batch, .. } => format!("Commit {} {}", digest_batch(batch), ops(batch)),
        Effect::StoreBlock { block, then, .. } => {
            format!("StoreBlock {} {block:?} then {}", digest_batch(then), ops(then))
        }
        Effect::Send(bytes) => {
            format!("Send {} B {}", bytes.len(), short(&blake3::hash(bytes)))
        }
        other @ (Effect::LoadBlock { .. }
        | Effect::Holds { .. }
        | Effect::Chore(_)
        | Effect::Open(_)
        | Effect::Pull { .. }
        | Effect::Collect { .. }
        | Effect::Respond { .. }
        | Effect::Cancel(_)) => {
            let text = format!("{other:?}");
            format!("{} {}", digest(&text), beginning(&text))
        }
    }
}

/// An answer in a few words, with a digest of all that it says.
pub fn outline(completion: &Completion) -> String {
    match completion {
        Completion::Read(Ok(Answer::Rows(rows))) => {
            let digest = digest_rows(rows.iter().map(|(key, value)| (&key[..], &value[..])));
            format!("→ {} rows {digest}", rows.len())
        }
        other @ (Completion::Read(_)
        | Completion::Committed(_)
        | Completion::Loaded(_)
        | Completion::Held(_)
        | Completion::Chore(_)
        | Completion::Pulled(_)
        | Completion::Collected(_)
        | Completion::Sent(_)) => {
            let text = format!("{other:?}");
            format!("→ {} {}", digest(&text), beginning(&text))
        }
    }
}

fn digest(what: &dyn std::fmt::Debug) -> String {
    short(&blake3::hash(format!("{what:?}").as_bytes()))
}

fn short(hash: &blake3::Hash) -> String {
    hex::encode(&hash.as_bytes()[..4])
}

/// As [`digest`], without printing every byte first: most of what a run says is rows.
fn digest_rows<'a>(rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (key, value) in rows {
        hasher.update(&(key.len() as u64).to_le_bytes()).update(key);
        hasher.update(&(value.len() as u64).to_le_bytes()).update(value);
    }
    short(&hasher.finalize())
}

fn digest_batch(batch: &Batch) -> String {
    let rows = batch.ops.iter().map(|op| match op {
        Op::Merge { key, value, .. } => (&key[..], &value[..]),
        Op::Remove { key, .. } | Op::Forget { key, .. } => (&key[..], &[][..]),
        Op::Enqueue { .. } => (&[][..], &[][..]),
        Op::Reap { block } => (&block.0[..], &[][..]),
    });
    digest_rows(rows)
}

/// The beginning of a text: enough to know it by.
fn beginning(text: &str) -> &str {
    const LONG: usize = 100;
    match text.char_indices().nth(LONG) {
        Some((at, _)) => &text[..at],
        None => text,
    }
}

fn ops(batch: &Batch) -> String {
    let name = |op: &Op| match op {
        Op::Merge { table, .. } => format!("+{}", table.name()),
        Op::Remove { table, .. } => format!("-{}", table.name()),
        Op::Forget { table, .. } => format!("forget {}", table.name()),
        Op::Enqueue { job, .. } => beginning(&format!("{job:?}")).to_owned(),
        Op::Reap { block } => format!("reap {block:?}"),
    };
    let ops: Vec<String> = batch.ops.iter().take(8).map(name).collect();
    let guards = if batch.guards.is_empty() { "" } else { " guarded" };
    format!("[{}]{guards}", ops.join(", "))
}
