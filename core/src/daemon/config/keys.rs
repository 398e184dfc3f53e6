//! What may stand in the file: one table, which the parser goes by and the reference is printed from. And what was probably meant
//! by what may not stand there.

use crate::spelling;

/// A table of the file and its keys.
pub(super) struct Section {
    /// Its name; empty for what stands before the first `[...]`.
    pub name: &'static str,
    /// What it is for, for the reference.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// A key of the file.
pub(super) struct Key {
    /// Its name.
    pub name: &'static str,
    /// What is taken if it is missing.
    pub default: Fallback,
    /// What it means.
    pub meaning: &'static str,
    /// A value as it may stand in the file; none if the key is a table's.
    pub example: &'static str,
    /// Where else its value may come from.
    pub source: Elsewhere,
}

/// What is taken for a key that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    /// The same as for this value.
    Value(&'static str),
    /// Nothing that a value could say: in words.
    Words(&'static str),
    /// It must be there.
    Required,
}

/// Where else than under its key a value may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// Nowhere.
    No,
    /// A secret: in the file that `KEY_file` names, or in the environment as `MEWS_KEY` or in the file named by `MEWS_KEY_FILE`.
    Secret,
    /// In the environment, by this name.
    Environment(&'static str),
}

impl Section {
    /// Every name that may stand in the table.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.keys.iter().flat_map(|key| {
            let file = (key.source == Elsewhere::Secret).then(|| format!("{}_file", key.name));
            [key.name.to_owned()].into_iter().chain(file)
        })
    }

    /// Whether this may stand in the table.
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }
}

const fn key(
    name: &'static str,
    default: Fallback,
    example: &'static str,
    meaning: &'static str,
) -> Key {
    Key { name, default, meaning, example, source: Elsewhere::No }
}

const fn secret(
    name: &'static str,
    default: &'static str,
    example: &'static str,
    meaning: &'static str,
) -> Key {
    Key { name, default: Fallback::Words(default), meaning, example, source: Elsewhere::Secret }
}

/// The key that a table of the file is the value of.
const fn table(name: &'static str) -> Key {
    key(name, Fallback::Words("no such table"), "", "")
}

use Fallback::{Required, Value, Words};

/// What stands before the first `[...]`, the tables' names included.
pub(super) const TOP: Section = Section {
    name: "",
    about: "These stand at the top of the file, before the first `[table]`.",
    keys: &[
        key(
            "metadata_dir",
            Required,
            "\"/var/lib/mews/meta\"",
            "The directory of the metadata database, of this node's key and of what it knows of its cluster; made if it is missing. Best on an SSD.",
        ),
        key(
            "data_dir",
            Required,
            "\"/var/lib/mews/data\"",
            "The directory of the blocks, or a list of several, each a table with the keys of `data_dir` below.",
        ),
        key(
            "replication_factor",
            Value("3"),
            "1",
            "How many copies the cluster's first layout makes, from 1 to 16. Later layouts say it themselves (`mews layout config --replication-factor N`).",
        ),
        key(
            "consistency_mode",
            Value("\"consistent\""),
            "\"consistent\"",
            "`\"consistent\"`: what was acknowledged is read. `\"degraded\"`: a read asks one copy, and may miss what was just written. `\"dangerous\"`: a write is acknowledged with one copy, too, and may be lost with it.",
        ),
        key(
            "metadata_fsync",
            Value("true"),
            "true",
            "Whether a change of metadata is on the disk before it is acknowledged. If not, it is with the operating system, and on the disk about a second later: nothing is lost when the daemon dies, and up to a second's changes when the machine does.",
        ),
        key(
            "metadata_auto_snapshot_interval",
            Words("snapshots are made only when they are asked for (`mews meta snapshot`)"),
            "\"6h\"",
            "How often a snapshot of the metadata database is made, from 10s to 366d. The newest two are kept; `mews worker set metadata-snapshots-kept N` keeps another number.",
        ),
        key(
            "metadata_snapshots_dir",
            Words("`snapshots` in `metadata_dir`"),
            "\"/mnt/other-disk/mews-snapshots\"",
            "The directory of snapshots, each as large as the database; made if it is missing.",
        ),
        key(
            "data_fsync",
            Value("\"batch\""),
            "\"batch\"",
            "How blocks become durable before they are acknowledged: `\"batch\"` syncs those that are written at the same time together, `\"each\"` every file by itself. `\"off\"` syncs none: a power failure may take acknowledged objects' data on this node.",
        ),
        key(
            "block_size",
            Value("\"1MiB\""),
            "\"4MiB\"",
            "Objects are cut into blocks of this size, from 64KiB to 64MiB. Changing it concerns new objects only.",
        ),
        key(
            "compression_level",
            Value("1"),
            "\"none\"",
            "How hard blocks are compressed: a level of zstd from -99 to 22, or `\"none\"`. Blocks that don't get smaller are kept as they are.",
        ),
        secret(
            "rpc_secret",
            "the one in `metadata_dir`, made at the first start",
            "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"",
            "What all nodes of the cluster know and nobody else: 64 hexadecimal digits, such as `openssl rand -hex 32` makes.",
        ),
        key(
            "rpc_bind_addr",
            Value("\"[::]:3901\""),
            "\"[::]:3901\"",
            "Where to listen for other nodes: IP:PORT.",
        ),
        key(
            "rpc_public_addr",
            Words("the address that is listened at"),
            "\"node1.example.org:3901\"",
            "How other nodes reach this one: HOST:PORT.",
        ),
        key(
            "bootstrap_peers",
            Value("[]"),
            "[\"node2.example.org:3901\"]",
            "Nodes to begin with: HOST:PORT, or ID@HOST:PORT to accept no other there. One that is up is enough; the rest is learnt from it.",
        ),
        Key {
            name: "allow_world_readable_secrets",
            default: Value("false"),
            example: "false",
            meaning: "Whether secrets may stand in files that everybody on this machine can read.",
            source: Elsewhere::Environment("MEWS_ALLOW_WORLD_READABLE_SECRETS"),
        },
        table("s3_api"),
        table("s3_web"),
        table("admin"),
    ],
};

pub(super) const S3_API: Section = Section {
    name: "s3_api",
    about: "The S3 API.",
    keys: &[
        key(
            "api_bind_addr",
            Words("this node answers no S3 requests"),
            "\"[::]:3900\"",
            "Where to listen: IP:PORT.",
        ),
        key(
            "s3_region",
            Value("\"mews\""),
            "\"eu-west-1\"",
            "The name of the region, as clients are told it.",
        ),
        key(
            "s3_region_strict",
            Value("false"),
            "true",
            "Whether a request that is signed for another region is refused.",
        ),
        key(
            "root_domain",
            Words("buckets are named in the path only"),
            "\"s3.example.org\"",
            "Buckets can be named in front of this domain: BUCKET.s3.example.org. A leading dot is the same.",
        ),
    ],
};

pub(super) const S3_WEB: Section = Section {
    name: "s3_web",
    about: "Buckets as websites: those that `mews bucket website` has made one, for everybody and without a signature.",
    keys: &[
        key(
            "bind_addr",
            Required,
            "\"[::]:3902\"",
            "Where to listen: IP:PORT. HTTP without TLS, which a proxy in front adds.",
        ),
        key(
            "root_domain",
            Words("a website's host is its bucket's name, and nothing more"),
            "\"web.example.org\"",
            "Websites are in front of this domain: BUCKET.web.example.org. A leading dot is the same. Any other host is the website of the bucket that is called exactly so, such as `www.example.com`.",
        ),
        key(
            "index",
            Value("\"index.html\""),
            "\"index.html\"",
            "The index document of a website that is set up without one being named: what stands for a folder.",
        ),
    ],
};

pub(super) const ADMIN: Section = Section {
    name: "admin",
    about: "The Admin API, which `mews` talks to, and metrics.",
    keys: &[
        key(
            "api_bind_addr",
            Words("this node has no Admin API"),
            "\"127.0.0.1:3903\"",
            "Where to listen: IP:PORT.",
        ),
        secret(
            "admin_token",
            "none",
            "\"6f8a1c0e5b7d93244ac15e08b2f7d960\"",
            "The token that may do everything but read metrics: 16 or more visible ASCII characters.",
        ),
        secret(
            "metrics_token",
            "none",
            "\"b2f7d9606f8a1c0e5b7d93244ac15e08\"",
            "The token that may read metrics and do nothing else. Where there is none, metrics are open to whoever reaches the address.",
        ),
        key(
            "metrics_require_token",
            Value("false"),
            "true",
            "Whether metrics need a token also where there is no `metrics_token`.",
        ),
    ],
};

/// One of several data directories.
pub(super) const DATA_DIR: Section = Section {
    name: "data_dir",
    about: "One of several data directories: `data_dir = [{ path = \"/mnt/disk1\", capacity = \"4T\" }, ...]`.",
    keys: &[
        key(
            "path",
            Required,
            "\"/mnt/disk1\"",
            "The directory; made if it is missing and not read-only.",
        ),
        key(
            "capacity",
            Words("needed where there are several, of each that is not read-only"),
            "\"4T\"",
            "How much the directory is to hold, relative to the others: a number of bytes, or as in `\"4T\"`, `\"500GiB\"`.",
        ),
        key(
            "read_only",
            Value("false"),
            "true",
            "Whether nothing is to be written there any more; its blocks move to the others.",
        ),
    ],
};

/// The tables of the file.
pub(super) const SECTIONS: [&Section; 4] = [&TOP, &S3_API, &S3_WEB, &ADMIN];

/// Keys that files written for Garage may have, and what to do about them here.
const FOREIGN: [(&str, &str); 11] = [
    ("replication_mode", "say replication_factor = N instead"),
    ("db_engine", "there is one engine, so take this out"),
    ("lmdb_map_size", "there is no LMDB here, so take this out"),
    ("fjall_block_cache_size", "there is no Fjall here, so take this out"),
    ("sled_cache_capacity", "there is no sled here, so take this out"),
    ("k2v_api", "K2V is not offered, so take this out"),
    ("consul_discovery", "name the peers in bootstrap_peers instead"),
    ("kubernetes_discovery", "name the peers in bootstrap_peers instead"),
    ("kubernetes_namespace", "name the peers in bootstrap_peers instead"),
    (
        "add_host_to_metrics",
        "hosts are whatever clients make up, so metrics do not tell of them: take this out",
    ),
    ("block_ram_buffer_max", "memory for blocks follows from the machine, so take this out"),
];

/// What to say about a key that is not one of `section`'s.
pub(super) fn unknown(section: &Section, key: &str) -> String {
    if let Some((_, instead)) = FOREIGN.iter().find(|(foreign, _)| *foreign == key) {
        return format!("{} is not a key of Mews: {instead}", full(section, key));
    }
    let elsewhere = SECTIONS.iter().find(|other| other.has(key));
    let hint = match elsewhere {
        Some(other) if other.name.is_empty() => {
            format!("{key} belongs to the top of the file, before the first [table]")
        }
        Some(other) => format!("{key} belongs below [{}]", other.name),
        None => {
            let names: Vec<String> = section.names().collect();
            let nearest = spelling::nearest(names.iter().map(String::as_str), key);
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
