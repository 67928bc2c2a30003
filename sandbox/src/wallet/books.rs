//! The wallet's own books: what each merchant took and gave back, proved from the records.

use std::collections::BTreeMap;

use schema::money::Fen;
use serde::Serialize;
use serde_json::{Value, json};

use super::core::Core;
use super::order::{Order, Standing};
use super::refund::RefundStatus;
use super::refusal::Refusal;

/// One merchant's sums. Fen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MerchantBooks {
    /// Paid by payers.
    pub paid_fen: Fen,
    /// Back in payers' hands.
    pub refunded_fen: Fen,
    /// On its way back, or held because it could not arrive.
    pub refunding_fen: Fen,
    /// Paid less refunded.
    pub net_fen: Fen,
    /// The purse as it was kept.
    pub balance_fen: Fen,
    /// Orders paid.
    pub paid_count: u64,
    /// Refunds in payers' hands.
    pub refund_count: u64,
    /// Whether the purse equals what the records say it should be.
    pub balanced: bool,
}

/// All merchants' sums and the wallet's verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Books {
    /// By `sub_mchid`.
    pub merchants: BTreeMap<String, MerchantBooks>,
    /// Paid by payers, everywhere.
    pub paid_fen: Fen,
    /// Back in payers' hands, everywhere.
    pub refunded_fen: Fen,
    /// Paid less refunded, everywhere.
    pub net_fen: Fen,
    /// Orders paid.
    pub paid_count: u64,
    /// Orders neither paid nor closed.
    pub open_count: u64,
    /// See [`Core::paid_twice`].
    pub paid_twice: u64,
    /// Whether every purse equals what the records say it should be.
    pub balanced: bool,
}

impl Core {
    /// Every sum, re-derived from the order and refund records, compared with the purses as they were kept.
    pub fn books(&self) -> Result<Books, Refusal> {
        let mut merchants: BTreeMap<String, MerchantBooks> = BTreeMap::new();
        for order in self.orders.values().filter(|order| order.transaction_id().is_some()) {
            let sums = merchants.entry(order.request.sub_mchid.clone()).or_default();
            sums.paid_fen = sums.paid_fen.plus(order.request.amount.total)?;
            sums.paid_count += 1;
        }
        for refund in self.refunds.values() {
            let sums = merchants.entry(refund.request.sub_mchid.clone()).or_default();
            let amount = refund.request.amount.refund;
            match refund.status {
                RefundStatus::Success => {
                    sums.refunded_fen = sums.refunded_fen.plus(amount)?;
                    sums.refund_count += 1;
                }
                RefundStatus::Processing | RefundStatus::Abnormal => {
                    sums.refunding_fen = sums.refunding_fen.plus(amount)?;
                }
                RefundStatus::Closed => {}
            }
        }
        for (sub_mchid, purse) in &self.merchants {
            let sums = merchants.entry(sub_mchid.clone()).or_default();
            sums.net_fen = sums.paid_fen.minus(sums.refunded_fen)?;
            sums.balance_fen = purse.balance;
            let derived = sums.net_fen.minus(sums.refunding_fen)?.minus(purse.withdrawn)?.plus(purse.deposited)?;
            sums.balanced = derived == purse.balance;
        }
        Ok(Books {
            paid_fen: Fen::sum(merchants.values().map(|sums| sums.paid_fen))?,
            refunded_fen: Fen::sum(merchants.values().map(|sums| sums.refunded_fen))?,
            net_fen: Fen::sum(merchants.values().map(|sums| sums.net_fen))?,
            paid_count: merchants.values().map(|sums| sums.paid_count).sum(),
            open_count: self.orders.values().map(|order| u64::from(order.standing == Standing::NotPaid)).sum(),
            paid_twice: self.paid_twice()?,
            balanced: merchants.values().all(|sums| sums.balanced),
            merchants,
        })
    }

    /// How many values of `attach` (the caller puts the bill's key there) have more than one payment that is not
    /// wholly back in the payer's hands. Orders without `attach` are not counted.
    pub fn paid_twice(&self) -> Result<u64, Refusal> {
        let mut kept: BTreeMap<&str, u64> = BTreeMap::new();
        for order in self.orders.values().filter(|order| order.transaction_id().is_some()) {
            if let Some(attach) = order.request.attach.as_deref()
                && self.refunded(order)? < order.request.amount.total
            {
                *kept.entry(attach).or_default() += 1;
            }
        }
        Ok(kept.values().map(|payments| u64::from(*payments > 1)).sum())
    }

    /// One row per order, by out_trade_no, with its refunds.
    pub fn records(&self) -> Result<Value, Refusal> {
        let rows: Result<Vec<Value>, Refusal> = self.orders.values().map(|order| self.record(order)).collect();
        Ok(json!({ "orders": rows? }))
    }

    fn record(&self, order: &Order) -> Result<Value, Refusal> {
        let refunds: Vec<Value> = self
            .refunds_of(order)
            .map(|refund| {
                json!({
                    "out_refund_no": refund.request.out_refund_no,
                    "refund_id": refund.refund_id,
                    "refund_fen": refund.request.amount.refund,
                    "status": refund.status.word(),
                })
            })
            .collect();
        let mut row = json!({
            "out_trade_no": order.request.out_trade_no,
            "sub_mchid": order.request.sub_mchid,
            "openid": order.request.payer.openid(),
            "attach": order.request.attach,
            "description": order.request.description,
            "total_fen": order.request.amount.total,
            "refunded_fen": self.refunded(order)?,
            "created_at": order.created_at,
            "refunds": refunds,
        });
        match &order.standing {
            Standing::NotPaid => row["state"] = json!("NOTPAY"),
            Standing::Closed => row["state"] = json!("CLOSED"),
            Standing::Paid { transaction_id, success_time } => {
                row["state"] = json!("PAID");
                row["transaction_id"] = json!(transaction_id);
                row["success_time"] = json!(success_time);
            }
        }
        Ok(row)
    }

    /// What of this order is back in the payer's hands.
    fn refunded(&self, order: &Order) -> Result<Fen, Refusal> {
        let arrived = self.refunds_of(order).filter(|refund| refund.status == RefundStatus::Success);
        Ok(Fen::sum(arrived.map(|refund| refund.request.amount.refund))?)
    }
}
