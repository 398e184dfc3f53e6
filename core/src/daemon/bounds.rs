//! Bounds of a daemon, derived from what the machine gives it.

/// How much of everything a daemon may use at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections of clients of the S3 API and of visitors of websites. One more is refused with 503.
    pub connections: usize,
    /// Bytes of request bodies held in block buffers.
    pub upload_bytes: usize,
    /// Bytes of blocks read from disk and not yet sent.
    pub download_bytes: usize,
    /// The database's page cache, in bytes.
    pub cache_bytes: usize,
    /// Threads for blocking work: reading files, hashing, compressing, listing.
    pub blocking_threads: usize,
    /// Scans and listings under way at once.
    pub scans: usize,
    /// Runtime threads.
    pub worker_threads: usize,
}

/// Files open beside connections: the database, the lock, listeners, standard streams, the runtime's own, and as many block
/// files and directories as blocking threads can have open at once (two each).
const RESERVED_FILES: u64 = 128;

/// The fewest connections to the S3 API. A machine that gives less than these takes is starved, and serves as long as it can.
pub const CONNECTIONS_MIN: usize = 16;

const MIB: u64 = 1 << 20;

/// The bounds for a process that may open `open_files` files, on a machine with `memory` bytes and `cores` cores.
pub fn bounds(open_files: u64, memory: u64, cores: usize) -> Bounds {
    // One descriptor each; more than 8192 idle connections (13 KiB each, about 100 MiB) is nothing one node should hold.
    let connections = open_files.saturating_sub(RESERVED_FILES).clamp(CONNECTIONS_MIN as u64, 8192);
    // A 64th of the machine for each direction, and at least what 32 blocks of 1 MiB in flight need: that many keep a disk
    // and a network busy.
    let buffers = (memory / 64).clamp(32 * MIB, 256 * MIB);
    // Upper levels of the database's trees; leaves are in the kernel's page cache.
    let cache = (memory / 128).clamp(8 * MIB, 16 * MIB);
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    // Most of them wait for a disk, some compute.
    let blocking_threads = (cores * 4).clamp(8, 64);
    Bounds {
        connections: size(connections),
        upload_bytes: size(buffers),
        download_bytes: size(buffers),
        cache_bytes: size(cache),
        blocking_threads,
        // So that listings leave threads to blocks.
        scans: blocking_threads / 2,
        worker_threads: cores.clamp(1, 32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_follow_the_machine() {
        let board = bounds(1024, 1 << 30, 4);
        assert_eq!(board.connections, 1024 - 128);
        assert_eq!(board.upload_bytes, 32 << 20);
        assert_eq!(board.cache_bytes, 8 << 20);
        let server = bounds(1 << 20, 64 << 30, 16);
        assert_eq!(server.connections, 8192);
        assert_eq!(server.download_bytes, 256 << 20);
        assert_eq!(bounds(10, 0, 0).connections, 16, "a starved machine still serves");
        assert_eq!(bounds(10, 0, 0).worker_threads, 1);
    }
}
