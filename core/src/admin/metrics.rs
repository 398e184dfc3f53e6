//! `GET /metrics`: what the node has counted, and how the node and the cluster are at this moment.

use crate::{
    metrics::{
        Api, Metrics,
        family::{self, Family},
        page::Page,
    },
    node::status::{NodeStatus, Status},
    placement::history::History,
    quorum,
    store::{Read, Table},
    task::Cx,
    view::View,
};

use super::{cluster, error::Error};

/// Where it is scraped.
pub(super) const PATH: &str = "/metrics";

/// The kinds of effects that happen at other nodes, and so have metrics before the first has happened.
const ENDPOINTS: [&str; 6] = ["Read", "Commit", "StoreBlock", "LoadBlock", "Holds", "Ask"];

/// The page that Prometheus scrapes. Nothing is counted for it that takes longer where more is stored.
pub(super) async fn page(cx: Cx, view: &View) -> Result<String, Error> {
    let status = cluster::status(cx).await?;
    let counts = Read::Count(Table::ALL.to_vec());
    let rows = quorum::read_local(cx, view, counts).await?.into_counts();
    Ok(text(view, &status, &rows))
}

/// `rows`: how many each table has.
pub(super) fn text(view: &View, status: &Status, rows: &[u64]) -> String {
    let (mut page, metrics) = (Page::default(), &*view.metrics);
    let sizes: Vec<(Table, u64)> = Table::ALL.into_iter().zip(rows.iter().copied()).collect();
    node(&mut page, view, status);
    health(&mut page, view, status);
    nodes(&mut page, status);
    layout(&mut page, view, status);
    let s3 = [&family::API_S3_REQUESTS, &family::API_S3_ERRORS, &family::API_S3_DURATION];
    api(&mut page, &metrics.s3, s3);
    page.sample(&family::S3_RECEIVED, &[], metrics.s3.received.get());
    page.sample(&family::S3_SENT, &[], metrics.s3.sent.get());
    api(
        &mut page,
        &metrics.web,
        [&family::WEB_REQUESTS, &family::WEB_ERRORS, &family::WEB_DURATION],
    );
    page.sample(&family::WEB_SENT, &[], metrics.web.sent.get());
    let admin =
        [&family::API_ADMIN_REQUESTS, &family::API_ADMIN_ERRORS, &family::API_ADMIN_DURATION];
    api(&mut page, &metrics.admin, admin);
    blocks(&mut page, view, &sizes);
    fetches(&mut page, metrics, status, &sizes);
    refused(&mut page, metrics);
    rpc(&mut page, metrics);
    tables(&mut page, metrics, &sizes);
    storage(&mut page, metrics);
    jobs(&mut page, status);
    pace(&mut page, status);
    page.finish()
}

fn node(page: &mut Page, view: &View, status: &Status) {
    let metrics = &view.metrics;
    let version = env!("CARGO_PKG_VERSION");
    page.sample(&family::BUILD_INFO, &[version], 1);
    page.sample(&family::MEWS_BUILD_INFO, &[version], 1);
    page.sample(&family::UPTIME, &[], status.now.mono.since(Default::default()).as_secs_f64());
    page.sample(&family::REPLICATION_FACTOR, &[], status.parameters.replication);
    let rooms = [("data", &metrics.data), ("metadata", &metrics.metadata)];
    let measured = || rooms.iter().filter(|(_, room)| room.total.get() > 0);
    for (volume, room) in measured() {
        page.sample(&family::LOCAL_DISK_AVAIL, &[volume], room.available.get());
    }
    for (volume, room) in measured() {
        page.sample(&family::LOCAL_DISK_TOTAL, &[volume], room.total.get());
    }
    page.sample(&family::REQUESTS_IN_FLIGHT, &[], status.requests);
    page.sample(&family::PEER_REQUESTS_IN_FLIGHT, &[], status.served);
    page.sample(&family::PANICS, &[], metrics.panics.get());
}

fn health(page: &mut Page, view: &View, status: &Status) {
    let health = cluster::health(status, view.config.consistency);
    let healthy = !health.storage.is_empty() && health.up == health.storage.len();
    page.flag(&family::CLUSTER_HEALTHY, &[], healthy);
    page.flag(&family::CLUSTER_AVAILABLE, &[], health.is_available());
    page.sample(&family::CLUSTER_KNOWN_NODES, &[], status.nodes.len());
    let connected = status.nodes.iter().filter(|node| node.up).count();
    page.sample(&family::CLUSTER_CONNECTED_NODES, &[], connected);
    page.sample(&family::CLUSTER_STORAGE_NODES, &[], health.storage.len());
    page.sample(&family::CLUSTER_STORAGE_NODES_OK, &[], health.up);
    page.sample(&family::CLUSTER_PARTITIONS, &[], health.partitions);
    page.sample(&family::CLUSTER_PARTITIONS_QUORUM, &[], health.quorum);
    page.sample(&family::CLUSTER_PARTITIONS_ALL_OK, &[], health.all);
}

/// What tells a node of the layout from others: id, zone, capacity, and whether it is a gateway.
fn labels(history: &History, node: &NodeStatus) -> [String; 4] {
    let role = history.role(node.id);
    let capacity = role.and_then(|role| role.capacity);
    [
        node.id.to_string(),
        role.map(|role| role.zone.clone()).unwrap_or_default(),
        capacity.map(|bytes| bytes.to_string()).unwrap_or_default(),
        u8::from(role.is_some() && capacity.is_none()).to_string(),
    ]
}

fn nodes(page: &mut Page, status: &Status) {
    let members = status.history.members();
    let members = || status.nodes.iter().filter(|node| members.contains(&node.id));
    let sample = |page: &mut Page, family, node: &NodeStatus, value: f64| {
        page.sample(family, &labels(&status.history, node).each_ref().map(String::as_str), value);
    };
    for node in members() {
        sample(page, &family::CLUSTER_NODE_CONNECTED, node, f64::from(u8::from(node.up)));
    }
    for node in members() {
        let away = node.seen.map(|seen| status.now.wall.0.saturating_sub(seen.0));
        let away = away.or(node.up.then_some(0));
        if let Some(millis) = away {
            let seconds = std::time::Duration::from_millis(millis).as_secs_f64();
            sample(page, &family::CLUSTER_NODE_DISCONNECTED_TIME, node, seconds);
        }
    }
    let me = |node: &NodeStatus| node.id == status.node;
    for node in &status.nodes {
        let rtt = node.rtt.or(me(node).then_some(std::time::Duration::ZERO));
        if let Some(rtt) = rtt {
            page.sample(&family::PEER_ROUND_TRIP, &[&node.id.to_string()], rtt.as_secs_f64());
        }
    }
    for node in &status.nodes {
        if let Some(millis) = node.skew.or(me(node).then_some(0)) {
            let ahead = std::time::Duration::from_millis(millis.unsigned_abs()).as_secs_f64();
            let seconds = if millis < 0 { -ahead } else { ahead };
            page.sample(&family::PEER_CLOCK_SKEW, &[&node.id.to_string()], seconds);
        }
    }
}

fn layout(page: &mut Page, view: &View, status: &Status) {
    let history = &status.history;
    page.sample(&family::LAYOUT_VERSION, &[], history.version());
    page.sample(&family::LAYOUT_VERSIONS_IN_FORCE, &[], history.active().count());
    page.sample(&family::LAYOUT_WAITING, &[], history.waiting_for().len());
    page.flag(&family::RECOVERING, &[], view.recovering);
}

fn api(page: &mut Page, api: &Api, [counts, errors, durations]: [&'static Family; 3]) {
    let named =
        || api.operations.iter().map(|(name, requests)| (name.unwrap_or("Other"), requests));
    for (name, requests) in named() {
        page.sample(counts, &[name], requests.count.get());
    }
    for (name, requests) in named() {
        for (status, count) in requests.errors.iter() {
            let status = status.map_or("other".to_owned(), |status| status.to_string());
            page.sample(errors, &[name, &status], count.get());
        }
    }
    for (name, requests) in named() {
        page.histogram(durations, &[name], &requests.duration);
    }
}

fn size(sizes: &[(Table, u64)], table: Table) -> u64 {
    sizes.iter().find(|(of, _)| *of == table).map_or(0, |(_, rows)| *rows)
}

fn blocks(page: &mut Page, view: &View, sizes: &[(Table, u64)]) {
    let blocks = &view.metrics.blocks;
    let level = view.config.compression.unwrap_or(0);
    page.sample(&family::BLOCK_COMPRESSION_LEVEL, &[], level);
    page.sample(&family::BLOCK_RC_SIZE, &[], size(sizes, Table::BlockCount));
    let free = blocks.buffers.get().saturating_sub(blocks.buffered.get());
    page.sample(&family::BLOCK_BUFFER_FREE, &[], free / 1024);
    page.sample(&family::BLOCK_BYTES_READ, &[], blocks.read.get());
    page.histogram(&family::BLOCK_READ_DURATION, &[], &blocks.reading);
    page.sample(&family::BLOCK_BYTES_WRITTEN, &[], blocks.written.get());
    page.histogram(&family::BLOCK_WRITE_DURATION, &[], &blocks.writing);
    page.histogram(&family::BLOCK_WRITE_GROUP, &[], &blocks.group);
    page.sample(&family::BLOCK_DELETES, &[], blocks.deleted.get());
    page.sample(&family::BLOCK_CORRUPTIONS, &[], blocks.corrupted.get());
}

fn fetches(page: &mut Page, metrics: &Metrics, status: &Status, sizes: &[(Table, u64)]) {
    let fetches = &metrics.fetches;
    page.sample(&family::BLOCK_RESYNC_QUEUE, &[], size(sizes, Table::Fetch));
    page.sample(&family::BLOCK_RESYNC_ERRORED, &[], size(sizes, Table::BlockError));
    page.sample(&family::BLOCK_RESYNCS, &[], fetches.looked_at.get());
    page.sample(&family::BLOCK_RESYNC_ERRORS, &[], fetches.failed.get());
    page.histogram(&family::BLOCK_RESYNC_DURATION, &[], &fetches.duration);
    page.sample(&family::BLOCK_RESYNC_RECEIVED, &[], fetches.fetched.get());
    // Of the node itself, 0; more nodes than there is room for are told together.
    let sent = |node| metrics.sent.iter().find(|(to, _)| *to == node).map(|(_, count)| count.get());
    for node in &status.nodes {
        let count = sent(Some(node.id)).unwrap_or(0);
        page.sample(&family::BLOCK_RESYNC_SENT, &[&node.id.to_string()], count);
    }
    if let Some(count) = sent(None) {
        page.sample(&family::BLOCK_RESYNC_SENT, &["other"], count);
    }
}

fn refused(page: &mut Page, metrics: &Metrics) {
    let refused = &metrics.refused;
    for (api, reason, count) in [
        ("s3", "limit", &refused.s3),
        ("web", "limit", &refused.web),
        ("admin", "limit", &refused.admin),
        ("rpc", "limit", &refused.rpc),
        ("rpc", "handshake", &refused.handshakes),
    ] {
        page.sample(&family::CONNECTIONS_REFUSED, &[api, reason], count.get());
    }
}

fn rpc(page: &mut Page, metrics: &Metrics) {
    let calls = ENDPOINTS.map(|endpoint| (endpoint, metrics.rpc.of(endpoint)));
    let mut counts = |family, count: fn(&crate::metrics::Calls) -> u64| {
        for (endpoint, calls) in calls {
            page.sample(family, &[endpoint], count(calls));
        }
    };
    counts(&family::RPC_REQUESTS, |calls| calls.count.get());
    counts(&family::RPC_TIMEOUTS, |calls| calls.timeouts.get());
    counts(&family::RPC_UNREACHABLE, |calls| calls.unreachable.get());
    counts(&family::RPC_FAILURES, |calls| calls.failures.get());
    for (endpoint, calls) in calls {
        page.histogram(&family::RPC_DURATION, &[endpoint], &calls.duration);
    }
}

fn tables(page: &mut Page, metrics: &Metrics, sizes: &[(Table, u64)]) {
    for (table, rows) in sizes {
        page.sample(&family::TABLE_SIZE, &[table.name()], rows);
    }
    let mut counts = |family, count: fn(&crate::metrics::Rows) -> u64| {
        for table in Table::ALL {
            page.sample(family, &[table.name()], count(metrics.table(table)));
        }
    };
    counts(&family::TABLE_GETS, |rows| rows.gets.get());
    counts(&family::TABLE_PUTS, |rows| rows.puts.get());
    counts(&family::TABLE_UPDATES, |rows| rows.updates.get());
    counts(&family::TABLE_DELETES, |rows| rows.deletes.get());
    counts(&family::TABLE_RECEIVED, |rows| rows.received.get());
    counts(&family::TABLE_SENT, |rows| rows.sent.get());
    page.sample(&family::QUEUE_LENGTH, &[], size(sizes, Table::Queue));
}

fn storage(page: &mut Page, metrics: &Metrics) {
    for (operation, times) in metrics.storage.iter() {
        page.histogram(&family::STORAGE_DURATION, &[operation.unwrap_or("Other")], times);
    }
    page.histogram(&family::COMMIT_DURATION, &[], &metrics.commits.duration);
    page.histogram(&family::COMMIT_BATCHES, &[], &metrics.commits.batches);
}

fn jobs(page: &mut Page, status: &Status) {
    for line in &status.jobs {
        page.flag(&family::JOB_RUNNING, &[line.job.name()], line.due.is_none());
    }
    for line in &status.jobs {
        page.sample(&family::JOB_FAILURES, &[line.job.name()], line.failures);
    }
    for line in &status.jobs {
        page.sample(&family::JOB_ERRORS, &[line.job.name()], line.errors);
    }
}

fn pace(page: &mut Page, status: &Status) {
    let pace = &status.pace;
    page.sample(&family::PACE_FACTOR, &[], pace.factor);
    page.sample(&family::PACE_REST, &[], pace.rest.as_secs_f64());
    for waited in &pace.waits {
        page.sample(&family::PACE_RECENT, &[waited.operation.name()], waited.recent.as_secs_f64());
    }
    for waited in &pace.waits {
        page.sample(&family::PACE_USUAL, &[waited.operation.name()], waited.usual.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        id::NodeId,
        node::{Node, Setup},
        seed::Seed,
        time::Now,
        view::Config,
    };

    #[test]
    fn every_metric_is_on_the_page_once_it_has_something_to_tell() {
        let setup = Setup::alone(NodeId([7; 32]), 1, Config::default(), Seed::new([1; 32]));
        let node = Node::new(setup, Now::default()).expect("nothing is saved");
        let (view, status) = (node.view(), node.status(Now::default()));
        let metrics = &view.metrics;
        for api in [&metrics.s3, &metrics.web, &metrics.admin] {
            api.answered("Example", 503, Duration::from_millis(3));
        }
        for room in [&metrics.data, &metrics.metadata] {
            room.measured(1, 2);
        }
        metrics.storage.of("Commit").took(Duration::from_millis(1));
        let text = text(view, &status, &[3; Table::ALL.len()]);
        let described: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let all: Vec<_> = family::ALL.iter().map(|family| family.name).collect();
        assert_eq!(described, all);
        for line in [
            "api_s3_error_counter{api_endpoint=\"Example\",status_code=\"503\"} 1",
            "api_admin_request_duration_bucket{api_endpoint=\"Example\",le=\"0.005\"} 1",
            "table_size{table_name=\"object\"} 3",
            "cluster_available 1",
            "garage_local_disk_avail{volume=\"metadata\"} 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
