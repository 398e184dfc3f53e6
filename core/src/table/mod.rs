//! The data model: row schemas with their merges, and how rows and their keys are encoded.
//!
//! Every row is a CRDT: merging is commutative, associative and idempotent, so replicas that have seen the same rows agree,
//! in whatever order they came. A row's bytes are one version byte and then CBOR; replicas carry stored bytes verbatim and
//! re-encode only where a merge changed something.

pub mod access;
pub mod ballot;
pub mod block;
pub mod key;
pub mod merge;
pub mod object;
pub mod queue;
pub mod token;
pub mod upload;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::store::{StoreError, Table};

/// The first byte of every encoded row. A later format takes the next number; old ones decode for ever.
pub const ROW_VERSION: u8 = 1;

/// A row as it is stored: version byte, then CBOR.
pub fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(ROW_VERSION);
    ciborium::into_writer(row, &mut bytes).expect("rows are plain data and memory does not fail");
    bytes
}

/// The row in these bytes. `table` is named in the error.
pub fn decode<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |reason: String| StoreError::Damaged { table, reason };
    let Some((&version, mut body)) = bytes.split_first() else {
        return Err(damaged("empty value".to_owned()));
    };
    if version != ROW_VERSION {
        return Err(damaged(format!(
            "row format {version}, and this program knows up to {ROW_VERSION}: was the database used by a newer Mews?"
        )));
    }
    let row = ciborium::from_reader(&mut body).map_err(|error| damaged(error.to_string()))?;
    if body.is_empty() {
        Ok(row)
    } else {
        Err(damaged("bytes after the end of the row".to_owned()))
    }
}

/// The value of a row in [`Table::Counter`], keyed by bucket id. Local; kept by the hooks of `Object` and `Upload`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterRow {
    /// Live objects.
    #[serde(rename = "o")]
    pub objects: u64,
    /// Their bytes.
    #[serde(rename = "b")]
    pub bytes: u64,
    /// Open multipart uploads.
    #[serde(rename = "u")]
    pub uploads: u64,
}
