//! How the city's SMS gateway is reached.

use serde::{Deserialize, Serialize};

use crate::parties::secret::Secret;

/// One gateway account. Stored sealed; `Debug` shows no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmsConfig {
    /// Address in front of `/sms/v1/messages`, without a slash at its end.
    pub base_url: String,
    /// `x-sms-key`.
    pub key: Secret,
}
