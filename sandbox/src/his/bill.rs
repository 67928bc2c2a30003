//! A bill as the HIS keeps it: who holds it, and what it has left at the bureau.

use schema::bill::{BillDraft, LineResult};
use schema::ids::OrderId;
use schema::link::InsuredPerson;
use schema::money::Fen;
use schema::split::Split;
use serde::{Deserialize, Serialize};

/// Who may take money for a bill now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    /// Anybody who asks first.
    Open,
    /// Locked for an order.
    Held {
        /// Which.
        order_id: OrderId,
    },
    /// Paid through an order.
    Booked {
        /// Which.
        order_id: OrderId,
    },
    /// The window has it: it was claimed, or never offered to phones.
    AtWindow,
    /// Paid at the window.
    PaidAtWindow,
    /// No longer asked for.
    Withdrawn,
}

/// Whether the adapter has the bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "posted", rename_all = "kebab-case")]
pub enum Posted {
    /// The window's own: phones never hear of it.
    Never,
    /// To be posted until it is taken or refused.
    NotYet,
    /// Durable at the adapter.
    Taken,
    /// Refused for good, with the refusal's code.
    Refused {
        /// The code.
        code: String,
    },
}

/// Lines at the bureau that are not settled yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// 收费批次号.
    pub chrg_bchno: String,
    /// 发票号 reserved for its settlement.
    pub invono: String,
    /// The bureau's word on every line; empty until 2204 was answered.
    pub lines: Vec<LineResult>,
}

impl Batch {
    /// 全自费, 超限价自费, 先行自付, 符合政策范围: summed over the lines, in fen. `None` beyond the range of money.
    pub fn sums(&self) -> Option<[Fen; 4]> {
        let sum = |part: fn(&LineResult) -> Fen| Fen::sum(self.lines.iter().map(part)).ok();
        Some([
            sum(|line| line.fulamt_ownpay_fen)?,
            sum(|line| line.overlmt_fen)?,
            sum(|line| line.preselfpay_fen)?,
            sum(|line| line.inscp_scp_fen)?,
        ])
    }
}

/// What pre-settling left at the bureau.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtBureau {
    /// The order it was priced for last; none at the window.
    pub order_id: Option<OrderId>,
    /// For whom.
    pub person: InsuredPerson,
    /// 就诊ID of 2201.
    pub mdtrt_id: String,
    /// The visit number under which it was registered: the bill's own, with a suffix once that was lost.
    pub ipt_otp_no: String,
    /// 2203 was done.
    pub described: bool,
    /// 2204 was done.
    pub batch: Option<Batch>,
}

/// One bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// As it was stated.
    pub draft: BillDraft,
    /// Who may take money for it.
    pub standing: Standing,
    /// Whether the adapter has it.
    pub posted: Posted,
    /// The adapter gets it with nothing but the patient's visit card.
    pub by_card: bool,
    /// Unsettled leftovers.
    pub at_bureau: Option<AtBureau>,
    /// How many visits at the bureau were lost sight of; each takes its visit number with it.
    pub lost_visits: u32,
    /// What the window took, once it did.
    pub window: Option<WindowReceipt>,
}

impl Bill {
    /// A bill that nobody has priced or paid.
    pub fn new(draft: BillDraft, standing: Standing, posted: Posted) -> Bill {
        Bill { draft, standing, posted, by_card: false, at_bureau: None, lost_visits: 0, window: None }
    }
}

/// A payment at the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowReceipt {
    /// Who paid what.
    pub split: Split,
    /// The bureau's 结算ID; absent when the patient paid the whole.
    pub setl_id: Option<String>,
    /// Microseconds UTC.
    pub paid_at_us: i64,
}
