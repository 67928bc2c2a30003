//! What every outsider's client must do, whoever the outsider is. A suite speaks to a *world*: the counterparty, the
//! client under test, and the levers by which things go wrong. Each function takes a fresh world and panics where the
//! client breaks its word; a second bureau, wallet or gateway needs a world and one line.

pub(crate) mod bureau;
pub(crate) mod sms;
pub(crate) mod wallet;

use platform::parties::answer::{Answer, Refused};

/// How the next call of a kind goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It never arrives, and no answer comes.
    QuestionLost,
    /// They say no; nothing is done.
    Refused,
    /// They say that they are busy; nothing is done.
    Busy,
}

/// What a call under that trouble must come to: `unknown`, `refused`, or `busy`.
pub(crate) const TROUBLES: [(Trouble, &str); 4] = [
    (Trouble::AnswerLost, "unknown"),
    (Trouble::QuestionLost, "unknown"),
    (Trouble::Refused, "refused"),
    (Trouble::Busy, "busy"),
];

/// `done`, `unknown`, `refused` or `busy`.
pub(crate) fn outcome<T>(answer: &Answer<T>) -> &'static str {
    match answer {
        Answer::Refused(Refused { busy: true, .. }) => "busy",
        other => other.word(),
    }
}

#[track_caller]
pub(crate) fn done<T: std::fmt::Debug>(answer: Answer<T>) -> T {
    match answer {
        Answer::Done(value) => value,
        other => panic!("{other:?}"),
    }
}

/// Headers and body of what a counterparty posted to us; names in lower case.
pub(crate) type Posted = (Vec<(String, String)>, Vec<u8>);

/// Ways to spoil what was posted: none may be believed.
pub(crate) fn spoilt((headers, body): &Posted) -> Vec<(&'static str, Posted)> {
    let mut longer = body.clone();
    longer.push(b' ');
    let mut other = body.clone();
    if let Some(digit) = other.iter_mut().rev().find(|byte| byte.is_ascii_digit()) {
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }
    vec![
        ("a longer body", (headers.clone(), longer)),
        ("another digit", (headers.clone(), other)),
        ("no body", (headers.clone(), Vec::new())),
        ("no headers", (Vec::new(), body.clone())),
    ]
}

/// One test per promise, each in a world of its own.
macro_rules! every_promise {
    ($suite:ident in $world:path: $($promise:ident)*) => {$(
        #[tokio::test]
        async fn $promise() {
            crate::party_contract::$suite::$promise(&mut $world().await).await;
        }
    )*};
    (wallet in $world:path) => {
        crate::party_contract::every_promise!(wallet in $world:
            a_repeated_prepay_has_the_same_handle
            cash_is_taken_once_and_the_question_says_what_the_notice_said
            a_closed_order_can_never_be_paid
            a_paid_order_is_not_closed
            what_is_not_known_is_nothing_and_may_be_closed
            one_institution_knows_nothing_of_anothers_orders
            a_refund_number_gives_back_once
            no_more_goes_back_than_was_paid
            a_refund_without_balance_is_refused_and_the_same_number_works_later
            every_call_in_trouble_says_what_it_knows
            after_an_unknown_the_question_tells_and_a_repeat_is_harmless
            a_spoilt_notice_is_not_believed_and_a_repeated_one_is_the_same
            what_never_left_is_a_refusal_that_may_be_repeated
        );
    };
    (bureau in $world:path) => {
        crate::party_contract::every_promise!(bureau in $world:
            a_person_is_found_and_a_stranger_is_not
            nothing_settles_without_a_binding_and_none_is_made_without_the_password
            an_ended_binding_pays_nothing_more
            the_same_message_settles_once
            the_question_tells_what_the_settlement_told
            an_undo_leaves_nothing_and_names_itself
            a_reversal_leaves_nothing_and_may_be_repeated
            what_is_not_known_is_nothing
            every_call_in_trouble_says_what_it_knows
            after_a_lost_settlement_the_question_tells
            after_a_lost_undo_the_question_tells
            a_refused_settlement_settled_nothing
            a_lost_card_is_told_and_blocks
            what_never_left_is_a_refusal_that_may_be_repeated
        );
    };
    (sms in $world:path) => {
        crate::party_contract::every_promise!(sms in $world:
            a_message_is_sent_once_however_often_it_is_handed_over
            messages_of_other_ids_are_other_messages
            every_trouble_says_what_it_knows_and_a_repeat_is_harmless
            no_refusal_names_the_phone_or_the_text
            what_never_left_is_a_refusal_that_may_be_repeated
        );
    };
}
pub(crate) use every_promise;
