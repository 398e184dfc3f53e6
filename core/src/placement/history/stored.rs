//! Histories as bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::History;
use crate::{
    id::ClusterId,
    placement::{layout::Layout, staging::Staged, trackers::Trackers},
};

/// The first byte of an encoded history.
const FORMAT: u8 = 1;
impl History {
    /// What two nodes compare to see whether they know the same.
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&self.encode()).as_bytes()
    }

    /// The history as bytes: a format byte, then CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            cluster: self.cluster,
            layouts: self.layouts.values().map(|layout| layout.as_ref().clone()).collect(),
            floor: self.floor,
            forgotten: self.forgotten,
            conflicts: self.conflicts.clone(),
            staged: self.staged.clone(),
            trackers: self.trackers.clone(),
        };
        let mut bytes = vec![FORMAT];
        ciborium::into_writer(&stored, &mut bytes).expect("plain data, and memory does not fail");
        bytes
    }

    /// The history in these bytes, checked: a peer or a disk may give anything.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Some((&FORMAT, mut body)) = bytes.split_first() else {
            let format = bytes.first().map_or("none".to_owned(), u8::to_string);
            return Err(format!(
                "layout history: format {format}, and this program knows {FORMAT}"
            ));
        };
        let stored: Stored =
            ciborium::from_reader(&mut body).map_err(|error| format!("layout history: {error}"))?;
        if !body.is_empty() {
            return Err("layout history: bytes after its end".to_owned());
        }
        stored.checked().map_err(|error| format!("layout history: {error}"))
    }
}

/// How a history is encoded.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "c")]
    cluster: Option<ClusterId>,
    #[serde(rename = "l")]
    layouts: Vec<Layout>,
    #[serde(rename = "f")]
    floor: u64,
    #[serde(rename = "g")]
    forgotten: u64,
    #[serde(rename = "x", default)]
    conflicts: BTreeSet<u64>,
    #[serde(rename = "s")]
    staged: Staged,
    #[serde(rename = "t")]
    trackers: Trackers,
}

impl Stored {
    fn checked(self) -> Result<History, String> {
        let mut layouts = BTreeMap::new();
        for layout in self.layouts {
            let version = layout.version;
            layout.check().map_err(|error| format!("version {version}: {error}"))?;
            layouts.insert(version, Arc::new(layout));
        }
        let last = layouts.last_key_value().map_or(0, |(version, _)| *version);
        if self.floor > last || (last > 0 && !layouts.contains_key(&self.floor)) {
            return Err(format!("version {} is said to be in force and is not there", self.floor));
        }
        if layouts.keys().next().is_some_and(|first| *first < self.forgotten.max(1))
            || layouts.is_empty() != self.cluster.is_none()
        {
            return Err("it contradicts itself".to_owned());
        }
        Ok(History {
            cluster: self.cluster,
            layouts,
            floor: self.floor,
            forgotten: self.forgotten,
            conflicts: self.conflicts,
            staged: self.staged,
            trackers: self.trackers,
        })
    }
}
