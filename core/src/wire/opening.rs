//! From the first byte of a connection to its session: preambles, then three messages of the handshake.

use bytes::{Buf, BytesMut};

use super::{
    Identity, WireError,
    frame::Hello,
    limits::{HANDSHAKE_MAX, LENGTH},
    noise::Handshake,
    preamble::{PREAMBLE, Preamble},
    seal::Half,
};
use crate::{id::NodeId, seed::Seed};

/// A connection that has no session yet.
pub(super) struct Opening {
    identity: Identity,
    dialer: bool,
    expected: Option<NodeId>,
    seed: Seed,
    /// Once the peer's preamble has come.
    shaking: Option<Shaking>,
}

struct Shaking {
    handshake: Handshake,
    version: u8,
    /// Whether the next message brings the peer's key and hello: the second for the dialer, the third for the acceptor.
    last: bool,
}

/// What the handshake has agreed upon.
pub(super) struct Opened {
    pub peer: NodeId,
    pub hello: Hello,
    pub version: u8,
    pub seal: Half,
    pub open: Half,
}

impl Opening {
    /// What snow's handshake holds beside this: its state, boxed, and the boxes of its parts.
    pub const HANDSHAKE: usize = 4 << 10;

    /// Begins, and puts our preamble into `pending`.
    pub fn new(
        identity: &Identity,
        dialer: bool,
        expected: Option<NodeId>,
        seed: Seed,
        pending: &mut BytesMut,
    ) -> Self {
        pending.extend_from_slice(&Preamble::new(identity.aes).encode());
        Self { identity: identity.clone(), dialer, expected, seed, shaking: None }
    }

    /// Takes all complete messages from `input`, puts what answers them into `pending`, and gives what was agreed upon when all
    /// is said. Of no more use after that.
    pub fn handle_input(
        &mut self,
        input: &mut BytesMut,
        pending: &mut BytesMut,
    ) -> Result<Option<Opened>, WireError> {
        let Some(mut shaking) = self.shaking.take() else {
            let Some(theirs) = Preamble::decode(input)? else { return Ok(None) };
            input.advance(PREAMBLE);
            self.shaking = Some(self.begin(theirs, pending)?);
            return self.handle_input(input, pending);
        };
        let Some(message) = complete(input)? else {
            self.shaking = Some(shaking);
            return Ok(None);
        };
        if shaking.last {
            return self.finish(shaking, &message, pending).map(Some);
        }
        shaking.handshake.read(&message, &mut [0; HANDSHAKE_MAX])?;
        shaking.handshake.write(&Hello::ours().encode(), pending);
        shaking.last = true;
        self.shaking = Some(shaking);
        self.handle_input(input, pending)
    }

    fn begin(&self, theirs: Preamble, pending: &mut BytesMut) -> Result<Shaking, WireError> {
        let ours = Preamble::new(self.identity.aes);
        let (version, cipher) = ours.agree(theirs)?;
        let (first, second) = if self.dialer { (ours, theirs) } else { (theirs, ours) };
        let prologue = [first.encode(), second.encode()].concat();
        let (identity, seed) = (&self.identity, self.seed.clone());
        let mut handshake = Handshake::new(identity, seed, cipher, &prologue, self.dialer);
        if self.dialer {
            handshake.write(&[], pending);
        }
        Ok(Shaking { handshake, version, last: self.dialer })
    }

    fn finish(
        &self,
        shaking: Shaking,
        message: &[u8],
        pending: &mut BytesMut,
    ) -> Result<Opened, WireError> {
        let Shaking { mut handshake, version, .. } = shaking;
        let mut payload = [0; HANDSHAKE_MAX];
        // The secret is mixed into the third message: who cannot make that one does not know it.
        let wrong = if self.dialer { WireError::Handshake } else { WireError::Secret };
        let hello = handshake.read(message, &mut payload).map_err(|_| wrong)?;
        let hello = Hello::decode(hello)?;
        let peer = handshake.peer().ok_or(WireError::Handshake)?;
        if peer == self.identity.id {
            return Err(WireError::Myself);
        }
        if let Some(expected) = self.expected.filter(|expected| *expected != peer) {
            return Err(WireError::WrongPeer { expected, found: peer });
        }
        if self.dialer {
            handshake.write(&Hello::ours().encode(), pending);
        }
        let (seal, open) = handshake.split();
        Ok(Opened { peer, hello, version, seal, open })
    }
}

/// The first message in `input`, without its length; None if it is not all there.
fn complete(input: &mut BytesMut) -> Result<Option<BytesMut>, WireError> {
    let [high, low, ..] = &input[..] else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if len > HANDSHAKE_MAX {
        return Err(WireError::Handshake);
    }
    if input.len() < LENGTH + len {
        return Ok(None);
    }
    input.advance(LENGTH);
    Ok(Some(input.split_to(len)))
}
