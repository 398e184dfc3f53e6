//! What a node counts about itself, for Prometheus: `GET /metrics` of the Admin API.
//!
//! There is one [`Metrics`] for each node. Its parts are atomic numbers that everybody adds to, wherever something happens: tasks
//! find it in their [`View`](crate::view::View), the database and the block files have it from their start. Only the page of
//! metrics reads them.
//!
//! **Architecture Invariant:** nothing is decided by a metric. So they may be shared where state may not, and a run of the
//! simulator does not depend on them.
//!
//! What is known anyway is not counted here: the state of the cluster and of jobs, and the sizes of tables, are asked for when the
//! page is. Labels are names that the program itself has (operations, statuses, tables) or nodes of the cluster, never names of
//! buckets, keys or clients: the memory of all metrics is bounded by a few hundred KiB.
//!
//! These are plain atomics and not a crate of metrics, because those that there are give each counter a name that ends with
//! `_total`, which Garage's do not, and keep labels in a hash table with a seed of its own behind a lock.

pub mod family;
pub mod page;
pub mod value;

use std::time::Duration;

use crate::{
    effect::PeerError,
    id::NodeId,
    node,
    store::{Batch, Op, Read, Table},
};
use value::{Counter, Gauge, Histogram, Labelled, Seconds, Sizes};

/// All that a node counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// The S3 API.
    pub s3: Api,
    /// Websites, by method.
    pub web: Api,
    /// The Admin API.
    pub admin: Api,
    /// Block files.
    pub blocks: Blocks,
    /// Blocks that are fetched from other nodes.
    pub fetches: Fetches,
    /// The database's tables, by name.
    pub tables: Labelled<&'static str, Rows, 32>,
    /// The database's transactions.
    pub commits: Commits,
    /// How long tasks wait for the own database and disk, by kind of effect.
    pub storage: Labelled<&'static str, Histogram<Seconds>, 16>,
    /// What is asked of other nodes, by kind of effect.
    pub rpc: Labelled<&'static str, Calls, 16>,
    /// Blocks that other nodes have fetched for themselves from here, by node.
    pub sent: Labelled<NodeId, Counter, 64>,
    /// Connections that were not served.
    pub refused: Refused,
    /// Panics that were caught.
    pub panics: Counter,
    /// The room of the data directories.
    pub data: Room,
    /// The room of the metadata directory.
    pub metadata: Room,
}

/// The requests to one API.
#[derive(Debug, Default)]
pub struct Api {
    /// By operation. Among them are those of S3 that are only refused.
    pub operations: Labelled<&'static str, Requests, 128>,
    /// Bytes of requests' bodies.
    pub received: Counter,
    /// Bytes of answers' bodies.
    pub sent: Counter,
}

/// The requests for one operation.
#[derive(Debug, Default)]
pub struct Requests {
    /// How many have been answered.
    pub count: Counter,
    /// Those that were answered with an error, by status.
    pub errors: Labelled<u16, Counter, 24>,
    /// From the head to the end of the answer.
    pub duration: Histogram<Seconds>,
}

impl Api {
    /// A request has been answered.
    pub fn answered(&self, operation: &'static str, status: u16, took: Duration) {
        let requests = self.operations.of(operation);
        requests.count.increment();
        requests.duration.took(took);
        if status >= 400 {
            requests.errors.of(status).increment();
        }
    }
}

/// Block files.
#[derive(Debug, Default)]
pub struct Blocks {
    /// Bytes read, as stored.
    pub read: Counter,
    /// Bytes written, as stored.
    pub written: Counter,
    /// How long a read has taken.
    pub reading: Histogram<Seconds>,
    /// How long a group of blocks has taken to become durable.
    pub writing: Histogram<Seconds>,
    /// Blocks to a group.
    pub group: Histogram<Sizes>,
    /// Blocks that were unlinked.
    pub deleted: Counter,
    /// Files that were set aside.
    pub corrupted: Counter,
    /// Bytes that there are for buffers of uploads.
    pub buffers: Gauge,
    /// Bytes of these that are taken.
    pub buffered: Gauge,
}

/// Blocks that are fetched from other nodes.
#[derive(Debug, Default)]
pub struct Fetches {
    /// Blocks that were looked at.
    pub looked_at: Counter,
    /// Of those, that could not be had.
    pub failed: Counter,
    /// Of those, that were fetched.
    pub fetched: Counter,
    /// How long a look has taken.
    pub duration: Histogram<Seconds>,
}

/// A table.
#[derive(Debug, Default)]
pub struct Rows {
    /// Questions.
    pub gets: Counter,
    /// Rows to be merged.
    pub puts: Counter,
    /// Rows written.
    pub updates: Counter,
    /// Rows removed.
    pub deletes: Counter,
    /// Rows fetched from other replicas.
    pub received: Counter,
    /// Rows that other replicas have fetched.
    pub sent: Counter,
}

/// The database's transactions.
#[derive(Debug, Default)]
pub struct Commits {
    /// How long one has taken.
    pub duration: Histogram<Seconds>,
    /// Batches to a transaction.
    pub batches: Histogram<Sizes>,
}

/// What is asked of other nodes.
#[derive(Debug, Default)]
pub struct Calls {
    /// All.
    pub count: Counter,
    /// Not answered in time.
    pub timeouts: Counter,
    /// To a node that could not be asked.
    pub unreachable: Counter,
    /// Answered with an error.
    pub failures: Counter,
    /// Until the answer, also one of failure.
    pub duration: Histogram<Seconds>,
}

impl Calls {
    /// An answer has come, or none will.
    pub fn answered(&self, took: Duration, failure: Option<&PeerError>) {
        self.duration.took(took);
        match failure {
            None => {}
            Some(PeerError::TimedOut) => self.timeouts.increment(),
            Some(PeerError::Unreachable | PeerError::Busy) => self.unreachable.increment(),
            Some(
                PeerError::Outdated
                | PeerError::Syncing
                | PeerError::Malformed
                | PeerError::Store(_)
                | PeerError::Missing
                | PeerError::Corrupt
                | PeerError::Full
                | PeerError::Disk(_),
            ) => self.failures.increment(),
        }
    }
}

/// Connections that were closed before anything was asked by them.
#[derive(Debug, Default)]
pub struct Refused {
    /// To the S3 API: there were too many.
    pub s3: Counter,
    /// To websites.
    pub web: Counter,
    /// To the Admin API.
    pub admin: Counter,
    /// Of other nodes.
    pub rpc: Counter,
    /// Of whoever does not belong here, or spoke no language of ours.
    pub handshakes: Counter,
}

impl Refused {
    /// Those of an API of which there were too many.
    pub fn of(&self, api: node::Api) -> &Counter {
        match api {
            node::Api::S3 => &self.s3,
            node::Api::Web => &self.web,
            node::Api::Admin => &self.admin,
        }
    }
}

/// The room of some file systems.
#[derive(Debug, Default)]
pub struct Room {
    /// Bytes that are free.
    pub available: Gauge,
    /// Bytes in all; 0 before the first measurement.
    pub total: Gauge,
}

impl Room {
    /// It was measured.
    pub fn measured(&self, available: u64, total: u64) {
        self.available.set(available);
        self.total.set(total);
    }
}

impl Metrics {
    /// A table's.
    pub fn table(&self, table: Table) -> &Rows {
        self.tables.of(table.name())
    }

    /// The own database was asked.
    pub fn read(&self, read: &Read) {
        match read {
            Read::Get(keys) => {
                keys.iter().for_each(|(table, _)| self.table(*table).gets.increment())
            }
            Read::Object { .. } => self.table(Table::Object).gets.increment(),
            Read::Scan { table, .. } => self.table(*table).gets.increment(),
            Read::List(list) => self.table(list.table).gets.increment(),
            // About all tables, or all of a table: not what a request asks.
            Read::Count(_) | Read::Compare(_) | Read::Recount(_) => {}
        }
    }

    /// These batches were applied in one transaction, durably.
    pub fn committed(&self, batches: &[Batch], took: Duration) {
        self.commits.duration.took(took);
        self.commits.batches.record(batches.len() as u64);
        for op in batches.iter().flat_map(|batch| &batch.ops) {
            match op {
                Op::Merge { table, .. } => self.table(*table).puts.increment(),
                Op::Collect { .. }
                | Op::Remove { .. }
                | Op::Forget { .. }
                | Op::Correct(_)
                | Op::Enqueue { .. }
                | Op::Reap { .. } => {}
            }
        }
    }
}
