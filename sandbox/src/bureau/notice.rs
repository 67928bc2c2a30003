//! Signed notices to the caller that made a binding: what they look like, and the errand that delivers them.
//!
//! `POST <notice_url>`, body `{notice_id, kind: "loss", psn_no, bind_no, at}` (`at` in RFC 3339), headers
//! `x-bureau-timestamp` (unix seconds), `x-bureau-nonce`, and `x-bureau-signature`: Base64 of Ed25519 over
//! `timestamp ‖ "\n" ‖ nonce ‖ "\n" ‖ body`. The key is at `GET /sandbox/public-key`. Any 2xx ends it; anything else is
//! tried again with growing pauses, at most [`MAX_ATTEMPTS`] times. The notice_id stays the same.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::core::Core;
use super::seal::Keys;
use super::server::Bureau;
use super::state::Notice;
use crate::clock::{china_now, random_hex};
use crate::fault::Fault;

/// After so many vain attempts a notice is given up.
pub const MAX_ATTEMPTS: u32 = 30;

/// A notice ready to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNotice {
    /// `x-bureau-timestamp`.
    pub timestamp: String,
    /// `x-bureau-nonce`.
    pub nonce: String,
    /// `x-bureau-signature`.
    pub signature: String,
    /// The body, byte for byte as signed.
    pub body: String,
}

/// Signs one delivery of a notice. `timestamp` is unix seconds; `nonce` must be fresh.
pub fn sign(keys: &Keys, notice: &Notice, timestamp: i64, nonce: &str) -> SignedNotice {
    let body = json!({
        "notice_id": notice.notice_id,
        "kind": notice.kind,
        "psn_no": notice.psn_no,
        "bind_no": notice.bind_no,
        "at": notice.at.to_rfc3339(),
    })
    .to_string();
    let signature = keys.sign_notice(format!("{timestamp}\n{nonce}\n{body}").as_bytes());
    SignedNotice { timestamp: timestamp.to_string(), nonce: nonce.to_owned(), signature, body }
}

impl Core {
    /// Notices neither delivered nor given up.
    pub fn pending_notices(&self) -> Vec<Notice> {
        self.state.notices.iter().filter(|notice| !notice.done).cloned().collect()
    }

    /// Notes one attempt. `delivered` ends the notice; so does the last vain attempt.
    pub fn notice_tried(&mut self, notice_id: &str, delivered: bool) {
        if let Some(notice) = self.state.notices.iter_mut().find(|notice| notice.notice_id == notice_id) {
            notice.attempts += 1;
            notice.done = delivered || notice.attempts >= MAX_ATTEMPTS;
            self.touched();
        }
    }
}

/// Delivers notices for ever: woken by a new one, or when a vain one is due again.
pub(super) async fn deliver(bureau: Arc<Bureau>, client: reqwest::Client) {
    loop {
        let pending = bureau.with_core(|core| core.pending_notices());
        for notice in &pending {
            let delivered = attempt(&bureau, &client, notice).await;
            bureau.with_core(|core| core.notice_tried(&notice.notice_id, delivered));
        }
        let fewest = bureau.with_core(|core| core.pending_notices().iter().map(|notice| notice.attempts).min());
        match fewest {
            None => bureau.notice_bell.notified().await,
            Some(attempts) => {
                let pause = Duration::from_millis(200).saturating_mul(1 << attempts.min(5)).min(Duration::from_secs(5));
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = bureau.notice_bell.notified() => {}
                }
            }
        }
    }
}

async fn attempt(bureau: &Bureau, client: &reqwest::Client, notice: &Notice) -> bool {
    let fault = if notice.attempts == 0 { bureau.faults.strike(&notice.kind, &notice.psn_no) } else { None };
    if fault == Some(Fault::NeverNotify) {
        return true;
    }
    let copies = if fault == Some(Fault::Duplicate) { 2 } else { 1 };
    let mut delivered = false;
    for _ in 0..copies {
        let (url, signed) = bureau.with_core(|core| {
            let url = core.state().callers.get(&notice.paasid).and_then(|caller| caller.notice_url.clone());
            (url, sign(core.keys(), notice, china_now().timestamp(), &random_hex(16)))
        });
        let Some(url) = url else { return false };
        let sent = client
            .post(url)
            .header("content-type", "application/json")
            .header("x-bureau-timestamp", signed.timestamp)
            .header("x-bureau-nonce", signed.nonce)
            .header("x-bureau-signature", signed.signature)
            .body(signed.body)
            .send()
            .await;
        delivered = sent.is_ok_and(|response| response.status().is_success());
    }
    delivered
}
