//! Signing in.

use serde_json::{Value, json};

use crate::world::{Said, World, hear};

const PHONE: &str = "13800000001";

async fn ask(world: &World, city: usize, path: &str, body: Value) -> Said {
    let key = &world.cities[city].channel_key;
    hear(world.request("POST", path).header("x-tongfu-channel", key).body(body.to_string())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_signs_in_with_the_code_it_received_once() {
    let world = World::start().await;
    let sent = ask(&world, 0, "/mobile/v1/login/code", json!({ "phone": PHONE })).await;
    assert_eq!(sent.done(202), json!({}));
    let login = json!({ "phone": PHONE, "code": world.cities[0].inbox.code(PHONE) });
    let said = ask(&world, 0, "/mobile/v1/login", login.clone()).await.done(200);
    assert!(said["expires_at_us"].as_i64().is_some_and(|end| end > world.ground.clock.now_us()));
    let token = said["token"].as_str().expect("a token");
    assert_eq!(hear(world.request("GET", "/mobile/v1/bindings").bearer_auth(token)).await.done(200), json!([]));
    let key = hear(world.request("GET", "/mobile/v1/bureau-key").bearer_auth(token)).await.done(200);
    assert_eq!(key, json!({ "sm2_public_key": "BASE64POINT101" }));
    ask(&world, 0, "/mobile/v1/login", login).await.refused(401, "LOGIN_CODE_WRONG");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_dead_after_five_wrong_tries_and_in_another_city() {
    let world = World::start().await;
    ask(&world, 0, "/mobile/v1/login/code", json!({ "phone": PHONE })).await.done(202);
    let right = world.cities[0].inbox.code(PHONE);
    let login = |code: &str| json!({ "phone": PHONE, "code": code });
    ask(&world, 1, "/mobile/v1/login", login(&right)).await.refused(401, "LOGIN_CODE_WRONG");
    let wrong = if right == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        ask(&world, 0, "/mobile/v1/login", login(wrong)).await.refused(401, "LOGIN_CODE_WRONG");
    }
    ask(&world, 0, "/mobile/v1/login", login(&right)).await.refused(401, "LOGIN_CODE_WRONG");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_go_to_mobile_phones_only_and_not_for_ever() {
    let world = World::with(|settings| settings.limits.codes_per_day = 2, 10).await;
    for phone in ["", "110", "23800000001", "138000000012", "1380000000a"] {
        let said = ask(&world, 0, "/mobile/v1/login/code", json!({ "phone": phone })).await;
        assert_eq!(said.refused(422, "INVALID")["faults"][0]["at"], "phone");
    }
    for _ in 0..2 {
        ask(&world, 0, "/mobile/v1/login/code", json!({ "phone": PHONE })).await.done(202);
    }
    let said = ask(&world, 0, "/mobile/v1/login/code", json!({ "phone": PHONE })).await;
    said.refused(429, "RATE_LIMITED");
    assert!(said.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
}
