//! The daemon's directory, and what is opened in it.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use mews_core::{
    block::{
        disk::Disk,
        files::{DataDir, DataFsync, Files, FilesOptions},
    },
    daemon::{
        bounds::Bounds,
        identity::{self, KeyPair, NodeKey},
        plan, texts,
        trouble::Trouble,
    },
    id::{ClusterId, NodeId},
    node::{Node, Saved, Setup, SetupError, StateFile, layouts},
    seed::Seed,
    store::{apply::Delays, read, redb::Db, reserve::Reserve},
    view::Config,
};
use rustix::fs::FlockOperation;

use crate::{
    clock::Clock,
    disk::{self, StdDisk},
    machine::{self, random},
};

/// The daemon's directory, locked for this process.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

/// What a daemon works with.
pub struct Opened {
    /// The clocks, started.
    pub clock: Clock,
    /// Who the node is.
    pub id: NodeId,
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
}

impl Place {
    /// Looks at the directory, creates it if it is missing, locks it.
    ///
    /// # Errors
    /// It holds what is not ours, another daemon has it locked, or the file system refuses.
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
                disk::write_secret(&path, fresh.as_bytes()).map_err(trouble)?;
                Ok(fresh.to_owned())
            }
            Err(error) => Err(trouble(error)),
        }
    }

    /// Writes what quickstart leaves for its user, unless it is there already.
    ///
    /// # Errors
    /// The file system's.
    pub fn write_credentials(&self, key: &KeyPair) -> Result<(), Trouble> {
        let (path, text) = (self.path.join(plan::CREDENTIALS), texts::credentials(key));
        let trouble = |error| Trouble::file(&path.display().to_string(), &error);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        disk::write_secret(&path, text.as_bytes()).map_err(trouble)
    }

    /// Opens what is in the directory, and makes what is missing.
    ///
    /// # Errors
    /// What is there cannot be read, is damaged, or is of another version.
    pub fn open_node(&self, config: Config, bounds: &Bounds) -> Result<Opened, Trouble> {
        let fresh = NodeKey::from_random(random()?).to_text();
        let key = NodeKey::from_text(&self.secret(plan::NODE_KEY, &fresh)?).ok_or_else(|| {
            Trouble::NodeKey { path: self.path.join(plan::NODE_KEY).display().to_string() }
        })?;
        self.secret(plan::ADMIN_TOKEN, &identity::token_text(random()?))?;
        let delays = Delays { block: config.block_delay, tombstone: config.tombstone_delay };
        let db = self.open_database(bounds.cache_bytes, delays)?;
        let used_before = db.snapshot().and_then(|rows| read::holds_blocks(&rows));
        let used_before = used_before.map_err(|error| Trouble::Database {
            path: self.path.join(plan::DATABASE).display().to_string(),
            reason: error.to_string(),
        })?;
        let files = self.open_files(used_before)?;
        let reserve = Reserve::new(Arc::new(StdDisk::new(&self.path)), plan::META, None);
        let clock = Clock::start();
        let id = key.id();
        let state = State { root: self.path.clone() };
        let saved = Saved { layout: Some(self.layout(id, &state)?), ..state.load()? };
        let setup = Setup {
            id,
            boot: db.boot(),
            config,
            seed: Seed::new(random()?),
            hostname: machine::hostname(),
            listen: None,
            public: None,
            bootstrap: Vec::new(),
            saved,
        };
        let node = Node::new(setup, clock.now()).map_err(|SetupError::Damaged(file, reason)| {
            Trouble::State { path: state.path(file).display().to_string(), reason }
        })?;
        let (db, files) = (Arc::new(db), Arc::new(files));
        Ok(Opened { clock, id, node, db, files, state, reserve })
    }

    /// The layouts that are saved; those of a new cluster with this node alone in it, if there are none.
    fn layout(&self, id: NodeId, state: &State) -> Result<Vec<u8>, Trouble> {
        if let Some(saved) = state.load()?.layout {
            return Ok(saved);
        }
        let space = StdDisk::new(&self.path).space(plan::DATA);
        let space = space.map_err(|error| Trouble::Data { reason: error.to_string() })?;
        let role = layouts::default_role(space.total);
        let bytes = layouts::found(id, role, ClusterId(random()?));
        let path = state.path(StateFile::Layout);
        let trouble = |error| Trouble::file(&path.display().to_string(), &error);
        state.save(StateFile::Layout, &bytes).map_err(trouble)?;
        Ok(bytes)
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

/// The node's small files.
#[derive(Clone, Debug)]
pub struct State {
    root: PathBuf,
}

impl State {
    fn path(&self, file: StateFile) -> PathBuf {
        self.root.join(match file {
            StateFile::Layout => plan::LAYOUT,
            StateFile::Peers => plan::PEERS,
        })
    }

    /// Replaces one, durably.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, file: StateFile, bytes: &[u8]) -> std::io::Result<()> {
        disk::write_secret(&self.path(file), bytes)
    }

    fn load(&self) -> Result<Saved, Trouble> {
        let read = |file| {
            let path = self.path(file);
            match fs::read(&path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(Trouble::file(&path.display().to_string(), &error)),
            }
        };
        Ok(Saved { layout: read(StateFile::Layout)?, peers: read(StateFile::Peers)? })
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
