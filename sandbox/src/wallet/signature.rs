//! APIv3 signatures: RSA PKCS#1 v1.5 with SHA-256 over lines each ended by a newline.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pkcs8::{DecodePublicKey, Document, SecretDocument};

use crate::clock::system_random;

/// The scheme's name in `Authorization`.
pub const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// How a probe's signature begins; it never verifies.
pub const PROBE: &str = "WECHATPAY/SIGNTEST/";

/// A key that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadKey(String);

/// What a request's signature covers: five lines.
pub fn request_text(method: &str, path_and_query: &str, timestamp: i64, nonce: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method}\n{path_and_query}\n{timestamp}\n{nonce}\n").into_bytes();
    text.extend_from_slice(body);
    text.push(b'\n');
    text
}

/// What the signature of an answer or a notification covers: three lines.
pub fn answer_text(timestamp: i64, nonce: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{timestamp}\n{nonce}\n").into_bytes();
    text.extend_from_slice(body);
    text.push(b'\n');
    text
}

/// A private key that signs.
#[derive(Debug)]
pub struct SigningKey(RsaKeyPair);

impl SigningKey {
    /// From PKCS#8 PEM.
    pub fn from_pem(pem: &str) -> Result<SigningKey, BadKey> {
        let (_, der) = SecretDocument::from_pem(pem).map_err(|fault| BadKey(fault.to_string()))?;
        RsaKeyPair::from_pkcs8(der.as_bytes()).map(SigningKey).map_err(|fault| BadKey(fault.to_string()))
    }

    /// The signature in Base64.
    pub fn sign(&self, text: &[u8]) -> String {
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &system_random(), text, &mut signature)
            .expect("a buffer of the modulus' length holds the signature");
        STANDARD.encode(signature)
    }
}

/// A public key that checks.
#[derive(Debug)]
pub struct CheckingKey(Document);

impl CheckingKey {
    /// From SPKI PEM.
    pub fn from_pem(pem: &str) -> Result<CheckingKey, BadKey> {
        let key = rsa::RsaPublicKey::from_public_key_pem(pem).map_err(|fault| BadKey(fault.to_string()))?;
        key.to_pkcs1_der().map(CheckingKey).map_err(|fault| BadKey(fault.to_string()))
    }

    /// Whether the Base64 signature is this key's over `text`.
    pub fn holds(&self, text: &[u8], signature: &str) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.0.as_bytes());
        STANDARD.decode(signature).is_ok_and(|bytes| key.verify(text, &bytes).is_ok())
    }
}

/// The items of an `Authorization` header, in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorization {
    /// Who signs.
    pub mchid: String,
    /// At most 32 characters.
    pub nonce_str: String,
    /// Base64.
    pub signature: String,
    /// Unix seconds.
    pub timestamp: i64,
    /// Of the merchant's certificate.
    pub serial_no: String,
}

impl Authorization {
    /// Reads the header's value; `None` for another scheme or when an item is missing, unknown, double or unquoted.
    pub fn parse(header: &str) -> Option<Authorization> {
        let items = header.strip_prefix(SCHEME)?.strip_prefix(' ')?;
        let mut found = Authorization::default();
        let mut timestamp = String::new();
        for item in items.split(',') {
            let (name, value) = item.trim().split_once('=')?;
            let value = value.strip_prefix('"')?.strip_suffix('"')?;
            let slot = match name {
                "mchid" => &mut found.mchid,
                "nonce_str" => &mut found.nonce_str,
                "signature" => &mut found.signature,
                "timestamp" => &mut timestamp,
                "serial_no" => &mut found.serial_no,
                _ => return None,
            };
            if value.is_empty() || !slot.is_empty() {
                return None;
            }
            value.clone_into(slot);
        }
        found.timestamp = timestamp.parse().ok()?;
        let complete = [&found.mchid, &found.nonce_str, &found.signature, &found.serial_no];
        complete.iter().all(|item| !item.is_empty()).then_some(found)
    }
}
