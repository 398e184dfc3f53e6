//! Repairs: thorough looks at what is otherwise taken on trust, at an operator's word.
//!
//! A repair is a row: launching it writes one, the job works on from where the row says, a slice at a time, and removes it in
//! the end. So a repair survives a restart, holds up no layout change for longer than a slice, and can be watched and cancelled
//! from anywhere.

mod counts;
mod files;
mod lists;
mod refs;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Verdict, commit_local, pace::Slice, remove};
use crate::{
    effect::PeerError,
    id::Position,
    quorum,
    store::{Batch, Guard, Op, Outcome, Read, Table},
    table::{self, key::after_prefix},
    task::Cx,
    time::Timestamp,
    view::View,
};

/// What can be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Repair {
    /// Fingerprints are made anew, and every table is compared with the other replicas.
    Tables,
    /// Every block that is referred to is looked for on disk, and fetched where it is missing.
    Blocks,
    /// Data that no object and no part names any more is dropped.
    Versions,
    /// Parts whose upload is gone are dropped.
    Uploads,
    /// Every block that data lists gets its reference back; references whose data is gone are dropped.
    BlockRefs,
    /// Objects and bytes of buckets, and references of blocks, are counted again.
    Counters,
    /// Every block file is moved to the data directory where it belongs.
    Rebalance,
}

impl Repair {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Tables,
        Self::Blocks,
        Self::Versions,
        Self::Uploads,
        Self::BlockRefs,
        Self::Counters,
        Self::Rebalance,
    ];

    /// Its name on the command line and in its row.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tables => "tables",
            Self::Blocks => "blocks",
            Self::Versions => "versions",
            Self::Uploads => "uploads",
            Self::BlockRefs => "block-refs",
            Self::Counters => "counters",
            Self::Rebalance => "rebalance",
        }
    }

    /// The repair of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|repair| repair.name() == name)
    }

    fn key(self) -> Vec<u8> {
        [PREFIX, self.name().as_bytes()].concat()
    }

    fn ended_key(self) -> Vec<u8> {
        [ENDED, self.name().as_bytes()].concat()
    }
}

/// Repairs that launch themselves, and how long after the last of their kind has ended. A disk that is lost may take the only row with it
/// that names some data: that of a write which was not acknowledged.
const BY_ITSELF: [(Repair, Duration); 4] = [
    (Repair::Versions, MONTH),
    (Repair::Uploads, MONTH),
    (Repair::BlockRefs, MONTH),
    (Repair::Rebalance, MONTH),
];

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is younger is left alone: whoever writes it may not be through. No final commit is accepted a day after its data was
/// begun; the second day is for clocks that disagree.
const AGE: Duration = Duration::from_secs(2 * 24 * 3600);

/// Where the rows begin in [`Table::Meta`] that say when a repair last ended.
const ENDED: &[u8] = b"repaired/";

/// Where the rows of repairs begin in [`Table::Meta`].
const PREFIX: &[u8] = b"repair/";

/// How far a repair has come: the value of its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairRow {
    /// When it was launched.
    #[serde(rename = "s")]
    pub started: Timestamp,
    /// Which of its passes it is in: some have two.
    #[serde(rename = "p")]
    pub pass: u8,
    /// The key up to which this pass has come.
    #[serde(rename = "a", with = "serde_bytes")]
    pub after: Vec<u8>,
    /// What it has looked at.
    #[serde(rename = "c")]
    pub checked: u64,
    /// What it has repaired.
    #[serde(rename = "r")]
    pub repaired: u64,
}

impl RepairRow {
    /// A repair that begins.
    pub fn new(started: Timestamp) -> Self {
        Self { started, pass: 0, after: Vec::new(), checked: 0, repaired: 0 }
    }

    /// Remembers where the next page begins; false if there is none.
    fn go_on(&mut self, next: Option<Vec<u8>>) -> bool {
        let more = next.is_some();
        self.after = next.unwrap_or_default();
        more
    }

    /// How much of the pass is done, in thousandths: keys begin with bits of a hash, which are spread evenly.
    pub fn thousandths(&self) -> u16 {
        let first = |index: usize| u32::from(self.after.get(index).copied().unwrap_or(0));
        let share = (((first(0) << 8) | first(1)) * 1000) >> 16;
        u16::try_from(share).expect("less than 1000")
    }

    /// How long this pass still takes if it goes on as it has; `None` before that can be told.
    pub fn time_left(&self, now: Timestamp) -> Option<Duration> {
        let done = u64::from(self.thousandths());
        let taken = now.0.checked_sub(self.started.0)?;
        (self.pass == 0 && done > 0).then(|| Duration::from_millis(taken * (1000 - done) / done))
    }
}

/// Launches a repair on this node; false if it is under way already.
///
/// # Errors
/// What the database reports.
pub async fn launch(cx: Cx, view: &View, repair: Repair) -> Result<bool, PeerError> {
    if load(cx, view, repair).await?.is_some() {
        return Ok(false);
    }
    save(cx, view, repair, &RepairRow::new(cx.now().wall)).await?;
    Ok(true)
}

/// Ends a repair before its time; false if it was not under way. What it has repaired stays repaired.
///
/// # Errors
/// What the database reports.
pub async fn cancel(cx: Cx, view: &View, repair: Repair) -> Result<bool, PeerError> {
    let running = load(cx, view, repair).await?.is_some();
    if running {
        commit_local(cx, view, vec![remove(Table::Meta, repair.key())]).await?;
    }
    Ok(running)
}

/// The repairs under way on this node.
///
/// # Errors
/// What the database reports.
pub async fn list(cx: Cx, view: &View) -> Result<Vec<(Repair, RepairRow)>, PeerError> {
    let (from, until) = (PREFIX.to_vec(), after_prefix(PREFIX));
    let read = Read::Scan { table: Table::Meta, from, until, limit: Repair::ALL.len() };
    let mut repairs = Vec::new();
    for (key, value) in quorum::read_local(cx, view, read).await?.into_rows() {
        let repair = Repair::ALL.into_iter().find(|repair| repair.key() == key);
        match (repair, table::decode(Table::Meta, &value)) {
            (Some(repair), Ok(row)) => repairs.push((repair, row)),
            // Of another release, or damaged: there is nothing in it but a position.
            (_, row) => {
                let name = String::from_utf8_lossy(&key).into_owned();
                let row: Result<RepairRow, _> = row;
                log::warn!("{name}: given up: {row:?}");
                commit_local(cx, view, vec![remove(Table::Meta, key)]).await?;
            }
        }
    }
    Ok(repairs)
}

/// Works on what was launched, for as long as a run may take.
pub(super) async fn run(cx: Cx, view: &View) -> Result<Verdict, PeerError> {
    let slice = Slice::begin(cx, view);
    launch_due(cx, view).await?;
    let mut verdict = Verdict::Done;
    for (repair, row) in list(cx, view).await? {
        match work(cx, view, slice, repair, row).await {
            Ok(true) => {}
            Ok(false) => return Ok(Verdict::Paused),
            // One that fails does not keep the others, and goes on from where it was.
            Err(error) => {
                log::error!("repair {}: {error}", repair.name());
                verdict = Verdict::Failed;
            }
        }
    }
    Ok(verdict)
}

/// Goes on with a repair; false if the run has had its share before the end.
async fn work(
    cx: Cx,
    view: &View,
    slice: Slice,
    repair: Repair,
    mut row: RepairRow,
) -> Result<bool, PeerError> {
    loop {
        let began = cx.now().mono;
        let before = row.clone();
        let more = match repair {
            Repair::Tables => counts::tables(cx, view, &mut row).await?,
            Repair::Counters => counts::counters(cx, view, &mut row).await?,
            Repair::Blocks => files::look_for(cx, view, &mut row).await?,
            Repair::Rebalance => files::rebalance(cx, &mut row).await?,
            Repair::BlockRefs => refs::page(cx, view, &mut row).await?,
            Repair::Versions => lists::versions(cx, view, &mut row).await?,
            Repair::Uploads => lists::uploads(cx, view, &mut row).await?,
        };
        let ops = if more {
            vec![meta(repair.key(), &row)]
        } else {
            log::info!(
                "repair {}: {} looked at, {} repaired",
                repair.name(),
                row.checked,
                row.repaired
            );
            vec![remove(Table::Meta, repair.key()), meta(repair.ended_key(), &cx.now().wall)]
        };
        // If it is another row by now, the repair was cancelled.
        let value = table::encode(&before);
        let unchanged = Guard::Unchanged { table: Table::Meta, key: repair.key(), value };
        let batch = Batch::new(cx.now().wall, ops).guarded(unchanged);
        let kept = matches!(cx.commit(view.node, batch).await?, Outcome::Applied(_));
        if !more || !kept {
            return Ok(true);
        }
        if slice.is_over(cx) {
            return Ok(false);
        }
        slice.rest(cx, began).await;
    }
}

/// Launches what launches itself.
async fn launch_due(cx: Cx, view: &View) -> Result<(), PeerError> {
    let keys = BY_ITSELF.map(|(repair, _)| (Table::Meta, repair.ended_key())).to_vec();
    let ended = quorum::get_local(cx, view, keys).await?;
    let now = cx.now().wall;
    for ((repair, every), value) in BY_ITSELF.into_iter().zip(ended) {
        match value.map(|value| table::decode::<Timestamp>(Table::Meta, &value)) {
            Some(Ok(ended)) if ended <= now => {
                if now >= ended.after(every) {
                    launch(cx, view, repair).await?;
                }
            }
            // A new node, whose first turn comes in its time; or a clock that was wrong.
            Some(Ok(_) | Err(_)) | None => {
                commit_local(cx, view, vec![meta(repair.ended_key(), &now)]).await?;
            }
        }
    }
    Ok(())
}

fn meta<T: Serialize>(key: Vec<u8>, row: &T) -> Op {
    Op::Merge { table: Table::Meta, key, value: table::encode(row), inline: None }
}

/// Whether it is this node's turn among the holders of a position: what one of them finds, the others need not look for.
fn is_first(view: &View, position: Position) -> bool {
    view.ring.holders(position).into_iter().min() == Some(view.node)
}

async fn load(cx: Cx, view: &View, repair: Repair) -> Result<Option<RepairRow>, PeerError> {
    let rows = list(cx, view).await?.into_iter();
    Ok(rows.into_iter().find(|(each, _)| *each == repair).map(|(_, row)| row))
}

async fn save(cx: Cx, view: &View, repair: Repair, row: &RepairRow) -> Result<(), PeerError> {
    commit_local(cx, view, vec![meta(repair.key(), row)]).await
}
