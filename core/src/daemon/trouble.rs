//! Why a daemon cannot start, and what to do about it.

use std::fmt;

use crate::{daemon::plan, node::StateFile};

/// A start that failed. [`fmt::Display`] says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The directory holds something that is not a store.
    NotMews {
        /// The directory.
        dir: String,
        /// A name found in it.
        holds: String,
    },
    /// Another daemon has the directory.
    Locked {
        /// The directory.
        dir: String,
        /// Its process id, if its lock file says so.
        by: Option<u32>,
    },
    /// The operating system refused access.
    Denied {
        /// To what.
        path: String,
    },
    /// A file could not be used.
    File {
        /// Which.
        path: String,
        /// The operating system's words.
        reason: String,
    },
    /// The disk is full.
    NoSpace {
        /// Where it was noticed.
        path: String,
    },
    /// Something else listens there.
    AddressInUse {
        /// The option that names the address.
        option: &'static str,
        /// The address.
        address: String,
    },
    /// The address cannot be listened at.
    Address {
        /// The option that names the address.
        option: &'static str,
        /// The address.
        address: String,
        /// The operating system's words.
        reason: String,
    },
    /// The database does not open.
    Database {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What is to be put back is no snapshot.
    Snapshot {
        /// What was named.
        from: String,
        /// What is wrong with it, and what there is.
        reason: String,
    },
    /// The node's key file is not one.
    NodeKey {
        /// The file.
        path: String,
    },
    /// The file of the cluster's secret is not one.
    RpcSecret {
        /// The file.
        path: String,
    },
    /// One of the node's small files is damaged, or of another version.
    State {
        /// What it holds.
        file: StateFile,
        /// Which.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The node has been in a cluster, and the file of its layouts is gone.
    NoLayout {
        /// Where it should be.
        path: String,
    },
    /// The data directories cannot be used.
    Data {
        /// Why, and what to do.
        reason: String,
    },
    /// What quickstart should ensure cannot be.
    Quickstart {
        /// Why, and what to do.
        reason: String,
    },
    /// The database failed while the daemon ran.
    Stopped {
        /// The engine's words.
        reason: String,
    },
    /// The operating system refused something that every process needs: a thread, a signal handler, randomness.
    System {
        /// What, and its words.
        reason: String,
    },
}

impl Trouble {
    /// What an operation on a file failed with, sorted by what a person can do about it.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the enum is not ours and may grow")]
    pub fn file(path: &str, error: &std::io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path }
            }
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { path }
            }
            // The rest is for the operating system's own words.
            _ => Self::File { path, reason: error.to_string() },
        }
    }

    /// What listening failed with.
    pub fn listen(option: &'static str, address: &str, error: &std::io::Error) -> Self {
        let address = address.to_owned();
        if error.kind() == std::io::ErrorKind::AddrInUse {
            Self::AddressInUse { option, address }
        } else {
            Self::Address { option, address, reason: error.to_string() }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMews { dir, holds } => write!(
                f,
                "{dir} is not a Mews directory: it holds {holds:?} and nothing of Mews. Name an empty or a new directory with --dir."
            ),
            Self::Locked { dir, by: Some(pid) } => write!(
                f,
                "{dir} is in use by another Mews daemon (process {pid}). Stop that one, or name another directory."
            ),
            Self::Locked { dir, by: None } => write!(
                f,
                "{dir} is in use by another Mews daemon. Stop that one, or name another directory."
            ),
            Self::Denied { path } => write!(
                f,
                "no permission to read and write {path}. Start the daemon as the user who owns it, or give it to this one (chown -R)."
            ),
            Self::File { path, reason } => write!(f, "cannot use {path}: {reason}."),
            Self::NoSpace { path } => write!(
                f,
                "no space left for {path}. Free some on that disk, then start again: nothing acknowledged is lost."
            ),
            Self::AddressInUse { option, address } => write!(
                f,
                "{address} is in use by another program. Stop that one, or choose another address with {option}."
            ),
            Self::Address { option, address, reason } => write!(
                f,
                "cannot listen at {address}: {reason}. Choose an address of this machine with {option}."
            ),
            Self::Database { path, reason } => write!(
                f,
                "the database {path} does not open: {reason}. Nothing was changed, and the files in {} are untouched. Check the disk. If other nodes hold copies of everything, move the database away and start again: this node fetches its rows from them. If not, restore the {} directory from a copy.",
                plan::DATA,
                plan::META
            ),
            Self::NodeKey { path } => write!(
                f,
                "{path} is not a node key (64 hexadecimal digits). Restore it from a copy: it is the node's identity."
            ),
            Self::RpcSecret { path } => write!(
                f,
                "{path} is not a cluster's secret (64 hexadecimal digits). Copy it from another node of the cluster."
            ),
            Self::State { file: StateFile::Layout, path, reason } => write!(
                f,
                "{path} cannot be read: {}. It says which nodes hold what. If there are other nodes, move it away: this one learns it from them. If not, restore it from a copy.",
                reason.trim_end_matches('.')
            ),
            Self::State { file: StateFile::Peers, path, reason } => write!(
                f,
                "{path} cannot be read: {}. Move it away: it only remembers where the other nodes are.",
                reason.trim_end_matches('.')
            ),
            Self::NoLayout { path } => write!(
                f,
                "{path} is missing, and this node has been in a cluster: quickstart would begin another one. Restore the file from a copy, or start with `serve` and a configuration that names these directories, and another node in bootstrap_peers: this node then learns the layout from it."
            ),
            Self::Snapshot { from, reason } => {
                write!(f, "{from} cannot be put back: {reason}. Nothing was changed.")
            }
            Self::Data { reason } => write!(f, "{}.", reason.trim_end_matches('.')),
            Self::Quickstart { reason } => write!(f, "{}.", reason.trim_end_matches('.')),
            Self::Stopped { reason } => write!(
                f,
                "stopped, because no change could be written any more: {}. Check the disk and its free space, then start again: nothing acknowledged is lost.",
                reason.trim_end_matches('.')
            ),
            Self::System { reason } => {
                write!(f, "the operating system refuses: {}.", reason.trim_end_matches('.'))
            }
        }
    }
}

impl std::error::Error for Trouble {}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let refused = Error::from(ErrorKind::AddrInUse);
        let text = Trouble::listen("--s3-addr", "127.0.0.1:3900", &refused).to_string();
        assert!(text.contains("127.0.0.1:3900 is in use") && text.contains("--s3-addr"), "{text}");
        let text = Trouble::file("/srv/m", &Error::from(ErrorKind::PermissionDenied)).to_string();
        assert!(text.contains("no permission") && text.contains("chown"), "{text}");
        let text = Trouble::file("/srv/m", &Error::from(ErrorKind::StorageFull)).to_string();
        assert!(text.contains("no space left"), "{text}");
        let text = Trouble::Locked { dir: "d".to_owned(), by: Some(7) }.to_string();
        assert!(text.contains("process 7"), "{text}");
    }
}
