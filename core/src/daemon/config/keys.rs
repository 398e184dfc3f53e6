//! What may stand in the file, and what was probably meant by what may not.

use crate::spelling;

/// A table of the file and its keys.
pub(super) struct Section {
    /// Its name; empty for what stands before the first `[...]`.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [&'static str],
}

/// What stands before the first `[...]`, the tables' names included.
pub(super) const TOP: Section = Section {
    name: "",
    keys: &[
        "metadata_dir",
        "data_dir",
        "replication_factor",
        "consistency_mode",
        "metadata_fsync",
        "data_fsync",
        "block_size",
        "compression_level",
        "rpc_secret",
        "rpc_secret_file",
        "rpc_bind_addr",
        "rpc_public_addr",
        "bootstrap_peers",
        "allow_world_readable_secrets",
        "s3_api",
        "s3_web",
        "admin",
    ],
};

pub(super) const S3_API: Section = Section {
    name: "s3_api",
    keys: &["api_bind_addr", "s3_region", "s3_region_strict", "root_domain"],
};

pub(super) const S3_WEB: Section =
    Section { name: "s3_web", keys: &["bind_addr", "root_domain", "index"] };

pub(super) const ADMIN: Section = Section {
    name: "admin",
    keys: &[
        "api_bind_addr",
        "admin_token",
        "admin_token_file",
        "metrics_token",
        "metrics_token_file",
        "metrics_require_token",
    ],
};

/// One of several data directories.
pub(super) const DATA_DIR: Section =
    Section { name: "data_dir", keys: &["path", "capacity", "read_only"] };

const SECTIONS: [&Section; 4] = [&TOP, &S3_API, &S3_WEB, &ADMIN];

/// Keys that files written for Garage may have, and what to do about them here.
const FOREIGN: [(&str, &str); 12] = [
    ("replication_mode", "say replication_factor = N instead"),
    ("db_engine", "there is one engine, so take this out"),
    ("lmdb_map_size", "there is no LMDB here, so take this out"),
    ("fjall_block_cache_size", "there is no Fjall here, so take this out"),
    ("sled_cache_capacity", "there is no sled here, so take this out"),
    ("k2v_api", "K2V is not offered, so take this out"),
    ("consul_discovery", "name the peers in bootstrap_peers instead"),
    ("kubernetes_discovery", "name the peers in bootstrap_peers instead"),
    ("kubernetes_namespace", "name the peers in bootstrap_peers instead"),
    ("block_ram_buffer_max", "memory for blocks follows from the machine, so take this out"),
    ("metadata_auto_snapshot_interval", "snapshots are not offered yet, so take this out"),
    ("metadata_snapshots_dir", "snapshots are not offered yet, so take this out"),
];

/// What to say about a key that is not one of `section`'s.
pub(super) fn unknown(section: &Section, key: &str) -> String {
    if let Some((_, instead)) = FOREIGN.iter().find(|(foreign, _)| *foreign == key) {
        return format!("{} is not a key of Mews: {instead}", full(section, key));
    }
    let elsewhere = SECTIONS.iter().find(|other| other.keys.contains(&key));
    let hint = match elsewhere {
        Some(other) if other.name.is_empty() => {
            format!("{key} belongs to the top of the file, before the first [table]")
        }
        Some(other) => format!("{key} belongs below [{}]", other.name),
        None => {
            let nearest = spelling::nearest(section.keys.iter().copied(), key);
            format!("the nearest known key is {}", nearest.expect("every section has keys"))
        }
    };
    format!("unknown key {}: {hint}", full(section, key))
}

/// A key as messages name it.
pub(super) fn full(section: &Section, key: &str) -> String {
    if section.name.is_empty() { key.to_owned() } else { format!("[{}] {key}", section.name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_told_what_was_meant() {
        let says = |section, key, part: &str| {
            let text = unknown(section, key);
            assert!(text.contains(part), "{text}");
        };
        says(&TOP, "rpc_secert", "nearest known key is rpc_secret");
        says(&TOP, "metadata_directory", "nearest known key is metadata_dir");
        says(&TOP, "s3_region", "belongs below [s3_api]");
        says(&S3_API, "data_dir", "top of the file");
        says(&S3_API, "region", "[s3_api] region: the nearest known key is s3_region");
        says(&TOP, "db_engine", "one engine");
    }
}
