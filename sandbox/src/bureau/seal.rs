//! The bureau's keys: SM2 to open sealed card passwords, Ed25519 to sign notices.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use sm2::elliptic_curve::sec1::ToSec1Point;
use sm2::pke::{DecryptingKey, EncryptingKey};
use sm2::{PublicKey, SecretKey};

use crate::clock::{seal_random, system_random};

/// Both secret keys, as 32 bytes in hexadecimal. Kept with the state so that a restart keeps the public keys.
#[derive(Clone, Serialize, Deserialize)]
pub struct Keys {
    sm2_secret: String,
    notice_seed: String,
}

impl Keys {
    /// Fresh keys from the operating system.
    pub fn generate() -> Keys {
        let mut seed = [0_u8; 32];
        system_random().fill(&mut seed).expect("the operating system gives random bytes");
        Keys::derive(&seed)
    }

    /// The same keys for the same seed; for simulations and tests.
    pub fn from_seed(seed: u64) -> Keys {
        Keys::derive(&seed.to_be_bytes())
    }

    fn derive(seed: &[u8]) -> Keys {
        let part = |label: &str, round: u8| digest(&SHA256, &[label.as_bytes(), seed, &[round]].concat());
        // Nearly every 32 bytes are an SM2 secret; those that are not are passed over.
        let sm2_secret = (0..=u8::MAX)
            .map(|round| part("sm2", round))
            .find(|bytes| SecretKey::from_slice(bytes.as_ref()).is_ok())
            .expect("one of 256 hashes lies below the order of the curve");
        Keys { sm2_secret: hex::encode(sm2_secret), notice_seed: hex::encode(part("notice", 0)) }
    }

    fn sm2(&self) -> Option<SecretKey> {
        SecretKey::from_slice(&hex::decode(&self.sm2_secret).ok()?).ok()
    }

    fn notice(&self) -> Option<Ed25519KeyPair> {
        Ed25519KeyPair::from_seed_unchecked(&hex::decode(&self.notice_seed).ok()?).ok()
    }

    /// The key card passwords are sealed to: Base64 of the uncompressed point (65 bytes, 04 ‖ x ‖ y).
    /// Empty when the stored key is damaged.
    pub fn card_public_key(&self) -> String {
        self.sm2().map(|key| BASE64.encode(key.public_key().to_sec1_point(false).as_bytes())).unwrap_or_default()
    }

    /// The key notices verify with: Base64 of 32 bytes. Empty when the stored key is damaged.
    pub fn notice_public_key(&self) -> String {
        self.notice().map(|pair| BASE64.encode(pair.public_key().as_ref())).unwrap_or_default()
    }

    /// Opens what [`seal_card_password`] sealed; `None` when it is not for this key or is damaged.
    pub fn open_card_password(&self, sealed: &str) -> Option<String> {
        let key = DecryptingKey::new(self.sm2()?);
        String::from_utf8(key.decrypt(&BASE64.decode(sealed).ok()?).ok()?).ok()
    }

    /// Base64 Ed25519 signature. Empty when the stored key is damaged.
    pub fn sign_notice(&self, message: &[u8]) -> String {
        self.notice().map(|pair| BASE64.encode(pair.sign(message).as_ref())).unwrap_or_default()
    }
}

/// The public key handed to [`seal_card_password`] is no SM2 key, or the password is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the public key is no SM2 point in Base64, or the password is empty")]
pub struct CannotSeal;

/// Seals a card password as a phone does: Base64 of the SM2 ciphertext C1‖C3‖C2 (C1 uncompressed, 04 first) of the
/// UTF-8 password to the bureau's public key (Base64, uncompressed point), as `B001` wants in `card_pwd_sealed`.
pub fn try_seal_card_password(public_key_base64: &str, password: &str) -> Result<String, CannotSeal> {
    let point = BASE64.decode(public_key_base64).map_err(|_| CannotSeal)?;
    let key = EncryptingKey::from(PublicKey::from_sec1_bytes(&point).map_err(|_| CannotSeal)?);
    Ok(BASE64.encode(key.encrypt(&mut seal_random(), password.as_bytes()).map_err(|_| CannotSeal)?))
}

/// [`try_seal_card_password`] for callers that hold a good key; an unusable key gives an empty text, which the bureau
/// refuses as unreadable.
pub fn seal_card_password(public_key_base64: &str, password: &str) -> String {
    try_seal_card_password(public_key_base64, password).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_password_opens_with_the_bureaus_key_only() {
        let keys = Keys::from_seed(1);
        let sealed = seal_card_password(&keys.card_public_key(), "135790");
        assert_eq!(keys.open_card_password(&sealed).as_deref(), Some("135790"));
        assert_eq!(Keys::from_seed(2).open_card_password(&sealed), None);
        assert_eq!(keys.open_card_password("bm90IHNlYWxlZA=="), None);
        assert_eq!(BASE64.decode(keys.card_public_key()).map(|point| (point.len(), point[0])), Ok((65, 4)));
    }

    #[test]
    fn an_unusable_key_seals_nothing() {
        assert_eq!(try_seal_card_password("AAAA", "135790"), Err(CannotSeal));
        assert_eq!(try_seal_card_password(&Keys::from_seed(1).card_public_key(), ""), Err(CannotSeal));
    }
}
