//! A hospital that cannot answer now is asked again, under the same id; its own "no" to what it must book stays in sight,
//! and is asked about under a new one.

use platform::domain::action::Action;
use schema::his::RefundAsk;
use schema::ids::{MessageId, ProcessId};
use schema::link::{Body, Reply, ToInstitution, ToPlatform};
use schema::money::Fen;
use schema::refusal::{Code, Refusal};
use serde_json::json;

use crate::adapter::Adapter;
use crate::payment::{AMOUNT, bill, notify, paid};
use crate::world::{WANG, World};

/// Refuses what the platform wants next.
async fn refuse(adapter: &mut Adapter, code: Code) -> (MessageId, ToInstitution) {
    let (frame, body) = adapter.hear().await.expect("the link lives");
    let Body::ToInstitution { ask } = body else { panic!("no work: {body:?}") };
    let own = adapter.fresh();
    let reply = Reply::Refused(Refusal::new(code, "test").problem(None));
    adapter.send(own, Some(frame.id), &Body::Reply { reply }).await;
    (frame.id, ask)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_hospital_is_asked_again_and_its_refusal_of_an_undo_is_not_taken_for_an_acknowledgement() {
    let world = World::with(|settings| settings.deadlines.ask_again_ms = 50, 10).await;
    let city = &world.cities[0];
    let mut adapter = Adapter::connect(&world, city).await;
    let person = world.sign_in(0, "13800000001").await;
    person.bind(WANG).await;
    assert_eq!(adapter.ask(bill("B1", WANG)).await, Reply::Done);
    let bills = person.get("/mobile/v1/bills").await.done(200);
    let ask = json!({ "bill_id": bills[0]["id"], "mode": "cash_only", "use_account": false });
    let order = person.change("POST", "/mobile/v1/orders", ask).await.done(202);
    let id = order["id"].as_str().expect("an id").to_owned();

    let (first, ask) = refuse(&mut adapter, Code::Overloaded).await;
    assert!(matches!(ask, ToInstitution::PreSettle(_)), "{ask:?}");
    let (again, ask) = refuse(&mut adapter, Code::Overloaded).await;
    assert!(matches!(ask, ToInstitution::PreSettle(_)), "{ask:?}");
    assert_eq!(again, first, "the same question");
    assert!(matches!(adapter.work().await, ToInstitution::PreSettle(_)));
    person.until(&id, "priced").await;
    person.change("POST", &format!("/mobile/v1/orders/{id}/pay"), json!({})).await.done(202);
    person.until(&id, "collecting").await;
    for _ in 0..400 {
        if notify(&world, city, &paid(&id, AMOUNT)).await.status == 204 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }

    let (first, ask) = refuse(&mut adapter, Code::Overloaded).await;
    assert!(matches!(ask, ToInstitution::Settled(_)), "{ask:?}");
    // Silence is asked about; "not booked" lets it be told again.
    assert!(matches!(adapter.work().await, ToInstitution::QueryPayment(_)));
    let (again, ask) = refuse(&mut adapter, Code::Overloaded).await;
    assert!(matches!(ask, ToInstitution::Settled(_)), "{ask:?}");
    assert_eq!(again, first, "told under the same id");
    assert!(matches!(adapter.work().await, ToInstitution::QueryPayment(_)));
    assert!(matches!(adapter.work().await, ToInstitution::Settled(_)));
    person.until(&id, "completed").await;

    let refund = RefundAsk {
        refund_no: "R1".into(),
        bill_no: "B1".into(),
        amount_fen: Some(Fen::new(1000)),
        replaced_by: None,
        reason: "检查取消".into(),
    };
    assert!(matches!(adapter.ask(ToPlatform::Refund(refund)).await, Reply::Refund(_)));
    let row = world.ground.store.refund_by_no(city.id, &city.hospital, "R1").expect("readable").expect("a refund");
    let back = json!({ "event": "refund", "out_refund_no": platform::journey::refund::out_refund_no(row.id) });
    notify(&world, city, &back).await.done(204);
    let (first, ask) = refuse(&mut adapter, Code::Overloaded).await;
    assert!(matches!(ask, ToInstitution::Undone(_)), "{ask:?}");
    let (again, ask) = refuse(&mut adapter, Code::HospitalRefused).await;
    assert!(matches!(ask, ToInstitution::Undone(_)), "{ask:?}");
    assert_eq!(again, first);
    let order = id.parse().expect("an order id");
    for _ in 0..400 {
        let story = world.ground.store.story(order).expect("readable").expect("there");
        let told: Vec<_> = story.actions.iter().filter(|action| action.kind == "tell_undone").collect();
        let in_half_an_hour_us = world.ground.clock.now_us() + 1_800_000_000;
        assert!(told.iter().any(|told| !told.done), "a refusal is no acknowledgement");
        if told.iter().any(|told| !told.done && told.due_at_us > in_half_an_hour_us) {
            // The adapter would answer the refused message from its journal: a person who has looked at it must be asked.
            let (somebody, later_us) =
                (ProcessId::from_uuid(world.ground.clock.fresh()), world.ground.clock.now_us() + 7_200_000_000);
            let due = world.ground.store.take_due(somebody, later_us, 9).expect("readable");
            let told = due.iter().filter_map(|due| match &due.action.action {
                Action::TellUndone { message, .. } => Some(*message),
                _ => None,
            });
            let messages: Vec<MessageId> = told.collect();
            assert!(messages.len() == 1 && messages[0] != first, "{messages:?}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the refused undo is not put off");
}
