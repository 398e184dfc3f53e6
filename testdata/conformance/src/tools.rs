//! The tools for any S3 endpoint, `mews doctor` and `mews bench`, against a daemon.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{
    cluster::sibling,
    daemon::{ACCESS_KEY, Daemon, SECRET_KEY},
};

/// What quickstart's daemon refuses: it says so, which is all that is asked of it.
const REFUSED: [&str; 12] = [
    "acl",
    "tagging-header",
    "storage-class",
    "object-lock",
    "encryption",
    "encryption-with-own-key",
    "website-redirect",
    "tagging",
    "retention",
    "versioning",
    "policy",
    "bucket-encryption",
];

/// Runs all of it against `binary`.
pub fn run(binary: impl AsRef<Path>) {
    let mews = sibling(binary.as_ref(), "mews");
    let (one, two) = (Daemon::start(&binary), Daemon::start(&binary));
    nothing_is_silently_ignored(&mews, &one);
    two_endpoints_are_compared(&mews, &one, &two);
}

fn tool(mews: &Path, daemon: &Daemon, words: &[&str]) -> Output {
    let mut command = Command::new(mews);
    command.args(words).args(["--endpoint", &format!("http://{}", daemon.s3())]).env_clear();
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    command.output().expect("it runs")
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn nothing_is_silently_ignored(mews: &Path, daemon: &Daemon) {
    let output = tool(mews, daemon, &["doctor", "s3", "--json"]);
    let found = document(&output);
    assert!(output.status.success(), "{found:#}");
    let features = found["features"].as_array().expect("a list");
    for line in features {
        let feature = line["feature"].as_str().expect("a name");
        let verdict = line["verdict"].as_str().expect("a verdict");
        // More may be honoured one day; what every client relies on must be.
        let refusable =
            REFUSED.contains(&feature) || ["lifecycle", "unknown-operation"].contains(&feature);
        assert!(verdict == "honoured" || refusable && verdict == "refused", "{line}");
    }
    assert!(features.len() > 50, "{} features", features.len());
    let listed = tool(mews, daemon, &["doctor", "s3", "--json"]);
    assert!(listed.status.success(), "a second time, on what the first has left behind");
}

fn two_endpoints_are_compared(mews: &Path, one: &Daemon, two: &Daemon) {
    let other = format!("http://{}", two.s3());
    let pid = one.process().to_string();
    let words = ["bench", "put", "--count", "60", "--compare", &other, "--pid", &pid, "--json"];
    let output = tool(mews, one, &words);
    assert!(output.status.success(), "{output:?}");
    let found = document(&output);
    for rows in [&found["rows"], &found["compared"]["rows"]] {
        assert_eq!(rows[0]["operations"], 60, "{rows:#}");
        let latency = &rows[0]["latency_ms"];
        let at = |name: &str| latency[name].as_f64().expect("a number");
        let rising = [at("p50"), at("p90"), at("p99"), at("p999"), at("max")];
        assert!(rising.is_sorted() && rising[0] > 0.0, "{latency}");
    }
    assert!(found["rows"][0]["server_cpu_us_per_operation"].is_f64(), "{found:#}");
    assert!(found["compared"]["rows"][0].get("server_peak_bytes").is_none(), "of no process");
    let ratio = found["compared"]["ratios"][0]["operations_per_second"].as_f64();
    let rate = |rows: &Value| rows[0]["operations_per_second"].as_f64().expect("a rate");
    let expected = rate(&found["rows"]) / rate(&found["compared"]["rows"]);
    assert!(ratio.is_some_and(|ratio| (ratio / expected - 1.0).abs() < 1e-6), "{found:#}");
    // One with itself, too: the two share a bucket then.
    let itself = format!("http://{}", one.s3());
    let output = tool(mews, one, &["bench", "put", "--count", "8", "--compare", &itself]);
    assert!(output.status.success(), "{output:?}");
    let table =
        tool(mews, one, &["bench", "head", "--count", "20", "--objects", "5", "--compare", &other]);
    let text = String::from_utf8_lossy(&table.stdout);
    assert!(table.status.success() && text.contains("ratio"), "{text}");
}
