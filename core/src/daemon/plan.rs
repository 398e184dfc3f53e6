//! What lies where under the daemon's directory, and with which permissions.

use crate::daemon::trouble::Trouble;

/// The lock that keeps a second daemon out.
pub const LOCK: &str = "mews.lock";
/// Metadata: the database and the node's key.
pub const META: &str = "meta";
/// The database. It holds secrets, so [`SECRET_MODE`].
pub const DATABASE: &str = "meta/db.redb";
/// The node's private key, hexadecimal. [`SECRET_MODE`].
pub const NODE_KEY: &str = "meta/node_key";
/// The layouts, as [`crate::node::StateFile::Layout`] holds them.
pub const LAYOUT: &str = "meta/cluster_layout";
/// The peers, as [`crate::node::StateFile::Peers`] holds them.
pub const PEERS: &str = "meta/peers";
/// Block files.
pub const DATA: &str = "data";
/// The access key of quickstart, in the form of an AWS credentials file. [`SECRET_MODE`].
pub const CREDENTIALS: &str = "credentials";
/// The token of the Admin API. [`SECRET_MODE`].
pub const ADMIN_TOKEN: &str = "admin.token";

/// Of directories that hold secrets or data: nobody else may look.
pub const DIR_MODE: u32 = 0o700;
/// Of files that hold secrets.
pub const SECRET_MODE: u32 = 0o600;

/// The directories to create under the daemon's own, in order.
pub const DIRS: [&str; 2] = [META, DATA];

/// What a directory is, told by the names in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing of ours yet, and nothing in the way.
    Fresh,
    /// A store that was started before.
    Known,
}

/// Looks at the names in the daemon's directory. One that holds something else is refused: it is more likely a mistyped
/// `--dir` than a place for a store.
pub fn inspect(dir: &str, names: &[String]) -> Result<Found, Trouble> {
    if names.iter().any(|name| name == META) {
        return Ok(Found::Known);
    }
    // A first start that died early leaves the lock; a file system of its own has lost+found; a dot-file is not content.
    let harmless = |name: &String| name == LOCK || name == "lost+found" || name.starts_with('.');
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
    fn only_empty_and_own_directories_are_used() {
        assert_eq!(inspect("d", &[]), Ok(Found::Fresh));
        assert_eq!(inspect("d", &names(&["lost+found", ".keep", LOCK])), Ok(Found::Fresh));
        assert_eq!(inspect("d", &names(&["notes.txt", META, DATA])), Ok(Found::Known));
        let refused = Trouble::NotMews { dir: "d".to_owned(), holds: "notes.txt".to_owned() };
        assert_eq!(inspect("d", &names(&["notes.txt"])), Err(refused));
    }
}
