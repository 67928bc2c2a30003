//! A bill's own small life. Orders come and go; the bill says whether another may be opened.

use schema::ids::{BillId, InstitutionCode, OrderId};
use schema::money::Fen;
use schema::refusal::{Code, Refusal};
use serde::{Deserialize, Serialize};

/// Whether a bill may still be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BillState {
    /// May be paid.
    Open,
    /// An order paid it.
    Paid,
    /// The institution took it back.
    Withdrawn,
    /// Its expiry passed.
    Expired,
}

impl BillState {
    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            BillState::Open => "open",
            BillState::Paid => "paid",
            BillState::Withdrawn => "withdrawn",
            BillState::Expired => "expired",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<BillState> {
        [BillState::Open, BillState::Paid, BillState::Withdrawn, BillState::Expired]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// What the desk must know of a bill to decide about its orders. Nothing personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillFacts {
    /// Id.
    pub id: BillId,
    /// The institution's number.
    pub bill_no: String,
    /// Who asks for the money.
    pub institution: InstitutionCode,
    /// Total in fen.
    pub amount: Fen,
    /// Whether it may still be paid.
    pub state: BillState,
    /// After this it may not: microseconds UTC.
    pub expires_at_us: i64,
    /// The order that holds or paid it.
    pub order: Option<OrderId>,
}

impl BillFacts {
    /// The same bill again is harmless, unless it was taken back: it may have been paid at the window since, so what
    /// comes again must not become payable, nor be acknowledged as if it were.
    pub fn may_come_again(&self) -> Result<(), Refusal> {
        match self.state {
            BillState::Open | BillState::Paid | BillState::Expired => Ok(()),
            BillState::Withdrawn => {
                let detail = format!("bill {} was taken back: it takes a new number", self.id);
                Err(Refusal::new(Code::BillNotPayable, detail).in_words("账单已撤回，重新收费请使用新的账单号"))
            }
        }
    }
}
