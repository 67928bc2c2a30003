//! What is one tenant's, one login's, one hospital's, is nobody else's: not to be seen, not to be changed, not even
//! known to exist. Driven by the URL table and the link's asks: a new one without a case fails here.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use platform::http::routes::GROUPS;
use platform::journey::desk::china_time;
use platform::store::InstitutionRow;
use reqwest::Response;
use schema::his::{DayAsk, RefundAsk};
use schema::ids::{InstitutionCode, MessageId};
use schema::link::{BillNamed, Body, PriceAnswer, Reply, ToInstitution, ToPlatform};
use schema::money::Fen;
use schema::refusal::Code;
use schema::sign::SigningKey;
use schema::split::Split;
use serde_json::{Value, json};

use crate::adapter::{Adapter, hello, open};
use crate::outsiders::Registry;
use crate::payment::{AMOUNT, bill, collecting, draft, notify, out_trade_no, paid};
use crate::world::{City, MEI, Person, Said, WANG, World, hear};

const PHONE: &str = "13800000001";

/// Two bills of one person at the first city's hospital: A1 is paid and partly given back, A2 is being paid.
struct Owner<'w> {
    world: &'w World,
    city: &'w City,
    person: Person<'w>,
    events: Response,
    adapter: Adapter,
    binding: String,
    bills: Vec<String>,
    completed: String,
    collecting: String,
    refund: RefundAsk,
    out_refund_no: String,
}

/// Somebody who has no business with them: the same phone number in another city, or a neighbour in the same one.
struct Other<'w> {
    city: &'w City,
    person: Person<'w>,
    events: Response,
    binding: String,
    phone: &'static str,
}

impl<'w> Owner<'w> {
    async fn settle_in(world: &'w World) -> Owner<'w> {
        let city = &world.cities[0];
        let person = world.sign_in(0, PHONE).await;
        let events = person.request("GET", "/mobile/v1/events").send().await.expect("events");
        let binding = person.bind(WANG).await;
        let proof = json!({ "card_no": format!("C{}", WANG.0), "sealed_password": "right" });
        person.change("POST", &format!("/mobile/v1/bindings/{binding}/level2"), proof).await.done(202);
        let mut adapter = Adapter::connect(world, city).await;
        assert_eq!(adapter.ask(visit_card(WANG)).await, Reply::Done);
        let completed = collecting(&mut adapter, &person, "A1").await;
        notify(world, city, &paid(&completed, AMOUNT)).await.done(204);
        assert!(matches!(adapter.work().await, ToInstitution::Settled(_)));
        person.until(&completed, "completed").await;
        let refund = RefundAsk {
            refund_no: "R1".into(),
            bill_no: "A1".into(),
            amount_fen: Some(Fen::new(1000)),
            replaced_by: None,
            reason: "检查取消".into(),
        };
        let granted = adapter.ask(ToPlatform::Refund(refund.clone())).await;
        assert!(matches!(granted, Reply::Refund(_)), "{granted:?}");
        let row = world.ground.store.refund_by_no(city.id, &city.hospital, "R1").expect("readable").expect("a refund");
        let collecting = collecting(&mut adapter, &person, "A2").await;
        let bills = person.get("/mobile/v1/bills").await.done(200);
        let ids = bills.as_array().expect("bills").iter().map(|bill| bill["id"].as_str().expect("an id").to_owned());
        Owner {
            world,
            city,
            events,
            adapter,
            binding,
            bills: ids.collect(),
            completed,
            collecting,
            refund,
            out_refund_no: platform::journey::refund::out_refund_no(row.id),
            person,
        }
    }

    /// Everything of the owner's that they can see themselves.
    async fn sees(&self) -> Vec<Value> {
        let mut seen = Vec::new();
        let one = [&self.completed, &self.collecting].map(|id| format!("/mobile/v1/orders/{id}"));
        let lists = ["/mobile/v1/bindings", "/mobile/v1/bills", "/mobile/v1/orders"].map(str::to_owned);
        for path in lists.iter().chain(&one) {
            seen.push(self.person.get(path).await.done(200));
        }
        seen
    }

    /// No word of the owner's in an answer.
    fn is_not_in(&self, said: &Said) {
        self.is_not_in_text(&String::from_utf8_lossy(&said.bytes));
    }

    fn is_not_in_text(&self, text: &str) {
        let ids = [&self.binding, &self.completed, &self.collecting];
        let numbers =
            ["\"A1\"", "\"A2\"", "\"R1\"", WANG.0, "王", &out_trade_no(&self.collecting), &self.out_refund_no];
        for own in ids.into_iter().chain(&self.bills).map(String::as_str).chain(numbers) {
            assert!(!text.contains(own), "{own} in {text}");
        }
    }
}

impl<'w> Other<'w> {
    async fn settle_in(world: &'w World, city: usize, phone: &'static str) -> Other<'w> {
        let person = world.sign_in(city, phone).await;
        let events = person.request("GET", "/mobile/v1/events").send().await.expect("events");
        let binding = person.bind(MEI).await;
        Other { city: &world.cities[city], person, events, binding, phone }
    }

    fn is_of_another_city(&self, owner: &Owner<'_>) -> bool {
        self.city.id != owner.city.id
    }
}

fn visit_card((certno, name): (&str, &str)) -> ToPlatform {
    let card = json!({
        "visit_card_no": "V1", "psn_name": name, "psn_cert_type": "01", "certno": certno,
        "card_no": format!("C{certno}"), "sealed_password": "right",
    });
    ToPlatform::BindVisitCard(serde_json::from_value(card).expect("a card"))
}

/// Calls one route of the table as somebody else, with what is the owner's. Panics on a route that has no case.
async fn call(owner: &Owner<'_>, other: &Other<'_>, method: &str, path: &str) {
    let person = &other.person;
    let filled = |id: &str| path.replace("{id}", id);
    match (method, path) {
        ("POST", "/mobile/v1/login/code" | "/mobile/v1/login") => logs_in_with_the_owners_code(owner, other).await,
        ("GET", "/mobile/v1/bureau-key") => {
            let (own, owners) = (person.get(path).await.done(200), owner.person.get(path).await.done(200));
            assert_eq!(
                own == owners,
                !other.is_of_another_city(owner),
                "each city's phones get their own bureau's key"
            );
        }
        ("GET", "/mobile/v1/bindings") => {
            let list = person.get(path).await;
            assert_eq!(list.done(200)[0]["id"], other.binding);
            owner.is_not_in(&list);
        }
        ("POST", "/mobile/v1/bindings") => {
            let (certno, name) = WANG;
            // Their own city's bureau is asked, which knows nobody of this number; at home it knows another name.
            let name = if other.is_of_another_city(owner) { name } else { "王大明" };
            let ask = json!({ "psn_name": name, "psn_cert_type": "01", "certno": certno });
            person.change(method, path, ask).await.refused(422, "BINDING_MISMATCH");
        }
        ("DELETE", "/mobile/v1/bindings/{id}") | ("POST", "/mobile/v1/bindings/{id}/loss") => {
            person.change(method, &filled(&owner.binding), json!({})).await.refused(404, "BINDING_UNKNOWN");
        }
        ("POST", "/mobile/v1/bindings/{id}/level2") => {
            let proof = json!({ "card_no": format!("C{}", WANG.0), "sealed_password": "right" });
            person.change(method, &filled(&owner.binding), proof).await.refused(404, "BINDING_UNKNOWN");
        }
        ("GET", "/mobile/v1/bills" | "/mobile/v1/orders") => {
            let list = person.get(path).await;
            list.done(200);
            owner.is_not_in(&list);
        }
        ("GET", "/mobile/v1/bills/{id}") => {
            for bill in &owner.bills {
                owner.person.get(&filled(bill)).await.done(200);
                person.get(&filled(bill)).await.refused(404, "BILL_UNKNOWN");
            }
        }
        ("POST", "/mobile/v1/orders") => {
            for (bill_id, mode) in owner.bills.iter().flat_map(|bill| [(bill, "cash_only"), (bill, "insured")]) {
                let ask = json!({ "bill_id": bill_id, "mode": mode, "use_account": false });
                person.change(method, path, ask).await.refused(404, "BILL_UNKNOWN");
            }
        }
        ("GET", "/mobile/v1/orders/{id}" | "/mobile/v1/orders/{id}/receipt") => {
            owner.person.get(&filled(&owner.completed)).await.done(200);
            for order in [&owner.completed, &owner.collecting] {
                person.get(&filled(order)).await.refused(404, "ORDER_UNKNOWN");
            }
        }
        ("POST", "/mobile/v1/orders/{id}/code" | "/mobile/v1/orders/{id}/pay" | "/mobile/v1/orders/{id}/cancel") => {
            for order in [&owner.completed, &owner.collecting] {
                person.change(method, &filled(order), json!({})).await.refused(404, "ORDER_UNKNOWN");
            }
        }
        ("GET", "/mobile/v1/events") => {} // Heard all the while; what they heard is looked at in the end.
        ("GET", "/link/v1") => {
            let key = SigningKey::from_seed([91; 32]);
            let let_in = open(owner.world, |nonce| hello(nonce, &owner.city.hospital, &key)).await;
            assert_eq!(let_in.map(|_| ()).expect_err("refused").code, Code::KeyUnknown);
            if other.is_of_another_city(owner) {
                let key = &other.city.hospital_key;
                let let_in = open(owner.world, |nonce| hello(nonce, &owner.city.hospital, key)).await;
                assert_eq!(let_in.map(|_| ()).expect_err("refused").code, Code::KeyUnknown);
            }
        }
        ("POST", "/wallet/v1/notify/{tenant}") => pays_by_notice(owner, other).await,
        ("POST", "/bureau/v1/notices/{tenant}") => loses_by_notice(owner, other).await,
        ("GET" | "HEAD", "/livez" | "/readyz" | "/metrics") => {
            owner.is_not_in(&hear(owner.world.request(method, path)).await)
        }
        _ => panic!("{method} {path} has no case here: what of another tenant's does it show or change?"),
    }
}

/// A code that was sent for one city's login, or to one phone, opens no other.
async fn logs_in_with_the_owners_code(owner: &Owner<'_>, other: &Other<'_>) {
    let world = owner.world;
    let ask =
        |city: &City, path: &str, body: Value| hear(world.at_channel(path, &city.channel_key, &world.key(), body));
    ask(owner.city, "/mobile/v1/login/code", json!({ "phone": PHONE })).await.done(202);
    let code = owner.city.inbox.code(PHONE);
    let login = |phone: &str| json!({ "phone": phone, "code": code, "openid": "openid-x" });
    ask(other.city, "/mobile/v1/login", login(other.phone)).await.refused(401, "LOGIN_CODE_WRONG");
    let key = world.key();
    let own = hear(world.at_channel("/mobile/v1/login", &owner.city.channel_key, &key, login(PHONE))).await;
    own.done(200);
    // Nor does the key of that login, which is its channel's own.
    let elsewhere = world.at_channel("/mobile/v1/login", &other.city.channel_key, &key, login(PHONE));
    match other.is_of_another_city(owner) {
        true => hear(elsewhere).await.refused(401, "LOGIN_CODE_WRONG"),
        false => hear(elsewhere).await.done(200),
    };
}

/// A wallet that signs for one city pays nothing of another's, and gives nothing of another's back.
async fn pays_by_notice(owner: &Owner<'_>, other: &Other<'_>) {
    if !other.is_of_another_city(owner) {
        return;
    }
    notify(owner.world, other.city, &paid(&owner.collecting, AMOUNT)).await.refused(404, "ORDER_UNKNOWN");
    let back = json!({ "event": "refund", "out_refund_no": owner.out_refund_no });
    notify(owner.world, other.city, &back).await.refused(404, "ORDER_UNKNOWN");
    let path = format!("/wallet/v1/notify/{}", owner.city.id);
    for body in [paid(&owner.collecting, AMOUNT), back] {
        let request = owner.world.request("POST", &path).header("x-test-wallet", &other.city.wallet_secret);
        hear(request.body(body.to_string())).await.refused(401, "SIGNATURE_WRONG");
    }
}

/// A bureau that signs for one city freezes nobody of another's, whichever binding it names.
async fn loses_by_notice(owner: &Owner<'_>, other: &Other<'_>) {
    if !other.is_of_another_city(owner) {
        return;
    }
    let notice = json!({
        "notice_id": "N1", "kind": "loss", "psn_no": format!("P{}", WANG.0), "bind_no": Registry::bind_no(WANG.0), "at": "x",
    });
    let body = notice.to_string();
    for (tenant, status) in [(other.city.id, 204), (owner.city.id, 401)] {
        let mut request = owner.world.request("POST", &format!("/bureau/v1/notices/{tenant}"));
        for (name, value) in other.city.bureau.sign(&body, owner.world.ground.clock.now_us()) {
            request = request.header(name, value);
        }
        hear(request.body(body.clone())).await.done(status);
    }
    assert_eq!(owner.person.get("/mobile/v1/bindings").await.done(200)[0]["frozen"], false);
}

/// Every ask of the link in turn, naming what is the owner's. A new one does not compile until it has a place here.
fn next_ask(after: Option<&ToPlatform>, owner: &Owner<'_>, today: &str) -> Option<ToPlatform> {
    let a1 = || BillNamed { bill_no: "A1".into() };
    Some(match after {
        None => ToPlatform::Withdraw(a1()),
        Some(ToPlatform::Withdraw(_)) => ToPlatform::Claim(a1()),
        Some(ToPlatform::Claim(_)) => ToPlatform::OrderQuery(a1()),
        Some(ToPlatform::OrderQuery(_)) => ToPlatform::Refund(owner.refund.clone()),
        Some(ToPlatform::Refund(_)) => {
            ToPlatform::DayList(serde_json::from_value::<DayAsk>(json!({ "date": today })).expect("a day"))
        }
        Some(ToPlatform::DayList(_)) => visit_card(MEI),
        Some(ToPlatform::BindVisitCard(_)) => bill("A1", MEI),
        Some(ToPlatform::Bill(_)) => return None,
    })
}

/// Asks for everything of the owner's hospital as another one.
async fn ask_everything(owner: &Owner<'_>, adapter: &mut Adapter) {
    let today = china_time(owner.world.ground.clock.now_us()).format("%Y-%m-%d").to_string();
    let mut asked = None;
    while let Some(ask) = next_ask(asked.as_ref(), owner, &today) {
        let reply = adapter.ask(ask.clone()).await;
        match (&ask, &reply) {
            // What they say is theirs, even under the same numbers.
            (ToPlatform::Bill(_) | ToPlatform::BindVisitCard(_), Reply::Done) => {}
            (ToPlatform::DayList(_), Reply::Orders { orders }) if orders.is_empty() => {}
            (
                ToPlatform::Withdraw(_) | ToPlatform::Claim(_) | ToPlatform::OrderQuery(_) | ToPlatform::Refund(_),
                Reply::Refused(problem),
            ) if matches!(problem.code, Code::BillUnknown | Code::OrderUnknown) => {
                owner.is_not_in_text(&serde_json::to_string(problem).expect("serialises"));
            }
            _ => panic!("{ask:?} was answered {reply:?}"),
        }
        asked = Some(ask);
    }
}

/// Another institution of the owner's city.
async fn sibling(owner: &Owner<'_>) -> Adapter {
    let (code, key): (InstitutionCode, _) = ("H44190000009".parse().expect("a code"), SigningKey::from_seed([90; 32]));
    let known = owner.world.ground.store.institution(owner.city.id, &owner.city.hospital).expect("readable");
    let row = InstitutionRow { code: code.clone(), key: Some(key.public()), ..known.expect("there") };
    owner.world.ground.store.put_institution(&row).expect("written");
    Adapter::connect_as(owner.world, &code, &key).await.expect("let in")
}

/// The price that somebody else answers to a question that was asked of the owner's hospital.
async fn answer_for(adapter: &mut Adapter, question: MessageId) {
    let id = adapter.fresh();
    let priced = Reply::Priced(Box::new(PriceAnswer {
        split: Split::all_cash(Fen::new(AMOUNT)),
        valid_until_us: 4_000_000_000_000_000,
        insurance: None,
        lines: Vec::new(),
    }));
    adapter.send(id, Some(question), &Body::Reply { reply: priced }).await;
    // Asks are answered in their turn: once this one is, the reply before it was heard.
    let reply = adapter.ask(ToPlatform::OrderQuery(BillNamed { bill_no: "none".into() })).await;
    assert!(matches!(reply, Reply::Refused(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_route_shows_or_changes_what_is_another_tenants_or_another_logins() {
    // A question of the platform's own about the refund that is under way would move its order meanwhile.
    let world = World::with(|settings| settings.deadlines.ask_again_ms = 600_000, 10).await;
    let owner = Owner::settle_in(&world).await;
    let others = [Other::settle_in(&world, 1, PHONE).await, Other::settle_in(&world, 0, "13800000002").await];
    let seen = owner.sees().await;
    let mut called = BTreeSet::new();
    for other in &others {
        for (path, methods) in GROUPS.iter().flat_map(|group| group.routes) {
            for method in *methods {
                call(&owner, other, method, path).await;
                called.insert((*path, *method));
            }
        }
    }
    assert!(called.len() > 20, "the whole table was called: {called:?}");
    assert_eq!(owner.sees().await, seen, "nothing of the owner's has moved");

    // Everything rang on the owner's phone. On the others' only what is theirs: the last bell ends the listening.
    let mut strangers = Adapter::connect(&world, &world.cities[1]).await;
    assert_eq!(strangers.ask(bill("M1", MEI)).await, Reply::Done);
    let Owner { mut adapter, events, .. } = owner;
    assert_eq!(adapter.ask(bill("M1", MEI)).await, Reply::Done);
    let owners = heard(events, r#""state":"completed""#).await;
    let ids: Vec<String> = bells(&owners).into_iter().map(|bell| subject(&bell)).collect();
    for other in others {
        let list = other.person.get("/mobile/v1/bills").await.done(200);
        let own = list[0]["id"].as_str().expect("their own bill").to_owned();
        let bells = bells(&heard(other.events, &own).await);
        assert!(!ids.contains(&own) && bells.iter().all(|bell| subject(bell) == own), "{bells:?}");
    }
}

async fn heard(events: Response, until: &str) -> String {
    let mut stream = events.bytes_stream();
    let mut text = String::new();
    while !text.contains(until) {
        let chunk = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
        text.push_str(&String::from_utf8_lossy(&chunk.expect("in time").expect("more").expect("bytes")));
    }
    text
}

fn bells(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).expect("a bell")).collect()
}

/// What a bell is about.
fn subject(bell: &Value) -> String {
    let id = ["bill_id", "order_id", "binding_id"].into_iter().find_map(|name| bell[name].as_str());
    id.expect("a subject").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_ask_of_the_link_shows_or_changes_what_is_another_hospitals() {
    let world = World::start().await;
    let mut owner = Owner::settle_in(&world).await;
    let seen = owner.sees().await;
    let mut others = [Adapter::connect(&world, &world.cities[1]).await, sibling(&owner).await];
    for adapter in &mut others {
        ask_everything(&owner, adapter).await;
    }
    assert_eq!(owner.sees().await, seen, "nothing of the owner's has moved");

    // A question is answered by whom it was asked.
    assert_eq!(owner.adapter.ask(bill("A3", WANG)).await, Reply::Done);
    let bills = owner.person.get("/mobile/v1/bills").await.done(200);
    let found = bills.as_array().expect("bills").iter().find(|bill| bill["bill_no"] == "A3").expect("the bill");
    let ask = json!({ "bill_id": found["id"], "mode": "cash_only", "use_account": false });
    let order = owner.person.change("POST", "/mobile/v1/orders", ask).await.done(202);
    let (question, body) = owner.adapter.hear().await.expect("a question");
    assert!(matches!(body, Body::ToInstitution { ask: ToInstitution::PreSettle(_) }), "{body:?}");
    for adapter in &mut others {
        answer_for(adapter, question.id).await;
    }
    let path = format!("/mobile/v1/orders/{}", order["id"].as_str().expect("an id"));
    assert_eq!(owner.person.get(&path).await.done(200)["state"], "created");
    answer_for(&mut owner.adapter, question.id).await;
    owner.person.until(order["id"].as_str().expect("an id"), "priced").await;

    // The visit card is each hospital's own: here it is still its first holder's.
    let with_card = |bill_no: &str, person| {
        let mut draft = draft(bill_no, person);
        draft["patient"]["visit_card_no"] = "V1".into();
        ToPlatform::Bill(serde_json::from_value(draft).expect("a draft"))
    };
    assert_eq!(owner.adapter.ask(with_card("A4", WANG)).await, Reply::Done);
    let Reply::Refused(problem) = owner.adapter.ask(with_card("A5", MEI)).await else { panic!("refused") };
    assert_eq!(problem.code, Code::BillPatientMismatch);
}
