//! Reads every block back and checks it, over and over: a disk may forget what nobody looks at.
//!
//! A pass takes as long as the operator says, however much is stored: hashes are spread evenly, so by a third of that time the scrub should be a
//! third through all possible hashes. Each run of the job goes on to where it should be by now; how far it has come is kept in a
//! row, and a restart goes on from there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Verdict, commit_local, damaged, is_needed, pace::Slice, remove, rest};
use crate::{
    block::chore::{Chore, ChoreReport, Soundness},
    effect::PeerError,
    id::Hash,
    node::pace::Work,
    quorum,
    store::{Batch, Guard, Op, Read, Table},
    table::{self, queue::Job},
    task::Cx,
    time::Timestamp,
    view::View,
};

/// How long it takes to look at everything once, unless the operator has set another time.
#[cfg(test)]
pub(super) const PASS: Duration = Duration::from_secs(30 * 24 * 3600);

/// The row in [`Table::Meta`] that says how far the scrub has come.
pub(super) const KEY: &[u8] = b"scrub";

/// Blocks checked between two commits of the position; as many are checked again after a crash.
const PAGE: usize = 32;

/// How long the scrub rests after each block, in times of what that block took: unless it is in a hurry, it has a third of the disk.
const REST: u32 = 2;

/// How far the scrub has come: the value of the row at [`KEY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ScrubRow {
    /// When the pass began.
    #[serde(rename = "s")]
    pub started: Timestamp,
    /// The last block that was checked.
    #[serde(rename = "a")]
    pub after: Option<Hash>,
    /// Whether the pass is through; the next one begins when its time is up.
    #[serde(rename = "e")]
    pub ended: bool,
    /// Blocks checked in this pass.
    #[serde(rename = "c")]
    pub checked: u64,
    /// Those of them that were damaged or missing.
    #[serde(rename = "b")]
    pub bad: u64,
}

impl ScrubRow {
    fn new(started: Timestamp) -> Self {
        Self { started, after: None, ended: false, checked: 0, bad: 0 }
    }

    /// Where the pass should be by now: the first hash not yet to be checked, or `None` for all of them.
    fn target(&self, now: Timestamp, pass: Duration) -> Option<Hash> {
        let elapsed = u128::from(now.0.saturating_sub(self.started.0));
        let share = (elapsed << 64) / pass.as_millis().max(1);
        let share = u64::try_from(share).ok()?;
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&share.to_be_bytes());
        Some(Hash(hash))
    }

    /// How much of the pass is done, in tenths.
    fn tenths(&self) -> u8 {
        if self.ended { 10 } else { self.after.map_or(0, |hash| hash.0[0] / 26) }
    }

    /// Whether the pass, ended or not, belongs to the past. Also if the clock went back behind its beginning.
    fn is_over(&self, now: Timestamp, pass: Duration) -> bool {
        now < self.started || (self.ended && now >= self.started.after(pass))
    }
}

/// What an operator may tell the scrub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin a pass now, and do not stretch it over a month.
    Start,
    /// Rest for a while.
    Pause(Duration),
    /// Go on after a pause.
    Resume,
    /// End this pass; the next one begins in its time.
    Cancel,
}

impl Command {
    /// All of them; a pause of a day.
    pub const ALL: [Self; 4] = [Self::Start, Self::Pause(PAUSE), Self::Resume, Self::Cancel];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Pause(_) => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
        }
    }

    /// The command of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.name() == name)
    }
}

/// How the scrub goes, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// When the pass began; `None` before the first.
    pub started: Option<Timestamp>,
    /// Whether it is through.
    pub ended: bool,
    /// How much of it is done, in thousandths.
    pub thousandths: u16,
    /// Blocks checked in this pass.
    pub checked: u64,
    /// Those of them that were damaged or missing.
    pub bad: u64,
    /// When it goes on, if it pauses.
    pub paused_until: Option<Timestamp>,
    /// How long the rest of the pass takes: by its schedule, or as fast as it has gone until now if it was asked for.
    pub left: Option<Duration>,
}

/// How long a pause lasts if nothing else is said: nobody has to remember to end it.
pub const PAUSE: Duration = Duration::from_secs(24 * 3600);

/// The longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(90 * 24 * 3600);

/// The row in [`Table::Meta`] with what the scrub was told: one of its own, because a run of the job keeps the other in memory.
const CONTROL_KEY: &[u8] = b"scrub-control";

/// What the scrub was told: the value of the row at [`CONTROL_KEY`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Control {
    /// When a pass was asked for.
    #[serde(rename = "s")]
    start: Option<Timestamp>,
    /// When the pass was called off.
    #[serde(rename = "c")]
    cancel: Option<Timestamp>,
    /// Until when it pauses.
    #[serde(rename = "p")]
    paused: Option<Timestamp>,
}

impl Control {
    fn is_paused(self, now: Timestamp) -> bool {
        // A date beyond the longest pause is from a clock that was wrong.
        self.paused.is_some_and(|until| now < until && until <= now.after(PAUSE_MAX))
    }

    /// Whether this pass is to end before its time: called off, or to make place for one that was asked for.
    fn ends(self, row: &ScrubRow) -> bool {
        self.cancel.is_some_and(|at| at >= row.started)
    }

    fn wants_another(self, row: &ScrubRow) -> bool {
        self.start.is_some_and(|at| at > row.started)
    }

    /// Whether this is the pass that was asked for.
    fn hurries(self, row: &ScrubRow) -> bool {
        self.start.is_some_and(|at| at <= row.started)
    }
}

/// Tells the scrub something; it hears of it within a minute.
///
/// # Errors
/// What the database reports.
pub async fn command(cx: Cx, view: &View, command: Command) -> Result<(), PeerError> {
    let mut control = load_control(cx, view).await?;
    let now = cx.now().wall;
    match command {
        Command::Start => control = Control { start: Some(now), ..Control::default() },
        Command::Pause(time) => control.paused = Some(now.after(time.min(PAUSE_MAX))),
        Command::Resume => control.paused = None,
        Command::Cancel => control = Control { cancel: Some(now), ..Control::default() },
    }
    let (key, value) = (CONTROL_KEY.to_vec(), table::encode(&control));
    commit_local(cx, view, vec![Op::Merge { table: Table::Meta, key, value, inline: None }]).await
}

/// How the scrub goes.
///
/// # Errors
/// What the database reports.
pub async fn status(cx: Cx, view: &View) -> Result<Status, PeerError> {
    let row = load(cx, view).await?;
    let control = load_control(cx, view).await?;
    let started = row.map(|row| row.started);
    let row = row.unwrap_or_else(|| ScrubRow::new(Timestamp(0)));
    let share = row.after.map_or(0, |hash| (u32::from(hash.0[0]) << 8) | u32::from(hash.0[1]));
    let thousandths = if row.ended { 1000 } else { (share * 1000) >> 16 };
    Ok(Status {
        started,
        ended: row.ended,
        thousandths: u16::try_from(thousandths).expect("at most 1000"),
        checked: row.checked,
        bad: row.bad,
        left: time_left(&row, thousandths, control, view, cx.now().wall),
        paused_until: control.paused.filter(|_| control.is_paused(cx.now().wall)),
    })
}

fn time_left(
    row: &ScrubRow,
    thousandths: u32,
    control: Control,
    view: &View,
    now: Timestamp,
) -> Option<Duration> {
    if row.ended || row.started == Timestamp(0) {
        return None;
    }
    let taken = Duration::from_millis(now.0.saturating_sub(row.started.0));
    if control.hurries(row) {
        return taken.saturating_mul(1000 - thousandths.min(1000)).checked_div(thousandths);
    }
    Some(view.config.tuning.scrub_interval.saturating_sub(taken))
}

async fn load_control(cx: Cx, view: &View) -> Result<Control, PeerError> {
    let keys = vec![(Table::Meta, CONTROL_KEY.to_vec())];
    let value = quorum::get_local(cx, view, keys).await?.pop().flatten();
    let control = value.map(|value| table::decode(Table::Meta, &value)).transpose();
    control.map(Option::unwrap_or_default).map_err(PeerError::Store)
}

/// Checks what is to be checked by now, for as long as a run may take.
pub(super) async fn run(cx: Cx, view: &View) -> Result<Verdict, PeerError> {
    let (slice, pass) = (Slice::begin(cx, view), view.config.tuning.scrub_interval);
    let control = load_control(cx, view).await?;
    if control.is_paused(cx.now().wall) {
        return Ok(Verdict::Done);
    }
    let mut row = match load(cx, view).await? {
        Some(row) if !row.is_over(cx.now().wall, pass) && !control.wants_another(&row) => row,
        Some(_) | None => {
            log::info!("scrub: a new pass begins");
            let row = ScrubRow::new(cx.now().wall);
            save(cx, view, &row).await?;
            row
        }
    };
    while !row.ended {
        let before = row;
        let control = load_control(cx, view).await?;
        if control.is_paused(cx.now().wall) || control.wants_another(&row) {
            return Ok(Verdict::Paused);
        }
        if control.ends(&row) {
            log::info!("scrub: called off");
            row.ended = true;
            save(cx, view, &row).await?;
            break;
        }
        let hurried = control.hurries(&row);
        let target = if hurried { None } else { row.target(cx.now().wall, pass) };
        let page = next(cx, view, &row, target).await?;
        for block in &page {
            let began = cx.now().mono;
            row.checked += 1;
            row.bad += u64::from(!check(cx, view, *block).await?);
            row.after = Some(*block);
            rest(cx, Work::Upkeep, began, REST).await;
        }
        let caught_up = page.len() < PAGE;
        row.ended = caught_up && target.is_none();
        if row != before {
            save(cx, view, &row).await?;
            tell(&before, &row, cx.now().wall, pass);
        }
        if row.ended && hurried {
            // The next pass goes at its own pace. A command that came just now stays.
            let (key, value) = (CONTROL_KEY.to_vec(), table::encode(&control));
            let unchanged = Guard::Unchanged { table: Table::Meta, key: key.clone(), value };
            let batch = Batch::new(cx.now().wall, vec![remove(Table::Meta, key)]);
            cx.commit(view.node, batch.guarded(unchanged)).await?;
        }
        if caught_up {
            break;
        }
        if slice.is_over(cx) {
            return Ok(Verdict::Paused);
        }
    }
    Ok(Verdict::Done)
}

async fn load(cx: Cx, view: &View) -> Result<Option<ScrubRow>, PeerError> {
    let mut values = quorum::get_local(cx, view, vec![(Table::Meta, KEY.to_vec())]).await?;
    let Some(value) = values.pop().flatten() else { return Ok(None) };
    match table::decode(Table::Meta, &value) {
        Ok(row) => Ok(Some(row)),
        Err(error) => {
            // Nothing but a position: better from the start than not at all.
            log::warn!("scrub: {error}; starting over");
            Ok(None)
        }
    }
}

async fn save(cx: Cx, view: &View, row: &ScrubRow) -> Result<(), PeerError> {
    let (key, value) = (KEY.to_vec(), table::encode(row));
    commit_local(cx, view, vec![Op::Merge { table: Table::Meta, key, value, inline: None }]).await
}

/// The next blocks in order that are referred to, up to the target.
async fn next(
    cx: Cx,
    view: &View,
    row: &ScrubRow,
    target: Option<Hash>,
) -> Result<Vec<Hash>, PeerError> {
    let from = row.after.map_or_else(Vec::new, |after| [&after.0[..], &[0]].concat());
    let until = target.map(|target| target.0.to_vec());
    let read = Read::Scan { table: Table::BlockCount, from, until, limit: PAGE };
    let rows = quorum::read_local(cx, view, read).await?.into_rows().into_iter();
    rows.map(|(row_key, _)| {
        Hash::from_slice(&row_key).ok_or_else(|| damaged(Table::BlockCount, &row_key))
    })
    .collect()
}

/// Whether the block is sound, or nobody needs it any more.
async fn check(cx: Cx, view: &View, block: Hash) -> Result<bool, PeerError> {
    let soundness = match cx.chore(Chore::Verify(block)).await {
        Ok(ChoreReport::Checked(soundness)) => soundness,
        Ok(other @ (ChoreReport::Files(_) | ChoreReport::Removed(_) | ChoreReport::Moved(_))) => {
            panic!("the block store answered Verify with {other:?}")
        }
        // The disk does not give it back: for the reader, that is damage, and the other blocks are still to be looked at.
        Err(PeerError::Disk(reason)) => {
            log::error!("scrub: block {block}: {reason}");
            heal(cx, view, block).await?;
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let what = match soundness {
        Soundness::Sound => return Ok(true),
        Soundness::Damaged => "damaged",
        Soundness::Missing => "missing",
    };
    if !is_needed(cx, view, block).await? {
        // Dropped, and perhaps reaped, since the page was read.
        return Ok(true);
    }
    log::error!("scrub: block {block} is {what}, and objects need it");
    heal(cx, view, block).await?;
    Ok(false)
}

/// Has the block fetched from another node.
async fn heal(cx: Cx, view: &View, block: Hash) -> Result<(), PeerError> {
    let job = Job::Fetch { block };
    commit_local(cx, view, vec![Op::Enqueue { due: cx.now().wall, job }]).await
}

/// Says how the pass goes, every tenth of the way.
fn tell(before: &ScrubRow, row: &ScrubRow, now: Timestamp, pass: Duration) {
    let ScrubRow { checked, bad, .. } = row;
    if row.ended {
        log::info!("scrub: pass done: {checked} blocks checked, {bad} damaged or missing");
    } else if row.tenths() > before.tenths() {
        let end = row.started.after(pass);
        let days = Duration::from_millis(end.0.saturating_sub(now.0)).as_secs() / 86400;
        log::info!(
            "scrub: {} % of the pass: {checked} blocks checked, {bad} damaged or missing; {days} days to go",
            u32::from(row.tenths()) * 10
        );
    }
}
