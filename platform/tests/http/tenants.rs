//! What is one tenant's, one login's, is nobody else's: not to be seen, not to be changed, not even known to exist.

use schema::link::{BillNamed, Reply, ToPlatform};
use schema::refusal::Code;
use serde_json::json;

use crate::adapter::Adapter;
use crate::payment::{bill, collecting, notify, paid};
use crate::world::{WANG, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_sees_or_changes_what_is_one_logins() {
    let world = World::start().await;
    let owner = world.sign_in(0, "13800000001").await;
    let binding = owner.bind(WANG).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let order = collecting(&mut adapter, &owner, "B1").await;
    let bill_id = owner.get("/mobile/v1/bills").await.done(200)[0]["id"].clone();
    let bill_path = format!("/mobile/v1/bills/{}", bill_id.as_str().expect("an id"));
    owner.get(&bill_path).await.done(200);

    // The same phone number in another city, and a neighbour in the same one.
    for (city, phone) in [(1, "13800000001"), (0, "13800000002")] {
        let other = world.sign_in(city, phone).await;
        for path in ["/mobile/v1/bills", "/mobile/v1/orders", "/mobile/v1/bindings"] {
            assert_eq!(other.get(path).await.done(200), json!([]), "{path}");
        }
        other.get(&bill_path).await.refused(404, "BILL_UNKNOWN");
        let open = json!({ "bill_id": bill_id, "mode": "cash_only", "use_account": false });
        other.change("POST", "/mobile/v1/orders", open).await.refused(404, "BILL_UNKNOWN");
        let path = format!("/mobile/v1/orders/{order}");
        other.get(&path).await.refused(404, "ORDER_UNKNOWN");
        other.get(&format!("{path}/receipt")).await.refused(404, "ORDER_UNKNOWN");
        for action in ["code", "pay", "cancel"] {
            other.change("POST", &format!("{path}/{action}"), json!({})).await.refused(404, "ORDER_UNKNOWN");
        }
        let path = format!("/mobile/v1/bindings/{binding}");
        other.change("DELETE", &path, json!({})).await.refused(404, "BINDING_UNKNOWN");
        other.change("POST", &format!("{path}/loss"), json!({})).await.refused(404, "BINDING_UNKNOWN");
        let proof = json!({ "card_no": format!("C{}", WANG.0), "sealed_password": "right" });
        other.change("POST", &format!("{path}/level2"), proof).await.refused(404, "BINDING_UNKNOWN");
    }

    // Another city's wallet and hospital.
    let foreign = &world.cities[1];
    notify(&world, foreign, &paid(&order, 2500)).await.refused(404, "ORDER_UNKNOWN");
    let mut stranger = Adapter::connect(&world, foreign).await;
    let Reply::Refused(problem) = stranger.ask(ToPlatform::Claim(BillNamed { bill_no: "B1".into() })).await else {
        panic!("refused")
    };
    assert_eq!(problem.code, Code::BillUnknown);
    assert_eq!(stranger.ask(bill("B1", WANG)).await, Reply::Done);
    assert_eq!(owner.get("/mobile/v1/bills").await.done(200).as_array().map(Vec::len), Some(1));
    assert_eq!(owner.get(&format!("/mobile/v1/orders/{order}")).await.done(200)["state"], "collecting");
}
