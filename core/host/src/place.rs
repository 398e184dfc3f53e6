//! The daemon's directories, and what is opened in them.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use mews_core::{
    admin::auth::Tokens,
    block::{
        disk::Disk,
        files::{DataDir, Files, FilesOptions},
    },
    daemon::{
        bounds::Bounds,
        identity::{self, KeyPair, NodeKey},
        plan,
        setup::Setup,
        texts::{self, Bound},
        trouble::Trouble,
    },
    id::{ClusterId, NodeId},
    job::variables,
    node::{self, Api, Node, Saved, SetupError, StateFile, layouts},
    seed::Seed,
    store::{StoreError, apply::Delays, read, redb::Db, reserve::Reserve},
    time::Timestamp,
};
use rustix::fs::FlockOperation;

use crate::{
    clock::Clock,
    disk::{self, StdDisk},
    journal, logger,
    machine::{self, random},
    snapshots::{self, Snapshots},
};

/// The daemon's directories, locked for this process.
#[derive(Debug)]
pub struct Place {
    home: Option<PathBuf>,
    meta: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

/// What a daemon works with.
pub struct Opened {
    /// The clocks, started.
    pub clock: Clock,
    /// Who the node is.
    pub id: NodeId,
    /// The key that proves it.
    pub key: NodeKey,
    /// What all nodes of the cluster know.
    pub secret: [u8; 32],
    /// The node's machine.
    pub node: Node,
    /// The database.
    pub db: Arc<Db>,
    /// The block files.
    pub files: Arc<Files>,
    /// The node's small files.
    pub state: State,
    /// The room that the database's file system keeps for deletes.
    pub reserve: Reserve,
    /// The snapshots of the database.
    pub snapshots: Arc<Snapshots>,
}

fn trouble(path: &Path) -> impl Fn(std::io::Error) -> Trouble {
    let path = path.display().to_string();
    move |error| Trouble::file(&path, &error)
}

/// Makes a file say this, if it does not already.
fn leave(path: &Path, text: &str) -> Result<(), Trouble> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    disk::replace(path, text.as_bytes()).map_err(trouble(path))
}

impl Place {
    /// Looks at the directories, creates them if they are missing, locks them.
    ///
    /// # Errors
    /// They hold what is not ours, another daemon has them locked, or the file system refuses.
    pub fn open(setup: &Setup) -> Result<Self, Trouble> {
        let home = setup.home.as_ref().map(PathBuf::from);
        if let Some(home) = &home {
            inspect(home)?;
        }
        let meta = PathBuf::from(&setup.meta);
        disk::create_dirs(&meta).map_err(trouble(&meta))?;
        let name = setup.home.as_ref().unwrap_or(&setup.meta);
        let lock = lock(name, &meta.join(plan::LOCK))?;
        Ok(Self { home, meta, _lock: lock })
    }

    /// The same of directories that are there; creates none.
    ///
    /// # Errors
    /// As [`Place::open`]'s; or there is no metadata directory.
    pub fn existing(setup: &Setup) -> Result<Self, Trouble> {
        fs::read_dir(&setup.meta).map_err(trouble(Path::new(&setup.meta)))?;
        Self::open(setup)
    }

    /// Writes what quickstart leaves for its user, unless it is there already.
    ///
    /// # Errors
    /// The file system's.
    pub fn write_credentials(&self, key: &KeyPair) -> Result<(), Trouble> {
        let Some(home) = &self.home else { return Ok(()) };
        leave(&home.join(plan::CREDENTIALS), &texts::credentials(key))
    }

    /// Writes where the Admin API is; or takes away what an earlier start has said of it.
    ///
    /// # Errors
    /// The file system's.
    pub fn write_address(&self, bound: &Bound) -> Result<(), Trouble> {
        let path = self.meta.join(plan::ADMIN_URL);
        match bound.of(Api::Admin) {
            Some(admin) => leave(&path, &texts::admin_url(admin)),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(trouble(&path)(error)),
                Ok(()) | Err(_) => Ok(()),
            },
        }
    }

    /// Opens what is in the directories, and makes what is missing. Peers may connect to `port`.
    ///
    /// # Errors
    /// What is there cannot be read, is damaged, or is of another version.
    pub fn open_node(&self, setup: &Setup, bounds: &Bounds, port: u16) -> Result<Opened, Trouble> {
        let key = self.node_key()?;
        let secret = match setup.rpc_secret {
            Some(secret) => secret,
            None => self.rpc_secret()?,
        };
        let token = match (&setup.admin_token, &self.home) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(home)) => {
                let fresh = identity::secret_text(random()?);
                Some(secret_file(&home.join(plan::ADMIN_TOKEN), &fresh)?)
            }
            (None, None) => None,
        };
        let config = &setup.config;
        let delays = Delays { block: config.block_delay, tombstone: config.tombstone_delay };
        let mut db = self.open_database(bounds.cache_bytes, delays)?;
        let (id, state) = (key.id(), State { meta: self.meta.clone() });
        let starts = Starts::new(id, &self.meta, &setup.data);
        let database = |error: StoreError| Trouble::Database {
            path: self.meta.join(plan::DATABASE).display().to_string(),
            reason: error.to_string(),
        };
        let torn = journal::replay(&db, &self.meta)?;
        let last = starts.last();
        let older = db.boot() <= last;
        if torn || older {
            let alone = layouts::is_alone(id, state.load()?.layout.as_deref());
            let text =
                if older { texts::older_database(alone) } else { texts::unsynced_lost(alone) };
            log::warn!("{text}");
            db.count_on(last, !alone).map_err(database)?;
        }
        // Not before what is left of the last one is on the disk.
        journal::end_last(&self.meta)?;
        let look = db.snapshot().and_then(|rows| {
            Ok((read::holds_blocks(&rows)?, (read::synced(&rows)?, read::lost(&rows)?)))
        });
        let (used_before, synced) = look.map_err(database)?;
        let mut config = config.clone();
        let tuned = db.snapshot().and_then(|rows| variables::restore(&rows, &mut config.tuning));
        tuned.map_err(database)?;
        let (replication, snapshots) = (config.replication_factor, self.snapshots(setup));
        let files = open_files(setup, used_before)?;
        starts.save(db.boot())?;
        let reserve = Reserve::new(Arc::new(here()), &setup.meta, None);
        let clock = Clock::start();
        let node = node::Setup {
            id,
            boot: db.boot(),
            config,
            seed: Seed::new(random()?),
            hostname: machine::hostname(),
            listen: Some(port),
            public: setup.rpc_public.clone(),
            disk: None,
            bootstrap: setup.bootstrap.clone(),
            saved: saved(id, setup, &state, synced)?,
        };
        let mut node =
            Node::new(node, clock.now()).map_err(|SetupError::Damaged(file, reason)| {
                Trouble::State { file, path: state.path(file).display().to_string(), reason }
            })?;
        let listens = std::net::SocketAddr::new(setup.rpc.address.ip(), port);
        node.listens_at(texts::connectable(listens).to_string());
        let tokens = Tokens::new(token.as_deref(), setup.metrics_token.as_deref());
        node.set_tokens(tokens.metrics_need_token(setup.metrics_require_token));
        if let Some(copies) = node.other_replication().filter(|_| setup.quickstart.is_none()) {
            log::warn!(
                "replication_factor = {} is for a cluster's first layout; the one in force makes {copies}. Stage another layout to change that",
                replication
            );
        }
        let metrics = &node.view().metrics;
        logger::count_panics(Arc::clone(metrics));
        let db = Arc::new(db.metered(Arc::clone(metrics)));
        let files = Arc::new(files.metered(Arc::clone(metrics)));
        if !setup.config.metadata_fsync {
            journal::begin(&db, &self.meta)?;
        }
        let snapshots = Arc::new(snapshots);
        Ok(Opened { clock, id, key, secret, node, db, files, state, reserve, snapshots })
    }

    fn snapshots(&self, setup: &Setup) -> Snapshots {
        Snapshots::new(self.snapshots_dir(setup), self.meta.join(plan::DATABASE))
    }

    fn snapshots_dir(&self, setup: &Setup) -> PathBuf {
        setup.snapshots.as_ref().map_or_else(|| self.meta.join(plan::SNAPSHOTS), PathBuf::from)
    }

    /// Puts the database of a snapshot in the place of the one that is there, which is kept beside it. The next start knows that an
    /// older one was put back. Says what was done.
    ///
    /// # Errors
    /// That is no snapshot, and nothing has changed; or the file system's.
    pub fn restore(&self, setup: &Setup, from: &str, now: Timestamp) -> Result<String, Trouble> {
        let dir = self.snapshots_dir(setup);
        let refuse = |reason: String| Trouble::Snapshot { from: from.to_owned(), reason };
        let Some(file) = snapshots::find(from, &dir) else {
            let names = snapshots::names(&dir).map_err(trouble(&dir))?;
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let dir = dir.display();
            return Err(refuse(format!("there is no such snapshot; in {dir} there are: {known}")));
        };
        let boot = snapshots::check(&file).map_err(refuse)?;
        // First, so that whatever database is there when this is broken off, its next start is careful.
        let starts = Starts::new(self.node_key()?.id(), &self.meta, &setup.data);
        starts.save(starts.last().max(boot) + 1)?;
        let (database, aside) =
            (self.meta.join(plan::DATABASE), self.meta.join(plan::set_aside(now)));
        let kept = snapshots::put_back(&file, &database, &aside)?;
        let kept = kept.then(|| aside.display().to_string());
        Ok(texts::restored(&file.display().to_string(), kept.as_deref()))
    }

    fn node_key(&self) -> Result<NodeKey, Trouble> {
        let path = self.meta.join(plan::NODE_KEY);
        let fresh = NodeKey::from_random(random()?).to_text();
        let key = NodeKey::from_text(&secret_file(&path, &fresh)?);
        key.ok_or_else(|| Trouble::NodeKey { path: path.display().to_string() })
    }

    fn rpc_secret(&self) -> Result<[u8; 32], Trouble> {
        let path = self.meta.join(plan::RPC_SECRET);
        let text = secret_file(&path, &identity::secret_text(random()?))?;
        let secret = identity::secret_from_text(&text);
        secret.ok_or_else(|| Trouble::RpcSecret { path: path.display().to_string() })
    }

    fn open_database(&self, cache: usize, delays: Delays) -> Result<Db, Trouble> {
        let path = self.meta.join(plan::DATABASE);
        let name = path.display().to_string();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(plan::SECRET_MODE);
        let file = options.open(&path).map_err(|error| Trouble::file(&name, &error))?;
        let database = |reason: String| Trouble::Database { path: name.clone(), reason };
        let backend =
            redb::backends::FileBackend::new(file).map_err(|error| database(error.to_string()))?;
        Db::open(backend, cache, delays).map_err(|error| database(error.to_string()))
    }
}

/// Refuses a home that holds what is not ours.
fn inspect(home: &Path) -> Result<(), Trouble> {
    let name = home.display().to_string();
    let entries = match fs::read_dir(home) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Trouble::file(&name, &error)),
    };
    let names = entries
        .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<String>, _>>()
        .map_err(trouble(home))?;
    plan::inspect(&name, &names).map(drop)
}

/// The file system, with paths as the setup names them.
fn here() -> StdDisk {
    StdDisk::new(Path::new("."))
}

/// What a file with a secret holds; made from `fresh` if there is none.
fn secret_file(path: &Path, fresh: &str) -> Result<String, Trouble> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            disk::replace(path, fresh.as_bytes()).map_err(trouble(path))?;
            Ok(fresh.to_owned())
        }
        Err(error) => Err(trouble(path)(error)),
    }
}

/// What an earlier run saved. Quickstart begins with a new cluster that this node is alone in, if it was in no other before.
fn saved(
    id: NodeId,
    setup: &Setup,
    state: &State,
    (synced, lost): (u64, bool),
) -> Result<Saved, Trouble> {
    let mut saved = state.load()?;
    (saved.synced, saved.lost) = (synced, lost);
    if setup.quickstart.is_some() && saved.layout.is_none() {
        let path = state.path(StateFile::Layout);
        if !layouts::may_found(&saved) {
            return Err(Trouble::NoLayout { path: path.display().to_string() });
        }
        let space = setup.data.first().map(|data| here().space(&data.path)).transpose();
        let space = space.map_err(|error| Trouble::Data { reason: error.to_string() })?;
        let role = layouts::default_role(space.map_or(0, |space| space.total));
        let bytes = layouts::found(id, role, ClusterId(random()?));
        state.save(StateFile::Layout, &bytes).map_err(trouble(&path))?;
        // Of a cluster that begins here, nothing can be missing here.
        (saved.layout, saved.synced, saved.lost) = (Some(bytes), synced.max(1), false);
    }
    Ok(saved)
}

/// Where the starts of the node are counted beside its database.
struct Starts {
    node: NodeId,
    files: Vec<PathBuf>,
}

impl Starts {
    fn new(node: NodeId, meta: &Path, data: &[DataDir]) -> Self {
        let data = data.iter().filter(|dir| !dir.read_only).map(|dir| Path::new(&dir.path));
        Self {
            node,
            files: [meta].into_iter().chain(data).map(|dir| dir.join(plan::STARTS)).collect(),
        }
    }

    /// The last start that any of the files tells of. One that cannot be read tells nothing: it is a safeguard only.
    fn last(&self) -> u64 {
        let texts = self.files.iter().filter_map(|file| fs::read_to_string(file).ok());
        texts.filter_map(|text| plan::starts(self.node, &text)).max().unwrap_or(0)
    }

    fn save(&self, start: u64) -> Result<(), Trouble> {
        let text = plan::starts_text(self.node, start);
        self.files
            .iter()
            .try_for_each(|file| disk::replace(file, text.as_bytes()).map_err(trouble(file)))
    }
}

/// The node's small files.
#[derive(Clone, Debug)]
pub struct State {
    meta: PathBuf,
}

impl State {
    fn path(&self, file: StateFile) -> PathBuf {
        self.meta.join(match file {
            StateFile::Layout => plan::LAYOUT,
            StateFile::Peers => plan::PEERS,
        })
    }

    /// Replaces one, durably.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, file: StateFile, bytes: &[u8]) -> std::io::Result<()> {
        disk::replace(&self.path(file), bytes)
    }

    fn load(&self) -> Result<Saved, Trouble> {
        let read = |file| {
            let path = self.path(file);
            match fs::read(&path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(trouble(&path)(error)),
            }
        };
        let (layout, peers) = (read(StateFile::Layout)?, read(StateFile::Peers)?);
        Ok(Saved { layout, peers, synced: 0, lost: false })
    }
}

fn open_files(setup: &Setup, used_before: bool) -> Result<Files, Trouble> {
    let options = FilesOptions { fsync: setup.data_fsync, reserve: None, used_before };
    Files::open(Arc::new(here()), setup.data.clone(), options)
        .map_err(|error| Trouble::Data { reason: error.to_string() })
}

/// Takes the lock that keeps a second daemon out.
fn lock(dir: &str, path: &Path) -> Result<File, Trouble> {
    let trouble = trouble(path);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(plan::SECRET_MODE);
    let mut file = options.open(path).map_err(&trouble)?;
    if let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(trouble(error.into()));
        }
        let mut pid = String::new();
        // Only for the message: whoever holds the lock may not have written it yet.
        let by = file.read_to_string(&mut pid).ok().and_then(|_| pid.trim().parse().ok());
        return Err(Trouble::Locked { dir: dir.to_owned(), by });
    }
    file.set_len(0).map_err(&trouble)?;
    writeln!(file, "{}", std::process::id()).map_err(&trouble)?;
    Ok(file)
}
