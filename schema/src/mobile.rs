//! The phone's API, `/mobile/v1`. Amounts are fen, times microseconds UTC, ids uuids. Every change carries an
//! `Idempotency-Key` header and answers 202 with the order as decided; outcomes come by `GET /events` (SSE) or GET.
//!
//! A channel (mini-program, app) names itself with the header `X-Tongfu-Channel: <channel key>`: it fixes the tenant
//! before login. After login, `Authorization: Bearer <token>` carries both.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::bill::{BillKind, FeeLine, LineResult};
use crate::his::Guidance;
use crate::ids::{BillId, BindingId, OrderId};
use crate::money::Fen;
use crate::personal::{self, BearerToken, CardNo, CertNo, OneTimeCode, Openid, PersonName, Phone, SealedPassword};
use crate::split::Split;

/// `POST /login/code`: sends a login code to the phone. 202 with an empty object.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginCodeAsk {
    /// Mobile phone number, eleven digits.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub phone: Phone,
}

/// `POST /login`: answers `LoggedIn`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginAsk {
    /// The phone.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub phone: Phone,
    /// The code it received.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub code: OneTimeCode,
    /// The wallet's name for this payer in the channel's app (`sp_openid`), where the channel knows it.
    #[serde(default, with = "personal::wire_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub openid: Option<Openid>,
}

/// A session.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LoggedIn {
    /// Bearer token.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub token: BearerToken,
    /// When it ends.
    pub expires_at_us: i64,
}

/// `POST /bindings`: level 1 (identity matches at the bureau, 1101). Answers `BindingView`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BindAsk {
    /// Name.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub psn_name: PersonName,
    /// Kind of identity document, `01` for the resident identity card.
    pub psn_cert_type: String,
    /// Its number.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub certno: CertNo,
}

/// `POST /bindings/{id}/level2`: card and payment password. Answers `BindingView`. A frozen binding is never proved
/// again, and a card that was reported lost is refused: a new card takes a new binding.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BindLevel2Ask {
    /// 社保卡号.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub card_no: CardNo,
    /// The card's payment password, sealed by the phone for the bureau's public key
    /// (Base64 of SM2 C1‖C3‖C2). Passed through, never stored.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub sealed_password: SealedPassword,
}

/// `GET /bureau-key`: the key for sealing card passwords.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BureauKeyView {
    /// SM2 public key, Base64 of the uncompressed point.
    pub sm2_public_key: String,
}

/// A binding as its channel user sees it. `DELETE /bindings/{id}` unbinds, `POST /bindings/{id}/loss` freezes the person
/// at every login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BindingView {
    /// Id.
    #[schema(value_type = String, format = Uuid)]
    pub id: BindingId,
    /// Name, masked.
    pub psn_name: String,
    /// Document number, masked.
    pub certno: String,
    /// 1 or 2.
    pub level: u8,
    /// 险种.
    pub insutype: String,
    /// 参保地.
    pub insuplc_admdvs: String,
    /// True after a loss report: online payment is frozen on this platform (平台冻结).
    pub frozen: bool,
    /// The phone that receives codes, masked; at level 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

/// A bill in the list (`GET /bills`) and whole (`GET /bills/{id}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BillView {
    /// Id.
    #[schema(value_type = String, format = Uuid)]
    pub id: BillId,
    /// The institution's number.
    pub bill_no: String,
    /// Institution's code.
    pub fixmedins_code: String,
    /// Institution's name.
    pub fixmedins_name: String,
    /// Kind.
    pub kind: BillKind,
    /// Patient's name, masked.
    pub psn_name: String,
    /// Department.
    pub dept_name: String,
    /// Doctor.
    pub dr_name: String,
    /// Total in fen.
    #[schema(value_type = i64)]
    pub amount_fen: Fen,
    /// `open`, `paid`, `withdrawn`, `expired`.
    pub state: String,
    /// When it was issued.
    pub issued_at_us: i64,
    /// When it ends.
    pub expires_at_us: i64,
    /// The open or last order for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub order_id: Option<OrderId>,
    /// Lines; only in the whole view.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<FeeLine>,
}

/// Who pays the insured part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Insurance first, the rest in cash.
    Insured,
    /// 自费: everything in cash.
    CashOnly,
}

/// `POST /orders`: answers 202 `OrderView`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderAsk {
    /// The bill to pay.
    #[schema(value_type = String, format = Uuid)]
    pub bill_id: BillId,
    /// Insured or cash only.
    pub mode: Mode,
    /// Whether 个账 is to be used; ignored for cash only.
    pub use_account: bool,
}

/// `POST /orders/{id}/pay`. For an order with an insurance leg all three are required; for cash only, none.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PayAsk {
    /// The phone number fixed at level-2 binding.
    #[serde(default, with = "personal::wire_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub phone: Option<Phone>,
    /// The one-time code.
    #[serde(default, with = "personal::wire_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub code: Option<OneTimeCode>,
    /// 社保卡号.
    #[serde(default, with = "personal::wire_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub card_no: Option<CardNo>,
}

/// The state of one leg beside the whole: pure-insurance orders must not look failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LegState {
    /// This order has no such leg.
    None,
    /// Not yet moved.
    Waiting,
    /// Being moved, outcome not known yet.
    Moving,
    /// Moved.
    Done,
    /// Being given back.
    Undoing,
    /// Given back.
    Undone,
}

/// What a phone needs to open the wallet (WeChat JSAPI: `requestPayment`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WalletView {
    /// `appId`.
    pub app_id: String,
    /// `timeStamp`, unix seconds.
    pub time_stamp: String,
    /// `nonceStr`.
    pub nonce_str: String,
    /// `package`: `prepay_id=…`.
    pub package: String,
    /// `signType`: `RSA`.
    pub sign_type: String,
    /// `paySign`.
    pub pay_sign: String,
    /// What the wallet will collect, in fen.
    #[schema(value_type = i64)]
    pub amount_fen: Fen,
}

/// An order as its payer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderView {
    /// Id.
    #[schema(value_type = String, format = Uuid)]
    pub id: OrderId,
    /// Version; grows with every change.
    pub version: i64,
    /// The bill.
    #[schema(value_type = String, format = Uuid)]
    pub bill_id: BillId,
    /// The institution's bill number.
    pub bill_no: String,
    /// `created`, `priced`, `settling`, `collecting`, `paid`, `completed`, `undoing`, `suspended`, `closed`.
    pub state: String,
    /// One sentence for the payer in Chinese: what is going on and what happened to the money.
    pub words: String,
    /// The same in English.
    pub words_en: String,
    /// Why, where the state has a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Insured or cash only.
    pub mode: Mode,
    /// Whether 个账 is used.
    pub use_account: bool,
    /// Total in fen.
    #[schema(value_type = i64)]
    pub amount_fen: Fen,
    /// Who pays what; once priced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Where the split comes from, line by line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<LineResult>,
    /// Until when the price holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until_us: Option<i64>,
    /// The phone a code goes to, masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_phone: Option<String>,
    /// When the present code ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_expires_at_us: Option<i64>,
    /// The insurance leg.
    pub insurance: LegState,
    /// The cash leg.
    pub cash: LegState,
    /// For opening the wallet, while collecting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<WalletView>,
    /// 结算ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setl_id: Option<String>,
    /// The wallet's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// Given back so far, in fen.
    #[schema(value_type = i64)]
    pub refunded_fen: Fen,
    /// The order that this one replaces: what remained after a partial return, paid under its authorisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub replaces: Option<OrderId>,
    /// Where to go, once the hospital has booked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<Guidance>,
    /// When it was opened.
    pub created_at_us: i64,
    /// When it last changed.
    pub updated_at_us: i64,
}

/// `GET /orders/{id}/receipt`: what a payer keeps of a payment, once it is paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptView {
    /// The order.
    #[schema(value_type = String, format = Uuid)]
    pub order_id: OrderId,
    /// The institution's bill number.
    pub bill_no: String,
    /// Institution's code.
    pub fixmedins_code: String,
    /// Institution's name.
    pub fixmedins_name: String,
    /// The order's state when this was written.
    pub state: String,
    /// Total in fen.
    #[schema(value_type = i64)]
    pub amount_fen: Fen,
    /// Who paid what.
    pub split: Split,
    /// 结算ID; absent without insurance leg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setl_id: Option<String>,
    /// The bureau's accounting time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setl_time_us: Option<i64>,
    /// The wallet's number; absent where nothing was due in cash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// The wallet's accounting time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_time_us: Option<i64>,
    /// Given back so far, in fen.
    #[schema(value_type = i64)]
    pub refunded_fen: Fen,
    /// Where to go, once the hospital has booked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<Guidance>,
    /// When the order was opened.
    pub created_at_us: i64,
    /// When it last changed.
    pub updated_at_us: i64,
}

/// One record of `GET /events` (SSE `data:`): something of yours changed; GET it to see what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "changed", rename_all = "snake_case")]
pub enum Bell {
    /// A bill came, or changed.
    Bill {
        /// Which.
        #[schema(value_type = String, format = Uuid)]
        bill_id: BillId,
    },
    /// An order changed.
    Order {
        /// Which.
        #[schema(value_type = String, format = Uuid)]
        order_id: OrderId,
        /// To which version.
        version: i64,
        /// To which state.
        state: String,
    },
    /// A binding changed.
    Binding {
        /// Which.
        #[schema(value_type = String, format = Uuid)]
        binding_id: BindingId,
    },
}
