//! The identifiers that rows, messages and files are named by.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Stamp;

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, shows $shown:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(#[serde(with = "serde_bytes")] pub [u8; $len]);

        impl $name {
            /// The id whose hexadecimal form is `text`, or nothing if `text` is not exactly that.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut id = [0; $len];
                hex::decode_to_slice(text, &mut id).ok()?;
                Some(Self(id))
            }

            /// The id in these bytes, if their number is right.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // As few as tell two apart in a trace keep its lines short.
                self.0.iter().take($shown).try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    };
}

byte_id!(
    /// The BLAKE3 hash of a block's plain bytes: its name everywhere.
    Hash,
    32,
    shows 4
);
byte_id!(
    /// A node's static X25519 public key.
    NodeId,
    32,
    shows 4
);
byte_id!(
    /// A cluster: drawn when its first layout is applied, so that two clusters are never taken for one.
    ClusterId,
    16,
    shows 4
);
byte_id!(
    /// A bucket, whatever its aliases.
    BucketId,
    16,
    shows 4
);
byte_id!(
    /// One version of an object, one upload or one part: a [`Stamp`] in big-endian order, then 8 random bytes, so that ids
    /// order by (timestamp, id), which is the order in which concurrent writers of one key are resolved.
    VersionId,
    16,
    shows 10
);

byte_id!(
    /// A client's request: what it is called in the log of every node that it touches, and in its answer.
    RequestId,
    8,
    shows 8
);

impl RequestId {
    /// As it is told to the client, and logged.
    pub fn to_text(self) -> String {
        hex::encode_upper(self.0)
    }
}

impl Hash {
    /// The hash of `plain`.
    pub fn of(plain: &[u8]) -> Self {
        Self(*blake3::hash(plain).as_bytes())
    }
}

impl VersionId {
    /// The id made of `stamp` and 8 random bytes.
    pub fn new(stamp: Stamp, random: [u8; 8]) -> Self {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&stamp.0.to_be_bytes());
        id[8..].copy_from_slice(&random);
        Self(id)
    }

    /// When this version was begun.
    pub fn stamp(self) -> Stamp {
        let mut stamp = [0; 8];
        stamp.copy_from_slice(&self.0[..8]);
        Stamp(u64::from_be_bytes(stamp))
    }
}

/// A place on the placement ring: the first 16 bits of a hash. A layout of 2ⁿ partitions gives a partition the positions
/// that share their first n bits, so that a partition's rows are one contiguous range of every sharded table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(pub u16);

impl Position {
    /// Where an index shard of a bucket lives, with all rows of the keys in it.
    pub fn of_shard(bucket: BucketId, shard: u16) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bucket.0);
        hasher.update(&shard.to_be_bytes());
        let hash = hasher.finalize();
        Self(u16::from_be_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]))
    }

    /// Where a block lives, with the rows that count its references.
    pub fn of_block(hash: Hash) -> Self {
        Self(u16::from_be_bytes([hash.0[0], hash.0[1]]))
    }
}
