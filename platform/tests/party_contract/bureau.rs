//! Promises of a bureau's client.

use std::sync::Arc;

use async_trait::async_trait;
use platform::parties::answer::Answer;
use platform::parties::bureau::{BindRequest, Bureau, Identity, OnBehalf, Settled, SettlementState, UndoneAt};
use schema::link::SettleInputs;
use schema::personal::{Personal as _, PsnNo};

use super::{Posted, TROUBLES, Trouble, done, outcome, spoilt};

/// The kinds of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// 1101.
    Person,
    /// The binding's record.
    Bind,
    /// 2207.
    Settle,
    /// 2208.
    Undo,
    /// 2601.
    Reverse,
    /// 5203.
    Ask,
}

/// A bureau with one insured person, and its client.
#[async_trait]
pub(crate) trait World: Send {
    /// The client under test. It can ask by visit.
    fn client(&self) -> Arc<dyn Bureau>;
    /// The next call of this kind meets this.
    fn trouble(&self, call: Call, trouble: Trouble);
    /// The institution of every call.
    fn on_behalf(&self) -> OnBehalf;
    /// Who is insured.
    fn identity(&self) -> Identity;
    /// Somebody who is not.
    fn stranger(&self) -> Identity;
    /// The insured person's proof, with the right password or a wrong one.
    fn proof(&self, right: bool) -> BindRequest;
    /// A message id that was not used before.
    fn fresh_msgid(&mut self) -> String;
    /// The institution has a new visit ready to be settled: everything that takes.
    fn priced(&mut self) -> SettleInputs;
    /// The person reports the card lost at the bureau.
    async fn lose_card(&self);
    /// What the bureau posts to us next.
    async fn posted(&mut self) -> Posted;
    /// The same client where nobody listens.
    fn deserted(&self) -> Arc<dyn Bureau>;
}

/// A settlement under a message id of its own.
async fn settle(world: &mut dyn World, inputs: &SettleInputs) -> (String, Settled) {
    let msgid = world.fresh_msgid();
    let settled = done(world.client().settle(&world.on_behalf(), &msgid, inputs).await);
    (msgid, settled)
}

/// Binds and prices: a person who can pay.
async fn ready(world: &mut dyn World) -> SettleInputs {
    done(world.client().bind(&world.proof(true)).await);
    world.priced()
}

async fn asked(world: &dyn World, msgid: &str, inputs: &SettleInputs) -> SettlementState {
    done(world.client().ask_by_visit(&world.on_behalf(), msgid, inputs).await)
}

async fn asked_id(world: &dyn World, setl_id: &str, inputs: &SettleInputs) -> SettlementState {
    done(world.client().ask_by_setl_id(&world.on_behalf(), setl_id, inputs).await)
}

fn word(state: &SettlementState) -> &'static str {
    match state {
        SettlementState::Nothing => "nothing",
        SettlementState::Live(_) => "live",
        SettlementState::Undone(_) => "undone",
    }
}

#[track_caller]
fn undone(state: SettlementState) -> UndoneAt {
    match state {
        SettlementState::Undone(at) => at,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_person_is_found_and_a_stranger_is_not(world: &mut dyn World) {
    let (client, by) = (world.client(), world.on_behalf());
    for on_behalf in [None, Some(&by)] {
        let person = done(client.person(on_behalf, &world.identity()).await);
        assert!(!person.blocked && person.insurances.iter().any(|insurance| insurance.active), "{person:?}");
    }
    assert_eq!(outcome(&client.person(None, &world.stranger()).await), "refused");
}

pub(crate) async fn nothing_settles_without_a_binding_and_none_is_made_without_the_password(world: &mut dyn World) {
    let (client, by, inputs) = (world.client(), world.on_behalf(), world.priced());
    let first = world.fresh_msgid();
    assert_eq!(outcome(&client.settle(&by, &first, &inputs).await), "refused");
    assert_eq!(outcome(&client.bind(&world.proof(false)).await), "refused");
    let second = world.fresh_msgid();
    assert_eq!(outcome(&client.settle(&by, &second, &inputs).await), "refused", "a wrong password binds nothing");
    let bound = done(client.bind(&world.proof(true)).await);
    assert_eq!(bound.psn_no, inputs.person.psn_no);
    settle(world, &inputs).await;
}

pub(crate) async fn an_ended_binding_pays_nothing_more(world: &mut dyn World) {
    let (client, by) = (world.client(), world.on_behalf());
    let bound = done(client.bind(&world.proof(true)).await);
    for _ in 0..2 {
        done(client.unbind(&bound.bind_no, &bound.psn_no).await);
    }
    let (inputs, msgid) = (world.priced(), world.fresh_msgid());
    assert_eq!(outcome(&client.settle(&by, &msgid, &inputs).await), "refused");
    assert_eq!(word(&asked(world, &msgid, &inputs).await), "nothing");
    assert_eq!(outcome(&client.unbind("no-such-binding", &PsnNo::new("0")).await), "refused");
}

pub(crate) async fn the_same_message_settles_once(world: &mut dyn World) {
    let inputs = ready(world).await;
    let (client, by) = (world.client(), world.on_behalf());
    let (msgid, first) = settle(world, &inputs).await;
    assert!(first.settlement.split.sums_to(inputs.medfee_sumamt_fen), "{:?}", first.settlement.split);
    let again = done(client.settle(&by, &msgid, &inputs).await);
    assert_eq!(again.settlement, first.settlement);
    // One undo leaves nothing: there were not two.
    let undo = world.fresh_msgid();
    done(client.undo(&by, &undo, &first.settlement.setl_id, &inputs).await);
    assert_eq!(word(&asked(world, &msgid, &inputs).await), "undone");
}

pub(crate) async fn the_question_tells_what_the_settlement_told(world: &mut dyn World) {
    let inputs = ready(world).await;
    let (msgid, told) = settle(world, &inputs).await;
    assert!(!told.output.0.is_null(), "the whole answer is kept");
    let by_id = asked_id(world, &told.settlement.setl_id, &inputs).await;
    for state in [by_id, asked(world, &msgid, &inputs).await] {
        let SettlementState::Live(found) = state else { panic!("{state:?}") };
        let (found, told) = (&found.settlement, &told.settlement);
        assert_eq!((&found.setl_id, found.split, found.setl_time_us), (&told.setl_id, told.split, told.setl_time_us));
        assert_eq!((&found.insutype, &found.msgid), (&told.insutype, &told.msgid));
    }
}

pub(crate) async fn an_undo_leaves_nothing_and_names_itself(world: &mut dyn World) {
    let inputs = ready(world).await;
    let (client, by) = (world.client(), world.on_behalf());
    let (msgid, settled) = settle(world, &inputs).await;
    let setl_id = settled.settlement.setl_id;
    let (one, other) = (world.fresh_msgid(), world.fresh_msgid());
    let at = done(client.undo(&by, &one, &setl_id, &inputs).await);
    assert!(!at.undo_setl_id.is_empty() && at.undo_setl_id != setl_id);
    // Only 2208's own answer has the bureau's message number.
    let at = UndoneAt { inf_refmsgid: None, ..at };
    assert_eq!(undone(asked_id(world, &setl_id, &inputs).await), at);
    assert_eq!(undone(asked(world, &msgid, &inputs).await), at);
    assert_eq!(outcome(&client.undo(&by, &other, &setl_id, &inputs).await), "refused", "it is undone already");
    assert_eq!(undone(asked_id(world, &setl_id, &inputs).await), at);
}

pub(crate) async fn a_reversal_leaves_nothing_and_may_be_repeated(world: &mut dyn World) {
    let inputs = ready(world).await;
    let (client, by) = (world.client(), world.on_behalf());
    let (msgid, _) = settle(world, &inputs).await;
    for _ in 0..2 {
        let own = world.fresh_msgid();
        done(client.reverse(&by, &own, &msgid, &inputs).await);
        assert_eq!(word(&asked(world, &msgid, &inputs).await), "undone");
    }
    let (own, never_sent) = (world.fresh_msgid(), world.fresh_msgid());
    done(client.reverse(&by, &own, &never_sent, &inputs).await);
}

pub(crate) async fn what_is_not_known_is_nothing(world: &mut dyn World) {
    let inputs = ready(world).await;
    let msgid = world.fresh_msgid();
    assert!(world.client().can_ask_by_visit());
    assert_eq!(word(&asked(world, &msgid, &inputs).await), "nothing");
    assert_eq!(word(&asked_id(world, "no-such-id", &inputs).await), "nothing");
}

pub(crate) async fn every_call_in_trouble_says_what_it_knows(world: &mut dyn World) {
    let inputs = ready(world).await;
    let (client, by) = (world.client(), world.on_behalf());
    let (_, settled) = settle(world, &inputs).await;
    let setl_id = settled.settlement.setl_id;
    for (trouble, expected) in TROUBLES {
        for call in [Call::Person, Call::Bind, Call::Settle, Call::Undo, Call::Reverse, Call::Ask] {
            // A settlement that nobody hears of must not stand in the way of the others.
            let inputs = if call == Call::Settle { world.priced() } else { inputs.clone() };
            let (msgid, other) = (world.fresh_msgid(), world.fresh_msgid());
            // It would leave nothing for the others; it has a promise of its own.
            if call == Call::Undo && trouble == Trouble::AnswerLost {
                continue;
            }
            world.trouble(call, trouble);
            let told = match call {
                Call::Person => outcome(&client.person(Some(&by), &world.identity()).await),
                Call::Bind => outcome(&client.bind(&world.proof(true)).await),
                Call::Settle => outcome(&client.settle(&by, &msgid, &inputs).await),
                Call::Undo => outcome(&client.undo(&by, &msgid, &setl_id, &inputs).await),
                Call::Reverse => outcome(&client.reverse(&by, &msgid, &other, &inputs).await),
                Call::Ask => outcome(&client.ask_by_setl_id(&by, &setl_id, &inputs).await),
            };
            assert_eq!(told, expected, "{call:?} {trouble:?}");
        }
    }
}

pub(crate) async fn after_a_lost_settlement_the_question_tells(world: &mut dyn World) {
    done(world.client().bind(&world.proof(true)).await);
    let (client, by) = (world.client(), world.on_behalf());
    for (trouble, stood, after) in
        [(Trouble::AnswerLost, "live", "undone"), (Trouble::QuestionLost, "nothing", "nothing")]
    {
        let (inputs, msgid) = (world.priced(), world.fresh_msgid());
        world.trouble(Call::Settle, trouble);
        assert_eq!(outcome(&client.settle(&by, &msgid, &inputs).await), "unknown", "{trouble:?}");
        assert_eq!(word(&asked(world, &msgid, &inputs).await), stood, "{trouble:?}");
        let own = world.fresh_msgid();
        world.trouble(Call::Reverse, Trouble::AnswerLost);
        assert_eq!(outcome(&client.reverse(&by, &own, &msgid, &inputs).await), "unknown");
        let own = world.fresh_msgid();
        done(client.reverse(&by, &own, &msgid, &inputs).await);
        assert_eq!(word(&asked(world, &msgid, &inputs).await), after, "{trouble:?}");
    }
}

pub(crate) async fn after_a_lost_undo_the_question_tells(world: &mut dyn World) {
    let inputs = ready(world).await;
    let (client, by) = (world.client(), world.on_behalf());
    let (_, settled) = settle(world, &inputs).await;
    let setl_id = settled.settlement.setl_id;
    for (trouble, stood) in [(Trouble::QuestionLost, "live"), (Trouble::AnswerLost, "undone")] {
        let own = world.fresh_msgid();
        world.trouble(Call::Undo, trouble);
        assert_eq!(outcome(&client.undo(&by, &own, &setl_id, &inputs).await), "unknown", "{trouble:?}");
        assert_eq!(word(&asked_id(world, &setl_id, &inputs).await), stood, "{trouble:?}");
    }
    assert!(!undone(asked_id(world, &setl_id, &inputs).await).undo_setl_id.is_empty(), "the question names the undo");
}

pub(crate) async fn a_refused_settlement_settled_nothing(world: &mut dyn World) {
    let inputs = ready(world).await;
    let (client, by) = (world.client(), world.on_behalf());
    for trouble in [Trouble::Refused, Trouble::Busy] {
        let msgid = world.fresh_msgid();
        world.trouble(Call::Settle, trouble);
        assert!(matches!(client.settle(&by, &msgid, &inputs).await, Answer::Refused(_)), "{trouble:?}");
        assert_eq!(word(&asked(world, &msgid, &inputs).await), "nothing", "{trouble:?}");
    }
    settle(world, &inputs).await;
}

pub(crate) async fn a_lost_card_is_told_and_blocks(world: &mut dyn World) {
    let client = world.client();
    let bound = done(client.bind(&world.proof(true)).await);
    let (inputs, msgid) = (world.priced(), world.fresh_msgid());
    world.lose_card().await;
    let posted = world.posted().await;
    for _ in 0..2 {
        let notice = client.open_notice(&posted.0, &posted.1).expect("believed, and the same each time");
        assert_eq!((&notice.bind_no, &notice.psn_no), (&bound.bind_no, &bound.psn_no));
    }
    for (how, (headers, body)) in spoilt(&posted) {
        assert!(client.open_notice(&headers, &body).is_err(), "{how}");
    }
    assert!(done(client.person(None, &world.identity()).await).blocked);
    assert_eq!(outcome(&client.settle(&world.on_behalf(), &msgid, &inputs).await), "refused");
    assert_eq!(outcome(&client.bind(&world.proof(true)).await), "refused");
}

pub(crate) async fn what_never_left_is_a_refusal_that_may_be_repeated(world: &mut dyn World) {
    let inputs = ready(world).await;
    let (client, by) = (world.deserted(), world.on_behalf());
    let (one, other) = (world.fresh_msgid(), world.fresh_msgid());
    assert_eq!(outcome(&client.person(None, &world.identity()).await), "busy");
    assert_eq!(outcome(&client.settle(&by, &one, &inputs).await), "busy");
    assert_eq!(outcome(&client.undo(&by, &one, "S1", &inputs).await), "busy");
    assert_eq!(outcome(&client.reverse(&by, &other, &one, &inputs).await), "busy");
    assert_eq!(outcome(&client.ask_by_visit(&by, &one, &inputs).await), "busy");
}
