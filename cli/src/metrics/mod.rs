//! `mews metrics`: what Grafana and Prometheus need to make something of a node's metrics.

use argh::{ArgsInfo, FromArgs};
use mews_core::metrics::family;

/// What Grafana and Prometheus need: a dashboard, alert rules, and a reference of all metrics. Nothing of it asks a node.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "metrics",
    example = "Let Prometheus load the alert rules:\n  {command_name} alerts > /etc/prometheus/mews.yml",
    example = "A dashboard to import in Grafana:\n  {command_name} dashboard > mews.json"
)]
pub struct Metrics {
    #[argh(subcommand)]
    command: MetricsCommand,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum MetricsCommand {
    Dashboard(Dashboard),
    Alerts(Alerts),
    List(List),
}

/// Print a dashboard for Grafana, as JSON to import.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "dashboard")]
struct Dashboard {}

/// Print alert rules for Prometheus, as YAML. Their beginning says how to use them.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "alerts")]
struct Alerts {}

/// Print what a node's /metrics tells, as a table in Markdown.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "list")]
struct List {}

/// What is to be printed.
pub fn text(metrics: &Metrics) -> String {
    match metrics.command {
        MetricsCommand::Dashboard(Dashboard {}) => include_str!("dashboard.json").to_owned(),
        MetricsCommand::Alerts(Alerts {}) => include_str!("alerts.yml").to_owned(),
        MetricsCommand::List(List {}) => family::reference(),
    }
}
