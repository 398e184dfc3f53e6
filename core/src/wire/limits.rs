//! The bounds of a connection, and what they come from.
//!
//! What a peer can make this node hold, in all, per connection:
//!
//! | what | bound |
//! |---|---|
//! | before it has proven that it knows the secret | one handshake message ([`HANDSHAKE_MAX`]) and 3 KiB of key state, for [`HANDSHAKE_PATIENCE`] |
//! | its requests, from their first byte until they are answered | the windows: 17 MiB, or one message of [`MESSAGE_MAX`] in a class if that is more |
//! | its responses, from their first byte until they are taken | the same once more, and only in answer to requests of ours |
//! | streams | [`STREAMS`] in each class |
//! | our responses that it does not read | no request is handed out while a window of them waits unsent in its class |
//! | our requests that it does not read | [`QUEUE_WINDOWS`] windows in each class; beyond that, callers are told [`Busy`](crate::effect::PeerError::Busy) |
//! | bytes of a record not yet complete | [`RECORD_MAX`], in the shell's buffer |

use std::time::Duration;

use crate::block::seal::BLOCK_MAX;

/// A record on the wire, with its length in front. A more urgent frame waits for at most one of these (and for what the
/// kernel has buffered): 16 KiB take 13 ms on 10 Mbit/s. The cost of sealing in pieces of this size is below 4 %.
pub const RECORD_MAX: usize = 16 << 10;

/// The least that a peer may announce as its largest record: handshake-sized.
pub(super) const RECORD_MIN: usize = 1 << 10;

/// The length in front of a record.
pub(super) const LENGTH: usize = 2;

/// A handshake message: two keys, two tags and the hello are 140 bytes; twice that, and room for a longer hello.
pub const HANDSHAKE_MAX: usize = 512;

/// The handshake must have ended this long after the connection began: three round trips of the worst network, a slow board's
/// arithmetic and two retransmissions.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// How often a ping is sent, so that the round-trip time stays fresh and routers on the way remember the connection.
pub const PING_EVERY: Duration = Duration::from_secs(5);

/// How long after a ping something must have come, anything. With [`PING_EVERY`], a peer is given up after 15 s of silence.
pub const PONG_PATIENCE: Duration = Duration::from_secs(10);

/// The longest message: the largest block there is, and beside it a head with a page of rows (at most 1 MiB of them, and one
/// row with an inline payload over it).
pub const MESSAGE_MAX: usize = BLOCK_MAX as usize + (4 << 20);

/// Bytes of messages under way in each class of [`Priority`](super::Priority), in each direction, for requests and for responses
/// each. A message longer than its window goes alone and takes all of it.
///
/// - Control: gossip of a few KiB, now and then a layout of 4096 partitions (under 100 KiB).
/// - Request: a PUT's row with an inline payload is at most some 20 KiB, a listing's page 1 MiB.
/// - Bulk: at 50 ms of round trip, 8 MiB carry 160 MB/s, more than a gigabit line.
/// - Background: half of that, as nobody waits.
pub const WINDOWS: [u32; 4] = [1 << 20, 4 << 20, 8 << 20, 4 << 20];

/// The least window that a peer may announce.
pub(super) const WINDOW_MIN: u32 = 64 << 10;

/// Requests of each class that may be open at once with one peer. Request: 256 at 50 ms are 5000 a second. The others: what
/// fills their windows with messages of 256 KiB, and then some.
pub const STREAMS: [u16; 4] = [32, 256, 32, 32];

/// How many windows, and how many times its open streams, a class may have waiting on our side: one on its way and one behind
/// it keep the network busy; more would only hide from callers that the peer is slow.
pub const QUEUE_WINDOWS: usize = 2;

/// A message up to this long overtakes longer ones of its class that have not begun, and goes out in one frame. Rows and
/// questions are shorter, blocks are longer.
pub const SMALL: usize = 4 << 10;

/// What [`poll_output`](super::Connection::poll_output) appends at most, give or take a record: a socket's usual buffer. More
/// would only put distance between a decision about priority and the wire.
pub const OUTPUT: usize = 64 << 10;

/// What is allocated on the word of a message's declared length; the rest follows what really comes. A block of the default
/// size with its head fits, so that it is allocated once.
pub(super) const FIRST_ALLOCATION: usize = (1 << 20) + (16 << 10);

/// Records sealed with one key. 2²⁰ of 16 KiB are 16 GiB, far below where AES-GCM's margins narrow (2²⁴·⁵ full records, RFC 8446
/// §5.5); then both ends go on with the next key (Noise §4.2).
pub(super) const REKEY_EVERY: u64 = 1 << 20;
