//! The link: the one authenticated conversation between an adapter and the platform.
//!
//! The adapter dials `GET /link/v1` (WebSocket). The platform speaks first:
//!
//! ```text
//! platform → Opening::Challenge { nonce }
//! adapter  → Opening::Hello { institution, key, signature over hello_bytes(nonce, institution) }
//! platform → Opening::Welcome { platform_key, heartbeat_s, … }   or   Opening::Refused { problem } and close
//! then both ways: Frame (text), WebSocket ping every heartbeat_s seconds from the adapter
//! ```
//!
//! A frame carries its message as JSON *text* so that the signature covers exactly the bytes that were sent. Every
//! [`Ask`] is answered by a [`Body::Reply`] whose `re` is the ask's id. Whoever asked repeats the ask **with the same
//! id** until a reply came; whoever is asked answers a repeated id with the first answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::bill::{BillDraft, LineResult};
use crate::his;
use crate::ids::{InstitutionCode, MessageId, OrderId};
use crate::money::Fen;
use crate::personal::{self, MdtrtCertNo, PsnNo};
use crate::refusal::Problem;
use crate::sign::{Algorithm, PublicKey, SigningKey, WrongSignature};
use crate::split::Split;

/// The words of the opening, one JSON text message each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "opening", rename_all = "snake_case")]
pub enum Opening {
    /// The platform's first word.
    Challenge {
        /// 32 random bytes in hex; good for this connection only.
        nonce: String,
    },
    /// The adapter proves that it holds the key registered at onboarding.
    Hello {
        /// Protocol version: 1.
        protocol: u16,
        /// The institution it speaks for.
        institution: InstitutionCode,
        /// Its public key.
        key: PublicKey,
        /// Signature of [`hello_bytes`].
        signature: String,
        /// The adapter's version, for operators.
        adapter_version: String,
    },
    /// Accepted.
    Welcome {
        /// The adapter pings this often, in seconds; after three missed the link is dead.
        heartbeat_s: u64,
        /// The platform's time, microseconds UTC: `doctor` compares clocks.
        server_time_us: i64,
        /// The institution's name as the platform knows it.
        institution_name: String,
        /// The key that signs every frame of the platform. The adapter keeps it at first contact and refuses another
        /// one until its operator has removed the kept one.
        platform_key: PublicKey,
    },
    /// Refused; the connection closes after this.
    Refused {
        /// Why, and what to do.
        problem: Problem,
    },
}

/// The bytes that [`Opening::Hello`] signs.
pub fn hello_bytes(nonce: &str, institution: &InstitutionCode) -> Vec<u8> {
    format!("tongfu-link-v1\n{nonce}\n{institution}\n").into_bytes()
}

/// One signed message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// The message's id, made and saved by its sender before it is sent.
    pub id: MessageId,
    /// For a reply: the id of the ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<MessageId>,
    /// W3C trace id (32 hex digits) that follows a payment from phone to HIS and back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The [`Body`] as JSON text.
    pub payload: Payload,
    /// Algorithm of `sig`.
    pub alg: Algorithm,
    /// Signature over [`Frame::signed_bytes`].
    pub sig: String,
}

/// JSON text that may hold personal data: carried, never formatted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(pub String);

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// The largest frame either side accepts, in bytes.
pub const MOST_FRAME_BYTES: usize = 1 << 20;

impl Frame {
    /// Builds and signs a frame.
    pub fn signed(
        key: &SigningKey,
        id: MessageId,
        re: Option<MessageId>,
        trace_id: Option<String>,
        body: &Body,
    ) -> Result<Frame, serde_json::Error> {
        let payload = Payload(serde_json::to_string(body)?);
        let mut frame = Frame { id, re, trace_id, payload, alg: Algorithm::Ed25519, sig: String::new() };
        frame.sig = key.sign(&frame.signed_bytes());
        Ok(frame)
    }

    /// What the signature covers: id, re and payload, so that no reply can be moved to another question.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let re = self.re.map(|id| id.to_string()).unwrap_or_default();
        format!("{}\n{re}\n{}", self.id, self.payload.0).into_bytes()
    }

    /// Checks the sender's signature.
    pub fn verify(&self, key: &PublicKey) -> Result<(), WrongSignature> {
        key.verify(&self.signed_bytes(), &self.sig)
    }

    /// Reads the message. The error text names the field, not its value.
    pub fn body(&self) -> Result<Body, serde_json::Error> {
        serde_json::from_str(&self.payload.0)
    }
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "body", rename_all = "snake_case")]
pub enum Body {
    /// The platform wants something of the institution.
    ToInstitution {
        /// What.
        ask: ToInstitution,
    },
    /// The institution wants something of the platform.
    ToPlatform {
        /// What.
        ask: ToPlatform,
    },
    /// The answer to the ask named by the frame's `re`.
    Reply {
        /// The answer.
        reply: Reply,
    },
}

/// What the platform asks of an institution; the adapter hands it to the HIS as a work item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum ToInstitution {
    /// 预结算: answer `Reply::Priced`.
    PreSettle(PreSettle),
    /// Give up what pre-settling left at the bureau (2205, and 2202 if the visit was opened for this): `Reply::Done`.
    Release(Release),
    /// Paid: book it and say where the patient goes: `Reply::Booked`, or a refusal, which undoes the payment.
    Settled(Box<SettledTold>),
    /// What was told as paid is undone, whole or in part: `Reply::Done`.
    Undone(UndoneTold),
    /// Have you booked this order? `Reply::PaymentState`.
    QueryPayment(QueryPayment),
}

/// What an institution asks of the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum ToPlatform {
    /// A new bill: `Reply::Done`.
    Bill(Box<BillDraft>),
    /// The bill no longer exists: `Reply::Claimed`, as for a claim.
    Withdraw(BillNamed),
    /// The window takes the bill back: `Reply::Claimed`.
    Claim(BillNamed),
    /// Money back for a paid bill: `Reply::Refund`.
    Refund(his::RefundAsk),
    /// One order: `Reply::Orders` with one row.
    OrderQuery(BillNamed),
    /// One page of the orders of one day: `Reply::Orders`.
    DayList(his::DayAsk),
    /// Bind a visit card to an insured person present with card and password: `Reply::Done`.
    BindVisitCard(his::VisitCardBinding),
}

/// A bill by its institution's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillNamed {
    /// The institution's number.
    pub bill_no: String,
}

/// Every positive answer, and the refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Done; nothing to add.
    Done,
    /// Pre-settled.
    Priced(Box<PriceAnswer>),
    /// Booked at the HIS.
    Booked(his::Guidance),
    /// Whether the HIS has booked an order.
    PaymentState(his::PaymentState),
    /// What became of a bill that the window takes back.
    Claimed(his::ClaimAnswer),
    /// A refund was taken on, or its present state.
    Refund(his::RefundView),
    /// Orders.
    Orders {
        /// The rows; one for an order query.
        orders: Vec<his::OrderView>,
    },
    /// No.
    Refused(Problem),
}

/// Ask for the price of a bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreSettle {
    /// The order that wants it; the HIS holds the bill for this order until released or settled.
    #[schema(value_type = String, format = Uuid)]
    pub order_id: OrderId,
    /// The bill.
    pub bill_no: String,
    /// Whether insurance is to pay its part. If not, the HIS only locks the bill and answers all cash.
    pub insured: bool,
    /// 个账使用标志 (`acct_used_flag`): an input of 2206, so it comes before the price.
    pub use_account: bool,
    /// The insured person at the bureau; absent for cash-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insured_person: Option<InsuredPerson>,
}

/// The insured person as the bureau knows them (from 1101 at binding).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InsuredPerson {
    /// 人员编号.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub psn_no: PsnNo,
    /// 险种: `310` employees, `390` residents …
    pub insutype: String,
    /// 参保地.
    pub insuplc_admdvs: String,
    /// 就诊凭证类型: `02` identity number, `03` social-insurance card.
    pub mdtrt_cert_type: String,
    /// 就诊凭证编号.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub mdtrt_cert_no: MdtrtCertNo,
}

/// The price: the split with everything that 2207 will need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceAnswer {
    /// Who pays what.
    pub split: Split,
    /// Until when this price holds: microseconds UTC.
    pub valid_until_us: i64,
    /// For insured bills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insurance: Option<SettleInputs>,
    /// The bureau's word on every line; empty for cash-only.
    #[serde(default)]
    pub lines: Vec<LineResult>,
}

/// Every input of 2207 that the institution established by 2201–2206.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleInputs {
    /// The insured person the lines were uploaded for.
    pub person: InsuredPerson,
    /// 医疗类别.
    pub med_type: String,
    /// 个人结算方式.
    pub psn_setlway: String,
    /// 个账使用标志.
    pub use_account: bool,
    /// 就诊ID.
    pub mdtrt_id: String,
    /// 收费批次号.
    pub chrg_bchno: String,
    /// 发票号, reserved by the HIS for this settlement.
    pub invono: String,
    /// 医疗费总额 in fen.
    #[schema(value_type = i64)]
    pub medfee_sumamt_fen: Fen,
    /// 全自费 in fen, summed over the lines (echoed in 2207).
    #[schema(value_type = i64)]
    pub fulamt_ownpay_fen: Fen,
    /// 超限价自费 in fen.
    #[schema(value_type = i64)]
    pub overlmt_selfpay_fen: Fen,
    /// 先行自付 in fen.
    #[schema(value_type = i64)]
    pub preselfpay_fen: Fen,
    /// 符合政策范围 in fen.
    #[schema(value_type = i64)]
    pub inscp_scp_fen: Fen,
}

/// Let go of a pre-settled bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The order that held it.
    #[schema(value_type = String, format = Uuid)]
    pub order_id: OrderId,
    /// The bill.
    pub bill_no: String,
}

/// The bureau's whole answer, for the HIS's own books; may name the person, so it is never formatted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BureauReply(pub serde_json::Value);

impl std::fmt::Debug for BureauReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BureauReply(…)")
    }
}

/// A payment that is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettledTold {
    /// The order.
    #[schema(value_type = String, format = Uuid)]
    pub order_id: OrderId,
    /// The bill.
    pub bill_no: String,
    /// Who paid what.
    pub split: Split,
    /// 结算ID; absent for cash-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setl_id: Option<String>,
    /// The `output` node of 2207 as the bureau sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub bureau_reply: Option<BureauReply>,
    /// Our order number at the wallet; absent when nothing was due in cash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_trade_no: Option<String>,
    /// The wallet's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// When it was complete: microseconds UTC.
    pub paid_at_us: i64,
}

/// Money that went back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoneTold {
    /// The order.
    #[schema(value_type = String, format = Uuid)]
    pub order_id: OrderId,
    /// The bill.
    pub bill_no: String,
    /// 结算撤销的结算ID; absent where no insurance moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_setl_id: Option<String>,
    /// Cash given back, in fen.
    #[schema(value_type = i64)]
    pub cash_refunded_fen: Fen,
    /// Cash that stays with the institution for the bill that replaces this one, in fen.
    #[serde(default)]
    #[schema(value_type = i64)]
    pub cash_carried_fen: Fen,
    /// True when nothing of the payment is left.
    pub whole: bool,
}

/// Has this order been booked?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryPayment {
    /// The order.
    #[schema(value_type = String, format = Uuid)]
    pub order_id: OrderId,
    /// The bill.
    pub bill_no: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::his::{ClaimAnswer, Guidance, OrderView, PaymentState, RefundView};
    use crate::refusal::{Code, Refusal};
    use uuid::Uuid;

    #[test]
    fn every_reply_survives_the_wire() {
        let order_id = OrderId::from_uuid(Uuid::nil());
        let order = OrderView {
            order_id,
            bill_no: "B1".into(),
            state: "paid".into(),
            amount_fen: Fen::new(1),
            split: Some(Split::all_cash(Fen::new(1))),
            setl_id: None,
            transaction_id: None,
            refunded_fen: Fen::ZERO,
            created_at_us: 1,
            updated_at_us: 2,
        };
        let refund = RefundView {
            refund_no: "R1".into(),
            order_id,
            state: "done".into(),
            replaced_by_order: None,
            amount_fen: Fen::new(1),
            reason: None,
        };
        let price =
            PriceAnswer { split: order.split.unwrap_or_default(), valid_until_us: 1, insurance: None, lines: vec![] };
        for reply in [
            Reply::Done,
            Reply::Priced(Box::new(price)),
            Reply::Booked(Guidance::default()),
            Reply::PaymentState(PaymentState::NotBooked),
            Reply::PaymentState(PaymentState::Booked { guidance: Guidance::default() }),
            Reply::Claimed(ClaimAnswer::Released),
            Reply::Claimed(ClaimAnswer::AlreadyPaid { order_id }),
            Reply::Refund(refund),
            Reply::Orders { orders: vec![order.clone(), order] },
            Reply::Orders { orders: vec![] },
            Reply::Refused(Refusal::new(Code::BillUnknown, "why").problem(None)),
        ] {
            let body = Body::Reply { reply };
            let text = serde_json::to_string(&body).expect("serialises");
            assert_eq!(serde_json::from_str::<Body>(&text).expect("comes back"), body, "{text}");
        }
    }
}
