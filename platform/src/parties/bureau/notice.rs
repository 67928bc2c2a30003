//! What the bureau tells by itself: a card was reported lost, a binding is void.

use schema::personal::{self, PsnNo};
use schema::sign::PublicKey;
use serde::Deserialize;

/// How far a notice's timestamp may lie from our clock, in seconds, either way.
pub const WINDOW_S: i64 = 300;

/// A verified notice. Delivered at least once: `notice_id` is the same on every repetition.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LossNotice {
    /// Its id.
    pub notice_id: String,
    /// The bureau's word for what happened; `loss` is the only one it is known to use.
    pub kind: String,
    /// Whose card.
    #[serde(with = "personal::wire")]
    pub psn_no: PsnNo,
    /// Which binding is void.
    pub bind_no: String,
}

/// Why a notice was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    /// A header is missing, the time is off by more than [`WINDOW_S`], or the signature is not the bureau's.
    #[error("the notice's headers, time or signature are wrong")]
    Signature,
    /// Signed by the bureau, but no notice.
    #[error("the notice cannot be read")]
    Malformed,
}

/// Verifies `x-bureau-signature` (Ed25519 over `timestamp\nnonce\nbody`) and reads the body. `headers` have lower-case
/// names; `now_us` is our clock. A replay inside the window is harmless: the notice id says that it is known.
pub fn open(
    key: &PublicKey,
    headers: &[(String, String)],
    body: &[u8],
    now_us: i64,
) -> Result<LossNotice, NotBelieved> {
    let header = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).ok_or(NotBelieved::Signature)
    };
    let (timestamp, nonce) = (header("x-bureau-timestamp")?, header("x-bureau-nonce")?);
    let told_s: i64 = timestamp.parse().map_err(|_| NotBelieved::Signature)?;
    if (now_us / 1_000_000).abs_diff(told_s) > WINDOW_S.unsigned_abs() {
        return Err(NotBelieved::Signature);
    }
    let mut signed = format!("{timestamp}\n{nonce}\n").into_bytes();
    signed.extend_from_slice(body);
    key.verify(&signed, header("x-bureau-signature")?).map_err(|_| NotBelieved::Signature)?;
    serde_json::from_slice(body).map_err(|_| NotBelieved::Malformed)
}

#[cfg(test)]
mod tests {
    use schema::personal::Personal as _;
    use schema::sign::SigningKey;

    use super::*;

    const NOW_S: i64 = 1_767_225_600;
    const BODY: &str = r#"{"notice_id":"N1","kind":"loss","psn_no":"44190000000000001","bind_no":"B1","at":"x"}"#;

    fn headers(key: &SigningKey, timestamp: &str, body: &str) -> Vec<(String, String)> {
        let signature = key.sign(format!("{timestamp}\nn1\n{body}").as_bytes());
        [("x-bureau-timestamp", timestamp), ("x-bureau-nonce", "n1"), ("x-bureau-signature", &signature)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    #[test]
    fn only_what_the_bureau_signed_a_moment_ago_is_believed() {
        let key = SigningKey::from_seed([1; 32]);
        let open_at = |headers: &[(String, String)], body: &str, now_s: i64| {
            open(&key.public(), headers, body.as_bytes(), now_s * 1_000_000)
        };
        let signed = headers(&key, &NOW_S.to_string(), BODY);
        let notice = open_at(&signed, BODY, NOW_S + WINDOW_S).expect("believed");
        assert_eq!((notice.notice_id.as_str(), notice.kind.as_str(), notice.bind_no.as_str()), ("N1", "loss", "B1"));
        assert_eq!(notice.psn_no, PsnNo::new("44190000000000001"));

        let foreign = headers(&SigningKey::from_seed([2; 32]), &NOW_S.to_string(), BODY);
        for (case, headers, body, now_s) in [
            ("too late", &signed, BODY, NOW_S + WINDOW_S + 1),
            ("from the future", &signed, BODY, NOW_S - WINDOW_S - 1),
            ("another body", &signed, &BODY.replace("B1", "B2")[..], NOW_S),
            ("another key", &foreign, BODY, NOW_S),
            ("a header missing", &signed[..2].to_vec(), BODY, NOW_S),
        ] {
            assert_eq!(open_at(headers, body, now_s), Err(NotBelieved::Signature), "{case}");
        }
        let nonsense = headers_for_nonsense(&key);
        assert_eq!(open_at(&nonsense, "{}", NOW_S), Err(NotBelieved::Malformed));
    }

    fn headers_for_nonsense(key: &SigningKey) -> Vec<(String, String)> {
        headers(key, &NOW_S.to_string(), "{}")
    }
}
