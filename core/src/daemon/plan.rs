//! What lies where in the daemon's directories, and with which permissions.

use crate::{daemon::trouble::Trouble, id::NodeId, s3::date, time::Timestamp};

/// Of quickstart's directory: metadata.
pub const META: &str = "meta";
/// Of quickstart's directory: block files.
pub const DATA: &str = "data";
/// Of quickstart's directory: its access key, in the form of an AWS credentials file. [`SECRET_MODE`].
pub const CREDENTIALS: &str = "credentials";
/// Of quickstart's directory: the token of the Admin API. [`SECRET_MODE`].
pub const ADMIN_TOKEN: &str = "admin.token";

/// Of the metadata directory: where the Admin API listens, as [`crate::daemon::texts::admin_url`] says. `mews --dir` reads it in [`META`].
pub const ADMIN_URL: &str = "admin.url";
/// Of the metadata directory: the lock that keeps a second daemon out.
pub const LOCK: &str = "mews.lock";
/// Of the metadata directory: the database. It holds secrets, so [`SECRET_MODE`].
pub const DATABASE: &str = "db.redb";
/// Of the metadata directory: changes that are not synced yet, where `metadata_fsync = false`. It holds secrets, so [`SECRET_MODE`].
pub const JOURNAL: &str = "journal";
/// Of the metadata directory: a journal that was found beside a database that it is not of.
pub const FOREIGN_JOURNAL: &str = "journal.foreign";
/// Of the metadata directory: the node's private key, hexadecimal. [`SECRET_MODE`].
pub const NODE_KEY: &str = "node_key";
/// Of the metadata directory: what all nodes of the cluster know and nobody else, hexadecimal. [`SECRET_MODE`].
pub const RPC_SECRET: &str = "rpc_secret";
/// Of the metadata directory: the layouts, as [`crate::node::StateFile::Layout`] holds them.
pub const LAYOUT: &str = "cluster_layout";
/// Of the metadata directory: the peers, as [`crate::node::StateFile::Peers`] holds them.
pub const PEERS: &str = "peers";

/// Of the metadata directory and of each data directory: how often the node was started, as [`starts`] reads it. Beside the blocks,
/// too, because whoever puts an older database back puts back all of the metadata.
pub const STARTS: &str = "mews-starts";

/// What [`STARTS`] holds at the start of this number.
pub fn starts_text(node: NodeId, start: u64) -> String {
    format!("{node} {start}\n")
}

/// The number of the start that wrote this; `None` if it was another node's, or is not such a text.
pub fn starts(node: NodeId, text: &str) -> Option<u64> {
    let (id, start) = text.trim().split_once(' ')?;
    (NodeId::from_hex(id) == Some(node)).then(|| start.parse().ok()).flatten()
}

/// Of the metadata directory: snapshots of the database, each a directory with a file [`DATABASE`], unless the configuration says
/// where else.
pub const SNAPSHOTS: &str = "snapshots";

/// Of the directory of snapshots: one that is being made.
pub const SNAPSHOT_PARTIAL: &str = "being-made";

/// What the snapshot that was made then is called: `2026-03-01T12-00-00.000Z`.
pub fn snapshot_name(at: Timestamp) -> String {
    date::iso8601(at).replace(':', "-")
}

/// When the snapshot of this name was made, if it is such a name.
pub fn snapshot_of(name: &str) -> Option<Timestamp> {
    let (day, time) = name.split_once('T')?;
    let at = date::parse_iso8601(format!("{day}T{}", time.replace('-', ":")).as_bytes())?;
    (snapshot_name(at) == name).then_some(at)
}

/// What the database is called that a snapshot has taken the place of at that time.
pub fn set_aside(at: Timestamp) -> String {
    format!("{DATABASE}.before-{}", snapshot_name(at))
}

/// Of directories that hold secrets or data: nobody else may look.
pub const DIR_MODE: u32 = 0o700;
/// Of files that hold secrets.
pub const SECRET_MODE: u32 = 0o600;

/// What a directory is, told by the names in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing of ours yet, and nothing in the way.
    Fresh,
    /// A store that was started before.
    Known,
}

/// Looks at the names in quickstart's directory. One that holds something else is refused: it is more likely a mistyped
/// `--dir` than a place for a store.
pub fn inspect(dir: &str, names: &[String]) -> Result<Found, Trouble> {
    if names.iter().any(|name| name == META) {
        return Ok(Found::Known);
    }
    // A file system of its own has lost+found; a dot-file is not content.
    let harmless = |name: &String| name == "lost+found" || name.starts_with('.');
    match names.iter().find(|name| !harmless(name)) {
        None => Ok(Found::Fresh),
        Some(name) => Err(Trouble::NotMews { dir: dir.to_owned(), holds: name.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn starts_are_counted_for_each_node() {
        let (one, two) = (NodeId([1; 32]), NodeId([2; 32]));
        assert_eq!(starts(one, &starts_text(one, 17)), Some(17));
        assert_eq!(starts(two, &starts_text(one, 17)), None, "the disk was in another machine");
        assert_eq!(
            (starts(one, ""), starts(one, "x 1"), starts(one, &format!("{one} y"))),
            (None, None, None)
        );
    }

    #[test]
    fn snapshots_are_named_by_their_time() {
        let at = Timestamp(1_772_366_400_123);
        assert_eq!(snapshot_name(at), "2026-03-01T12-00-00.123Z");
        assert_eq!(snapshot_of(&snapshot_name(at)), Some(at));
        for name in ["", SNAPSHOT_PARTIAL, "2026-03-01T12:00:00.123Z", "2026-03-01"] {
            assert_eq!(snapshot_of(name), None, "{name}");
        }
    }

    #[test]
    fn only_empty_and_own_directories_are_used() {
        assert_eq!(inspect("d", &[]), Ok(Found::Fresh));
        assert_eq!(inspect("d", &names(&["lost+found", ".keep"])), Ok(Found::Fresh));
        assert_eq!(inspect("d", &names(&["notes.txt", META, DATA])), Ok(Found::Known));
        let refused = Trouble::NotMews { dir: "d".to_owned(), holds: "notes.txt".to_owned() };
        assert_eq!(inspect("d", &names(&["notes.txt"])), Err(refused));
    }
}
