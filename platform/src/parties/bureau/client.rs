//! Speaks to one bureau. Never repeats a message on its own, except one that was refused for want of a sign-in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use schema::ids::TenantId;
use schema::link::{BureauReply, SettleInputs};
use schema::personal::{Personal as _, PsnNo};
use serde::Serialize;

use super::config::BureauConfig;
use super::envelope::{Data, Envelope, Node, gateway_signature};
use super::mapping::{self, Found, Ours, Sought, Unfit};
use super::notice::{self, LossNotice, NotBelieved};
use super::status::{self, Verdict};
use super::{BindRequest, Bound, Bureau, Identity, OnBehalf, PersonInfo, Settled, SettlementState, UndoneAt};
use crate::clock::Clock;
use crate::ephemeral::Ephemeral;
use crate::parties::answer::{Answer, No, Refused};
use crate::parties::outbound::{Outbound, Request};
use crate::parties::{china, words};

/// How long an answer is waited for unless told otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// One tenant's bureau.
pub struct BureauClient {
    config: BureauConfig,
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    questions: AtomicU32,
    /// Where the numbers of questions are counted for all processes, and for whom.
    shared: Option<(Arc<dyn Ephemeral>, TenantId)>,
    sign_ins: Mutex<BTreeMap<String, SignInSlot>>,
}

/// One institution's sign-in. The lock is held while signing in, so that it is done once.
type SignInSlot = Arc<tokio::sync::Mutex<Option<SignedIn>>>;

#[derive(Clone)]
struct SignedIn {
    day: String,
    sign_no: String,
}

/// How long the numbers of one second are counted: longer than clocks of two processes may differ, in milliseconds.
const NUMBERS_KEPT_MS: i64 = 10_000;

/// One message, without its input.
struct Call<'a> {
    infno: &'static str,
    msgid: String,
    by: &'a OnBehalf,
    /// 参保地; empty where the input names no person.
    insuplc_admdvs: &'a str,
    /// What must not appear in the bureau's words.
    hide: Vec<&'a str>,
}

/// What an answer that is "done" says.
struct Said {
    inf_refmsgid: String,
    told_at_us: i64,
    output: Node,
    /// The output as it was written.
    output_raw: String,
}

impl BureauClient {
    /// A client that keeps its sign-ins in memory.
    pub fn new(config: BureauConfig, outbound: Arc<dyn Outbound>, clock: Arc<dyn Clock>) -> BureauClient {
        // Restarts within one second begin apart, so that their questions do not share message ids.
        let (first, last) = config.dialect.question_sequence;
        let start = clock.below(u32::from(last.saturating_sub(first)) + 1);
        BureauClient {
            config,
            outbound,
            clock,
            timeout: DEFAULT_TIMEOUT,
            questions: AtomicU32::new(start),
            shared: None,
            sign_ins: Mutex::new(BTreeMap::new()),
        }
    }

    /// Waits this long for every answer instead of ten seconds.
    pub fn with_timeout(mut self, timeout: Duration) -> BureauClient {
        self.timeout = timeout;
        self
    }

    /// Draws the numbers of questions from what all processes share: two processes that counted for themselves would
    /// sooner or later ask two questions of one institution under one number within a second, and the bureau would
    /// refuse one of them.
    pub fn numbered_with(mut self, shared: Arc<dyn Ephemeral>, tenant: TenantId) -> BureauClient {
        self.shared = Some((shared, tenant));
        self
    }

    /// A message id for something that moves nothing: institution, second, and a number of the reserved range. While
    /// what is shared cannot be reached, this process counts for itself.
    async fn question_id(&self, by: &OnBehalf) -> String {
        let (first, last) = self.config.dialect.question_sequence;
        let numbers = u32::from(last.saturating_sub(first)) + 1;
        let second = china::at(self.clock.now_us()).format("%Y%m%d%H%M%S").to_string();
        let counted = match &self.shared {
            Some((shared, tenant)) => {
                shared.count(*tenant, &format!("question:{}:{second}", by.code), NUMBERS_KEPT_MS).await.ok()
            }
            None => None,
        };
        let number = match counted {
            Some(count) => count.value.saturating_sub(1),
            None => self.questions.fetch_add(1, Ordering::Relaxed),
        };
        format!("{}{second}{:04}", by.code, u32::from(first) + number % numbers)
    }

    /// A question about a person.
    async fn question<'a>(&self, infno: &'static str, by: &'a OnBehalf, inputs: &'a SettleInputs) -> Call<'a> {
        self.about(infno, self.question_id(by).await, by, inputs)
    }

    /// A message about the person of a settlement.
    fn about<'a>(&self, infno: &'static str, msgid: String, by: &'a OnBehalf, inputs: &'a SettleInputs) -> Call<'a> {
        let person = &inputs.person;
        let hide = vec![person.psn_no.expose(), person.mdtrt_cert_no.expose()];
        Call { infno, msgid, by, insuplc_admdvs: &person.insuplc_admdvs, hide }
    }

    /// Sends a message, signed in where the dialect asks it.
    async fn call<I: Serialize + Sync>(&self, call: Call<'_>, input: &I) -> Result<Said, No> {
        if !self.config.dialect.sign_in {
            return self.send(&call, "", input).await;
        }
        let sign_no = self.signed_in(call.by, None).await?;
        match self.send(&call, &sign_no, input).await {
            // Refused at the door, so the message was not taken: the same message id goes again.
            Err(No::Refused(refused)) if self.config.dialect.sign_in_codes.contains(&refused.code) => {
                let fresh = self.signed_in(call.by, Some(&sign_no)).await?;
                self.send(&call, &fresh, input).await
            }
            said => said,
        }
    }

    /// The institution's sign-in of today; a new one when `stale` is the one that is kept. Whatever goes wrong here, the
    /// message that wanted it was not sent: so this refuses and is never unknown.
    async fn signed_in(&self, by: &OnBehalf, stale: Option<&str>) -> Result<String, No> {
        let slot = {
            let mut sign_ins = self.sign_ins.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(sign_ins.entry(by.code.clone()).or_default())
        };
        let mut kept = slot.lock().await;
        let day = china::at(self.clock.now_us()).format("%Y%m%d").to_string();
        if let Some(signed_in) = kept.as_ref()
            && signed_in.day == day
            && Some(signed_in.sign_no.as_str()) != stale
        {
            return Ok(signed_in.sign_no.clone());
        }
        *kept = None;
        let opter_no = self.config.opter.as_str();
        let input = mapping::SignIn { sign_in: mapping::SignInBy { opter_no, mac: "", ip: "" } };
        let call = Call { infno: "9001", msgid: self.question_id(by).await, by, insuplc_admdvs: "", hide: Vec::new() };
        let failed = |why: String| {
            No::Refused(Refused {
                code: "SIGN_IN".to_owned(), words: format!("医保签到未成功 {why}"), busy: true
            })
        };
        let said = match self.send(&call, "", &input).await {
            Ok(said) => said,
            Err(No::Unknown(why)) => return Err(failed(why)),
            Err(refused) => return Err(refused),
        };
        let sign_no =
            said.output.node("signinoutb").text("sign_no").ok_or_else(|| failed("(no sign_no)".to_owned()))?;
        *kept = Some(SignedIn { day, sign_no: sign_no.clone() });
        Ok(sign_no)
    }

    /// One request, one answer.
    async fn send<I: Serialize + Sync>(&self, call: &Call<'_>, sign_no: &str, input: &I) -> Result<Said, No> {
        let now_us = self.clock.now_us();
        let inf_time = china::at(now_us).format("%Y-%m-%d %H:%M:%S").to_string();
        let envelope = Envelope {
            infno: call.infno,
            msgid: &call.msgid,
            mdtrtarea_admvs: &call.by.area,
            insuplc_admdvs: call.insuplc_admdvs,
            recer_sys_code: &self.config.recer_sys_code,
            dev_no: "",
            dev_safe_info: "",
            cainfo: "",
            signtype: "",
            infver: &self.config.infver,
            // 3: mobile terminal.
            opter_type: "3",
            opter: &self.config.opter,
            opter_name: &self.config.opter_name,
            inf_time: &inf_time,
            fixmedins_code: &call.by.code,
            fixmedins_name: &call.by.name,
            sign_no,
            input,
        };
        let body = serde_json::to_vec(&envelope).expect("text and exact numbers are always JSON");
        let request = Request {
            method: "POST",
            url: format!("{}/{}", self.config.base_url, call.infno),
            headers: self.headers(now_us),
            body,
            timeout: self.timeout,
        };
        let response = self.outbound.send(request).await.map_err(|failure| failure.into_no())?;
        if response.status != 200 {
            return Err(No::Unknown(format!("{}: HTTP {}", call.infno, response.status)));
        }
        let unclear = |why: &str| No::Unknown(format!("{}: {why}", call.infno));
        let reply = Node::parse(&response.body).ok_or_else(|| unclear("the answer is no JSON object"))?;
        let output = reply.node("output");
        match status::verdict(call.infno, &reply, output.is_empty(), &self.config.dialect) {
            Verdict::Done => {
                // The bureau's clock when it answered; ours where it does not tell.
                let told = reply.text("respond_time").or_else(|| reply.text("refmsg_time"));
                Ok(Said {
                    inf_refmsgid: reply.text("inf_refmsgid").unwrap_or_default(),
                    told_at_us: told.and_then(|time| china::read_c17(&time)).unwrap_or(now_us),
                    output_raw: reply.raw("output").unwrap_or("null").to_owned(),
                    output,
                })
            }
            Verdict::Refused { code, words, busy } => {
                Err(No::Refused(Refused { code, words: words::for_people(&words, &call.hide), busy }))
            }
            Verdict::Unclear(why) => Err(unclear(why)),
        }
    }

    fn headers(&self, now_us: i64) -> Vec<(String, String)> {
        let timestamp = (now_us / 1_000_000).to_string();
        let mut nonce = [0_u8; 16];
        self.clock.fill(&mut nonce);
        let nonce = hex::encode(nonce);
        let signature = gateway_signature(&timestamp, self.config.secret.expose(), &nonce);
        [
            ("content-type", "application/json; charset=utf-8".to_owned()),
            ("x-tif-paasid", self.config.paasid.clone()),
            ("x-tif-timestamp", timestamp),
            ("x-tif-nonce", nonce),
            ("x-tif-signature", signature),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    async fn try_settle(&self, by: &OnBehalf, msgid: &str, inputs: &SettleInputs) -> Result<Settled, No> {
        let call = self.about("2207", msgid.to_owned(), by, inputs);
        let said = self.call(call, &Data { data: mapping::SettleInput::of(inputs) }).await?;
        let info = said.output.node("setlinfo");
        let details = said.output.nodes("setldetail");
        let ours = Ours { msgid, inputs };
        let settlement = mapping::settlement(&info, &details, &ours, &said.inf_refmsgid, &self.config.dialect);
        Ok(Settled { settlement: settlement.map_err(unfit("2207"))?, output: said.reply("2207")? })
    }

    async fn ask(&self, by: &OnBehalf, setl_id: &str, inputs: &SettleInputs) -> Result<Option<(Vec<Node>, Said)>, No> {
        let data =
            mapping::SettlementInput { setl_id, mdtrt_id: &inputs.mdtrt_id, psn_no: inputs.person.psn_no.expose() };
        match self.call(self.question("5203", by, inputs).await, &Data { data }).await {
            Ok(said) => Ok(Some((said.output.nodes("setlinfo"), said))),
            Err(No::Refused(refused)) if self.config.dialect.nothing_found_codes.contains(&refused.code) => Ok(None),
            Err(no) => Err(no),
        }
    }

    async fn try_ask_by_setl_id(
        &self,
        by: &OnBehalf,
        setl_id: &str,
        inputs: &SettleInputs,
    ) -> Result<SettlementState, No> {
        let Some((rows, said)) = self.ask(by, setl_id, inputs).await? else { return Ok(SettlementState::Nothing) };
        let sought = Sought::SetlId(setl_id);
        match mapping::find(&rows, &sought).map_err(unfit("5203"))? {
            Found::Nothing if rows.is_empty() => Ok(SettlementState::Nothing),
            Found::Nothing => Err(unfit("5203")(Unfit::Another("setl_id"))),
            Found::Live(row) => {
                let msgid = row.text("medins_setl_id").unwrap_or_default();
                self.live(row, &said, &msgid, inputs)
            }
            Found::Undone(Some(undo)) => mapping::undone(undo).map(SettlementState::Undone).map_err(unfit("5203")),
            // The undo is a record of its own: only the whole visit shows it.
            Found::Undone(None) if self.config.dialect.query_by_mdtrt_id => {
                let visit = self.ask(by, "", inputs).await?.map(|(rows, _)| rows).unwrap_or_default();
                match mapping::find(&visit, &sought).map_err(unfit("5203"))? {
                    Found::Undone(Some(undo)) => {
                        mapping::undone(undo).map(SettlementState::Undone).map_err(unfit("5203"))
                    }
                    Found::Undone(None) | Found::Nothing => Ok(undone_unnamed(&said)),
                    Found::Live(_) => Err(unfit("5203")(Unfit::Standing)),
                }
            }
            Found::Undone(None) => Ok(undone_unnamed(&said)),
        }
    }

    async fn try_ask_by_visit(
        &self,
        by: &OnBehalf,
        omsgid: &str,
        inputs: &SettleInputs,
    ) -> Result<SettlementState, No> {
        let Some((rows, said)) = self.ask(by, "", inputs).await? else { return Ok(SettlementState::Nothing) };
        match mapping::find(&rows, &Sought::Msgid(omsgid)).map_err(unfit("5203"))? {
            Found::Nothing => Ok(SettlementState::Nothing),
            Found::Live(row) => self.live(row, &said, omsgid, inputs),
            Found::Undone(Some(undo)) => mapping::undone(undo).map(SettlementState::Undone).map_err(unfit("5203")),
            Found::Undone(None) => Ok(undone_unnamed(&said)),
        }
    }

    /// A settlement as 5203 shows it. Its `setldetail` is beside it, or inside where there are many.
    fn live(&self, row: &Node, said: &Said, msgid: &str, inputs: &SettleInputs) -> Result<SettlementState, No> {
        let inside = row.nodes("setldetail");
        let details = if inside.is_empty() { said.output.nodes("setldetail") } else { inside };
        let ours = Ours { msgid, inputs };
        let settlement = mapping::settlement(row, &details, &ours, "", &self.config.dialect).map_err(unfit("5203"))?;
        Ok(SettlementState::Live(Box::new(Settled { settlement, output: said.reply("5203")? })))
    }
}

impl Said {
    /// The output for the institution's own books. Amounts keep their value, not their spelling (`12.30` becomes
    /// `12.3`): up to fifteen digits survive a reader that knows only floats, and no bill has more.
    fn reply(&self, infno: &str) -> Result<BureauReply, No> {
        let value = serde_json::from_str(&self.output_raw);
        value.map(BureauReply).map_err(|_| No::Unknown(format!("{infno}: the output is no JSON")))
    }
}

/// An answer came and cannot be taken: what happened at the bureau is unknown.
fn unfit(infno: &'static str) -> impl Fn(Unfit) -> No {
    move |unfit| No::Unknown(format!("{infno}: {unfit}"))
}

/// The bureau says undone without showing the undo: its id stays empty, and its date is the day of the question, which
/// reconciliation corrects.
fn undone_unnamed(said: &Said) -> SettlementState {
    SettlementState::Undone(UndoneAt {
        undo_setl_id: String::new(),
        setl_time_us: said.told_at_us,
        msgid: None,
        inf_refmsgid: None,
    })
}

#[async_trait]
impl Bureau for BureauClient {
    async fn person(&self, on_behalf: Option<&OnBehalf>, identity: &Identity) -> Answer<PersonInfo> {
        let own = self.config.own();
        let by = on_behalf.unwrap_or(&own);
        let hide = vec![identity.certno.expose(), identity.psn_name.expose()];
        let call = Call { infno: "1101", msgid: self.question_id(by).await, by, insuplc_admdvs: "", hide };
        let said = self.call(call, &Data { data: mapping::PersonInput::of(identity) }).await;
        said.and_then(|said| mapping::person(&said.output).map_err(unfit("1101"))).into()
    }

    async fn bind(&self, request: &BindRequest) -> Answer<Bound> {
        let by = self.config.own();
        let identity = &request.identity;
        let hide = vec![identity.certno.expose(), identity.psn_name.expose(), request.card_no.expose()];
        let call = Call { infno: "B001", msgid: self.question_id(&by).await, by: &by, insuplc_admdvs: "", hide };
        let said = self.call(call, &Data { data: mapping::BindInput::of(request) }).await;
        said.and_then(|said| mapping::bound(&said.output).map_err(unfit("B001"))).into()
    }

    async fn unbind(&self, bind_no: &str, psn_no: &PsnNo) -> Answer<()> {
        let by = self.config.own();
        let call = Call {
            infno: "B002",
            msgid: self.question_id(&by).await,
            by: &by,
            // The interface wants a 参保地 beside every psn_no. The binding's own is not known here; the tenant's serves.
            insuplc_admdvs: &self.config.mdtrtarea_admvs,
            hide: vec![psn_no.expose()],
        };
        let data = mapping::UnbindInput { bind_no, psn_no: psn_no.expose() };
        self.call(call, &Data { data }).await.map(|_| ()).into()
    }

    async fn settle(&self, on_behalf: &OnBehalf, msgid: &str, inputs: &SettleInputs) -> Answer<Settled> {
        self.try_settle(on_behalf, msgid, inputs).await.into()
    }

    async fn undo(&self, on_behalf: &OnBehalf, msgid: &str, setl_id: &str, inputs: &SettleInputs) -> Answer<UndoneAt> {
        let call = self.about("2208", msgid.to_owned(), on_behalf, inputs);
        let data =
            mapping::SettlementInput { setl_id, mdtrt_id: &inputs.mdtrt_id, psn_no: inputs.person.psn_no.expose() };
        let said = self.call(call, &Data { data }).await;
        said.and_then(|said| {
            let undone = mapping::undone(&said.output.node("setlinfo")).map_err(unfit("2208"))?;
            Ok(UndoneAt { inf_refmsgid: Some(said.inf_refmsgid), ..undone })
        })
        .into()
    }

    async fn reverse(&self, on_behalf: &OnBehalf, msgid: &str, omsgid: &str, inputs: &SettleInputs) -> Answer<()> {
        let call = self.about("2601", msgid.to_owned(), on_behalf, inputs);
        let data = mapping::ReverseInput { psn_no: inputs.person.psn_no.expose(), omsgid, oinfno: "2207" };
        match self.call(call, &Data { data }).await {
            Ok(_) => Answer::Done(()),
            // "Nothing to reverse" is what a reversal wants to hear.
            Err(No::Refused(refused)) if self.config.dialect.nothing_to_reverse_codes.contains(&refused.code) => {
                Answer::Done(())
            }
            Err(no) => Err(no).into(),
        }
    }

    async fn ask_by_setl_id(
        &self,
        on_behalf: &OnBehalf,
        setl_id: &str,
        inputs: &SettleInputs,
    ) -> Answer<SettlementState> {
        self.try_ask_by_setl_id(on_behalf, setl_id, inputs).await.into()
    }

    async fn ask_by_visit(&self, on_behalf: &OnBehalf, omsgid: &str, inputs: &SettleInputs) -> Answer<SettlementState> {
        self.try_ask_by_visit(on_behalf, omsgid, inputs).await.into()
    }

    fn can_ask_by_visit(&self) -> bool {
        self.config.dialect.query_by_mdtrt_id
    }

    fn open_notice(&self, headers: &[(String, String)], body: &[u8]) -> Result<LossNotice, NotBelieved> {
        notice::open(&self.config.notice_public_key, headers, body, self.clock.now_us())
    }

    fn sm2_public_key(&self) -> &str {
        &self.config.sm2_public_key
    }
}
