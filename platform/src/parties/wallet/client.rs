//! Speaks APIv3 in partner mode. Never repeats a request, and believes nothing that does not verify.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schema::mobile::WalletView;
use schema::money::Fen;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::config::WalletConfig;
use super::mapping::{
    Between, CloseBody, NoticeBody, Prepaid, PrepayBody, Problem, RefundBody, RefundView, TradeView, Unfit,
};
use super::signature::{BadKey, Keys, client_text};
use super::status;
use super::{Account, NotBelieved, Notice, PrepayRequest, RefundRequest, RefundState, TradeState, Wallet};
use crate::clock::Clock;
use crate::parties::answer::{Answer, No, Refused};
use crate::parties::outbound::{Outbound, Request};
use crate::parties::words;

/// How long an answer is waited for unless told otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// One tenant's service provider account at WeChat Pay.
pub struct WeChatPay {
    config: WalletConfig,
    keys: Keys,
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
    notify_url: String,
    timeout: Duration,
}

/// A verified answer.
enum Said {
    /// 200 or 204 with this body.
    Done(Vec<u8>),
    /// 4xx with a code.
    Refused { status: u16, problem: Problem },
}

impl WeChatPay {
    /// `notify_url` is where the wallet posts its notices about payments and refunds: absolute, without a query.
    pub fn new(
        config: WalletConfig,
        outbound: Arc<dyn Outbound>,
        clock: Arc<dyn Clock>,
        notify_url: String,
    ) -> Result<WeChatPay, BadKey> {
        let keys = Keys::of(&config)?;
        Ok(WeChatPay { config, keys, outbound, clock, notify_url, timeout: DEFAULT_TIMEOUT })
    }

    /// Waits this long for every answer instead of ten seconds.
    pub fn with_timeout(mut self, timeout: Duration) -> WeChatPay {
        self.timeout = timeout;
        self
    }

    fn nonce(&self) -> String {
        let mut nonce = [0_u8; 16];
        self.clock.fill(&mut nonce);
        hex::encode(nonce)
    }

    async fn get(&self, path: &str) -> Result<Said, No> {
        self.send("GET", path, Vec::new()).await
    }

    async fn post<B: Serialize + Sync>(&self, path: &str, body: &B) -> Result<Said, No> {
        let body = serde_json::to_vec(body).expect("texts and whole numbers are always JSON");
        self.send("POST", path, body).await
    }

    /// `path` is path and query as the wallet sees them.
    async fn send(&self, method: &'static str, path: &str, body: Vec<u8>) -> Result<Said, No> {
        let authorization =
            self.keys.authorization(method, path, self.clock.now_us() / 1_000_000, &self.nonce(), &body);
        let headers = [
            ("authorization", authorization),
            ("accept", "application/json".to_owned()),
            ("content-type", "application/json; charset=utf-8".to_owned()),
            // Says which of its keys the wallet is to sign with.
            ("wechatpay-serial", self.config.wechatpay_serial.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        let url = format!("{}{path}", self.config.base_url);
        let request = Request { method, url, headers, body, timeout: self.timeout };
        let response = self.outbound.send(request).await.map_err(|failure| failure.into_no())?;
        let unknown = |why: &str| No::Unknown(format!("{method}: HTTP {} {why}", response.status));
        self.keys
            .check(|name| response.header(name), &response.body, self.clock.now_us())
            .map_err(|fault| unknown(&fault.to_string()))?;
        match response.status {
            200 | 204 => Ok(Said::Done(response.body)),
            400..=499 => {
                let problem =
                    serde_json::from_slice(&response.body).map_err(|_| unknown("without a code and message"))?;
                Ok(Said::Refused { status: response.status, problem })
            }
            // 5xx: the wallet stumbled, perhaps after it had done it.
            _ => Err(unknown("")),
        }
    }

    fn trade_path(&self, merchant: &str, out_trade_no: &str) -> String {
        let (sp_mchid, number) = (&self.config.sp_mchid, segment(out_trade_no));
        let merchant = segment(merchant);
        format!("/v3/pay/partner/transactions/out-trade-no/{number}?sp_mchid={sp_mchid}&sub_mchid={merchant}")
    }

    async fn try_prepay(&self, request: &PrepayRequest) -> Result<String, No> {
        let body = PrepayBody::of(&self.config, &self.notify_url, request);
        let said = self.post("/v3/pay/partner/transactions/jsapi", &body).await?;
        let prepaid: Prepaid = said.done()?;
        Ok(prepaid.prepay_id)
    }

    async fn try_query(&self, merchant: &str, out_trade_no: &str) -> Result<TradeState, No> {
        let said = self.get(&self.trade_path(merchant, out_trade_no)).await?;
        if said.is_nothing_there() {
            return Ok(TradeState::Nothing);
        }
        let view: TradeView = said.done()?;
        if view.out_trade_no != out_trade_no || view.sub_mchid != merchant {
            return Err(unfit(Unfit::Another("order")));
        }
        view.state(&self.config).map_err(unfit)
    }

    async fn try_close(&self, merchant: &str, out_trade_no: &str) -> Result<(), No> {
        let body = CloseBody { sp_mchid: &self.config.sp_mchid, sub_mchid: merchant };
        let path = format!("/v3/pay/partner/transactions/out-trade-no/{}/close", segment(out_trade_no));
        match self.post(&path, &body).await? {
            Said::Done(_) => Ok(()),
            said if said.is_nothing_there() => Ok(()),
            Said::Refused { problem, .. } if status::says_closed(&problem.code) => Ok(()),
            Said::Refused { status, problem } => Err(refused(status, problem)),
        }
    }

    async fn try_refund(&self, request: &RefundRequest) -> Result<RefundState, No> {
        let said = self.post("/v3/refund/domestic/refunds", &RefundBody::of(&self.notify_url, request)).await?;
        let view: RefundView = said.done()?;
        if view.out_refund_no != request.out_refund_no || view.amount() != request.amount {
            return Err(unfit(Unfit::Another("refund")));
        }
        view.state().map_err(unfit)
    }

    async fn try_query_refund(&self, merchant: &str, out_refund_no: &str) -> Result<RefundState, No> {
        let (number, merchant) = (segment(out_refund_no), segment(merchant));
        let said = self.get(&format!("/v3/refund/domestic/refunds/{number}?sub_mchid={merchant}")).await?;
        if said.is_nothing_there() {
            return Ok(RefundState::Nothing);
        }
        let view: RefundView = said.done()?;
        if view.out_refund_no != out_refund_no {
            return Err(unfit(Unfit::Another("refund")));
        }
        view.state().map_err(unfit)
    }

    fn open(&self, body: &[u8]) -> Result<Notice, NotBelieved> {
        let malformed = |why: &str| NotBelieved::Malformed(why.to_owned());
        let notice: NoticeBody = serde_json::from_slice(body).map_err(|_| malformed("no notice"))?;
        let resource = &notice.resource;
        if resource.algorithm != "AEAD_AES_256_GCM" {
            return Err(malformed("sealed by an algorithm we do not know"));
        }
        let plain = self
            .keys
            .open(&resource.nonce, &resource.associated_data, &resource.ciphertext)
            .ok_or_else(|| malformed("the resource does not open"))?;
        if notice.event_type == "TRANSACTION.SUCCESS" {
            let view: TradeView = serde_json::from_slice(&plain).map_err(|_| malformed("no trade in the resource"))?;
            let merchant = view.sub_mchid.clone();
            let state = view.state(&self.config).map_err(|unfit| NotBelieved::Malformed(unfit.to_string()))?;
            return Ok(match state {
                TradeState::Paid(taken) => Notice::Paid { merchant, taken },
                TradeState::Nothing | TradeState::NotPaid | TradeState::Closed | TradeState::Unclear(_) => {
                    Notice::Other(notice.event_type)
                }
            });
        }
        if notice.event_type.starts_with("REFUND.") {
            let view: RefundView =
                serde_json::from_slice(&plain).map_err(|_| malformed("no refund in the resource"))?;
            let between: Between =
                serde_json::from_slice(&plain).map_err(|_| malformed("no merchants in the resource"))?;
            if between.sp_mchid != self.config.sp_mchid {
                return Err(NotBelieved::Malformed(Unfit::Another("sp_mchid").to_string()));
            }
            let out_refund_no = view.out_refund_no.clone();
            let state = view.state().map_err(|unfit| NotBelieved::Malformed(unfit.to_string()))?;
            return Ok(Notice::Refund { merchant: between.sub_mchid, out_refund_no, state });
        }
        Ok(Notice::Other(notice.event_type))
    }
}

impl Said {
    fn is_nothing_there(&self) -> bool {
        matches!(self, Said::Refused { status, problem } if status::says_nothing_there(*status, &problem.code))
    }

    /// The body of what was done. One that cannot be read leaves open what was done.
    fn done<T: DeserializeOwned>(self) -> Result<T, No> {
        match self {
            Said::Done(body) => {
                serde_json::from_slice(&body).map_err(|_| No::Unknown("the answer cannot be read".to_owned()))
            }
            Said::Refused { status, problem } => Err(refused(status, problem)),
        }
    }
}

/// Their no. 429 is the only busy one; 5xx never gets here.
fn refused(status: u16, problem: Problem) -> No {
    let words = words::for_people(&problem.message, &[]);
    No::Refused(Refused { code: problem.code, words, busy: status == 429 })
}

fn unfit(unfit: Unfit) -> No {
    No::Unknown(unfit.to_string())
}

/// A value inside an address. Ours are letters and digits; anything else is escaped rather than trusted.
fn segment(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[async_trait]
impl Wallet for WeChatPay {
    fn account(&self) -> Account {
        Account { sp_mchid: self.config.sp_mchid.clone(), sp_appid: self.config.sp_appid.clone() }
    }

    async fn prepay(&self, request: &PrepayRequest) -> Answer<String> {
        self.try_prepay(request).await.into()
    }

    async fn query(&self, merchant: &str, out_trade_no: &str) -> Answer<TradeState> {
        self.try_query(merchant, out_trade_no).await.into()
    }

    async fn close(&self, merchant: &str, out_trade_no: &str) -> Answer<()> {
        self.try_close(merchant, out_trade_no).await.into()
    }

    async fn refund(&self, request: &RefundRequest) -> Answer<RefundState> {
        self.try_refund(request).await.into()
    }

    async fn query_refund(&self, merchant: &str, out_refund_no: &str) -> Answer<RefundState> {
        self.try_query_refund(merchant, out_refund_no).await.into()
    }

    fn client_sign(&self, prepay_id: &str, amount: Fen) -> WalletView {
        let app_id = self.config.sp_appid.clone();
        let time_stamp = (self.clock.now_us() / 1_000_000).to_string();
        let nonce_str = self.nonce();
        let package = format!("prepay_id={prepay_id}");
        let pay_sign = self.keys.sign(&client_text(&app_id, &time_stamp, &nonce_str, &package));
        let sign_type = "RSA".to_owned();
        WalletView { app_id, time_stamp, nonce_str, package, sign_type, pay_sign, amount_fen: amount }
    }

    fn open_notice(&self, headers: &[(String, String)], body: &[u8]) -> Result<Notice, NotBelieved> {
        let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        self.keys.check(header, body, self.clock.now_us()).map_err(|_| NotBelieved::Signature)?;
        self.open(body)
    }
}
