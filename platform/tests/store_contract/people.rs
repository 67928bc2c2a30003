//! Promises about set-up, logins, bindings and visit cards.

use platform::clock::Clock as _;
use platform::domain::binding::BindingFacts;
use platform::store::{BindingRow, ChannelUserRow, InstitutionRow, InsuranceRow, VisitCardRow};
use schema::ids::{BindingId, ChannelUserId, InstitutionCode};
use schema::sign::PublicKey;

use super::Engine;
use super::world::{NOON_US, World};

pub(crate) fn set_up_reads_back(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let tenants = world.store.tenants().expect("tenants");
    assert_eq!((tenants.len(), tenants[0].id, tenants[0].name.as_str()), (1, world.tenant, "东莞"));
    let opened = world.vault.open_text("parties", &tenants[0].parties);
    assert_eq!(opened.as_deref(), Ok("{}"));

    let channel = world.store.channel(&[9; 32]).expect("the store answers").expect("the channel");
    assert_eq!((channel.tenant, channel.id), (world.tenant, world.channel));
    assert!(world.store.channel(&[8; 32]).expect("the store answers").is_none());

    let known = world.institution_row();
    assert_eq!(world.store.institution(world.tenant, &known.code), Ok(Some(known.clone())));
    let key = PublicKey::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").expect("a key");
    let approved = InstitutionRow { key: Some(key.clone()), suspended: true, ..known.clone() };
    world.store.put_institution(&approved).expect("changed");
    assert_eq!(world.store.institutions_by_key(&key), Ok(vec![approved.clone()]));
    let second: InstitutionCode = "P44190000002".parse().expect("a code");
    world.store.put_institution(&InstitutionRow { code: second, ..known.clone() }).expect("added");
    assert_eq!(world.store.institutions(world.tenant).map(|rows| rows.len()), Ok(2));
    world.store.put_institution(&known).expect("changed back");
    assert_eq!(world.store.institutions_by_key(&key), Ok(vec![]), "a key that was taken away is gone");
}

pub(crate) fn a_login_is_found_again(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let again = ChannelUserRow {
        id: ChannelUserId::from_uuid(world.clock.fresh()),
        openid: Some(world.vault.lookup("openid", "o-2")),
        openid_sealed: Some(world.seal("openid", "o-2")),
        ..world.user_row()
    };
    let known = world.store.channel_user(&again, None).expect("the store answers").expect("the login");
    assert_eq!(known.id, world.user, "the phone has one login per channel");
    assert_eq!((known.openid, &known.openid_sealed), (again.openid, &again.openid_sealed));
    let without = ChannelUserRow { openid: None, openid_sealed: None, ..again.clone() };
    let unchanged = world.store.channel_user(&without, None).expect("the store answers").expect("the login");
    assert_eq!(unchanged.openid_sealed, again.openid_sealed);
    let by_id = world.store.channel_user_by_id(world.tenant, world.user).expect("the store answers");
    assert_eq!(by_id.map(|row| row.openid_sealed), Some(again.openid_sealed));
    assert!(world.store.channel_user_by_id(world.tenant, again.id).expect("the store answers").is_none());
}

pub(crate) fn a_login_and_its_first_answer_are_one_commit(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let key = world.key("login-1");
    let row = |openid: &str| ChannelUserRow {
        id: ChannelUserId::from_uuid(world.clock.fresh()),
        openid: Some(world.vault.lookup("openid", openid)),
        openid_sealed: Some(world.seal("openid", openid)),
        ..world.user_row()
    };
    let answer = |user: ChannelUserId| user.to_string().into_bytes();
    let first = row("o-2");
    let login = world.store.channel_user(&first, Some((&key, &answer))).expect("the store answers");
    assert_eq!(login.map(|login| login.id), Some(world.user));
    let kept = world.store.first_answer(world.tenant, &key).expect("the store answers").expect("the answer");
    assert_eq!(kept.response, world.user.to_string().into_bytes(), "it is written of the login that was found");
    let second = world.store.channel_user(&row("o-3"), Some((&key, &answer))).expect("the store answers");
    assert!(second.is_none(), "the key has an answer");
    let stored = world.store.channel_user_by_id(world.tenant, world.user).expect("the store answers");
    assert_eq!(stored.and_then(|row| row.openid), first.openid, "and nothing else was changed under it");
}

fn at(epoch: i64, frozen: bool, row: &BindingRow) -> BindingRow {
    BindingRow { facts: BindingFacts { epoch, frozen, ..row.facts.clone() }, ..row.clone() }
}

pub(crate) fn a_binding_is_guarded_by_its_epoch(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let row = world.binding_row();
    assert_eq!(world.store.put_binding(1, &at(2, true, &row), None), Ok(true));
    assert_eq!(world.store.put_binding(1, &at(2, false, &row), None), Ok(false), "it is at epoch 2 by now");
    let facts = world.store.binding(world.tenant, world.binding.id).expect("the store answers").expect("it").facts;
    assert_eq!((facts.epoch, facts.frozen), (2, true));
    let without = BindingRow { phone: None, bind_no: None, ..at(3, true, &row) };
    assert_eq!(world.store.put_binding(2, &without, None), Ok(true));
    let stored = world.store.binding(world.tenant, world.binding.id).expect("the store answers").expect("it");
    assert_eq!((stored.phone, stored.bind_no), (None, None), "what is taken away is gone");
}

pub(crate) fn a_document_has_one_live_binding_per_login(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let fresh = || {
        let mut row = world.binding_row();
        row.facts.id = BindingId::from_uuid(world.clock.fresh());
        row
    };
    assert_eq!(world.store.add_binding(&fresh(), None), Ok(false));
    let unbound = BindingRow { unbound: true, ..at(2, true, &world.binding_row()) };
    assert_eq!(world.store.put_binding(1, &unbound, None), Ok(true));
    let second = fresh();
    assert_eq!(world.store.add_binding(&second, None), Ok(true));
    let live = world.store.bindings_of(world.tenant, world.user).expect("bindings");
    assert_eq!(live.iter().map(|row| row.facts.id).collect::<Vec<_>>(), [second.facts.id]);
    let all = world.store.bindings_of_document(world.tenant, &world.certno()).expect("bindings");
    let all: Vec<_> = all.iter().map(|row| (row.facts.id, row.unbound)).collect();
    assert!(all.contains(&(second.facts.id, false)) && all.contains(&(world.binding.id, true)), "{all:?}");
    let stranger = world.vault.lookup("certno", "nobody");
    assert!(world.store.bindings_of_document(world.tenant, &stranger).expect("bindings").is_empty());
    assert!(world.store.binding(world.tenant, world.binding.id).expect("the store answers").is_some(), "history");
}

pub(crate) fn a_binding_and_its_answer_stand_or_fall_together(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let key = world.key("bind");
    let answer: Option<(&_, &[u8])> = Some((&key, b"bound"));
    let row = world.binding_row();
    assert_eq!(world.store.put_binding(1, &at(2, false, &row), answer), Ok(true));
    assert_eq!(world.store.put_binding(2, &at(3, true, &row), answer), Ok(false), "the key is used");
    let facts = world.store.binding(world.tenant, row.facts.id).expect("the store answers").expect("it").facts;
    assert_eq!((facts.epoch, facts.frozen), (2, false));

    let mut other = row;
    other.facts.id = BindingId::from_uuid(world.clock.fresh());
    other.certno = world.vault.lookup("certno", "441900196001011234");
    assert_eq!(world.store.add_binding(&other, answer), Ok(false));
    assert!(world.store.binding(world.tenant, other.facts.id).expect("the store answers").is_none());
}

pub(crate) fn every_insurance_of_a_person_is_kept_and_replaced_by_the_next_answer(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let insurance = |insutype: &str, insuplc_admdvs: &str, active: bool| InsuranceRow {
        psn_no: world.vault.lookup("psn_no", "1001"),
        person: world.vault.lookup("person", &format!("{insuplc_admdvs}|1001")),
        insutype: insutype.into(),
        insuplc_admdvs: insuplc_admdvs.into(),
        psn_type: "11".into(),
        psn_insu_stas: if active { "1" } else { "2" }.into(),
        cvlserv_flag: "0".into(),
        active,
        emp_name: active.then(|| world.seal("emp_name", "东莞某厂")),
        checked_at_us: NOON_US,
    };
    let known = |certno: &_| world.store.insurances(world.tenant, certno).expect("insurances");
    let (row, both) = (world.binding_row(), vec![insurance("310", "441900", true), insurance("390", "440100", false)]);
    assert_eq!(known(&row.certno), []);
    let told = |epoch, insurances: &[InsuranceRow]| BindingRow {
        insurances: Some(insurances.to_vec()),
        ..at(epoch, false, &row)
    };
    assert_eq!(world.store.put_binding(1, &told(2, &both), None), Ok(true));
    assert_eq!(known(&row.certno), both);
    assert_eq!(world.store.put_binding(1, &told(2, &[]), None), Ok(false), "it is at epoch 2 by now");
    assert_eq!(world.store.put_binding(2, &at(3, false, &row), None), Ok(true), "1101 was not asked");
    assert_eq!(known(&row.certno), both);
    assert_eq!(world.store.put_binding(3, &told(4, &both[1..]), None), Ok(true));
    assert_eq!(known(&row.certno), both[1..]);

    let mut other = told(1, &both[..1]);
    other.facts.id = BindingId::from_uuid(world.clock.fresh());
    other.certno = world.vault.lookup("certno", "441900196001011234");
    assert_eq!(world.store.add_binding(&other, None), Ok(true));
    assert_eq!((known(&other.certno).len(), known(&row.certno).len()), (1, 1), "each person has their own");
}

pub(crate) fn bindings_are_found_by_login_person_and_document(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let mother = ChannelUserRow {
        id: ChannelUserId::from_uuid(world.clock.fresh()),
        phone: world.vault.lookup("phone", "13900005678"),
        ..world.user_row()
    };
    world.store.channel_user(&mother, None).expect("a login");
    let mut hers = world.binding_row();
    hers.facts.id = BindingId::from_uuid(world.clock.fresh());
    hers.channel_user = mother.id;
    assert_eq!(world.store.add_binding(&hers, None), Ok(true));

    let of_person = world.store.bindings_of_person(world.tenant, &world.binding.person).expect("bindings");
    assert_eq!(of_person.len(), 2);
    let mut watchers = world.store.watchers(world.tenant, &world.certno()).expect("logins");
    watchers.sort();
    let mut both = [world.user, mother.id];
    both.sort();
    assert_eq!(watchers, both);
    let stranger = world.vault.lookup("certno", "nobody");
    assert_eq!(world.store.watchers(world.tenant, &stranger), Ok(vec![]));
    assert_eq!(world.store.bindings_of(world.tenant, mother.id).map(|rows| rows.len()), Ok(1));
}

pub(crate) fn a_visit_card_is_bound_once(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let card = VisitCardRow {
        tenant: world.tenant,
        institution: world.institution.clone(),
        visit_card: world.vault.lookup("visit_card_no", "V1"),
        certno: world.certno(),
        psn_name_masked: "王**".into(),
        bind_no: "B-1".into(),
        created_at_us: NOON_US,
    };
    let find = || world.store.visit_card(world.tenant, &world.institution, &card.visit_card);
    assert!(find().expect("the store answers").is_none());
    assert_eq!(world.store.put_visit_card(&card, None), Ok(true));
    let newer = VisitCardRow { bind_no: "B-2".into(), ..card.clone() };
    let key = world.key("message-1");
    assert_eq!(world.store.put_visit_card(&newer, Some((&key, b"done"))), Ok(true), "bound again");
    let kept = world.store.first_answer(world.tenant, &key).expect("the store answers");
    assert_eq!(kept.map(|kept| kept.response), Some(b"done".to_vec()));
    let third = VisitCardRow { bind_no: "B-3".into(), ..card.clone() };
    assert_eq!(world.store.put_visit_card(&third, Some((&key, b"done"))), Ok(false), "the key has an answer");
    let found = find().expect("the store answers").expect("the card");
    assert_eq!((found.bind_no.as_str(), found.psn_name_masked.as_str()), ("B-2", "王**"));
    assert_eq!(found.certno, world.certno());
}

pub(crate) fn answers_without_an_order_are_kept(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let key = world.key("notice-1");
    assert_eq!(world.store.first_answer(world.tenant, &key), Ok(None));
    assert_eq!(world.store.keep_answer(world.tenant, &key, b"\xff\x00 ok"), Ok(true));
    assert_eq!(world.store.keep_answer(world.tenant, &key, b"other"), Ok(false));
    let kept = world.store.first_answer(world.tenant, &key).expect("the store answers").expect("the answer");
    assert_eq!((kept.request, kept.response.as_slice()), (key.request, b"\xff\x00 ok".as_slice()));
    let of_another = platform::store::CallerKey { caller: "bureau".into(), ..key };
    assert_eq!(world.store.first_answer(world.tenant, &of_another), Ok(None), "keys are scoped by caller");
}
