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
    /// Writes to other nodes are answered when they are sent: a quorum is one node.
    QuorumOfOne,
    /// Replicas take each other for equal and do not synchronise.
    Sync,
    /// Tombstones are forgotten at once, whoever has them.
    EarlyForget,
    /// Blocks that are to be fetched are not.
    Fetch,
    /// Batches that name data which was given up are not refused.
    Fencing,
    /// Batches that make an object in a sealed bucket are not refused.
    Seal,
    /// Acceptors do as a proposer says, whatever they have promised.
    Promises,
    /// What a read finds to be missing on a replica is not written there.
    ReadRepair,
    /// Requests say that they go by the newest layout.
    Outdated,
    /// The other holders of a block are taken to have it.
    Offload,
    /// A node that has lost its rows answers as if it had them all.
    Recovering,
    /// An older database that is put back goes unnoticed.
    Starts,
}

impl Fault {
    /// Those that show on a node that is alone.
    pub const ALONE: [Self; 16] = [
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

    /// Those that show in a cluster.
    pub const CLUSTER: [Self; 13] = [
        Self::QuorumOfOne,
        Self::EarlyAnswer,
        Self::Sync,
        Self::EarlyForget,
        Self::Fetch,
        Self::Fencing,
        Self::Seal,
        Self::Promises,
        Self::ReadRepair,
        Self::Outdated,
        Self::Offload,
        Self::Recovering,
        Self::Starts,
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
            Self::QuorumOfOne => "quorum-of-one",
            Self::Sync => "sync",
            Self::EarlyForget => "early-forget",
            Self::Fetch => "fetch",
            Self::Fencing => "fencing",
            Self::Seal => "seal",
            Self::Promises => "promises",
            Self::ReadRepair => "read-repair",
            Self::Outdated => "outdated",
            Self::Offload => "offload",
            Self::Recovering => "recovering",
            Self::Starts => "starts",
        }
    }

    /// The fault of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALONE.into_iter().chain(Self::CLUSTER).find(|fault| fault.name() == name)
    }
}
