//! `mews bench`: puts load on any S3 endpoint and says how fast it answers.
//!
//! Connections are kept alive, each sends its next request when the last is answered. Payloads are made beforehand, and no
//! byte of a body is looked at on the way, so that the generator costs little beside the store it measures.

pub mod client;
mod compare;
mod histogram;
pub mod load;
mod process;
mod report;
mod stage;
mod suite;
pub mod target;
#[cfg(test)]
mod tests;
mod work;

use std::time::Duration;

use argh::{ArgsInfo, FromArgs};

use compare::Side;
use stage::Stage;
use target::Target;
use work::{Kind, Work};

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// It could not be done.
    Failed(String),
}

impl Failure {
    /// It could not be done, for this reason.
    pub fn failed(reason: impl std::fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }
}

/// Put load on an S3 endpoint: rate, latency percentiles, errors, and with --pid what it costs the server.
#[derive(FromArgs, ArgsInfo, Debug, Clone)]
#[argh(
    subcommand,
    name = "bench",
    example = "64 connections, objects of 1 KiB, 10 seconds:\n  {command_name} put --size 1KiB --connections 64 --duration 10s",
    example = "The rows that Mews is measured by, with CPU and memory of the server:\n  {command_name} --suite --pid $(pidof mewsd)",
    example = "Two stores in turn, and the ratio of the two:\n  {command_name} --suite --compare http://127.0.0.1:9000 --compare-dir ./other-data",
    example = "Another endpoint, credentials from the environment, as JSON:\n  AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... \\\n    {command_name} get --endpoint http://10.0.0.2:9000 --json"
)]
pub struct Args {
    /// what to do: put, get, head, list, delete or mixed
    #[argh(positional)]
    pub kind: Option<Kind>,
    /// run the whole row set, one table
    #[argh(switch)]
    pub suite: bool,
    /// where the store is (default http://127.0.0.1:3900)
    #[argh(option, default = "String::from(\"http://127.0.0.1:3900\")")]
    pub endpoint: String,
    /// the bucket, made if it is missing (default mews-bench)
    #[argh(option, default = "String::from(\"mews-bench\")")]
    pub bucket: String,
    /// region to sign for (default AWS_REGION, or us-east-1)
    #[argh(option)]
    pub region: Option<String>,
    /// access key id (default AWS_ACCESS_KEY_ID, or from --dir)
    #[argh(option)]
    pub access_key: Option<String>,
    /// its secret (default AWS_SECRET_ACCESS_KEY, or from --dir)
    #[argh(option)]
    pub secret_key: Option<String>,
    /// read the key from DIR/credentials, as quickstart leaves it (default ./mews-data)
    #[argh(option)]
    pub dir: Option<String>,
    /// size of an object (default 1KiB)
    #[argh(option, default = "1 << 10", from_str_fn(mews_core::size::parse))]
    pub size: u64,
    /// connections, each with one request at a time (default 1)
    #[argh(option, default = "1")]
    pub connections: usize,
    /// threads that carry them, 1 or 2 (default: 2 from 8 connections on)
    #[argh(option)]
    pub threads: Option<usize>,
    /// how long (default 6s)
    #[argh(option, default = "Duration::from_secs(6)", from_str_fn(duration))]
    pub duration: Duration,
    /// how many operations, instead of how long
    #[argh(option)]
    pub count: Option<u64>,
    /// objects to have there for get, head, list, delete and mixed (default by kind and size; with --suite, for list and delete)
    #[argh(option)]
    pub objects: Option<u64>,
    /// the share of puts in mixed, in percent (default 30)
    #[argh(option, default = "30")]
    pub puts: u64,
    /// sign the payload's SHA-256 too, instead of UNSIGNED-PAYLOAD
    #[argh(switch)]
    pub signed: bool,
    /// process id of the server on this machine, for CPU time and memory;
    /// several for a cluster, which are added up
    #[argh(option)]
    pub pid: Vec<u32>,
    /// another endpoint to measure in turn with the first, and to compare it with
    #[argh(option)]
    pub compare: Option<String>,
    /// its access key id (default: the same key)
    #[argh(option)]
    pub compare_access_key: Option<String>,
    /// its secret
    #[argh(option)]
    pub compare_secret_key: Option<String>,
    /// its key is in DIR/credentials
    #[argh(option)]
    pub compare_dir: Option<String>,
    /// like --pid, for the other endpoint
    #[argh(option)]
    pub compare_pid: Vec<u32>,
    /// leave the objects and the bucket there
    #[argh(switch)]
    pub keep: bool,
    /// print JSON
    #[argh(switch)]
    pub json: bool,
}

impl Args {
    fn place(&self) -> target::Place<'_> {
        target::Place {
            endpoint: &self.endpoint,
            bucket: &self.bucket,
            region: self.region.as_deref(),
            access_key: self.access_key.as_deref(),
            secret_key: self.secret_key.as_deref(),
            dir: self.dir.as_deref(),
        }
    }
}

impl Args {
    /// The endpoint to compare with.
    fn other(&self) -> Option<target::Place<'_>> {
        let endpoint = self.compare.as_deref()?;
        let own = self.compare_access_key.is_some()
            || self.compare_secret_key.is_some()
            || self.compare_dir.is_some();
        if !own {
            return Some(target::Place { endpoint, ..self.place() });
        }
        Some(target::Place {
            endpoint,
            access_key: self.compare_access_key.as_deref(),
            secret_key: self.compare_secret_key.as_deref(),
            dir: self.compare_dir.as_deref(),
            ..self.place()
        })
    }
}

/// Runs what was asked for and prints it. Fails as well if any measured operation failed.
pub fn run(args: Args) -> Result<(), Failure> {
    let rows = plan(&args)?;
    let target = Target::new(&args.place())?;
    for pid in args.pid.iter().chain(&args.compare_pid) {
        process::usage(*pid).map_err(|error| {
            Failure::Failed(format!(
                "process {pid} cannot be observed: {error}. Is it the server's?"
            ))
        })?;
    }
    let other = args.other().map(|place| Target::new(&place)).transpose()?;
    let observed = !args.pid.is_empty() || !args.compare_pid.is_empty();
    let endpoints = [Some(&target), other.as_ref()].map(|each| each.map(|t| t.endpoint.clone()));
    let mut report = report::Report::new(endpoints, args.json, observed);
    let mut stages = vec![Side { stage: Stage::open(target, args.signed)?, pids: &args.pid }];
    let result = match other.map(|other| Stage::open(other, args.signed)).transpose() {
        Ok(other) => {
            stages.extend(other.map(|stage| Side { stage, pids: &args.compare_pid }));
            rows.into_iter().try_for_each(|row| {
                let outcomes = compare::measure(&mut stages, &row)?;
                report.row(&row, &outcomes)
            })
        }
        Err(failure) => Err(failure),
    };
    // What was put there is taken away again even when a row has failed.
    let clean = |side: &mut Side<'_>| if args.keep { Ok(()) } else { side.stage.clean() };
    // The bucket is the first one's, if both are in the same store.
    let cleaned = stages.iter_mut().rev().map(clean).collect::<Vec<_>>();
    result?;
    report.finish()?;
    cleaned.into_iter().collect::<Result<(), _>>()?;
    match report.errors() {
        0 => Ok(()),
        errors => Err(Failure::Failed(format!("{errors} operations failed"))),
    }
}

/// The rows to measure.
fn plan(args: &Args) -> Result<Vec<Work>, Failure> {
    let usage = |reason: &str| Err(Failure::Usage(reason.to_owned()));
    if args.connections == 0 || args.connections > 4096 {
        return usage("--connections must be from 1 to 4096");
    }
    if args.threads.is_some_and(|threads| !(1..=2).contains(&threads)) {
        return usage("--threads must be 1 or 2");
    }
    if args.puts > 100 {
        return usage("--puts is a percentage, from 0 to 100");
    }
    if args.size > work::SIZE_MAX {
        return usage("--size can be 5GiB at most");
    }
    if args.objects == Some(0) || args.count == Some(0) {
        return usage("--objects and --count must be at least 1");
    }
    if args.compare.is_none()
        && (args.compare_access_key.is_some()
            || args.compare_secret_key.is_some()
            || args.compare_dir.is_some()
            || !args.compare_pid.is_empty())
    {
        return usage("--compare-... is about the endpoint that --compare names");
    }
    match (args.suite, args.kind) {
        (true, Some(_)) => usage("say either what to do or --suite, not both"),
        (true, None) => Ok(suite::rows(args)),
        (false, Some(kind)) => Ok(vec![Work::new(kind, args.size, args.connections, args)]),
        (false, None) => {
            usage("say what to do: put, get, head, list, delete, mixed, or --suite for all of it")
        }
    }
}

/// A time: `10s`, `2m`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let number: u64 = number.parse().map_err(|_| format!("{text} is no time, such as 10s"))?;
    let duration = match unit {
        "" | "s" => Duration::from_secs(number),
        "ms" => Duration::from_millis(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(format!("{unit} is no unit of time; use ms, s or m")),
    };
    if duration.is_zero() || duration > Duration::from_secs(24 * 3600) {
        return Err("the time must be more than nothing and at most a day".to_owned());
    }
    Ok(duration)
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}
