//! Every "no": one stable code, one sentence in Chinese and English that says what happened to the money and what to
//! do next, and whether trying again can help. HTTP carries it as RFC 9457 problem details, the link as the same
//! fields. The table below is the whole list.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Whether the same request can succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Again {
    /// Never as it is: something in the request must change.
    Never,
    /// Yes, unchanged, after a while.
    Later,
    /// Yes, after looking at the present state first (GET the order).
    AfterLooking,
}

/// One thing that is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Where: a path into the request, `lines[2].cnt`.
    pub at: String,
    /// What, in Chinese.
    pub zh: String,
    /// What, in English.
    pub en: String,
}

impl Fault {
    /// A fault at a place in the request. Neither sentence may quote the value.
    pub fn new(at: impl Into<String>, zh: impl Into<String>, en: impl Into<String>) -> Fault {
        Fault { at: at.into(), zh: zh.into(), en: en.into() }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $again:ident, $zh:literal, $en:literal;)*) => {
        /// The stable code of a refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[doc = ""] #[doc = $zh] #[doc = ""] #[doc = $en] #[serde(rename = $code)] $name,)*
        }

        impl Code {
            /// Every code, in the table's order.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The code as text.
            pub const fn as_str(self) -> &'static str { match self { $(Code::$name => $code),* } }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 { match self { $(Code::$name => $status),* } }

            /// Whether trying again can help.
            pub const fn again(self) -> Again { match self { $(Code::$name => Again::$again),* } }

            /// The sentence in Chinese.
            pub const fn zh(self) -> &'static str { match self { $(Code::$name => $zh),* } }

            /// The sentence in English.
            pub const fn en(self) -> &'static str { match self { $(Code::$name => $en),* } }
        }
    };
}

codes! {
    // — the request itself —
    Malformed = "MALFORMED", 400, Never, "请求格式有误，未作任何处理，未扣款。请按所列各项改正后重试。",
        "The request is not well formed; nothing was done and no money moved. Correct what is listed.";
    Invalid = "INVALID", 422, Never, "请求内容有误，未作任何处理，未扣款。请按所列各项改正后重试。",
        "The request's content is wrong; nothing was done and no money moved. Correct what is listed.";
    TooLarge = "TOO_LARGE", 413, Never, "请求内容过大，未作任何处理，未扣款。请减少内容后重试。",
        "The request is too large; nothing was done and no money moved. Send less and try again.";
    NotFound = "NOT_FOUND", 404, Never, "没有找到所请求的内容，未扣款。请返回首页重新进入。",
        "There is no such thing here; no money moved. Go back and start from the first page.";
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, Never, "该地址不支持此操作，未扣款。请更新应用后重试。",
        "This address does not support that method; no money moved. Update the app and try again.";
    Unauthenticated = "UNAUTHENTICATED", 401, Never, "身份未验证或已过期，未扣款。请重新登录。",
        "You are not signed in, or no longer; no money moved. Sign in again.";
    SignatureWrong = "SIGNATURE_WRONG", 401, Never, "签名不正确，未作任何处理，未扣款。请核对密钥与时钟。",
        "The signature is wrong; nothing was done and no money moved. Check the key and the clock.";
    KeyMissing = "IDEMPOTENCY_KEY_MISSING", 400, Never, "请求缺少可用的幂等键（Idempotency-Key），未作任何处理，未扣款。请更新应用后重试。",
        "The Idempotency-Key header is missing or unusable; nothing was done and no money moved. Update the app and try again.";
    KeyReused = "IDEMPOTENCY_KEY_REUSED", 422, Never, "该幂等键已用于另一请求，本次未作任何处理，未扣款。请返回后重新操作。",
        "This Idempotency-Key was used for another request; nothing was done this time and no money moved. Go back and begin again.";
    Overloaded = "OVERLOADED", 503, Later, "系统繁忙，本次未作任何处理，未扣款。请稍后重试。",
        "The system is busy; nothing was done and no money moved. Try again shortly.";
    OutcomeUnknown = "OUTCOME_UNKNOWN", 503, AfterLooking, "结果正在确认，可能已扣款，请勿重复支付。请过一会儿查看订单状态。",
        "The outcome is being found out; money may have moved. Do not pay again; look at the order in a moment.";
    RateLimited = "RATE_LIMITED", 429, Later, "操作过于频繁，本次未处理，未扣款。请稍后再试。",
        "Too many attempts; nothing was done this time and no money moved. Wait a while.";

    // — people —
    LoginCodeWrong = "LOGIN_CODE_WRONG", 401, Never, "登录验证码不正确或已过期，未扣款。请重新获取。",
        "The login code is wrong or expired; no money moved. Ask for a new one.";
    BindingUnknown = "BINDING_UNKNOWN", 404, Never, "没有找到该参保人的绑定，未扣款。请先绑定参保人。",
        "There is no such binding; no money moved. Bind the person first.";
    BindingMismatch = "BINDING_MISMATCH", 422, Never, "姓名与证件号码和医保登记信息不一致，未绑定，未扣款。请核对后重试，仍不一致请到医保经办窗口核实。",
        "Name and document number do not match the bureau's record; nothing was bound and no money moved. Check them, or ask at the bureau's office.";
    BindingExists = "BINDING_EXISTS", 409, Never, "该参保人已绑定，无需重复绑定，未扣款。请在“我的绑定”中查看。",
        "This person is already bound; nothing was done and no money moved. Look at your bindings.";
    CardPasswordWrong = "CARD_PASSWORD_WRONG", 422, Never, "社保卡号或支付密码不正确，未绑定，未扣款。请核对后重试；多次输错会锁定密码，忘记密码请到医保经办窗口重置。",
        "The card number or its payment password is wrong; nothing was bound and no money moved. Check both; too many wrong passwords lock it, and the bureau's office can reset it.";
    BindingLevelTooLow = "BINDING_LEVEL_TOO_LOW", 403, Never, "尚未完成医保支付绑定（二级），不能使用医保支付，未扣款。可选择自费或先完成绑定。",
        "Insurance needs a level-2 binding; no money moved. Pay in cash or complete the binding first.";
    BindingFrozen = "BINDING_FROZEN", 403, Never, "该参保人的线上支付已冻结或绑定已变更，本次未扣款。如刚更新过绑定，请重新下单；如已挂失，补办新卡后请解除原绑定，用新卡重新绑定，或到医保经办窗口办理。",
        "Online payment for this person is frozen or the binding has changed; this request moved no money. If the binding was just renewed, open the order again; after a loss, unbind and bind again with the new card, or visit the bureau's office.";
    CardFrozen = "CARD_FROZEN", 403, Never, "这张社保卡已挂失或冻结，不能用于线上支付，未绑定，未扣款。补办新卡后可用新卡绑定；如卡已找回，请本人带身份证件和社保卡到医保经办窗口办理解冻。",
        "This card was reported lost or is frozen; nothing was bound and no money moved. Bind the new card once you have it, or, if the card was found, take it and your identity document to the bureau's office.";
    InsuranceStopped = "INSURANCE_STOPPED", 403, Never, "医保系统显示该参保人目前没有有效参保，不能使用医保支付，未扣款。可选择自费，或到医保经办窗口核实参保状态。",
        "The bureau shows no insurance in force for this person; no money moved. Pay in cash, or ask about the insurance at the bureau's office.";

    // — bills —
    BillUnknown = "BILL_UNKNOWN", 404, Never, "没有找到该账单，未扣款。请刷新账单列表，或到医院窗口查询。",
        "There is no such bill; no money moved. Refresh the list, or ask at the hospital's window.";
    BillChanged = "BILL_CHANGED", 409, Never, "同一账单号已有不同内容，本次未受理，未扣款。请使用新的账单号。",
        "This bill number already exists with other content; it was not accepted and no money moved. Use a new number.";
    BillPatientMismatch = "BILL_PATIENT_MISMATCH", 422, Never, "账单患者与绑定的参保人不一致，账单未受理，未扣款。请在窗口核对姓名、证件与就诊卡。",
        "The patient is not who the binding says; the bill was not accepted and no money moved. Check name, document and card at the window.";
    BillNotPayable = "BILL_NOT_PAYABLE", 409, AfterLooking, "该账单已支付、已撤回或已失效，本次未扣款。请查看账单状态，如有疑问请到医院窗口查询。",
        "This bill is paid, withdrawn or expired; this request moved no money. Look at the bill, or ask at the hospital's window.";
    OrderOpen = "ORDER_OPEN", 409, AfterLooking, "该账单已有进行中的订单，本次未扣款。请查看并完成该订单，勿重复支付。",
        "There is already an open order for this bill; this request moved no money. Look at that order and finish it; do not pay twice.";

    // — orders —
    OrderUnknown = "ORDER_UNKNOWN", 404, Never, "没有找到该订单，本次未扣款。请在订单列表中查看。",
        "There is no such order; this request moved no money. Look at your list of orders.";
    NotNow = "NOT_NOW", 409, AfterLooking, "订单当前状态不能进行此操作，本次未扣款，原有款项不变。请查看订单，按提示操作，勿重复支付。",
        "The order's present state does not allow this; this request moved no money. Look at the order and do what it says; do not pay twice.";
    PriceExpired = "PRICE_EXPIRED", 409, AfterLooking, "分担结果已失效，未扣款。请取消订单后重新下单。",
        "The price is no longer valid; no money moved. Cancel the order and open it again.";
    CodeNotSent = "CODE_NOT_SENT", 409, Never, "尚未获取验证码，未扣款。请先点击获取验证码，再支付。",
        "No code was issued for this price; no money moved. Ask for a code first, then pay.";
    CodeWrong = "CODE_WRONG", 422, Never, "验证码不正确，未扣款。请核对最新一条短信后重试。",
        "The code is wrong; no money moved. Check the newest message and try again.";
    CodeExpired = "CODE_EXPIRED", 422, Never, "验证码已过期，未扣款。请重新获取。",
        "The code has expired; no money moved. Ask for a new one.";
    CodeForeign = "CODE_FOREIGN", 422, Never, "验证码不属于当前订单的当前分担结果，未扣款。请核对短信中的账单号，或重新获取验证码。",
        "The code was not issued for this order at this split; no money moved. Check the bill number in the message, or ask for a new code.";
    CodeTriedOut = "CODE_TRIED_OUT", 429, Never, "验证码错误次数过多，已作废，未扣款。请重新获取。",
        "Too many wrong codes: it is void and no money moved. Ask for a new one.";
    CodeSendsUsed = "CODE_SENDS_USED", 429, Never, "本次计价的验证码发送次数已用完，未扣款。请取消后重新下单。",
        "No more codes can be sent for this price; no money moved. Cancel and start again.";
    CardWrong = "CARD_WRONG", 422, Never, "输入的卡号与绑定的社保卡不一致，未扣款。请核对社保卡号后重试；已换新卡的，请先用新卡重新绑定。",
        "The card number is not the one that is bound; no money moved. Check the number and try again; a new card has to be bound first.";
    PhoneWrong = "PHONE_WRONG", 422, Never, "输入的手机号与绑定时登记的不一致，未扣款。请填写绑定时登记的手机号；手机号已更换的，请重新绑定。",
        "The phone number is not the one fixed at binding; no money moved. Enter that number; if it has changed, bind again.";
    PersonBusy = "PERSON_BUSY", 409, Later, "该参保人另一笔医保支付正在进行，未扣款。请稍后重试。",
        "Another insured payment of this person is under way; no money moved. Try again shortly.";

    // — the window and money going back —
    InProgress = "IN_PROGRESS", 409, Later, "该账单正在线上支付，请稍候再查，勿在窗口收费，以免重复扣款。",
        "This bill is being paid online; ask again in a moment and do not charge it at the window, or it is paid twice.";
    RefundTooMuch = "REFUND_TOO_MUCH", 422, Never, "退款金额超过可退金额，未退款，原支付不变。请核对可退金额后重新申请。",
        "The refund is more than is left to give back; nothing was refunded and the payment stands. Check the amount and ask again.";
    RefundUnderWay = "REFUND_UNDER_WAY", 409, AfterLooking, "该订单已有退款正在办理，本次未另行退款，原退款继续办理。请查询原退款单的进展，勿重复申请。",
        "A refund of this order is already under way; nothing more was refunded this time and the first one goes on. Look at its state; there is no need to ask again.";
    RefundPartInsured = "REFUND_PART_INSURED", 422, Never, "医保订单不能部分退款，未退款，原支付不变。请整单退后重新收费。",
        "An insured order cannot be refunded in part; nothing was refunded and the payment stands. Refund it whole and charge again.";
    RefundChanged = "REFUND_CHANGED", 409, Never, "同一退款单号已有不同内容，本次未退款。请核对原退款单，或使用新的退款单号。",
        "This refund number already exists with other content; nothing was refunded this time. Check the first one, or use a new number.";
    RefundNotNow = "REFUND_NOT_NOW", 409, AfterLooking, "该订单当前不能退款，本次未退款。请查看订单状态后再申请。",
        "The order cannot be refunded at present; nothing was refunded this time. Look at the order, then ask again.";

    // — outsiders —
    BureauRefused = "BUREAU_REFUSED", 422, Never, "医保经办系统未受理，未扣款。可选择自费（自费支付后需到经办机构手工报销）或咨询经办机构。",
        "The bureau refused; no money moved. Pay in cash (and claim at the bureau later) or ask the bureau.";
    BureauUnreachable = "BUREAU_UNREACHABLE", 503, Later, "暂时无法连接医保经办系统，未扣款。可稍后重试，或选择自费（自费支付后需到经办机构手工报销）。",
        "The bureau cannot be reached; no money moved. Try later, or pay in cash (and claim at the bureau later).";
    HospitalRefused = "HOSPITAL_REFUSED", 422, Never, "医院未受理，未扣款或已扣款项将全部退回。请咨询医院窗口。",
        "The hospital refused; nothing was charged, or everything goes back. Ask at its window.";
    SmsUnreachable = "SMS_UNREACHABLE", 503, Later, "短信暂时无法发送，未扣款。请稍后重试。",
        "Text messages cannot be sent at present; no money moved. Try again shortly.";

    // — the link and operators —
    InstitutionUnknown = "INSTITUTION_UNKNOWN", 403, Never, "该医院或药店未登记或已停用线上支付，本次未作任何处理，未扣款。请到窗口缴费；机构请联系平台经办。",
        "The institution is not registered or is suspended; nothing was done and no money moved. Pay at its window; institutions contact the platform's operators.";
    KeyUnknown = "KEY_UNKNOWN", 401, Never, "适配器密钥未登记或未批准，未作任何处理，未扣款。请联系平台经办批准公钥。",
        "The adapter's key is not approved; nothing was done and no money moved. Have its public key approved.";
    AlreadyConnected = "ALREADY_CONNECTED", 409, Later, "该机构已有连接，本次未接入，原连接不受影响，未扣款。请检查适配器是否重复启动。",
        "This institution is already connected; this link was not opened and no money moved. Check whether the adapter was started twice.";
    PlatformUnreachable = "PLATFORM_UNREACHABLE", 503, Later, "暂时无法连接统付平台，本次未作任何处理，款项状态未改变。请稍后重试。",
        "The platform cannot be reached; nothing was done and no money moved. Try again shortly.";
    Internal = "INTERNAL", 500, AfterLooking, "系统内部错误，款项以订单状态为准，请勿重复支付。请查看订单，并提供追踪号联系客服。",
        "Something failed on our side. The order shows what happened to the money; do not pay again. Look at it and quote the trace id to support.";
}

/// By hand, because the derive does not see names that a macro gives: what a document lists is what the wire says.
impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let line = |code: &Code| format!("- `{code}` ({}): {} / {}", code.status(), code.zh(), code.en());
        let table: Vec<String> = Code::ALL.iter().map(line).collect();
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(format!("The stable code of a refusal.\n\n{}", table.join("\n"))))
            .enum_values(Some(Code::ALL.iter().map(|code| code.as_str())))
            .build()
            .into()
    }
}

impl ToSchema for Code {}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A "no". The sentences come from the code; `detail` is for us and never leaves the process except in logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub code: Code,
    /// Everything wrong with the input, where that is the reason.
    pub faults: Vec<Fault>,
    /// The outsider's own words, for people (`err_msg`, HIS message), already free of personal data.
    pub words: Option<String>,
    /// What was being attempted and why it failed, for engineers. Never personal, never a secret.
    pub detail: String,
    /// Seconds after which trying again makes sense.
    pub retry_after_s: Option<u64>,
}

impl Refusal {
    /// A refusal with nothing to add for the caller.
    pub fn new(code: Code, detail: impl Into<String>) -> Refusal {
        Refusal { code, faults: Vec::new(), words: None, detail: detail.into(), retry_after_s: None }
    }

    /// Refuses an input for all its faults at once.
    pub fn faulty(code: Code, faults: Vec<Fault>) -> Refusal {
        let detail = faults.iter().map(|fault| fault.at.as_str()).collect::<Vec<_>>().join(", ");
        Refusal { code, faults, words: None, detail, retry_after_s: None }
    }

    /// Adds the outsider's own words.
    pub fn in_words(mut self, words: impl Into<String>) -> Refusal {
        self.words = Some(words.into());
        self
    }

    /// Says when to come back, in seconds.
    pub fn after_s(mut self, seconds: u64) -> Refusal {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The public form.
    pub fn problem(&self, trace_id: Option<&str>) -> Problem {
        let with_words = |sentence: &str| match &self.words {
            Some(words) => format!("{sentence}（{words}）"),
            None => sentence.to_owned(),
        };
        Problem {
            kind: format!("urn:tongfu:refusal:{}", self.code),
            status: self.code.status(),
            title: with_words(self.code.zh()),
            title_en: with_words(self.code.en()),
            code: self.code,
            again: self.code.again(),
            retry_after_s: self.retry_after_s,
            faults: self.faults.clone(),
            trace_id: trace_id.map(str::to_owned),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Refusal {}

/// A refusal as callers see it: RFC 9457 problem details (`application/problem+json`); the link uses the same fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:tongfu:refusal:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened to the money and what to do, in Chinese.
    pub title: String,
    /// The same in English.
    pub title_en: String,
    /// The stable code.
    pub code: Code,
    /// Whether trying again can help.
    pub again: Again,
    /// When, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// Everything wrong with the input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// To be quoted to support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_speaks_of_the_money_or_of_what_to_do_in_both_languages() {
        for code in Code::ALL {
            assert!(code.zh().ends_with('。') && code.zh().contains(['款', '退']), "{code}: where is the money?");
            assert!(code.zh().contains(['请', '可', '需']), "{code}: what is there to do?");
            assert!(code.en().ends_with('.'), "{code}");
            assert!((400..=599).contains(&code.status()), "{code}");
        }
    }

    #[test]
    fn the_schema_lists_exactly_what_the_wire_says() {
        let wire: Vec<_> = Code::ALL.iter().map(|code| serde_json::to_value(code).expect("serialises")).collect();
        assert_eq!(serde_json::to_value(Code::schema()).expect("serialises")["enum"], serde_json::Value::from(wire));
        assert_eq!(Code::name(), "Code");
    }

    #[test]
    fn a_problem_survives_the_wire() {
        let problem = Refusal::faulty(Code::Invalid, vec![Fault::new("a", "错", "wrong")]).problem(Some("t"));
        let text = serde_json::to_string(&problem).expect("serialises");
        assert_eq!(serde_json::from_str::<Problem>(&text).expect("comes back"), problem);
    }
}
