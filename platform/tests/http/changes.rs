//! Bindings, from level 1 to the freeze.

use serde_json::json;

use crate::world::{LI, WANG, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_is_made_proved_frozen_and_taken_back() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    let id = person.bind(WANG).await;
    let list = person.get("/mobile/v1/bindings").await.done(200);
    assert_eq!((&list[0]["id"], &list[0]["level"], &list[0]["frozen"]), (&json!(id), &json!(1), &json!(false)));
    assert_eq!(list[0]["psn_name"], "王**");
    let level2 = format!("/mobile/v1/bindings/{id}/level2");
    let proof = |password: &str| json!({ "card_no": format!("C{}", WANG.0), "sealed_password": password });
    person.change("POST", &level2, proof("wrong")).await.refused(422, "CARD_PASSWORD_WRONG");
    let proved = person.change("POST", &level2, proof("right")).await.done(202);
    assert_eq!((&proved["level"], &proved["phone"]), (&json!(2), &json!("138****0001")));
    let lost = person.change("POST", &format!("/mobile/v1/bindings/{id}/loss"), json!({})).await.done(202);
    assert_eq!(lost["frozen"], true);
    person.change("DELETE", &format!("/mobile/v1/bindings/{id}"), json!({})).await.done(202);
    assert_eq!(person.get("/mobile/v1/bindings").await.done(200), json!([]));
    person.change("POST", &level2, proof("right")).await.refused(404, "BINDING_UNKNOWN");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_whom_the_bureau_knows_by_that_name_is_bound_and_once() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    let ask = |(certno, name): (&str, &str)| json!({ "psn_name": name, "psn_cert_type": "01", "certno": certno });
    person.change("POST", "/mobile/v1/bindings", ask(LI)).await.refused(422, "BINDING_MISMATCH");
    person.change("POST", "/mobile/v1/bindings", ask((WANG.0, "王大明"))).await.refused(422, "BINDING_MISMATCH");
    person.bind(WANG).await;
    person.change("POST", "/mobile/v1/bindings", ask(WANG)).await.refused(409, "BINDING_EXISTS");
}
