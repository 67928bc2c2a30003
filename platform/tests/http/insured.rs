//! Insured orders up to their price: a proved binding, a bill, and what a sound hospital answers.

use schema::bill::LineResult;
use schema::link::{PreSettle, PriceAnswer, Reply, SettleInputs, ToInstitution};
use schema::money::{Fen, Ratio4};
use schema::split::Split;
use serde_json::{Value, json};

use crate::adapter::Adapter;
use crate::payment::{AMOUNT, bill};
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
        }],
    }
}

/// The first card of `WANG`.
pub fn card() -> String {
    format!("C{}", WANG.0)
}

pub fn proof(card_no: &str) -> Value {
    json!({ "card_no": card_no, "sealed_password": "right" })
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
