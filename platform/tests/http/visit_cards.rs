//! A visit card bound at the window, and the bills that carry nothing else.

use schema::link::{Reply, ToPlatform};
use schema::refusal::{Code, Problem};
use serde_json::{Value, json};

use crate::adapter::Adapter;
use crate::payment::draft;
use crate::world::{LI, WANG, World};

fn binding((certno, name): (&str, &str), password: &str) -> ToPlatform {
    let binding = json!({
        "visit_card_no": "V1", "psn_name": name, "psn_cert_type": "01", "certno": certno,
        "card_no": format!("C{certno}"), "sealed_password": password,
    });
    ToPlatform::BindVisitCard(serde_json::from_value(binding).expect("a binding"))
}

fn bill_of(bill_no: &str, patient: Value) -> ToPlatform {
    let mut bill = draft(bill_no, WANG);
    bill["patient"] = patient;
    ToPlatform::Bill(serde_json::from_value(bill).expect("a draft"))
}

fn refused(reply: Reply) -> Problem {
    match reply {
        Reply::Refused(problem) => problem,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bill_with_nothing_but_a_bound_visit_card_finds_the_phone() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    person.bind(WANG).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let card = || json!({ "visit_card_no": "V1" });

    let unbound = refused(adapter.ask(bill_of("B1", card())).await);
    let places: Vec<&str> = unbound.faults.iter().map(|fault| fault.at.as_str()).collect();
    assert_eq!((unbound.code, places), (Code::Invalid, vec!["patient.visit_card_no"]));
    assert_eq!(refused(adapter.ask(binding(WANG, "wrong")).await).code, Code::CardPasswordWrong);
    assert_eq!(refused(adapter.ask(bill_of("B1", card())).await).code, Code::Invalid, "a wrong password binds nothing");

    assert_eq!(adapter.ask(binding(WANG, "right")).await, Reply::Done);
    assert_eq!(adapter.ask(bill_of("B1", card())).await, Reply::Done);
    let bills = person.get("/mobile/v1/bills").await.done(200);
    assert_eq!((&bills[0]["bill_no"], &bills[0]["psn_name"]), (&json!("B1"), &json!("王**")));

    // The card is one institution's, and says nothing elsewhere.
    let mut elsewhere = Adapter::connect(&world, &world.cities[1]).await;
    assert_eq!(refused(elsewhere.ask(bill_of("B1", card())).await).code, Code::Invalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visit_card_that_is_bound_again_under_its_message_is_not_asked_about_again() {
    let world = World::start().await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let id = adapter.fresh();
    assert_eq!(refused(adapter.ask_as(id, binding(WANG, "wrong")).await).code, Code::CardPasswordWrong);
    assert_eq!(adapter.ask_as(id, binding(WANG, "right")).await, Reply::Done, "a refusal is not kept");
    // The card is replaced meanwhile: asked again, the bureau would say no.
    world.cities[0].bureau.issue_card(WANG.0, "C-new");
    assert_eq!(adapter.ask_as(id, binding(WANG, "right")).await, Reply::Done, "the first answer");
    assert_eq!(refused(adapter.ask(binding(WANG, "right")).await).code, Code::CardPasswordWrong);
    assert_eq!(refused(adapter.ask_as(id, binding(LI, "right")).await).code, Code::KeyReused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bill_whose_document_is_not_the_visit_cards_is_refused() {
    let world = World::start().await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    assert_eq!(adapter.ask(binding(WANG, "right")).await, Reply::Done);
    let with_card = |(certno, name): (&str, &str)| json!({ "psn_name": name, "psn_cert_type": "01", "certno": certno, "visit_card_no": "V1" });
    assert_eq!(refused(adapter.ask(bill_of("B1", with_card(LI))).await).code, Code::BillPatientMismatch);
    assert_eq!(adapter.ask(bill_of("B1", with_card(WANG))).await, Reply::Done);
    let half = json!({ "certno": WANG.0, "visit_card_no": "V1" });
    let problem = refused(adapter.ask(bill_of("B2", half)).await);
    let places: Vec<&str> = problem.faults.iter().map(|fault| fault.at.as_str()).collect();
    assert_eq!((problem.code, places), (Code::Invalid, vec!["patient.psn_name", "patient.psn_cert_type"]));
}
