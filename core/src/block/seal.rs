//! From plain bytes to a block and back: hashing, compression where it pays, verification.

use bytes::Bytes;
use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe,
};

use super::{Form, Payload};
use crate::id::Hash;

/// The largest block there is, in plain bytes: the bound of `block_size` in the configuration, and of what a reader
/// allocates on the word of a frame's header.
pub const BLOCK_MAX: u32 = 64 << 20;

/// Bytes tried first. Media and archives give themselves away within this; the rest of the block is then left alone.
const PROBE: usize = 64 << 10;

/// What compression must save to be worth a decompression at every read, in percent.
const GAIN_MIN_PERCENT: usize = 3;

/// Why stored bytes are not the block they are filed under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It has, or declares, more plain bytes than a block may have.
    TooLarge {
        /// How many.
        len: u64,
    },
    /// The zstd frame is damaged. The text is the decoder's.
    Frame(String),
    /// The plain bytes have another hash.
    Mismatch {
        /// Theirs.
        found: Hash,
    },
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge { len } => write!(f, "{len} bytes are more than a block may have"),
            Self::Frame(reason) => write!(f, "damaged zstd frame: {reason}"),
            Self::Mismatch { found } => write!(f, "the bytes have the hash {found}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// Hashes `plain` and compresses it if `level` says so and it gets smaller by more than 3 %. CPU-bound: a few milliseconds
/// for a block of 1 MiB. Holds at most one more buffer of the block's size while it works.
pub fn seal(plain: Bytes, level: Option<i32>) -> Payload {
    let len = u32::try_from(plain.len()).expect("blocks are cut far below 4 GiB");
    assert!(len <= BLOCK_MAX, "a block of {len} bytes: the configuration allows up to {BLOCK_MAX}");
    let hash = Hash::of(&plain);
    match level.and_then(|level| compress(&plain, level)) {
        Some(frame) => Payload { hash, len, form: Form::Zstd, bytes: frame.into() },
        None => Payload { hash, len, form: Form::Plain, bytes: plain },
    }
}

/// Verifies what came from a disk or a peer, and decompresses it if need be. `max` bounds the plain bytes, and with them
/// what is allocated. The result is in [`Form::Plain`].
pub fn open(hash: Hash, form: Form, stored: Bytes, max: u32) -> Result<Payload, OpenError> {
    let plain = match form {
        Form::Plain => stored,
        Form::Zstd => decompress(&stored, max)?.into(),
    };
    let too_large = || OpenError::TooLarge { len: plain.len() as u64 };
    let len = u32::try_from(plain.len()).map_err(|_| too_large())?;
    if len > max {
        return Err(too_large());
    }
    let found = Hash::of(&plain);
    if found != hash {
        return Err(OpenError::Mismatch { found });
    }
    Ok(Payload { hash, len, form: Form::Plain, bytes: plain })
}

/// Verifies stored bytes that came from a peer and keeps them as they are, for this node's disk. `max` bounds the plain bytes.
///
/// # Errors
/// As [`open`].
pub fn verify(hash: Hash, form: Form, stored: Bytes, max: u32) -> Result<Payload, OpenError> {
    let len = open(hash, form, stored.clone(), max)?.len;
    Ok(Payload { hash, len, form, bytes: stored })
}

fn compress(plain: &[u8], level: i32) -> Option<Vec<u8>> {
    if plain.len() > PROBE {
        smaller(&plain[..PROBE], level)?;
    }
    smaller(plain, level)
}

/// The frame, if it is small enough. The buffer is no larger than what would count as a gain, so the encoder gives up by
/// itself; its other errors mean the same to us: the block is stored as it is.
fn smaller(plain: &[u8], level: i32) -> Option<Vec<u8>> {
    let mut frame = Vec::with_capacity(plain.len() - plain.len() * GAIN_MIN_PERCENT / 100);
    Compressor::new(level).and_then(|mut zstd| zstd.compress_to_buffer(plain, &mut frame)).ok()?;
    frame.shrink_to_fit();
    Some(frame)
}

fn decompress(frame: &[u8], max: u32) -> Result<Vec<u8>, OpenError> {
    let damaged = |reason: &str| OpenError::Frame(reason.to_owned());
    let len = zstd_safe::get_frame_content_size(frame)
        .map_err(|_| damaged("no frame header"))?
        .ok_or_else(|| damaged("the frame does not tell its length"))?;
    if len > u64::from(max) {
        return Err(OpenError::TooLarge { len });
    }
    let len = usize::try_from(len).map_err(|_| OpenError::TooLarge { len })?;
    let mut plain = Vec::with_capacity(len);
    Decompressor::new()
        .and_then(|mut zstd| zstd.decompress_to_buffer(frame, &mut plain))
        .map_err(|error| OpenError::Frame(error.to_string()))?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seed::Seed;

    fn noise(len: usize) -> Bytes {
        let mut seed = Seed::new([7; 32]);
        let mut bytes = Vec::with_capacity(len + 32);
        while bytes.len() < len {
            bytes.extend_from_slice(&seed.bytes::<32>());
        }
        bytes.truncate(len);
        bytes.into()
    }

    #[test]
    fn noise_stays_as_it_is_and_shares_the_buffer() {
        let plain = noise(1 << 20);
        let payload = seal(plain.clone(), Some(1));
        assert_eq!(payload.stored().0, Form::Plain);
        assert_eq!(payload.plain().map(|b| b.as_ptr()), Some(plain.as_ptr()));
    }

    #[test]
    fn text_is_compressed_only_if_asked() {
        let plain = Bytes::from(b"the quick brown fox ".repeat(10_000));
        assert_eq!(seal(plain.clone(), None).stored().0, Form::Plain);
        let payload = seal(plain.clone(), Some(1));
        let (form, stored) = payload.stored();
        assert_eq!((form, payload.plain()), (Form::Zstd, None));
        assert!(stored.len() * 10 < plain.len());
        let opened = open(payload.hash(), form, stored.clone(), BLOCK_MAX).unwrap();
        assert!(opened.plain() == Some(plain));
    }

    #[test]
    fn a_noisy_start_stops_the_attempt() {
        let mut plain = noise(PROBE).to_vec();
        plain.resize(1 << 20, 0);
        assert_eq!(seal(plain.into(), Some(1)).stored().0, Form::Plain);
    }

    #[test]
    fn a_frame_that_promises_too_much_allocates_nothing() {
        let payload = seal(vec![0; 1 << 20].into(), Some(1));
        let (form, stored) = payload.stored();
        let error = open(payload.hash(), form, stored.clone(), (1 << 20) - 1);
        assert_eq!(error, Err(OpenError::TooLarge { len: 1 << 20 }));
        let error = open(payload.hash(), Form::Plain, vec![0; 9].into(), 8);
        assert_eq!(error, Err(OpenError::TooLarge { len: 9 }));
    }

    #[test]
    fn a_second_frame_behind_the_first_is_damage() {
        let payload = seal(vec![1; 4096].into(), Some(1));
        let twice = payload.stored().1.repeat(2);
        let error = open(payload.hash(), Form::Zstd, twice.into(), BLOCK_MAX).unwrap_err();
        assert!(matches!(error, OpenError::Frame(_)), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_again(
            plain in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..4096),
            level in proptest::option::of(-3..6),
        ) {
            let payload = seal(plain.clone().into(), level);
            let (form, stored) = payload.stored();
            let opened = open(payload.hash(), form, stored.clone(), BLOCK_MAX).unwrap();
            prop_assert_eq!(opened.plain().unwrap(), plain);
        }

        #[test]
        fn damage_is_never_taken_for_the_block(
            plain in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 1..4096),
            at in any::<proptest::sample::Index>(),
            flip in 1u8..,
            cut in any::<bool>(),
        ) {
            let payload = seal(plain.clone().into(), Some(1));
            let (form, stored) = payload.stored();
            let mut bytes = stored.to_vec();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            // A flipped bit that a zstd frame does not care about may still give the right bytes.
            if let Ok(opened) = open(payload.hash(), form, bytes.into(), BLOCK_MAX) {
                prop_assert_eq!(opened.plain().unwrap(), plain);
            }
        }
    }
}
