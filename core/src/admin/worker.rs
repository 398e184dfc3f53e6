//! Background work: what runs, and what an operator has run.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{cluster, error::Error};
use crate::{
    job::{
        Job, blocks,
        repair::{self, Repair},
    },
    node::control::Command,
    task::Cx,
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

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum ScrubCommand {
    Start,
    Pause,
    Resume,
    Cancel,
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
        RepairType::Scrub(ScrubCommand::Start) => {
            cx.control(Command::Start(Job::Scrub)).await?;
            return Ok(Value::Null);
        }
        RepairType::Scrub(ScrubCommand::Pause | ScrubCommand::Resume | ScrubCommand::Cancel) => {
            let message = "pausing the scrub is not implemented yet: it paces itself".to_owned();
            return Err(Error { status: 501, code: "NotImplemented", message });
        }
    };
    let changed = if what.cancel {
        repair::cancel(cx, view, repair).await?
    } else {
        repair::launch(cx, view, repair).await?
    };
    if !changed {
        let is = if what.cancel { "not under way" } else { "under way already" };
        return Err(Error::bad(format!("repair {} is {is}", repair.name())));
    }
    Ok(Value::Null)
}

/// What [`list`] takes.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filter {
    #[serde(default)]
    busy_only: bool,
    #[serde(default)]
    error_only: bool,
}

/// What [`list`] takes; nothing at all stands for everything.
pub(super) type ListFilter = Option<FilterBody>;

/// See [`ListFilter`].
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct FilterBody(Filter);

pub(super) async fn list(cx: Cx, view: &View, filter: ListFilter) -> Result<Value, Error> {
    let filter = filter.map_or_else(Filter::default, |body| body.0);
    let status = cluster::status(cx).await?;
    let resync = blocks::resync(cx, view).await?;
    let now = cx.now();
    let jobs = status.jobs.iter().map(|job| {
        let busy = job.due.is_none();
        let queue = (job.job == Job::Fetch).then_some(resync.queued);
        let errors = (job.job == Job::Fetch).then_some(resync.errors);
        let wait = job.due.map(|due| due.since(now.mono).as_secs());
        json!({
            "name": job.job.name(),
            "state": if busy { "busy" } else { "idle" },
            "errors": job.failures,
            "consecutiveErrors": job.failures,
            "lastError": Value::Null,
            "tranquility": Value::Null,
            "progress": Value::Null,
            "queueLength": queue,
            "persistentErrors": errors,
            "freeform": wait.map(|secs| format!("next run in {secs} s")).into_iter().collect::<Vec<_>>(),
        })
    });
    let repairs = repair::list(cx, view).await?;
    let repairs = repairs.iter().map(|(repair, row)| {
        let share = row.thousandths();
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
            "progress": format!("{}.{} %", share / 10, share % 10),
            "queueLength": Value::Null,
            "persistentErrors": Value::Null,
            "freeform": freeform,
        })
    });
    let wanted = |worker: &Value| {
        (!filter.busy_only || worker["state"] == "busy")
            && (!filter.error_only || worker["consecutiveErrors"] != 0)
    };
    let numbered = jobs.chain(repairs).filter(wanted).enumerate().map(|(id, mut worker)| {
        worker["id"] = json!(id + 1);
        worker
    });
    Ok(numbered.collect())
}
