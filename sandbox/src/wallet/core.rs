//! The wallet itself: synchronous, deterministic, the clock handed in. A simulation calls it directly.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, FixedOffset, SecondsFormat};
use schema::money::Fen;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::Call;
use super::notice::Notice;
use super::order::Order;
use super::refund::{Refund, RefundRequest, RefundStatus};
use super::refusal::Refusal;

/// Who the partner is, and how slow the bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The one partner this wallet serves.
    pub sp_mchid: String,
    /// Its appid.
    pub sp_appid: String,
    /// Milliseconds from a refund's acceptance to its settlement; 0 settles it at once.
    pub refund_delay_ms: u32,
}

impl Settings {
    pub(super) fn refund_delay(&self) -> Duration {
        Duration::milliseconds(i64::from(self.refund_delay_ms))
    }
}

/// A merchant's purse. The balance is kept as it moves and proved from the records by [`Core::books`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merchant {
    /// What refunds can be paid from, in fen.
    pub balance: Fen,
    /// Taken to the merchant's bank account so far, in fen.
    pub withdrawn: Fen,
    /// Brought back from it so far, in fen.
    pub deposited: Fen,
}

/// The wallet's whole state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Core {
    pub(super) settings: Settings,
    serial: u64,
    pub(super) orders: BTreeMap<String, Order>,
    pub(super) by_prepay_id: BTreeMap<String, String>,
    pub(super) by_transaction_id: BTreeMap<String, String>,
    pub(super) refunds: BTreeMap<String, Refund>,
    pub(super) unsettled: BTreeSet<(DateTime<FixedOffset>, String)>,
    pub(super) destined: BTreeMap<String, RefundStatus>,
    pub(super) merchants: BTreeMap<String, Merchant>,
    pub(super) outbox: Vec<Notice>,
}

/// The wallet's answer to one request, unsigned.
#[derive(Debug, Clone, PartialEq)]
pub struct CoreReply {
    /// HTTP status.
    pub status: u16,
    /// JSON; empty for 204.
    pub body: Vec<u8>,
    /// What the wallet now tells by itself, in order.
    pub notices: Vec<Notice>,
}

impl Core {
    /// An empty wallet.
    pub fn new(settings: Settings) -> Core {
        Core {
            settings,
            serial: 0,
            orders: BTreeMap::new(),
            by_prepay_id: BTreeMap::new(),
            by_transaction_id: BTreeMap::new(),
            refunds: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            destined: BTreeMap::new(),
            merchants: BTreeMap::new(),
            outbox: Vec::new(),
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Replaces the settings, for a state loaded from disk under other options.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Reads and performs one APIv3 request. `path_and_query` as on the wire; signatures are the server's business.
    /// Anything malformed is answered with 4xx, never with 5xx.
    pub fn handle(&mut self, method: &str, path_and_query: &str, body: &[u8], now: DateTime<FixedOffset>) -> CoreReply {
        match Call::read(method, path_and_query, body) {
            Ok(call) => self.perform(&call, now),
            Err(refusal) => self.reply(Err(refusal)),
        }
    }

    /// Performs one request already read. See [`Core::handle`].
    pub fn perform(&mut self, call: &Call, now: DateTime<FixedOffset>) -> CoreReply {
        let done = self.settle_due(now).and_then(|()| match call {
            Call::Prepay(request) => self.prepay(request, now).map(|id| Some(json!({ "prepay_id": id }))),
            Call::QueryByOutTradeNo { out_trade_no, sp_mchid, sub_mchid } => {
                self.query(sp_mchid, sub_mchid, out_trade_no).map(Some)
            }
            Call::QueryByTransactionId { transaction_id, sp_mchid, sub_mchid } => {
                let number = self.by_transaction_id.get(transaction_id).cloned().unwrap_or_default();
                self.query(sp_mchid, sub_mchid, &number).map(Some)
            }
            Call::Close { out_trade_no, sp_mchid, sub_mchid } => {
                self.close(sp_mchid, sub_mchid, out_trade_no).map(|()| None)
            }
            Call::Refund(request) => self.refund(request, now).map(Some),
            Call::RefundQuery { out_refund_no, sub_mchid } => {
                self.refund_query(sub_mchid, out_refund_no, now).map(Some)
            }
        });
        self.reply(done)
    }

    /// Lets time pass: settles the refunds that are due and returns what the wallet then tells.
    pub fn advance(&mut self, now: DateTime<FixedOffset>) -> Vec<Notice> {
        // Settling fails only when a balance leaves the range of money, which amounts of one order cannot bring about.
        let settled = self.settle_due(now);
        debug_assert!(settled.is_ok());
        self.take_notices()
    }

    /// When [`Core::advance`] next has something to do, if ever.
    pub fn next_due(&self) -> Option<DateTime<FixedOffset>> {
        self.unsettled.first().map(|(at, _)| *at)
    }

    /// What the typed operations (`pay`, `refund` …) left to tell; [`Core::handle`] hands it out by itself.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.outbox)
    }

    /// The out_trade_no a request is about: the subject of fault rules. Empty when it names none that is known.
    pub fn subject(&self, call: &Call) -> String {
        match call {
            Call::Prepay(request) => request.out_trade_no.clone(),
            Call::QueryByOutTradeNo { out_trade_no, .. } | Call::Close { out_trade_no, .. } => out_trade_no.clone(),
            Call::QueryByTransactionId { transaction_id, .. } => self.number_behind(transaction_id),
            Call::Refund(RefundRequest { out_trade_no: Some(number), .. }) => number.clone(),
            Call::Refund(request) => self.number_behind(request.transaction_id.as_deref().unwrap_or_default()),
            Call::RefundQuery { out_refund_no, .. } => {
                self.refunds.get(out_refund_no).map(|refund| refund.out_trade_no.clone()).unwrap_or_default()
            }
        }
    }

    /// The answer [`Core::perform`] would give, without anything being done. Numbers it shows are never given out
    /// again, so a phantom prepay_id opens nobody's order.
    pub fn pretend(&mut self, call: &Call, now: DateTime<FixedOffset>) -> CoreReply {
        let mut shadow = self.clone();
        let reply = shadow.perform(call, now);
        self.skip_serials_of(&shadow);
        CoreReply { notices: Vec::new(), ..reply }
    }

    /// The order behind a prepay_id, if any.
    pub fn order_by_prepay_id(&self, prepay_id: &str) -> Option<&Order> {
        self.by_prepay_id.get(prepay_id).and_then(|number| self.orders.get(number))
    }

    /// Takes money from a merchant's purse to its bank. Refuses `NOT_ENOUGH`.
    pub fn withdraw(&mut self, sub_mchid: &str, amount: Fen) -> Result<(), Refusal> {
        self.debit(sub_mchid, amount)?;
        let merchant = self.merchants.entry(sub_mchid.to_owned()).or_default();
        merchant.withdrawn = merchant.withdrawn.plus(amount)?;
        Ok(())
    }

    /// Brings money back into a merchant's purse.
    pub fn deposit(&mut self, sub_mchid: &str, amount: Fen) -> Result<(), Refusal> {
        self.credit(sub_mchid, amount)?;
        let merchant = self.merchants.entry(sub_mchid.to_owned()).or_default();
        merchant.deposited = merchant.deposited.plus(amount)?;
        Ok(())
    }

    pub(super) fn credit(&mut self, sub_mchid: &str, amount: Fen) -> Result<(), Refusal> {
        let merchant = self.merchants.entry(sub_mchid.to_owned()).or_default();
        merchant.balance = merchant.balance.plus(amount)?;
        Ok(())
    }

    pub(super) fn debit(&mut self, sub_mchid: &str, amount: Fen) -> Result<(), Refusal> {
        let merchant = self.merchants.entry(sub_mchid.to_owned()).or_default();
        let left = merchant.balance.minus(amount)?;
        if left.is_negative() {
            return Err(Refusal::new("NOT_ENOUGH", "商户余额不足，请充值后重试"));
        }
        merchant.balance = left;
        Ok(())
    }

    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Numbers that a shadow gave out are never given out again.
    pub(super) fn skip_serials_of(&mut self, shadow: &Core) {
        self.serial = shadow.serial;
    }

    fn number_behind(&self, transaction_id: &str) -> String {
        self.by_transaction_id.get(transaction_id).cloned().unwrap_or_default()
    }

    fn reply(&mut self, done: Result<Option<Value>, Refusal>) -> CoreReply {
        let (status, body) = match done {
            Ok(Some(body)) => (200, body.to_string().into_bytes()),
            Ok(None) => (204, Vec::new()),
            Err(refusal) => (refusal.status, refusal.body().to_string().into_bytes()),
        };
        CoreReply { status, body, notices: self.take_notices() }
    }
}

/// A time as WeChat Pay writes it: whole seconds and the offset.
pub(super) fn rfc3339(time: DateTime<FixedOffset>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, false)
}
