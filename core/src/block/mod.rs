//! Blocks: content-addressed by BLAKE3, compressed where that makes them smaller, verified end to end, counted by live
//! references, deleted after a delay, scrubbed.

pub mod chore;
mod chores;
mod dirs;
pub mod disk;
pub mod files;
pub mod mem;
mod pins;
pub mod seal;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::Hash;

/// A block on its way through the machine. The core moves it and never reads it; cloning it copies no bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    hash: Hash,
    len: u32,
    form: Form,
    bytes: Bytes,
}

/// How a block's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// As they are.
    #[serde(rename = "p")]
    Plain,
    /// A zstd frame.
    #[serde(rename = "z")]
    Zstd,
}

impl Payload {
    /// The hash of the plain bytes: the block's name.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// How many plain bytes there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether the block has no bytes. Blocks never are empty; objects without bytes have no blocks.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The plain bytes, without a copy, unless they are compressed: [`seal::open`] gives those.
    pub fn plain(&self) -> Option<Bytes> {
        match self.form {
            Form::Plain => Some(self.bytes.clone()),
            Form::Zstd => None,
        }
    }

    /// The same block, its bytes wrapped by `hold`, which must not change them: so that a shell can tie a share of its memory
    /// to a block's life.
    #[must_use]
    pub fn held_by(self, hold: impl FnOnce(Bytes) -> Bytes) -> Self {
        Self { bytes: hold(self.bytes), ..self }
    }

    /// For the shell's disk and network: the bytes as they are stored.
    pub fn stored(&self) -> (Form, &Bytes) {
        (self.form, &self.bytes)
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({:?}, {} B, {:?})", self.hash, self.len, self.form)
    }
}
