//! The handshake: snow's state machine with our randomness and `ring`'s ciphers.

use blake2::{Blake2s256, Digest};
use bytes::{BufMut, BytesMut};
use curve25519_dalek::MontgomeryPoint;
use snow::{
    Builder, HandshakeState,
    params::{CipherChoice, DHChoice, HashChoice},
    resolvers::CryptoResolver,
    types::{Dh, Hash, Random},
};

use super::{
    Identity, WireError,
    limits::HANDSHAKE_MAX,
    seal::{Half, Key},
};
use crate::{id::NodeId, seed::Seed};

/// The cipher of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// ChaCha20-Poly1305: fast on every machine.
    ChaChaPoly,
    /// AES-256-GCM: twice as fast where both machines have instructions for it.
    AesGcm,
}

impl Cipher {
    fn protocol(self) -> &'static str {
        match self {
            Self::ChaChaPoly => "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s",
            Self::AesGcm => "Noise_XXpsk3_25519_AESGCM_BLAKE2s",
        }
    }
}

/// Where snow gets its parts from. Randomness comes from a seed.
struct Parts(Seed);

impl CryptoResolver for Parts {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(SeedRandom(self.0.clone())))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        (*choice == DHChoice::Curve25519).then(|| Box::<X25519>::default() as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        (*choice == HashChoice::Blake2s).then(|| Box::<Blake2s>::default() as Box<dyn Hash>)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn snow::types::Cipher>> {
        let cipher = match choice {
            CipherChoice::ChaChaPoly => Cipher::ChaChaPoly,
            CipherChoice::AESGCM => Cipher::AesGcm,
        };
        Some(Box::new(SnowCipher(Key::new(cipher, &[0; 32]))))
    }
}

struct SeedRandom(Seed);

impl Random for SeedRandom {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        for piece in dest.chunks_mut(32) {
            piece.copy_from_slice(&self.0.bytes::<32>()[..piece.len()]);
        }
        Ok(())
    }
}

/// X25519 (RFC 7748 §5).
#[derive(Default)]
struct X25519 {
    private: [u8; 32],
    public: [u8; 32],
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, private: &[u8]) {
        self.private.copy_from_slice(private);
        self.public = MontgomeryPoint::mul_base_clamped(self.private).to_bytes();
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), snow::Error> {
        let mut private = [0; 32];
        random.try_fill_bytes(&mut private)?;
        self.set(&private);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &self.private
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let point = public.first_chunk().copied().ok_or(snow::Error::Dh)?;
        let shared = MontgomeryPoint(point).mul_clamped(self.private).to_bytes();
        // A point of small order gives zero whatever the private key is: as an id, it would be anybody's (RFC 7748 §6.1).
        if shared == [0; 32] {
            return Err(snow::Error::Dh);
        }
        out[..32].copy_from_slice(&shared);
        Ok(())
    }
}

/// BLAKE2s (RFC 7693).
#[derive(Default)]
struct Blake2s(Blake2s256);

impl Hash for Blake2s {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = Blake2s256::new();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        out[..32].copy_from_slice(&self.0.finalize_reset());
    }
}

/// `ring`'s ciphers as snow wants them; used for the two or three sealed parts of the handshake alone.
struct SnowCipher(Key);

impl snow::types::Cipher for SnowCipher {
    fn name(&self) -> &'static str {
        match self.0.cipher() {
            Cipher::ChaChaPoly => "ChaChaPoly",
            Cipher::AesGcm => "AESGCM",
        }
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = Key::new(self.0.cipher(), key);
    }

    fn encrypt(&self, nonce: u64, ad: &[u8], plain: &[u8], out: &mut [u8]) -> usize {
        out[..plain.len()].copy_from_slice(plain);
        let tag = self.0.seal(nonce, ad, &mut out[..plain.len()]);
        out[plain.len()..plain.len() + tag.len()].copy_from_slice(&tag);
        plain.len() + tag.len()
    }

    fn decrypt(
        &self,
        nonce: u64,
        ad: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<usize, snow::Error> {
        let mut copy = sealed.to_vec();
        let plain = self.0.open(nonce, ad, &mut copy).ok_or(snow::Error::Decrypt)?;
        out.get_mut(..plain).ok_or(snow::Error::Decrypt)?.copy_from_slice(&copy[..plain]);
        Ok(plain)
    }
}

/// The handshake under way.
pub(super) struct Handshake {
    // Boxed, as it is most of a kilobyte and gone after three messages.
    state: Box<HandshakeState>,
    cipher: Cipher,
}

impl Handshake {
    pub fn new(
        identity: &Identity,
        seed: Seed,
        cipher: Cipher,
        prologue: &[u8],
        dialer: bool,
    ) -> Self {
        let state = (|| {
            let params = cipher.protocol().parse()?;
            let builder = Builder::with_resolver(params, Box::new(Parts(seed)))
                .local_private_key(&identity.key)?
                .psk(3, &identity.secret)?
                .prologue(prologue)?;
            if dialer { builder.build_initiator() } else { builder.build_responder() }
        })();
        // Names, sizes and parts are all fixed above.
        let state = state.expect("the protocol's parts are all there");
        Self { state: Box::new(state), cipher }
    }

    /// Appends our next message, its length in front.
    pub fn write(&mut self, payload: &[u8], out: &mut BytesMut) {
        let mut message = [0; HANDSHAKE_MAX];
        let written = self.state.write_message(payload, &mut message);
        let len = written.expect("it is our turn, and a hello fits");
        out.put_u16(u16::try_from(len).expect("HANDSHAKE_MAX fits"));
        out.put_slice(&message[..len]);
    }

    /// Takes the peer's next message and gives its payload.
    pub fn read<'a>(
        &mut self,
        message: &[u8],
        payload: &'a mut [u8; HANDSHAKE_MAX],
    ) -> Result<&'a [u8], WireError> {
        match self.state.read_message(message, payload) {
            Ok(len) => Ok(&payload[..len]),
            Err(_) => Err(WireError::Handshake),
        }
    }

    /// Who is at the other end, once its key has come.
    pub fn peer(&self) -> Option<NodeId> {
        self.state.get_remote_static().and_then(NodeId::from_slice)
    }

    /// The session's two halves: what we seal, what we open.
    pub fn split(mut self) -> (Half, Half) {
        let (from_dialer, from_acceptor) = self.state.dangerously_get_raw_split();
        let dialer = Half::new(Key::new(self.cipher, &from_dialer));
        let acceptor = Half::new(Key::new(self.cipher, &from_acceptor));
        if self.state.is_initiator() { (dialer, acceptor) } else { (acceptor, dialer) }
    }
}
