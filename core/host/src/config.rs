//! The configuration file, its secrets and its directories, as they are on this machine.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use mews_core::daemon::{
    config::{self, Checked, Problems, SecretFile, Source},
    setup::Setup,
    trouble::Trouble,
};
use rustix::fs::{Access, access};

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The file itself cannot be read.
    File(Trouble),
    /// What it says is wrong.
    Problems(Problems),
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(trouble) => trouble.fmt(f),
            Self::Problems(problems) => problems.fmt(f),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Reads a configuration file, with the environment and the files that it names.
///
/// # Errors
/// It cannot be read, or all that is wrong with it.
pub fn read(path: &str) -> Result<Checked, ConfigError> {
    let SecretFile { text, mode } =
        file(path).map_err(|error| ConfigError::File(Trouble::file(path, &error)))?;
    let env = |name: &str| std::env::var(name).ok();
    let secret = |path: &str| file(path).map_err(|error| error.to_string());
    let source = Source { path, text: &text, mode, env: &env, file: &secret };
    config::read(&source).map_err(ConfigError::Problems)
}

fn file(path: &str) -> std::io::Result<SecretFile> {
    let mode = fs::metadata(path)?.permissions().mode();
    Ok(SecretFile { text: fs::read_to_string(path)?, mode })
}

/// Everything about the directories of a setup that would keep a daemon from starting, without making or changing any.
pub fn check(setup: &Setup) -> Vec<String> {
    let meta = usable("metadata_dir", &setup.meta, true);
    let data = setup.data.iter().map(|dir| usable("data_dir", &dir.path, !dir.read_only));
    let snapshots = setup.snapshots.iter();
    let snapshots = snapshots.map(|dir| usable("metadata_snapshots_dir", dir, true));
    std::iter::once(meta).chain(data).chain(snapshots).flatten().collect()
}

/// What is wrong with a directory, if anything is: a missing one is made at the start, if what it would be in allows that.
fn usable(key: &str, path: &str, written: bool) -> Option<String> {
    let needed = if written {
        Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK
    } else {
        Access::READ_OK | Access::EXEC_OK
    };
    match fs::metadata(path) {
        Ok(meta) if !meta.is_dir() => Some(format!("{key}: {path} is not a directory")),
        Ok(_) => access(path, needed).err().map(|_| {
            format!("{key}: no permission to use {path}; give it to the daemon's user (chown -R)")
        }),
        Err(error) if missing(&error) && !written => {
            Some(format!("{key}: {path} is read-only, and it is not there; is its disk mounted?"))
        }
        Err(error) if missing(&error) => {
            let parent = existing(Path::new(path))?;
            let parent = parent.display();
            match fs::metadata(parent.to_string()) {
                Ok(meta) if !meta.is_dir() => {
                    Some(format!("{key}: {path} cannot be made: {parent} is not a directory"))
                }
                Ok(_) => access(parent.to_string(), needed)
                    .err()
                    .map(|_| format!("{key}: no permission to make {path} in {parent}")),
                Err(error) => Some(format!("{key}: cannot look at {parent}: {error}")),
            }
        }
        Err(error) => Some(format!("{key}: cannot look at {path}: {error}")),
    }
}

/// Whether a path is not there, or cannot be, as it goes through a file.
fn missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The nearest of a path's parents that is there.
fn existing(path: &Path) -> Option<PathBuf> {
    let parents = path.ancestors().skip(1);
    let named =
        parents.map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    named.map(Path::to_owned).find(|parent| fs::symlink_metadata(parent).is_ok())
}
