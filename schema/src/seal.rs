//! Sealing at rest: AES-256-GCM through `ring`, one set of keys per tenant, and keyed hashes for look-ups.
//!
//! A sealed value is `key number (2 bytes) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`. The key number lets old values be
//! opened while new ones are sealed with the next key. Keys are derived by HKDF-SHA256 from one master secret and the
//! tenant's id, so that only the master secret has to be kept.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::{aead, hkdf, hmac};

use crate::ids::TenantId;

/// Ciphertext. Safe to store, to format and to log: nobody without the tenant's keys learns more than its length.
#[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// The stored bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes stored bytes back; they are checked when opened.
    pub fn from_bytes(bytes: Vec<u8>) -> Sealed {
        Sealed(bytes)
    }
}

impl TryFrom<String> for Sealed {
    type Error = base64::DecodeError;
    fn try_from(text: String) -> Result<Sealed, base64::DecodeError> {
        STANDARD_NO_PAD.decode(text).map(Sealed)
    }
}

impl From<Sealed> for String {
    fn from(sealed: Sealed) -> String {
        STANDARD_NO_PAD.encode(sealed.0)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// A keyed hash (HMAC-SHA256) of a personal value, for finding equal values without opening any.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lookup([u8; 32]);

impl Lookup {
    /// The stored bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The stored bytes, by value.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Reads 32 stored bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Lookup> {
        bytes.try_into().ok().map(Lookup)
    }
}

impl TryFrom<String> for Lookup {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Lookup, &'static str> {
        hex::decode(text).ok().and_then(|bytes| Lookup::from_slice(&bytes)).ok_or("a look-up hash is 64 hex digits")
    }
}

impl From<Lookup> for String {
    fn from(lookup: Lookup) -> String {
        hex::encode(lookup.0)
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lookup({}…)", hex::encode(&self.0[..4]))
    }
}

/// The value was sealed by another tenant, for another purpose, with a key we do not have, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value does not open: other tenant, other purpose, unknown key, or changed")]
pub struct CannotOpen;

/// One tenant's keys. Cloning is cheap enough for composition roots, not for hot paths: share it in an `Arc`.
pub struct Vault {
    current: u16,
    keys: Vec<(u16, aead::LessSafeKey)>,
    lookup: hmac::Key,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault(current key {})", self.current)
    }
}

const NONCE_BYTES: usize = 12;

impl Vault {
    /// Derives the keys numbered `0..=current` of one tenant from the master secret (32 bytes).
    /// New values are sealed with `current`; the look-up key never rotates, or nothing would be found again.
    pub fn derive(master: &[u8; 32], tenant: TenantId, current: u16) -> Vault {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, tenant.uuid().as_bytes());
        let secret = salt.extract(master);
        let bytes = |label: &str| -> [u8; 32] {
            let mut out = [0_u8; 32];
            let info = [label.as_bytes()];
            secret
                .expand(&info, hkdf::HKDF_SHA256)
                .and_then(|okm| okm.fill(&mut out))
                .expect("32 bytes are within what HKDF-SHA256 can give");
            out
        };
        let keys = (0..=current)
            .map(|number| {
                let key = aead::UnboundKey::new(&aead::AES_256_GCM, &bytes(&format!("tongfu seal {number}")))
                    .expect("a 32-byte key fits AES-256");
                (number, aead::LessSafeKey::new(key))
            })
            .collect();
        Vault { current, keys, lookup: hmac::Key::new(hmac::HMAC_SHA256, &bytes("tongfu lookup")) }
    }

    /// Seals `plain` for one `purpose` (a column's name). The nonce must be fresh from the clock's dice.
    pub fn seal(&self, nonce: [u8; NONCE_BYTES], purpose: &str, plain: &[u8]) -> Sealed {
        let mut sealed = Vec::with_capacity(2 + NONCE_BYTES + plain.len() + 16);
        sealed.extend_from_slice(&self.current.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        let mut body = plain.to_vec();
        let (_, key) = self.keys.last().expect("a vault has at least key 0");
        key.seal_in_place_append_tag(
            aead::Nonce::assume_unique_for_key(nonce),
            aead::Aad::from(purpose.as_bytes()),
            &mut body,
        )
        .expect("AES-GCM seals any value shorter than 64 GiB");
        sealed.extend_from_slice(&body);
        Sealed(sealed)
    }

    /// Opens what [`Vault::seal`] sealed for the same purpose.
    pub fn open(&self, purpose: &str, sealed: &Sealed) -> Result<Vec<u8>, CannotOpen> {
        let (number, rest) = sealed.0.split_first_chunk::<2>().ok_or(CannotOpen)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(CannotOpen)?;
        let number = u16::from_be_bytes(*number);
        let (_, key) = self.keys.iter().find(|(known, _)| *known == number).ok_or(CannotOpen)?;
        let mut body = body.to_vec();
        let plain = key
            .open_in_place(aead::Nonce::assume_unique_for_key(*nonce), aead::Aad::from(purpose.as_bytes()), &mut body)
            .map_err(|_| CannotOpen)?;
        Ok(plain.to_vec())
    }

    /// Opens a sealed text.
    pub fn open_text(&self, purpose: &str, sealed: &Sealed) -> Result<String, CannotOpen> {
        String::from_utf8(self.open(purpose, sealed)?).map_err(|_| CannotOpen)
    }

    /// The keyed hash under which a value is found again within one purpose.
    pub fn lookup(&self, purpose: &str, value: &(impl AsRef<[u8]> + ?Sized)) -> Lookup {
        let mut context = hmac::Context::with_key(&self.lookup);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        context.update(value.as_ref());
        let tag = context.sign();
        let mut out = [0_u8; 32];
        out.copy_from_slice(tag.as_ref());
        Lookup(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn vault(tenant: u128, current: u16) -> Vault {
        Vault::derive(&[7; 32], TenantId::from_uuid(Uuid::from_u128(tenant)), current)
    }

    #[test]
    fn a_sealed_value_opens_only_for_its_tenant_and_purpose() {
        let sealed = vault(1, 0).seal([3; 12], "certno", b"441900199001011234");
        assert_eq!(vault(1, 0).open_text("certno", &sealed).as_deref(), Ok("441900199001011234"));
        assert_eq!(vault(2, 0).open("certno", &sealed), Err(CannotOpen));
        assert_eq!(vault(1, 0).open("phone", &sealed), Err(CannotOpen));
    }

    #[test]
    fn old_values_still_open_after_a_rotation_and_look_ups_still_match() {
        let sealed = vault(1, 0).seal([3; 12], "phone", b"13800001234");
        let rotated = vault(1, 1);
        assert_eq!(rotated.open_text("phone", &sealed).as_deref(), Ok("13800001234"));
        assert_eq!(rotated.lookup("phone", "13800001234"), vault(1, 0).lookup("phone", "13800001234"));
        assert_ne!(rotated.seal([3; 12], "phone", b"13800001234"), sealed);
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let sealed = vault(1, 0).seal([3; 12], "phone", b"13800001234");
        for at in 0..sealed.0.len() {
            let mut bytes = sealed.0.clone();
            bytes[at] ^= 1;
            assert_eq!(vault(1, 0).open("phone", &Sealed(bytes)), Err(CannotOpen), "byte {at}");
        }
    }
}
