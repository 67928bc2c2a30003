//! The link: who is let in, what is believed, and that nobody waits for a neighbour.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use schema::his::ClaimAnswer;
use schema::ids::{InstitutionCode, OrderId};
use schema::link::{
    BillNamed, Body, Frame, MOST_FRAME_BYTES, Opening, Payload, QueryPayment, Reply, ToInstitution, ToPlatform,
    hello_bytes,
};
use schema::refusal::Code;
use schema::sign::{Algorithm, SigningKey};
use tokio_tungstenite::tungstenite::Message;

use crate::adapter::{Adapter, dial, hello, open, say, text};
use crate::payment::{bill, draft};
use crate::world::{WANG, World};

async fn refused(world: &World, hello: impl FnOnce(&str) -> Opening) -> Code {
    open(world, hello).await.map(|_| ()).expect_err("refused").code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_is_refused_unless_the_approved_key_signed_this_challenge() {
    let world = World::start().await;
    let city = &world.cities[0];
    let (hospital, key) = (&city.hospital, &city.hospital_key);
    let unknown = SigningKey::from_seed([55; 32]);
    assert_eq!(refused(&world, |nonce| hello(nonce, hospital, &unknown)).await, Code::KeyUnknown);
    let elsewhere = &world.cities[1].hospital;
    assert_eq!(refused(&world, |nonce| hello(nonce, elsewhere, key)).await, Code::KeyUnknown);
    assert_eq!(refused(&world, |_| hello("another nonce", hospital, key)).await, Code::SignatureWrong);
    let claims = |signature: String, protocol: u16| Opening::Hello {
        protocol,
        institution: hospital.clone(),
        key: key.public(),
        signature,
        adapter_version: "test".into(),
    };
    let by_another = |nonce: &str| claims(unknown.sign(&hello_bytes(nonce, hospital)), 1);
    assert_eq!(refused(&world, by_another).await, Code::SignatureWrong);
    assert_eq!(refused(&world, |_| claims("no Base64!".into(), 1)).await, Code::SignatureWrong);
    let newer = |nonce: &str| claims(key.sign(&hello_bytes(nonce, hospital)), 2);
    assert_eq!(refused(&world, newer).await, Code::Malformed);
    assert_eq!(refused(&world, |nonce| Opening::Challenge { nonce: nonce.into() }).await, Code::Malformed);

    let mut socket = dial(&world).await;
    assert!(text(&mut socket).await.is_some_and(|word| word.contains("challenge")));
    socket.send(Message::text("not a word")).await.expect("sent");
    let word = text(&mut socket).await.expect("a refusal");
    assert!(word.contains("MALFORMED"), "{word}");
    assert_eq!(text(&mut socket).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_institution_has_one_link_until_the_first_is_gone() {
    let world = World::start().await;
    let city = &world.cities[0];
    let mut first = Adapter::connect(&world, city).await;
    let problem = Adapter::try_connect(&world, city).await.map(|_| ()).expect_err("refused");
    assert_eq!(problem.code, Code::AlreadyConnected);
    assert!(problem.retry_after_s.is_some());
    assert_eq!(first.ask(bill("B1", WANG)).await, Reply::Done);
    first.socket.close(None).await.expect("closed");
    again(&world, city).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_institution_keeps_its_link_for_what_is_out_and_gets_no_new_bills() {
    let world = World::with(|_| {}, 1).await;
    let city = &world.cities[0];
    let mut adapter = Adapter::connect(&world, city).await;
    assert_eq!(adapter.ask(bill("B1", WANG)).await, Reply::Done);
    let mut row = world.ground.store.institution(city.id, &city.hospital).expect("readable").expect("there");
    row.suspended = true;
    world.ground.store.put_institution(&row).expect("written");
    let Reply::Refused(problem) = adapter.ask(bill("B2", WANG)).await else { panic!("no new bills") };
    assert_eq!(problem.code, Code::InstitutionUnknown);
    // Longer than it takes to look at the row again.
    for _ in 0..4 {
        adapter.socket.send(Message::Ping(Vec::new().into())).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let claim = ToPlatform::Claim(BillNamed { bill_no: "B1".into() });
    assert_eq!(adapter.ask(claim).await, Reply::Claimed(ClaimAnswer::Released));
    adapter.socket.close(None).await.expect("closed");
    again(&world, city).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_takes_the_link_from_the_one_it_replaced_at_once() {
    let world = World::start().await;
    let city = &world.cities[0];
    let mut old = Adapter::connect(&world, city).await;
    let new_key = SigningKey::from_seed([66; 32]);
    let mut row = world.ground.store.institution(city.id, &city.hospital).expect("readable").expect("there");
    row.key = Some(new_key.public());
    world.ground.store.put_institution(&row).expect("written");
    open(&world, |nonce| hello(nonce, &city.hospital, &new_key)).await.expect("let in while the old link stands");
    assert!(old.hear().await.is_none(), "the old link is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_id_stands_for_one_ask_and_its_first_answer() {
    let world = World::start().await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    assert_eq!(adapter.ask(bill("B1", WANG)).await, Reply::Done);
    assert_eq!(adapter.ask(bill("B2", WANG)).await, Reply::Done);
    let claim = |bill_no: &str| ToPlatform::Claim(BillNamed { bill_no: bill_no.into() });
    let id = adapter.fresh();
    let released = Reply::Claimed(ClaimAnswer::Released);
    assert_eq!(adapter.ask_as(id, claim("B1")).await, released);
    assert_eq!(adapter.ask_as(id, claim("B1")).await, released, "a repeat gets the first answer");
    let Reply::Refused(problem) = adapter.ask_as(id, claim("B2")).await else { panic!("another ask under one id") };
    assert_eq!(problem.code, Code::KeyReused);
    let city = &world.cities[0];
    let row = world.ground.store.bill_by_no(city.id, &city.hospital, "B2").expect("readable").expect("there");
    assert_eq!(row.bill.facts.state.as_str(), "open", "nothing was done to the other bill");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_id_stands_for_one_bill_too() {
    let world = World::start().await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let id = adapter.fresh();
    assert_eq!(adapter.ask_as(id, bill("B1", WANG)).await, Reply::Done);
    assert_eq!(adapter.ask_as(id, bill("B1", WANG)).await, Reply::Done);
    let Reply::Refused(problem) = adapter.ask_as(id, bill("B2", WANG)).await else {
        panic!("another bill under one id")
    };
    assert_eq!(problem.code, Code::KeyReused);
    let claim = ToPlatform::Claim(BillNamed { bill_no: "B1".into() });
    let Reply::Refused(problem) = adapter.ask_as(id, claim).await else { panic!("another ask under one id") };
    assert_eq!(problem.code, Code::KeyReused);
    let city = &world.cities[0];
    assert!(world.ground.store.bill_by_no(city.id, &city.hospital, "B2").expect("readable").is_none());
}

pub async fn again(world: &World, city: &crate::world::City) -> Adapter {
    for _ in 0..400 {
        if let Ok(adapter) = Adapter::try_connect(world, city).await {
            return adapter;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the dead link stays in the way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_link_makes_room_and_a_pinging_one_stays() {
    let world = World::with(|_| {}, 1).await;
    let mut silent = Adapter::connect(&world, &world.cities[0]).await;
    assert_eq!(silent.heartbeat_s, 1);
    let mut alive = Adapter::connect(&world, &world.cities[1]).await;
    let closed = async { while silent.hear().await.is_some() {} };
    let pinging = async {
        loop {
            alive.socket.send(Message::Ping(Vec::new().into())).await.expect("sent");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        () = closed => {}
        () = pinging => {}
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("the silent link was never dropped"),
    }
    assert_eq!(alive.ask(bill("B1", WANG)).await, Reply::Done);
    again(&world, &world.cities[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_the_adapter_did_not_sign_ends_the_link_and_does_nothing() {
    let world = World::start().await;
    let city = &world.cities[0];
    let ask = Body::ToPlatform { ask: bill("B1", WANG) };
    let strange = SigningKey::from_seed([55; 32]);
    type Spoil = fn(&mut Frame);
    let cases: [(&str, &SigningKey, Spoil); 3] = [
        ("another key", &strange, |_| {}),
        ("another payload", &city.hospital_key, |frame| frame.payload.0 = frame.payload.0.replace("B1", "B2")),
        ("another id", &city.hospital_key, |frame| frame.re = Some(frame.id)),
    ];
    for (case, key, spoil) in cases {
        let mut adapter = again(&world, city).await;
        let id = adapter.fresh();
        let mut frame = Frame::signed(key, id, None, None, &ask).expect("signs");
        spoil(&mut frame);
        say(&mut adapter.socket, &frame).await;
        let (answer, body) = adapter.hear().await.expect("a refusal");
        assert_eq!(answer.re, Some(frame.id), "{case}");
        let Body::Reply { reply: Reply::Refused(problem) } = body else { panic!("{case}: not refused") };
        assert_eq!(problem.code, Code::SignatureWrong);
        assert!(adapter.hear().await.is_none(), "{case}: still open");
    }
    for nonsense in ["", "{}", "[1,2]"] {
        let mut adapter = again(&world, city).await;
        adapter.socket.send(Message::text(nonsense)).await.expect("sent");
        assert!(adapter.hear().await.is_none());
    }
    let bill_no = |no: &str| world.ground.store.bill_by_no(city.id, &city.hospital, no).expect("readable");
    assert!(bill_no("B1").is_none() && bill_no("B2").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_is_answered_with_all_that_is_wrong_and_a_repeated_one_alike() {
    let world = World::start().await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let id = adapter.fresh();
    assert_eq!(adapter.ask_as(id, bill("B1", WANG)).await, Reply::Done);
    assert_eq!(adapter.ask_as(id, bill("B1", WANG)).await, Reply::Done);
    let Reply::Refused(problem) = adapter.ask(bill("B1", ("1", "李"))).await else { panic!("refused") };
    assert_eq!(problem.code, Code::BillChanged);

    let mut wrong = draft("", WANG);
    wrong["amount_fen"] = 1.into();
    let wrong = ToPlatform::Bill(serde_json::from_value(wrong).expect("a draft"));
    let Reply::Refused(problem) = adapter.ask(wrong).await else { panic!("refused") };
    let places: Vec<&str> = problem.faults.iter().map(|fault| fault.at.as_str()).collect();
    assert_eq!((problem.code, places), (Code::Invalid, vec!["bill_no", "amount_fen"]));

    let mut shapeless = draft("B2", WANG);
    shapeless["amount_fen"] = "many".into();
    shapeless["lines"][0]["cnt"] = true.into();
    shapeless["patient"]["shoe_size"] = 43.into();
    shapeless["ask"] = "bill".into();
    let payload = serde_json::json!({ "body": "to_platform", "ask": shapeless }).to_string();
    let id = adapter.fresh();
    let mut frame =
        Frame { id, re: None, trace_id: None, payload: Payload(payload), alg: Algorithm::Ed25519, sig: String::new() };
    frame.sig = adapter.key.sign(&frame.signed_bytes());
    say(&mut adapter.socket, &frame).await;
    let (_, body) = adapter.hear().await.expect("an answer");
    let Body::Reply { reply: Reply::Refused(problem) } = body else { panic!("refused") };
    let mut places: Vec<&str> = problem.faults.iter().map(|fault| fault.at.as_str()).collect();
    places.sort_unstable();
    assert_eq!((problem.code, places), (Code::Malformed, vec!["amount_fen", "lines[0].cnt", "patient.shoe_size"]));

    let claim = |bill_no: &str| ToPlatform::Claim(BillNamed { bill_no: bill_no.into() });
    let Reply::Refused(problem) = adapter.ask(claim("B9")).await else { panic!("refused") };
    assert_eq!(problem.code, Code::BillUnknown);
    assert!(matches!(adapter.ask(claim("B1")).await, Reply::Claimed(schema::his::ClaimAnswer::Released)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_the_wrong_way_round_is_refused_and_the_link_stays() {
    let world = World::start().await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let claim = || ToPlatform::Claim(BillNamed { bill_no: "B1".into() });
    assert_eq!(adapter.ask(bill("B1", WANG)).await, Reply::Done);
    let query = QueryPayment { order_id: OrderId::from_uuid(uuid::Uuid::from_u128(1)), bill_no: "B1".into() };
    let wrong = [
        ("an ask for an institution", Body::ToInstitution { ask: ToInstitution::QueryPayment(query) }),
        ("a reply that names no question", Body::Reply { reply: Reply::Done }),
    ];
    for (case, body) in wrong {
        let id = adapter.fresh();
        adapter.send(id, None, &body).await;
        let (answer, body) = adapter.hear().await.expect("the link lives");
        assert_eq!(answer.re, Some(id), "{case}");
        let Body::Reply { reply: Reply::Refused(problem) } = body else { panic!("{case}: not refused") };
        assert_eq!(problem.code, Code::Malformed, "{case}");
        assert_eq!(adapter.ask(claim()).await, Reply::Claimed(ClaimAnswer::Released), "{case}: the link stays");
    }
    // A reply to what nobody asked is let go.
    let (id, nobody) = (adapter.fresh(), adapter.fresh());
    adapter.send(id, Some(nobody), &Body::Reply { reply: Reply::Done }).await;
    assert_eq!(adapter.ask(claim()).await, Reply::Claimed(ClaimAnswer::Released));
}

/// No frame at all, so there is nothing in it to answer to: the close says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binary_message_ends_the_link_with_its_reason() {
    let world = World::start().await;
    let city = &world.cities[0];
    let mut adapter = Adapter::connect(&world, city).await;
    let id = adapter.fresh();
    let frame = Frame::signed(&adapter.key, id, None, None, &Body::ToPlatform { ask: bill("B1", WANG) });
    let bytes = serde_json::to_vec(&frame.expect("signs")).expect("serialises");
    adapter.socket.send(Message::binary(bytes)).await.expect("sent");
    let close = loop {
        match adapter.socket.next().await {
            Some(Ok(Message::Close(close))) => break close.expect("a reason"),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("no close: {other:?}"),
        }
    };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1008, Code::Malformed.as_str()));
    assert!(world.ground.store.bill_by_no(city.id, &city.hospital, "B1").expect("readable").is_none());
    again(&world, city).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_beyond_the_limit_ends_the_link() {
    let world = World::start().await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let _ = adapter.socket.send(Message::text("x".repeat(MOST_FRAME_BYTES + 1))).await;
    assert!(adapter.hear().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_reads_nothing_delays_nobody_else() {
    let world = World::start().await;
    let mut deaf = Adapter::connect(&world, &world.cities[0]).await;
    // Far more asks than may wait, and not one answer is read.
    let flood = async {
        for number in 0..2_000 {
            let id = deaf.fresh();
            let body = Body::ToPlatform { ask: bill(&format!("B{number}"), WANG) };
            let frame = Frame::signed(&deaf.key, id, None, None, &body).expect("signs");
            let text = serde_json::to_string(&frame).expect("serialises");
            if tokio::time::timeout(Duration::from_millis(500), deaf.socket.send(Message::text(text))).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let neighbour = async {
        let mut adapter = Adapter::connect(&world, &world.cities[1]).await;
        for number in 0..50 {
            assert_eq!(adapter.ask(bill(&format!("N{number}"), WANG)).await, Reply::Done);
        }
        let person = world.sign_in(1, "13800000009").await;
        person.get("/mobile/v1/bills").await.done(200);
    };
    tokio::select! {
        () = flood => {}
        () = neighbour => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("the neighbour waits"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_key_ends_its_link() {
    let world = World::with(|_| {}, 1).await;
    let city = &world.cities[0];
    let mut adapter = Adapter::connect(&world, city).await;
    let hospital: InstitutionCode = city.hospital.clone();
    let mut row = world.ground.store.institution(city.id, &hospital).expect("readable").expect("there");
    row.key = Some(SigningKey::from_seed([66; 32]).public());
    world.ground.store.put_institution(&row).expect("written");
    let ping = || Message::Ping(Vec::new().into());
    for _ in 0..100 {
        if adapter.socket.send(ping()).await.is_err() {
            break;
        }
        if tokio::time::timeout(Duration::from_millis(200), adapter.hear()).await.is_ok_and(|heard| heard.is_none()) {
            break;
        }
    }
    let problem = Adapter::try_connect(&world, city).await.map(|_| ()).expect_err("refused");
    assert_eq!(problem.code, Code::KeyUnknown);
}
