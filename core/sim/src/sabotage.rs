//! How planted faults bend what passes through the host, and how effects are named in the trace.

use mews_core::{
    effect::{Completion, Effect, PeerError},
    id::VersionId,
    store::{
        Answer, Batch, Guard, Op, Outcome, Read, StoreError, Table,
        digest::{Findings, Question},
    },
    table::{
        self, CounterRow,
        object::{Content, ObjectRow},
        upload::IntentRow,
    },
    time::Timestamp,
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
        Fault::Fencing => unguard(batch, |guard| matches!(guard, Guard::Wanted { .. })),
        Fault::Seal => unguard(batch, |guard| matches!(guard, Guard::Unsealed { .. })),
        Fault::Promises => unguard(batch, is_promise),
        Fault::DatabaseSync
        | Fault::FileSync
        | Fault::DirectorySync
        | Fault::EarlyAnswer
        | Fault::EarlyBlockAnswer
        | Fault::RowsBeforeFile
        | Fault::Pin
        | Fault::BlockDelay
        | Fault::StaleReads
        | Fault::Counters
        | Fault::QuorumOfOne
        | Fault::Sync
        | Fault::EarlyForget
        | Fault::Fetch
        | Fault::ReadRepair
        | Fault::Outdated
        | Fault::Offload
        | Fault::Recovering
        | Fault::Starts => {}
    }
}

/// What a question to another node is answered with, as the fault has it; `here` answers it by this node's own rows.
pub fn answer(
    fault: Fault,
    effect: &Effect,
    here: impl FnOnce(&Read) -> Result<Answer, StoreError>,
) -> Option<Completion> {
    if let (Fault::Offload, Effect::Holds { blocks, .. }) = (fault, effect) {
        return Some(Completion::Held(Ok(vec![true; blocks.len()])));
    }
    let Effect::Read { read, .. } = effect else { return None };
    let answer = match (fault, read) {
        (Fault::Sync, Read::Compare(Question::Positions(_))) => here(read),
        (Fault::EarlyForget, Read::Compare(Question::Forgettable(tombstones))) => {
            Ok(Answer::Compared(Findings::Flags(vec![true; tombstones.len()])))
        }
        _ => return None,
    };
    Some(Completion::Read(answer.map_err(PeerError::Store)))
}

/// Takes such guards out. The places of the others are kept, because by its place a refused guard is known.
fn unguard(batch: &mut Batch, is_it: impl Fn(&Guard) -> bool) {
    const HOLDS: Guard = Guard::Before { deadline: Timestamp(u64::MAX) };
    for guard in batch.guards.iter_mut().filter(|guard| is_it(guard)) {
        *guard = HOLDS;
    }
}

fn is_promise(guard: &Guard) -> bool {
    matches!(
        guard,
        Guard::Unchanged { table: Table::Ballot, .. } | Guard::Absent { table: Table::Ballot, .. }
    )
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
        | Op::Correct(_)
        | Op::Collect { .. }
        | Op::Enqueue { .. }
        | Op::Reap { .. } => false,
    }
}

fn is_intent(op: &Op) -> bool {
    match op {
        Op::Merge { table: Table::Intent, value, .. } => {
            let row = table::decode::<IntentRow>(Table::Intent, value);
            row.is_ok_and(|row| matches!(row, IntentRow::Writing { .. }))
        }
        Op::Merge { .. }
        | Op::Remove { .. }
        | Op::Forget { .. }
        | Op::Correct(_)
        | Op::Collect { .. }
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

/// A number that tells an effect from others, cheaper to have than words.
pub fn weigh_effect(effect: &Effect) -> u64 {
    match effect {
        Effect::Read { read, .. } => match read {
            Read::Get(keys) => hash_rows(keys.iter().map(|(_, key)| (&key[..], &[][..]))),
            Read::Object { key, .. } => hash_rows([(&key[..], &[][..])].into_iter()),
            Read::Scan { from, limit, .. } => {
                hash_rows([(&from[..], &limit.to_le_bytes()[..])].into_iter())
            }
            // What is asked shows in the answer.
            Read::Count(_) | Read::List(_) | Read::Compare(_) | Read::Recount(_) => 1,
        },
        Effect::Commit { batch, .. } => hash_batch(batch),
        Effect::StoreBlock { block, then, .. } => hash_batch(then) ^ u64::from(block.len()),
        Effect::Send(bytes) => bytes.len() as u64,
        Effect::LoadBlock { hash, .. } => u64::from(hash.0[0]) << 8 | u64::from(hash.0[1]),
        Effect::Holds { blocks, .. } => blocks.len() as u64,
        Effect::Chore(_) => 2,
        Effect::Snapshot(_) => 9,
        Effect::Control(_) => 7,
        Effect::Waited(_) => 10,
        Effect::Ask { call, .. } => 8 ^ (call.parameters.len() as u64) << 8,
        Effect::Open(_) => 3,
        Effect::Pull { .. } => 4,
        Effect::Collect { .. } => 5,
        Effect::Respond { .. } => 6,
        Effect::Cancel(id) => id.0,
    }
}

/// As [`weigh_effect`], for an answer.
pub fn weigh(completion: &Completion) -> u64 {
    #[allow(clippy::wildcard_enum_match_arm, reason = "small answers show in what comes of them")]
    match completion {
        Completion::Read(Ok(Answer::Rows(rows))) => {
            hash_rows(rows.iter().map(|(key, value)| (&key[..], &value[..])))
        }
        Completion::Read(Ok(Answer::Values(values))) => {
            hash_rows(values.iter().map(|value| (value.as_deref().unwrap_or_default(), &[][..])))
        }
        Completion::Read(Ok(Answer::Object(object))) => {
            let rows = object.iter();
            hash_rows(
                rows.map(|found| (&found.row[..], found.inline.as_deref().unwrap_or_default())),
            )
        }
        Completion::Read(Err(_)) => 1,
        Completion::Committed(Ok(Outcome::Applied(applied))) => {
            2 + applied.superseded_by.map_or(0, |stamp| stamp.0)
        }
        Completion::Committed(Ok(Outcome::Refused { guard })) => 3 + *guard as u64,
        Completion::Committed(Err(_)) => 4,
        Completion::Loaded(Ok(block)) => u64::from(block.len()),
        Completion::Loaded(Err(_)) => 5,
        _ => 6,
    }
}

fn hash_rows<'a>(rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&hasher_of(rows).finalize().as_bytes()[..8]);
    u64::from_le_bytes(eight)
}

fn hash_batch(batch: &Batch) -> u64 {
    hash_rows(rows_of(batch))
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
        | Effect::Snapshot(_)
        | Effect::Control(_)
        | Effect::Waited(_)
        | Effect::Ask { .. }
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
        | Completion::Snapshots(_)
        | Completion::Control(_)
        | Completion::Asked(_)
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
    short(&hasher_of(rows).finalize())
}

fn hasher_of<'a>(rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    for (key, value) in rows {
        hasher.update(&(key.len() as u64).to_le_bytes()).update(key);
        hasher.update(&(value.len() as u64).to_le_bytes()).update(value);
    }
    hasher
}

fn rows_of(batch: &Batch) -> impl Iterator<Item = (&[u8], &[u8])> {
    batch.ops.iter().map(|op| match op {
        Op::Merge { key, value, .. } => (&key[..], &value[..]),
        Op::Correct(_) => (&[][..], &[][..]),
        Op::Remove { key, .. } | Op::Forget { key, .. } => (&key[..], &[][..]),
        Op::Collect { key, value, .. } => (&key[..], &value[..]),
        Op::Enqueue { .. } => (&[][..], &[][..]),
        Op::Reap { block } => (&block.0[..], &[][..]),
    })
}

fn digest_batch(batch: &Batch) -> String {
    digest_rows(rows_of(batch))
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
        Op::Merge { table, key, value, .. } => {
            format!("+{}{}{}", table.name(), of_data(*table, key), fate(*table, value))
        }
        Op::Remove { table, .. } => format!("-{}", table.name()),
        Op::Forget { table, .. } => format!("forget {}", table.name()),
        Op::Correct(correction) => format!("{correction:?}"),
        Op::Collect { table, .. } => format!("collect {}", table.name()),
        Op::Enqueue { job, .. } => beginning(&format!("{job:?}")).to_owned(),
        Op::Reap { block } => format!("reap {block:?}"),
    };
    let ops: Vec<String> = batch.ops.iter().take(8).map(name).collect();
    let guards = if batch.guards.is_empty() { "" } else { " guarded" };
    format!("[{}]{guards}", ops.join(", "))
}

/// The data or upload that a row is about, and where in it.
fn of_data(table: Table, key: &[u8]) -> String {
    // Position and id, then where in it; of a reference, the block comes first.
    let (begin, end) = if table == Table::BlockRef {
        (32, 48)
    } else if matches!(table, Table::BlockList | Table::Intent | Table::Part | Table::Manifest) {
        (2, 18)
    } else {
        return String::new();
    };
    let id = key.get(begin..end).and_then(VersionId::from_slice).unwrap_or_default();
    format!("({id:?} {})", hex::encode(key.get(end..).unwrap_or_default()))
}

/// What an intent's row says.
fn fate(table: Table, value: &[u8]) -> String {
    if table != Table::Intent {
        return String::new();
    }
    match table::decode::<IntentRow>(table, value) {
        Ok(row) => format!("={row:?}"),
        Err(error) => format!("={error}"),
    }
}
