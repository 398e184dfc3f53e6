//! The layouts that the cluster goes by, as this node knows them.

use crate::{
    id::{ClusterId, NodeId},
    placement::{
        history::History,
        layout::{CAPACITY_MIN, Layout, Role},
        trackers::Step,
    },
    view::{Consistency, Ring},
};

/// The zone of a node that was never given one.
const DEFAULT_ZONE: &str = "default";

/// The role of a node that founds a cluster of its own and gives it `capacity` bytes.
pub fn default_role(capacity: u64) -> Role {
    Role {
        zone: DEFAULT_ZONE.to_owned(),
        capacity: Some(capacity.max(CAPACITY_MIN)),
        tags: Vec::new(),
    }
}

/// The saved layout of a new cluster, which `node` is alone in.
pub fn found(node: NodeId, role: Role, cluster: ClusterId) -> Vec<u8> {
    let mut history = History::new(cluster, Layout::single(node, role));
    // Nothing was ever written elsewhere, so there is nothing to wait for.
    for step in [Step::Ack, Step::Sync, Step::Read] {
        history.reach(step, node, 1);
    }
    history.encode()
}

/// What is known of the cluster's layouts.
pub(super) struct Layouts {
    history: History,
}

impl Layouts {
    /// From what was saved.
    pub(super) fn load(saved: Option<&[u8]>) -> Result<Self, String> {
        let history = saved.map_or(Ok(History::default()), History::decode)?;
        Ok(Self { history })
    }

    /// The ring as of now.
    pub(super) fn ring(&self, node: NodeId, mode: Consistency) -> Ring {
        let near = |other: NodeId| (u64::from(other != node), other);
        let active: Vec<&Layout> = self.history.active().map(|layout| &**layout).collect();
        if active.is_empty() {
            return Ring::empty();
        }
        let retired: Vec<&Layout> = self.history.retired().map(|layout| &**layout).collect();
        Ring::new(&active, self.history.read_version(), &retired, mode, &near)
    }
}
