//! The sealed part of a notification: AEAD_AES_256_GCM under the merchant's APIv3 key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::{Value, json};

use super::notice::Notice;
use crate::clock::random_hex;

/// The APIv3 key: 32 characters, agreed with the merchant.
#[derive(Debug)]
pub struct Apiv3Key(LessSafeKey);

impl Apiv3Key {
    /// From its 32 bytes; `None` for any other length.
    pub fn new(text: &str) -> Option<Apiv3Key> {
        UnboundKey::new(&AES_256_GCM, text.as_bytes()).ok().map(|key| Apiv3Key(LessSafeKey::new(key)))
    }

    /// A notification's body, its resource sealed under a fresh nonce.
    pub fn seal(&self, notice: &Notice) -> Value {
        // Twelve hexadecimal characters: WeChat Pay's nonces are printable, and 48 random bits outlast a sandbox key.
        let nonce = random_hex(6);
        let mut sealed = notice.resource.to_string().into_bytes();
        let aead_nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).expect("six bytes are twelve digits");
        self.0
            .seal_in_place_append_tag(aead_nonce, Aad::from(notice.original_type.as_bytes()), &mut sealed)
            .expect("a notification is far smaller than what AES-GCM can seal");
        json!({
            "id": notice.id,
            "create_time": super::core::rfc3339(notice.create_time),
            "event_type": notice.event_type,
            "resource_type": "encrypt-resource",
            "summary": notice.summary,
            "resource": {
                "original_type": notice.original_type,
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": STANDARD.encode(&sealed),
                "associated_data": notice.original_type,
                "nonce": nonce,
            },
        })
    }
}
