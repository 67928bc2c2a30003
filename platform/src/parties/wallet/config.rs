//! How one tenant's service provider reaches the wallet.

use serde::{Deserialize, Serialize};

use crate::parties::secret::Secret;

/// One service provider account (服务商). Stored sealed; `Debug` shows no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalletConfig {
    /// `https://api.mch.weixin.qq.com`, without a slash at its end.
    pub base_url: String,
    /// The service provider's merchant number.
    pub sp_mchid: String,
    /// Its appid; payers' openids belong to it.
    pub sp_appid: String,
    /// Serial number of the merchant certificate that belongs to the private key.
    pub merchant_serial: String,
    /// Signs requests: PKCS#8 PEM, RSA 2048.
    pub merchant_private_key_pem: Secret,
    /// Opens notices: 32 characters.
    pub apiv3_key: Secret,
    /// Checks answers and notices: SPKI PEM.
    pub wechatpay_public_key_pem: String,
    /// `PUB_KEY_ID_…`: the name of that key in `Wechatpay-Serial`.
    pub wechatpay_serial: String,
}
