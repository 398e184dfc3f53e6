//! The row by which nodes agree on who has a bucket's name: one acceptor's state of CASPaxos (Rystsov, "CASPaxos: Replicated
//! State Machines without logs", 2018). Local to its node and never synced: another node's promise binds nobody here.

use serde::{Deserialize, Serialize};

use super::access::AliasRow;
use crate::{id::NodeId, store::Table};

/// A number that two proposers never share; the greater one supersedes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Ballot {
    /// Greater than any that its proposer had seen.
    #[serde(rename = "c")]
    pub counter: u64,
    /// The proposer.
    #[serde(rename = "n")]
    pub node: NodeId,
    /// Tells two proposals of one node apart that run side by side.
    #[serde(rename = "r")]
    pub random: u64,
}

/// The value of a row in [`Table::Ballot`], keyed by the bucket's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BallotRow {
    /// No smaller ballot is accepted any more.
    #[serde(rename = "p")]
    pub promised: Ballot,
    /// The last proposal accepted.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
}

/// A proposal that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Under this ballot.
    #[serde(rename = "b")]
    pub ballot: Ballot,
    /// What the name is to stand for.
    #[serde(rename = "v")]
    pub alias: AliasRow,
    /// The rows that go with it, so that whoever finds the proposal half done can finish it.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<FullCopyRow>,
}

/// A row of a full-copy table, encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullCopyRow {
    /// Index of the table in [`Table::ALL`].
    #[serde(rename = "t")]
    pub table: u8,
    /// The row's key.
    #[serde(rename = "k", with = "serde_bytes")]
    pub key: Vec<u8>,
    /// The row.
    #[serde(rename = "v", with = "serde_bytes")]
    pub value: Vec<u8>,
}

impl FullCopyRow {
    /// The row as it is written down.
    pub fn new(table: Table, key: Vec<u8>, value: Vec<u8>) -> Self {
        Self { table: super::queue::table_number(table), key, value }
    }

    /// Its table; `None` if this release knows none of that number.
    pub fn table(&self) -> Option<Table> {
        Table::ALL.get(usize::from(self.table)).copied()
    }
}
