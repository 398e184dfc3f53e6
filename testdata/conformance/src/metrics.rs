//! What a daemon tells of itself: its metrics, as Prometheus reads them, and its log.

mod refused;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use mews_core::metrics::family::{self, Family};
use serde_json::Value;

use crate::{
    clients::promtool,
    cluster::sibling,
    daemon::{Daemon, SECRET_KEY},
    signed, websites,
    wire::{Response, Wire},
};

const PATIENCE: Duration = Duration::from_secs(20);

const METRICS_TOKEN: &str = "for-prometheus-and-for-nobody-else";

/// Larger than a block.
const LARGE: usize = (5 << 20) / 2;

/// Runs all of it against `binary`.
pub fn run(binary: impl AsRef<Path>) {
    let binary = binary.as_ref();
    let daemon = logging(binary);
    let request = workload(&daemon);
    let page = page(&daemon);
    every_documented_metric_is_there(&page);
    what_happened_was_counted(&page);
    promtool_accepts_them(binary, &page);
    what_mews_prints_is_made_of_them(binary, &page);
    the_log_tells_of_each_request_and_gives_no_secret_away(&daemon, &request);
    a_damaged_block_is_counted(&daemon);
    refused::run(&daemon);
    drop(daemon);
    a_token_is_asked_for_where_one_is_configured(binary);
}

/// A daemon that logs each request, as JSON.
fn logging(binary: &Path) -> Daemon {
    Daemon::start_with(binary, &[("MEWS_LOG", "info,access=debug"), ("MEWS_LOG_FORMAT", "json")])
}

/// Does a little of everything; the id of the request that stored the object `small`.
fn workload(daemon: &Daemon) -> String {
    let stored = signed::put(daemon, "small", b"a few bytes");
    assert_eq!(stored.status, 200);
    assert_eq!(signed::put(daemon, "large", &noise()).status, 200);
    assert_eq!(signed::get(daemon, "large").body, noise());
    assert_eq!(signed::send(daemon, "HEAD", "small", b"").status, 200);
    assert_eq!(signed::get(daemon, "missing").status, 404);
    assert_eq!(signed::send(daemon, "DELETE", "small", b"").status, 204);
    assert_eq!(signed::send(daemon, "GET", "?list-type=2", b"").status, 200);
    assert_eq!(websites::ask(daemon, "GET", "none.web.localhost", "/", "").status, 404);
    assert_eq!(admin(daemon, "/v2/NoSuchCall", None).status, 404);
    assert_eq!(admin(daemon, "/health", None).status, 200);
    stored.header("x-amz-request-id").expect("every answer has one").to_owned()
}

/// Bytes that do not compress.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let bytes = (0..LARGE).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    bytes.collect()
}

fn admin(daemon: &Daemon, target: &str, token: Option<&str>) -> Response {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: admin\r\n{}Connection: close\r\n\r\n",
        token.unwrap_or_default()
    );
    let mut wire = Wire::connect(daemon.admin());
    wire.send(head.as_bytes());
    let response = wire.response(false, PATIENCE);
    let response = response.unwrap_or_else(|silence| panic!("GET {target}: {silence:?}"));
    assert!(response.whole, "GET {target}: the response was cut short");
    assert!(response.header("x-request-id").is_some(), "{response:?}");
    response
}

/// The metrics, once what is measured in the background was measured, and each request of before has been counted: that comes
/// after its answer.
fn page(daemon: &Daemon) -> String {
    let began = Instant::now();
    loop {
        let response = admin(daemon, "/metrics", None);
        assert_eq!(response.status, 200);
        assert_eq!(
            response.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        let page = String::from_utf8(response.body).expect("text");
        // The page itself is counted after it was made, so the second has it.
        let done = ["garage_local_disk_avail", "api_endpoint=\"Metrics\"", "\"ListObjectsV2\""];
        // And what a request waits for is judged by the second.
        let unjudged = "mews_pace_wait_usual_seconds{operation=\"StoreBlock\"} 0\n";
        if done.iter().all(|sign| page.contains(sign)) && !page.contains(unjudged) {
            return page;
        }
        assert!(began.elapsed() < PATIENCE, "not all is there:\n{page}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn samples(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.lines().filter(|line| !line.starts_with('#')).map(|line| {
        line.rsplit_once(' ').unwrap_or_else(|| panic!("a sample without a value: {line}"))
    })
}

/// The value of a series that a daemon tells now, where nobody asks for a token.
pub(crate) fn told(daemon: &Daemon, series: &str) -> f64 {
    let page = admin(daemon, "/metrics", None);
    value(&String::from_utf8(page.body).expect("text"), series)
}

/// The value of a series, its labels included.
fn value(page: &str, series: &str) -> f64 {
    let found = samples(page).find(|(name, _)| *name == series);
    let (_, text) = found.unwrap_or_else(|| panic!("no {series} in\n{page}"));
    text.parse().unwrap_or_else(|_| panic!("{series} is {text}"))
}

fn every_documented_metric_is_there(page: &str) {
    let mut told = BTreeSet::new();
    for (series, value) in samples(page) {
        let name = series.split('{').next().unwrap_or(series);
        let family = family::of_series(name);
        told.insert(family.unwrap_or_else(|| panic!("{name} is not documented")).name);
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{series} {value}");
    }
    for Family { name, .. } in family::ALL {
        assert!(told.contains(name), "{name} is documented, and not in\n{page}");
    }
}

fn what_happened_was_counted(page: &str) {
    let api = |series: &str| value(page, &format!("api_s3_{series}"));
    assert_eq!(api("request_counter{api_endpoint=\"PutObject\"}"), 2.0);
    assert_eq!(api("request_counter{api_endpoint=\"GetObject\"}"), 2.0);
    assert_eq!(api("error_counter{api_endpoint=\"GetObject\",status_code=\"404\"}"), 1.0);
    assert_eq!(api("request_duration_count{api_endpoint=\"DeleteObject\"}"), 1.0);
    assert!(api("request_duration_sum{api_endpoint=\"PutObject\"}") > 0.0);
    let large = f64::from(u32::try_from(LARGE).expect("small"));
    assert!((value(page, "mews_s3_received_bytes_total") - large - 11.0).abs() < 0.5);
    assert!(value(page, "mews_s3_sent_bytes_total") > large);
    for bytes in ["block_bytes_read", "block_bytes_written"] {
        assert!(value(page, bytes) >= large, "{bytes}");
    }
    assert_eq!(value(page, "block_read_duration_count"), 3.0);
    assert!(value(page, "table_put_request_counter{table_name=\"object\"}") >= 3.0);
    assert!(value(page, "table_size{table_name=\"block_count\"}") >= 3.0);
    assert!(value(page, "mews_commit_batches_sum") >= value(page, "mews_commit_batches_count"));
    for waited in ["recent", "usual"] {
        let series = format!("mews_pace_wait_{waited}_seconds{{operation=\"StoreBlock\"}}");
        assert!(value(page, &series) > 0.0, "{series}");
    }
    for one in ["cluster_healthy", "cluster_available", "cluster_connected_nodes"] {
        assert_eq!(value(page, one), 1.0, "{one}");
    }
    let errors = "api_admin_error_counter{api_endpoint=\"Invalid\",status_code=\"404\"}";
    assert_eq!(value(page, errors), 1.0);
    assert_eq!(value(page, "mews_panics_total"), 0.0);
}

/// Gives `text` to promtool; what it says.
fn check(promtool: &Path, args: &[&str], text: &str) -> (Option<i32>, String) {
    let mut command = Command::new(promtool);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool runs");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(text.as_bytes()).expect("promtool reads");
    drop(input);
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn promtool_accepts_them(binary: &Path, page: &str) {
    let Some(promtool) = promtool(binary) else { return };
    let (code, said) = check(&promtool, &["check", "metrics"], page);
    // 3: it can read everything, and would have given other names to some.
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {said}\n{page}");
    for line in said.lines().filter(|line| !line.trim().is_empty()) {
        assert!(!line.starts_with("mews_"), "{line}");
        let name = line.split(' ').next().unwrap_or(line);
        assert!(family::of_series(name).is_some() || is_histogram(name), "{line}");
    }
    let (code, said) = check(&promtool, &["check", "metrics"], "no { metric");
    assert!(code == Some(1), "promtool would accept anything: {code:?} {said}");
}

fn is_histogram(name: &str) -> bool {
    family::of_series(&format!("{name}_count")).is_some()
}

fn printed(binary: &Path, what: &str) -> String {
    let output = Command::new(sibling(binary, "mews")).args(["metrics", what]).output();
    let output = output.expect("mews runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The metrics that an expression of PromQL names: what looks like one of ours, and is no label.
fn named(expression: &str) -> BTreeSet<&str> {
    let prefixes: BTreeSet<&str> =
        family::ALL.iter().filter_map(|family| family.name.split('_').next()).collect();
    let labels: BTreeSet<&str> =
        family::ALL.iter().flat_map(|family| family.labels).copied().collect();
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = |word: &&str| {
        word.split_once('_').is_some_and(|(prefix, _)| prefixes.contains(prefix))
            && !labels.contains(word)
    };
    words.filter(ours).collect()
}

fn what_mews_prints_is_made_of_them(binary: &Path, page: &str) {
    let there: BTreeSet<&str> =
        samples(page).map(|(series, _)| series.split('{').next().unwrap_or(series)).collect();
    let dashboard = printed(binary, "dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("a dashboard is JSON");
    let expressions = expressions_of(&dashboard);
    for expression in &expressions {
        let named = named(expression);
        assert!(!named.is_empty(), "{expression} is about nothing");
        assert!(
            named.iter().all(|name| there.contains(name)),
            "{expression} names what is not there"
        );
    }
    let alerts = printed(binary, "alerts");
    let rules = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let mut count = 0;
    for expression in rules {
        // `up` is Prometheus's own.
        let named = named(expression);
        assert!(!named.is_empty() || expression.contains("up{"), "{expression} is about nothing");
        assert!(
            named.iter().all(|name| there.contains(name)),
            "{expression} names what is not there"
        );
        count += 1;
    }
    assert_eq!(count, alerts.matches("- alert: ").count(), "an alert without an expression");
    assert!(count > 8 && expressions.len() > 20);
    let Some(promtool) = promtool(binary) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("alerts.yml");
    let queries = dir.path().join("queries.yml");
    fs::write(&file, &alerts).expect("a file");
    let rules: String = expressions
        .iter()
        .enumerate()
        .map(|(at, expression)| {
            let expression = expression.replace("$__rate_interval", "5m");
            format!("      - record: query:{at}\n        expr: {}\n", Value::from(expression))
        })
        .collect();
    fs::write(&queries, format!("groups:\n  - name: dashboard\n    rules:\n{rules}"))
        .expect("a file");
    for file in [file, queries] {
        let file = file.display().to_string();
        let (code, said) = check(&promtool, &["check", "rules", &file], "");
        assert_eq!(code, Some(0), "{said}");
    }
}

/// The queries of a dashboard, each panel of which has what Grafana needs to show it.
fn expressions_of(dashboard: &Value) -> Vec<String> {
    for field in ["title", "uid", "schemaVersion", "templating", "time"] {
        assert!(!dashboard[field].is_null(), "a dashboard has {field}");
    }
    let panels = dashboard["panels"].as_array().expect("a dashboard has panels");
    let ids: BTreeSet<_> =
        panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    let mut expressions = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a panel has a title");
        for side in ["x", "y", "w", "h"] {
            assert!(panel["gridPos"][side].is_u64(), "{title} has no place");
        }
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("a panel has queries");
        assert!(!targets.is_empty(), "{title} shows nothing");
        for target in targets {
            assert!(target["refId"].is_string(), "{title}: a query has a refId");
            expressions.push(target["expr"].as_str().expect("a query is text").to_owned());
        }
    }
    expressions
}

fn the_log_tells_of_each_request_and_gives_no_secret_away(daemon: &Daemon, request: &str) {
    let began = Instant::now();
    let line = loop {
        let mut about = daemon.logged(request).into_iter();
        if let Some(line) = about.find(|line| line["target"] == "access") {
            break line;
        }
        let waited = began.elapsed();
        assert!(waited < PATIENCE, "nothing of request {request} in\n{}", daemon.output());
        thread::sleep(Duration::from_millis(10));
    };
    for (field, expected) in [
        ("level", Value::from("DEBUG")),
        ("operation", Value::from("PutObject")),
        ("status", Value::from(200)),
        ("received", Value::from(11)),
        ("sent", Value::from(0)),
    ] {
        assert_eq!(line[field], expected, "{line}");
    }
    let message = line["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("PUT /") && message.ends_with("/small 200"), "{line}");
    assert!(line["millis"].as_f64().is_some_and(|millis| millis > 0.0), "{line}");
    assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{line}");
    // Every request of these tests is presigned.
    let output = daemon.output();
    let log: String = output.lines().filter(|line| line.starts_with('{')).collect();
    for secret in ["X-Amz-Signature", "X-Amz-Credential", SECRET_KEY] {
        assert!(!log.contains(secret), "the log gives {secret} away:\n{log}");
    }
}

fn a_damaged_block_is_counted(daemon: &Daemon) {
    let mut folders = vec![daemon.dir().to_owned()];
    let mut block: Option<PathBuf> = None;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let (path, size) = (entry.path(), entry.metadata().map_or(0, |data| data.len()));
            if path.is_dir() {
                folders.push(path);
            } else if size == 1 << 20 && path.components().any(|part| part.as_os_str() == "blocks")
            {
                block = Some(path);
            }
        }
    }
    let block = block.expect("a whole block is stored as it is");
    let mut bytes = fs::read(&block).expect("a block");
    bytes[1000] ^= 1;
    fs::write(&block, bytes).expect("a block");
    let (target, patience) = (signed::presigned(daemon, "GET", "large", &[]), PATIENCE);
    let mut wire = Wire::connect(daemon.s3());
    wire.send(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.s3()).as_bytes());
    let response = wire.response(false, patience).expect("an answer begins");
    assert!(response.status == 500 || !response.whole, "{}", response.status);
    assert_eq!(value(&page(daemon), "block_corruption_counter"), 1.0);
}

fn a_token_is_asked_for_where_one_is_configured(binary: &Path) {
    let mut daemon = Daemon::start(binary);
    let dir = daemon.dir().display().to_string();
    let text = format!(
        r#"
        metadata_dir = "{dir}/meta"
        data_dir = "{dir}/data"
        rpc_bind_addr = "127.0.0.1:0"
        [s3_api]
        api_bind_addr = "127.0.0.1:0"
        [admin]
        api_bind_addr = "127.0.0.1:0"
        admin_token_file = "{dir}/admin.token"
        metrics_token_file = "{dir}/metrics.token"
        "#
    );
    let config = daemon.dir().join("mews.toml");
    fs::write(&config, text).expect("a file");
    let token = daemon.dir().join("metrics.token");
    fs::copy(daemon.dir().join("admin.token"), &token).expect("a file as private as that one");
    fs::write(&token, METRICS_TOKEN).expect("a file");
    daemon.restart_as_configured(&config);
    for wrong in [None, Some(&METRICS_TOKEN[1..]), Some("")] {
        let response = admin(&daemon, "/metrics", wrong);
        assert_eq!(response.status, 403, "{wrong:?}");
    }
    assert_eq!(admin(&daemon, "/metrics", Some(METRICS_TOKEN)).status, 200);
    let others = admin(&daemon, "/v2/GetClusterStatus", Some(METRICS_TOKEN));
    assert_eq!(others.status, 403, "a token for metrics reads more");
}
