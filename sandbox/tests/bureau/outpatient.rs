//! Pricing, settling and taking back.

use sandbox::bureau::{Config, Reception};
use sandbox::fault::Fault;
use schema::money::Fen;
use serde_json::{Value, json};

use crate::world::{CHILD, HOSPITAL, WORKER, World, lines, price, refusal, reverse, settle, text, undo};

/// (dedc, pool, account, of which family, cash, balance) as written on the wire.
fn shares(info: &Value) -> [String; 6] {
    ["act_pay_dedc", "hifp_pay", "acct_pay", "acct_mulaid_pay", "psn_cash_pay", "balc"]
        .map(|name| info[name].to_string())
}

#[test]
fn the_outpatient_sequence_settles_and_takes_back_to_the_fen() {
    let mut world = World::new();
    let signed = world.ok("9001", json!({ "signIn": { "opter_no": "001", "mac": "", "ip": "" } }));
    assert!(!text(&signed["signinoutb"]["sign_no"]).is_empty());
    let who = json!({ "data": { "mdtrt_cert_type": "02", "mdtrt_cert_no": "449100199005200011" } });
    let known = world.ok("1101", who);
    assert_eq!((&known["baseinfo"]["psn_no"], &known["baseinfo"]["card_stas"]), (&json!(WORKER), &json!("1")));
    assert_eq!(known["insuinfo"][0]["insuplc_admdvs"], "449100");

    let mdtrt_id = world.visit(WORKER, "OP1");
    let result = world.ok("2204", lines(&mdtrt_id, WORKER, "B1", "F"))["result"].clone();
    assert_eq!(result[1]["preselfpay_amt"].to_string(), "14.3");
    assert_eq!(result[1]["chrgitm_lv"], "2");

    // In scope 178.70, level three pays half: 89.35. Of the person's 103.65 the account pays its 50.00.
    let priced = world.ok("2206", price(&mdtrt_id, WORKER, "1"))["setlinfo"].clone();
    assert_eq!(shares(&priced), ["0.0", "89.35", "50.0", "0.0", "53.65", "0.0"]);
    assert!(priced.get("setl_id").is_none());

    let settled = world.ok("2207", settle(&mdtrt_id, WORKER, "1", "INV1"));
    let info = &settled["setlinfo"];
    assert_eq!(shares(info), shares(&priced));
    assert_eq!(info["fund_pay_sumamt"].to_string(), "139.35", "Guangdong counts the account in");
    assert_eq!((&info["clr_type"], &info["clr_optins"]), (&json!("11"), &json!("449100")));
    assert_eq!(settled["setldetail"][0]["fund_payamt"].to_string(), "89.35");

    let setl_id = text(&info["setl_id"]);
    let undone = world.ok("2208", undo(&setl_id, &mdtrt_id, WORKER))["setlinfo"].clone();
    assert_ne!(undone["setl_id"], info["setl_id"]);
    assert_eq!(shares(&undone), ["0.0", "-89.35", "-50.0", "0.0", "-53.65", "50.0"]);
    assert_eq!((&undone["refd_setl_flag"], &undone["init_setl_id"]), (&json!("1"), &json!(setl_id)));

    let books = world.core.books();
    assert!(books.balanced, "{:?}", books.faults);
    assert_eq!((books.callers[0].live_settlements, books.callers[0].undone_settlements), (0, 1));
    world.ok("2205", json!({ "data": { "mdtrt_id": mdtrt_id, "chrg_bchno": "0000", "psn_no": WORKER } }));
    world.ok("2202", json!({ "data": { "psn_no": WORKER, "mdtrt_id": mdtrt_id, "ipt_otp_no": "OP1" } }));
}

#[test]
fn hunans_fund_total_leaves_the_account_out() {
    let mut config = Config::builtin();
    config.dialect.fund_pay_sumamt_includes_acct = false;
    let mut world = World::with(config);
    let mdtrt_id = world.priced_visit(WORKER, "OP1");
    let info = world.ok("2207", settle(&mdtrt_id, WORKER, "1", "INV1"))["setlinfo"].clone();
    assert_eq!(info["fund_pay_sumamt"].to_string(), "89.35");
}

#[test]
fn a_child_pays_from_the_parents_account() {
    let mut world = World::new();
    let mdtrt_id = world.priced_visit(CHILD, "OP1");
    let settled = world.ok("2207", settle(&mdtrt_id, CHILD, "1", "INV1"))["setlinfo"].clone();
    // Residents get 40 % at level three: 71.48; of 121.52 the mother's account pays 50.00.
    assert_eq!(shares(&settled), ["0.0", "71.48", "50.0", "50.0", "71.52", "0.0"]);
    assert_eq!(world.core.state().persons[WORKER].balance, Fen::ZERO);
    world.ok("2208", undo(&text(&settled["setl_id"]), &mdtrt_id, CHILD));
    assert_eq!(world.core.state().persons[WORKER].balance, Fen::new(5_000));
    assert!(world.core.books().balanced);
}

#[test]
fn lines_uploaded_again_are_duplicates_until_withdrawn() {
    let mut world = World::new();
    let mdtrt_id = world.priced_visit(WORKER, "OP1");
    let (infcode, message) = world.refused("2204", lines(&mdtrt_id, WORKER, "B1", "G"));
    assert!(infcode == 2003 && message.contains("B1"), "same batch: {message}");
    let (infcode, message) = world.refused("2204", lines(&mdtrt_id, WORKER, "B2", "F"));
    assert!(infcode == 2003 && message.contains("F1") && message.contains("F2"), "same lines: {message}");
    world.ok("2205", json!({ "data": { "mdtrt_id": mdtrt_id, "chrg_bchno": "0000", "psn_no": WORKER } }));
    world.ok("2204", lines(&mdtrt_id, WORKER, "B1", "F"));

    let setl_id = text(&world.ok("2207", settle(&mdtrt_id, WORKER, "0", "INV1"))["setlinfo"]["setl_id"]);
    let withdraw = json!({ "data": { "mdtrt_id": mdtrt_id, "chrg_bchno": "B1", "psn_no": WORKER } });
    assert_eq!(world.refused("2205", withdraw.clone()).0, 2002, "settled lines stay");
    world.ok("2208", undo(&setl_id, &mdtrt_id, WORKER));
    world.ok("2205", withdraw);
}

#[test]
fn a_settlement_repeated_gets_its_first_answer_and_with_other_content_none() {
    let mut world = World::new();
    let mdtrt_id = world.priced_visit(WORKER, "OP1");
    let (window, msgid) = (world.window.clone(), world.msgid());
    let first = world.call_as(&window, "2207", &msgid, settle(&mdtrt_id, WORKER, "1", "INV1"));
    assert_eq!(first["infcode"], 0);
    let again = world.call_as(&window, "2207", &msgid, settle(&mdtrt_id, WORKER, "1", "INV1"));
    assert_eq!(first, again);
    let other = world.call_as(&window, "2207", &msgid, settle(&mdtrt_id, WORKER, "0", "INV1"));
    assert_eq!(refusal(&other).0, 1004);
    assert_eq!(world.core.records().len(), 1);
}

#[test]
fn wrong_sums_and_a_batch_settled_before_are_refused() {
    let mut world = World::new();
    let mdtrt_id = world.priced_visit(WORKER, "OP1");
    let mut wrong = settle(&mdtrt_id, WORKER, "1", "INV1");
    wrong["data"]["preselfpay_amt"] = json!("14.31");
    wrong["data"]["inscp_scp_amt"] = json!(178.69);
    let (infcode, message) = world.refused("2207", wrong);
    assert!(infcode == 2004 && message.contains("14.30") && message.contains("178.70"), "{message}");
    let mut wrong = settle(&mdtrt_id, WORKER, "1", "INV1");
    wrong["data"]["medfee_sumamt"] = json!("193.01");
    assert_eq!(world.refused("2207", wrong).0, 2004);
    world.ok("2207", settle(&mdtrt_id, WORKER, "1", "INV1"));
    assert_eq!(world.refused("2207", settle(&mdtrt_id, WORKER, "1", "INV1")).0, 2002);
}

#[test]
fn undoing_is_last_in_first_out_and_stops_at_a_cleared_month() {
    let mut world = World::new();
    let first = world.priced_visit(WORKER, "OP1");
    let first_setl = text(&world.ok("2207", settle(&first, WORKER, "0", "INV1"))["setlinfo"]["setl_id"]);
    let second = world.priced_visit(WORKER, "OP2");
    let second_setl = text(&world.ok("2207", settle(&second, WORKER, "0", "INV2"))["setlinfo"]["setl_id"]);
    let (infcode, message) = world.refused("2208", undo(&first_setl, &first, WORKER));
    assert!(infcode == 2005 && message.contains(&second_setl), "{message}");
    world.ok("2208", undo(&second_setl, &second, WORKER));
    world.core.clear_month("202607").expect("clears");
    assert_eq!(world.refused("2208", undo(&first_setl, &first, WORKER)).0, 2006);
    assert_eq!(world.refused("2208", undo(&second_setl, &second, WORKER)).0, 2007);
    assert!(world.core.books().balanced);
}

#[test]
fn a_reversed_message_is_undone_and_never_executes_afterwards() {
    let mut world = World::new();
    let mdtrt_id = world.priced_visit(WORKER, "OP1");
    let (window, msgid) = (world.window.clone(), world.msgid());
    // Never arrived: 0, and the latecomer is refused.
    world.ok("2601", reverse(&msgid, WORKER));
    let late = world.call_as(&window, "2207", &msgid, settle(&mdtrt_id, WORKER, "1", "INV1"));
    assert_eq!(refusal(&late).0, 1004);
    // Arrived: undone, once and again.
    let msgid = world.msgid();
    let settled = world.call_as(&window, "2207", &msgid, settle(&mdtrt_id, WORKER, "1", "INV1"));
    assert_eq!(settled["infcode"], 0);
    world.ok("2601", reverse(&msgid, WORKER));
    world.ok("2601", reverse(&msgid, WORKER));
    assert_eq!(world.core.state().persons[WORKER].balance, Fen::new(5_000));
    let repeated = world.call_as(&window, "2207", &msgid, settle(&mdtrt_id, WORKER, "1", "INV1"));
    assert_eq!(refusal(&repeated).0, 1004, "not even its old answer");
    let records = world.core.records();
    assert_eq!((records.len(), records[1].infno.as_str(), records[0].live), (2, "2601", false));
    assert!(world.core.books().balanced);
}

#[test]
fn a_settlement_that_executes_after_its_reversal_is_found_by_its_visit_and_undone() {
    let mut world = World::new();
    let mdtrt_id = world.priced_visit(WORKER, "OP1");
    let (window, msgid) = (world.window.clone(), world.msgid());
    let envelope = world.request("2207", &msgid, settle(&mdtrt_id, WORKER, "1", "INV1"));
    let fault = Fault::ExecuteAfterReversal { delay_ms: 3_000 };
    let reception = world.core.receive(&window, "2207", &envelope, world.now, Some(&fault));
    assert_eq!((reception, world.core.next_due()), (Reception::NoAnswer, None));

    world.ok("2601", reverse(&msgid, WORKER));
    let ask = json!({ "data": { "psn_no": WORKER, "setl_id": "", "mdtrt_id": mdtrt_id } });
    assert_eq!(world.ok("5203", ask.clone())["setlinfo"], json!([]));
    let due = world.core.next_due().expect("the reversal started its clock");
    assert_eq!(world.core.run_due(due)[0]["infcode"], 0);

    let found = world.ok("5203", ask.clone())["setlinfo"].clone();
    assert_eq!((&found[0]["medins_setl_id"], &found[0]["refd_setl_flag"]), (&json!(msgid), &json!("0")));
    let setl_id = text(&found[0]["setl_id"]);
    world.ok("2208", undo(&setl_id, &mdtrt_id, WORKER));
    let by_id = world.ok("5203", json!({ "data": { "psn_no": WORKER, "setl_id": setl_id } }));
    assert_eq!(by_id["setlinfo"]["refd_setl_flag"], "1");
    assert_eq!(by_id["setlinfo"]["psn_cash_pay"].to_string(), "53.65", "the undone half keeps its sign");
    let both = world.ok("5203", ask)["setlinfo"].clone();
    assert_eq!(both[1]["psn_cash_pay"].to_string(), "-53.65");
}

#[test]
fn a_late_commit_executes_although_its_reversal_found_nothing() {
    let mut world = World::new();
    let mdtrt_id = world.priced_visit(WORKER, "OP1");
    let (window, msgid) = (world.window.clone(), world.msgid());
    let envelope = world.request("2207", &msgid, settle(&mdtrt_id, WORKER, "1", "INV1"));
    let fault = Fault::LateCommit { delay_ms: 60_000 };
    assert_eq!(world.core.receive(&window, "2207", &envelope, world.now, Some(&fault)), Reception::NoAnswer);
    world.ok("2601", reverse(&msgid, WORKER));
    assert!(world.core.records().is_empty());
    let due = world.core.next_due().expect("put off");
    world.core.run_due(due);
    assert!(world.core.records()[0].live);
    // The settlement is there now, so the same reversal finds it.
    world.ok("2601", reverse(&msgid, WORKER));
    assert!(!world.core.records()[0].live);
}

#[test]
fn each_fault_shows_its_own_face() {
    let settled = |fault: Fault| {
        let mut world = World::new();
        let mdtrt_id = world.priced_visit(WORKER, "OP1");
        let (window, msgid) = (world.window.clone(), world.msgid());
        let envelope = world.request("2207", &msgid, settle(&mdtrt_id, WORKER, "0", "INV1"));
        let reception = world.core.receive(&window, "2207", &envelope, world.now, Some(&fault));
        let answer = match reception {
            Reception::Answer { envelope, after_ms } => Some((envelope, after_ms)),
            Reception::NoAnswer => None,
        };
        let records = world.core.records();
        assert!(world.core.books().balanced);
        (answer, records)
    };
    let (answer, records) = settled(Fault::DoButDoNotAnswer);
    assert!(answer.is_none() && records.len() == 1);
    let (answer, records) = settled(Fault::NeitherDoNorAnswer);
    assert!(answer.is_none() && records.is_empty());
    let (answer, records) = settled(Fault::AnswerButDoNotDo);
    assert!(answer.is_some_and(|(answer, _)| answer["infcode"] == 0) && records.is_empty());
    let (answer, records) = settled(Fault::Delay { delay_ms: 70 });
    assert!(answer.is_some_and(|(answer, after_ms)| answer["infcode"] == 0 && after_ms == 70) && records.len() == 1);
    let (answer, records) = settled(Fault::Busy);
    assert!(answer.is_some_and(|(answer, _)| text(&answer["err_msg"]).contains("系统繁忙")) && records.is_empty());
    let (answer, records) = settled(Fault::Refuse { code: "77".to_owned(), message: "不行".to_owned() });
    assert!(answer.is_some_and(|(answer, _)| refusal(&answer) == (77, "不行".to_owned())) && records.is_empty());
    let (answer, records) = settled(Fault::Differ);
    // A tenth of the pool's 89.35 has become cash.
    let cash = answer.map(|(answer, _)| answer["output"]["setlinfo"]["psn_cash_pay"].to_string());
    assert_eq!((cash.as_deref(), records[0].amounts.psn_cash), (Some("112.58"), Fen::new(11_258)));
}

#[test]
fn a_reversal_of_nothing_is_an_error_where_the_dialect_says_so() {
    let mut config = Config::builtin();
    config.dialect.not_found_is_an_error = true;
    let mut world = World::with(config);
    assert_eq!(world.refused("2601", reverse("never-sent", WORKER)).0, 2008);
}

#[test]
fn the_same_bill_settled_in_two_visits_is_charged_twice() {
    let mut world = World::new();
    let first = world.priced_visit(WORKER, "OP1");
    world.ok("2207", settle(&first, WORKER, "0", "INV1"));
    assert_eq!(world.core.books().charged_twice, 0);
    let second = world.priced_visit(WORKER, "OP2");
    let settled = world.ok("2207", settle(&second, WORKER, "0", "INV1"));
    assert_eq!(world.core.books().charged_twice, 1);
    world.ok("2208", undo(&text(&settled["setlinfo"]["setl_id"]), &second, WORKER));
    assert_eq!(world.core.books().charged_twice, 0);
}

#[test]
fn caps_and_deductibles_accumulate_over_the_year_and_begin_anew_on_1_january() {
    let mut world = World::new();
    let mut paid = Vec::new();
    // The worker's cap is 3000.00; each visit costs the pool 89.35, so the 34th gets what is left.
    for n in 0..35 {
        let mdtrt_id = world.priced_visit(WORKER, &format!("OP{n}"));
        let settled = world.ok("2207", settle(&mdtrt_id, WORKER, "0", &format!("INV{n}")));
        paid.push(settled["setlinfo"]["hifp_pay"].to_string());
    }
    assert_eq!(paid[32..], ["89.35", "51.45", "0.0"]);
    world.now = chrono::DateTime::parse_from_rfc3339("2027-01-01T00:00:00+08:00").expect("a moment");
    let mdtrt_id = world.priced_visit(WORKER, "OP-new");
    let settled = world.ok("2207", settle(&mdtrt_id, WORKER, "0", "INV-new"));
    assert_eq!(settled["setlinfo"]["hifp_pay"].to_string(), "89.35");
    assert!(world.core.books().balanced);
}

#[test]
fn a_malformed_message_is_told_everything_that_is_wrong_at_once() {
    let mut world = World::new();
    let window = world.window.clone();
    let mut envelope = world.request(
        "2207",
        "",
        json!({ "data": {
        "psn_no": WORKER, "mdtrt_cert_type": "99", "medfee_sumamt": "1.234", "acct_used_flag": "yes",
    } }),
    );
    envelope["opter_type"] = json!("9");
    envelope["insuplc_admdvs"] = json!("");
    envelope["inf_time"] = json!("today");
    let (infcode, message) = refusal(&world.core.handle(&window, "2207", &envelope, world.now));
    assert_eq!(infcode, -1);
    for name in [
        "msgid",
        "opter_type",
        "insuplc_admdvs",
        "inf_time",
        "mdtrt_cert_type",
        "medfee_sumamt",
        "acct_used_flag",
        "mdtrt_id",
        "chrg_bchno",
        "invono",
        "inscp_scp_amt",
    ] {
        assert!(message.contains(name), "{name} is missing in: {message}");
    }
    for envelope in [json!(null), json!([1, 2]), json!("x"), json!({}), json!({ "input": [] })] {
        assert_eq!(refusal(&world.core.handle(&window, "2207", &envelope, world.now)).0, -1, "{envelope}");
    }
}

#[test]
fn callers_speak_only_for_their_own_institutions() {
    let mut world = World::new();
    let mut foreign = world.window.clone();
    foreign.institutions = ["H44910000002".to_owned()].into();
    let msgid = world.msgid();
    let who = json!({ "data": { "mdtrt_cert_type": "02", "mdtrt_cert_no": "449100199005200011" } });
    assert_eq!(
        refusal(&world.call_as(&foreign, "1101", &msgid, who)),
        (1002, format!("无权代表机构{HOSPITAL} this caller may not speak for {HOSPITAL}"),)
    );
}

#[test]
fn where_the_dialect_asks_a_sign_in_of_the_day_comes_first() {
    let mut config = Config::builtin();
    config.dialect.sign_in_required = true;
    let mut world = World::with(config);
    let who = json!({ "data": { "mdtrt_cert_type": "02", "mdtrt_cert_no": "449100199005200011" } });
    assert_eq!(world.refused("1101", who.clone()).0, 1003);
    let sign_no = text(&world.ok("9001", json!({ "signIn": { "opter_no": "001" } }))["signinoutb"]["sign_no"]);
    let mut envelope = world.request("1101", "m1", who);
    envelope["sign_no"] = json!(sign_no);
    let window = world.window.clone();
    assert_eq!(world.core.handle(&window, "1101", &envelope, world.now)["infcode"], 0);
    let tomorrow = world.now + chrono::Duration::days(1);
    assert_eq!(refusal(&world.core.handle(&window, "1101", &envelope, tomorrow)).0, 1003);
}

#[test]
fn the_same_messages_make_the_same_bureau() {
    let story = || {
        let mut world = World::new();
        let mdtrt_id = world.priced_visit(WORKER, "OP1");
        world.ok("2207", settle(&mdtrt_id, WORKER, "1", "INV1"));
        serde_json::to_string(&world.core.saved()).expect("writable")
    };
    assert_eq!(story(), story());
}

#[test]
fn a_saved_bureau_goes_on_where_it_was() {
    let mut world = World::new();
    let mdtrt_id = world.priced_visit(WORKER, "OP1");
    let setl_id = text(&world.ok("2207", settle(&mdtrt_id, WORKER, "1", "INV1"))["setlinfo"]["setl_id"]);
    let saved = serde_json::to_vec(&world.core.saved()).expect("writable");
    let catalogue = std::sync::Arc::clone(world.core.catalogue());
    let saved = serde_json::from_slice(&saved).expect("readable");
    world.core = sandbox::bureau::Core::restored(Config::builtin(), catalogue, saved);
    world.ok("2208", undo(&setl_id, &mdtrt_id, WORKER));
    assert!(world.core.books().balanced);
}
