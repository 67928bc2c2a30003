//! Bindings, from level 1 to the freeze.

use platform::domain::binding::BindingFacts;
use platform::journey::people;
use platform::store::{BindingRow, CallerKey};
use schema::link::ToInstitution;
use schema::refusal::Code;
use serde_json::json;

use crate::adapter::Adapter;
use crate::insured::{card, opened, priced, proof, proved};
use crate::outsiders::{Registry, Standing};
use crate::world::{LI, Person, WANG, World};

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

async fn level2(person: &Person<'_>, id: &str, card_no: &str) -> crate::world::Said {
    person.change("POST", &format!("/mobile/v1/bindings/{id}/level2"), proof(card_no)).await
}

async fn lose(person: &Person<'_>, id: &str) {
    let path = format!("/mobile/v1/bindings/{id}/loss");
    let said = person.keyed("POST", &path, "loss", json!({})).await;
    assert_eq!(said.done(202)["frozen"], true);
    assert_eq!(person.keyed("POST", &path, "loss", json!({})).await.bytes, said.bytes);
}

/// Takes a binding back and makes a new one at level 1.
async fn anew(person: &Person<'_>, id: &str) -> String {
    person.change("DELETE", &format!("/mobile/v1/bindings/{id}"), json!({})).await.done(202);
    person.bind(WANG).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_reported_at_one_login_stops_the_person_at_every_login() {
    let world = World::start().await;
    let (mother, hers) = proved(&world, "13800000001").await;
    let (child, _) = proved(&world, "13800000002").await;
    let only_looks = world.sign_in(0, "13800000003").await;
    only_looks.bind(WANG).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let order = priced(&mut adapter, &child, "B1").await;
    child.change("POST", &format!("/mobile/v1/orders/{order}/code"), json!({})).await.done(202);
    let code = world.cities[0].inbox.code("13800000002");
    let (bill, waiting) = opened(&mut adapter, &child, "B2").await;
    lose(&mother, &hers).await;
    for login in [&mother, &child, &only_looks] {
        assert_eq!(login.binding().await["frozen"], true);
    }
    for order in [&order, &waiting] {
        assert_eq!(child.until(order, "closed").await["reason"], "binding_lost");
    }
    let ask = json!({ "phone": "13800000002", "code": code, "card_no": card() });
    child.change("POST", &format!("/mobile/v1/orders/{order}/pay"), ask).await.refused_as(Code::NotNow);
    let ask = json!({ "bill_id": bill, "mode": "insured", "use_account": false });
    child.change("POST", "/mobile/v1/orders", ask).await.refused_as(Code::BindingFrozen);
    while !matches!(adapter.work().await, ToInstitution::Release(_)) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unbinding_that_was_cut_short_is_finished_by_its_repeat() {
    let world = World::start().await;
    let (person, id) = proved(&world, "13800000001").await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let order = priced(&mut adapter, &person, "B1").await;
    // What a process leaves that dies once the change is on record: its orders have not heard of it.
    let (tenant, binding) = (world.cities[0].id, id.parse().expect("an id"));
    let row = world.ground.store.binding(tenant, binding).expect("readable").expect("a binding");
    let (epoch, user) = (row.facts.epoch, row.channel_user);
    let facts = BindingFacts { epoch: epoch + 1, ..row.facts.clone() };
    let key = CallerKey { caller: "user:test".into(), key: "K1".into(), request: [7; 32] };
    let ended = BindingRow { unbound: true, facts, ..row };
    let kept = world.ground.store.put_binding(epoch, &ended, Some((&key, b"first answer")));
    assert_eq!(kept, Ok(true));
    assert_eq!(person.get(&format!("/mobile/v1/orders/{order}")).await.done(200)["state"], "priced");

    let tenant = world.ground.tenants.get(tenant).expect("a city");
    let said = people::unbind(&world.ground, &tenant, user, binding, key).await.expect("the first answer");
    assert_eq!(said, b"first answer");
    assert_eq!(person.until(&order, "closed").await["reason"], "binding_lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_card_is_never_taken_again_and_a_new_one_is() {
    let world = World::start().await;
    let (person, id) = proved(&world, "13800000001").await;
    lose(&person, &id).await;
    level2(&person, &id, &card()).await.refused_as(Code::BindingFrozen);
    level2(&person, &id, "C-2").await.refused_as(Code::BindingFrozen);
    let id = anew(&person, &id).await;
    assert_eq!(person.binding().await["level"], 1);
    level2(&person, &id, &card()).await.refused_as(Code::CardFrozen);
    let other = world.sign_in(0, "13800000002").await;
    let others = other.bind(WANG).await;
    level2(&other, &others, &card()).await.refused_as(Code::CardFrozen);
    // A number alone is no new card: the bureau has to have issued it.
    level2(&person, &id, "C-2").await.refused(422, "CARD_PASSWORD_WRONG");
    world.cities[0].bureau.issue_card(WANG.0, "C-2");
    let proved = level2(&person, &id, "C-2").await.done(202);
    assert_eq!((&proved["level"], &proved["frozen"]), (&json!(2), &json!(false)));
    level2(&other, &others, &card()).await.refused_as(Code::CardFrozen);
    level2(&person, &id, &card()).await.refused_as(Code::CardFrozen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_reported_before_any_card_was_known_holds_for_every_card() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    let id = person.bind(WANG).await;
    lose(&person, &id).await;
    let id = anew(&person, &id).await;
    level2(&person, &id, &card()).await.refused_as(Code::CardFrozen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_1101_shows_at_payment_stops_it_and_only_a_lost_card_freezes() {
    for (standing, code, frozen) in
        [(Standing::InsuranceStopped, Code::InsuranceStopped, false), (Standing::CardLost, Code::BindingFrozen, true)]
    {
        let world = World::with(|settings| settings.limits.recheck_person_ms = -1, 10).await;
        let (person, _) = proved(&world, "13800000001").await;
        let (child, _) = proved(&world, "13800000002").await;
        let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
        let order = priced(&mut adapter, &person, "B1").await;
        let path = format!("/mobile/v1/orders/{order}");
        person.change("POST", &format!("{path}/code"), json!({})).await.done(202);
        world.cities[0].bureau.stands(standing);
        let digits = world.cities[0].inbox.code("13800000001");
        let ask = json!({ "phone": "13800000001", "code": digits, "card_no": card() });
        person.change("POST", &format!("{path}/pay"), ask).await.refused_as(code);
        assert_eq!(person.until(&order, "closed").await["reason"], "binding_lost");
        for login in [&person, &child] {
            assert_eq!(login.binding().await["frozen"], frozen, "{code}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_was_opened_is_answered_again_whatever_has_become_of_the_binding_and_the_hospital() {
    let world = World::start().await;
    let city = &world.cities[0];
    let (person, id) = proved(&world, "13800000001").await;
    let mut adapter = Adapter::connect(&world, city).await;
    adapter.ask(crate::payment::bill("B1", WANG)).await;
    let bill = person.get("/mobile/v1/bills").await.done(200)[0]["id"].clone();
    let ask = json!({ "bill_id": bill, "mode": "insured", "use_account": false });
    let first = person.keyed("POST", "/mobile/v1/orders", "open", ask.clone()).await;
    first.done(202);
    person.change("DELETE", &format!("/mobile/v1/bindings/{id}"), json!({})).await.done(202);
    let mut row = world.ground.store.institution(city.id, &city.hospital).expect("readable").expect("there");
    row.suspended = true;
    world.ground.store.put_institution(&row).expect("suspended");
    let again = person.keyed("POST", "/mobile/v1/orders", "open", ask).await;
    assert_eq!((again.status, again.bytes), (202, first.bytes));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_of_another_place_pays_from_an_insurance_of_that_place() {
    let world = World::start().await;
    let bureau = &world.cities[0].bureau;
    bureau.insures(&[("390", "449999"), ("310", "441900")]);
    let person = world.sign_in(0, "13800000001").await;
    let id = person.bind(WANG).await;
    let held = |binding: &serde_json::Value| (binding["insutype"].clone(), binding["insuplc_admdvs"].clone());
    assert_eq!(held(&person.binding().await), (json!("390"), json!("449999")));
    // The card is of 441900.
    level2(&person, &id, &card()).await.done(202);
    assert_eq!(held(&person.binding().await), (json!("310"), json!("441900")));

    let other = world.sign_in(0, "13800000002").await;
    bureau.insures(&[("390", "449999")]);
    let id = other.bind(WANG).await;
    level2(&other, &id, &card()).await.refused_as(Code::InsuranceStopped);
    assert_eq!(other.binding().await["level"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insurance_that_followed_another_is_paid_from_by_a_new_order() {
    let world = World::with(|settings| settings.limits.recheck_person_ms = -1, 10).await;
    let (person, _) = proved(&world, "13800000001").await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let order = priced(&mut adapter, &person, "B1").await;
    let path = format!("/mobile/v1/orders/{order}");
    person.change("POST", &format!("{path}/code"), json!({})).await.done(202);
    let code = world.cities[0].inbox.code("13800000001");
    world.cities[0].bureau.insures(&[("390", "441900")]);
    let ask = json!({ "phone": "13800000001", "code": code, "card_no": card() });
    person.change("POST", &format!("{path}/pay"), ask).await.refused_as(Code::BindingFrozen);
    assert_eq!(person.until(&order, "closed").await["reason"], "binding_lost");
    let binding = person.binding().await;
    assert_eq!((&binding["insutype"], &binding["frozen"]), (&json!("390"), &json!(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_that_is_taken_back_is_taken_back_at_the_bureau_too() {
    let world = World::start().await;
    let bureau = &world.cities[0].bureau;
    // Level 1 was never told to the bureau: there is nothing to take back.
    let looker = world.sign_in(0, "13800000002").await;
    let only_looks = looker.bind(WANG).await;
    looker.change("DELETE", &format!("/mobile/v1/bindings/{only_looks}"), json!({})).await.done(202);
    assert_eq!(bureau.unbound(), vec![]);

    let (person, id) = proved(&world, "13800000001").await;
    let path = format!("/mobile/v1/bindings/{id}");
    let first = person.keyed("DELETE", &path, "k-1", json!({})).await;
    first.done(202);
    let record = (Registry::bind_no(WANG.0), format!("P{}", WANG.0));
    assert_eq!(bureau.unbound(), vec![record.clone()]);
    // A repeat is the first answer, and no second word to the bureau.
    assert_eq!(person.keyed("DELETE", &path, "k-1", json!({})).await.bytes, first.bytes);
    person.change("DELETE", &path, json!({})).await.refused(404, "BINDING_UNKNOWN");
    assert_eq!(bureau.unbound(), vec![record]);
}
