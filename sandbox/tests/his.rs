//! The HIS beside an in-memory bureau: every answer it gives, and what it leaves behind.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset};
use sandbox::bureau::admin::{NewPerson, Registration};
use sandbox::bureau::seal::Keys;
use sandbox::bureau::state::Insurance;
use sandbox::bureau::{self, Caller, CallerKind, Catalogue, HospLevel, Institution};
use sandbox::his::bill::Standing;
use sandbox::his::core::State;
use sandbox::his::draft::Wish;
use sandbox::his::procedure::{Goal, Procedure, Reached};
use sandbox::his::{BureauPort, Core, Hospital};
use schema::bill::{BillDraft, Patient};
use schema::his::PaymentState;
use schema::ids::{MessageId, OrderId};
use schema::link::{
    BureauReply, InsuredPerson, PreSettle, PriceAnswer, QueryPayment, Release, Reply, SettledTold, ToInstitution,
    UndoneTold,
};
use schema::money::Fen;
use schema::personal::{CertNo, MdtrtCertNo, PersonName, Personal, PsnNo};
use schema::refusal::{Again, Code};
use schema::split::Split;
use serde_json::{Value, json};

const CODE: &str = "H44910000001";

struct Port {
    bureau: bureau::Core,
    caller: Caller,
    calls: Vec<String>,
    /// The call (counted from 0) whose answer gets lost.
    loses_answer: Option<usize>,
    /// The call that never arrives.
    loses_question: Option<usize>,
    /// How many calls hear "busy" from now on.
    busy: usize,
}

impl BureauPort for Port {
    fn call(&mut self, infno: &str, envelope: &Value) -> Option<Value> {
        let number = self.calls.len();
        self.calls.push(infno.to_owned());
        if self.loses_question == Some(number) {
            return None;
        }
        if self.busy > 0 {
            self.busy -= 1;
            return Some(json!({"infcode": 1001, "err_msg": "系统繁忙"}));
        }
        let answer = self.bureau.handle(&self.caller, infno, envelope, now());
        (self.loses_answer != Some(number)).then_some(answer)
    }
}

fn now() -> DateTime<FixedOffset> {
    "2026-05-20T10:00:00+08:00".parse().expect("a time")
}

fn uuid(high: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(high)
}

fn message(number: u128) -> MessageId {
    MessageId::from_uuid(uuid(number))
}

fn order(number: u128) -> OrderId {
    OrderId::from_uuid(uuid(1_000_000 + number))
}

struct World {
    his: Core,
    port: Port,
    bill: BillDraft,
}

fn world() -> World {
    let catalogue = Arc::new(Catalogue::builtin());
    let mut bureau = bureau::Core::new(bureau::Config::builtin(), Arc::clone(&catalogue), Keys::from_seed(7));
    let caller = bureau
        .register_caller(Registration {
            paasid: "his1".into(),
            secret: "s".into(),
            kind: CallerKind::Hospital,
            institutions: vec![Institution {
                fixmedins_code: CODE.into(),
                fixmedins_name: "东湾市第一医院".into(),
                admdvs: "449101".into(),
                hosp_lv: HospLevel::Third,
            }],
            notice_url: None,
        })
        .expect("a sound registration");
    for (psn_no, certno, name) in [("P1", "449100199001010011", "王小明"), ("P2", "449100199001010029", "李小红")]
    {
        bureau
            .create_persons(vec![NewPerson {
                psn_no: psn_no.into(),
                psn_cert_type: "01".into(),
                certno: certno.into(),
                psn_name: name.into(),
                gend: "1".into(),
                brdy: "1990-01-01".parse().expect("a day"),
                card_no: format!("C{psn_no}"),
                card_password: "135790".into(),
                insurances: vec![Insurance {
                    insutype: "310".into(),
                    psn_type: "1101".into(),
                    insuplc_admdvs: "449100".into(),
                    cvlserv: false,
                    paused: false,
                }],
                balance_fen: Fen::new(500_000),
                relatives: vec![],
            }])
            .expect("a sound person");
    }
    let hospital = Hospital {
        code: CODE.parse().expect("a code"),
        name: "东湾市第一医院".into(),
        admdvs: "449101".into(),
        level: HospLevel::Third,
        bureau_url: String::new(),
        paasid: "his1".into(),
        secret: "s".into(),
        sign_in: false,
        adapter_url: String::new(),
        adapter_api_key: String::new(),
        bill_lives_s: 86_400,
    };
    let mut his = Core::new(hospital, State::default());
    let bill = his.issue(&catalogue, 42, patient("449100199001010011", "王小明"), &Wish::default(), false, now());
    let port = Port { bureau, caller, calls: vec![], loses_answer: None, loses_question: None, busy: 0 };
    World { his, port, bill }
}

fn patient(certno: &str, name: &str) -> Patient {
    Patient::of_document(PersonName::new(name), "01", CertNo::new(certno))
}

fn insured(psn_no: &str, certno: &str) -> InsuredPerson {
    InsuredPerson {
        psn_no: PsnNo::new(psn_no),
        insutype: "310".into(),
        insuplc_admdvs: "449100".into(),
        mdtrt_cert_type: "02".into(),
        mdtrt_cert_no: MdtrtCertNo::new(certno),
    }
}

impl World {
    fn ask(&mut self, id: u128, ask: ToInstitution) -> Reply {
        self.his.perform(message(id), &ask, &mut self.port, now()).expect("an answer")
    }

    fn pre_settle(&self, order_number: u128, use_account: bool) -> ToInstitution {
        ToInstitution::PreSettle(PreSettle {
            order_id: order(order_number),
            bill_no: self.bill.bill_no.clone(),
            insured: true,
            use_account,
            insured_person: Some(insured("P1", "449100199001010011")),
        })
    }

    fn release(&self, order_number: u128) -> ToInstitution {
        ToInstitution::Release(Release { order_id: order(order_number), bill_no: self.bill.bill_no.clone() })
    }

    fn price(&mut self, id: u128, order_number: u128, use_account: bool) -> PriceAnswer {
        let ask = self.pre_settle(order_number, use_account);
        match self.ask(id, ask) {
            Reply::Priced(answer) => *answer,
            other => unreachable!("not priced: {other:?}"),
        }
    }

    /// 2207 with exactly what the price handed over, as the centre would send it.
    fn settle(&mut self, price: &PriceAnswer) -> Value {
        let inputs = price.insurance.as_ref().expect("an insured price");
        let data = json!({
            "psn_no": inputs.person.psn_no.expose(), "mdtrt_cert_type": inputs.person.mdtrt_cert_type,
            "mdtrt_cert_no": inputs.person.mdtrt_cert_no.expose(), "med_type": inputs.med_type,
            "medfee_sumamt": inputs.medfee_sumamt_fen.to_yuan(), "psn_setlway": inputs.psn_setlway,
            "mdtrt_id": inputs.mdtrt_id, "chrg_bchno": inputs.chrg_bchno,
            "acct_used_flag": if inputs.use_account { "1" } else { "0" }, "insutype": inputs.person.insutype,
            "invono": inputs.invono, "fulamt_ownpay_amt": inputs.fulamt_ownpay_fen.to_yuan(),
            "overlmt_selfpay": inputs.overlmt_selfpay_fen.to_yuan(),
            "preselfpay_amt": inputs.preselfpay_fen.to_yuan(), "inscp_scp_amt": inputs.inscp_scp_fen.to_yuan(),
        });
        let envelope = sandbox::his::message::envelope(
            self.his.hospital(),
            "2207",
            "H44910000001202605201000009999",
            Some("449100"),
            "",
            now(),
            &json!({ "data": data }),
        );
        let answer = self.port.bureau.handle(&self.port.caller, "2207", &envelope, now());
        assert_eq!(answer["infcode"], 0, "{answer}");
        answer["output"].clone()
    }

    fn told(&self, order_number: u128, split: Split, output: Option<Value>) -> ToInstitution {
        ToInstitution::Settled(Box::new(SettledTold {
            order_id: order(order_number),
            bill_no: self.bill.bill_no.clone(),
            split,
            setl_id: output.as_ref().and_then(|o| o["setlinfo"]["setl_id"].as_str()).map(str::to_owned),
            bureau_reply: output.map(BureauReply),
            out_trade_no: None,
            transaction_id: None,
            paid_at_us: 0,
        }))
    }

    fn standing(&self) -> Standing {
        self.his.bill(&self.bill.bill_no).expect("the bill").standing
    }

    fn nothing_left_at_the_bureau(&self) -> bool {
        self.port.bureau.state().visits.values().all(|visit| visit.cancelled && visit.lines.is_empty())
    }
}

fn refused(reply: &Reply) -> Option<Code> {
    match reply {
        Reply::Refused(problem) => Some(problem.code),
        _ => None,
    }
}

#[test]
fn a_price_sums_to_the_bill_and_carries_all_that_2207_needs() {
    for use_account in [false, true] {
        let mut world = world();
        let price = world.price(1, 1, use_account);
        assert!(price.split.sums_to(world.bill.amount_fen));
        assert_eq!(price.lines.len(), world.bill.lines.len());
        assert!(price.lines.iter().all(|line| line.flags.said().count() == 7), "{:?}", price.lines);
        assert_eq!(price.split.account_own_fen > Fen::ZERO, use_account);
        let output = world.settle(&price);
        assert_eq!(sandbox::his::message::split(&output["setlinfo"]), Some(price.split));
        let told = world.told(1, price.split, Some(output));
        assert!(matches!(world.ask(2, told), Reply::Booked(guidance) if guidance.queue_no.is_some()));
        assert_eq!(world.standing(), Standing::Booked { order_id: order(1) });
        assert!(world.his.books().expect("in range").balanced);
    }
}

#[test]
fn the_same_work_id_gets_the_same_answer_without_asking_the_bureau_again() {
    let mut world = world();
    let ask = world.pre_settle(1, true);
    let first = world.ask(1, ask.clone());
    let calls = world.port.calls.len();
    assert_eq!(world.ask(1, ask), first);
    assert_eq!(world.port.calls.len(), calls);
    let other = world.pre_settle(1, false);
    assert_ne!(world.ask(2, other), first, "a new question is asked anew");
    assert_eq!(world.port.calls, ["2201", "2203", "2204", "2206", "2206"]);
}

#[test]
fn a_lost_question_or_answer_anywhere_on_the_way_to_a_price_changes_nothing() {
    let expected = world().price(1, 1, true);
    for call in 0..4 {
        let mut lossy = world();
        lossy.port.loses_answer = Some(call);
        assert_eq!(lossy.price(1, 1, true), expected, "answer {call} lost");
        let mut lossy = world();
        lossy.port.loses_question = Some(call);
        assert_eq!(lossy.price(1, 1, true), expected, "question {call} lost");
    }
}

#[test]
fn a_price_that_a_busy_bureau_put_off_is_made_when_the_same_question_comes_again() {
    let expected = world().price(1, 1, true);
    for (busy, refusals) in [(0, 0), (1, 0), (3, 0), (4, 1), (9, 2)] {
        let mut world = world();
        world.port.busy = busy;
        let ask = world.pre_settle(1, true);
        for time in 0..refusals {
            let Reply::Refused(problem) = world.ask(1, ask.clone()) else { panic!("busy {busy} times: not refused") };
            assert_eq!((problem.code, problem.again), (Code::BureauUnreachable, Again::Later), "busy {busy} times");
            assert!(problem.retry_after_s.is_some(), "busy {busy} times, refusal {time}");
        }
        assert_eq!(world.price(1, 1, true), expected, "busy {busy} times");
    }
}

#[test]
fn a_release_leaves_nothing_at_the_bureau_and_may_come_again() {
    let mut world = world();
    world.price(1, 1, true);
    let release = world.release(1);
    assert_eq!(world.ask(2, release.clone()), Reply::Done);
    assert!(world.nothing_left_at_the_bureau());
    assert_eq!(world.standing(), Standing::Open);
    assert_eq!(world.ask(3, release), Reply::Done);
    // The bill can be priced and paid by another order afterwards.
    let price = world.price(4, 2, true);
    world.settle(&price);
}

#[test]
fn a_release_that_overtakes_its_price_question_wins() {
    let mut world = world();
    let (price, release) = (world.pre_settle(1, true), world.release(1));
    assert_eq!(world.ask(2, release), Reply::Done);
    assert_eq!(refused(&world.ask(1, price)), Some(Code::HospitalRefused));
    assert_eq!(world.standing(), Standing::Open);
}

#[test]
fn releasing_an_order_that_was_taken_over_leaves_its_successor_alone() {
    let mut world = world();
    world.price(1, 1, true);
    let price = world.price(2, 2, true);
    let release = world.release(1);
    assert_eq!(world.ask(3, release), Reply::Done);
    assert_eq!(world.standing(), Standing::Held { order_id: order(2) });
    world.settle(&price);
}

#[test]
fn a_bill_priced_for_another_person_is_uploaded_anew_for_them() {
    let mut world = world();
    world.price(1, 1, true);
    let ask = ToInstitution::PreSettle(PreSettle {
        order_id: order(2),
        bill_no: world.bill.bill_no.clone(),
        insured: true,
        use_account: false,
        insured_person: Some(insured("P2", "449100199001010029")),
    });
    let Reply::Priced(price) = world.ask(2, ask) else { panic!("not priced") };
    assert_eq!(price.insurance.expect("insured").person.psn_no.expose(), "P2");
    assert_eq!(world.port.calls, ["2201", "2203", "2204", "2206", "2205", "2202", "2201", "2203", "2204", "2206"]);
}

#[test]
fn cash_only_locks_the_bill_and_asks_nobody() {
    let mut world = world();
    let ask = ToInstitution::PreSettle(PreSettle {
        order_id: order(1),
        bill_no: world.bill.bill_no.clone(),
        insured: false,
        use_account: false,
        insured_person: None,
    });
    let Reply::Priced(price) = world.ask(1, ask) else { panic!("not priced") };
    assert_eq!(price.split, Split::all_cash(world.bill.amount_fen));
    assert_eq!((world.port.calls.len(), price.insurance), (0, None));
    let told = world.told(1, price.split, None);
    assert!(matches!(world.ask(2, told), Reply::Booked(_)));
}

#[test]
fn a_price_never_outlives_midnight_or_half_an_hour() {
    for (at, minutes) in [("2026-05-20T10:00:00+08:00", 30), ("2026-05-20T23:50:00+08:00", 10)] {
        let at: DateTime<FixedOffset> = at.parse().expect("a time");
        let mut world = world();
        let ask = world.pre_settle(1, true);
        let Some(Reply::Priced(price)) = world.his.perform(message(1), &ask, &mut world.port, at) else {
            panic!("not priced")
        };
        assert_eq!(price.valid_until_us, at.timestamp_micros() + minutes * 60_000_000);
    }
}

#[test]
fn what_was_paid_at_the_window_is_refused_to_phones_and_the_reverse() {
    let mut world = world();
    let price = world.price(1, 1, true);
    world.his.take_to_window(&world.bill.bill_no).expect("not paid yet");
    let mut procedure = Procedure::new(&world.bill.bill_no, Goal::PaidAtWindow { use_account: false });
    let reached = world.his.drive(&mut procedure, &mut world.port, now());
    let Ok(Reached::PaidAtWindow(receipt)) = reached else { panic!("not paid: {reached:?}") };
    world.his.paid_at_window(&world.bill.bill_no, &receipt);
    assert!(receipt.setl_id.is_some() && receipt.split.sums_to(world.bill.amount_fen));
    let told = world.told(1, price.split, None);
    assert_eq!(refused(&world.ask(2, told)), Some(Code::HospitalRefused));
    let again = world.pre_settle(2, true);
    assert_eq!(refused(&world.ask(3, again)), Some(Code::HospitalRefused));

    let mut paid = self::world();
    let price = paid.price(1, 1, true);
    let output = paid.settle(&price);
    let told = paid.told(1, price.split, Some(output));
    paid.ask(2, told);
    assert!(paid.his.take_to_window(&paid.bill.bill_no).is_err());
}

#[test]
fn a_window_payment_nobody_answers_for_is_reversed_and_not_booked() {
    let mut world = world();
    world.his.take_to_window(&world.bill.bill_no).expect("not paid yet");
    struct Deaf(Port);
    impl BureauPort for Deaf {
        fn call(&mut self, infno: &str, envelope: &Value) -> Option<Value> {
            let answer = self.0.call(infno, envelope);
            if infno == "2207" { None } else { answer }
        }
    }
    let mut port = Deaf(world.port);
    let mut procedure = Procedure::new(&world.bill.bill_no, Goal::PaidAtWindow { use_account: false });
    let ended = world.his.drive(&mut procedure, &mut port, now());
    assert_eq!(ended.expect_err("nobody answered").code, Code::BureauUnreachable);
    assert_eq!(port.0.calls.last().map(String::as_str), Some("2601"));
    assert!(port.0.bureau.records().iter().all(|record| !record.live));
}

#[test]
fn an_undone_payment_is_unbooked_and_a_late_telling_of_it_is_refused() {
    let mut world = world();
    let price = world.price(1, 1, true);
    let output = world.settle(&price);
    let told = world.told(1, price.split, Some(output));
    world.ask(2, told.clone());
    let query = ToInstitution::QueryPayment(QueryPayment { order_id: order(1), bill_no: world.bill.bill_no.clone() });
    assert!(matches!(world.ask(3, query.clone()), Reply::PaymentState(PaymentState::Booked { .. })));
    let undone = ToInstitution::Undone(UndoneTold {
        order_id: order(1),
        bill_no: world.bill.bill_no.clone(),
        undo_setl_id: Some("U1".into()),
        cash_refunded_fen: price.split.cash_fen,
        cash_carried_fen: Fen::ZERO,
        whole: true,
    });
    assert_eq!(world.ask(4, undone), Reply::Done);
    assert_eq!(world.ask(5, query), Reply::PaymentState(PaymentState::NotBooked));
    assert_eq!(refused(&world.ask(6, told)), Some(Code::HospitalRefused));
    let books = world.his.books().expect("in range");
    assert_eq!((books.booked_count, books.undone_count, books.balanced), (0, 1, true));
}

#[test]
fn a_told_split_that_differs_from_the_bureaus_own_words_is_refused() {
    let mut world = world();
    let price = world.price(1, 1, true);
    let output = world.settle(&price);
    let shifted = Split {
        cash_fen: price.split.cash_fen.plus(Fen::new(1)).expect("in range"),
        fund_fen: price.split.fund_fen.minus(Fen::new(1)).expect("in range"),
        ..price.split
    };
    let told = world.told(1, shifted, Some(output));
    assert_eq!(refused(&world.ask(2, told)), Some(Code::HospitalRefused));
}
