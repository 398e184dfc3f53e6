//! What a node is started with.

use std::{fmt, str::FromStr};

use super::{gossip::Space, layouts, peers::is_address};
use crate::{
    id::{ClusterId, NodeId},
    seed::Seed,
    view::Config,
};

/// What a [`Node`](super::Node) is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// This node.
    pub id: NodeId,
    /// Tells this start of the process from earlier ones.
    pub boot: u64,
    /// What the operator chose.
    pub config: Config,
    /// Fresh at every start: version ids come from it.
    pub seed: Seed,
    /// The machine's name, for people.
    pub hostname: String,
    /// The port that peers may connect to, if any.
    pub listen: Option<u16>,
    /// Where peers reach this node, `HOST:PORT`, if the operator has said so. Otherwise they try the address that they see.
    pub public: Option<String>,
    /// The data directories, all together.
    pub disk: Option<Space>,
    /// Whom to ask for the cluster.
    pub bootstrap: Vec<Contact>,
    /// What an earlier run saved.
    pub saved: Saved,
}

impl Setup {
    /// A node that is alone in its cluster and stays so: it listens to nobody.
    pub fn alone(id: NodeId, boot: u64, config: Config, seed: Seed) -> Self {
        let layout = Some(layouts::found(id, layouts::default_role(1), ClusterId::default()));
        Self {
            id,
            boot,
            config,
            seed,
            hostname: String::new(),
            listen: None,
            public: None,
            disk: None,
            bootstrap: Vec::new(),
            saved: Saved { layout, peers: None, synced: 1, lost: false },
        }
    }
}

/// The small files that a node keeps beside its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateFile {
    /// The layouts, and how far each node has got with them.
    Layout,
    /// The peers, and where they were last reached.
    Peers,
}

/// What the [`StateFile`]s hold at a start; `None` for a file that is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// [`StateFile::Layout`].
    pub layout: Option<Vec<u8>>,
    /// [`StateFile::Peers`].
    pub peers: Option<Vec<u8>>,
    /// Up to which version of the layout the database says that it has all that the node is to have: what
    /// [`crate::store::read::synced`] finds there; 1 where the cluster has only just been founded.
    pub synced: u64,
    /// The database is known to have lost rows: what [`crate::store::read::lost`] finds there.
    pub lost: bool,
}

/// Why a node cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// A state file that the node cannot do without does not decode. The text says how.
    Damaged(StateFile, String),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(_, reason) => write!(f, "{reason}"),
        }
    }
}

impl std::error::Error for SetupError {}

/// Where a node is, and perhaps which: `ID@HOST:PORT` or `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact {
    /// The node that must be there, if it is known.
    pub id: Option<NodeId>,
    /// `HOST:PORT`.
    pub address: String,
}

impl FromStr for Contact {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, address) = match text.split_once('@') {
            None => (None, text),
            Some((id, address)) => {
                let id = NodeId::from_hex(id);
                (Some(id.ok_or("before the @ stands a node's id: 64 hexadecimal digits")?), address)
            }
        };
        if !address.contains(':') {
            return Err("it must end with a port: HOST:PORT".to_owned());
        }
        if !is_address(address) {
            return Err(format!(
                "`{address}` is not HOST:PORT (a name in other letters than a to z is written as it is in the DNS: xn--...)"
            ));
        }
        Ok(Self { id, address: address.to_owned() })
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{id}@{}", self.address),
            None => f.write_str(&self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_that_peers_can_be_told() {
        let id = NodeId([0xab; 32]);
        for good in
            ["host:3901", "10.0.0.1:1", "[2001:db8::1]:3901", "xn--huschen-5wa.example:3901"]
        {
            let contact = Contact { id: None, address: good.to_owned() };
            assert_eq!(good.parse(), Ok(contact.clone()));
            let named = format!("{id}@{good}");
            assert_eq!(named.parse(), Ok(Contact { id: Some(id), ..contact }));
        }
        let long = format!("{}:1", "a".repeat(300));
        for bad in
            ["host", "host:0", "host:65536", ":1", " h:1", "h :1", "häuschen:1", "a@b:1", &long]
        {
            assert!(bad.parse::<Contact>().is_err(), "{bad}");
            assert!(format!("{id}@{bad}").parse::<Contact>().is_err(), "{id}@{bad}");
        }
    }
}
