//! A bureau that knows a few people, a wallet that takes every order, and an SMS gateway that keeps what it was given.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use platform::domain::settlement::{Clearing, Settlement};
use platform::parties::answer::{Answer, Refused};
use platform::parties::bureau::notice::{self, LossNotice};
use platform::parties::bureau::{
    BindRequest, Bound, Bureau, Identity, Insurance, OnBehalf, PersonInfo, Settled, SettlementState, UndoneAt,
};
use platform::parties::sms::{Sms, SmsGateway};
use platform::parties::wallet::{
    Account, NotBelieved, Notice, PrepayRequest, RefundRequest, RefundState, Taken, TradeState, Wallet,
};
use schema::link::{BureauReply, SettleInputs};
use schema::mobile::WalletView;
use schema::money::Fen;
use schema::personal::{Personal as _, PsnNo};
use schema::seal::Sealed;
use schema::sign::SigningKey;
use schema::split::Split;
use serde_json::json;

use crate::insured::FUND;

/// The right password as a phone seals it, in a form that nothing else has: what leaks of it can be found.
pub const SEALED: &str = "sealed0password0right";

/// What was sent to which phone.
#[derive(Default)]
pub struct Inbox {
    messages: Mutex<Vec<(String, String)>>,
    /// Message ids that were taken: an id is sent once, and to one phone.
    ids: Mutex<BTreeMap<String, String>>,
    /// The gateway takes nothing.
    pub refuses: AtomicBool,
}

impl Inbox {
    /// The six digits of the newest message with a code in it.
    pub fn code(&self, phone: &str) -> String {
        let messages = self.messages.lock().expect("not poisoned");
        let newest = messages.iter().rev().find(|(to, text)| to == phone && text.contains("验证码"));
        let (_, text) = newest.expect("a code was sent");
        text.chars().filter(char::is_ascii_digit).take(6).collect()
    }

    /// Every message with this in it: to whom, in the order they came.
    pub fn told(&self, word: &str) -> Vec<String> {
        let messages = self.messages.lock().expect("not poisoned");
        messages.iter().filter(|(_, text)| text.contains(word)).map(|(to, _)| to.clone()).collect()
    }

    /// How many messages with a code in them a phone has received.
    pub fn codes(&self, phone: &str) -> usize {
        let messages = self.messages.lock().expect("not poisoned");
        messages.iter().filter(|(to, text)| to == phone && text.contains("验证码")).count()
    }
}

#[async_trait]
impl SmsGateway for Inbox {
    async fn send(&self, sms: &Sms) -> Answer<()> {
        if self.refuses.load(Ordering::Relaxed) {
            return no("SMS-1", "网关维护中");
        }
        for word in sms.text.0.split(|letter: char| !letter.is_ascii_digit()).filter(|word| word.len() == 6) {
            crate::trace::sent(word);
        }
        let phone = sms.phone.expose().to_owned();
        match self.ids.lock().expect("not poisoned").insert(sms.message_id.clone(), phone.clone()) {
            None => {}
            Some(to) if to == phone => return Answer::Done(()),
            Some(_) => return no("OTHER_CONTENT", "the id belongs to another message"),
        }
        self.messages.lock().expect("not poisoned").push((phone, sms.text.0.clone()));
        Answer::Done(())
    }
}

/// What 1101 shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Normal,
    CardLost,
    InsuranceStopped,
}

/// A bureau: certno → name. Card `C<certno>` (until another is issued) with the sealed password `right`, or
/// [`SEALED`], proves level 2.
pub struct Registry {
    people: BTreeMap<String, String>,
    cards: Mutex<BTreeMap<String, String>>,
    standing: Mutex<Standing>,
    /// 险种 and 参保地 of what 1101 shows as in force.
    insured: Mutex<Vec<(&'static str, &'static str)>>,
    /// 2207 settles what it is asked for, at the price of [`crate::insured::sound`].
    pub settles: AtomicBool,
    /// What was taken back: number and person.
    unbound: Mutex<Vec<(String, String)>>,
    sm2_public_key: String,
    pub notice_key: SigningKey,
}

impl Registry {
    pub fn new(seed: u8, people: &[(&str, &str)]) -> Registry {
        let people = people.iter().map(|(certno, name)| ((*certno).to_owned(), (*name).to_owned())).collect();
        let (cards, standing) = (Mutex::default(), Mutex::new(Standing::Normal));
        let insured = Mutex::new(vec![("310", "441900")]);
        let sm2_public_key = format!("BASE64POINT{seed}");
        Registry {
            people,
            cards,
            standing,
            insured,
            settles: AtomicBool::new(false),
            unbound: Mutex::default(),
            sm2_public_key,
            notice_key: SigningKey::from_seed([seed; 32]),
        }
    }

    /// The bindings that were taken back: the bureau's number and whose it was.
    pub fn unbound(&self) -> Vec<(String, String)> {
        self.unbound.lock().expect("not poisoned").clone()
    }

    /// A new card: the old one proves nothing any more.
    pub fn issue_card(&self, certno: &str, card_no: &str) {
        self.cards.lock().expect("not poisoned").insert(certno.to_owned(), card_no.to_owned());
    }

    /// What 1101 shows from now on.
    pub fn stands(&self, standing: Standing) {
        *self.standing.lock().expect("not poisoned") = standing;
    }

    /// What everybody is insured by from now on, and where.
    pub fn insures(&self, insured: &[(&'static str, &'static str)]) {
        *self.insured.lock().expect("not poisoned") = insured.to_vec();
    }

    /// The bureau's number of a binding of this person.
    pub fn bind_no(certno: &str) -> String {
        format!("B{certno}")
    }

    /// The headers that belong to a notice.
    pub fn sign(&self, body: &str, at_us: i64) -> Vec<(&'static str, String)> {
        let at_s = at_us / 1_000_000;
        let signature = self.notice_key.sign(format!("{at_s}\nn1\n{body}").as_bytes());
        vec![
            ("x-bureau-timestamp", at_s.to_string()),
            ("x-bureau-nonce", "n1".to_owned()),
            ("x-bureau-signature", signature),
        ]
    }
}

fn no<T>(code: &str, words: &str) -> Answer<T> {
    Answer::Refused(Refused { code: code.to_owned(), words: words.to_owned(), busy: false })
}

fn psn_no(certno: &str) -> PsnNo {
    PsnNo::new(format!("P{certno}"))
}

/// What a bureau answers that settles exactly what was priced.
fn settled(msgid: &str, inputs: &SettleInputs) -> Settled {
    let split = Split {
        fund_fen: Fen::new(FUND),
        cash_fen: Fen::new(inputs.medfee_sumamt_fen.get() - FUND),
        ..Split::default()
    };
    let settlement = Settlement {
        msgid: msgid.to_owned(),
        inf_refmsgid: format!("R{msgid}"),
        setl_id: format!("S{msgid}"),
        mdtrt_id: inputs.mdtrt_id.clone(),
        split,
        insutype: inputs.person.insutype.clone(),
        setl_time_us: PAID_AT_US,
        clearing: Clearing::default(),
        amounts: BTreeMap::new(),
        texts: BTreeMap::new(),
        details: Vec::new(),
        reply: Sealed::from_bytes(Vec::new()),
    };
    Settled { settlement, output: BureauReply(json!({ "setlinfo": {} })) }
}

#[async_trait]
impl Bureau for Registry {
    async fn person(&self, _: Option<&OnBehalf>, identity: &Identity) -> Answer<PersonInfo> {
        let standing = *self.standing.lock().expect("not poisoned");
        let insured = self.insured.lock().expect("not poisoned").clone();
        let insurance = |(insutype, insuplc_admdvs): (&str, &str)| Insurance {
            insutype: insutype.into(),
            insuplc_admdvs: insuplc_admdvs.into(),
            psn_type: "11".into(),
            psn_insu_stas: "1".into(),
            cvlserv_flag: "0".into(),
            emp_name: None,
            active: standing != Standing::InsuranceStopped,
        };
        match self.people.get(identity.certno.expose()) {
            None => no("1101", "查无此人"),
            Some(name) => Answer::Done(PersonInfo {
                psn_no: psn_no(identity.certno.expose()),
                psn_name: schema::personal::PersonName::new(name.clone()),
                insurances: insured.into_iter().map(insurance).collect(),
                blocked: standing != Standing::Normal,
            }),
        }
    }

    async fn bind(&self, request: &BindRequest) -> Answer<Bound> {
        let certno = request.identity.certno.expose();
        let issued = self.cards.lock().expect("not poisoned").get(certno).cloned();
        let card_no = issued.unwrap_or_else(|| format!("C{certno}"));
        if request.card_no.expose() != card_no || !["right", SEALED].contains(&request.sealed_password.expose()) {
            return no("B001", "卡号或密码错误");
        }
        let bind_no = Registry::bind_no(certno);
        Answer::Done(Bound { bind_no, psn_no: psn_no(certno), insuplc_admdvs: "441900".into() })
    }

    async fn unbind(&self, bind_no: &str, psn_no: &PsnNo) -> Answer<()> {
        self.unbound.lock().expect("not poisoned").push((bind_no.to_owned(), psn_no.expose().to_owned()));
        Answer::Done(())
    }

    async fn settle(&self, _: &OnBehalf, msgid: &str, inputs: &SettleInputs) -> Answer<Settled> {
        if self.settles.load(Ordering::Relaxed) {
            return Answer::Done(settled(msgid, inputs));
        }
        let psn_no = inputs.person.psn_no.expose();
        let name = psn_no.strip_prefix('P').and_then(|certno| self.people.get(certno));
        no("2207", &format!("{}（{psn_no}）在本测试不结算", name.expect("somebody who is insured here")))
    }

    async fn undo(&self, _: &OnBehalf, _: &str, _: &str, _: &SettleInputs) -> Answer<UndoneAt> {
        no("2208", "本测试不结算")
    }

    async fn reverse(&self, _: &OnBehalf, _: &str, _: &str, _: &SettleInputs) -> Answer<()> {
        no("2601", "本测试不结算")
    }

    async fn ask_by_setl_id(&self, _: &OnBehalf, _: &str, _: &SettleInputs) -> Answer<SettlementState> {
        Answer::Done(SettlementState::Nothing)
    }

    async fn ask_by_visit(&self, _: &OnBehalf, _: &str, _: &SettleInputs) -> Answer<SettlementState> {
        Answer::Done(SettlementState::Nothing)
    }

    fn can_ask_by_visit(&self) -> bool {
        true
    }

    fn sm2_public_key(&self) -> &str {
        &self.sm2_public_key
    }

    fn open_notice(&self, headers: &[(String, String)], body: &[u8]) -> Result<LossNotice, notice::NotBelieved> {
        let told = headers.iter().find(|(name, _)| name == "x-bureau-timestamp");
        let now_us = told.and_then(|(_, text)| text.parse::<i64>().ok()).unwrap_or(0) * 1_000_000;
        notice::open(&self.notice_key.public(), headers, body, now_us)
    }
}

/// A wallet in which a payment is a notice: `x-test-wallet: <secret>` stands for its signature, which has tests of its
/// own.
pub struct Till {
    pub secret: String,
    /// Whose money a notice tells of unless it says otherwise.
    pub merchant: String,
}

pub const PAID_AT_US: i64 = 1_767_225_600_000_000;

#[async_trait]
impl Wallet for Till {
    fn account(&self) -> Account {
        Account { sp_mchid: "1900007291".into(), sp_appid: "wx1".into() }
    }

    async fn prepay(&self, request: &PrepayRequest) -> Answer<String> {
        Answer::Done(format!("prepay-{}", request.out_trade_no))
    }

    async fn query(&self, _: &str, _: &str) -> Answer<TradeState> {
        Answer::Done(TradeState::NotPaid)
    }

    async fn close(&self, _: &str, _: &str) -> Answer<()> {
        Answer::Done(())
    }

    async fn refund(&self, _: &RefundRequest) -> Answer<RefundState> {
        Answer::Done(RefundState::Processing)
    }

    async fn query_refund(&self, _: &str, _: &str) -> Answer<RefundState> {
        Answer::Done(RefundState::Processing)
    }

    fn client_sign(&self, prepay_id: &str, amount: Fen) -> WalletView {
        WalletView {
            app_id: "wx1".into(),
            time_stamp: "1".into(),
            nonce_str: "n".into(),
            package: format!("prepay_id={prepay_id}"),
            sign_type: "RSA".into(),
            pay_sign: "s".into(),
            amount_fen: amount,
        }
    }

    fn open_notice(&self, headers: &[(String, String)], body: &[u8]) -> Result<Notice, NotBelieved> {
        if !headers.iter().any(|(name, value)| name == "x-test-wallet" && *value == self.secret) {
            return Err(NotBelieved::Signature);
        }
        let body: serde_json::Value =
            serde_json::from_slice(body).map_err(|_| NotBelieved::Malformed("no JSON".into()))?;
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let merchant = body["merchant"].as_str().unwrap_or(&self.merchant).to_owned();
        Ok(match body["event"].as_str() {
            Some("paid") => Notice::Paid {
                merchant,
                taken: Taken {
                    out_trade_no: text("out_trade_no"),
                    transaction_id: text("transaction_id"),
                    amount: Fen::new(body["amount"].as_i64().unwrap_or_default()),
                    success_time_us: PAID_AT_US,
                },
            },
            Some("refund") => Notice::Refund {
                merchant,
                out_refund_no: text("out_refund_no"),
                state: RefundState::Returned { success_time_us: PAID_AT_US },
            },
            _ => Notice::Other("something".into()),
        })
    }
}
