//! Promises about lists, searches and stories.

use std::sync::Arc;

use platform::clock::Clock as _;
use platform::domain::order::{self, Event, Inputs, State, Undone};
use platform::domain::refund::{RefundAsked, RefundEvent, RefundState};
use platform::store::{Change, ChannelUserRow, Commit, NewPrepay, Subject, Want, Written};
use schema::ids::{OrderId, TenantId};
use schema::money::Fen;
use schema::seal::Sealed;

use super::Engine;
use super::world::{HOUR_US, NOON_US, RULES, World};

pub(crate) fn bills_are_listed_newest_first(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let mut bills = Vec::new();
    for bill_no in ["B1", "B2", "B3"] {
        bills.push(world.bill(bill_no, 1000));
        world.clock.advance_ms(1000);
    }
    let list = |patients: &[_], most| -> Vec<_> {
        let rows = world.store.bills_of(world.tenant, patients, most).expect("bills");
        rows.into_iter().map(|row| row.bill.facts.bill_no).collect()
    };
    let stranger = world.vault.lookup("certno", "nobody");
    assert_eq!(list(&[stranger, world.certno()], 9), ["B3", "B2", "B1"]);
    assert_eq!(list(&[world.certno()], 2), ["B3", "B2"]);
    assert!(list(&[stranger], 9).is_empty() && list(&[], 9).is_empty());

    let row = world.store.bill(world.tenant, bills[0]).expect("the store answers").expect("the bill");
    assert_eq!((row.bill.psn_name_masked.as_str(), row.bill.content), ("王*明", [5; 32]));
    assert_eq!(world.vault.open_text("bill", &row.bill.sealed).as_deref(), Ok("{\"whole\":\"bill\"}"));
}

pub(crate) fn orders_are_found_by_payer_institution_state_person_and_binding(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let cash = world.open(world.bill("B1", 1000), false);
    world.clock.advance_ms(1000);
    let priced = world.open(world.bill("B2", 1000), true);
    let priced = world.step(priced.id, &world.price(true, 1000));
    world.clock.advance_ms(1000);
    let closed = world.open(world.bill("B3", 1000), true);
    let closed = world.step(closed.id, &Event::Cancelled);

    let found = |orders: Result<Vec<platform::domain::order::Order>, _>| -> Vec<OrderId> {
        let orders: Vec<_> = orders.expect("orders");
        orders.into_iter().map(|order| order.id).collect()
    };
    let (store, tenant, institution) = (&world.store, world.tenant, &world.institution);
    assert_eq!(found(store.orders_of(tenant, world.user, 9)), [closed.id, priced.id, cash.id]);
    assert_eq!(found(store.orders_of(tenant, world.user, 1)), [closed.id]);
    let until = closed.created_at_us;
    assert_eq!(found(store.orders_between(tenant, institution, NOON_US, until, 9)), [cash.id, priced.id]);
    assert_eq!(found(store.orders_between(tenant, institution, NOON_US + 1, until + 1, 9)), [priced.id, closed.id]);
    assert_eq!(found(store.orders_in(Some(world.tenant), None, 2)), [cash.id, priced.id], "oldest first");
    assert_eq!(store.priced_of_person(tenant, &world.binding.person), Ok(vec![priced.id]));
    assert_eq!(store.open_under_binding(tenant, world.binding.id), Ok(vec![priced.id]));

    let stuck = world.settling("B4", 1000);
    world.clock.advance_ms(RULES.patience_ms);
    assert_eq!(world.step(stuck.id, &Event::DeadlinePassed).state.place().word(), "suspended");
    for (state, order) in [("closed", &closed), ("created", &cash), ("priced", &priced), ("suspended", &stuck)] {
        for of in [None, Some(tenant)] {
            assert_eq!(found(store.orders_in(of, Some(state), 9)), [order.id], "{state}");
        }
    }
    assert_eq!(found(store.orders_in(None, Some("completed"), 9)), []);
}

pub(crate) fn a_payment_leaves_rows_to_search(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.completed("B1", 1000);
    let lines = world.store.price_lines(world.tenant, order.id, 1).expect("lines");
    let Event::PriceCame(came) = world.price(true, 1000) else { unreachable!("it is a price") };
    assert_eq!(lines, came.lines);
    assert_eq!(world.store.price_lines(world.tenant, order.id, 2), Ok(vec![]));
    let reply = world.store.settlement_reply(world.tenant, "S-B1").expect("the store answers").expect("a reply");
    assert_eq!(world.vault.open_text("settle_reply", &reply).as_deref(), Ok("S-B1"));
    assert_eq!(world.store.settlement_reply(world.tenant, "S-none"), Ok(None));

    let story = world.store.story(order.id).expect("the store answers").expect("a story");
    let events: Vec<&str> = story.history.iter().map(|row| row.event.as_str()).collect();
    let walked = ["opened", "price_came", "code_issued", "authorised", "settle_done", "prepay_done", "wallet_paid"];
    assert_eq!(events[..7], walked);
    let states: Vec<(Option<&str>, &str)> =
        story.history.iter().map(|row| (row.from.as_deref(), row.to.as_str())).collect();
    assert_eq!(states[0], (None, "created"));
    assert_eq!(states[7], (Some("paid"), "completed"));
    assert_eq!(story.history[6].doc["transaction_id"], "T-B1");
    let lines: Vec<(String, i64)> =
        story.postings.iter().map(|line| (line.account.to_string(), line.amount.get())).collect();
    assert_eq!(
        lines,
        [
            ("bureau:310:pooled".to_owned(), 600),
            ("bureau:310:account".to_owned(), 250),
            ("payable:H44190000001".to_owned(), -850),
            ("wallet:1900000109".to_owned(), 150),
            ("payable:H44190000001".to_owned(), -150),
        ]
    );
    let kinds: Vec<&str> = story.actions.iter().map(|action| action.kind.as_str()).collect();
    assert!(["price", "settle", "prepay", "tell"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
}

pub(crate) fn a_bill_leaves_its_lines_by_their_codes(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let bill = world.bill("B1", 1000);
    let expected = vec![world.bill_line("1", 500), world.bill_line("2", 500)];
    assert_eq!(world.store.bill_lines(world.tenant, bill), Ok(expected));
    let other = TenantId::from_uuid(world.clock.fresh());
    assert_eq!(world.store.bill_lines(other, bill), Ok(vec![]));
    let row = world.store.bill(world.tenant, bill).expect("the store answers").expect("the bill").bill;
    let visit = [row.ipt_otp_no.as_str(), &row.med_type, &row.dept_code, &row.atddr_no];
    assert_eq!(visit, ["MZ1", "11", "D1", "A1"]);
}

fn story(world: &World, order: OrderId) -> platform::store::Story {
    world.store.story(order).expect("the store answers").expect("a story")
}

pub(crate) fn what_2207_is_told_is_there_before_it_goes_out(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.settling("B1", 1000);
    let State::Settling { msgid, .. } = &order.state else { unreachable!("it settles") };
    let Event::PriceCame(came) = world.price(true, 1000) else { unreachable!("it is a price") };
    let told = story(&world, order.id).inputs;
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].msgid, told[0].price_number), (msgid, 1));
    // Only the sealed copy differs: every sealing is another.
    let sealed = told[0].inputs.sealed.clone();
    assert_eq!(Some(&told[0].inputs), came.inputs.map(|inputs| Inputs { sealed: sealed.clone(), ..inputs }).as_ref());
    assert_eq!(world.vault.open_text("settle_inputs", &sealed).as_deref(), Ok("{\"psn_no\":\"1001\"}"));

    let again = world.step(order.id, &Event::SettleUnknown);
    world.step(again.id, &Event::BindingLost);
    assert_eq!(story(&world, order.id).inputs.len(), 1, "one row for one message, whatever becomes of it");
}

pub(crate) fn a_message_number_is_told_to_the_bureau_once(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let first = world.settling("B1", 1000);
    world.step(first.id, &Event::SettleRefused { words: "待遇未生效".into(), busy: false });
    let (second, tap) = world.coded("B2", 1000);
    let mut change = world.decide(second.id, &tap);
    if let Some(write) = &mut change.order {
        write.after.state = first.state;
    }
    assert_eq!(world.commit_one(change.clone()), Written::Moved, "decided again under another number");
    assert_eq!(world.order(second.id), second);
}

pub(crate) fn a_settlement_is_kept_whole_and_answered_by_its_undo(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.settling("B1", 1000);
    let came = world.settlement(&order, "S1");
    let order = world.step(order.id, &Event::SettleDone(Box::new(came.clone())));
    let row = &story(&world, order.id).settlements[0];
    assert_eq!((row.origin.as_str(), row.refd_setl_flag.as_str(), &row.undone), ("platform", "0", &None));
    assert_eq!((&row.msgid, &row.inf_refmsgid, &row.mdtrt_id), (&came.msgid, &came.inf_refmsgid, &came.mdtrt_id));
    assert_eq!((&row.insutype, row.setl_time_us, &row.clearing), (&came.insutype, came.setl_time_us, &came.clearing));
    assert_eq!((row.split, &row.amounts), (came.split, &came.amounts));
    assert_eq!((&row.texts, &row.details), (&came.texts, &came.details));

    world.clock.advance_ms(1000);
    world.step(order.id, &Event::Cancelled);
    let undoing = world.step(order.id, &Event::WalletClosed);
    let undone = world.undone("S1");
    let closed = world.step(undoing.id, &Event::UndoDone(undone.clone()));
    let row = &story(&world, closed.id).settlements[0];
    assert_eq!((row.undone.as_ref(), row.refd_setl_flag.as_str()), (Some(&undone), "0"), "a row is never changed");
    assert_eq!(world.store.verify(world.tenant).expect("books").violations, []);
}

pub(crate) fn an_undo_that_the_bureau_does_not_show_is_kept_as_far_as_it_is_known(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.collecting("B1", 1000);
    world.step(order.id, &Event::Cancelled);
    world.step(order.id, &Event::WalletClosed);
    world.step(order.id, &Event::UndoUnknown);
    let unseen = Undone { undo_setl_id: String::new(), msgid: None, inf_refmsgid: None, ..world.undone("S-B1") };
    world.step(order.id, &Event::UndoFound(unseen.clone()));
    assert_eq!(story(&world, order.id).settlements[0].undone, Some(unseen));
    assert_eq!(world.store.verify(world.tenant).expect("books").violations, []);
}

pub(crate) fn a_refund_leaves_the_undo_and_the_books_hold_at_every_step(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.completed("B1", 1000);
    let sound = |at: &str| assert_eq!(world.store.verify(world.tenant).expect("books").violations, [], "{at}");
    sound("completed");
    world.step(order.id, &world.whole_refund());
    sound("granted");
    world.clock.advance_ms(1000);
    let undone = world.undone("S-B1");
    world.refund_step(order.id, &RefundEvent::UndoDone(undone.clone()));
    sound("the insurance is back and the cash on its way");
    assert_eq!(story(&world, order.id).settlements[0].undone, Some(undone));
    world.clock.advance_ms(1000);
    world.refund_step(order.id, &RefundEvent::CashReturned { success_time_us: world.clock.now_us() });
    sound("all of it is back");
}

pub(crate) fn a_wallet_is_asked_for_the_payer_of_that_moment(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.collecting("B1", 1000);
    let prepay = || world.store.prepay(world.tenant, order.id).expect("the store answers").expect("a row");
    let row = prepay();
    assert_eq!((row.asked.sp_mchid.as_str(), row.asked.appid.as_str()), ("1900007291", "wx8888888888888888"));
    assert_eq!((row.asked.out_trade_no.clone(), row.asked.amount), (order::out_trade_no(order.id), Fen::new(150)));
    assert_eq!((row.merchant.as_str(), row.openid), ("1900000109", Some(world.vault.lookup("openid", "o-1"))));
    let openid = |sealed: Option<Sealed>| world.vault.open_text("openid", &sealed.expect("an openid"));
    assert_eq!(openid(row.openid_sealed).as_deref(), Ok("o-1"));

    let elsewhere = ChannelUserRow {
        openid: Some(world.vault.lookup("openid", "o-2")),
        openid_sealed: Some(world.seal("openid", "o-2")),
        ..world.user_row()
    };
    world.store.channel_user(&elsewhere, None).expect("logged in from another account");
    let mut asked_again = world.decide(order.id, &Event::WalletNotPaid);
    asked_again.prepay = Some(NewPrepay { amount: Fen::new(151), ..row.asked });
    assert_eq!(world.commit_one(asked_again), Written::Done);
    let row = prepay();
    assert_eq!((row.asked.amount, openid(row.openid_sealed).as_deref()), (Fen::new(150), Ok("o-1")));

    let taken = world.taken(&order, "T1");
    world.step(order.id, &Event::WalletPaid(taken.clone()));
    let cash = &story(&world, order.id).cash;
    let found = (cash[0].transaction_id.as_str(), &cash[0].out_trade_no, cash[0].amount, cash[0].stray);
    assert_eq!((cash.len(), found), (1, ("T1", &taken.out_trade_no, taken.amount, false)));
    assert_eq!((cash[0].merchant.as_str(), cash[0].success_time_us), ("1900000109", taken.success_time_us));
}

pub(crate) fn a_refund_is_found_and_follows_its_order(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.completed("B1", 1000);
    let asked = RefundAsked { refund_no: Some("R1".into()), amount: None, replaced_by: None, reason: "退药".into() };
    let mut change = world.decide(order.id, &Event::RefundAsked(asked));
    let refund = change.refunds[0].clone();
    assert_eq!(world.commit_one(change.clone()), platform::store::Written::Done);
    let find = || world.store.refund(world.tenant, refund.id).expect("the store answers").expect("the refund");
    assert_eq!(find(), refund);
    let by_no = world.store.refund_by_no(world.tenant, &world.institution, "R1").expect("the store answers");
    assert_eq!(by_no.as_ref(), Some(&refund));

    let moved = platform::domain::refund::Refund { state: RefundState::ReturningCash, ..refund.clone() };
    change = Change { refunds: vec![moved.clone()], ..Change::default() };
    assert_eq!(world.commit_one(change), platform::store::Written::Done);
    assert_eq!(find(), moved);
    assert_eq!(world.look(world.want(Subject::Order(order.id))).refunds, [moved]);
    assert_eq!(world.order(order.id).refunding, Fen::new(1000));
}

pub(crate) fn nothing_is_seen_from_another_tenant(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.completed("B1", 1000);
    let other = TenantId::from_uuid(world.clock.fresh());
    let (store, person) = (&world.store, &world.binding.person);
    assert_eq!(store.order(other, order.id), Ok(None));
    assert!(store.bill(other, order.bill.id).expect("the store answers").is_none());
    assert!(store.bills_of(other, &[world.certno()], 9).expect("bills").is_empty());
    assert_eq!(store.orders_of(other, world.user, 9), Ok(vec![]));
    assert_eq!(store.orders_between(other, &world.institution, 0, NOON_US + HOUR_US, 9), Ok(vec![]));
    assert_eq!(store.settlement_reply(other, "S-B1"), Ok(None));
    assert!(store.binding(other, world.binding.id).expect("the store answers").is_none());
    assert!(store.bindings_of_person(other, person).expect("bindings").is_empty());
    assert_eq!(store.institution(other, &world.institution), Ok(None));
    let want = Want { tenant: other, ..world.want(Subject::Order(order.id)) };
    assert!(world.look(want).order.is_none());
    assert!(store.verify(other).expect("books").orders.is_empty());
}

pub(crate) fn a_batch_of_several_tenants_shows_each_its_own(engine: &dyn Engine) {
    let one = World::new(engine.open());
    let other = World::seeded(Arc::clone(&one.store), 8);
    let opened = |world: &World| {
        let change = world.decide_opening(world.bill("B1", 1000), true);
        let order = change.order.as_ref().expect("an order").after.id;
        let action = change.actions.first().expect("an action").id;
        assert_eq!(world.commit_one(change), Written::Done);
        (order, action)
    };
    let (own, others) = (opened(&one), opened(&other));
    let of = |world: &World, (order, action)| Want { answers: Some(action), ..world.want(Subject::Order(order)) };
    let wants = [
        of(&one, own),
        of(&other, others),
        of(&one, others),
        of(&other, own),
        Want { answers: Some(others.1), ..one.want(Subject::Nothing) },
    ];
    let mut seen = Vec::new();
    let commit = one.store.transact(&wants, &mut |loaded| {
        seen = loaded.iter().map(|loaded| (loaded.order.as_ref().map(|order| order.id), loaded.action_open)).collect();
        vec![None; wants.len()]
    });
    assert_eq!(commit, Commit::Committed(vec![Written::Done; wants.len()]));
    let nothing = (None, Some(false));
    assert_eq!(seen, [(Some(own.0), Some(true)), (Some(others.0), Some(true)), nothing, nothing, nothing]);
}
