//! The results: a table for people, line by line as they come, or JSON for programs.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use crate::bench::{Failure, load::Outcome, target::Target, work::Work};

/// Gathers and prints.
pub struct Report {
    endpoint: String,
    json: bool,
    observed: bool,
    rows: Vec<Row>,
    errors: u64,
}

/// A row as programs see it. Fields are only ever added.
#[derive(Serialize)]
struct Row {
    work: String,
    kind: &'static str,
    size: u64,
    connections: usize,
    seconds: f64,
    operations: u64,
    operations_per_second: f64,
    /// 10⁶ bytes of payload a second.
    megabytes_per_second: f64,
    latency_ms: Latency,
    failed: u64,
    errors: std::collections::BTreeMap<String, u64>,
    /// Only with `--pid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_us_per_operation: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_peak_bytes: Option<u64>,
    client_cpu_us_per_operation: f64,
}

#[derive(Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

#[derive(Serialize)]
struct Document<'a> {
    version: &'a str,
    endpoint: &'a str,
    rows: &'a [Row],
}

impl Row {
    fn new(work: &Work, outcome: &Outcome) -> Self {
        let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
        let operations = outcome.times.count();
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / operations.max(1) as f64;
        let times = &outcome.times;
        Self {
            work: work.title(),
            kind: work.kind.name(),
            size: work.size,
            connections: work.connections,
            seconds,
            operations,
            operations_per_second: operations as f64 / seconds,
            megabytes_per_second: outcome.bytes as f64 / 1e6 / seconds,
            latency_ms: Latency {
                mean: millis(times.mean()),
                p50: millis(times.quantile(0.5)),
                p90: millis(times.quantile(0.9)),
                p99: millis(times.quantile(0.99)),
                p999: millis(times.quantile(0.999)),
                max: millis(times.max()),
            },
            failed: outcome.failed(),
            errors: outcome.errors.clone(),
            server_cpu_us_per_operation: outcome.cpu.map(each),
            server_peak_bytes: outcome.peak,
            client_cpu_us_per_operation: each(outcome.own_cpu),
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Report {
    /// Nothing reported yet. `observed` if there are figures of the server.
    pub fn new(target: &Target, json: bool, observed: bool) -> Self {
        let endpoint = target.endpoint.clone();
        Self { endpoint, json, observed, rows: Vec::new(), errors: 0 }
    }

    /// How many measured operations failed so far.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// One more row.
    pub fn row(&mut self, work: &Work, outcome: &Outcome) -> Result<(), Failure> {
        let row = Row::new(work, outcome);
        self.errors += row.failed;
        if !self.json {
            let head = if self.rows.is_empty() { self.head() } else { String::new() };
            print(&format!("{head}{}", self.line(&row)))?;
        }
        self.rows.push(row);
        Ok(())
    }

    /// The end.
    pub fn finish(&self) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let version = env!("CARGO_PKG_VERSION");
        let document = Document { version, endpoint: &self.endpoint, rows: &self.rows };
        let text = serde_json::to_string_pretty(&document).map_err(Failure::failed)?;
        print(&format!("{text}\n"))
    }

    fn head(&self) -> String {
        let server = if self.observed { "  CPU/op    peak" } else { "" };
        format!(
            "{}\n{:<20} {:>5} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9}{server}  errors\n",
            self.endpoint,
            "work",
            "conns",
            "ops/s",
            "MB/s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "max ms",
            "own CPU"
        )
    }

    fn line(&self, row: &Row) -> String {
        let latency = &row.latency_ms;
        let server = match (row.server_cpu_us_per_operation, row.server_peak_bytes) {
            (Some(cpu), Some(peak)) => {
                format!(" {:>7} {:>7}", micros(cpu), format!("{} MiB", peak >> 20))
            }
            _ => String::new(),
        };
        let errors = match row.failed {
            0 => "-".to_owned(),
            _ => {
                let codes = row.errors.iter().map(|(code, count)| format!("{code} {count}"));
                codes.collect::<Vec<_>>().join(", ")
            }
        };
        format!(
            "{:<20} {:>5} {:>9.0} {:>8.1} {:>8.2} {:>8.2} {:>8.2} {:>8.1} {:>9}{server}  {errors}\n",
            row.work,
            row.connections,
            row.operations_per_second,
            row.megabytes_per_second,
            latency.p50,
            latency.p90,
            latency.p99,
            latency.max,
            micros(row.client_cpu_us_per_operation),
        )
    }
}

fn micros(value: f64) -> String {
    if value < 10_000.0 { format!("{value:.0} µs") } else { format!("{:.1} ms", value / 1e3) }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::failed)
}
