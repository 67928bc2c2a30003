//! The cash leg: open the wallet order; its undo before payment is close-and-ask.

use schema::money::Fen;
use schema::personal::{Openid, Personal as _};
use schema::refusal::{Code, Refusal};

use super::desk::What;
use super::job::Job;
use crate::domain::order::{Event, Taken};
use crate::parties::answer::Answer;
use crate::parties::wallet::{self, PrepayRequest, TradeState};

/// The purpose under which a payer's openid is sealed.
pub const OPENID: &str = "openid";

/// Opens the wallet order as it was decided: for whom stands in the row of that commit, whatever login the payer has by
/// now. A repeat has the same content, so the wallet answers alike.
///
/// `amount` is fen, `expires_at_us` microseconds UTC. Without a payer's openid in that row nobody is asked: the event
/// is PrepayRefused, which ends the cash leg. No answer is PrepayUnknown, and the wallet is asked.
pub async fn prepay(job: &Job<'_>, out_trade_no: &str, amount: Fen, expires_at_us: i64) -> Result<What, Refusal> {
    let (tenant, order) = (job.tenant.id, job.order.id);
    let asked = job.ground.read(move |store| store.prepay(tenant, order)).await?;
    let sealed = asked.and_then(|asked| asked.openid_sealed);
    let Some(sealed) = sealed else {
        let words = "未取得付款人的支付标识，请从支付渠道重新登录".to_owned();
        return Ok(job.event(Event::PrepayRefused { words, busy: false }));
    };
    let openid = job
        .tenant
        .vault
        .open_text(OPENID, &sealed)
        .map_err(|error| Refusal::new(Code::Internal, format!("an openid does not open: {error}")))?;
    let names = job.ground.names_of(tenant, &job.order.bill.institution).await?;
    let request = PrepayRequest {
        merchant: job.order.bill.merchant.clone(),
        out_trade_no: out_trade_no.to_owned(),
        description: format!("{} 医疗费用", names.name),
        amount,
        expires_at_us,
        payer: Openid::new(openid),
        attach: job.order.bill.id.to_string(),
    };
    Ok(job.event(match job.tenant.wallet.prepay(&request).await {
        Answer::Done(prepay_id) => Event::PrepayDone { prepay_id },
        Answer::Refused(refused) => Event::PrepayRefused { words: refused.words, busy: refused.busy },
        Answer::Unknown(_) => Event::PrepayUnknown,
    }))
}

/// Has the payer paid?
pub async fn ask(job: &Job<'_>, out_trade_no: &str) -> What {
    job.event(state_event(job, out_trade_no).await)
}

/// Closes and asks: only "closed" or "never heard of it" after a close counts as unpaid.
pub async fn close(job: &Job<'_>, out_trade_no: &str) -> What {
    let closed = job.tenant.wallet.close(&job.order.bill.merchant, out_trade_no).await;
    job.event(match (closed, state(job, out_trade_no).await) {
        (_, Some(TradeState::Paid(taken))) => Event::WalletPaid(ours(taken)),
        (_, Some(TradeState::Closed)) | (Answer::Done(()), Some(TradeState::Nothing)) => Event::WalletClosed,
        _ => Event::WalletNotPaid,
    })
}

async fn state(job: &Job<'_>, out_trade_no: &str) -> Option<TradeState> {
    match job.tenant.wallet.query(&job.order.bill.merchant, out_trade_no).await {
        Answer::Done(state) => Some(state),
        Answer::Refused(_) | Answer::Unknown(_) => None,
    }
}

async fn state_event(job: &Job<'_>, out_trade_no: &str) -> Event {
    match state(job, out_trade_no).await {
        Some(TradeState::Paid(taken)) => Event::WalletPaid(ours(taken)),
        Some(TradeState::Closed) => Event::WalletClosed,
        Some(TradeState::Nothing | TradeState::NotPaid | TradeState::Unclear(_)) | None => Event::WalletNotPaid,
    }
}

/// The wallet's word for a payment, as the domain keeps it.
pub fn ours(taken: wallet::Taken) -> Taken {
    Taken {
        out_trade_no: taken.out_trade_no,
        transaction_id: taken.transaction_id,
        amount: taken.amount,
        paid: taken.amount,
        success_time_us: taken.success_time_us,
    }
}
