//! The configuration file: from its text to what a daemon is to do, or to everything that is wrong with it.
//!
//! Pure: the text, the environment and the files with secrets come in from whoever can read them.

mod keys;
mod reader;
mod reference;
mod secrets;
#[cfg(test)]
mod tests;

use core::{net::SocketAddr, time::Duration};
use std::fmt;

use self::{
    keys::{ADMIN, DATA_DIR, S3_API, S3_WEB, TOP},
    reader::{At, Reader, Table},
    secrets::Secrets,
};
pub use self::{reader::Problem, reference::reference, secrets::SecretFile};
use crate::{
    block::{
        files::{DataDir, DataFsync},
        seal::BLOCK_MAX,
    },
    daemon::{
        identity,
        setup::{Listen, Setup},
    },
    node::Contact,
    placement::layout::REPLICATION_MAX,
    view::{Config, Consistency, Web},
    web::site,
};

/// Where nodes listen for each other if the file does not say.
pub const RPC_ADDRESS: &str = "[::]:3901";

/// The smallest block: a smaller payload is better off in a row.
const BLOCK_MIN: u64 = 64 << 10;

/// zstd's levels, as far down as is of use.
const LEVELS: (i64, i64) = (-99, 22);

/// How often snapshots may be made: each reads and writes all of the database.
const SNAPSHOTS: (Duration, Duration) =
    (Duration::from_secs(10), Duration::from_secs(366 * 24 * 3600));

/// What the configuration is read from.
pub struct Source<'a> {
    /// The file's name, for messages.
    pub path: &'a str,
    /// What it holds.
    pub text: &'a str,
    /// Its permission bits.
    pub mode: u32,
    /// A variable of the environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// A file with a secret; the error is the operating system's.
    pub file: &'a dyn Fn(&str) -> Result<SecretFile, String>,
}

/// What came of reading it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What to do.
    pub setup: Setup,
    /// What is allowed, and should be said aloud.
    pub notes: Vec<String>,
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file's name.
    pub path: String,
    /// What is wrong: what is missing first, then line by line.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Problem { line, text }) in self.list.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            match line {
                Some(line) => write!(f, "{end}{}:{line}: {text}", self.path)?,
                None => write!(f, "{end}{}: {text}", self.path)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Reads a configuration.
///
/// # Errors
/// All that is wrong with it.
pub fn read(source: &Source<'_>) -> Result<Checked, Problems> {
    let mut reader = Reader::new(source.text);
    let setup = match reader.parse() {
        Some(file) => {
            let top = reader.table(&TOP, &file);
            setup(&mut reader, source, top)
        }
        None => None,
    };
    let mut list = reader.problems;
    match setup {
        Some(setup) if list.is_empty() => Ok(Checked { notes: notes(&setup), setup }),
        Some(_) | None => {
            list.sort();
            list.dedup();
            Err(Problems { path: source.path.to_owned(), list })
        }
    }
}

/// All of it. None only if something is missing without which there is nothing to return; that is among the problems.
fn setup(reader: &mut Reader<'_>, source: &Source<'_>, top: Table<'_, '_>) -> Option<Setup> {
    let s3_api = reader.section(top, &S3_API);
    let admin = reader.section(top, &ADMIN);
    let s3_web = reader.section(top, &S3_WEB);
    let allowed = (source.env)(secrets::ALLOW).is_some_and(|value| value == "true");
    let allow = reader.bool(top, "allow_world_readable_secrets").unwrap_or(allowed);
    let secrets = Secrets { source, allow };
    let rpc_secret = secrets.read(reader, Some(top), "rpc_secret").and_then(|text| {
        let secret = identity::secret_from_text(&text);
        if secret.is_none() {
            reader.lacks(
                "rpc_secret must be 64 hexadecimal digits, such as `openssl rand -hex 32` makes",
            );
        }
        secret
    });
    let admin_token = token(reader, &secrets, admin, "admin_token");
    let metrics_token = token(reader, &secrets, admin, "metrics_token");
    if metrics_token.is_some() && metrics_token == admin_token {
        reader.lacks("admin_token and metrics_token are the same: whoever reads metrics could change everything");
    }
    let metrics_require_token =
        admin.and_then(|table| reader.bool(table, "metrics_require_token")).unwrap_or(false);
    let rpc = reader.address(top, "rpc_bind_addr");
    let rpc = rpc.map_or_else(|| RPC_ADDRESS.parse().ok(), |rpc| Some(rpc.value));
    let s3 = s3_api.and_then(|table| reader.address(table, "api_bind_addr"));
    let before = reader.problems.len();
    let web = s3_web.and_then(|table| reader.address(table, "bind_addr"));
    if s3_web.is_some() && web.is_none() && reader.problems.len() == before {
        reader.lacks("[s3_web] bind_addr is missing: where to listen, IP:PORT");
    }
    let admin_address = admin.and_then(|table| reader.address(table, "api_bind_addr"));
    let words = [("batch", DataFsync::Batch), ("each", DataFsync::Each), ("off", DataFsync::Off)];
    let data_fsync = reader.word(top, "data_fsync", &words).unwrap_or_default();
    let before = reader.problems.len();
    let meta = path(reader, top, "metadata_dir");
    if meta.is_none() && reader.problems.len() == before {
        reader.lacks("metadata_dir is missing: the directory of the database, best on an SSD");
    }
    let data = data_dirs(reader, top);
    let listen = |option, address: Option<At<SocketAddr>>| {
        address.map(|At { value, .. }| Listen { option, address: value, dispensable: false })
    };
    let s3 = listen("[s3_api] api_bind_addr", s3);
    let web = listen("[s3_web] bind_addr", web);
    let admin = listen("[admin] api_bind_addr", admin_address);
    let rpc = Listen { option: "rpc_bind_addr", address: rpc?, dispensable: false };
    distinct(reader, &[s3, web, Some(rpc), admin]);
    Some(Setup {
        home: None,
        meta: meta.unwrap_or_default(),
        data,
        snapshots: path(reader, top, "metadata_snapshots_dir"),
        data_fsync,
        s3,
        web,
        rpc,
        admin,
        rpc_public: rpc_public(reader, top),
        bootstrap: bootstrap(reader, top),
        rpc_secret,
        admin_token,
        metrics_token,
        metrics_require_token,
        config: config(reader, top, s3_api, s3_web),
        quickstart: None,
    })
}

/// What requests and background work go by.
fn config(
    reader: &mut Reader<'_>,
    top: Table<'_, '_>,
    s3: Option<Table<'_, '_>>,
    web: Option<Table<'_, '_>>,
) -> Config {
    let defaults = Config::default();
    let modes = [
        ("consistent", Consistency::Consistent),
        ("degraded", Consistency::Degraded),
        ("dangerous", Consistency::Dangerous),
    ];
    let consistency = reader.word(top, "consistency_mode", &modes).unwrap_or(defaults.consistency);
    let copies = reader.number(top, "replication_factor", 1, i64::from(REPLICATION_MAX));
    let copies = copies.and_then(|copies| u16::try_from(copies).ok());
    let region = s3.and_then(|table| reader.string(table, "s3_region")).map(|found| found.value);
    let strict = s3.and_then(|table| reader.bool(table, "s3_region_strict"));
    Config {
        region: region.unwrap_or(defaults.region),
        region_strict: strict.unwrap_or(defaults.region_strict),
        root_domain: s3.and_then(|table| root_domain(reader, table, "[s3_api]", "s3.example.org")),
        web: web.map(|table| websites(reader, table)).unwrap_or_default(),
        block_size: block_size(reader, top).unwrap_or(defaults.block_size),
        compression: compression(reader, top).unwrap_or(defaults.compression),
        consistency,
        replication_factor: copies.unwrap_or(defaults.replication_factor),
        metadata_fsync: reader.bool(top, "metadata_fsync").unwrap_or(defaults.metadata_fsync),
        inline_max: defaults.inline_max,
        index_shards: defaults.index_shards,
        block_delay: defaults.block_delay,
        tombstone_delay: defaults.tombstone_delay,
        tuning: defaults.tuning,
        snapshot_interval: reader.span(top, "metadata_auto_snapshot_interval", SNAPSHOTS),
    }
}

fn block_size(reader: &mut Reader<'_>, top: Table<'_, '_>) -> Option<u32> {
    let At { line, value } = reader.size(top, "block_size")?;
    if !(BLOCK_MIN..=u64::from(BLOCK_MAX)).contains(&value) {
        reader.wrong(line, format!("block_size must be from 64KiB to {}MiB", BLOCK_MAX >> 20));
        return None;
    }
    u32::try_from(value).ok()
}

/// The level, or None for blocks as they are.
fn compression(reader: &mut Reader<'_>, top: Table<'_, '_>) -> Option<Option<i32>> {
    let (low, high) = LEVELS;
    let must = format!("a level of zstd from {low} to {high}, or \"none\"");
    let At { line, value } = reader.number_or_text(top, "compression_level", &must)?;
    match value {
        Err(text) if text == "none" => return Some(None),
        Ok(level) if (low..=high).contains(&level) => return i32::try_from(level).ok().map(Some),
        Ok(_) | Err(_) => reader.wrong(line, format!("compression_level must be {must}")),
    }
    None
}

/// What websites are served by.
fn websites(reader: &mut Reader<'_>, table: Table<'_, '_>) -> Web {
    let defaults = Web::default();
    let index = reader.string(table, "index").and_then(|At { line, value }| {
        if !site::is_index(&value) {
            let must = "must be what the key of a folder's document ends with, such as \"index.html\", without a slash";
            reader.wrong(line, format!("[s3_web] index {must}; it is \"{value}\""));
            return None;
        }
        Some(value)
    });
    Web {
        root_domain: root_domain(reader, table, "[s3_web]", "web.example.org"),
        index: index.unwrap_or(defaults.index),
    }
}

/// A domain without its leading dot, which Garage's files have.
fn root_domain(
    reader: &mut Reader<'_>,
    table: Table<'_, '_>,
    section: &str,
    example: &str,
) -> Option<String> {
    let At { line, value } = reader.string(table, "root_domain")?;
    let domain = value.strip_prefix('.').unwrap_or(&value).to_ascii_lowercase();
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    if domain.is_empty() || domain.ends_with('.') || !domain.bytes().all(letter) {
        reader.wrong(
            line,
            format!(
                "{section} root_domain must be a domain, such as \"{example}\"; it is \"{value}\""
            ),
        );
        return None;
    }
    Some(domain)
}

fn token(
    reader: &mut Reader<'_>,
    secrets: &Secrets<'_>,
    admin: Option<Table<'_, '_>>,
    key: &str,
) -> Option<String> {
    let token = secrets.read(reader, admin, key)?;
    // It must survive an `Authorization` header, and not be guessed.
    if token.len() < 16 || !token.bytes().all(|b| b.is_ascii_graphic()) {
        reader.lacks(format!("{key} must be 16 or more visible ASCII characters, such as `openssl rand -hex 32` makes"));
    }
    Some(token)
}

/// A directory, without a slash at its end.
fn path(reader: &mut Reader<'_>, table: Table<'_, '_>, key: &str) -> Option<String> {
    reader.string(table, key).map(|found| trimmed(&found.value))
}

fn trimmed(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" if !path.is_empty() => "/".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

fn data_dirs(reader: &mut Reader<'_>, top: Table<'_, '_>) -> Vec<DataDir> {
    let before = reader.problems.len();
    let Some(At { line, value }) = reader.text_or_tables(top, &DATA_DIR) else {
        if reader.problems.len() == before {
            reader.lacks("data_dir is missing: the directory of the blocks, or a list of several");
        }
        return Vec::new();
    };
    let tables = match value {
        Ok(path) if path.is_empty() => {
            reader.wrong(line, "data_dir is empty");
            return Vec::new();
        }
        Ok(path) => return vec![DataDir { path: trimmed(&path), capacity: 1, read_only: false }],
        Err(tables) => tables,
    };
    if tables.is_empty() {
        reader.wrong(line, "data_dir names no directory");
    }
    let several = tables.len() > 1;
    let mut dirs: Vec<DataDir> = Vec::new();
    for At { line, value: table } in tables {
        let Some(dir) = data_dir(reader, table, line, several) else { continue };
        if dirs.iter().any(|other| other.path == dir.path) {
            reader.wrong(line, format!("data_dir names {} twice", dir.path));
        }
        dirs.push(dir);
    }
    dirs
}

fn data_dir(
    reader: &mut Reader<'_>,
    table: Table<'_, '_>,
    line: usize,
    several: bool,
) -> Option<DataDir> {
    let before = reader.problems.len();
    let read_only = reader.bool(table, "read_only").unwrap_or(false);
    let capacity = reader.size(table, "capacity");
    let path = path(reader, table, "path");
    if reader.problems.len() > before {
        return None;
    }
    let Some(path) = path else {
        reader.wrong(line, "a directory of data_dir has no path");
        return None;
    };
    match capacity {
        Some(At { line, value: 0 }) => {
            reader.wrong(line, format!("the capacity of {path} is nothing"))
        }
        Some(_) if read_only => {
            reader.wrong(
                line,
                format!("{path} is read-only, so it needs no capacity: keep one of the two"),
            );
        }
        None if several && !read_only => {
            reader.wrong(line, format!("{path} has no capacity: of several directories, each needs one (or read_only = true)"));
        }
        Some(_) | None => {}
    }
    let capacity = capacity.map_or(1, |capacity| capacity.value);
    Some(DataDir { path, capacity, read_only })
}

fn rpc_public(reader: &mut Reader<'_>, top: Table<'_, '_>) -> Option<String> {
    let At { line, value } = reader.string(top, "rpc_public_addr")?;
    match value.parse::<Contact>() {
        Ok(Contact { id: None, address }) => Some(address),
        Ok(Contact { id: Some(_), .. }) | Err(_) => {
            reader.wrong(line, format!("rpc_public_addr must be HOST:PORT, as other nodes reach this one; it is \"{value}\""));
            None
        }
    }
}

fn bootstrap(reader: &mut Reader<'_>, top: Table<'_, '_>) -> Vec<Contact> {
    let mut contacts = Vec::new();
    for At { line, value } in reader.strings(top, "bootstrap_peers") {
        match value.parse() {
            Ok(contact) => contacts.push(contact),
            Err(why) => reader.wrong(line, format!("bootstrap_peers: \"{value}\": {why}")),
        }
    }
    contacts
}

/// No two of them may be the same. Port 0 means "any", and never collides.
fn distinct(reader: &mut Reader<'_>, all: &[Option<Listen>]) {
    let all: Vec<&Listen> = all.iter().flatten().collect();
    for (i, one) in all.iter().enumerate() {
        let same = |other: &&&Listen| other.address == one.address && one.address.port() != 0;
        if let Some(other) = all[..i].iter().find(same) {
            reader.lacks(format!("{} and {} are both {}", other.option, one.option, one.address));
        }
    }
}

/// What is said of `metadata_fsync = false`.
pub const UNSYNCED: &str = "metadata_fsync = false: a power failure may take what this node acknowledged in the last second";

/// What is allowed, and should be said aloud.
fn notes(setup: &Setup) -> Vec<String> {
    let mut notes = Vec::new();
    match setup.config.consistency {
        Consistency::Consistent => {}
        Consistency::Degraded => notes.push("consistency_mode = \"degraded\": a read may miss what was just written".to_owned()),
        Consistency::Dangerous => notes.push(
            "consistency_mode = \"dangerous\": reads may miss what was written, and an acknowledged write may be lost with one node".to_owned(),
        ),
    }
    if !setup.config.metadata_fsync {
        notes.push(UNSYNCED.to_owned());
    }
    if setup.data_fsync == DataFsync::Off {
        notes.push("data_fsync = \"off\": a power failure may take acknowledged objects' data on this node".to_owned());
    }
    if setup.data.iter().all(|dir| dir.read_only) {
        notes.push("every data directory is read-only: this node refuses new blocks".to_owned());
    }
    if setup.s3.is_none() {
        notes.push("no [s3_api] api_bind_addr: this node answers no S3 requests".to_owned());
    }
    if setup.admin.is_none() {
        notes.push("no [admin] api_bind_addr: `mews` cannot talk to this node".to_owned());
    } else if setup.admin_token.is_none() {
        notes.push("no admin_token: nobody may use the Admin API of this node".to_owned());
    }
    let closed = setup.metrics_token.is_some() || setup.metrics_require_token;
    if setup.admin.is_some_and(|listen| !closed && !listen.address.ip().is_loopback()) {
        notes.push(
            "no metrics_token: whoever reaches [admin] api_bind_addr may read metrics".to_owned(),
        );
    }
    if setup.rpc_secret.is_none() {
        notes.push("no rpc_secret: the one in metadata_dir is used, and made if there is none; all nodes of a cluster need the same".to_owned());
    }
    notes
}
