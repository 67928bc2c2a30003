//! Signing in.

use std::sync::atomic::Ordering;

use platform::store::CallerKey;
use schema::refusal::Code;
use serde_json::{Value, json};

use crate::world::{Said, World, hear};

const PHONE: &str = "13800000001";

async fn ask(world: &World, city: usize, path: &str, body: Value) -> Said {
    keyed(world, city, path, &world.key(), body).await
}

async fn keyed(world: &World, city: usize, path: &str, key: &str, body: Value) -> Said {
    hear(world.at_channel(path, &world.cities[city].channel_key, key, body)).await
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_code_that_is_asked_for_again_under_its_key_is_sent_once() {
    let world = World::with(|settings| settings.limits.codes_per_day = 2, 10).await;
    let path = "/mobile/v1/login/code";
    let code = |key| keyed(&world, 0, path, key, json!({ "phone": PHONE }));
    let first = code("k1").await;
    first.done(202);
    let again = code("k1").await;
    assert_eq!((again.status, &again.bytes), (202, &first.bytes));
    assert_eq!(world.cities[0].inbox.codes(PHONE), 1);
    let right = world.cities[0].inbox.code(PHONE);
    keyed(&world, 0, path, "k1", json!({ "phone": "13800000002" })).await.refused(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(world.cities[0].inbox.codes("13800000002"), 0);
    // Neither did the repeat count, nor does it end the code that was sent.
    ask(&world, 0, "/mobile/v1/login", json!({ "phone": PHONE, "code": right })).await.done(200);
    code("k2").await.done(202);
    code("k3").await.refused(429, "RATE_LIMITED");
    assert_eq!(code("k1").await.status, 202);
    // A key is its channel's own.
    keyed(&world, 1, path, "k1", json!({ "phone": PHONE })).await.done(202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_code_that_could_not_be_sent_is_sent_by_repeating_the_key() {
    let world = World::start().await;
    let inbox = &world.cities[0].inbox;
    let code = || keyed(&world, 0, "/mobile/v1/login/code", "k1", json!({ "phone": PHONE }));
    inbox.refuses.store(true, Ordering::Relaxed);
    code().await.refused_as(Code::SmsUnreachable);
    inbox.refuses.store(false, Ordering::Relaxed);
    code().await.done(202);
    assert_eq!(inbox.codes(PHONE), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_under_one_key_send_one_code_and_sign_in_to_one_session() {
    let world = World::start().await;
    let inbox = &world.cities[0].inbox;
    let code = || keyed(&world, 0, "/mobile/v1/login/code", "k1", json!({ "phone": PHONE }));
    for said in futures_util::future::join_all((0..8).map(|_| code())).await {
        // The first is under way, or has sent it.
        assert!(matches!(said.status, 202 | 503), "{}", said.json());
    }
    code().await.done(202);
    assert_eq!(inbox.codes(PHONE), 1);
    let login = json!({ "phone": PHONE, "code": inbox.code(PHONE), "openid": "openid-1" });
    let sign_in = || keyed(&world, 0, "/mobile/v1/login", "k2", login.clone());
    let first = sign_in().await;
    first.done(200);
    for said in futures_util::future::join_all((0..8).map(|_| sign_in())).await {
        assert_eq!((said.status, &said.bytes), (200, &first.bytes));
    }
    // The code is used up for every other key, and the key for every other login.
    ask(&world, 0, "/mobile/v1/login", login).await.refused(401, "LOGIN_CODE_WRONG");
    let other = json!({ "phone": PHONE, "code": "000000" });
    keyed(&world, 0, "/mobile/v1/login", "k2", other).await.refused(422, "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_is_stored_with_the_answer_under_a_logins_key() {
    let world = World::start().await;
    ask(&world, 0, "/mobile/v1/login/code", json!({ "phone": PHONE })).await.done(202);
    let login = json!({ "phone": PHONE, "code": world.cities[0].inbox.code(PHONE) });
    let said = keyed(&world, 0, "/mobile/v1/login", "k1", login).await.done(200);
    let city = &world.cities[0];
    let channel = world.ground.store.channels(city.id).expect("readable")[0].id;
    let key = CallerKey { caller: format!("channel:{channel}"), key: "k1".into(), request: [0; 32] };
    let kept = world.ground.store.first_answer(city.id, &key).expect("readable").expect("kept");
    let kept: Value = serde_json::from_slice(&kept.response).expect("JSON");
    assert_eq!(kept["expires_at_us"], said["expires_at_us"]);
    assert_eq!(kept.as_object().map(|kept| kept.len()), Some(2), "{kept}");
}
