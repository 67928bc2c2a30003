//! One trace id from the phone to the HIS and back, and a log that says what happened without saying to whom.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use schema::his::RefundAsk;
use schema::ids::MessageId;
use schema::link::{BillNamed, Body, Frame, Reply, ToInstitution, ToPlatform};
use schema::money::Fen;
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use crate::adapter::Adapter;
use crate::outsiders::SEALED;
use crate::payment::{bill, notify, paid};
use crate::world::{LI, MEI, Person, WANG, World, hear};

/// Everything this program has logged, and what of it names somebody.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    /// Codes that were sent: whoever reads one in a log could pay with it.
    codes: BTreeSet<String>,
    indiscreet: Vec<String>,
}

static LOG: Mutex<Log> = Mutex::new(Log { lines: Vec::new(), codes: BTreeSet::new(), indiscreet: Vec::new() });

fn log() -> MutexGuard<'static, Log> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer;

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut log = log();
        for line in String::from_utf8_lossy(bytes).lines() {
            if names_somebody(line, &log.codes) {
                log.indiscreet.push(line.to_owned());
            }
            log.lines.push(line.to_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps what is logged from now on, as production writes it but with everything the platform could say.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_env_filter(EnvFilter::new("info,platform=trace"))
            .with_writer(|| Writer)
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
    });
}

/// A code that no line may show.
pub fn sent(code: &str) {
    log().codes.insert(code.to_owned());
}

/// Nothing logged so far names a person.
pub fn assert_discreet() {
    let log = log();
    assert!(log.indiscreet.is_empty(), "the log names somebody:\n{}", log.indiscreet.join("\n"));
}

/// What every card's password begins with, right or wrong, as a phone seals it: see [`SEALED`].
const PASSWORD: &str = "sealed0password0";

/// A known name, document, card or 人员编号 (these two hold the document), a card's password, a phone, or a code.
fn names_somebody(line: &str, codes: &BTreeSet<String>) -> bool {
    let known = [WANG, LI, MEI].iter().any(|(certno, name)| line.contains(certno) || line.contains(name));
    let known = known || line.contains(PASSWORD);
    known
        || line.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|word| {
            let phone = word.len() == 11 && word.starts_with("138") && word.bytes().all(|byte| byte.is_ascii_digit());
            phone || codes.contains(word)
        })
}

/// The log's lines that go by this trace, as production writes them.
fn lines_of(trace_id: &str) -> Vec<Value> {
    let log = log();
    let own = log.lines.iter().filter(|line| line.contains(trace_id));
    own.map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
}

const PHONES: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const ANOTHER: &str = "0af7651916cd43dd8448eb211c80319c";

/// The adapter's next work, answered as its HIS would: under the trace it came with.
async fn works(adapter: &mut Adapter) -> (Option<String>, ToInstitution) {
    let (frame, ask) = next(adapter).await;
    adapter.perform_under(frame.trace_id.clone(), frame.id, &ask).await;
    (frame.trace_id, ask)
}

async fn next(adapter: &mut Adapter) -> (Frame, ToInstitution) {
    let (frame, body) = adapter.hear().await.expect("the link lives");
    let Body::ToInstitution { ask } = body else { panic!("no work: {body:?}") };
    (frame, ask)
}

async fn opens(person: &Person<'_>, bill_no: &str, trace_id: &str) -> String {
    let bills = person.get("/mobile/v1/bills").await.done(200);
    let found = bills.as_array().expect("bills").iter().find(|bill| bill["bill_no"] == bill_no);
    let ask = json!({ "bill_id": found.expect("the bill")["id"], "mode": "cash_only", "use_account": false });
    let request = person
        .request("POST", "/mobile/v1/orders")
        .header("idempotency-key", format!("open {bill_no}").replace(' ', "-"));
    let order = hear(request.header("x-trace-id", trace_id).body(ask.to_string())).await.done(202);
    order["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trace_a_phone_opens_an_order_with_reaches_the_his_whoever_moves_the_order_on() {
    let world = World::start().await;
    let city = &world.cities[0];
    let person = world.sign_in(0, "13800000001").await;
    person.bind(WANG).await;
    let mut adapter = Adapter::connect(&world, city).await;
    assert_eq!(adapter.ask(bill("T1", WANG)).await, Reply::Done);
    let order = opens(&person, "T1", PHONES).await;
    let (trace_id, ask) = works(&mut adapter).await;
    assert!(matches!(ask, ToInstitution::PreSettle(_)));
    assert_eq!(trace_id.as_deref(), Some(PHONES));
    person.until(&order, "priced").await;

    // Every request after the first has a trace of its own, and so has the wallet's notice.
    person.change("POST", &format!("/mobile/v1/orders/{order}/pay"), json!({})).await.done(202);
    person.until(&order, "collecting").await;
    let told = notify(&world, city, &paid(&order, 2500)).await;
    told.done(204);
    assert_ne!(told.header("x-trace-id"), PHONES);
    let (trace_id, ask) = works(&mut adapter).await;
    assert!(matches!(ask, ToInstitution::Settled(_)));
    assert_eq!(trace_id.as_deref(), Some(PHONES));
    person.until(&order, "completed").await;

    // The hospital asks for money back under a trace of its own: its reply has that one, the refund the order's.
    let refund = RefundAsk {
        refund_no: "R1".into(),
        bill_no: "T1".into(),
        amount_fen: Some(Fen::new(1000)),
        replaced_by: None,
        reason: "检查取消".into(),
    };
    let asked = Body::ToPlatform { ask: ToPlatform::Refund(refund) };
    let id = adapter.fresh();
    adapter.send_under(Some(ANOTHER.to_owned()), id, None, &asked).await;
    let (reply, _) = adapter.hear().await.expect("a reply");
    assert_eq!((reply.re, reply.trace_id.as_deref()), (Some(id), Some(ANOTHER)));
    let refunds = || lines_of(PHONES).iter().any(|line| line["fields"]["call"] == "refund");
    for _ in 0..400 {
        if refunds() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }

    // One line per call, in the order they were made, each with its action, its order and how it ended.
    let lines = lines_of(PHONES);
    let calls: Vec<(&str, &str, &str)> = lines
        .iter()
        .filter(|line| line["fields"]["message"] == "called")
        .map(|line| {
            assert_eq!((&line["level"], &line["span"]["order"]), (&json!("INFO"), &json!(order)), "{line}");
            assert_eq!((&line["span"]["trace_id"], &line["span"]["name"]), (&json!(PHONES), &json!("action")));
            assert!(line["fields"]["duration_ms"].is_u64() && line["span"]["action"].is_string(), "{line}");
            let field = |name: &str| line["fields"][name].as_str().expect("a word");
            (field("party"), field("call"), field("result"))
        })
        .filter(|(party, ..)| *party != "sms")
        .collect();
    assert_eq!(
        calls[..4],
        [
            ("institution", "pre_settle", "done"),
            ("wallet", "prepay", "done"),
            ("institution", "settled", "done"),
            ("wallet", "refund", "done"),
        ]
    );
    let opened =
        lines.iter().any(|line| line["span"]["route"] == "/mobile/v1/orders" && line["fields"]["status"] == 202);
    assert!(opened, "the phone's own request goes by the same trace");
    let story = world.ground.store.story(order.parse().expect("an id")).expect("readable").expect("a story");
    assert_eq!(story.trace_id.as_deref(), Some(PHONES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deadline_sets_going_goes_by_the_trace_of_the_opening() {
    const OPENED: &str = "00000000000000000000000000000dea";
    let world = World::with(|settings| settings.deadlines.price_ms = 300, 10).await;
    let person = world.sign_in(0, "13800000001").await;
    person.bind(WANG).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    assert_eq!(adapter.ask(bill("D1", WANG)).await, Reply::Done);
    let order = opens(&person, "D1", OPENED).await;
    let (priced, ask) = next(&mut adapter).await;
    assert!(matches!(ask, ToInstitution::PreSettle(_)));
    // The HIS stays silent until the order has closed by itself.
    let (released, ask) = next(&mut adapter).await;
    assert!(matches!(ask, ToInstitution::Release(_)), "{ask:?}");
    assert_eq!((priced.trace_id.as_deref(), released.trace_id.as_deref()), (Some(OPENED), Some(OPENED)));
    person.until(&order, "closed").await;
}

/// What a HIS should not do: everything personal in words and places where the platform does not expect it.
fn indiscreet_asks(id: MessageId) -> Vec<Body> {
    let mut mistyped = crate::payment::draft("P9", WANG);
    mistyped["bill_no"] = format!("P9 {} {}", WANG.1, "x".repeat(60)).into();
    mistyped["patient"]["psn_name"] = format!("{}{}", WANG.1, "x".repeat(60)).into();
    let refund = RefundAsk {
        refund_no: format!("R{id}"),
        bill_no: "P1".into(),
        amount_fen: Some(Fen::new(1)),
        replaced_by: None,
        reason: format!("{} {} 退费", WANG.1, WANG.0),
    };
    vec![
        Body::ToPlatform { ask: ToPlatform::Bill(serde_json::from_value(mistyped).expect("a draft")) },
        Body::ToPlatform { ask: ToPlatform::Refund(refund) },
        Body::ToPlatform { ask: ToPlatform::Claim(BillNamed { bill_no: "P7".into() }) },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_of_the_log_names_a_person_a_phone_a_card_or_a_code() {
    let dir = tempfile::tempdir().expect("a folder");
    let world = World::in_file(&dir.path().join("tongfu.db"), |_| {}).await;
    let city = &world.cities[0];
    let person = world.sign_in(0, "13800000001").await;
    let mut adapter = Adapter::connect(&world, city).await;

    // Every way to say something personal: rightly, wrongly, misshapen, and to an outsider who refuses.
    let (certno, name) = WANG;
    let bind = |name: &str, extra: Value| {
        let mut ask = json!({ "psn_name": name, "psn_cert_type": "01", "certno": certno });
        ask.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        ask
    };
    person.change("POST", "/mobile/v1/bindings", bind(LI.1, json!({}))).await.refused(422, "BINDING_MISMATCH");
    person
        .change("POST", "/mobile/v1/bindings", bind(name, json!({ "card": "13800000009" })))
        .await
        .refused(400, "MALFORMED");
    let shapeless = json!({ "psn_name": { "is": name }, "psn_cert_type": certno, "certno": [certno] });
    person.change("POST", "/mobile/v1/bindings", shapeless).await.refused(400, "MALFORMED");
    let binding = person.bind(WANG).await;
    let level2 = format!("/mobile/v1/bindings/{binding}/level2");
    let proof = |password: &str| json!({ "card_no": format!("C{certno}"), "sealed_password": password });
    person.change("POST", &level2, proof(&format!("{PASSWORD}wrong"))).await.refused(422, "CARD_PASSWORD_WRONG");
    let misplaced = json!({ "card_no": [SEALED], "sealed_password": { "is": SEALED } });
    person.change("POST", &level2, misplaced).await.refused(400, "MALFORMED");
    person.change("POST", &level2, proof(SEALED)).await.done(202);
    let at_the_window = |password: &str| {
        let card = json!({
            "visit_card_no": "V1", "psn_name": name, "psn_cert_type": "01", "certno": certno,
            "card_no": format!("C{certno}"), "sealed_password": password,
        });
        ToPlatform::BindVisitCard(serde_json::from_value(card).expect("a card"))
    };
    assert!(matches!(adapter.ask(at_the_window(&format!("{PASSWORD}wrong"))).await, Reply::Refused(_)));
    assert_eq!(adapter.ask(at_the_window(SEALED)).await, Reply::Done);

    assert_eq!(adapter.ask(bill("P1", WANG)).await, Reply::Done);
    for number in 0..3 {
        let id = adapter.fresh();
        let ask = indiscreet_asks(id).swap_remove(number);
        adapter.send(id, None, &ask).await;
        let (_, body) = adapter.hear().await.expect("an answer");
        assert!(matches!(body, Body::Reply { reply: Reply::Refused(_) }), "{body:?}");
    }
    let order = opens(&person, "P1", "000000000000000000000000000000a5").await;
    works(&mut adapter).await;
    person.until(&order, "priced").await;
    let wrong = json!({ "phone": "13800000007", "code": "135790", "card_no": format!("C{certno}") });
    sent("135790");
    person.change("POST", &format!("/mobile/v1/orders/{order}/code"), json!({})).await;
    person.change("POST", &format!("/mobile/v1/orders/{order}/pay"), wrong).await.done(202);
    person.until(&order, "collecting").await;
    notify(&world, city, &json!({ "event": "paid", "out_trade_no": certno, "transaction_id": name, "amount": 1 }))
        .await
        .refused(404, "ORDER_UNKNOWN");
    notify(&world, city, &paid(&order, 2500)).await.done(204);
    works(&mut adapter).await;
    person.until(&order, "completed").await;
    let notice =
        json!({ "notice_id": "N1", "kind": name, "psn_no": certno, "bind_no": format!("B{certno}"), "at": name });
    let mut request = world.request("POST", &format!("/bureau/v1/notices/{}", city.id));
    for (header, value) in city.bureau.sign(&notice.to_string(), world.ground.clock.now_us()) {
        request = request.header(header, value);
    }
    hear(request.body(notice.to_string())).await.done(204);

    // The card's password is kept nowhere either; what is kept in the open is found by the same look.
    let kept = |what: &str| {
        std::fs::read_dir(dir.path()).expect("a folder").any(|file| {
            let bytes = std::fs::read(file.expect("a file").path()).expect("readable");
            bytes.windows(what.len()).any(|window| window == what.as_bytes())
        })
    };
    assert!(kept(city.hospital.as_str()), "the look finds what is there");
    // The document itself is not among them: the bureau of these tests numbers bindings by it.
    for hidden in [PASSWORD, name, "13800000001"] {
        assert!(!kept(hidden), "{hidden} is readable in the database");
    }

    assert!(log().lines.len() > 20, "the platform was heard");
    assert_discreet();
    // The same eyes do see somebody where somebody is named.
    let codes = BTreeSet::from(["246813".to_owned()]);
    for line in ["王小明", "441900199001011234", "PC441900199001011234", "openid-13800000001", "code=246813,", SEALED]
    {
        assert!(names_somebody(line, &codes), "{line}");
    }
    assert!(!names_somebody(r#"{"trace_id":"0000000000000000000000000246813a"}"#, &codes));
}
