//! Background work: what runs, and what an operator has run.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{cluster, error::Error};
use crate::{
    daemon::plan,
    effect::PeerError,
    job::{
        Job,
        blocks::{self, Resync},
        repair::{self, Repair},
        scrub, snapshot,
        variables::{self, SetError, Variable},
    },
    node::{control::Command, pace::PaceStatus, status::JobError},
    placement::explain::Bytes,
    task::Cx,
    time::{Instant, Timestamp},
    view::View,
};

/// What [`launch`] takes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Launch {
    repair_type: RepairType,
    /// Ends a repair instead. Ours, not Garage's.
    #[serde(default)]
    cancel: bool,
    /// How long the scrub pauses, if not for a day. Ours, not Garage's.
    pause_secs: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum RepairType {
    Tables,
    Blocks,
    Versions,
    #[serde(alias = "uploads")]
    MultipartUploads,
    BlockRefs,
    #[serde(alias = "counters")]
    BlockRc,
    Rebalance,
    Scrub(ScrubCommand),
}

/// As [`scrub::Command`].
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum ScrubCommand {
    Start,
    Pause,
    Resume,
    Cancel,
}

async fn tell_scrub(
    cx: Cx,
    view: &View,
    command: ScrubCommand,
    cancel: bool,
    pause: Option<u64>,
) -> Result<Value, Error> {
    let pause = match (pause, command) {
        (Some(secs), ScrubCommand::Pause) => Duration::from_secs(secs),
        (None, _) => scrub::PAUSE,
        (Some(_), _) => return Err(Error::bad("pauseSecs goes with the scrub command pause")),
    };
    if pause > scrub::PAUSE_MAX {
        let most = scrub::PAUSE_MAX.as_secs();
        return Err(Error::bad(format!("pauseSecs: the longest pause is {most}")));
    }
    let status = scrub::status(cx, view).await?;
    let command = match command {
        _ if cancel => scrub::Command::Cancel,
        ScrubCommand::Start => scrub::Command::Start,
        ScrubCommand::Pause => scrub::Command::Pause(pause),
        ScrubCommand::Resume => scrub::Command::Resume,
        ScrubCommand::Cancel => scrub::Command::Cancel,
    };
    match command {
        scrub::Command::Resume if status.paused_until.is_none() => {
            return Err(Error::bad("the scrub is not paused"));
        }
        scrub::Command::Cancel if status.started.is_none() || status.ended => {
            return Err(Error::bad("no scrub is under way"));
        }
        scrub::Command::Start
        | scrub::Command::Pause(_)
        | scrub::Command::Resume
        | scrub::Command::Cancel => {}
    }
    scrub::command(cx, view, command).await?;
    // It looks at its orders whenever it runs: let it run now.
    cx.control(Command::Start(Job::Scrub)).await?;
    Ok(Value::Null)
}

pub(super) async fn launch(cx: Cx, view: &View, what: Launch) -> Result<Value, Error> {
    let repair = match what.repair_type {
        RepairType::Tables => Repair::Tables,
        RepairType::Blocks => Repair::Blocks,
        RepairType::Versions => Repair::Versions,
        RepairType::MultipartUploads => Repair::Uploads,
        RepairType::BlockRefs => Repair::BlockRefs,
        RepairType::BlockRc => Repair::Counters,
        RepairType::Rebalance => Repair::Rebalance,
        RepairType::Scrub(command) => {
            return tell_scrub(cx, view, command, what.cancel, what.pause_secs).await;
        }
    };
    if what.pause_secs.is_some() {
        return Err(Error::bad("pauseSecs goes with the scrub command pause"));
    }
    let changed = if what.cancel {
        repair::cancel(cx, view, repair).await?
    } else {
        repair::launch(cx, view, repair).await?
    };
    if !changed {
        let is = if what.cancel { "not under way" } else { "under way already" };
        return Err(Error::bad(format!("repair {} is {is}", repair.name())));
    }
    // It is a row that the job finds when it runs: let it run now, and not within the minute.
    cx.control(Command::Start(Job::Repair)).await?;
    Ok(Value::Null)
}

/// What [`list`] takes.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default)]
    busy_only: bool,
    #[serde(default)]
    error_only: bool,
}

/// Without a filter, everything.
pub(super) async fn list(cx: Cx, view: &View, filter: Option<Filter>) -> Result<Value, Error> {
    let filter = filter.unwrap_or_default();
    let status = cluster::status(cx).await?;
    let resync = blocks::resync(cx, view).await?;
    let scrub = scrub::status(cx, view).await?;
    let now = cx.now();
    let jobs = status.jobs.iter().map(|job| {
        let busy = job.due.is_none();
        let queue = (job.job == Job::Fetch).then_some(resync.queued);
        let errors = (job.job == Job::Fetch).then_some(resync.errors);
        let wait = job.due.map(|due| due.since(now.mono).as_secs());
        let pace = busy.then(|| pace_text(&status.pace)).flatten();
        let wait = wait.map(|secs| format!("next run in {secs} s"));
        let mut freeform: Vec<String> = wait.into_iter().chain(pace).collect();
        let left = match job.job {
            Job::Fetch => resync.time_left,
            Job::Scrub => scrub.left,
            Job::Queue
            | Job::Intents
            | Job::Uploads
            | Job::Orphans
            | Job::Sync
            | Job::Offload
            | Job::Repair
            | Job::Snapshot => None,
        };
        let mut progress = Value::Null;
        match job.job {
            Job::Fetch => freeform.extend(resync_text(&resync)),
            Job::Scrub => {
                freeform.extend(scrub_text(&scrub, now.wall));
                progress = scrub.started.map_or(Value::Null, |_| json!(percent(scrub.thousandths)));
            }
            Job::Queue
            | Job::Intents
            | Job::Uploads
            | Job::Orphans
            | Job::Sync
            | Job::Offload
            | Job::Repair
            | Job::Snapshot => {}
        }
        json!({
            "name": job.job.name(),
            "state": if busy { "busy" } else { "idle" },
            "errors": job.errors,
            "consecutiveErrors": job.failures,
            "lastError": job.last_error.as_ref().map(|error| last_error(error, now.mono)),
            // How many times as long as a step took it rests.
            "tranquility": rests(job.job).then_some(status.pace.times()),
            "progress": progress,
            "queueLength": queue,
            "persistentErrors": errors,
            "freeform": freeform,
            // Ours: what is still to be fetched, if the rest is as what has been looked at.
            "bytesLeft": (job.job == Job::Fetch).then_some(resync.bytes_left),
            "secsLeft": left.map(|left| left.as_secs()),
        })
    });
    let repairs = repair::list(cx, view).await?;
    let repairs = repairs.iter().map(|(repair, row)| {
        let left = row.time_left(now.wall).map(|left| format!("{} s left", left.as_secs()));
        let done = format!("{} looked at, {} repaired", row.checked, row.repaired);
        let freeform: Vec<String> = [done].into_iter().chain(left).collect();
        json!({
            "name": format!("repair {}", repair.name()),
            "state": "busy",
            "errors": 0,
            "consecutiveErrors": 0,
            "lastError": Value::Null,
            "tranquility": Value::Null,
            "progress": percent(row.thousandths()),
            "queueLength": Value::Null,
            "persistentErrors": Value::Null,
            "freeform": freeform,
            "secsLeft": row.time_left(now.wall).map(|left| left.as_secs()),
        })
    });
    let wanted = |worker: &Value| {
        (!filter.busy_only || worker["state"] == "busy")
            && (!filter.error_only || worker["consecutiveErrors"] != 0)
    };
    // Numbered before they are chosen, so that a number is that of the same work in every list, for as long as no repair begins.
    let numbered = jobs.chain(repairs).enumerate().map(|(id, mut worker)| {
        worker["id"] = json!(id + 1);
        worker
    });
    Ok(numbered.filter(wanted).collect())
}

/// What [`info`] takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OneWorker {
    id: u64,
}

pub(super) async fn info(cx: Cx, view: &View, one: OneWorker) -> Result<Value, Error> {
    let all = list(cx, view, None).await?;
    let found = all.as_array().into_iter().flatten().find(|worker| worker["id"] == one.id);
    let missing = || Error::not_found("NoSuchWorker", format!("there is no worker {}", one.id));
    found.cloned().ok_or_else(missing)
}

/// What [`variables()`] takes. Without a name, all are told.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichVariable {
    variable: Option<String>,
}

pub(super) async fn variables(
    cx: Cx,
    view: &View,
    which: Option<WhichVariable>,
) -> Result<Value, Error> {
    let wanted = match which.unwrap_or_default().variable {
        Some(name) => vec![Variable::from_name(&name).map_err(no_variable)?],
        None => Variable::ALL.to_vec(),
    };
    let mut values = serde_json::Map::new();
    for variable in wanted {
        values.insert(variable.name().to_owned(), json!(variable.get(cx, view).await?));
    }
    Ok(Value::Object(values))
}

fn no_variable(reason: String) -> Error {
    Error::not_found("NoSuchVariable", reason)
}

/// What [`set_variable`] takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewValue {
    variable: String,
    value: String,
}

pub(super) async fn set_variable(cx: Cx, view: &View, new: NewValue) -> Result<Value, Error> {
    let variable = Variable::from_name(&new.variable).map_err(no_variable)?;
    let tuning =
        variables::set(cx, view, variable, &new.value).await.map_err(|error| match error {
            SetError::Value(reason) => Error::bad(reason),
            SetError::Failed(reason) => Error::internal(reason),
        })?;
    if variable == Variable::SnapshotsKept {
        snapshot::tidy(cx, view, tuning.snapshots_kept).await?;
    }
    Ok(json!({ "variable": variable.name(), "value": new.value }))
}

pub(super) async fn take_snapshot(cx: Cx, view: &View) -> Result<Value, Error> {
    if view.config.tuning.snapshots_kept == 0 {
        let message =
            "metadata-snapshots-kept is 0 here, so that no snapshot is kept: set it first";
        return Err(Error::bad(message));
    }
    match snapshot::take(cx, view).await {
        Ok(at) => Ok(json!({ "snapshot": plan::snapshot_name(at) })),
        Err(PeerError::Busy) => {
            Err(Error { status: 409, code: "Busy", message: "a snapshot is being made".to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn last_error(error: &JobError, now: Instant) -> Value {
    json!({ "message": error.reason, "secsAgo": now.since(error.at).as_secs() })
}

fn percent(thousandths: u16) -> String {
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

fn resync_text(resync: &Resync) -> Option<String> {
    (resync.queued > 0).then(|| {
        let left = resync.time_left.map(|left| format!(", {} s", left.as_secs()));
        let bytes = Bytes(resync.bytes_left);
        format!("{bytes}{} left", left.unwrap_or_default())
    })
}

/// Whether a job rests between its steps by the measured pace. A snapshot's copy goes by the pace that is set alone.
fn rests(job: Job) -> bool {
    match job {
        Job::Queue
        | Job::Intents
        | Job::Uploads
        | Job::Orphans
        | Job::Scrub
        | Job::Fetch
        | Job::Sync
        | Job::Offload
        | Job::Repair => true,
        Job::Snapshot => false,
    }
}

/// Why background work is slow, if it is because requests wait.
fn pace_text(pace: &PaceStatus) -> Option<String> {
    let slowest = pace.slowest().filter(|_| pace.factor > 1)?;
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let (name, recent, usual) =
        (slowest.operation.name(), millis(slowest.recent), millis(slowest.usual));
    Some(format!("yields to requests: {name} takes {recent:.1} ms, usually {usual:.1} ms"))
}

fn scrub_text(scrub: &scrub::Status, now: Timestamp) -> Vec<String> {
    let mut texts = Vec::new();
    if let Some(until) = scrub.paused_until {
        texts.push(format!("paused for {} min", until.0.saturating_sub(now.0) / 60_000));
    }
    if scrub.started.is_some() {
        let ended = if scrub.ended { "pass is through: " } else { "" };
        texts.push(format!("{ended}{} checked, {} bad", scrub.checked, scrub.bad));
    }
    texts
}
