//! Every metric that there is: its name, its labels, what it says.
//!
//! Where the concept is Garage's, so is the name, so that dashboards and alerts made for Garage go on working. Others begin with
//! `mews_` and are named by Prometheus's own rules.

use std::fmt::Write as _;

/// A metric, with one sample for each set of labels.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// How it is to be read.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in one line.
    pub help: &'static str,
}

/// How a metric is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process ends.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How often values of which size were seen, as `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! families {
    ($($id:ident = $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $id: Family =
                Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )*

        /// All of them, as they follow each other on the page.
        pub static ALL: &[&Family] = &[$(&$id),*];
    };
}

families! {
    BUILD_INFO = "garage_build_info" Gauge ["version"] "The version of the program. Always 1.";
    MEWS_BUILD_INFO = "mews_build_info" Gauge ["version"] "The version of the program. Always 1.";
    UPTIME = "mews_uptime_seconds" Gauge [] "How long ago the process started.";
    REPLICATION_FACTOR = "garage_replication_factor" Gauge [] "How many copies the layout in force makes.";
    LOCAL_DISK_AVAIL = "garage_local_disk_avail" Gauge ["volume"] "Bytes that are free on the file systems of the data directories (data) and of the metadata directory (metadata), measured every minute.";
    LOCAL_DISK_TOTAL = "garage_local_disk_total" Gauge ["volume"] "The size of these file systems in bytes.";
    REQUESTS_IN_FLIGHT = "mews_requests_in_flight" Gauge [] "Requests of clients that are being served.";
    PEER_REQUESTS_IN_FLIGHT = "mews_peer_requests_in_flight" Gauge [] "Requests of other nodes that are being served.";
    PANICS = "mews_panics_total" Counter [] "Bugs that have ended one request or one background job.";

    CLUSTER_HEALTHY = "cluster_healthy" Gauge [] "Whether all storage nodes are connected.";
    CLUSTER_AVAILABLE = "cluster_available" Gauge [] "Whether every partition has the quorums that requests need.";
    CLUSTER_KNOWN_NODES = "cluster_known_nodes" Gauge [] "Nodes that this one has heard of, itself counted.";
    CLUSTER_CONNECTED_NODES = "cluster_connected_nodes" Gauge [] "Nodes that this one is connected to, itself counted.";
    CLUSTER_STORAGE_NODES = "cluster_storage_nodes" Gauge [] "Nodes that store data by the layouts in force.";
    CLUSTER_STORAGE_NODES_OK = "cluster_storage_nodes_ok" Gauge [] "Storage nodes that are connected.";
    CLUSTER_PARTITIONS = "cluster_partitions" Gauge [] "Partitions of the layout.";
    CLUSTER_PARTITIONS_QUORUM = "cluster_partitions_quorum" Gauge [] "Partitions that have the quorums which requests need.";
    CLUSTER_PARTITIONS_ALL_OK = "cluster_partitions_all_ok" Gauge [] "Partitions of which every node is connected.";
    CLUSTER_NODE_CONNECTED = "cluster_layout_node_connected" Gauge ["id", "role_zone", "role_capacity", "role_gateway"] "Whether a node of the layout is connected.";
    CLUSTER_NODE_DISCONNECTED_TIME = "cluster_layout_node_disconnected_time" Gauge ["id", "role_zone", "role_capacity", "role_gateway"] "Seconds since a node of the layout was last connected; none for one that never was.";
    PEER_ROUND_TRIP = "mews_peer_round_trip_seconds" Gauge ["id"] "The round trip to a connected node, smoothed. To this node itself: 0.";
    PEER_CLOCK_SKEW = "mews_peer_clock_skew_seconds" Gauge ["id"] "How far a connected node's clock is ahead of this one's.";
    LAYOUT_VERSION = "mews_layout_version" Gauge [] "The newest version of the layout that this node knows.";
    LAYOUT_VERSIONS_IN_FORCE = "mews_layout_versions_in_force" Gauge [] "Versions of the layout that requests go by: more than 1 while the layout changes.";
    LAYOUT_WAITING = "mews_layout_waiting_nodes" Gauge [] "Nodes that a change of the layout waits for.";
    RECOVERING = "mews_recovering" Gauge [] "Whether this node still fetches rows that its database has lost.";

    API_S3_REQUESTS = "api_s3_request_counter" Counter ["api_endpoint"] "Requests to the S3 API.";
    API_S3_ERRORS = "api_s3_error_counter" Counter ["api_endpoint", "status_code"] "Requests to the S3 API that were answered with an error.";
    API_S3_DURATION = "api_s3_request_duration" Histogram ["api_endpoint"] "Seconds from a request's head to the last byte of its answer.";
    S3_RECEIVED = "mews_s3_received_bytes_total" Counter [] "Bytes of bodies that clients of the S3 API have sent.";
    S3_SENT = "mews_s3_sent_bytes_total" Counter [] "Bytes of bodies that clients of the S3 API were sent.";
    WEB_REQUESTS = "web_request_counter" Counter ["method"] "Requests to websites.";
    WEB_ERRORS = "web_error_counter" Counter ["method", "status_code"] "Requests to websites that were answered with an error.";
    WEB_DURATION = "web_request_duration" Histogram ["method"] "Seconds from a request's head to the last byte of its answer.";
    WEB_SENT = "mews_web_sent_bytes_total" Counter [] "Bytes of bodies that visitors of websites were sent.";
    API_ADMIN_REQUESTS = "api_admin_request_counter" Counter ["api_endpoint"] "Requests to the Admin API.";
    API_ADMIN_ERRORS = "api_admin_error_counter" Counter ["api_endpoint", "status_code"] "Requests to the Admin API that were answered with an error.";
    API_ADMIN_DURATION = "api_admin_request_duration" Histogram ["api_endpoint"] "Seconds from a request's head to its answer.";

    BLOCK_COMPRESSION_LEVEL = "block_compression_level" Gauge [] "The level at which blocks are compressed; 0 if they are not.";
    BLOCK_RC_SIZE = "block_rc_size" Gauge [] "Blocks that this node counts references to.";
    BLOCK_BUFFER_FREE = "block_ram_buffer_free_kb" Gauge [] "KiB of the memory for uploads' blocks that nobody has taken; a client waits while there is none.";
    BLOCK_BYTES_READ = "block_bytes_read" Counter [] "Bytes of block files that were read, as they are stored.";
    BLOCK_READ_DURATION = "block_read_duration" Histogram [] "Seconds to read a block's file and verify it.";
    BLOCK_BYTES_WRITTEN = "block_bytes_written" Counter [] "Bytes of block files that were written, as they are stored.";
    BLOCK_WRITE_DURATION = "block_write_duration" Histogram [] "Seconds to make a group of blocks durable.";
    BLOCK_WRITE_GROUP = "mews_block_write_group_size" Histogram [] "Blocks that were made durable together.";
    BLOCK_DELETES = "block_delete_counter" Counter [] "Blocks whose files were unlinked.";
    BLOCK_CORRUPTIONS = "block_corruption_counter" Counter [] "Block files that were found damaged, and set aside.";
    BLOCK_RESYNC_QUEUE = "block_resync_queue_length" Gauge [] "Blocks that are to be looked at, and fetched if they are missing here.";
    BLOCK_RESYNC_ERRORED = "block_resync_errored_blocks" Gauge [] "Blocks that no node could give, and that are tried again.";
    BLOCK_RESYNCS = "block_resync_counter" Counter [] "Blocks that were looked at.";
    BLOCK_RESYNC_ERRORS = "block_resync_error_counter" Counter [] "Looks at a block after which it was still missing.";
    BLOCK_RESYNC_DURATION = "block_resync_duration" Histogram [] "Seconds to look at a block, and to fetch it if it was missing.";
    BLOCK_RESYNC_RECEIVED = "block_resync_recv_counter" Counter [] "Blocks that were fetched from other nodes.";

    BLOCK_RESYNC_SENT = "block_resync_send_counter" Counter ["to"] "Blocks that another node has fetched from here to keep them; to this node itself: 0.";

    CONNECTIONS_REFUSED = "mews_connections_refused_total" Counter ["api", "reason"] "Connections that were not served: because there were too many of them (limit), or because the handshake with another node did not succeed (handshake).";

    RPC_REQUESTS = "rpc_request_counter" Counter ["rpc_endpoint"] "Requests that this node has made of others.";
    RPC_TIMEOUTS = "rpc_timeout_counter" Counter ["rpc_endpoint"] "Of those, that were not answered in time.";
    RPC_UNREACHABLE = "rpc_netapp_error_counter" Counter ["rpc_endpoint"] "Of those, to a node that was not connected, or had too much to do.";
    RPC_FAILURES = "rpc_garage_error_counter" Counter ["rpc_endpoint"] "Of those, that were answered with an error.";
    RPC_DURATION = "rpc_duration" Histogram ["rpc_endpoint"] "Seconds that somebody waited for the answer of another node.";

    TABLE_SIZE = "table_size" Gauge ["table_name"] "Rows in this node's table.";
    TABLE_GETS = "table_get_request_counter" Counter ["table_name"] "Questions to this node's table.";
    TABLE_PUTS = "table_put_request_counter" Counter ["table_name"] "Rows that were given to this node's table to merge.";
    TABLE_UPDATES = "table_internal_update_counter" Counter ["table_name"] "Rows of this node's table that were written.";
    TABLE_DELETES = "table_internal_delete_counter" Counter ["table_name"] "Rows of this node's table that were removed.";
    TABLE_RECEIVED = "table_sync_items_received" Counter ["table_name"] "Rows that were fetched from other replicas, because they differed here.";
    TABLE_SENT = "table_sync_items_sent" Counter ["table_name"] "Rows that other replicas have fetched from here, because they differed there.";
    QUEUE_LENGTH = "mews_queue_length" Gauge [] "What is to be done later: data to be dropped, blocks to be unlinked, and the like.";

    STORAGE_DURATION = "mews_storage_duration_seconds" Histogram ["operation"] "How long a request or job waited for this node's database or disk, with its turn in the queue.";
    COMMIT_DURATION = "mews_commit_duration_seconds" Histogram [] "How long the database took for one durable transaction.";
    COMMIT_BATCHES = "mews_commit_batches" Histogram [] "Batches that shared a transaction.";

    JOB_RUNNING = "mews_job_running" Gauge ["worker"] "Whether a background job runs now.";
    JOB_FAILURES = "mews_job_failures" Gauge ["worker"] "How often in a row a background job has failed or left something to be tried again.";
    JOB_ERRORS = "mews_job_errors_total" Counter ["worker"] "How often a background job has failed or left something to be tried again.";

    PACE_FACTOR = "mews_pace_rest_factor" Gauge [] "How many times as long as a step of background work has taken it rests after it, at the pace normal: 1, and more while requests wait longer than usual.";
    PACE_REST = "mews_pace_rest_seconds" Gauge [] "How long the background job that asked last rests.";
    PACE_RECENT = "mews_pace_wait_recent_seconds" Gauge ["operation"] "How long a request has waited lately for the database, the disk, or another node (Remote), smoothed; 0 before the first.";
    PACE_USUAL = "mews_pace_wait_usual_seconds" Gauge ["operation"] "How long that usually takes here. Background work rests longer while the recent wait is more than twice that.";
}

/// The families as a table in Markdown: the reference that `mews metrics list` prints.
pub fn reference() -> String {
    let mut text = "| name | kind | labels | what it says |\n|---|---|---|---|\n".to_owned();
    for Family { name, kind, labels, help } in ALL {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels) = (kind.name(), labels.join(", "));
        writeln!(text, "| `{name}` | {kind} | {labels} | {help} |").expect("text grows");
    }
    text
}

/// The family that a series belongs to, be it one of a histogram's.
pub fn of_series(series: &str) -> Option<&'static Family> {
    ALL.iter().copied().find(|family| {
        let rest = series.strip_prefix(family.name);
        rest.is_some_and(|rest| match family.kind {
            Kind::Counter | Kind::Gauge => rest.is_empty(),
            Kind::Histogram => matches!(rest, "_bucket" | "_sum" | "_count"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_ours_follow_the_rules() {
        let mut names: Vec<_> = ALL.iter().map(|family| family.name).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a < b), "a name stands twice");
        for Family { name, kind, .. } in
            ALL.iter().filter(|family| family.name.starts_with("mews_"))
        {
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        }
    }

    #[test]
    fn the_reference_is_what_there_is() {
        let written = include_str!("../../METRICS.md");
        let (_, table) = written.split_once("\n\n| ").expect("a table after the introduction");
        assert_eq!(format!("| {table}"), reference(), "core/METRICS.md is out of date: write this");
    }

    /// Garage's, of its reference. Dashboards made for it ask for these.
    const GARAGES: &str = "garage_build_info garage_replication_factor garage_local_disk_avail garage_local_disk_total
        cluster_healthy cluster_available cluster_known_nodes cluster_connected_nodes cluster_storage_nodes
        cluster_storage_nodes_ok cluster_partitions cluster_partitions_quorum cluster_partitions_all_ok
        cluster_layout_node_connected cluster_layout_node_disconnected_time
        api_s3_request_counter api_s3_error_counter api_s3_request_duration
        api_k2v_request_counter api_k2v_error_counter api_k2v_request_duration
        api_admin_request_counter api_admin_error_counter api_admin_request_duration
        web_request_counter web_error_counter web_request_duration
        block_compression_level block_rc_size block_resync_queue_length block_resync_errored_blocks
        block_ram_buffer_free_kb block_resync_counter block_resync_error_counter block_resync_duration
        block_resync_send_counter block_resync_recv_counter block_bytes_read block_read_duration
        block_read_semaphore_timeouts block_bytes_written block_write_duration block_delete_counter
        block_corruption_counter rpc_request_counter rpc_timeout_counter rpc_netapp_error_counter
        rpc_garage_error_counter rpc_duration table_size table_merkle_tree_size
        table_merkle_updater_todo_queue_length table_insert_queue_length table_gc_todo_queue_length
        table_get_request_counter table_get_request_duration table_put_request_counter
        table_put_request_duration table_internal_update_counter table_internal_delete_counter
        table_sync_items_sent table_sync_items_received";

    #[test]
    fn each_of_garage_s_is_here_or_the_page_says_why_not() {
        let (page, _) = include_str!("../../METRICS.md").split_once("\n\n| ").expect("a table");
        for name in GARAGES.split_whitespace() {
            let here = ALL.iter().any(|family| family.name == name);
            assert!(here || page.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn a_series_is_found_by_its_name() {
        assert_eq!(of_series("api_s3_request_duration_bucket"), Some(&API_S3_DURATION));
        assert_eq!(of_series("api_s3_request_counter"), Some(&API_S3_REQUESTS));
        for none in ["api_s3_request_duration", "api_s3_request_counter_sum", "up"] {
            assert_eq!(of_series(none), None, "{none}");
        }
    }
}
