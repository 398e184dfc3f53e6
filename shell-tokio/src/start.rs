//! The start: from a directory to a host that can serve.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
};

use mews_core::{
    block::files::{DataDir, DataFsync, Files, FilesOptions},
    daemon::{
        bounds::Bounds,
        identity::{self, KeyPair, NodeKey},
        plan,
        quickstart::{self, Prepared, Wanted},
        texts,
        trouble::Trouble,
    },
    node::Node,
    seed::Seed,
    store::{StoreError, apply::Delays, read, redb::Db, reserve::Reserve},
    view::{Config, Ring, View},
};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::{
    fs::FlockOperation,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::{
    blocks::Blocks,
    disk::{self, StdDisk},
    drive,
    host::{Clock, Host},
    writer::Writer,
};

/// The daemon's directory, locked for this process.
pub struct Place {
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], Trouble> {
    let mut bytes = [0; N];
    let reason = "it has no random bytes".to_owned();
    SystemRandom::new().fill(&mut bytes).map_err(|_| Trouble::System { reason })?;
    Ok(bytes)
}

/// Raises the bound on open files as far as we may, and says how far that is.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(error) => {
            log::warn!("cannot raise the bound on open files: {error}");
            limit.current.unwrap_or(u64::MAX)
        }
    }
}

/// How much memory the machine has.
pub fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    // The fields' types differ between architectures.
    #[allow(clippy::useless_conversion)]
    u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit))
}

impl Place {
    /// Looks at the directory, creates it if it is missing, locks it.
    pub fn open(dir: &str) -> Result<Self, Trouble> {
        let path = PathBuf::from(dir);
        let trouble = |path: &Path| {
            let path = path.display().to_string();
            move |error: std::io::Error| Trouble::file(&path, &error)
        };
        match fs::read_dir(&path) {
            Ok(entries) => {
                let names = entries
                    .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
                    .collect::<Result<Vec<String>, _>>()
                    .map_err(trouble(&path))?;
                plan::inspect(dir, &names)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                disk::create_dirs(&path).map_err(trouble(&path))?;
            }
            Err(error) => return Err(Trouble::file(dir, &error)),
        }
        let lock = lock(dir, &path.join(plan::LOCK))?;
        for dir in plan::DIRS {
            let dir = path.join(dir);
            disk::create_dirs(&dir).map_err(trouble(&dir))?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// What a file with a secret holds; made from `fresh` if there is none.
    fn secret(&self, name: &str, fresh: &str) -> Result<String, Trouble> {
        let path = self.path.join(name);
        let trouble = |error| Trouble::file(&path.display().to_string(), &error);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                disk::write_secret(&path, fresh).map_err(trouble)?;
                Ok(fresh.to_owned())
            }
            Err(error) => Err(trouble(error)),
        }
    }

    /// Writes what quickstart leaves for its user, unless it is there already.
    pub fn write_credentials(&self, key: &KeyPair) -> Result<(), Trouble> {
        let (path, text) = (self.path.join(plan::CREDENTIALS), texts::credentials(key));
        let trouble = |error| Trouble::file(&path.display().to_string(), &error);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        disk::write_secret(&path, &text).map_err(trouble)
    }

    fn open_database(&self, cache: usize, delays: Delays) -> Result<Db, Trouble> {
        let path = self.path.join(plan::DATABASE);
        let name = path.display().to_string();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(plan::SECRET_MODE);
        let file = options.open(&path).map_err(|error| Trouble::file(&name, &error))?;
        let database = |reason: String| Trouble::Database { path: name.clone(), reason };
        let backend =
            redb::backends::FileBackend::new(file).map_err(|error| database(error.to_string()))?;
        Db::open(backend, cache, delays).map_err(|error| database(error.to_string()))
    }

    fn open_files(&self, used_before: bool) -> Result<Files, Trouble> {
        let disk = Arc::new(StdDisk::new(&self.path));
        let data = DataDir { path: plan::DATA.to_owned(), capacity: 1, read_only: false };
        let options = FilesOptions { fsync: DataFsync::Batch, reserve: None, used_before };
        Files::open(disk, vec![data], options)
            .map_err(|error| Trouble::Data { reason: error.to_string() })
    }
}

/// Takes the lock that keeps a second daemon out.
fn lock(dir: &str, path: &Path) -> Result<File, Trouble> {
    let trouble = |error: std::io::Error| Trouble::file(&path.display().to_string(), &error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(plan::SECRET_MODE);
    let mut file = options.open(path).map_err(trouble)?;
    if let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(trouble(error.into()));
        }
        let mut pid = String::new();
        // Only for the message: whoever holds the lock may not have written it yet.
        let by = file.read_to_string(&mut pid).ok().and_then(|_| pid.trim().parse().ok());
        return Err(Trouble::Locked { dir: dir.to_owned(), by });
    }
    file.set_len(0).map_err(trouble)?;
    writeln!(file, "{}", std::process::id()).map_err(trouble)?;
    Ok(file)
}

/// The host, and where it says that its database has failed.
pub type Started = (Arc<Host>, oneshot::Receiver<Option<StoreError>>);

/// Opens what is in the directory and starts the threads.
pub fn host(place: &Place, config: Config, bounds: &Bounds) -> Result<Started, Trouble> {
    let fresh = NodeKey::from_random(random()?).to_text();
    let key = NodeKey::from_text(&place.secret(plan::NODE_KEY, &fresh)?).ok_or_else(|| {
        Trouble::NodeKey { path: place.path.join(plan::NODE_KEY).display().to_string() }
    })?;
    place.secret(plan::ADMIN_TOKEN, &identity::token_text(random()?))?;
    let delays = Delays { block: config.block_delay, tombstone: config.tombstone_delay };
    let db = Arc::new(place.open_database(bounds.cache_bytes, delays)?);
    let used_before = db.snapshot().and_then(|rows| read::holds_blocks(&rows));
    let used_before = used_before.map_err(|error| Trouble::Database {
        path: place.path.join(plan::DATABASE).display().to_string(),
        reason: error.to_string(),
    })?;
    let files = Arc::new(place.open_files(used_before)?);
    let system = |error: std::io::Error| Trouble::System { reason: error.to_string() };
    let reserve = Reserve::new(Arc::new(StdDisk::new(&place.path)), plan::META, None);
    let (writer, ended) =
        Writer::start(Arc::clone(&db), Arc::clone(&files), reserve).map_err(system)?;
    let blocks = Blocks::start(files, bounds, &config).map_err(system)?;
    let clock = Clock::start();
    let id = key.id();
    let view = View { node: id, boot: db.boot(), ring: Ring::single(id), config };
    let node = Node::new(Arc::new(view), Seed::new(random()?), clock.now());
    let host = Host {
        clock,
        id,
        db,
        writer,
        blocks,
        scans: Arc::new(Semaphore::new(bounds.scans)),
        panics: AtomicU64::new(0),
        node: Mutex::new(node),
        nudge: Notify::new(),
        stopping: AtomicBool::new(false),
    };
    Ok((Arc::new(host), ended))
}

/// Makes sure of the bucket and the key that quickstart promises.
pub async fn quickstart(
    host: &Arc<Host>,
    bucket: Option<String>,
    key: Option<KeyPair>,
) -> Result<Prepared, Trouble> {
    let wanted = Wanted { bucket, key, fresh: KeyPair::from_random(random()?) };
    let view = host.with_node(|node| Arc::clone(node.view()));
    let (task, result) = quickstart::task(view, Seed::new(random()?), wanted);
    drive::drive(host, task, None).await;
    let result = result.get().expect("the task is done").clone();
    result.map_err(|error| Trouble::Quickstart { reason: error.to_string() })
}
