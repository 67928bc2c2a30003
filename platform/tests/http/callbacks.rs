//! Notices from wallets and bureaus: believed by signature alone.

use serde_json::json;

use crate::adapter::Adapter;
use crate::outsiders::Registry;
use crate::payment::{collecting, notify, paid};
use crate::world::{Said, WANG, World, hear};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_notice_without_the_tenants_own_signature_moves_nothing() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    person.bind(WANG).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let order = collecting(&mut adapter, &person, "B1").await;
    let path = format!("/wallet/v1/notify/{}", world.cities[0].id);
    let body = paid(&order, 2500).to_string();
    hear(world.request("POST", &path).body(body.clone())).await.refused(401, "SIGNATURE_WRONG");
    let other = &world.cities[1].wallet_secret;
    hear(world.request("POST", &path).header("x-test-wallet", other).body(body.clone()))
        .await
        .refused(401, "SIGNATURE_WRONG");
    let nobody = "/wallet/v1/notify/01890000-0000-7000-8000-000000000000";
    hear(world.request("POST", nobody).body(body.clone())).await.refused(404, "NOT_FOUND");
    hear(world.request("POST", "/wallet/v1/notify/x").body(body)).await.refused(404, "NOT_FOUND");
    let secret = &world.cities[0].wallet_secret;
    hear(world.request("POST", &path).header("x-test-wallet", secret).body("{")).await.refused(400, "MALFORMED");
    assert_eq!(person.get(&format!("/mobile/v1/orders/{order}")).await.done(200)["state"], "collecting");

    let city = &world.cities[0];
    notify(&world, city, &json!({ "event": "something else" })).await.done(204);
    let stray = json!({ "event": "paid", "out_trade_no": "none of ours", "transaction_id": "T", "amount": 1 });
    notify(&world, city, &stray).await.refused(404, "ORDER_UNKNOWN");
    let refund = json!({ "event": "refund", "out_refund_no": "01890000000070008000000000000000" });
    notify(&world, city, &refund).await.refused(404, "ORDER_UNKNOWN");
    // Signed, and another merchant's money: not this order's.
    let mut elsewhere = paid(&order, 2500);
    elsewhere["merchant"] = "1900000999".into();
    notify(&world, city, &elsewhere).await.refused(404, "ORDER_UNKNOWN");
    assert_eq!(person.get(&format!("/mobile/v1/orders/{order}")).await.done(200)["state"], "collecting");
    // Another amount than is due is no payment: it is believed, and goes back.
    notify(&world, city, &paid(&order, 1)).await.done(204);
    person.until(&order, "closed").await;
}

async fn tell(world: &World, body: &str, headers: &[(&str, String)]) -> Said {
    let mut request = world.request("POST", &format!("/bureau/v1/notices/{}", world.cities[0].id));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    hear(request.body(body.to_owned())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bureaus_loss_notice_freezes_the_person_at_every_login_and_once() {
    let world = World::start().await;
    let bureau = &world.cities[0].bureau;
    let (mother, child) = (world.sign_in(0, "13800000001").await, world.sign_in(0, "13800000002").await);
    let proof = json!({ "card_no": format!("C{}", WANG.0), "sealed_password": "right" });
    for login in [&mother, &child] {
        let id = login.bind(WANG).await;
        login.change("POST", &format!("/mobile/v1/bindings/{id}/level2"), proof.clone()).await.done(202);
    }
    let notice = |id: &str, kind: &str, bind_no: &str| {
        json!({ "notice_id": id, "kind": kind, "psn_no": "P1", "bind_no": bind_no, "at": "x" }).to_string()
    };
    let body = notice("N1", "loss", &Registry::bind_no(WANG.0));
    let now_us = world.ground.clock.now_us();
    tell(&world, &body, &[]).await.refused(401, "SIGNATURE_WRONG");
    tell(&world, &body, &world.cities[1].bureau.sign(&body, now_us)).await.refused(401, "SIGNATURE_WRONG");
    let other = notice("N1", "loss", "B2");
    tell(&world, &other, &bureau.sign(&body, now_us)).await.refused(401, "SIGNATURE_WRONG");
    // What we do not know, or is none of ours, is taken and changes nothing.
    for harmless in [notice("N2", "birthday", &Registry::bind_no(WANG.0)), notice("N3", "loss", "B9")] {
        tell(&world, &harmless, &bureau.sign(&harmless, now_us)).await.done(204);
    }
    assert_eq!(mother.get("/mobile/v1/bindings").await.done(200)[0]["frozen"], false);
    tell(&world, &body, &bureau.sign(&body, now_us)).await.done(204);
    for login in [&mother, &child] {
        assert_eq!(login.get("/mobile/v1/bindings").await.done(200)[0]["frozen"], true);
    }
    // The lost card is taken no more. After a new binding with a new card the old notice, repeated, freezes nothing.
    let id = mother.get("/mobile/v1/bindings").await.done(200)[0]["id"].as_str().expect("an id").to_owned();
    let level2 = format!("/mobile/v1/bindings/{id}/level2");
    mother.change("POST", &level2, proof.clone()).await.refused(403, "BINDING_FROZEN");
    mother.change("DELETE", &format!("/mobile/v1/bindings/{id}"), json!({})).await.done(202);
    let level2 = format!("/mobile/v1/bindings/{}/level2", mother.bind(WANG).await);
    mother.change("POST", &level2, proof).await.refused(403, "CARD_FROZEN");
    bureau.issue_card(WANG.0, "C-2");
    let proof = json!({ "card_no": "C-2", "sealed_password": "right" });
    mother.change("POST", &level2, proof).await.done(202);
    tell(&world, &body, &bureau.sign(&body, now_us)).await.done(204);
    assert_eq!(mother.get("/mobile/v1/bindings").await.done(200)[0]["frozen"], false);
}
