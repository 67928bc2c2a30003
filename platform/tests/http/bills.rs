//! What keeps a bill out, all of it at once.

use schema::his::ClaimAnswer;
use schema::link::{BillNamed, Reply, ToPlatform};
use schema::refusal::{Code, Problem};
use serde_json::{Value, json};

use crate::adapter::Adapter;
use crate::payment::{bill, draft};
use crate::world::{LI, WANG, World};

async fn refused(adapter: &mut Adapter, draft: Value) -> (Code, Vec<String>) {
    let reply = adapter.ask(ToPlatform::Bill(serde_json::from_value(draft).expect("a draft"))).await;
    let Reply::Refused(Problem { code, faults, .. }) = reply else { panic!("taken: {reply:?}") };
    (code, faults.into_iter().map(|fault| fault.at).collect())
}

fn places(code: Code, places: &[&str]) -> (Code, Vec<String>) {
    (code, places.iter().map(|place| (*place).to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bill_whose_patient_is_not_who_the_binding_says_is_refused_and_not_shown() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    // It comes while nobody is bound for this number, under a name that is not the bureau's.
    assert_eq!(adapter.ask(bill("N1", (WANG.0, "王小朋"))).await, Reply::Done);
    person.bind(WANG).await;
    assert_eq!(person.get("/mobile/v1/bills").await.done(200), json!([]), "another's name under this number");
    let row = world.ground.store.bill_by_no(world.cities[0].id, &world.cities[0].hospital, "N1");
    let id = row.expect("readable").expect("there").bill.facts.id;
    person.get(&format!("/mobile/v1/bills/{id}")).await.refused(404, "BILL_UNKNOWN");
    let ask = json!({ "bill_id": id, "mode": "cash_only", "use_account": false });
    person.change("POST", "/mobile/v1/orders", ask).await.refused(404, "BILL_UNKNOWN");

    let mismatch = places(Code::BillPatientMismatch, &["patient.psn_name"]);
    assert_eq!(refused(&mut adapter, draft("N2", (WANG.0, "王小朋"))).await, mismatch);
    assert_eq!(refused(&mut adapter, draft("N2", (WANG.0, LI.1))).await, mismatch);
    // However the HIS writes the same name.
    assert_eq!(adapter.ask(bill("N2", (WANG.0, "王 小明"))).await, Reply::Done);
    assert_eq!(person.get("/mobile/v1/bills").await.done(200)[0]["bill_no"], "N2");
    // A bill that was let in stays harmless when it is repeated.
    assert_eq!(adapter.ask(bill("N1", (WANG.0, "王小朋"))).await, Reply::Done);
    // Once nobody is bound any more, nothing contradicts the HIS.
    let binding = person.get("/mobile/v1/bindings").await.done(200)[0]["id"].as_str().expect("an id").to_owned();
    person.change("DELETE", &format!("/mobile/v1/bindings/{binding}"), json!({})).await.done(202);
    assert_eq!(adapter.ask(bill("N3", (WANG.0, "王小朋"))).await, Reply::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bill_that_was_taken_back_does_not_come_again() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    person.bind(WANG).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    assert_eq!(adapter.ask(bill("N1", WANG)).await, Reply::Done);
    let claim = ToPlatform::Claim(BillNamed { bill_no: "N1".into() });
    assert_eq!(adapter.ask(claim).await, Reply::Claimed(ClaimAnswer::Released));
    assert_eq!(refused(&mut adapter, draft("N1", WANG)).await, places(Code::BillNotPayable, &[]));
    assert_eq!(adapter.ask(bill("N2", WANG)).await, Reply::Done, "a new number is a new bill");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bill_is_refused_for_its_lines_its_patient_and_its_number_at_once() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    person.bind(WANG).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let card = json!({
        "visit_card_no": "V1", "psn_name": WANG.1, "psn_cert_type": "01", "certno": WANG.0,
        "card_no": format!("C{}", WANG.0), "sealed_password": "right",
    });
    let card = ToPlatform::BindVisitCard(serde_json::from_value(card).expect("a card"));
    assert_eq!(adapter.ask(card).await, Reply::Done);
    assert_eq!(adapter.ask(bill("N1", WANG)).await, Reply::Done);

    let spoilt = |lines: bool, name: bool, card: bool, bill_no: &str| {
        let mut draft = draft(bill_no, WANG);
        if lines {
            draft["lines"][0]["amount_fen"] = 2400.into();
        }
        if name {
            draft["patient"]["psn_name"] = "王小朋".into();
        }
        if card {
            draft["patient"]["visit_card_no"] = "V1".into();
            draft["patient"]["certno"] = LI.0.into();
        }
        // Other content in any case: the same bill again would be harmless.
        draft["visit"]["dept_name"] = "外科".into();
        draft
    };
    for (lines, name, card, bill_no, code, at) in [
        (false, false, false, "N1", Code::BillChanged, &["bill_no"][..]),
        (false, true, false, "N2", Code::BillPatientMismatch, &["patient.psn_name"]),
        (false, false, true, "N2", Code::BillPatientMismatch, &["patient.visit_card_no"]),
        (false, true, false, "N1", Code::BillPatientMismatch, &["patient.psn_name", "bill_no"]),
        (true, false, false, "N1", Code::Invalid, &["lines[0].amount_fen", "amount_fen", "bill_no"]),
        (true, true, false, "N1", Code::Invalid, &["lines[0].amount_fen", "amount_fen", "patient.psn_name", "bill_no"]),
        (true, false, true, "N2", Code::Invalid, &["lines[0].amount_fen", "amount_fen", "patient.visit_card_no"]),
    ] {
        let found = refused(&mut adapter, spoilt(lines, name, card, bill_no)).await;
        assert_eq!(found, places(code, at), "lines {lines}, name {name}, card {card}, {bill_no}");
    }
    assert_eq!(person.get("/mobile/v1/bills").await.done(200).as_array().map(Vec::len), Some(1));
}
