//! Entitlement, binding, card passwords and loss.

use serde_json::{Value, json};

use crate::world::{HOSPITAL, WORKER, World, refusal, reverse, settle, text, undo};

fn entitlement(insutype: &str) -> Value {
    json!({ "data": {
        "psn_no": WORKER, "insutype": insutype, "fixmedins_code": HOSPITAL, "med_type": "11",
        "begntime": "2026-07-10 08:00:00",
    } })
}

#[test]
fn entitlement_is_answered_with_a_reason_when_there_is_none() {
    let mut world = World::new();
    assert_eq!(world.ok("2001", entitlement("310"))["trtinfo"][0]["trt_enjymnt_flag"], "1");
    let none = world.ok("2001", entitlement("390"))["trtinfo"][0].clone();
    assert_eq!(none["trt_enjymnt_flag"], "0");
    assert!(text(&none["trt_chk_rslt"]).contains("390"));
}

#[test]
fn identity_must_match_wholly() {
    let mut world = World::new();
    let ask = |name: &str| {
        json!({ "data": {
            "mdtrt_cert_type": "03", "mdtrt_cert_no": "CARDP0001", "card_sn": "SN", "psn_cert_type": "01",
            "certno": "449100199005200011", "psn_name": name,
        } })
    };
    world.ok("1101", ask("参保人P0001"));
    let (infcode, message) = world.refused("1101", ask("别人"));
    assert!(infcode == 2001 && message.contains("psn_name"), "{message}");
}

#[test]
fn the_platform_settles_only_for_the_bound_but_may_always_undo() {
    let mut world = World::new();
    let platform = world.platform.clone();
    let mdtrt_id = world.priced_visit(WORKER, "OP1");
    let msgid = world.msgid();
    let input = settle(&mdtrt_id, WORKER, "1", "INV1");
    let unbound = world.call_as(&platform, "2207", &msgid, input.clone());
    assert_eq!(refusal(&unbound).0, 3001);

    let (bind, msgid) = (world.bind_input("135790"), world.msgid());
    let bound = world.call_as(&platform, "B001", &msgid, bind)["output"]["data"].clone();
    assert_eq!((&bound["psn_no"], &bound["insuplc_admdvs"]), (&json!(WORKER), &json!("449100")));
    let msgid = world.msgid();
    let settled = world.call_as(&platform, "2207", &msgid, input.clone());
    assert_eq!(settled["infcode"], 0, "{settled}");

    let unbind = json!({ "data": { "bind_no": bound["bind_no"], "psn_no": WORKER } });
    for _ in 0..2 {
        let msgid = world.msgid();
        assert_eq!(world.call_as(&platform, "B002", &msgid, unbind.clone())["infcode"], 0);
    }
    let setl_id = text(&settled["output"]["setlinfo"]["setl_id"]);
    let msgid = world.msgid();
    let undone = world.call_as(&platform, "2208", &msgid, undo(&setl_id, &mdtrt_id, WORKER));
    assert_eq!(undone["infcode"], 0, "{undone}");
    let msgid = world.msgid();
    assert_eq!(refusal(&world.call_as(&platform, "2207", &msgid, input)).0, 3001);
    let msgid = world.msgid();
    assert_eq!(world.call_as(&platform, "2601", &msgid, reverse("x", WORKER))["infcode"], 0);
}

#[test]
fn five_wrong_passwords_lock_the_card_until_tomorrow() {
    let mut world = World::new();
    for left in [4, 3, 2, 1] {
        let wrong = world.bind_input("000000");
        let (infcode, message) = world.refused("B001", wrong);
        assert!(infcode == 3002 && message.contains(&left.to_string()), "{message}");
    }
    for password in ["000000", "135790"] {
        let input = world.bind_input(password);
        assert_eq!(world.refused("B001", input).0, 3003, "{password}");
    }
    world.now += chrono::Duration::days(1);
    let right = world.bind_input("135790");
    world.ok("B001", right);
}

#[test]
fn an_unreadable_password_is_not_a_wrong_one() {
    let mut world = World::new();
    let mut input = world.bind_input("135790");
    input["data"]["card_pwd_sealed"] = json!("bm90IHNlYWxlZA==");
    for _ in 0..6 {
        assert_eq!(world.refused("B001", input.clone()).0, -1);
    }
    let right = world.bind_input("135790");
    world.ok("B001", right);
}

#[test]
fn a_lost_card_ends_its_bindings_and_a_new_one_needs_a_new_binding() {
    let mut world = World::new();
    let platform = world.platform.clone();
    let (bind, msgid) = (world.bind_input("135790"), world.msgid());
    let bind_no = text(&world.call_as(&platform, "B001", &msgid, bind)["output"]["data"]["bind_no"]);
    let notices = world.core.report_loss(WORKER, world.now).expect("known");
    assert_eq!((notices.len(), &notices[0].bind_no), (1, &bind_no));
    assert!(world.core.report_loss(WORKER, world.now).expect("known").is_empty(), "only the first report");

    let who = json!({ "data": { "mdtrt_cert_type": "02", "mdtrt_cert_no": "449100199005200011" } });
    assert_eq!(world.ok("1101", who.clone())["baseinfo"]["card_stas"], "2");
    let mdtrt_id = world.priced_visit(WORKER, "OP1");
    let msgid = world.msgid();
    let settled = world.call_as(&platform, "2207", &msgid, settle(&mdtrt_id, WORKER, "1", "INV1"));
    assert_eq!(refusal(&settled).0, 3001);
    let bind = world.bind_input("135790");
    assert_eq!(world.refused("B001", bind).0, 3004);

    world.core.issue_card(WORKER, "CARDNEW", "246802").expect("issued");
    assert_eq!(world.ok("1101", who)["baseinfo"]["card_stas"], "1");
    let msgid = world.msgid();
    let settled = world.call_as(&platform, "2207", &msgid, settle(&mdtrt_id, WORKER, "1", "INV1"));
    assert_eq!(refusal(&settled).0, 3001, "the old binding stays dead");
}

#[test]
fn persons_are_imported_all_or_none() {
    let mut world = World::new();
    let head = "psn_no,certno,psn_name,gend,brdy,card_no,card_password,insutype,psn_type,insuplc_admdvs,balance_fen,\
                relatives\n";
    let good = format!("{head}P9,449100195001010033,张三,1,1950-01-01,C9,1,310,1201,449100,120000,P0001;P0002\n");
    assert_eq!(world.core.import_persons(&good), Ok(1));
    assert_eq!(world.core.import_persons(&good), Ok(0), "known already");
    let bad = format!("{head}P10,449100195001010033,李四,1,1950-01-01,C9,1,310,1201,449100,0,\n");
    let message = world.core.import_persons(&bad).expect_err("taken numbers").message;
    assert!(message.contains("card_no") && message.contains("certno"), "{message}");
    assert!(!world.core.state().persons.contains_key("P10"));
}
