//! Keys that a start makes once: the node's own, the first access key, the admin token. Random bytes come in from the
//! operating system, by way of the shell.

use curve25519_dalek::MontgomeryPoint;

use crate::id::NodeId;

/// A node's static X25519 private key. Its public key is the node's name.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey([u8; 32]);

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeKey(of {:?})", self.id())
    }
}

impl NodeKey {
    /// A new key from random bytes.
    pub fn from_random(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The key in the text of a key file, if that is what it is.
    pub fn from_text(text: &str) -> Option<Self> {
        secret_from_text(text).map(Self)
    }

    /// The text of the key file.
    pub fn to_text(&self) -> String {
        secret_text(self.0)
    }

    /// The private key itself, for the handshake with other nodes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// The public key (RFC 7748 §5: the base point times the clamped scalar).
    pub fn id(&self) -> NodeId {
        NodeId(MontgomeryPoint::mul_base_clamped(self.0).to_bytes())
    }
}

/// An access key: the id that is sent, and the secret that signs.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The access key id.
    pub id: String,
    /// The secret access key.
    pub secret: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.id)
    }
}

impl KeyPair {
    /// A new access key from random bytes: `GK` and 24 hexadecimal digits, and a secret of 64.
    pub fn from_random(random: [u8; 44]) -> Self {
        let (id, secret) = random.split_at(12);
        Self { id: format!("GK{}", hex::encode(id)), secret: hex::encode(secret) }
    }
}

/// The text of a file with a secret: 64 hexadecimal digits from random bytes, and the end of a line.
pub fn secret_text(random: [u8; 32]) -> String {
    format!("{}\n", hex::encode(random))
}

/// The secret in such a text, if that is what it is.
pub fn secret_from_text(text: &str) -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    hex::decode_to_slice(text.trim(), &mut secret).ok()?;
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_id_is_the_x25519_public_key() {
        // RFC 7748 §6.1, Alice.
        let private = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
        let public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
        let key = NodeKey::from_text(private).expect("64 digits");
        assert_eq!(key.id().to_string(), public);
        assert_eq!(NodeKey::from_text(&key.to_text()), Some(key));
        assert_eq!(NodeKey::from_text(&private[1..]), None);
    }

    #[test]
    fn access_keys_have_the_customary_form() {
        let mut random = [0xab; 44];
        random[12..].fill(0xcd);
        let key = KeyPair::from_random(random);
        assert_eq!(key.id, format!("GK{}", "ab".repeat(12)));
        assert_eq!(key.secret, "cd".repeat(32));
        assert!(!format!("{key:?}").contains("cd"), "a secret in a debug print");
    }
}
