//! Parties whose calls are counted, and logged, by what they came to. Each wraps the real one and changes nothing.
//!
//! A call's line stands in the span of whoever makes it (a request, an action), whose trace id it carries. Nothing
//! that was asked or answered is in it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schema::ids::MessageId;
use schema::link::{Reply, SettleInputs, ToInstitution};
use schema::mobile::WalletView;
use schema::money::Fen;
use schema::personal::PsnNo;
use tokio::time::Instant;

use super::{Act, Metrics, Scheme};
use crate::journey::Tenant;
use crate::parties::answer::Answer;
use crate::parties::bureau::notice::{self, LossNotice};
use crate::parties::bureau::{
    BindRequest, Bound, Bureau, Identity, OnBehalf, PersonInfo, Settled, SettlementState, UndoneAt,
};
use crate::parties::link::{Address, Links};
use crate::parties::sms::{Sms, SmsGateway};
use crate::parties::wallet::{
    Account, NotBelieved, Notice, PrepayRequest, RefundRequest, RefundState, TradeState, Wallet,
};

/// A party whose calls are counted.
pub struct Counted<P: ?Sized> {
    party: Arc<P>,
    metrics: Arc<Metrics>,
}

impl<P: ?Sized> Counted<P> {
    /// Counts the calls of `party`.
    pub fn new(party: Arc<P>, metrics: Arc<Metrics>) -> Arc<Counted<P>> {
        Arc::new(Counted { party, metrics })
    }

    async fn count<T>(&self, party: &str, call: &str, answer: impl Future<Output = Answer<T>>) -> Answer<T> {
        let started = Instant::now();
        let answer = answer.await;
        let (result, took) = (answer.word(), started.elapsed());
        self.metrics.called(party, call, result);
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(party, call, result, duration_ms, "called");
        answer
    }
}

impl Counted<dyn Wallet> {
    /// Every request is signed, and every answer that came is checked.
    async fn signed<T>(&self, call: &str, answer: impl Future<Output = Answer<T>>) -> Answer<T> {
        self.metrics.signature(Scheme::Rsa2048, Act::Made);
        let answer = self.count("wallet", call, answer).await;
        if !matches!(answer, Answer::Unknown(_)) {
            self.metrics.signature(Scheme::Rsa2048, Act::Checked);
        }
        answer
    }
}

/// The same tenant, its parties' calls counted.
pub fn tenant(tenant: Tenant, metrics: &Arc<Metrics>) -> Tenant {
    Tenant {
        bureau: Counted::new(tenant.bureau, Arc::clone(metrics)),
        wallet: Counted::new(tenant.wallet, Arc::clone(metrics)),
        sms: Counted::new(tenant.sms, Arc::clone(metrics)),
        ..tenant
    }
}

#[async_trait]
impl Bureau for Counted<dyn Bureau> {
    async fn person(&self, on_behalf: Option<&OnBehalf>, identity: &Identity) -> Answer<PersonInfo> {
        self.count("bureau", "person", self.party.person(on_behalf, identity)).await
    }

    async fn bind(&self, request: &BindRequest) -> Answer<Bound> {
        self.count("bureau", "bind", self.party.bind(request)).await
    }

    async fn unbind(&self, bind_no: &str, psn_no: &PsnNo) -> Answer<()> {
        self.count("bureau", "unbind", self.party.unbind(bind_no, psn_no)).await
    }

    async fn settle(&self, on_behalf: &OnBehalf, msgid: &str, inputs: &SettleInputs) -> Answer<Settled> {
        self.count("bureau", "settle", self.party.settle(on_behalf, msgid, inputs)).await
    }

    async fn undo(&self, on_behalf: &OnBehalf, msgid: &str, setl_id: &str, inputs: &SettleInputs) -> Answer<UndoneAt> {
        self.count("bureau", "undo", self.party.undo(on_behalf, msgid, setl_id, inputs)).await
    }

    async fn reverse(&self, on_behalf: &OnBehalf, msgid: &str, omsgid: &str, inputs: &SettleInputs) -> Answer<()> {
        self.count("bureau", "reverse", self.party.reverse(on_behalf, msgid, omsgid, inputs)).await
    }

    async fn ask_by_setl_id(
        &self,
        on_behalf: &OnBehalf,
        setl_id: &str,
        inputs: &SettleInputs,
    ) -> Answer<SettlementState> {
        self.count("bureau", "ask_by_setl_id", self.party.ask_by_setl_id(on_behalf, setl_id, inputs)).await
    }

    async fn ask_by_visit(&self, on_behalf: &OnBehalf, omsgid: &str, inputs: &SettleInputs) -> Answer<SettlementState> {
        self.count("bureau", "ask_by_visit", self.party.ask_by_visit(on_behalf, omsgid, inputs)).await
    }

    fn can_ask_by_visit(&self) -> bool {
        self.party.can_ask_by_visit()
    }

    fn sm2_public_key(&self) -> &str {
        self.party.sm2_public_key()
    }

    fn open_notice(&self, headers: &[(String, String)], body: &[u8]) -> Result<LossNotice, notice::NotBelieved> {
        self.party.open_notice(headers, body)
    }
}

#[async_trait]
impl Wallet for Counted<dyn Wallet> {
    fn account(&self) -> Account {
        self.party.account()
    }

    async fn prepay(&self, request: &PrepayRequest) -> Answer<String> {
        self.signed("prepay", self.party.prepay(request)).await
    }

    async fn query(&self, merchant: &str, out_trade_no: &str) -> Answer<TradeState> {
        self.signed("query", self.party.query(merchant, out_trade_no)).await
    }

    async fn close(&self, merchant: &str, out_trade_no: &str) -> Answer<()> {
        self.signed("close", self.party.close(merchant, out_trade_no)).await
    }

    async fn refund(&self, request: &RefundRequest) -> Answer<RefundState> {
        self.signed("refund", self.party.refund(request)).await
    }

    async fn query_refund(&self, merchant: &str, out_refund_no: &str) -> Answer<RefundState> {
        self.signed("query_refund", self.party.query_refund(merchant, out_refund_no)).await
    }

    fn client_sign(&self, prepay_id: &str, amount: Fen) -> WalletView {
        self.metrics.signature(Scheme::Rsa2048, Act::Made);
        self.party.client_sign(prepay_id, amount)
    }

    fn open_notice(&self, headers: &[(String, String)], body: &[u8]) -> Result<Notice, NotBelieved> {
        self.metrics.signature(Scheme::Rsa2048, Act::Checked);
        self.party.open_notice(headers, body)
    }
}

#[async_trait]
impl SmsGateway for Counted<dyn SmsGateway> {
    async fn send(&self, sms: &Sms) -> Answer<()> {
        self.count("sms", sms.template, self.party.send(sms)).await
    }
}

#[async_trait]
impl Links for Counted<dyn Links> {
    async fn ask(
        &self,
        to: &Address,
        message: MessageId,
        trace_id: Option<String>,
        ask: ToInstitution,
        timeout: Duration,
    ) -> Answer<Reply> {
        let call = match &ask {
            ToInstitution::PreSettle(_) => "pre_settle",
            ToInstitution::Release(_) => "release",
            ToInstitution::Settled(_) => "settled",
            ToInstitution::Undone(_) => "undone",
            ToInstitution::QueryPayment(_) => "query_payment",
        };
        self.metrics.signature(Scheme::Ed25519, Act::Made);
        self.count("institution", call, self.party.ask(to, message, trace_id, ask, timeout)).await
    }
}
