//! What an order holds: its bill, its payer, its price, what authorised it, and what was settled and taken.

use schema::ids::{BindingId, ChannelUserId, InstitutionCode, OrderId, RefundId, TenantId};
use schema::money::Fen;
use schema::seal::{Lookup, Sealed};
use schema::split::Split;
use serde::{Deserialize, Serialize};

use super::state::State;
use crate::domain::settlement::Settlement;

/// One attempt to pay one bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Id.
    pub id: OrderId,
    /// The 统筹区 it belongs to.
    pub tenant: TenantId,
    /// Grows by one with every decision; also the number of its published record.
    pub version: i64,
    /// The bill's id, number, institution and amount.
    pub bill: BilledFor,
    /// Who taps.
    pub payer: ChannelUserId,
    /// Whose insurance, for an order with an insurance leg.
    pub insured: Option<Insured>,
    /// Where it stands.
    pub state: State,
    /// The last price.
    pub price: Option<Price>,
    /// What let the money move.
    pub authorisation: Option<Authorisation>,
    /// Given back so far, whole fen of all shares.
    pub refunded: Fen,
    /// Granted and not yet given back.
    pub refunding: Fen,
    /// Wallet transactions that came without a right to stay.
    pub strays: Vec<String>,
    /// The binding was lost while money was moving; it ended normally.
    pub flagged: bool,
    /// The order that this one replaces (partial return of an insured order).
    pub replaces: Option<OrderId>,
    /// What the replaced order offers this one, until it is used or given up.
    pub carry: Option<Carry>,
    /// Of this order's cash, what came in at the replaced order and stays booked at its wallet payment.
    pub carried_in: Fen,
    /// Of this order's cash, what now pays the order that replaced it.
    pub carried_out: Fen,
    /// When the public state was entered: microseconds UTC.
    pub entered_at_us: i64,
    /// When it was opened.
    pub created_at_us: i64,
    /// When it last changed.
    pub updated_at_us: i64,
    /// When [`super::Event::DeadlinePassed`] is due; none where nothing waits.
    pub deadline_at_us: Option<i64>,
}

impl Order {
    /// Who pays what: as settled, else as priced.
    pub fn split(&self) -> Option<Split> {
        self.state.settled().map(|settled| settled.split).or(self.price.as_ref().map(|price| price.split))
    }
}

/// The bill an order pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BilledFor {
    /// The bill.
    pub id: schema::ids::BillId,
    /// The institution's number.
    pub bill_no: String,
    /// Who asks for the money.
    pub institution: InstitutionCode,
    /// The institution's own merchant number at the wallet.
    pub merchant: String,
    /// Total.
    pub amount: Fen,
    /// The bill's own expiry: microseconds UTC.
    pub expires_at_us: i64,
}

/// The insured person behind an insurance leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Insured {
    /// Under which binding.
    pub binding: BindingId,
    /// That binding's epoch when the order was opened.
    pub epoch: i64,
    /// Keyed hash of (insuplc_admdvs, psn_no).
    pub person: Lookup,
    /// 个账使用标志.
    pub use_account: bool,
}

/// A price as the institution got it from the bureau.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Counts this order's prices from 1; a code belongs to one of them.
    pub number: u32,
    /// Who pays what.
    pub split: Split,
    /// Everything 2207 will need; none for cash only.
    pub inputs: Option<Inputs>,
    /// Until when it holds: microseconds UTC.
    pub valid_until_us: i64,
}

/// 2207's inputs: sealed as a whole, with beside them everything that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// `schema::link::SettleInputs` as JSON, sealed for purpose `settle_inputs`.
    pub sealed: Sealed,
    /// Keyed hash of 人员编号 (purpose `psn_no`).
    pub psn_no: Lookup,
    /// 参保地.
    pub insuplc_admdvs: String,
    /// 就诊凭证类型.
    pub mdtrt_cert_type: String,
    /// Keyed hash of 就诊凭证编号 (purpose `mdtrt_cert_no`).
    pub mdtrt_cert_no: Lookup,
    /// 医疗类别.
    pub med_type: String,
    /// 个人结算方式.
    pub psn_setlway: String,
    /// 个账使用标志.
    pub acct_used: bool,
    /// 就诊ID.
    pub mdtrt_id: String,
    /// 收费批次号.
    pub chrg_bchno: String,
    /// 发票号.
    pub invono: String,
    /// 险种.
    pub insutype: String,
    /// The sums that 2207 echoes.
    pub echoed: Echoed,
}

/// What 2207 repeats of 2204's results, in fen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Echoed {
    /// 医疗费总额.
    pub medfee_sumamt: Fen,
    /// 全自费.
    pub fulamt_ownpay_amt: Fen,
    /// 超限价自费.
    pub overlmt_selfpay: Fen,
    /// 先行自付.
    pub preselfpay_amt: Fen,
    /// 符合政策范围.
    pub inscp_scp_amt: Fen,
}

/// What let the money move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorisation {
    /// How.
    pub kind: AuthorisationKind,
    /// The binding's level at that moment; 0 without binding.
    pub level: i16,
    /// When: microseconds UTC.
    pub at_us: i64,
    /// The split that was authorised.
    pub split: Split,
    /// The code's keyed hash, for insured orders.
    pub evidence: Option<Lookup>,
}

/// The kinds of authorisation of this platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorisationKind {
    /// One-time code and card number.
    CodeAndCard,
    /// A tap on the logged-in phone; the wallet's own password authorises the cash.
    WalletOnly,
}

/// An insurance leg that was settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The 2207's message.
    pub msgid: String,
    /// 结算ID.
    pub setl_id: String,
    /// 险种.
    pub insutype: String,
    /// As settled; funds may have shifted among themselves against the price.
    pub split: Split,
    /// The bureau's accounting time: microseconds UTC.
    pub setl_time_us: i64,
}

impl From<&Settlement> for Settled {
    fn from(settlement: &Settlement) -> Settled {
        Settled {
            msgid: settlement.msgid.clone(),
            setl_id: settlement.setl_id.clone(),
            insutype: settlement.insutype.clone(),
            split: settlement.split,
            setl_time_us: settlement.setl_time_us,
        }
    }
}

/// The insurance leg where cash may be taken: there is none, or it is settled. Nothing between can be written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "insurance", rename_all = "snake_case")]
pub enum Insurance {
    /// 自费: no insurance leg.
    CashOnly,
    /// Settled with the bureau.
    Settled(Settled),
}

/// Cash that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Our number at the wallet.
    pub out_trade_no: String,
    /// The wallet's number.
    pub transaction_id: String,
    /// How much.
    pub amount: Fen,
    /// The whole payment at the wallet; more than `amount` where a replaced order kept or gave back the rest.
    pub paid: Fen,
    /// The wallet's accounting time: microseconds UTC.
    pub success_time_us: i64,
}

/// What a replaced order offers its replacement: to be paid under the same authorisation, out of the same cash, as
/// long as neither account nor cash rises (partial return of an insured order, `journey::replace`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    /// The replaced order.
    pub from: OrderId,
    /// Its refund, which waits to hear what is kept.
    pub refund: RefundId,
    /// The epoch of the binding there: what was authorised before a loss is not used after it.
    pub epoch: i64,
    /// What was authorised there.
    pub authorisation: Authorisation,
    /// The cash that was taken there; none where nothing was due.
    pub cash: Option<Taken>,
}

/// Both legs of an order that is paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legs {
    /// The insurance leg.
    pub insurance: Insurance,
    /// The cash leg; none where nothing was due.
    pub cash: Option<Taken>,
}

impl Insurance {
    /// The settlement, if there is one.
    pub const fn settled(&self) -> Option<&Settled> {
        match self {
            Insurance::Settled(settled) => Some(settled),
            Insurance::CashOnly => None,
        }
    }
}
