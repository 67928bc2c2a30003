//! What a hospital answers to a price is spent under the payer's code: nothing in it may be other than was asked for.

use std::cell::RefCell;
use std::rc::Rc;

use schema::bill::LineResult;
use schema::ids::OrderId;
use schema::link::{PriceAnswer, Reply, ToInstitution};
use schema::money::Fen;
use schema::personal::{MdtrtCertNo, Personal as _, PsnNo};

use crate::adapter::Adapter;
use crate::insured::{FUND, opened, proved};
use crate::payment::AMOUNT;
use crate::world::{WANG, World};

type Change = fn(&mut PriceAnswer);

fn inputs(price: &mut PriceAnswer) -> &mut schema::link::SettleInputs {
    price.insurance.as_mut().expect("an insured price")
}

/// Moves the fund's share to an account, which the payer did not allow.
fn to_account(price: &mut PriceAnswer) -> Fen {
    price.split.fund_fen = Fen::ZERO;
    Fen::new(FUND)
}

fn line(price: &PriceAnswer) -> LineResult {
    price.lines[0].clone()
}

/// One answer that is not what was asked for, and every fault it must be told by.
const UNSOUND: &[(Change, &[&str])] = &[
    (|price| inputs(price).person.psn_no = PsnNo::new("P2"), &["insurance.person.psn_no"]),
    (|price| inputs(price).person.insutype = "390".into(), &["insurance.person.insutype"]),
    (|price| inputs(price).person.insuplc_admdvs = "440300".into(), &["insurance.person.insuplc_admdvs"]),
    (|price| inputs(price).person.mdtrt_cert_type = "03".into(), &["insurance.person.mdtrt_cert_type"]),
    (|price| inputs(price).person.mdtrt_cert_no = MdtrtCertNo::new("1"), &["insurance.person.mdtrt_cert_no"]),
    (|price| inputs(price).use_account = true, &["insurance.use_account"]),
    (|price| price.split.account_own_fen = to_account(price), &["split.account_own_fen"]),
    (|price| price.split.account_mulaid_fen = to_account(price), &["split.account_mulaid_fen"]),
    (|price| price.split.cash_fen = Fen::ZERO, &["split"]),
    (|price| inputs(price).med_type = "14".into(), &["insurance.med_type"]),
    (|price| inputs(price).medfee_sumamt_fen = Fen::new(AMOUNT + 1), &["insurance.medfee_sumamt_fen"]),
    (|price| inputs(price).fulamt_ownpay_fen = Fen::new(1), &["insurance.fulamt_ownpay_fen"]),
    (|price| inputs(price).overlmt_selfpay_fen = Fen::new(1), &["insurance.overlmt_selfpay_fen"]),
    (|price| inputs(price).preselfpay_fen = Fen::new(1), &["insurance.preselfpay_fen"]),
    (|price| inputs(price).inscp_scp_fen = Fen::new(1), &["insurance.inscp_scp_fen"]),
    (|price| price.insurance = None, &["insurance: missing"]),
    (|price| price.lines[0].amount_fen = Fen::new(AMOUNT - 1), &["lines[0].amount_fen"]),
    (|price| price.lines[0].feedetl_sn = "2".into(), &["lines[0].feedetl_sn: not on the bill", "lines: 1 missing"]),
    (
        |price| {
            let again = LineResult { inscp_scp_fen: Fen::ZERO, ..line(price) };
            price.lines.push(again);
        },
        &["lines[1].feedetl_sn: repeated"],
    ),
    (|price| price.lines[0].flags.lmt_used_flag = Some("1234567".into()), &["lines[0].flags.lmt_used_flag"]),
    (|price| price.lines.clear(), &["insurance.inscp_scp_fen", "lines: 1 missing"]),
    (
        |price| {
            inputs(price).person.psn_no = PsnNo::new("P2");
            inputs(price).use_account = true;
            price.lines[0].amount_fen = Fen::ZERO;
        },
        &["insurance.person.psn_no", "insurance.use_account", "lines[0].amount_fen"],
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_that_would_spend_other_than_was_asked_ends_the_order_and_names_every_fault() {
    let world = World::start().await;
    let (person, _) = proved(&world, "13800000001").await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let change: Rc<RefCell<Change>> = Rc::new(RefCell::new(|_| {}));
    let changed = Rc::clone(&change);
    adapter.instead = Some(Box::new(move |ask| match ask {
        ToInstitution::PreSettle(ask) if ask.insured => {
            let mut price = crate::insured::sound(ask);
            (changed.borrow())(&mut price);
            Some(Reply::Priced(Box::new(price)))
        }
        _ => None,
    }));
    for (number, (unsound, faults)) in UNSOUND.iter().enumerate() {
        *change.borrow_mut() = *unsound;
        let (_, order) = opened(&mut adapter, &person, &format!("B{number}")).await;
        assert!(matches!(adapter.work().await, ToInstitution::PreSettle(_)));
        let view = person.until(&order, "closed").await;
        assert_eq!(view["reason"], "price_unsound", "{faults:?}");
        assert!(matches!(adapter.work().await, ToInstitution::Release(_)), "what was left at the bureau is given up");
        let id: OrderId = order.parse().expect("an id");
        let story = world.ground.store.story(id).expect("readable").expect("a story");
        let came = story.history.iter().find(|row| row.event == "price_came").expect("the price");
        assert_eq!(came.doc["faults"], serde_json::json!(faults));
        let told = serde_json::to_string(&came.doc).expect("JSON");
        assert!(!told.contains(WANG.0) && !told.contains("\"P2\""), "nobody is named: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_that_is_what_was_asked_for_is_shown() {
    let world = World::start().await;
    let (person, _) = proved(&world, "13800000001").await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let order = crate::insured::priced(&mut adapter, &person, "B1").await;
    let view = person.get(&format!("/mobile/v1/orders/{order}")).await.done(200);
    assert_eq!((&view["split"]["fund_fen"], &view["lines"][0]["feedetl_sn"]), (&FUND.into(), &"1".into()));
}
