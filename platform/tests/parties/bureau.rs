//! The bureau client against the sandbox's bureau, in several provinces' dialects.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use platform::clock::SystemClock;
use platform::ephemeral::Ephemeral;
use platform::ephemeral::memory::Memory;
use platform::parties::answer::{Answer, Refused};
use platform::parties::bureau::client::BureauClient;
use platform::parties::bureau::notice::NotBelieved;
use platform::parties::bureau::{
    BindRequest, Bureau as Client, BureauConfig, Dialect, Identity, OnBehalf, Settled, SettlementState, UndoneAt,
};
use platform::parties::outbound::{Failure, Http, NEVER_SENT, Outbound, Request, Response};
use platform::parties::secret::Secret;
use sandbox::bureau::admin::{NewPerson, Registration};
use sandbox::bureau::envelope;
use sandbox::bureau::seal::Keys;
use sandbox::bureau::server::{self, Bureau, Running};
use sandbox::bureau::state::Insurance;
use sandbox::bureau::{Caller, CallerKind, Catalogue, Config, Core, HospLevel, Institution, seal_card_password};
use sandbox::clock::china_now;
use sandbox::fault::{Fault, Rule};
use schema::ids::TenantId;
use schema::link::{InsuredPerson, SettleInputs};
use schema::money::Fen;
use schema::personal::{CardNo, CertNo, MdtrtCertNo, PersonName, Personal as _, PsnNo, SealedPassword};
use schema::sign::PublicKey;
use schema::split::Split;
use serde_json::{Value, json};

use crate::ear::{Ear, Then};
use crate::nowhere;
use crate::party_contract::bureau::{Call, World as Contract};
use crate::party_contract::{Posted, Trouble, every_promise};

const HOSPITAL: &str = "H44910000001";
/// The platform's own code where none is configured: `P` + area + `00000`.
const OWN: &str = "P44910000000";
const CITY: &str = "449100";
const PSN_NO: &str = "44910000000000000001";
const CERTNO: &str = "449100199005200011";
const NAME: &str = "王小明";
const CARD: &str = "CARD0001";
const PASSWORD: &str = "135790";

struct World {
    running: Running,
    window: Caller,
    http: Arc<Http>,
    ear: Ear,
    visits: u32,
    messages: u32,
}

impl World {
    async fn new(change: impl FnOnce(&mut Config)) -> World {
        let ear = Ear::open(Then::Say(b"HTTP/1.1 204 X\r\n\r\n".to_vec())).await;
        let mut config = Config::builtin();
        change(&mut config);
        let mut core = Core::new(config, Arc::new(Catalogue::builtin()), Keys::from_seed(7));
        let register = |paasid: &str, kind, codes: &[&str], notice_url| Registration {
            paasid: paasid.to_owned(),
            secret: format!("{paasid}-secret"),
            kind,
            institutions: codes.iter().map(|code| institution(code)).collect(),
            notice_url,
        };
        let window = register("his", CallerKind::Hospital, &[HOSPITAL], None);
        let window = core.register_caller(window).expect("registers");
        let platform = register("tongfu", CallerKind::Platform, &[HOSPITAL, OWN], Some(format!("{}/n", ear.url)));
        core.register_caller(platform).expect("registers");
        core.create_persons(vec![worker()]).expect("creates");
        let running = server::start(Bureau::new(core, 1), "127.0.0.1:0", None).expect("listens");
        World { running, window, http: Arc::new(Http::new().expect("a client")), ear, visits: 0, messages: 0 }
    }

    fn config(&self, dialect: Dialect) -> BureauConfig {
        let (sm2, notice) =
            self.running.bureau.with_core(|core| (core.keys().card_public_key(), core.keys().notice_public_key()));
        BureauConfig {
            base_url: self.running.url.clone(),
            paasid: "tongfu".to_owned(),
            secret: Secret::new("tongfu-secret"),
            sm2_public_key: sm2,
            notice_public_key: PublicKey::parse(&notice).expect("a key"),
            mdtrtarea_admvs: CITY.to_owned(),
            own: None,
            opter: "tongfu".to_owned(),
            opter_name: "统付平台".to_owned(),
            recer_sys_code: "1".to_owned(),
            infver: "V1.0".to_owned(),
            dialect,
        }
    }

    fn client(&self, dialect: Dialect) -> BureauClient {
        self.client_with(self.config(dialect))
    }

    fn client_with(&self, config: BureauConfig) -> BureauClient {
        BureauClient::new(config, self.http.clone(), Arc::new(SystemClock::new()))
    }

    fn fault(&self, infno: &str, fault: Fault) {
        let rule = Rule { operation: infno.to_owned(), subject: None, share_ppm: None, times: Some(1), fault };
        self.running.bureau.faults.add(rule);
    }

    /// One message of the hospital's own system; it must succeed.
    fn his(&self, infno: &str, input: Value) -> Value {
        let now = china_now();
        self.running.bureau.with_core(|core| {
            let mut sign_ins = core.state().sign_ins.iter();
            let sign_no = sign_ins.find(|(_, sign_in)| sign_in.fixmedins_code == HOSPITAL).map(|(sign_no, _)| sign_no);
            let sign_no = sign_no.cloned().unwrap_or_default();
            let envelope = envelope::Request {
                infno: infno.to_owned(),
                msgid: format!("{HOSPITAL}{:018}", core.revision()),
                mdtrtarea_admvs: CITY.to_owned(),
                insuplc_admdvs: CITY.to_owned(),
                opter_type: "1".to_owned(),
                opter: "001".to_owned(),
                opter_name: "收费员".to_owned(),
                inf_time: now.format("%Y-%m-%d %H:%M:%S").to_string(),
                fixmedins_code: HOSPITAL.to_owned(),
                fixmedins_name: "东湾市人民医院".to_owned(),
                sign_no,
                input,
            };
            let answer = core.handle(&self.window, infno, &envelope.to_value(), now);
            assert!(["0", "\"0\""].contains(&answer["infcode"].to_string().as_str()), "{infno}: {answer}");
            answer["output"].clone()
        })
    }

    /// A visit with two lines of together 193.00, of which 14.30 are 先行自付: everything 2207 needs.
    fn priced(&mut self) -> SettleInputs {
        self.visits += 1;
        let (visit, time) = (self.visits, "2026-07-10 08:30:00");
        let data = json!({
            "psn_no": PSN_NO, "insutype": "310", "begntime": time, "mdtrt_cert_type": "02",
            "mdtrt_cert_no": CERTNO, "ipt_otp_no": format!("OP{visit}"), "atddr_no": "D01", "dr_name": "李医生",
            "dept_code": "0301", "dept_name": "内科", "caty": "A03",
        });
        let registered = self.his("2201", json!({ "data": data }));
        let mdtrt_id = registered["data"]["mdtrt_id"].as_str().expect("a visit").to_owned();
        let info = json!({
            "mdtrt_id": mdtrt_id, "psn_no": PSN_NO, "med_type": "11", "begntime": time, "main_cond_dscr": "咳嗽",
        });
        let diagnosis = json!({
            "diag_type": "1", "diag_srt_no": 1, "diag_code": "J06.900", "diag_name": "急性上呼吸道感染",
            "diag_dept": "内科", "dise_dor_no": "D01", "dise_dor_name": "李医生", "diag_time": time, "vali_flag": "1",
        });
        self.his("2203", json!({ "mdtrtinfo": info, "diseinfo": [diagnosis] }));
        let line = |n: u32, code: &str, cnt: &str, pric: &str, amount: &str| {
            json!({
                "feedetl_sn": format!("F{n}"), "mdtrt_id": mdtrt_id, "psn_no": PSN_NO, "chrg_bchno": "B1",
                "fee_ocur_time": time, "med_list_codg": code, "medins_list_codg": format!("M{n}"),
                "det_item_fee_sumamt": amount, "cnt": cnt, "pric": pric, "bilg_dept_codg": "0301",
                "bilg_dept_name": "内科", "bilg_dr_codg": "D01", "bilg_dr_name": "李医生", "hosp_appr_flag": "0",
            })
        };
        let lines = [
            line(1, "XZ01AAA001A001010190001", "4", "12.5", "50.00"),
            line(2, "XZ02AAA002A001010190002", "5", "28.60", "143.00"),
        ];
        self.his("2204", json!({ "feedetail": lines }));
        SettleInputs {
            person: InsuredPerson {
                psn_no: PsnNo::new(PSN_NO),
                insutype: "310".to_owned(),
                insuplc_admdvs: CITY.to_owned(),
                mdtrt_cert_type: "02".to_owned(),
                mdtrt_cert_no: MdtrtCertNo::new(CERTNO),
            },
            med_type: "11".to_owned(),
            psn_setlway: "01".to_owned(),
            use_account: true,
            mdtrt_id,
            chrg_bchno: "B1".to_owned(),
            invono: format!("INV{visit}"),
            medfee_sumamt_fen: Fen::new(19_300),
            fulamt_ownpay_fen: Fen::ZERO,
            overlmt_selfpay_fen: Fen::ZERO,
            preselfpay_fen: Fen::new(1_430),
            inscp_scp_fen: Fen::new(17_870),
        }
    }

    fn bind_request(&self, password: &str) -> BindRequest {
        let key = self.running.bureau.with_core(|core| core.keys().card_public_key());
        BindRequest {
            identity: identity(NAME),
            card_no: CardNo::new(CARD),
            sealed_password: SealedPassword::new(seal_card_password(&key, password)),
            channel_no: "app".to_owned(),
        }
    }

    /// The person reports the card lost at the bureau's counter.
    async fn report_loss(&self) {
        let url = format!("{}/sandbox/persons/{PSN_NO}/loss", self.running.url);
        let timeout = Duration::from_secs(20);
        let request = Request { method: "POST", url, headers: Vec::new(), body: Vec::new(), timeout };
        assert_eq!(self.http.send(request).await.expect("an answer").status, 200);
    }

    /// Binds and prices: a person who can pay.
    async fn ready(&mut self, client: &BureauClient) -> SettleInputs {
        done(client.bind(&self.bind_request(PASSWORD)).await);
        self.priced()
    }
}

#[async_trait]
impl Contract for World {
    fn client(&self) -> Arc<dyn Client> {
        Arc::new(World::client(self, guangdong()))
    }

    fn trouble(&self, call: Call, trouble: Trouble) {
        let infno = match call {
            Call::Person => "1101",
            Call::Bind => "B001",
            Call::Settle => "2207",
            Call::Undo => "2208",
            Call::Reverse => "2601",
            Call::Ask => "5203",
        };
        self.fault(
            infno,
            match trouble {
                Trouble::AnswerLost => Fault::DoButDoNotAnswer,
                Trouble::QuestionLost => Fault::NeitherDoNorAnswer,
                Trouble::Refused => Fault::Refuse { code: "4711".to_owned(), message: "沙箱故障".to_owned() },
                Trouble::Busy => Fault::Busy,
            },
        );
    }

    fn on_behalf(&self) -> OnBehalf {
        by()
    }

    fn identity(&self) -> Identity {
        identity(NAME)
    }

    fn stranger(&self) -> Identity {
        Identity { certno: CertNo::new("449100199005200038"), ..identity("无名氏") }
    }

    fn proof(&self, right: bool) -> BindRequest {
        self.bind_request(if right { PASSWORD } else { "000000" })
    }

    fn fresh_msgid(&mut self) -> String {
        self.messages += 1;
        msgid(self.messages)
    }

    fn priced(&mut self) -> SettleInputs {
        World::priced(self)
    }

    async fn lose_card(&self) {
        self.report_loss().await;
    }

    async fn posted(&mut self) -> Posted {
        let heard = self.ear.next().await;
        (heard.headers, heard.body)
    }

    fn deserted(&self) -> Arc<dyn Client> {
        Arc::new(self.client_with(BureauConfig { base_url: nowhere(), ..self.config(guangdong()) }))
    }
}

mod promises {
    async fn world() -> super::World {
        super::World::new(|_| {}).await
    }

    super::every_promise!(bureau in world);
}

fn institution(code: &str) -> Institution {
    Institution {
        fixmedins_code: code.to_owned(),
        fixmedins_name: "东湾市人民医院".to_owned(),
        admdvs: CITY.to_owned(),
        hosp_lv: HospLevel::Third,
    }
}

fn worker() -> NewPerson {
    NewPerson {
        psn_no: PSN_NO.to_owned(),
        psn_cert_type: "01".to_owned(),
        certno: CERTNO.to_owned(),
        psn_name: NAME.to_owned(),
        gend: "1".to_owned(),
        brdy: "1990-05-20".parse().expect("a day"),
        card_no: CARD.to_owned(),
        card_password: PASSWORD.to_owned(),
        insurances: vec![Insurance {
            insutype: "310".to_owned(),
            psn_type: "1101".to_owned(),
            insuplc_admdvs: CITY.to_owned(),
            cvlserv: false,
            paused: false,
        }],
        balance_fen: Fen::new(5_000),
        relatives: Vec::new(),
    }
}

fn identity(name: &str) -> Identity {
    Identity { psn_cert_type: "01".to_owned(), certno: CertNo::new(CERTNO), psn_name: PersonName::new(name) }
}

fn by() -> OnBehalf {
    OnBehalf { code: HOSPITAL.to_owned(), name: "东湾市人民医院".to_owned(), area: CITY.to_owned() }
}

/// The sandbox's default: Guangdong, with questions by visit.
fn guangdong() -> Dialect {
    Dialect { query_by_mdtrt_id: true, ..Dialect::default() }
}

fn msgid(n: u32) -> String {
    format!("{HOSPITAL}20260710090000{n:04}")
}

#[track_caller]
fn done<T: std::fmt::Debug>(answer: Answer<T>) -> T {
    match answer {
        Answer::Done(value) => value,
        other => panic!("{other:?}"),
    }
}

/// `done`, `unknown`, or the refusal's code with a star where they were busy.
fn outcome<T>(answer: Answer<T>) -> String {
    match answer {
        Answer::Refused(Refused { code, busy, .. }) => format!("{code}{}", if busy { "*" } else { "" }),
        other => other.word().to_owned(),
    }
}

#[track_caller]
fn live(answer: Answer<SettlementState>) -> Settled {
    match done(answer) {
        SettlementState::Live(settled) => *settled,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn undone(answer: Answer<SettlementState>) -> UndoneAt {
    match done(answer) {
        SettlementState::Undone(at) => at,
        other => panic!("{other:?}"),
    }
}

fn stands(answer: Answer<SettlementState>) -> &'static str {
    match done(answer) {
        SettlementState::Nothing => "nothing",
        SettlementState::Live(_) => "live",
        SettlementState::Undone(_) => "undone",
    }
}

/// 193.00: 50 % of 178.70 from the pool, 50.00 from the account, the rest in cash.
fn expected_split() -> Split {
    Split { fund_fen: Fen::new(8_935), account_own_fen: Fen::new(5_000), cash_fen: Fen::new(5_365), ..Split::default() }
}

#[tokio::test]
async fn a_person_binds_pays_and_gets_it_back_in_every_dialect() {
    type Change = fn(&mut Config);
    let hunan: Change = |config| {
        config.dialect.fund_pay_sumamt_includes_acct = false;
        config.dialect.amounts_as_strings = true;
        config.dialect.infcode_as_string = true;
        config.dialect.errors_answer_infcode_zero = true;
    };
    let signing: Change = |config| config.dialect.sign_in_required = true;
    for (name, change, dialect) in [
        ("guangdong", (|_| {}) as Change, guangdong()),
        ("hunan", hunan, Dialect { fund_pay_sumamt_includes_acct: false, ..guangdong() }),
        ("signing in", signing, Dialect { sign_in: true, ..guangdong() }),
    ] {
        let mut world = World::new(change).await;
        let client = world.client(dialect);
        let person = done(client.person(None, &identity(NAME)).await);
        assert_eq!((person.psn_no.expose(), person.blocked), (PSN_NO, false), "{name}");
        assert_eq!(person.insurances[0].insutype, "310", "{name}");
        let bound = done(client.bind(&world.bind_request(PASSWORD)).await);
        assert_eq!((bound.psn_no.expose(), bound.insuplc_admdvs.as_str()), (PSN_NO, CITY), "{name}");

        done(client.person(Some(&by()), &identity(NAME)).await);
        let inputs = world.priced();
        let settled = done(client.settle(&by(), &msgid(1), &inputs).await);
        assert_eq!(settled.settlement.split, expected_split(), "{name}");
        assert_eq!(settled.settlement.msgid, msgid(1), "{name}");
        assert!(!settled.settlement.inf_refmsgid.is_empty(), "{name}");
        assert_eq!(settled.output.0["setlinfo"]["setl_id"], settled.settlement.setl_id.as_str(), "{name}");
        assert_eq!(settled.settlement.details[0].fund_payamt, Fen::new(8_935), "{name}");
        let again = done(client.settle(&by(), &msgid(1), &inputs).await);
        assert_eq!(again.settlement, settled.settlement, "{name}: the same message has the same answer");

        let setl_id = settled.settlement.setl_id.clone();
        for asked in [
            live(client.ask_by_setl_id(&by(), &setl_id, &inputs).await),
            live(client.ask_by_visit(&by(), &msgid(1), &inputs).await),
        ] {
            let (mut asked, told) = (asked.settlement, &settled.settlement);
            // 5203 names more than 2207 did, and in a message of its own.
            for (field, amount) in &told.amounts {
                assert_eq!(asked.amounts.get(field), Some(amount), "{name}: {field}");
            }
            for (field, text) in &told.texts {
                assert_eq!(asked.texts.get(field), Some(text), "{name}: {field}");
            }
            asked.inf_refmsgid.clone_from(&told.inf_refmsgid);
            (asked.amounts, asked.texts) = (told.amounts.clone(), told.texts.clone());
            assert_eq!(asked, *told, "{name}: 5203 tells what 2207 told");
        }
        let at = done(client.undo(&by(), &msgid(2), &setl_id, &inputs).await);
        assert_ne!(at.undo_setl_id, setl_id, "{name}");
        assert!(at.inf_refmsgid.is_some(), "{name}: 2208 answers with the bureau's message number");
        let at = UndoneAt { inf_refmsgid: None, ..at };
        assert_eq!(undone(client.ask_by_setl_id(&by(), &setl_id, &inputs).await), at, "{name}");
        assert_eq!(undone(client.ask_by_visit(&by(), &msgid(1), &inputs).await), at, "{name}");
        assert_eq!(outcome(client.unbind(&bound.bind_no, &bound.psn_no).await), "done", "{name}");
        world.running.stop().await.expect("it stops");
    }
}

/// Everything that goes to a bureau, as it goes.
struct Overheard {
    http: Arc<Http>,
    envelopes: Mutex<Vec<Value>>,
}

#[async_trait]
impl Outbound for Overheard {
    async fn send(&self, request: Request) -> Result<Response, Failure> {
        let envelope = serde_json::from_slice(&request.body).expect("JSON");
        self.envelopes.lock().expect("not poisoned").push(envelope);
        self.http.send(request).await
    }
}

#[tokio::test]
async fn every_message_says_that_no_window_but_a_mobile_terminal_sends_it() {
    let mut world = World::new(|_| {}).await;
    let overheard = Arc::new(Overheard { http: Arc::clone(&world.http), envelopes: Mutex::default() });
    let client =
        BureauClient::new(world.config(guangdong()), Arc::clone(&overheard) as _, Arc::new(SystemClock::new()));
    done(client.person(None, &identity(NAME)).await);
    let bound = done(client.bind(&world.bind_request(PASSWORD)).await);
    let inputs = world.priced();
    let settled = done(client.settle(&by(), &msgid(1), &inputs).await);
    let _ = client.ask_by_setl_id(&by(), &settled.settlement.setl_id, &inputs).await;
    let _ = client.reverse(&by(), &msgid(2), &msgid(1), &inputs).await;
    let _ = client.undo(&by(), &msgid(3), &settled.settlement.setl_id, &inputs).await;
    let _ = client.unbind(&bound.bind_no, &bound.psn_no).await;
    let envelopes = overheard.envelopes.lock().expect("not poisoned").clone();
    let said: BTreeSet<&str> = envelopes.iter().filter_map(|envelope| envelope["infno"].as_str()).collect();
    for infno in ["1101", "2207", "2208", "2601", "5203", "B001"] {
        assert!(said.contains(infno), "{infno} in {said:?}");
    }
    for envelope in &envelopes {
        assert_eq!(envelope["opter_type"], "3", "{envelope}");
    }
    world.running.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_settlement_without_an_answer_is_unknown_and_its_reversal_leaves_nothing() {
    let late = Fault::LateCommit { delay_ms: 60_000 };
    for (fault, stood, after) in [
        (Fault::DoButDoNotAnswer, "live", "undone"),
        (Fault::NeitherDoNorAnswer, "nothing", "nothing"),
        (late, "nothing", "nothing"),
    ] {
        let mut world = World::new(|_| {}).await;
        let client = world.client(guangdong());
        let inputs = world.ready(&client).await;
        world.fault("2207", fault.clone());
        assert_eq!(outcome(client.settle(&by(), &msgid(1), &inputs).await), "unknown", "{fault:?}");
        assert_eq!(stands(client.ask_by_visit(&by(), &msgid(1), &inputs).await), stood, "{fault:?}");
        for attempt in 2..4 {
            assert_eq!(outcome(client.reverse(&by(), &msgid(attempt), &msgid(1), &inputs).await), "done", "{fault:?}");
        }
        assert_eq!(stands(client.ask_by_visit(&by(), &msgid(1), &inputs).await), after, "{fault:?}");
        world.running.stop().await.expect("it stops");
    }
}

#[tokio::test]
async fn a_settlement_that_executes_after_its_reversal_is_found_and_undone() {
    let mut world = World::new(|_| {}).await;
    let client = world.client(guangdong());
    let inputs = world.ready(&client).await;
    world.fault("2207", Fault::ExecuteAfterReversal { delay_ms: 1 });
    assert_eq!(outcome(client.settle(&by(), &msgid(1), &inputs).await), "unknown");
    assert_eq!(outcome(client.reverse(&by(), &msgid(2), &msgid(1), &inputs).await), "done");
    let settled = loop {
        match done(client.ask_by_visit(&by(), &msgid(1), &inputs).await) {
            SettlementState::Live(settled) => break settled,
            SettlementState::Nothing => tokio::task::yield_now().await,
            SettlementState::Undone(at) => panic!("{at:?}"),
        }
    };
    done(client.undo(&by(), &msgid(3), &settled.settlement.setl_id, &inputs).await);
}

#[tokio::test]
async fn a_lost_undo_is_unknown_and_the_question_names_the_undo() {
    let mut world = World::new(|_| {}).await;
    let client = world.client(guangdong());
    let inputs = world.ready(&client).await;
    let setl_id = done(client.settle(&by(), &msgid(1), &inputs).await).settlement.setl_id;
    world.fault("2208", Fault::NeitherDoNorAnswer);
    assert_eq!(outcome(client.undo(&by(), &msgid(2), &setl_id, &inputs).await), "unknown");
    assert_eq!(stands(client.ask_by_setl_id(&by(), &setl_id, &inputs).await), "live");
    world.fault("2208", Fault::DoButDoNotAnswer);
    assert_eq!(outcome(client.undo(&by(), &msgid(3), &setl_id, &inputs).await), "unknown");
    let at = undone(client.ask_by_setl_id(&by(), &setl_id, &inputs).await);
    assert!(!at.undo_setl_id.is_empty());

    // Where no question by visit is possible, the undo stays without a name.
    let other = world.client(Dialect { query_by_mdtrt_id: false, ..guangdong() });
    assert!(!other.can_ask_by_visit());
    assert_eq!(undone(other.ask_by_setl_id(&by(), &setl_id, &inputs).await).undo_setl_id, "");
    assert_eq!(stands(client.ask_by_setl_id(&by(), "no-such-id", &inputs).await), "nothing");
}

#[tokio::test]
async fn every_no_of_the_bureau_has_its_kind_and_names_nobody() {
    let mut world = World::new(|_| {}).await;
    let client = world.client(guangdong());
    let inputs = world.priced();
    assert_eq!(outcome(client.settle(&by(), &msgid(1), &inputs).await), "3001", "not bound");
    assert_eq!(outcome(client.bind(&world.bind_request("000000")).await), "3002", "wrong password");
    let bound = done(client.bind(&world.bind_request(PASSWORD)).await);

    world.fault("2207", Fault::Busy);
    assert_eq!(outcome(client.settle(&by(), &msgid(1), &inputs).await), "1001*");
    let message = format!("{NAME}({CERTNO})人员{PSN_NO}待遇暂停");
    world.fault("2207", Fault::Refuse { code: "4711".to_owned(), message });
    let Answer::Refused(refused) = client.settle(&by(), &msgid(1), &inputs).await else { panic!("refused") };
    assert_eq!((refused.code.as_str(), refused.busy), ("4711", false));
    assert!(!refused.words.contains(CERTNO) && !refused.words.contains(PSN_NO), "{}", refused.words);
    world.fault("1101", Fault::Refuse { code: "4711".to_owned(), message: format!("{NAME}未参保") });
    let Answer::Refused(refused) = client.person(None, &identity(NAME)).await else { panic!("refused") };
    assert_eq!(refused.words, "***未参保");

    let patient = world.client(guangdong()).with_timeout(Duration::from_millis(300));
    world.fault("1101", Fault::Delay { delay_ms: 60_000 });
    assert_eq!(outcome(patient.person(None, &identity(NAME)).await), "unknown");
    let wrong_sums = SettleInputs { inscp_scp_fen: Fen::new(17_871), ..inputs.clone() };
    assert_eq!(outcome(client.settle(&by(), &msgid(1), &wrong_sums).await), "2004");

    let first = done(client.settle(&by(), &msgid(1), &inputs).await).settlement.setl_id;
    let later = world.priced();
    let second = done(client.settle(&by(), &msgid(2), &later).await).settlement.setl_id;
    assert_eq!(outcome(client.undo(&by(), &msgid(3), &first, &inputs).await), "2005", "a later one stands");
    done(client.undo(&by(), &msgid(4), &second, &later).await);
    assert_eq!(outcome(client.undo(&by(), &msgid(5), &second, &later).await), "2007", "undone already");
    let month = china_now().format("%Y%m").to_string();
    world.running.bureau.with_core(|core| core.clear_month(&month)).expect("clears");
    assert_eq!(outcome(client.undo(&by(), &msgid(6), &first, &inputs).await), "2006", "cleared");
    world.fault("2601", Fault::NotFoundIsAnError);
    assert_eq!(outcome(client.reverse(&by(), &msgid(7), &msgid(99), &inputs).await), "done", "nothing to reverse");
    assert_eq!(outcome(client.unbind("B0", &bound.psn_no).await), "3001", "no such binding");

    let stranger = BureauConfig { secret: Secret::new("guess"), ..world.config(guangdong()) };
    assert_eq!(outcome(world.client_with(stranger).person(None, &identity(NAME)).await), "unknown", "HTTP 401");
    world.running.stop().await.expect("it stops");
    assert_eq!(outcome(client.settle(&by(), &msgid(8), &inputs).await), format!("{NEVER_SENT}*"));
}

#[tokio::test]
async fn a_settlement_read_in_the_wrong_dialect_is_unknown_and_never_guessed() {
    let mut world = World::new(|config| config.dialect.fund_pay_sumamt_includes_acct = false).await;
    let client = world.client(guangdong());
    let inputs = world.ready(&client).await;
    let Answer::Unknown(why) = client.settle(&by(), &msgid(1), &inputs).await else { panic!("unknown") };
    assert!(why.contains("identity 2"), "{why}");
    assert_eq!(outcome(client.reverse(&by(), &msgid(2), &msgid(1), &inputs).await), "done");
}

/// Each counting for itself, two that ask a hundred questions a second would share a number before long.
#[tokio::test]
async fn the_questions_of_two_processes_never_share_a_number() {
    let world = World::new(|_| {}).await;
    let shared: Arc<dyn Ephemeral> = Arc::new(Memory::new(Arc::new(SystemClock::new())));
    let tenant = TenantId::from_uuid(uuid::Uuid::from_u128(1));
    let process = || world.client(guangdong()).numbered_with(Arc::clone(&shared), tenant);
    let asks = |client: BureauClient| async move {
        for _ in 0..300 {
            done(client.person(Some(&by()), &identity(NAME)).await);
        }
    };
    tokio::join!(asks(process()), asks(process()), asks(process()));
}

#[tokio::test]
async fn an_institution_signs_in_once_a_day_and_again_when_the_bureau_forgot() {
    let mut world = World::new(|config| config.dialect.sign_in_required = true).await;
    let client = world.client(Dialect { sign_in: true, ..guangdong() });
    let sign_ins = |world: &World| world.running.bureau.with_core(|core| core.state().sign_ins.clone());
    for _ in 0..3 {
        done(client.person(Some(&by()), &identity(NAME)).await);
    }
    let first = sign_ins(&world);
    assert_eq!(first.len(), 1, "once, however much is asked");
    done(client.person(None, &identity(NAME)).await);
    assert_eq!(sign_ins(&world).len(), 2, "the platform's own code signs in for itself");

    let sign_no = first.keys().next().expect("a sign-in");
    world.his("9002", json!({ "signOut": { "sign_no": sign_no, "opter_no": "1" } }));
    done(client.person(Some(&by()), &identity(NAME)).await);
    assert!(!sign_ins(&world).contains_key(sign_no), "a new one");

    // Without a sign-in nothing was sent: that is a refusal, not a question mark.
    let inputs = world.ready(&client).await;
    let fresh = world.client(Dialect { sign_in: true, ..guangdong() });
    world.fault("9001", Fault::NeitherDoNorAnswer);
    assert_eq!(outcome(fresh.settle(&by(), &msgid(1), &inputs).await), "SIGN_IN*");
    assert_eq!(stands(client.ask_by_visit(&by(), &msgid(1), &inputs).await), "nothing");
}

#[tokio::test]
async fn a_lost_card_is_told_and_blocks_the_person() {
    let mut world = World::new(|_| {}).await;
    let client = world.client(guangdong());
    let bound = done(client.bind(&world.bind_request(PASSWORD)).await);
    let inputs = world.priced();
    world.report_loss().await;

    let heard = world.ear.next().await;
    let notice = client.open_notice(&heard.headers, &heard.body).expect("believed");
    assert_eq!((notice.kind.as_str(), &notice.bind_no, &notice.psn_no), ("loss", &bound.bind_no, &bound.psn_no));
    let mut changed = heard.body.clone();
    changed.push(b' ');
    assert_eq!(client.open_notice(&heard.headers, &changed), Err(NotBelieved::Signature));

    assert!(done(client.person(None, &identity(NAME)).await).blocked);
    assert_eq!(outcome(client.settle(&by(), &msgid(1), &inputs).await), "3001", "the binding ended with the card");
    assert_eq!(outcome(client.bind(&world.bind_request(PASSWORD)).await), "3004");
}

#[tokio::test]
async fn a_configuration_is_short_survives_storage_and_shows_no_secret() {
    let world = World::new(|_| {}).await;
    let whole = world.config(guangdong());
    let file = json!({
        "base_url": whole.base_url, "paasid": "tongfu", "secret": "tongfu-secret",
        "sm2_public_key": whole.sm2_public_key, "notice_public_key": whole.notice_public_key,
        "mdtrtarea_admvs": CITY,
        "dialect": { "sign_in": false, "fund_pay_sumamt_includes_acct": true, "query_by_mdtrt_id": true },
    });
    let read: BureauConfig = serde_json::from_value(file.clone()).expect("reads");
    assert_eq!(read, whole, "everything else has its default");
    assert_eq!(read.own().code, OWN);
    let stored = serde_json::to_string(&read).expect("serialises");
    assert_eq!(serde_json::from_str::<BureauConfig>(&stored).expect("comes back"), read);
    assert!(!format!("{read:?}").contains("tongfu-secret"));
    let mut wrong = file;
    wrong["dialect"]["sign_inn"] = json!(true);
    assert!(serde_json::from_value::<BureauConfig>(wrong).is_err(), "a misspelt setting is refused");
}
