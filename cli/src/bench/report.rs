//! The results: a table for people, line by line as they come, or JSON for programs.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use crate::bench::{Failure, load::Outcome, work::Work};

/// Gathers and prints.
pub struct Report {
    endpoint: String,
    /// The one that it is compared with.
    other: Option<String>,
    json: bool,
    observed: bool,
    rows: Vec<Row>,
    /// Of the other endpoint, as many.
    others: Vec<Row>,
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
    /// Only with `--compare`.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<Compared<'a>>,
}

#[derive(Serialize)]
struct Compared<'a> {
    endpoint: &'a str,
    rows: &'a [Row],
    ratios: Vec<Ratio>,
}

/// The first endpoint's figures, divided by the other's; none where the other's are zero.
#[derive(Serialize)]
struct Ratio {
    work: String,
    operations_per_second: Option<f64>,
    p50: Option<f64>,
    p99: Option<f64>,
    server_cpu: Option<f64>,
}

impl Ratio {
    fn new(one: &Row, other: &Row) -> Self {
        let divided = |one: f64, other: f64| (other > 0.0).then(|| one / other);
        let cpu = one.server_cpu_us_per_operation.zip(other.server_cpu_us_per_operation);
        Self {
            work: one.work.clone(),
            operations_per_second: divided(one.operations_per_second, other.operations_per_second),
            p50: divided(one.latency_ms.p50, other.latency_ms.p50),
            p99: divided(one.latency_ms.p99, other.latency_ms.p99),
            server_cpu: cpu.and_then(|(one, other)| divided(one, other)),
        }
    }

    fn line(&self) -> String {
        let times = |ratio: Option<f64>| {
            ratio.map_or_else(|| "-".to_owned(), |ratio| format!("x{ratio:.2}"))
        };
        let cpu = self.server_cpu.map(|_| format!("  CPU/op {}", times(self.server_cpu)));
        format!(
            "  ratio 1 to 2: ops/s {}  p50 {}  p99 {}{}\n",
            times(self.operations_per_second),
            times(self.p50),
            times(self.p99),
            cpu.unwrap_or_default()
        )
    }
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
    /// Nothing reported yet. `observed` if there are figures of a server.
    pub fn new([endpoint, other]: [Option<String>; 2], json: bool, observed: bool) -> Self {
        let endpoint = endpoint.unwrap_or_default();
        Self { endpoint, other, json, observed, rows: Vec::new(), others: Vec::new(), errors: 0 }
    }

    /// How many measured operations failed so far.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// One more row: of the endpoint, and of the other if there is one.
    pub fn row(&mut self, work: &Work, outcomes: &[Outcome]) -> Result<(), Failure> {
        let mut rows = outcomes.iter().map(|outcome| Row::new(work, outcome));
        let (Some(row), other) = (rows.next(), rows.next()) else { return Ok(()) };
        self.errors += row.failed + other.as_ref().map_or(0, |other| other.failed);
        if !self.json {
            let head = if self.rows.is_empty() { self.head() } else { String::new() };
            let mut text =
                format!("{head}{}", self.line(if other.is_some() { "1 " } else { "" }, &row));
            if let Some(other) = &other {
                text += &self.line("2 ", other);
                text += &Ratio::new(&row, other).line();
            }
            print(&text)?;
        }
        self.others.extend(other);
        self.rows.push(row);
        Ok(())
    }

    /// The end.
    pub fn finish(&self) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let version = env!("CARGO_PKG_VERSION");
        let pairs = self.rows.iter().zip(&self.others);
        let compared = self.other.as_deref().map(|endpoint| Compared {
            endpoint,
            rows: &self.others,
            ratios: pairs.map(|(one, other)| Ratio::new(one, other)).collect(),
        });
        let document = Document { version, endpoint: &self.endpoint, rows: &self.rows, compared };
        let text = serde_json::to_string_pretty(&document).map_err(Failure::failed)?;
        print(&format!("{text}\n"))
    }

    fn head(&self) -> String {
        let server = if self.observed { "  CPU/op    peak" } else { "" };
        let endpoints = match &self.other {
            Some(other) => format!("1: {}\n2: {other}", self.endpoint),
            None => self.endpoint.clone(),
        };
        format!(
            "{endpoints}\n{:<20} {:>5} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9}{server}  errors\n",
            "work",
            "conns",
            "ops/s",
            "MB/s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "own CPU"
        )
    }

    fn line(&self, mark: &str, row: &Row) -> String {
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
            "{:<20} {:>5} {:>9.0} {:>8.1} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.1} {:>9}{server}  {errors}\n",
            format!("{mark}{}", row.work),
            row.connections,
            row.operations_per_second,
            row.megabytes_per_second,
            latency.p50,
            latency.p90,
            latency.p99,
            latency.p999,
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
