//! Why a database does not open.

use ::redb::{DatabaseError, StorageError};

use super::FORMAT;

/// Why a database was not opened. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It is not a database of Mews.
    Foreign(String),
    /// It was written by a later Mews.
    Newer {
        /// Its format.
        format: u32,
    },
    /// It is damaged.
    Damaged(String),
    /// Another process has it open.
    Busy,
    /// The disk failed. The text is the operating system's.
    Disk(String),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Foreign(reason) => write!(
                f,
                "the metadata database is not one of Mews ({reason}). Check that the metadata directory is the right one; \
                 nothing in it was changed"
            ),
            Self::Newer { format } => write!(
                f,
                "the metadata database has format {format}, and this Mews knows up to {}. Start the newer Mews that wrote it; \
                 nothing was changed",
                FORMAT.1
            ),
            Self::Damaged(reason) => write!(
                f,
                "the metadata database is damaged ({reason}). Stop here and copy the metadata directory away before anything \
                 else; then put back a snapshot of it, or move the database aside and let this node start empty where other \
                 nodes hold its data. The files of the blocks are not affected. Check the disk before using it again"
            ),
            Self::Busy => write!(
                f,
                "the metadata database is in use by another process. Is this daemon running already?"
            ),
            Self::Disk(reason) => write!(
                f,
                "the metadata database cannot be read or written: {reason}. Check the disk, its free space, and the \
                 permissions of the metadata directory"
            ),
        }
    }
}

impl std::error::Error for OpenError {}

#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is not ours and may grow")]
impl From<DatabaseError> for OpenError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Busy,
            DatabaseError::UpgradeRequired(format) => {
                Self::Foreign(format!("a redb file of the old format {format}"))
            }
            DatabaseError::RepairAborted => Self::Damaged("its repair did not finish".to_owned()),
            DatabaseError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is not ours and may grow")]
impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(reason) => Self::Damaged(reason),
            // What redb says of a file that does not begin as its own do.
            StorageError::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Self::Foreign(error.to_string())
            }
            StorageError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::Damaged("the file is cut short".to_owned())
            }
            other => Self::Disk(other.to_string()),
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is not ours and may grow")]
impl From<::redb::TableError> for OpenError {
    fn from(error: ::redb::TableError) -> Self {
        match error {
            ::redb::TableError::Storage(error) => error.into(),
            other => Self::Foreign(other.to_string()),
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is not ours and may grow")]
impl From<::redb::TransactionError> for OpenError {
    fn from(error: ::redb::TransactionError) -> Self {
        match error {
            ::redb::TransactionError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is not ours and may grow")]
impl From<::redb::CommitError> for OpenError {
    fn from(error: ::redb::CommitError) -> Self {
        match error {
            ::redb::CommitError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}
