//! Delivering notifications: signed, repeated on WeChat Pay's schedule until answered 200 or 204.

use std::sync::Arc;
use std::time::Duration;

use super::notice::Notice;
use super::server::Wallet;
use super::signature::PROBE;
use crate::clock::{china_now, random_hex};
use crate::fault::Fault;

/// Seconds before each repeat: 15 in all, as published by WeChat Pay.
const REPEATS_S: [u64; 15] = [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600];

enum Attempt {
    /// Answered 200 or 204.
    Heard,
    /// Try again by the schedule.
    Unheard,
    /// A fault rule says this event is never told.
    Dropped,
}

/// Delivers one notice until it is heard, dropped, or the schedule is through; then forgets it.
pub(super) async fn deliver(wallet: Arc<Wallet>, notice: Notice) {
    let repeats = REPEATS_S.iter().map(|seconds| wallet.scaled(*seconds));
    for wait in std::iter::once(Duration::ZERO).chain(repeats) {
        tokio::time::sleep(wait).await;
        match attempt(&wallet, &notice).await {
            Attempt::Heard | Attempt::Dropped => break,
            Attempt::Unheard => {}
        }
    }
    wallet.forget_notice(&notice.id);
}

async fn attempt(wallet: &Wallet, notice: &Notice) -> Attempt {
    if wallet.faults.strike("notify-probe", &notice.out_trade_no).is_some() {
        send(wallet, notice, Signature::Probe).await;
    }
    match wallet.faults.strike("notify", &notice.out_trade_no) {
        Some(Fault::NeverNotify) => return Attempt::Dropped,
        Some(Fault::NeitherDoNorAnswer | Fault::AnswerButDoNotDo | Fault::Refuse { .. } | Fault::Busy) => {
            return Attempt::Unheard;
        }
        Some(Fault::DoButDoNotAnswer) => {
            send(wallet, notice, Signature::True).await;
            return Attempt::Unheard;
        }
        Some(Fault::Duplicate) => {
            send(wallet, notice, Signature::True).await;
        }
        Some(Fault::Delay { delay_ms } | Fault::LateCommit { delay_ms }) => {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        Some(Fault::ExecuteAfterReversal { .. } | Fault::Differ | Fault::NotFoundIsAnError) | None => {}
    }
    if send(wallet, notice, Signature::True).await { Attempt::Heard } else { Attempt::Unheard }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signature {
    True,
    /// Made to fail: a merchant that accepts it does not check signatures.
    Probe,
}

async fn send(wallet: &Wallet, notice: &Notice, signature: Signature) -> bool {
    let body = wallet.apiv3_key.seal(notice).to_string();
    let mut headers = wallet.signed_headers(body.as_bytes(), china_now());
    if signature == Signature::Probe {
        headers.signature = format!("{PROBE}{}", random_hex(48));
    }
    let mut request = wallet.client.post(&notice.url).header("Content-Type", "application/json");
    for (name, value) in headers.named() {
        request = request.header(name, value);
    }
    match request.body(body).send().await {
        Ok(answer) => matches!(answer.status().as_u16(), 200 | 204),
        Err(error) => {
            tracing::debug!(notice_id = notice.id, %error, "a notification was not heard");
            false
        }
    }
}
