//! The wallet's core: orders, refunds and purses, with the clock in the test's hand.

use chrono::{DateTime, Duration, FixedOffset};
use sandbox::wallet::core::{Core, Settings};
use sandbox::wallet::order::{Amount, Lateness, PayRequest, Payer, PrepayRequest};
use sandbox::wallet::refund::{RefundAmount, RefundRequest, RefundStatus};
use sandbox::wallet::refusal::Refusal;
use schema::money::Fen;
use serde_json::{Value, json};

fn noon() -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339("2025-03-01T12:00:00+08:00").expect("a time")
}

fn wallet() -> Core {
    Core::new(Settings { sp_mchid: "1900007291".into(), sp_appid: "wx1".into(), refund_delay_ms: 500 })
}

fn order(number: &str, total: i64) -> PrepayRequest {
    PrepayRequest {
        sp_appid: "wx1".into(),
        sp_mchid: "1900007291".into(),
        sub_appid: None,
        sub_mchid: "1900000109".into(),
        description: "门诊缴费".into(),
        out_trade_no: number.into(),
        time_expire: Some(noon() + Duration::minutes(15)),
        notify_url: "https://city.example/notify".into(),
        amount: Amount { total: Fen::new(total), currency: "CNY".into() },
        payer: Payer { sp_openid: Some("o-zhang".into()), sub_openid: None },
        attach: Some("bill-1".into()),
    }
}

fn tap(prepay_id: &str) -> PayRequest {
    PayRequest { prepay_id: prepay_id.into(), openid: "o-zhang".into(), at_most_fen: None }
}

fn refund(number: &str, order: &str, refund: i64, total: i64) -> RefundRequest {
    RefundRequest {
        sub_mchid: "1900000109".into(),
        transaction_id: None,
        out_trade_no: Some(order.into()),
        out_refund_no: number.into(),
        reason: None,
        notify_url: Some("https://city.example/refunded".into()),
        amount: RefundAmount { refund: Fen::new(refund), total: Fen::new(total), currency: "CNY".into() },
    }
}

/// A wallet with one order of `total` fen paid at noon.
fn paid(number: &str, total: i64) -> Core {
    let mut core = wallet();
    pay_another(&mut core, number, total);
    core
}

fn pay_another(core: &mut Core, number: &str, total: i64) {
    let prepay_id = core.prepay(&order(number, total), noon()).expect("placed");
    core.pay(&tap(&prepay_id), Lateness::Refused, noon()).expect("paid");
}

fn state(core: &Core, number: &str) -> Value {
    core.query("1900007291", "1900000109", number).expect("known")["trade_state"].clone()
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    result.expect_err("refused").code
}

#[test]
fn the_same_order_again_gets_the_same_prepay_id_and_another_one_is_refused() {
    let mut core = wallet();
    let first = core.prepay(&order("ORDER-1", 100), noon()).expect("placed");
    assert_eq!(core.prepay(&order("ORDER-1", 100), noon()).expect("placed"), first);
    assert_eq!(code(core.prepay(&order("ORDER-1", 101), noon())), "INVALID_REQUEST");
    let foreign = PrepayRequest { sub_mchid: "1900000110".into(), ..order("ORDER-1", 100) };
    assert_eq!(code(core.prepay(&foreign, noon())), "OUT_TRADE_NO_USED");
    core.pay(&tap(&first), Lateness::Refused, noon()).expect("paid");
    assert_eq!(code(core.prepay(&order("ORDER-1", 100), noon())), "ORDERPAID");
}

#[test]
fn a_closed_order_is_never_placed_or_paid_again_unless_a_fault_says_so() {
    let mut core = wallet();
    let prepay_id = core.prepay(&order("ORDER-1", 100), noon()).expect("placed");
    core.close("1900007291", "1900000109", "ORDER-1").expect("closed");
    core.close("1900007291", "1900000109", "ORDER-1").expect("closing twice is closing once");
    assert_eq!(state(&core, "ORDER-1"), "CLOSED");
    assert_eq!(code(core.pay(&tap(&prepay_id), Lateness::Refused, noon())), "ORDERCLOSED");
    assert_eq!(code(core.prepay(&order("ORDER-1", 100), noon())), "ORDERCLOSED");
    core.pay(&tap(&prepay_id), Lateness::Lands, noon()).expect("the fault");
    assert_eq!(state(&core, "ORDER-1"), "SUCCESS");
}

#[test]
fn whoever_comes_first_wins_between_paying_and_closing() {
    let mut core = paid("ORDER-1", 100);
    let refusal = core.close("1900007291", "1900000109", "ORDER-1").expect_err("paid first");
    assert_eq!((refusal.status, refusal.code.as_str()), (400, "ORDERPAID"));
    assert_eq!(state(&core, "ORDER-1"), "SUCCESS");
}

#[test]
fn nobody_pays_after_expiry_or_with_another_wallet_or_more_than_they_would() {
    let mut core = wallet();
    let prepay_id = core.prepay(&order("ORDER-1", 100), noon()).expect("placed");
    let foreign = PayRequest { openid: "o-li".into(), ..tap(&prepay_id) };
    assert_eq!(code(core.pay(&foreign, Lateness::Refused, noon())), "OPENID_MISMATCH");
    let stingy = PayRequest { at_most_fen: Some(Fen::new(99)), ..tap(&prepay_id) };
    assert_eq!(code(core.pay(&stingy, Lateness::Refused, noon())), "TOO_MUCH");
    assert_eq!(code(core.pay(&tap("wx-unknown"), Lateness::Refused, noon())), "PREPAY_ID_INVALID");
    let expiry = noon() + Duration::minutes(15);
    assert_eq!(code(core.pay(&tap(&prepay_id), Lateness::Refused, expiry)), "ORDER_EXPIRED");
    let just_before = expiry - Duration::seconds(1);
    core.pay(&tap(&prepay_id), Lateness::Refused, just_before).expect("still in time");
    assert_eq!(code(core.pay(&tap(&prepay_id), Lateness::Refused, just_before)), "ORDERPAID");
}

#[test]
fn refunds_stay_within_the_order_and_their_numbers_are_kept() {
    // (out_refund_no, refund fen, total fen, answer)
    let attempts = [
        ("R-1", 60, 100, "PROCESSING"),
        ("R-1", 60, 100, "PROCESSING"),
        ("R-1", 61, 100, "INVALID_REQUEST"),
        ("R-2", 41, 100, "INVALID_REQUEST"),
        ("R-2", 40, 99, "INVALID_REQUEST"),
        ("R-2", 40, 100, "PROCESSING"),
        ("R-3", 1, 100, "INVALID_REQUEST"),
    ];
    let mut core = paid("ORDER-1", 100);
    pay_another(&mut core, "ORDER-2", 100);
    for (number, fen, total, expected) in attempts {
        let answer = core.refund(&refund(number, "ORDER-1", fen, total), noon());
        let said = answer.map_or_else(|refusal| json!(refusal.code), |shown| shown["status"].clone());
        assert_eq!(said, expected, "{number} {fen} of {total}");
    }
    core.advance(noon() + Duration::seconds(1));
    let books = core.books().expect("sums");
    assert_eq!((books.refunded_fen, books.net_fen, books.balanced), (Fen::new(100), Fen::new(100), true));
}

#[test]
fn a_refund_settles_after_its_delay_and_is_told_once() {
    let mut core = paid("ORDER-1", 100);
    assert_eq!(core.take_notices().len(), 1);
    core.refund(&refund("R-1", "ORDER-1", 100, 100), noon()).expect("accepted");
    assert_eq!(state(&core, "ORDER-1"), "REFUND");
    assert_eq!(core.next_due(), Some(noon() + Duration::milliseconds(500)));
    assert_eq!(core.advance(noon() + Duration::milliseconds(499)), Vec::new());
    let told = core.advance(noon() + Duration::milliseconds(500));
    let [notice] = told.as_slice() else { unreachable!("one notice: {told:?}") };
    assert_eq!(notice.event_type, "REFUND.SUCCESS");
    assert_eq!(notice.resource["refund_status"], "SUCCESS");
    assert_eq!(notice.url, "https://city.example/refunded");
    let shown = core.refund_query("1900000109", "R-1", noon() + Duration::seconds(1)).expect("known");
    assert_eq!((&shown["status"], &shown["success_time"]), (&json!("SUCCESS"), &json!("2025-03-01T12:00:00+08:00")));
    assert_eq!(core.advance(noon() + Duration::seconds(2)), Vec::new());
}

#[test]
fn a_merchant_without_balance_cannot_refund_until_it_has_some() {
    let mut core = paid("ORDER-1", 100);
    core.withdraw("1900000109", Fen::new(41)).expect("there is that much");
    let refusal = core.refund(&refund("R-1", "ORDER-1", 60, 100), noon()).expect_err("59 left");
    assert_eq!((refusal.status, refusal.code.as_str()), (403, "NOT_ENOUGH"));
    assert_eq!(state(&core, "ORDER-1"), "SUCCESS");
    core.deposit("1900000109", Fen::new(1)).expect("brought");
    core.refund(&refund("R-1", "ORDER-1", 60, 100), noon()).expect("the same number, now covered");
    assert!(core.books().expect("sums").balanced);
}

#[test]
fn a_refund_that_closes_gives_the_money_back_to_the_merchant_and_an_abnormal_one_keeps_it() {
    for (outcome, event, can_ask_again) in
        [(RefundStatus::Closed, "REFUND.CLOSED", true), (RefundStatus::Abnormal, "REFUND.ABNORMAL", false)]
    {
        let mut core = paid("ORDER-1", 100);
        core.take_notices();
        core.destine("R-1", outcome);
        core.refund(&refund("R-1", "ORDER-1", 100, 100), noon()).expect("accepted");
        let told = core.advance(noon() + Duration::seconds(1));
        assert_eq!(told.first().map(|notice| notice.event_type.as_str()), Some(event));
        let again = core.refund(&refund("R-2", "ORDER-1", 100, 100), noon() + Duration::seconds(1));
        assert_eq!(again.is_ok(), can_ask_again, "{outcome:?}");
        assert!(core.books().expect("sums").balanced);
    }
}

#[test]
fn a_bill_paid_by_two_orders_counts_as_paid_twice_until_one_is_wholly_back() {
    let mut core = paid("ORDER-1", 100);
    assert_eq!(core.paid_twice(), Ok(0));
    pay_another(&mut core, "ORDER-2", 80);
    assert_eq!(core.paid_twice(), Ok(1));
    core.refund(&refund("R-1", "ORDER-2", 79, 80), noon()).expect("accepted");
    core.advance(noon() + Duration::seconds(1));
    assert_eq!(core.paid_twice(), Ok(1));
    core.refund(&refund("R-2", "ORDER-2", 1, 80), noon()).expect("accepted");
    core.advance(noon() + Duration::seconds(1));
    assert_eq!(core.paid_twice(), Ok(0));
}

#[test]
fn a_pretended_call_leaves_nothing_and_its_prepay_id_opens_nobodys_order() {
    let mut core = wallet();
    let call = sandbox::wallet::call::Call::Prepay(order("ORDER-1", 100));
    let phantom: Value = serde_json::from_slice(&core.pretend(&call, noon()).body).expect("JSON");
    let real = core.prepay(&order("ORDER-2", 100), noon()).expect("placed");
    assert_ne!(phantom["prepay_id"], json!(real));
    assert_eq!(code(core.query("1900007291", "1900000109", "ORDER-1")), "ORDER_NOT_EXIST");
}

#[test]
fn a_malformed_request_hears_everything_that_is_wrong_at_once() {
    let body = json!({
        "sp_appid": "wx1", "sp_mchid": "1900007291", "sub_mchid": 7, "description": "", "out_trade_no": "short",
        "notify_url": "ftp://x", "amount": { "total": 1.5, "currency": "USD" }, "payer": {}, "time_expire": "soon",
    });
    let reply = wallet().handle("POST", "/v3/pay/partner/transactions/jsapi", body.to_string().as_bytes(), noon());
    let said: Value = serde_json::from_slice(&reply.body).expect("JSON");
    let fields: Vec<&str> =
        said["detail"]["all"].as_array().into_iter().flatten().filter_map(|fault| fault["field"].as_str()).collect();
    assert_eq!((reply.status, &said["code"]), (400, &json!("PARAM_ERROR")));
    for field in [
        "/sub_mchid",
        "/description",
        "/out_trade_no",
        "/notify_url",
        "/amount/total",
        "/amount/currency",
        "/payer",
        "/time_expire",
    ] {
        assert_eq!(fields.iter().filter(|named| **named == field).count(), 1, "{field} in {fields:?}");
    }
}

#[test]
fn no_request_whatever_is_answered_with_a_5xx() {
    let paths = [
        "/",
        "",
        "//",
        "/v3/pay/partner/transactions/jsapi",
        "/v3/pay/partner/transactions/id/%00?sp_mchid=%FF",
        "/v3/pay/partner/transactions/out-trade-no/%E4%B8%AD?sp_mchid=1&sub_mchid=",
        "/v3/refund/domestic/refunds",
        "/v3/pay/partner/transactions/out-trade-no/ORDER-1/close",
        "/v3/refund/domestic/refunds/%2?&&=",
        "/v3/%",
    ];
    let bodies: [&[u8]; 7] = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        br#"{"amount":{"total":-9223372036854775808,"refund":1e400}}"#,
        br#"{"amount":{"total":99999999999999999999},"payer":"o"}"#,
    ];
    let mut core = wallet();
    for method in ["GET", "POST", "DELETE"] {
        for path in paths {
            for body in bodies {
                let reply = core.handle(method, path, body, noon());
                assert!((400..500).contains(&reply.status), "{method} {path} {body:?}: {}", reply.status);
            }
        }
    }
}

#[test]
fn a_refund_finds_its_order_by_either_number_and_within_a_year() {
    // (transaction_id right, out_trade_no, days after payment, refused with)
    let attempts = [
        (Some(true), None, 365, None),
        (Some(true), Some("ORDER-1"), 0, None),
        (Some(true), Some("ORDER-2"), 0, Some("RESOURCE_NOT_EXISTS")),
        (Some(false), Some("ORDER-1"), 0, Some("RESOURCE_NOT_EXISTS")),
        (None, Some("ORDER-9"), 0, Some("RESOURCE_NOT_EXISTS")),
        (None, Some("ORDER-1"), 366, Some("INVALID_REQUEST")),
    ];
    for (right, number, days, expected) in attempts {
        let mut core = paid("ORDER-1", 100);
        pay_another(&mut core, "ORDER-2", 100);
        let shown = core.query("1900007291", "1900000109", "ORDER-1").expect("known");
        let id = shown["transaction_id"].as_str().expect("paid").to_owned();
        let request = RefundRequest {
            transaction_id: right.map(|right| if right { id } else { "4200".into() }),
            out_trade_no: number.map(str::to_owned),
            ..refund("R-1", "ORDER-1", 100, 100)
        };
        let answer = core.refund(&request, noon() + Duration::days(days));
        let refused = answer.err().map(|refusal| refusal.code);
        assert_eq!(refused.as_deref(), expected, "{right:?} {number:?} after {days} days");
    }
}

#[test]
fn a_mispriced_order_takes_a_tenth_less_and_its_purse_still_balances() {
    for (asked, taken) in [(1_000, 900), (5, 4), (1, 1)] {
        let mut core = wallet();
        let prepay_id = core.prepay(&order("n-1", asked), noon()).expect("placed");
        core.misprice("n-1");
        let receipt = core.pay(&tap(&prepay_id), Lateness::Refused, noon()).expect("paid");
        assert_eq!(receipt.total_fen, Fen::new(taken), "{asked} asked");
        core.misprice("n-1");
        let books = core.books().expect("books");
        assert!(books.balanced);
        assert_eq!(books.paid_fen, Fen::new(taken), "what is paid is not priced anew");
    }
}

#[test]
fn a_pretended_payment_moves_nothing_and_shows_a_number_that_no_other_gets() {
    let mut core = wallet();
    let prepay_id = core.prepay(&order("n-1", 1_000), noon()).expect("placed");
    let shown = core.pretend_to_pay(&tap(&prepay_id), noon()).expect("shown as paid");
    assert_eq!(core.books().expect("books").paid_count, 0);
    let real = core.pay(&tap(&prepay_id), Lateness::Refused, noon()).expect("paid");
    assert_ne!(shown.transaction_id, real.transaction_id);
}
