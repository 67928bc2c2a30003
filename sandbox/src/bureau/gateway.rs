//! The header signature in front of everything (Guangdong TIF gateway).

use std::collections::BTreeMap;

use super::caller::{Caller, gateway_signature};

/// How far a caller's clock may be off, either way.
pub const TOLERANCE_S: i64 = 300;

/// The four headers as they came; an absent one is empty.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// `x-tif-paasid`.
    pub paasid: String,
    /// `x-tif-timestamp`, unix seconds.
    pub timestamp: String,
    /// `x-tif-nonce`, never used twice by one caller within the tolerance.
    pub nonce: String,
    /// `x-tif-signature`.
    pub signature: String,
}

/// Remembers nonces. In memory only: after a restart a replay within the tolerance would pass the gateway, and then
/// meet the msgid check of the core.
#[derive(Debug, Default)]
pub struct Gateway {
    seen: BTreeMap<(String, String), i64>,
    swept_at: i64,
}

impl Gateway {
    /// The caller, or what is wrong. `now` is unix seconds.
    pub fn admit(
        &mut self,
        callers: &BTreeMap<String, Caller>,
        headers: &Headers,
        now: i64,
    ) -> Result<Caller, &'static str> {
        let Headers { paasid, timestamp, nonce, signature } = headers;
        if [paasid, timestamp, nonce, signature].iter().any(|value| value.is_empty()) {
            return Err("缺少x-tif-*签名头 x-tif-paasid, -timestamp, -nonce and -signature are required");
        }
        let caller = callers.get(paasid).ok_or("未注册的paasid unknown x-tif-paasid")?;
        let at: i64 = timestamp.parse().map_err(|_| "x-tif-timestamp须为秒 x-tif-timestamp must be unix seconds")?;
        if gateway_signature(timestamp, &caller.secret, nonce) != *signature {
            return Err("签名错误 x-tif-signature is wrong");
        }
        if now.saturating_sub(at).saturating_abs() > TOLERANCE_S {
            return Err("时间戳过期 x-tif-timestamp is more than 5 minutes off");
        }
        // Nonces are remembered for as long as their timestamp would still be accepted.
        if now.saturating_sub(self.swept_at) > TOLERANCE_S {
            self.seen.retain(|_, at| now.saturating_sub(*at) <= TOLERANCE_S);
            self.swept_at = now;
        }
        if self.seen.insert((paasid.clone(), nonce.clone()), at).is_some() {
            return Err("随机数重复 x-tif-nonce was used before");
        }
        Ok(caller.clone())
    }
}
