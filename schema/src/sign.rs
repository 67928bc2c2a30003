//! Ed25519 signatures (through `ring`): link messages, adapter keys, the bureau's notices.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{self, KeyPair as _};
use serde::{Deserialize, Serialize};

/// The algorithm of a signature, named in every signed message so that a tenant can demand another one later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032).
    Ed25519,
}

/// A public key: 32 bytes, written as Base64.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

/// The text is not the Base64 of 32 bytes, or a stored private key is not 32 bytes of hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 key / 不是有效的Ed25519密钥")]
pub struct NotAKey;

/// The signature does not belong to this key and these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
pub struct WrongSignature;

impl PublicKey {
    /// Reads Base64.
    pub fn parse(text: &str) -> Result<PublicKey, NotAKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| NotAKey)?;
        bytes.try_into().map(PublicKey).map_err(|_| NotAKey)
    }

    /// Checks a Base64 signature over `bytes`.
    pub fn verify(&self, bytes: &[u8], signature_base64: &str) -> Result<(), WrongSignature> {
        let signature = STANDARD.decode(signature_base64).map_err(|_| WrongSignature)?;
        signature::UnparsedPublicKey::new(&signature::ED25519, self.0)
            .verify(bytes, &signature)
            .map_err(|_| WrongSignature)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = NotAKey;
    fn try_from(text: String) -> Result<PublicKey, NotAKey> {
        PublicKey::parse(&text)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        STANDARD.encode(key.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A private key. Cannot be formatted; written to disk only by [`SigningKey::to_hex_seed`]'s caller.
pub struct SigningKey {
    pair: signature::Ed25519KeyPair,
    seed: [u8; 32],
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}

impl SigningKey {
    /// Makes the key pair of a 32-byte seed that the caller took from its source of randomness.
    pub fn from_seed(seed: [u8; 32]) -> SigningKey {
        let pair = signature::Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are an Ed25519 seed");
        SigningKey { pair, seed }
    }

    /// Reads a seed written as 64 hex digits.
    pub fn from_hex_seed(text: &str) -> Result<SigningKey, NotAKey> {
        let bytes = hex::decode(text.trim()).map_err(|_| NotAKey)?;
        bytes.try_into().map(SigningKey::from_seed).map_err(|_| NotAKey)
    }

    /// The seed as 64 hex digits, for a key file that only its owner can read.
    pub fn to_hex_seed(&self) -> String {
        hex::encode(self.seed)
    }

    /// The public half, to be registered with the other side.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0_u8; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    /// Signs; Base64.
    pub fn sign(&self, bytes: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(bytes).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_belongs_to_one_key_and_one_text() {
        let key = SigningKey::from_seed([1; 32]);
        let signature = key.sign(b"bill 1");
        assert_eq!(key.public().verify(b"bill 1", &signature), Ok(()));
        assert_eq!(key.public().verify(b"bill 2", &signature), Err(WrongSignature));
        assert_eq!(SigningKey::from_seed([2; 32]).public().verify(b"bill 1", &signature), Err(WrongSignature));
    }
}
