//! What was booked: the records the other sides' books are compared with.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset};
use schema::bill::{BillDraft, BillKind};
use schema::his::{Guidance, Invoice};
use schema::ids::OrderId;
use schema::link::{SettledTold, UndoneTold};
use schema::money::{Fen, Overflow};
use schema::split::Split;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bill::Bill;
use super::core::Core;

/// A payment that the platform told and this hospital booked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// Its order.
    pub order_id: OrderId,
    /// Its bill.
    pub bill_no: String,
    /// Who paid what.
    pub split: Split,
    /// 结算ID.
    pub setl_id: Option<String>,
    /// The platform's number at the wallet.
    pub out_trade_no: Option<String>,
    /// The wallet's number.
    pub transaction_id: Option<String>,
    /// Where the patient was sent.
    pub guidance: Guidance,
    /// Microseconds UTC.
    pub booked_at_us: i64,
    /// What went back since, in the order told.
    pub given_back: Vec<GivenBack>,
}

/// Money of a booking that went back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBack {
    /// 结算ID of the undo.
    pub undo_setl_id: Option<String>,
    /// Fen.
    pub cash_refunded_fen: Fen,
    /// Nothing of the payment is left.
    pub whole: bool,
    /// Microseconds UTC.
    pub at_us: i64,
}

impl Booking {
    /// Books a payment; `number` is its place in the hospital's queue.
    pub fn new(told: &SettledTold, draft: &BillDraft, number: u64, now: DateTime<FixedOffset>) -> Booking {
        Booking {
            order_id: told.order_id,
            bill_no: told.bill_no.clone(),
            split: told.split,
            setl_id: told.setl_id.clone(),
            out_trade_no: told.out_trade_no.clone(),
            transaction_id: told.transaction_id.clone(),
            guidance: guidance(draft, number, now),
            booked_at_us: now.timestamp_micros(),
            given_back: Vec::new(),
        }
    }

    /// Something of it is still paid.
    pub fn is_live(&self) -> bool {
        !self.given_back.iter().any(|back| back.whole)
    }

    pub(super) fn give_back(&mut self, told: &UndoneTold, now: DateTime<FixedOffset>) {
        self.given_back.push(GivenBack {
            undo_setl_id: told.undo_setl_id.clone(),
            cash_refunded_fen: told.cash_refunded_fen,
            whole: told.whole,
            at_us: now.timestamp_micros(),
        });
    }
}

fn guidance(draft: &BillDraft, number: u64, now: DateTime<FixedOffset>) -> Guidance {
    let (window, floor) = match draft.kind {
        BillKind::Registration => (format!("{}候诊区", draft.visit.dept_name), "门诊楼2层"),
        BillKind::Examination => (format!("{}号检查室", number % 6 + 1), "医技楼3层"),
        BillKind::Outpatient | BillKind::Drug | BillKind::Pharmacy | BillKind::Inpatient => {
            (format!("{}号取药窗口", number % 8 + 1), "门诊楼1层")
        }
    };
    Guidance {
        window: Some(window),
        queue_no: Some(format!("A{:03}", number % 1000)),
        floor: Some(floor.to_owned()),
        message: Some(format!("请凭单号{}办理", draft.bill_no)),
        invoice: Some(Invoice {
            code: "44060126".to_owned(),
            number: format!("{number:010}"),
            check_code: format!("{:06x}", (now.timestamp().unsigned_abs() ^ number) & 0xff_ffff),
            printed: false,
        }),
    }
}

/// A hospital's sums. Fen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Books {
    /// Payments booked and not undone.
    pub booked_count: u64,
    /// Of those: paid by the bureau's funds and accounts.
    pub insurance_fen: Fen,
    /// Of those: borne by the hospital.
    pub hospital_fen: Fen,
    /// Of those: cash that came through the wallet, less what went back in part.
    pub cash_fen: Fen,
    /// Payments undone as a whole.
    pub undone_count: u64,
    /// Bills paid at the window.
    pub window_count: u64,
    /// Their sum.
    pub window_fen: Fen,
    /// Bills whose money came twice: booked and paid at the window, or booked for two live orders.
    pub paid_twice: u64,
    /// Every live booking sums to its bill and nothing came twice.
    pub balanced: bool,
}

impl Core {
    /// The sums, derived from the records at each call.
    pub fn books(&self) -> Result<Books, Overflow> {
        let mut books = Books { balanced: true, ..Books::default() };
        let mut payments: BTreeMap<&str, u64> = BTreeMap::new();
        for booking in self.state.bookings.values() {
            if !booking.is_live() {
                books.undone_count += 1;
                continue;
            }
            *payments.entry(&booking.bill_no).or_default() += 1;
            books.booked_count += 1;
            books.insurance_fen = books.insurance_fen.plus(booking.split.insurance()?)?;
            books.hospital_fen = books.hospital_fen.plus(booking.split.hospital_fen)?;
            let back = Fen::sum(booking.given_back.iter().map(|back| back.cash_refunded_fen))?;
            books.cash_fen = books.cash_fen.plus(booking.split.cash_fen)?.minus(back)?;
            let bill = self.state.bills.get(&booking.bill_no);
            books.balanced &= bill.is_some_and(|bill| booking.split.sums_to(bill.draft.amount_fen));
        }
        for (bill_no, bill) in &self.state.bills {
            if let Some(receipt) = &bill.window {
                *payments.entry(bill_no).or_default() += 1;
                books.window_count += 1;
                books.window_fen = books.window_fen.plus(receipt.split.total()?)?;
                books.balanced &= receipt.split.sums_to(bill.draft.amount_fen);
            }
        }
        books.paid_twice = payments.values().map(|count| count.saturating_sub(1)).sum();
        books.balanced &= books.paid_twice == 0;
        Ok(books)
    }

    /// Every bill with its payment, for whoever compares; names nobody.
    pub fn records(&self) -> Value {
        let bills: Vec<Value> = self.state.bills.iter().map(|(bill_no, bill)| record(bill_no, bill)).collect();
        let bookings: Vec<&Booking> = self.state.bookings.values().collect();
        json!({"fixmedins_code": self.hospital.code, "bills": bills, "bookings": bookings})
    }
}

fn record(bill_no: &str, bill: &Bill) -> Value {
    json!({
        "bill_no": bill_no,
        "ipt_otp_no": bill.draft.visit.ipt_otp_no,
        "kind": bill.draft.kind,
        "amount_fen": bill.draft.amount_fen,
        "issued_at_us": bill.draft.issued_at_us,
        "standing": bill.standing,
        "posted": bill.posted,
        "by_card": bill.by_card,
        "left_at_bureau": bill.at_bureau.is_some(),
        "window": bill.window,
    })
}
