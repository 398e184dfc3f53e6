//! Histories as bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::History;
use crate::{
    id::{ClusterId, Hash},
    placement::{
        layout::{Layout, NODES_MAX},
        staging::Staged,
        trackers::Trackers,
    },
};

/// The first byte of an encoded history.
const FORMAT: u8 = 1;

/// The greatest version that is believed: one a second for millions of years, and far from where counting on would overflow.
const VERSION_MAX: u64 = 1 << 48;

/// Layouts that are believed to be in force or remembered at once. Those that are kept are a few less; see
/// [`IN_FORCE_MAX`](super::IN_FORCE_MAX) and [`RETIRED_MAX`](super::RETIRED_MAX).
const LAYOUTS_MAX: usize = 32;

/// Nodes whose claims are believed: claims of those that have left stay until the versions are forgotten.
const TRACKERS_MAX: usize = 4 * NODES_MAX;
impl History {
    /// The history as bytes: a format byte, then CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let layouts = self.layouts.values().map(|layout| layout.as_ref().clone()).collect();
        self.encode_with(layouts, None)
    }

    /// The hash of all layouts in here.
    pub fn layouts_hash(&self) -> Hash {
        let mut bytes = Vec::new();
        let layouts: Vec<&Layout> = self.layouts.values().map(AsRef::as_ref).collect();
        ciborium::into_writer(&layouts, &mut bytes).expect("plain data, and memory does not fail");
        Hash::of(&bytes)
    }

    /// The history as bytes, but for its layouts, of which `hash` is the [hash](Self::layouts_hash): for one who has the same ones.
    /// They are by far the largest part, and change least.
    pub fn encode_upon(&self, hash: Hash) -> Vec<u8> {
        self.encode_with(Vec::new(), Some(hash))
    }

    fn encode_with(&self, layouts: Vec<Layout>, same: Option<Hash>) -> Vec<u8> {
        let stored = Stored {
            cluster: self.cluster,
            layouts,
            same,
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
        let history = Self::decode_upon(bytes, &[])?;
        history.ok_or_else(|| "layout history: its layouts are not in it".to_owned())
    }

    /// The same for a history that may be [without its layouts](Self::encode_upon): those are taken from one of `known`. `None` if
    /// none of them has the same ones.
    pub fn decode_upon(bytes: &[u8], known: &[&Self]) -> Result<Option<Self>, String> {
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
        let layouts = match stored.same {
            None => None,
            Some(hash) => match known.iter().find(|known| known.layouts_hash() == hash) {
                Some(known) => Some(known.layouts.clone()),
                None => return Ok(None),
            },
        };
        let checked = stored.checked(layouts);
        checked.map(Some).map_err(|error| format!("layout history: {error}"))
    }
}

impl History {
    /// Whether this holds together, as far as the rest of the program relies on it. Layouts and what is staged were checked each
    /// for itself. To be called with what a merge has made, too: what one member is confused about must not stop all others.
    pub fn check(&self) -> Result<(), String> {
        let first = self.layouts.first_key_value().map_or(0, |(version, _)| *version);
        let last = self.version();
        if last.max(self.forgotten) > VERSION_MAX {
            let version = last.max(self.forgotten);
            return Err(format!("version {version}: no cluster gets so far"));
        }
        if self.layouts.len() > LAYOUTS_MAX {
            return Err(format!("{} versions at once", self.layouts.len()));
        }
        let expected = self.forgotten..self.forgotten + self.layouts.len() as u64;
        if let Some(missing) = expected.into_iter().find(|v| !self.layouts.contains_key(v)) {
            return Err(format!("version {missing} is missing"));
        }
        if self.floor < first
            || self.floor > last
            || self.layouts.is_empty() != self.cluster.is_none()
        {
            return Err("it contradicts itself".to_owned());
        }
        let mut bits = self.layouts.values().map(|layout| layout.parameters.bits);
        if bits.next().is_some_and(|first| bits.any(|other| other != first)) {
            return Err("its versions differ in the number of partitions".to_owned());
        }
        let void = self.conflicts.iter().find(|version| !(first..=last).contains(*version));
        if let Some(version) = void.copied().or_else(|| self.trackers.above(last)) {
            return Err(format!("it tells of version {version}, and has {first} to {last}"));
        }
        if self.trackers.len() > TRACKERS_MAX {
            return Err(format!("{} nodes have claims", self.trackers.len()));
        }
        Ok(())
    }
}

/// How a history is encoded.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "c")]
    cluster: Option<ClusterId>,
    #[serde(rename = "l")]
    layouts: Vec<Layout>,
    /// The hash of the layouts, if they are left out.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    same: Option<Hash>,
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
    /// The history, checked. `known` are its layouts where they were left out.
    fn checked(self, known: Option<BTreeMap<u64, Arc<Layout>>>) -> Result<History, String> {
        let mut layouts = known.unwrap_or_default();
        for layout in self.layouts {
            let version = layout.version;
            layout.check().map_err(|error| format!("version {version}: {error}"))?;
            if layouts.insert(version, Arc::new(layout)).is_some() {
                return Err(format!("version {version} is there twice"));
            }
        }
        self.staged.check()?;
        let history = History {
            cluster: self.cluster,
            layouts,
            floor: self.floor,
            forgotten: self.forgotten,
            conflicts: self.conflicts,
            staged: self.staged,
            trackers: self.trackers,
        };
        history.check()?;
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::NodeId,
        placement::{
            layout::{Parameters, Role},
            trackers::Step,
        },
        time::Timestamp,
    };

    const NODE: NodeId = NodeId([1; 32]);

    fn role() -> Role {
        Role { zone: "z".to_owned(), capacity: Some(1 << 30), tags: Vec::new() }
    }

    fn layout(version: u64) -> Layout {
        Layout { version, ..Layout::single(NODE, role()) }
    }

    /// Of these versions, all in force.
    fn history(versions: &[u64]) -> History {
        let mut history = History::new(ClusterId([9; 16]), layout(versions[0]));
        for version in versions {
            history.layouts.insert(*version, Arc::new(layout(*version)));
        }
        history
    }

    fn refused(history: &History) -> String {
        History::decode(&history.encode()).expect_err("it must not be believed")
    }

    #[test]
    fn versions_without_a_gap_and_with_room_above_are_believed() {
        let good = history(&[3, 4, 5]);
        assert_eq!(History::decode(&good.encode()), Ok(good));
        assert_eq!(History::decode(&History::default().encode()), Ok(History::default()));
        assert!(refused(&history(&[1, 4, 6])).contains("version 2 is missing"));
        assert!(refused(&history(&[u64::MAX])).contains("no cluster gets"));
        assert!(refused(&history(&(1..40).collect::<Vec<_>>())).contains("39 versions"));
        let mut gap = history(&[4]);
        gap.forgotten = 2;
        assert!(refused(&gap).contains("version 2 is missing"));
        let mut bits = history(&[1, 2]);
        let mut other = layout(2);
        (other.parameters.bits, other.assignment) = (9, vec![0; 512]);
        bits.layouts.insert(2, Arc::new(other));
        assert!(refused(&bits).contains("partitions"));
        let mut twice = Vec::from([FORMAT]);
        let stored = Stored {
            cluster: Some(ClusterId([9; 16])),
            layouts: vec![layout(1), layout(1)],
            same: None,
            floor: 1,
            forgotten: 1,
            conflicts: BTreeSet::new(),
            staged: Staged::default(),
            trackers: Trackers::default(),
        };
        ciborium::into_writer(&stored, &mut twice).expect("it encodes");
        assert!(History::decode(&twice).is_err_and(|error| error.contains("twice")));
    }

    #[test]
    fn layouts_that_both_have_are_left_out() {
        let mut ours = history(&[1, 2, 3]);
        let old = history(&[1, 2]);
        let bytes = ours.encode_upon(ours.layouts_hash());
        ours.trackers.raise(Step::Ack, NODE, 2);
        let claims = ours.encode_upon(ours.layouts_hash());
        assert!(bytes.len() < ours.encode().len() / 4, "{} bytes", bytes.len());
        assert_eq!(History::decode_upon(&bytes, &[&old, &ours]), Ok(Some(history(&[1, 2, 3]))));
        assert_eq!(History::decode_upon(&claims, &[&ours]), Ok(Some(ours.clone())));
        assert_eq!(History::decode_upon(&bytes, &[&old]), Ok(None), "it has others");
        assert!(History::decode(&bytes).is_err(), "nothing is saved so");
    }

    #[test]
    fn claims_and_conflicts_of_versions_that_there_are_not_are_refused() {
        let mut claims = history(&[1]);
        claims.trackers.raise(Step::Read, NODE, 7);
        assert!(refused(&claims).contains("version 7"));
        let mut conflict = history(&[1]);
        conflict.conflicts.insert(9);
        assert!(refused(&conflict).contains("version 9"));
    }

    #[test]
    fn what_could_not_be_staged_is_refused() {
        let mut bits = history(&[1]);
        let parameters = Parameters { bits: 200, ..Parameters::default() };
        bits.staged.stage_parameters(parameters, Timestamp(1));
        assert!(refused(&bits).contains("2^200"));
        let mut zone = history(&[1]);
        zone.staged.stage(NODE, Some(Role { zone: String::new(), ..role() }), Timestamp(1));
        assert!(refused(&zone).contains("zone"));
        let mut late = history(&[1]);
        late.staged.clear(Timestamp(u64::MAX >> 16));
        assert!(refused(&late).contains("clock"));
    }

    #[test]
    fn another_number_of_partitions_staged_elsewhere_before_the_first_layout_is_not_applied() {
        let mut history = history(&[1]);
        let parameters = Parameters { replication: 1, bits: 12, ..Parameters::default() };
        history.staged.stage_parameters(parameters, Timestamp(1));
        assert_eq!(history.proposed().1, Parameters { bits: 8, ..parameters });
    }
}
