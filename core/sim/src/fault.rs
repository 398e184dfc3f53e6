//! Faults that can be planted, to see that the checkers catch them. Each breaks a promise that the rest of the store
//! relies on, in the host that performs the effects or in the disks under it; the core itself is never changed.

/// A fault to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The database's syncs do nothing.
    DatabaseSync,
    /// Block files are not synced.
    FileSync,
    /// Names of block files are not synced.
    DirectorySync,
    /// Commits are answered before they are done.
    EarlyAnswer,
    /// Blocks are answered before their rows are committed.
    EarlyBlockAnswer,
    /// The rows of a block are committed before its file is written.
    RowsBeforeFile,
    /// Blocks are not pinned between their file and their rows, and the reaper does not look at the count again.
    Pin,
    /// Unreferenced blocks are reaped at once.
    BlockDelay,
    /// Guards are not checked.
    Guards,
    /// References to blocks are not written.
    References,
    /// Deletions are answered and not done.
    Tombstones,
    /// Intents are not written.
    Intents,
    /// Payloads of small objects are cut.
    Payloads,
    /// Reads are answered from an old snapshot.
    StaleReads,
    /// A bucket's counters go wrong.
    Counters,
    /// Queued jobs are lost.
    Queue,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 16] = [
        Self::DatabaseSync,
        Self::FileSync,
        Self::DirectorySync,
        Self::EarlyAnswer,
        Self::EarlyBlockAnswer,
        Self::RowsBeforeFile,
        Self::Pin,
        Self::BlockDelay,
        Self::Guards,
        Self::References,
        Self::Tombstones,
        Self::Intents,
        Self::Payloads,
        Self::StaleReads,
        Self::Counters,
        Self::Queue,
    ];

    /// Its name on the command line and in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::DatabaseSync => "database-sync",
            Self::FileSync => "file-sync",
            Self::DirectorySync => "directory-sync",
            Self::EarlyAnswer => "early-answer",
            Self::EarlyBlockAnswer => "early-block-answer",
            Self::RowsBeforeFile => "rows-before-file",
            Self::Pin => "pin",
            Self::BlockDelay => "block-delay",
            Self::Guards => "guards",
            Self::References => "references",
            Self::Tombstones => "tombstones",
            Self::Intents => "intents",
            Self::Payloads => "payloads",
            Self::StaleReads => "stale-reads",
            Self::Counters => "counters",
            Self::Queue => "queue",
        }
    }

    /// The fault of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }
}
