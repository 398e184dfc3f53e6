//! What an operator can set of background work while it runs. It is kept in a row, and outlives the process.

use std::{collections::BTreeMap, time::Duration};

use super::scrub;
use crate::{
    effect::PeerError,
    node::control::{Command, Refusal},
    quorum, span, spelling,
    store::{Batch, Guard, Op, Outcome, Snapshot, StoreError, Table},
    table,
    task::Cx,
    view::{Pace, Tuning, View},
};

/// The row in [`Table::Meta`] with all that was set, as it was written: name → value.
const KEY: &[u8] = b"variables";

type Row = BTreeMap<String, String>;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Something that can be looked at, and perhaps set. Named as Garage names it, where that has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// How much of the machine background work may take.
    Pace,
    /// In how long the scrub looks at everything once.
    ScrubInterval,
    /// Damaged and missing blocks that the scrub has found in this pass. Can only be looked at.
    ScrubCorruptions,
    /// How many snapshots of the metadata are kept.
    SnapshotsKept,
    /// For how long after a snapshot the blocks of what is deleted stay, so that all of it can be put back.
    SnapshotHold,
}

impl Variable {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pace,
        Self::ScrubInterval,
        Self::ScrubCorruptions,
        Self::SnapshotsKept,
        Self::SnapshotHold,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pace => "pace",
            Self::ScrubInterval => "scrub-interval",
            Self::ScrubCorruptions => "scrub-corruptions_detected",
            Self::SnapshotsKept => "metadata-snapshots-kept",
            Self::SnapshotHold => "metadata-snapshot-hold",
        }
    }

    /// The variable of this name.
    ///
    /// # Errors
    /// There is none; which there is instead.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|variable| variable.name() == name);
        found.ok_or_else(|| {
            let nearest = spelling::nearest(Self::ALL.map(Self::name), name);
            let nearest = nearest.expect("there are some");
            format!("there is no variable `{name}`; the nearest is {nearest}")
        })
    }

    /// Its value here.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn get(self, cx: Cx, view: &View) -> Result<String, PeerError> {
        let Tuning { pace, scrub_interval, snapshots_kept, snapshot_hold } = view.config.tuning;
        Ok(match self {
            Self::Pace => pace.name().to_owned(),
            Self::ScrubInterval => span::show(scrub_interval),
            Self::ScrubCorruptions => scrub::status(cx, view).await?.bad.to_string(),
            Self::SnapshotsKept => snapshots_kept.to_string(),
            Self::SnapshotHold => span::show(snapshot_hold),
        })
    }

    /// Sets it in `tuning`.
    ///
    /// # Errors
    /// What it can be set to instead.
    pub fn set_in(self, tuning: &mut Tuning, value: &str) -> Result<(), String> {
        let name = self.name();
        let time = |least: Duration, most: Duration| {
            let span = span::parse(value).filter(|span| (least..=most).contains(span));
            let (least, most) = (span::show(least), span::show(most));
            span.ok_or_else(|| format!("{name} is a time from {least} to {most}, like 30d or 12h"))
        };
        match self {
            Self::Pace => {
                let paces = Pace::ALL.map(Pace::name).join(", ");
                let pace = Pace::from_name(value);
                tuning.pace = pace.ok_or_else(|| format!("{name} is one of {paces}"))?;
            }
            Self::ScrubInterval => tuning.scrub_interval = time(DAY, 366 * DAY)?,
            Self::ScrubCorruptions => return Err(format!("{name} can only be looked at")),
            Self::SnapshotsKept => {
                let kept = value.parse().ok().filter(|kept| *kept <= Self::KEPT_MAX);
                let most = Self::KEPT_MAX;
                tuning.snapshots_kept =
                    kept.ok_or_else(|| format!("{name} is a number from 0 to {most}"))?;
            }
            Self::SnapshotHold => tuning.snapshot_hold = time(Duration::ZERO, 366 * DAY)?,
        }
        Ok(())
    }

    /// The most snapshots that are kept: each is as large as the database.
    const KEPT_MAX: u32 = 1000;
}

/// Why a variable was not set.
#[derive(Debug)]
pub enum SetError {
    /// It cannot have that value; what it can have.
    Value(String),
    /// The database, or the node.
    Failed(String),
}

impl From<PeerError> for SetError {
    fn from(error: PeerError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<StoreError> for SetError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Refusal> for SetError {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(refusal.to_string())
    }
}

/// Sets a variable, now and for the time after a restart.
///
/// # Errors
/// It cannot have that value, or that cannot be kept.
pub async fn set(cx: Cx, view: &View, variable: Variable, value: &str) -> Result<Tuning, SetError> {
    let mut tuning = view.config.tuning;
    variable.set_in(&mut tuning, value).map_err(SetError::Value)?;
    loop {
        let keys = vec![(Table::Meta, KEY.to_vec())];
        let before = quorum::get_local(cx, view, keys).await?.pop().flatten();
        let mut row: Row = match &before {
            Some(value) => table::decode(Table::Meta, value)?,
            None => Row::new(),
        };
        row.insert(variable.name().to_owned(), value.to_owned());
        let guard = match before {
            Some(value) => Guard::Unchanged { table: Table::Meta, key: KEY.to_vec(), value },
            None => Guard::Absent { table: Table::Meta, key: KEY.to_vec() },
        };
        let (key, value) = (KEY.to_vec(), table::encode(&row));
        let op = Op::Merge { table: Table::Meta, key, value, inline: None };
        let batch = Batch::new(cx.now().wall, vec![op]).guarded(guard);
        match cx.commit(view.node, batch).await? {
            Outcome::Applied(_) => {
                apply(&row, &mut tuning);
                cx.control(Command::Tune(tuning)).await?;
                return Ok(tuning);
            }
            // Another one was set at the same time.
            Outcome::Refused { .. } => {}
        }
    }
}

/// Changes `tuning` by what was set in an earlier run of the process.
///
/// # Errors
/// What the engine reports, or a row that does not decode.
pub fn restore(snapshot: &dyn Snapshot, tuning: &mut Tuning) -> Result<(), StoreError> {
    if let Some(value) = snapshot.get(Table::Meta, KEY)? {
        apply(&table::decode(Table::Meta, &value)?, tuning);
    }
    Ok(())
}

fn apply(row: &Row, tuning: &mut Tuning) {
    for (name, value) in row {
        let set = Variable::from_name(name).and_then(|variable| variable.set_in(tuning, value));
        if let Err(reason) = set {
            // Set by another release.
            log::warn!("{name} = {value} was set and is left out: {reason}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Writer, map::MapStore};

    #[test]
    fn what_was_set_is_there_after_a_restart() {
        let mut store = MapStore::default();
        let row = [("pace", "fast"), ("scrub-interval", "10d"), ("of-another-release", "1")];
        let row: Row = row.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        store.put(Table::Meta, KEY, &table::encode(&row)).expect("a map");
        let mut tuning = Tuning::default();
        restore(&store, &mut tuning).expect("it decodes");
        let expected = Tuning { pace: Pace::Fast, scrub_interval: 10 * DAY, ..Tuning::default() };
        assert_eq!(tuning, expected);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (variable, value, says) in [
            (Variable::Pace, "quick", "idle, normal, fast"),
            (Variable::ScrubInterval, "5min", "from 1d to 366d"),
            (Variable::ScrubInterval, "soon", "like 30d"),
            (Variable::SnapshotsKept, "-1", "0 to 1000"),
            (Variable::ScrubCorruptions, "0", "only be looked at"),
        ] {
            let before = Tuning::default();
            let mut tuning = before;
            let error = variable.set_in(&mut tuning, value).expect_err(says);
            assert!(error.contains(says) && tuning == before, "{error}");
        }
        let error = Variable::from_name("scrub-intervall").expect_err("a slip");
        assert!(error.contains("the nearest is scrub-interval"), "{error}");
    }
}
