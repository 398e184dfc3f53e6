//! What the two ends say in the clear, before they know what to speak.
//!
//! Eight bytes from each end, at once: `MEWS`, the oldest and the newest version it speaks, its ciphers as bits (1 ChaChaPoly,
//! 2 AES-GCM), and one byte for later, ignored now. Both preambles are the prologue of the handshake, so a change to either
//! on the way makes the handshake fail.

use super::{WireError, noise::Cipher};

/// The versions of the protocol that this release speaks, the oldest and the newest.
pub const VERSIONS: (u8, u8) = (1, 1);

pub(super) const PREAMBLE: usize = 8;
const MAGIC: &[u8; 4] = b"MEWS";
const CHACHA: u8 = 1;
const AES: u8 = 2;

/// One end's offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preamble {
    pub versions: (u8, u8),
    pub ciphers: u8,
    later: u8,
}

impl Preamble {
    pub fn new(aes: bool) -> Self {
        let ciphers = if aes { CHACHA | AES } else { CHACHA };
        Self { versions: VERSIONS, ciphers, later: 0 }
    }

    pub fn encode(self) -> [u8; PREAMBLE] {
        let [m, e, w, s] = *MAGIC;
        [m, e, w, s, self.versions.0, self.versions.1, self.ciphers, self.later]
    }

    /// The offer in these bytes. Fewer than eight are judged by what is there: None is "so far, so good".
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, WireError> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(WireError::NotMews);
        }
        match bytes {
            [_, _, _, _, oldest, newest, ciphers, later, ..] => {
                Ok(Some(Self { versions: (*oldest, *newest), ciphers: *ciphers, later: *later }))
            }
            _ => Ok(None),
        }
    }

    /// What both speak: the newest version and the fastest cipher.
    pub fn agree(self, theirs: Self) -> Result<(u8, Cipher), WireError> {
        let newest = self.versions.1.min(theirs.versions.1);
        let fits = newest >= self.versions.0 && newest >= theirs.versions.0;
        let ciphers = self.ciphers & theirs.ciphers;
        // A release that gives up ChaChaPoly would be a new version, so a peer without it is none of ours.
        if !fits || ciphers & CHACHA == 0 {
            return Err(WireError::Version { ours: self.versions.1, theirs: theirs.versions });
        }
        let cipher = if ciphers & AES != 0 { Cipher::AesGcm } else { Cipher::ChaChaPoly };
        Ok((newest, cipher))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_and_the_fastest_common_cipher_win() {
        let offer = |versions, aes| Preamble { versions, ..Preamble::new(aes) };
        let agree = |a: Preamble, b: Preamble| {
            assert_eq!(a.agree(b).ok(), b.agree(a).ok(), "both ends must come to the same");
            a.agree(b).ok()
        };
        assert_eq!(agree(offer((1, 2), true), offer((1, 1), true)), Some((1, Cipher::AesGcm)));
        assert_eq!(agree(offer((1, 3), true), offer((2, 4), false)), Some((3, Cipher::ChaChaPoly)));
        assert_eq!(agree(offer((1, 1), true), offer((2, 3), true)), None);
        let none = Preamble { ciphers: 0, ..Preamble::new(true) };
        assert_eq!(agree(none, Preamble::new(true)), None);
        let nonsense = offer((9, 0), true);
        assert_eq!(agree(nonsense, Preamble::new(true)), None);
    }

    #[test]
    fn what_is_no_preamble_is_known_by_its_first_wrong_byte() {
        assert_eq!(Preamble::decode(b""), Ok(None));
        assert_eq!(Preamble::decode(b"MEW"), Ok(None));
        assert_eq!(Preamble::decode(b"G"), Err(WireError::NotMews));
        assert_eq!(Preamble::decode(b"MEX"), Err(WireError::NotMews));
        let offer = Preamble::new(true);
        assert_eq!(Preamble::decode(&offer.encode()), Ok(Some(offer)));
    }
}
