//! Insured orders up to their price: a proved binding, a bill, and what a sound hospital answers.

use std::sync::atomic::Ordering;

use schema::bill::{LineFlags, LineResult};
use schema::link::{PreSettle, PriceAnswer, Reply, SettleInputs, ToInstitution};
use schema::money::{Fen, Ratio4};
use schema::split::Split;
use serde_json::{Value, json};

use crate::adapter::Adapter;
use crate::outsiders::SEALED;
use crate::payment::{AMOUNT, bill, notify, paid};
use crate::world::{Person, WANG, World};

pub const FUND: i64 = 1000;

/// The price of a bill of [`crate::payment::draft`], with nothing in it that was not asked for.
pub fn sound(ask: &PreSettle) -> PriceAnswer {
    let whole = Fen::new(AMOUNT);
    PriceAnswer {
        split: Split { fund_fen: Fen::new(FUND), cash_fen: Fen::new(AMOUNT - FUND), ..Split::default() },
        valid_until_us: 4_000_000_000_000_000,
        insurance: ask.insured_person.clone().map(|person| SettleInputs {
            person,
            med_type: "11".into(),
            psn_setlway: "01".into(),
            use_account: ask.use_account,
            mdtrt_id: "M1".into(),
            chrg_bchno: "C1".into(),
            invono: "I1".into(),
            medfee_sumamt_fen: whole,
            fulamt_ownpay_fen: Fen::ZERO,
            overlmt_selfpay_fen: Fen::ZERO,
            preselfpay_fen: Fen::ZERO,
            inscp_scp_fen: whole,
        }),
        lines: vec![LineResult {
            feedetl_sn: "1".into(),
            amount_fen: whole,
            pric_uplmt_amt: None,
            selfpay_prop: Ratio4::ZERO,
            fulamt_ownpay_fen: Fen::ZERO,
            overlmt_fen: Fen::ZERO,
            preselfpay_fen: Fen::ZERO,
            inscp_scp_fen: whole,
            chrgitm_lv: "1".into(),
            flags: LineFlags::default(),
        }],
    }
}

/// The first card of `WANG`.
pub fn card() -> String {
    format!("C{}", WANG.0)
}

pub fn proof(card_no: &str) -> Value {
    json!({ "card_no": card_no, "sealed_password": SEALED })
}

/// `WANG` bound at level 2 to this phone of the first city: the login and the binding's id.
pub async fn proved<'w>(world: &'w World, phone: &str) -> (Person<'w>, String) {
    let person = world.sign_in(0, phone).await;
    let id = person.bind(WANG).await;
    person.change("POST", &format!("/mobile/v1/bindings/{id}/level2"), proof(&card())).await.done(202);
    (person, id)
}

/// A bill of `WANG` and an insured order for it, whose price is being asked for: bill and order.
pub async fn opened(adapter: &mut Adapter, person: &Person<'_>, bill_no: &str) -> (Value, String) {
    assert_eq!(adapter.ask(bill(bill_no, WANG)).await, Reply::Done);
    let bills = person.get("/mobile/v1/bills").await.done(200);
    let found = bills.as_array().expect("bills").iter().find(|bill| bill["bill_no"] == bill_no);
    let bill_id = found.expect("the bill")["id"].clone();
    let ask = json!({ "bill_id": bill_id, "mode": "insured", "use_account": false });
    let order = person.change("POST", "/mobile/v1/orders", ask).await.done(202);
    (bill_id, order["id"].as_str().expect("an id").to_owned())
}

/// An insured order of `WANG` that stands in Priced.
pub async fn priced(adapter: &mut Adapter, person: &Person<'_>, bill_no: &str) -> String {
    let (_, order) = opened(adapter, person, bill_no).await;
    assert!(matches!(adapter.work().await, ToInstitution::PreSettle(_)));
    person.until(&order, "priced").await;
    order
}

/// An insured order of `WANG` that the bureau has settled, and whose cash the wallet waits for. `phone` is the person's.
pub async fn settled(world: &World, adapter: &mut Adapter, person: &Person<'_>, phone: &str, bill_no: &str) -> String {
    let city = &world.cities[0];
    city.bureau.settles.store(true, Ordering::Relaxed);
    let order = priced(adapter, person, bill_no).await;
    let path = format!("/mobile/v1/orders/{order}");
    person.change("POST", &format!("{path}/code"), json!({})).await.done(202);
    let tap = json!({ "phone": phone, "code": city.inbox.code(phone), "card_no": card() });
    person.change("POST", &format!("{path}/pay"), tap).await.done(202);
    person.until(&order, "collecting").await;
    order
}

/// The same, whose cash has come in too: the hospital has not been told yet.
pub async fn cash_in(world: &World, adapter: &mut Adapter, person: &Person<'_>, phone: &str, bill_no: &str) -> String {
    let order = settled(world, adapter, person, phone, bill_no).await;
    // A notice that comes before our own order number is known is a stranger's.
    for _ in 0..400 {
        let view = person.get(&format!("/mobile/v1/orders/{order}")).await.done(200);
        if view["wallet"].is_object() {
            notify(world, &world.cities[0], &paid(&order, AMOUNT - FUND)).await.done(204);
            return order;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the wallet was never opened");
}
