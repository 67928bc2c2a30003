//! The keys between one partner and the wallet, made once and kept in a directory.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::{RsaPrivateKey, RsaPublicKey};
use serde::{Deserialize, Serialize};

use crate::clock::{key_random, random_hex};
use crate::snapshot;

/// What the merchant configures: the content of `wallet-credentials.json`. PEM texts are inline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The partner's merchant number.
    pub sp_mchid: String,
    /// The partner's appid.
    pub sp_appid: String,
    /// Serial number of the partner's certificate.
    pub merchant_serial: String,
    /// The partner's private key, PKCS#8 PEM: signs requests.
    pub merchant_private_key_pem: String,
    /// 32 characters: opens notifications.
    pub apiv3_key: String,
    /// The wallet's public key, SPKI PEM: checks answers and notifications.
    pub wechatpay_public_key_pem: String,
    /// `PUB_KEY_ID_…`: names that key in `Wechatpay-Serial`.
    pub wechatpay_serial: String,
}

/// Both sides' keys, as the wallet needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// What the merchant has too.
    pub credentials: Credentials,
    /// The partner's public key, SPKI PEM: checks its requests.
    pub merchant_public_key_pem: String,
    /// The wallet's private key, PKCS#8 PEM: signs answers and notifications.
    pub wechatpay_private_key_pem: String,
}

const CREDENTIALS: &str = "wallet-credentials.json";
const MERCHANT_PRIVATE: &str = "merchant-private-key.pem";
const MERCHANT_PUBLIC: &str = "merchant-public-key.pem";
const WECHATPAY_PRIVATE: &str = "wechatpay-private-key.pem";
const WECHATPAY_PUBLIC: &str = "wechatpay-public-key.pem";

impl Keys {
    /// Fresh keys (two RSA-2048 pairs) for a partner.
    pub fn generate(sp_mchid: &str, sp_appid: &str) -> io::Result<Keys> {
        let (merchant_private_key_pem, merchant_public_key_pem) = pair()?;
        let (wechatpay_private_key_pem, wechatpay_public_key_pem) = pair()?;
        Ok(Keys {
            credentials: Credentials {
                sp_mchid: sp_mchid.to_owned(),
                sp_appid: sp_appid.to_owned(),
                merchant_serial: random_hex(20),
                merchant_private_key_pem,
                apiv3_key: random_hex(16),
                wechatpay_public_key_pem,
                wechatpay_serial: format!("PUB_KEY_ID_01{}", random_hex(13)),
            },
            merchant_public_key_pem,
            wechatpay_private_key_pem,
        })
    }

    /// The keys of `directory`; makes the directory and fresh keys for the given partner when it holds none. The
    /// partner's numbers of existing keys win over those given.
    pub fn open_or_create(directory: &Path, sp_mchid: &str, sp_appid: &str) -> io::Result<Keys> {
        if let Some(credentials) = snapshot::load::<Credentials>(&directory.join(CREDENTIALS))? {
            return Ok(Keys {
                credentials,
                merchant_public_key_pem: std::fs::read_to_string(directory.join(MERCHANT_PUBLIC))?,
                wechatpay_private_key_pem: std::fs::read_to_string(directory.join(WECHATPAY_PRIVATE))?,
            });
        }
        let keys = Keys::generate(sp_mchid, sp_appid)?;
        std::fs::create_dir_all(directory)?;
        write_private(&directory.join(MERCHANT_PRIVATE), keys.credentials.merchant_private_key_pem.as_bytes())?;
        write_private(&directory.join(MERCHANT_PUBLIC), keys.merchant_public_key_pem.as_bytes())?;
        write_private(&directory.join(WECHATPAY_PRIVATE), keys.wechatpay_private_key_pem.as_bytes())?;
        write_private(&directory.join(WECHATPAY_PUBLIC), keys.credentials.wechatpay_public_key_pem.as_bytes())?;
        // Last, because its presence says that the others are whole.
        write_private(&directory.join(CREDENTIALS), &serde_json::to_vec_pretty(&keys.credentials)?)?;
        Ok(keys)
    }
}

fn pair() -> io::Result<(String, String)> {
    let private = RsaPrivateKey::new(&mut key_random(), 2048).map_err(io::Error::other)?;
    let public = RsaPublicKey::from(&private).to_public_key_pem(LineEnding::LF).map_err(io::Error::other)?;
    let private = private.to_pkcs8_pem(LineEnding::LF).map_err(io::Error::other)?;
    Ok((private.to_string(), public))
}

/// Written beside and renamed, so that a file of this name is always whole; readable by its owner only.
fn write_private(file: &Path, content: &[u8]) -> io::Result<()> {
    let beside = file.with_extension("new");
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    out.write_all(content)?;
    out.sync_all()?;
    std::fs::rename(beside, file)
}
