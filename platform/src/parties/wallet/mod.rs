//! 个人支付渠道: WeChat Pay APIv3 in partner mode, field by field in MAPPINGS.md. Money goes to the institution's own
//! sub-merchant.

pub mod client;
pub mod config;
mod mapping;
mod signature;
mod status;

use async_trait::async_trait;
use schema::mobile::WalletView;
use schema::money::Fen;
use schema::personal::Openid;

use crate::parties::answer::Answer;

pub use config::WalletConfig;
pub use signature::BadKey;

/// Under which account a tenant's payments are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// `sp_mchid`.
    pub sp_mchid: String,
    /// `sp_appid`; payers' openids belong to it.
    pub sp_appid: String,
}

/// A wallet order to open.
#[derive(Debug, Clone)]
pub struct PrepayRequest {
    /// `sub_mchid`.
    pub merchant: String,
    /// Our number; repeating it with the same content is harmless.
    pub out_trade_no: String,
    /// What the payer reads: institution and bill, nothing medical.
    pub description: String,
    /// Amount in fen.
    pub amount: Fen,
    /// After this the wallet refuses: microseconds UTC.
    pub expires_at_us: i64,
    /// Who pays.
    pub payer: Openid,
    /// `attach`: the bill's key, for counting on the other side.
    pub attach: String,
}

/// Cash that was taken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Taken {
    /// Our number.
    pub out_trade_no: String,
    /// The wallet's number.
    pub transaction_id: String,
    /// Amount in fen.
    pub amount: Fen,
    /// The wallet's accounting time: microseconds UTC.
    pub success_time_us: i64,
}

/// What the wallet says of one of our numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TradeState {
    /// It does not know it.
    Nothing,
    /// Open and unpaid.
    NotPaid,
    /// Paid.
    Paid(Taken),
    /// Closed unpaid: can never be paid.
    Closed,
    /// A word we do not know: nothing is concluded from it.
    Unclear(String),
}

/// What the wallet says of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundState {
    /// It does not know it.
    Nothing,
    /// Under way.
    Processing,
    /// The payer has it; microseconds UTC.
    Returned {
        /// The wallet's accounting time.
        success_time_us: i64,
    },
    /// It cannot be given back this way: a person must act.
    Abnormal(String),
}

/// Cash to give back.
#[derive(Debug, Clone)]
pub struct RefundRequest {
    /// `sub_mchid`.
    pub merchant: String,
    /// The payment.
    pub out_trade_no: String,
    /// The idempotency key.
    pub out_refund_no: String,
    /// How much, in fen.
    pub amount: Fen,
    /// What was paid, in fen.
    pub paid: Fen,
    /// For the payer, nothing medical.
    pub reason: String,
}

/// A notice from the wallet, verified and decrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Cash was taken.
    Paid {
        /// For whom: `sub_mchid`. The caller knows whose the order is.
        merchant: String,
        /// What.
        taken: Taken,
    },
    /// A refund moved.
    Refund {
        /// From whom: `sub_mchid`.
        merchant: String,
        /// Our refund number.
        out_refund_no: String,
        /// Where it stands.
        state: RefundState,
    },
    /// Something we do not act on.
    Other(String),
}

/// Why a notice was not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotBelieved {
    /// Signature, serial or time is wrong (their SIGNTEST probes end here).
    Signature,
    /// It does not decrypt or parse.
    Malformed(String),
}

/// The wallet of one tenant (its service provider account).
#[async_trait]
pub trait Wallet: Send + Sync {
    /// Under which account it asks.
    fn account(&self) -> Account;
    /// Opens the order: `prepay_id`.
    async fn prepay(&self, request: &PrepayRequest) -> Answer<String>;
    /// Asks for one of our numbers.
    async fn query(&self, merchant: &str, out_trade_no: &str) -> Answer<TradeState>;
    /// Closes. Done also where it was closed or unknown before; refused with code `ORDERPAID` where it is paid.
    async fn close(&self, merchant: &str, out_trade_no: &str) -> Answer<()>;
    /// Gives cash back; the same `out_refund_no` never does so twice.
    async fn refund(&self, request: &RefundRequest) -> Answer<RefundState>;
    /// Asks for a refund.
    async fn query_refund(&self, merchant: &str, out_refund_no: &str) -> Answer<RefundState>;
    /// What the phone needs to open the wallet.
    fn client_sign(&self, prepay_id: &str, amount: Fen) -> WalletView;
    /// Verifies and opens a notice. `headers` have lower-case names.
    fn open_notice(&self, headers: &[(String, String)], body: &[u8]) -> Result<Notice, NotBelieved>;
}
