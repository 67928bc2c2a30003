//! Money cases as a table, proofread like a ledger page: one line per attempt, ending in its answer.
//!
//! ```text
//! what happens  =>  "where it stands then  | postings, in fen         | actions, and when they are due | claims held"
//! ```
//!
//! A refund's own state stands behind a slash; a reason in brackets; `refused CODE` changed nothing. Under every line
//! the books are checked, and no line may leave the table's own list of places.

mod begin;
mod page;
#[path = "../paper/mod.rs"]
mod paper;
mod words;

use std::collections::BTreeSet;

use platform::domain::order::{Event, Order, Owner, Place, State, TABLE, Why};
use platform::domain::refund::{self, RefundEvent, Returned};
use platform::domain::settlement::Settlement;
use schema::ids::RefundId;
use schema::money::Fen;
use schema::refusal::Code;
use uuid::Uuid;

use begin::*;
use page::{Line, S_US, Seen, short};
use paper::{T0_US, split};
use words::*;

macro_rules! pages {
    ($($(#[$doc:meta])* $name:ident: $begin:expr => { $($line:expr => $expected:literal;)* })*) => {
        $(
            $(#[$doc])*
            #[test]
            fn $name() {
                $begin.read(vec![$(($line, $expected)),*]);
            }
        )*

        /// Everything that the pages show, together.
        fn every_page() -> Seen {
            let mut all = Seen::default();
            $(
                let page = $begin.read(vec![$(($line, $expected)),*]);
                all.moves.extend(page.moves);
                all.refund_moves.extend(page.refund_moves);
                all.papers.extend(page.papers);
            )*
            all
        }
    };
}

pages! {
    // ——— the straight way, in its three shapes ———

    a_mixed_bill_is_settled_then_collected_then_told_then_completed: insured() => {
        Line::Opened => "Created | | price | bill";
        price(MIXED) => "Priced | | | bill";
        code(1) => "Priced | | | bill";
        authorise(1) => "Settling | | settle | bill person";
        settled(MIXED) => "Prepaying | pooled+6000 account+1500 payable-7500 | sms ripple prepay | bill person";
        prepaid() => "Collecting | | ask_wallet@30s | bill person";
        paid(2_500) => "Paid | wallet+2500 payable-2500 | sms tell | bill";
        booked() => "Completed | | | bill";
    }
    every_share_has_its_own_account_and_the_hospital_bears_its_own: insured() => {
        price(EVERY_SHARE) => "Priced | | | bill";
        code(1) => "Priced | | | bill";
        authorise(1) => "Settling | | settle | bill person";
        settled(EVERY_SHARE) => "Prepaying | pooled+5000 other+500 account+1200 mulaid+300 payable-7000 | sms ripple prepay | bill person";
    }
    a_bill_without_cash_part_needs_no_wallet: insured() => {
        price(NO_CASH) => "Priced | | | bill";
        code(1) => "Priced | | | bill";
        authorise(1) => "Settling | | settle | bill person";
        settled(NO_CASH) => "Paid | pooled+8000 account+2000 payable-10000 | sms ripple tell | bill";
        booked() => "Completed | | | bill";
    }
    a_cash_only_bill_needs_no_code_and_no_bureau: cash_only() => {
        Line::Opened => "Created | | price | bill";
        price(CASH) => "Priced | | | bill";
        tap() => "Prepaying | | prepay | bill";
        prepaid() => "Collecting | | ask_wallet@30s | bill";
        paid(10_000) => "Paid | wallet+10000 payable-10000 | sms tell | bill";
        booked() => "Completed | | | bill";
    }

    // ——— the institution prices ———

    a_hospital_that_refuses_to_price_closes_the_order: insured() => {
        price_refused() => "Closed(price_refused) | | release |";
    }
    a_hospital_that_never_answers_closes_the_order_at_its_deadline: insured() => {
        price_lost() => "Created | | price@5s | bill";
        after(30, price_lost()) => "Created | | price@7s | bill";
        too_early() => "refused NOT_NOW";
        deadline() => "Closed(no_price_in_time) | | release |";
    }
    a_hospital_that_prices_late_but_in_time_is_heard: insured() => {
        price_lost() => "Created | | price@5s | bill";
        after(59, price(MIXED)) => "Priced | | | bill";
    }
    a_price_after_the_order_closed_changes_nothing: insured() => {
        deadline() => "Closed(no_price_in_time) | | release |";
        price(MIXED) => "refused NOT_NOW";
    }
    a_price_that_does_not_sum_to_the_bill_closes_the_order: insured() => {
        price(ONE_FEN_SHORT) => "Closed(price_unsound) | | release |";
    }
    a_price_with_a_negative_share_closes_the_order: insured() => {
        price(NEGATIVE) => "Closed(price_unsound) | | release |";
    }
    an_insured_price_without_what_2207_needs_closes_the_order: insured() => {
        price_without_inputs(MIXED) => "Closed(price_unsound) | | release |";
    }
    a_cash_only_order_is_never_priced_with_insured_money: cash_only() => {
        price_without_inputs(MIXED) => "Closed(price_unsound) | | release |";
    }
    a_price_that_is_over_when_it_comes_closes_the_order: insured() => {
        after(50, price_for(MIXED, 50)) => "Closed(price_unsound) | | release |";
    }
    a_price_lives_no_longer_than_the_hospital_says: insured() => {
        price_for(MIXED, 100) => "Priced | | | bill";
        code(1) => "Priced | | | bill";
        after(100, authorise(1)) => "refused PRICE_EXPIRED";
        code(2) => "refused PRICE_EXPIRED";
        deadline() => "Closed(price_expired) | | release |";
    }
    a_price_lives_half_an_hour_at_most: priced() => {
        after(1_799, too_early()) => "refused NOT_NOW";
        after(1, too_early()) => "Closed(price_expired) | | release |";
    }
    a_settlement_elsewhere_makes_a_price_stale_and_kills_its_code: priced() => {
        code(1) => "Priced | | | bill";
        stale() => "Created | | price | bill";
        authorise(1) => "refused NOT_NOW";
        price(MORE_CASH) => "Priced | | | bill";
        authorise(1) => "refused CODE_NOT_SENT";
    }
    a_stale_price_that_the_hospital_does_not_renew_closes_the_order: priced() => {
        after(600, stale()) => "Created | | price | bill";
        after(59, too_early()) => "refused NOT_NOW";
        after(1, too_early()) => "Closed(no_price_in_time) | | release |";
    }

    // ——— the one-time code ———

    a_wrong_code_moves_nothing_and_the_right_one_still_counts: priced() => {
        code(1) => "Priced | | | bill";
        authorise(2) => "refused CODE_WRONG";
        tap() => "refused CODE_WRONG";
        authorise(1) => "Settling | | settle | bill person";
    }
    without_a_code_nothing_is_authorised: priced() => {
        authorise(1) => "refused CODE_NOT_SENT";
    }
    a_code_lives_two_minutes: priced() => {
        code(1) => "Priced | | | bill";
        after(121, authorise(1)) => "refused CODE_EXPIRED";
        code(2) => "Priced | | | bill";
        after(120, authorise(2)) => "Settling | | settle | bill person";
    }
    a_code_for_another_price_is_foreign: priced() => {
        code_for_price(1, 2) => "refused CODE_FOREIGN";
    }
    a_new_code_kills_the_old_one: priced() => {
        code(1) => "Priced | | | bill";
        code(2) => "Priced | | | bill";
        authorise(1) => "refused CODE_WRONG";
    }
    a_price_has_three_codes_and_no_fourth: priced() => {
        code(1) => "Priced | | | bill";
        code(2) => "Priced | | | bill";
        code(3) => "Priced | | | bill";
        code(4) => "refused CODE_SENDS_USED";
        authorise(3) => "Settling | | settle | bill person";
    }
    a_code_is_used_once: settling() => {
        authorise(1) => "refused NOT_NOW";
        code(2) => "refused NOT_NOW";
    }
    a_code_that_was_spent_on_a_lost_2207_is_dead: proving() => {
        not_found() => "Priced | | | bill";
        authorise(1) => "refused CODE_NOT_SENT";
        code(2) => "Priced | | | bill";
        authorise(2) => "Settling | | settle | bill person";
    }
    a_cash_only_order_needs_no_code: cash_priced() => {
        code(1) => "refused NOT_NOW";
    }
    a_binding_that_changed_since_the_order_was_opened_spends_nothing: priced() => {
        code(1) => "Priced | | | bill";
        lost() => "Closed(binding_lost) | | release |";
        authorise(1) => "refused NOT_NOW";
    }

    // ——— the bureau settles ———

    a_bureau_that_refuses_closes_the_order: settling() => {
        settle_refused() => "Closed(settle_refused) | | release |";
    }
    a_busy_bureau_is_asked_again_under_a_fresh_message: settling() => {
        settle_busy() => "Settling | | settle_due@5s | bill person";
        after(5, settle_due()) => "Settling | | settle | bill person";
        after(55, settle_busy()) => "Settling | | settle_due@15s | bill person";
        after(15, settle_due()) => "Settling | | settle | bill person";
        settled(MIXED) => "Prepaying | pooled+6000 account+1500 payable-7500 | sms ripple prepay | bill person";
    }
    a_busy_bureau_is_not_asked_again_once_the_price_is_over: settling() => {
        after(1_800, settle_busy()) => "Closed(settle_refused) | | release |";
    }
    a_settlement_under_another_message_is_not_ours: settling() => {
        settled_under("H44190000001000000000000000000") => "refused NOT_NOW";
    }
    a_shift_among_funds_is_recorded_and_accepted: settling() => {
        settled(FUNDS_SHIFTED) => "Prepaying | pooled+5700 other+300 account+1500 payable-7500 | sms ripple prepay | bill person";
    }
    a_settlement_with_more_cash_is_undone_and_priced_again: settling() => {
        settled(MORE_CASH) => "UndoingInsurance(differs) | pooled+5500 account+1500 payable-7000 | sms undo | bill person";
        undone() => "Created | pooled-5500 account-1500 payable+7000 | sms ripple price | bill";
        price(MORE_CASH) => "Priced | | | bill";
        authorise(1) => "refused CODE_NOT_SENT";
        code(2) => "Priced | | | bill";
        authorise(2) => "Settling | | settle | bill person";
        settled(MORE_CASH) => "Prepaying | pooled+5500 account+1500 payable-7000 | sms ripple prepay | bill person";
    }
    a_settlement_with_more_account_is_undone_and_priced_again: settling() => {
        settled(MORE_ACCOUNT) => "UndoingInsurance(differs) | pooled+5500 account+2000 payable-7500 | sms undo | bill person";
        undone() => "Created | pooled-5500 account-2000 payable+7500 | sms ripple price | bill";
    }
    a_settlement_that_does_not_sum_to_the_bill_is_undone: settling() => {
        settled(ONE_FEN_SHORT) => "UndoingInsurance(differs) | pooled+6000 account+1500 payable-7500 | sms undo | bill person";
    }
    a_silent_bureau_suspends_the_order_and_is_asked_on: settling() => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        settle_lost() => "Suspended(bureau_silent) | | reverse@90s | bill person";
        reverse_lost() => "Suspended(bureau_silent) | | reverse@5s | bill person";
        reversed() => "Suspended(bureau_silent) | | ask_settle@90s | bill person";
        question_lost() => "Suspended(bureau_silent) | | ask_settle@5s | bill person";
        not_found() => "Created | | price | bill";
    }
    a_bureau_that_settles_after_the_suspension_is_believed: settling() => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        settled(MIXED) => "Prepaying | pooled+6000 account+1500 payable-7500 | sms ripple prepay | bill person";
    }
    a_suspended_settlement_that_differs_is_undone_all_the_same: settling() => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        settled(MORE_CASH) => "UndoingInsurance(differs) | pooled+5500 account+1500 payable-7000 | sms undo | bill person";
    }
    a_suspended_settlement_without_cash_is_paid: insured().then(&[price(NO_CASH), code(1), authorise(1)]) => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        settled(NO_CASH) => "Paid | pooled+8000 account+2000 payable-10000 | sms ripple tell | bill";
    }
    a_bureau_that_refuses_after_the_suspension_closes_the_order: settling() => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        settle_refused() => "Closed(settle_refused) | | release |";
    }

    // ——— the lost 2207 ———

    a_lost_2207_that_was_not_done_leads_back_to_the_price: settling() => {
        settle_lost() => "Doubting | | reverse@90s | bill person";
        reverse_lost() => "Doubting | | reverse@5s | bill person";
        reversed() => "Proving | | ask_settle@90s | bill person";
        question_lost() => "Proving | | ask_settle@5s | bill person";
        not_found() => "Priced | | | bill";
    }
    a_lost_2207_whose_price_is_over_meanwhile_is_priced_again: proving() => {
        after(1_800, not_found()) => "Created | | price | bill";
    }
    a_lost_2207_that_was_done_is_undone_and_leads_back_to_the_price: proving() => {
        found(MIXED) => "UndoingInsurance(settled_late) | pooled+6000 account+1500 payable-7500 | sms undo | bill person";
        undone() => "Priced | pooled-6000 account-1500 payable+7500 | sms ripple | bill";
        authorise(1) => "refused CODE_NOT_SENT";
    }
    a_lost_2207_found_late_whose_price_is_over_is_priced_again: proving() => {
        found(MIXED) => "UndoingInsurance(settled_late) | pooled+6000 account+1500 payable-7500 | sms undo | bill person";
        after(1_800, undone()) => "Created | pooled-6000 account-1500 payable+7500 | sms ripple price | bill";
    }
    a_dialect_without_visit_query_is_proved_by_a_second_reversal: insured_without_question() => {
        price(MIXED) => "Priced | | | bill";
        code(1) => "Priced | | | bill";
        authorise(1) => "Settling | | settle | bill person";
        settle_lost() => "Doubting | | reverse@90s | bill person";
        reversed() => "Proving | | reverse@90s | bill person";
        reverse_lost() => "Proving | | reverse@5s | bill person";
        reversed() => "Priced | | | bill";
    }
    a_second_reversal_that_comes_after_the_price_prices_again: insured_without_question() => {
        price_for(MIXED, 200) => "Priced | | | bill";
        code(1) => "Priced | | | bill";
        authorise(1) => "Settling | | settle | bill person";
        settle_lost() => "Doubting | | reverse@90s | bill person";
        reversed() => "Proving | | reverse@90s | bill person";
        after(200, reversed()) => "Created | | price | bill";
    }
    a_doubt_that_lasts_too_long_is_shown_to_a_person: doubting() => {
        too_early() => "refused NOT_NOW";
        deadline() => "Suspended(bureau_silent) | | | bill person";
        reversed() => "Suspended(bureau_silent) | | ask_settle@90s | bill person";
        found(MIXED) => "UndoingInsurance(settled_late) | pooled+6000 account+1500 payable-7500 | sms undo | bill person";
        undone() => "Created | pooled-6000 account-1500 payable+7500 | sms ripple price | bill";
    }
    a_proof_that_lasts_too_long_is_shown_to_a_person: insured_without_question() => {
        price(MIXED) => "Priced | | | bill";
        code(1) => "Priced | | | bill";
        authorise(1) => "Settling | | settle | bill person";
        settle_lost() => "Doubting | | reverse@90s | bill person";
        reversed() => "Proving | | reverse@90s | bill person";
        deadline() => "Suspended(bureau_silent) | | | bill person";
        reverse_lost() => "Suspended(bureau_silent) | | reverse@5s | bill person";
        reversed() => "Created | | price | bill";
    }

    a_busy_bureau_is_asked_again_under_a_suspension_too: settling_without_patience(true) => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        settle_busy() => "Suspended(bureau_silent) | | settle_due@5s | bill person";
        settle_due() => "Suspended(bureau_silent) | | settle | bill person";
        settle_lost() => "Suspended(bureau_silent) | | reverse@90s | bill person";
        reversed() => "Suspended(bureau_silent) | | ask_settle@90s | bill person";
        not_found() => "Priced | | | bill";
    }
    a_suspended_2207_that_only_reversals_prove_leads_back_to_the_price: settling_without_patience(false) => {
        settle_lost() => "Doubting | | reverse@90s | bill person";
        deadline() => "Suspended(bureau_silent) | | | bill person";
        reversed() => "Suspended(bureau_silent) | | reverse@90s | bill person";
        reversed() => "Priced | | | bill";
    }
    a_suspended_2207_that_is_undone_leads_back_to_the_price: settling_without_patience(true) => {
        settle_lost() => "Doubting | | reverse@90s | bill person";
        reversed() => "Proving | | ask_settle@90s | bill person";
        found(MIXED) => "UndoingInsurance(settled_late) | pooled+6000 account+1500 payable-7500 | sms undo | bill person";
        deadline() => "Suspended(bureau_silent) | | | bill person";
        undone() => "Priced | pooled-6000 account-1500 payable+7500 | sms ripple | bill";
    }

    // ——— 2208 before payment ———

    a_lost_2208_that_was_done_is_found_by_asking: undoing() => {
        undo_lost() => "AskingUndo(cancelled) | | ask_undo@90s | bill person";
        undo_question_lost() => "AskingUndo(cancelled) | | ask_undo@5s | bill person";
        undo_found() => "Closed(cancelled) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_lost_2208_that_was_not_done_is_sent_again: undoing() => {
        undo_lost() => "AskingUndo(cancelled) | | ask_undo@90s | bill person";
        stands() => "UndoingInsurance(cancelled) | | undo | bill person";
        undone() => "Closed(cancelled) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_busy_bureau_gets_the_2208_again: undoing() => {
        undo_busy() => "UndoingInsurance(cancelled) | | undo@5s | bill person";
        undone() => "Closed(cancelled) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_refused_2208_whose_settlement_is_gone_was_done_before: undoing() => {
        undo_refused() => "AskingUndo(cancelled) | | ask_undo@5s | bill person";
        undo_found() => "Closed(cancelled) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_difference_whose_2208_was_lost_is_priced_again_when_it_is_found: undoing_a_difference() => {
        undo_lost() => "AskingUndo(differs) | | ask_undo@90s | bill person";
        undo_found() => "Created | pooled-5500 account-1500 payable+7000 | sms ripple price | bill";
    }
    a_late_settlement_whose_2208_was_lost_leads_back_to_the_price: proving().then(&[found(MIXED)]) => {
        undo_lost() => "AskingUndo(settled_late) | | ask_undo@90s | bill person";
        undo_found() => "Priced | pooled-6000 account-1500 payable+7500 | sms ripple | bill";
    }
    a_refused_2208_whose_settlement_stands_is_shown_to_the_bureau_and_learned_from: undoing() => {
        undo_refused() => "AskingUndo(cancelled) | | ask_undo@5s | bill person";
        undo_question_lost() => "AskingUndo(cancelled) | | ask_undo@5s | bill person";
        stands() => "Suspended(undo_refused) | | ask_undo@7200s | bill";
        after(7_200, stands()) => "Suspended(undo_refused) | | ask_undo@7200s | bill";
        after(7_200, undo_question_lost()) => "Suspended(undo_refused) | | ask_undo@600s | bill";
        undo_found() => "Closed(cancelled) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_refused_2208_of_a_late_settlement_leads_back_to_the_price_once_it_is_done: proving().then(&[found(MIXED)]) => {
        undo_refused() => "AskingUndo(settled_late) | | ask_undo@5s | bill person";
        stands() => "Suspended(undo_refused) | | ask_undo@7200s | bill";
        undo_found() => "Priced | pooled-6000 account-1500 payable+7500 | sms ripple | bill";
    }
    a_2208_refused_under_a_suspension_says_so: undoing() => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        undo_refused() => "Suspended(bureau_silent) | | ask_undo@5s | bill";
        stands() => "Suspended(undo_refused) | | ask_undo@7200s | bill";
    }
    an_undo_that_lasts_too_long_is_shown_to_a_person_and_still_ends: undoing() => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        undo_busy() => "Suspended(bureau_silent) | | undo@5s | bill person";
        undo_lost() => "Suspended(bureau_silent) | | ask_undo@90s | bill person";
        undo_question_lost() => "Suspended(bureau_silent) | | ask_undo@5s | bill person";
        stands() => "Suspended(bureau_silent) | | undo | bill person";
        undone() => "Closed(cancelled) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_question_about_2208_that_lasts_too_long_is_shown_to_a_person: undoing() => {
        undo_lost() => "AskingUndo(cancelled) | | ask_undo@90s | bill person";
        deadline() => "Suspended(bureau_silent) | | | bill person";
        undo_found() => "Closed(cancelled) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_suspended_difference_is_priced_again_once_it_is_undone: undoing_a_difference() => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        undone() => "Created | pooled-5500 account-1500 payable+7000 | sms ripple price | bill";
    }
    a_suspended_difference_is_priced_again_once_it_is_found_undone: undoing_a_difference() => {
        undo_lost() => "AskingUndo(differs) | | ask_undo@90s | bill person";
        deadline() => "Suspended(bureau_silent) | | | bill person";
        undo_found() => "Created | pooled-5500 account-1500 payable+7000 | sms ripple price | bill";
    }

    // ——— the wallet ———

    a_lost_prepay_is_asked_about_and_sent_again_under_the_same_number: prepaying() => {
        prepay_lost() => "Prepaying | | ask_wallet@5s | bill person";
        not_paid() => "Prepaying | | prepay@5s | bill person";
        prepaid() => "Collecting | | ask_wallet@30s | bill person";
    }
    a_busy_wallet_is_asked_again: prepaying() => {
        prepay_busy() => "Prepaying | | prepay@5s | bill person";
        prepaid() => "Collecting | | ask_wallet@30s | bill person";
    }
    a_payment_that_overtakes_the_prepay_counts: prepaying() => {
        paid(2_500) => "Paid | wallet+2500 payable-2500 | sms tell | bill";
        prepaid() => "refused NOT_NOW";
    }
    a_wallet_that_refuses_is_closed_and_asked_before_the_insurance_is_undone: prepaying() => {
        prepay_refused() => "ClosingWallet(wallet_refused) | | close_wallet | bill person";
        wallet_closed() => "UndoingInsurance(wallet_refused) | | undo | bill person";
        undone() => "Closed(wallet_refused) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_payer_who_never_pays_gets_everything_undone: collecting() => {
        not_paid() => "Collecting | | ask_wallet@30s | bill person";
        deadline() => "ClosingWallet(not_paid_in_time) | | close_wallet | bill person";
        not_paid() => "ClosingWallet(not_paid_in_time) | | close_wallet@5s | bill person";
        wallet_closed() => "UndoingInsurance(not_paid_in_time) | | undo | bill person";
        undone() => "Closed(not_paid_in_time) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_payer_who_never_pays_a_cash_only_order_leaves_nothing_behind: cash_collecting() => {
        deadline() => "ClosingWallet(not_paid_in_time) | | close_wallet | bill";
        wallet_closed() => "Closed(not_paid_in_time) | | release |";
    }
    a_wallet_that_never_answers_prepay_is_closed_at_the_deadline: prepaying() => {
        too_early() => "refused NOT_NOW";
        deadline() => "ClosingWallet(not_paid_in_time) | | close_wallet | bill person";
    }
    a_payment_on_closing_is_a_payment: closing() => {
        paid(2_500) => "Paid | wallet+2500 payable-2500 | sms tell | bill";
        booked() => "Completed | | | bill";
    }
    a_payment_after_closing_goes_back_while_the_insurance_is_undone: undoing() => {
        paid(2_500) => "UndoingInsurance(cancelled)/returning_cash | wallet+2500 suspense-2500 | sms return_cash | bill person";
        cash_back() => "UndoingInsurance(cancelled)/done | wallet-2500 suspense+2500 | sms | bill person";
        undone() => "Closed(cancelled) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_payment_while_the_undo_is_asked_about_goes_back: undoing() => {
        undo_lost() => "AskingUndo(cancelled) | | ask_undo@90s | bill person";
        paid(2_500) => "AskingUndo(cancelled)/returning_cash | wallet+2500 suspense-2500 | sms return_cash | bill person";
        cash_back() => "AskingUndo(cancelled)/done | wallet-2500 suspense+2500 | sms | bill person";
    }
    a_payment_while_an_undo_is_suspended_goes_back: undoing() => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        paid(2_500) => "Suspended(bureau_silent)/returning_cash | wallet+2500 suspense-2500 | sms return_cash | bill person";
        cash_back() => "Suspended(bureau_silent)/done | wallet-2500 suspense+2500 | sms | bill person";
    }
    a_payment_after_the_end_goes_back_once_however_often_it_is_told: closed() => {
        paid(2_500) => "Closed(cancelled)/returning_cash | wallet+2500 suspense-2500 | sms return_cash |";
        paid(2_500) => "refused NOT_NOW";
        cash_back() => "Closed(cancelled)/done | wallet-2500 suspense+2500 | sms |";
        cash_back() => "refused NOT_NOW";
        paid(2_500) => "refused NOT_NOW";
    }
    a_payment_that_is_told_twice_counts_once: collecting() => {
        paid(2_500) => "Paid | wallet+2500 payable-2500 | sms tell | bill";
        paid(2_500) => "refused NOT_NOW";
        booked() => "Completed | | | bill";
        paid(2_500) => "refused NOT_NOW";
    }
    a_payment_of_another_amount_goes_back_and_the_insurance_is_undone: collecting() => {
        paid(2_499) => "UndoingInsurance(amount_differs)/returning_cash | wallet+2499 suspense-2499 | sms return_cash undo | bill person";
        paid(2_499) => "refused NOT_NOW";
        not_paid() => "refused NOT_NOW";
        cash_back() => "UndoingInsurance(amount_differs)/done | wallet-2499 suspense+2499 | sms | bill person";
        undone() => "Closed(amount_differs) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_payment_of_another_amount_does_not_hold_the_person_where_the_bureau_will_not_undo: collecting() => {
        paid(2_499) => "UndoingInsurance(amount_differs)/returning_cash | wallet+2499 suspense-2499 | sms return_cash undo | bill person";
        undo_refused() => "AskingUndo(amount_differs) | | ask_undo@5s | bill person";
        stands() => "Suspended(undo_refused) | | ask_undo@7200s | bill";
        cash_back() => "Suspended(undo_refused)/done | wallet-2499 suspense+2499 | sms | bill";
        undo_found() => "Closed(amount_differs) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_payment_of_another_amount_before_the_prepay_answered_goes_back_too: prepaying() => {
        paid(2_499) => "UndoingInsurance(amount_differs)/returning_cash | wallet+2499 suspense-2499 | sms return_cash undo | bill person";
        prepaid() => "refused NOT_NOW";
    }
    a_payment_of_another_amount_on_closing_goes_back_too: closing() => {
        paid(2_501) => "UndoingInsurance(amount_differs)/returning_cash | wallet+2501 suspense-2501 | sms return_cash undo | bill person";
        paid_as("T2", 2_500) => "UndoingInsurance(amount_differs)/returning_cash | wallet+2500 suspense-2500 | sms return_cash | bill person";
    }
    a_payment_of_another_amount_ends_a_cash_only_order: cash_collecting() => {
        paid(9_999) => "Closed(amount_differs)/returning_cash | wallet+9999 suspense-9999 | sms return_cash release |";
        cash_back() => "Closed(amount_differs)/done | wallet-9999 suspense+9999 | sms |";
    }
    a_payment_of_another_amount_ends_a_cash_only_order_whose_wallet_order_opens: cash_prepaying() => {
        paid(9_999) => "Closed(amount_differs)/returning_cash | wallet+9999 suspense-9999 | sms return_cash release |";
    }
    a_payment_of_another_amount_ends_a_cash_only_order_that_is_closing: cash_closing() => {
        paid(9_999) => "Closed(amount_differs)/returning_cash | wallet+9999 suspense-9999 | sms return_cash release |";
    }
    a_payment_of_another_amount_ends_a_suspended_cash_only_order: cash_closing() => {
        deadline() => "Suspended(wallet_silent) | | | bill";
        paid(9_999) => "Closed(amount_differs)/returning_cash | wallet+9999 suspense-9999 | sms return_cash release |";
    }
    an_order_that_was_stopped_before_the_prepay_answered_learns_of_the_wallet: stopped(prepaying()) => {
        prepay_lost() => "Suspended(broken) | | ask_wallet@5s | bill person";
        prepay_busy() => "Suspended(broken) | | prepay@5s | bill person";
        prepaid() => "Suspended(broken) | | ask_wallet@30s | bill person";
        wallet_closed() => "UndoingInsurance(wallet_closed) | | undo | bill person";
    }
    an_order_that_was_stopped_before_the_prepay_was_refused_closes_the_wallet: stopped(prepaying()) => {
        prepay_refused() => "ClosingWallet(wallet_refused) | | close_wallet | bill person";
    }
    a_wallet_order_that_somebody_else_closed_undoes_the_insurance: collecting() => {
        wallet_closed() => "UndoingInsurance(wallet_closed) | | undo | bill person";
    }
    a_wallet_order_that_somebody_else_closed_ends_a_cash_only_order: cash_collecting() => {
        wallet_closed() => "Closed(wallet_closed) | | release |";
    }
    a_wallet_order_that_is_closed_before_the_prepay_answered_undoes_the_insurance: prepaying() => {
        prepay_lost() => "Prepaying | | ask_wallet@5s | bill person";
        wallet_closed() => "UndoingInsurance(wallet_closed) | | undo | bill person";
    }
    a_wallet_order_that_is_closed_before_the_prepay_answered_ends_a_cash_only_order: cash_prepaying() => {
        prepay_lost() => "Prepaying | | ask_wallet@5s | bill";
        wallet_closed() => "Closed(wallet_closed) | | release |";
    }
    a_wallet_that_never_answers_on_closing_is_shown_to_finance_and_asked_on: closing() => {
        deadline() => "Suspended(wallet_silent) | | | bill person";
        not_paid() => "Suspended(wallet_silent) | | close_wallet@5s | bill person";
        wallet_closed() => "Suspended(wallet_silent) | | undo | bill person";
        undone() => "Closed(cancelled) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_wallet_that_says_paid_after_the_suspension_is_believed: closing() => {
        deadline() => "Suspended(wallet_silent) | | | bill person";
        paid(2_500) => "Paid | wallet+2500 payable-2500 | sms tell | bill";
    }
    a_wallet_that_says_closed_after_the_suspension_ends_a_cash_only_order: cash_closing() => {
        deadline() => "Suspended(wallet_silent) | | | bill";
        wallet_closed() => "Closed(cancelled) | | release |";
    }

    // ——— the institution is told ———

    a_hospital_that_rejects_after_payment_gets_2208_and_then_the_cash_back: paid_mixed() => {
        rejected() => "Returning(rejected)/undoing_insurance | | undo | bill";
        back_undone() => "Returning(rejected)/returning_cash | pooled-6000 account-1500 payable+7500 | sms ripple return_cash | bill";
        cash_back() => "Closed(rejected)/done | wallet-2500 payable+2500 | sms tell_undone |";
        paid(2_500) => "refused NOT_NOW";
    }
    a_hospital_that_rejects_a_bill_without_cash_gets_2208_only: paid_without_cash() => {
        rejected() => "Returning(rejected)/undoing_insurance | | undo | bill";
        back_undone() => "Closed(rejected)/done | pooled-8000 account-2000 payable+10000 | sms ripple tell_undone |";
    }
    a_hospital_that_rejects_a_cash_only_bill_gets_the_cash_back: paid_in_cash() => {
        rejected() => "Returning(rejected)/returning_cash | | return_cash | bill";
        cash_back() => "Closed(rejected)/done | wallet-10000 payable+10000 | sms tell_undone |";
    }
    a_2208_refused_after_a_rejection_moves_nothing_and_is_shown_to_the_bureau: returning() => {
        back_refused() => "Returning(rejected)/asking_undo | | ask_undo@5s | bill";
        back_lost() => "Returning(rejected)/asking_undo | | ask_undo@5s | bill";
        back_stands() => "Suspended(undo_refused)/refused | | | bill";
        cash_back() => "refused NOT_NOW";
        claim() => "refused BILL_NOT_PAYABLE";
    }
    a_payment_that_the_bureau_would_not_undo_may_be_asked_back_again: returning() => {
        back_refused() => "Returning(rejected)/asking_undo | | ask_undo@5s | bill";
        back_stands() => "Suspended(undo_refused)/refused | | | bill";
        refund_all() => "Returning(refund_asked)/undoing_insurance | | undo | bill";
        back_undone() => "Returning(refund_asked)/returning_cash | pooled-6000 account-1500 payable+7500 | sms ripple return_cash | bill";
        cash_back() => "Closed(refund_asked)/done | wallet-2500 payable+2500 | sms tell_undone |";
    }
    a_payment_that_the_bureau_would_not_undo_may_still_be_booked: paid_mixed() => {
        tell_lost() => "Paid | | ask_tell@5s | bill";
        refund_all() => "Returning(refund_asked)/undoing_insurance | | undo | bill";
        booked() => "refused NOT_NOW";
        back_refused() => "Returning(refund_asked)/asking_undo | | ask_undo@5s | bill";
        back_stands() => "Suspended(undo_refused)/refused | | ask_tell@5s | bill";
        booked() => "Completed | | | bill";
    }
    a_refund_refused_under_a_suspension_says_so: returning() => {
        deadline() => "Suspended(refund_stuck) | | | bill";
        back_refused() => "Suspended(refund_stuck)/asking_undo | | ask_undo@5s | bill";
        back_stands() => "Suspended(undo_refused)/refused | | | bill";
        refund_all() => "Returning(refund_asked)/undoing_insurance | | undo | bill";
    }
    a_lost_2208_after_a_rejection_is_asked_and_sent_again: returning() => {
        back_lost() => "Returning(rejected)/asking_undo | | ask_undo@90s | bill";
        back_stands() => "Returning(rejected)/undoing_insurance | | undo | bill";
        back_busy() => "Returning(rejected)/undoing_insurance | | undo@5s | bill";
        back_undone() => "Returning(rejected)/returning_cash | pooled-6000 account-1500 payable+7500 | sms ripple return_cash | bill";
    }
    a_2208_refused_after_a_rejection_that_was_done_before_returns_the_cash: returning() => {
        back_refused() => "Returning(rejected)/asking_undo | | ask_undo@5s | bill";
        back_undone() => "Returning(rejected)/returning_cash | pooled-6000 account-1500 payable+7500 | sms ripple return_cash | bill";
    }
    a_lost_2208_of_a_bill_without_cash_ends_where_it_is_found: paid_without_cash() => {
        rejected() => "Returning(rejected)/undoing_insurance | | undo | bill";
        back_lost() => "Returning(rejected)/asking_undo | | ask_undo@90s | bill";
        back_undone() => "Closed(rejected)/done | pooled-8000 account-2000 payable+10000 | sms ripple tell_undone |";
    }
    a_silent_hospital_is_asked_and_told_again_until_it_books: paid_mixed() => {
        tell_lost() => "Paid | | ask_tell@5s | bill";
        tell_lost() => "Paid | | ask_tell@5s | bill";
        not_booked() => "Paid | | tell@5s | bill";
        booked() => "Completed | | | bill";
    }
    a_hospital_silent_for_a_day_is_shown_to_a_person_and_completes_late: paid_mixed() => {
        too_early() => "refused NOT_NOW";
        deadline() => "Suspended(institution_silent) | | | bill";
        tell_lost() => "Suspended(institution_silent) | | ask_tell@5s | bill";
        not_booked() => "Suspended(institution_silent) | | tell@5s | bill";
        booked() => "Completed | | | bill";
    }
    a_hospital_that_rejects_after_the_suspension_is_given_everything_back: paid_mixed() => {
        deadline() => "Suspended(institution_silent) | | | bill";
        rejected() => "Returning(rejected)/undoing_insurance | | undo | bill";
    }
    a_hospital_that_asks_everything_back_after_the_suspension_gets_it: paid_mixed() => {
        deadline() => "Suspended(institution_silent) | | | bill";
        refund(100) => "refused REFUND_NOT_NOW";
        replace_by(6_000) => "refused REFUND_NOT_NOW";
        refund_all() => "Returning(refund_asked)/undoing_insurance | | undo | bill";
    }
    a_refund_that_lasts_too_long_is_shown_to_finance_and_still_ends: returning() => {
        too_early() => "refused NOT_NOW";
        deadline() => "Suspended(refund_stuck) | | | bill";
        back_undone() => "Suspended(refund_stuck)/returning_cash | pooled-6000 account-1500 payable+7500 | sms ripple return_cash | bill";
        cash_back() => "Closed(rejected)/done | wallet-2500 payable+2500 | sms tell_undone |";
    }

    // ——— money goes back ———

    a_paid_order_is_given_back_whole_before_it_is_booked: paid_mixed() => {
        refund(2_500) => "refused REFUND_NOT_NOW";
        replace_by(6_000) => "refused REFUND_NOT_NOW";
        refund_all() => "Returning(refund_asked)/undoing_insurance | | undo | bill";
        back_undone() => "Returning(refund_asked)/returning_cash | pooled-6000 account-1500 payable+7500 | sms ripple return_cash | bill";
        cash_back() => "Closed(refund_asked)/done | wallet-2500 payable+2500 | sms tell_undone |";
    }
    a_completed_insured_order_is_given_back_whole: completed() => {
        refund_all() => "Completed/undoing_insurance | | undo | bill";
        back_undone() => "Completed/returning_cash | pooled-6000 account-1500 payable+7500 | sms ripple return_cash | bill";
        cash_back() => "Completed/done | wallet-2500 payable+2500 | sms tell_undone | bill";
        refund_all() => "refused REFUND_TOO_MUCH";
    }
    a_completed_order_without_cash_is_given_back_whole: completed_without_cash() => {
        refund_all() => "Completed/undoing_insurance | | undo | bill";
        back_undone() => "Completed/done | pooled-8000 account-2000 payable+10000 | sms ripple tell_undone | bill";
    }
    an_insured_order_is_not_given_back_in_part: completed() => {
        refund(2_500) => "refused REFUND_PART_INSURED";
        refund(10_001) => "refused REFUND_TOO_MUCH";
        refund(10_000) => "Completed/undoing_insurance | | undo | bill";
        refund_all() => "refused REFUND_UNDER_WAY";
        refund(10_001) => "refused REFUND_TOO_MUCH";
    }
    a_refund_that_the_bureau_refuses_moves_nothing_and_may_be_asked_again: completed() => {
        refund_all() => "Completed/undoing_insurance | | undo | bill";
        back_refused() => "Completed/asking_undo | | ask_undo@5s | bill";
        back_stands() => "Completed/refused | | | bill";
        refund_all() => "Completed/undoing_insurance | | undo | bill";
    }
    a_cash_only_order_goes_back_in_parts_up_to_what_was_paid: completed_in_cash() => {
        refund(4_000) => "Completed/returning_cash | | return_cash | bill";
        refund(6_001) => "refused REFUND_UNDER_WAY";
        cash_back() => "Completed/done | wallet-4000 payable+4000 | sms tell_undone | bill";
        refund(6_001) => "refused REFUND_TOO_MUCH";
        refund(0) => "refused REFUND_TOO_MUCH";
        refund(-1) => "refused REFUND_TOO_MUCH";
        refund(5_999) => "Completed/returning_cash | | return_cash | bill";
        cash_back() => "Completed/done | wallet-5999 payable+5999 | sms tell_undone | bill";
        refund_all() => "Completed/returning_cash | | return_cash | bill";
        refund(1) => "refused REFUND_UNDER_WAY";
        cash_back() => "Completed/done | wallet-1 payable+1 | sms tell_undone | bill";
        refund_all() => "refused REFUND_TOO_MUCH";
    }
    an_order_whose_invoice_is_printed_goes_back_at_the_window: paid_mixed() => {
        booked_with_paper_invoice() => "Completed | | | bill";
        refund_all() => "refused REFUND_NOT_NOW";
    }
    a_lost_refund_is_asked_about_and_sent_again_under_the_same_number: completed_in_cash() => {
        refund(100) => "Completed/returning_cash | | return_cash | bill";
        cash_lost() => "Completed/returning_cash | | ask_return@5s | bill";
        cash_unheard_of() => "Completed/returning_cash | | return_cash | bill";
        cash_lost() => "Completed/returning_cash | | ask_return@5s | bill";
        cash_back() => "Completed/done | wallet-100 payable+100 | sms tell_undone | bill";
        cash_back() => "refused NOT_NOW";
    }
    a_merchant_without_balance_is_tried_until_it_has_some: completed_in_cash() => {
        refund(100) => "Completed/returning_cash | | return_cash | bill";
        cash_refused() => "Completed/returning_cash | | return_cash@5s | bill";
        after(7_199, cash_refused()) => "Completed/returning_cash | | return_cash@600s | bill";
        after(1, cash_refused()) => "Completed/suspended | | return_cash@7200s | bill";
        after(7_200, cash_refused()) => "Completed/suspended | | return_cash@7200s | bill";
        after(7_200, cash_lost()) => "Completed/suspended | | ask_return@7200s | bill";
        after(7_200, cash_unheard_of()) => "Completed/suspended | | return_cash | bill";
        refund(9_901) => "refused REFUND_UNDER_WAY";
        cash_back() => "Completed/done | wallet-100 payable+100 | sms tell_undone | bill";
    }
    the_cash_of_a_refund_whose_2208_took_long_has_patience_of_its_own: completed() => {
        refund_all() => "Completed/undoing_insurance | | undo | bill";
        back_lost() => "Completed/asking_undo | | ask_undo@90s | bill";
        after(10_800, back_undone()) => "Completed/returning_cash | pooled-6000 account-1500 payable+7500 | sms ripple return_cash | bill";
        cash_refused() => "Completed/returning_cash | | return_cash@5s | bill";
        after(7_200, cash_refused()) => "Completed/suspended | | return_cash@7200s | bill";
    }
    an_abnormal_refund_is_shown_to_a_person_and_believed_when_it_ends: completed_in_cash() => {
        refund(100) => "Completed/returning_cash | | return_cash | bill";
        cash_abnormal() => "Completed/suspended | | ask_return@7200s | bill";
        after(7_200, cash_abnormal()) => "Completed/suspended | | ask_return@7200s | bill";
        cash_back() => "Completed/done | wallet-100 payable+100 | sms tell_undone | bill";
    }

    a_refund_whose_2208_the_bureau_never_answers_is_shown_to_the_bureaus_operators_and_sent_again: completed() => {
        refund_all() => "Completed/undoing_insurance | | undo | bill";
        back_lost() => "Completed/asking_undo | | ask_undo@90s | bill";
        after(7_200, back_lost()) => "Completed/suspended | | ask_undo@7200s | bill";
        back_lost() => "Completed/suspended | | ask_undo@7200s | bill";
        back_stands() => "Completed/suspended | | undo | bill";
        back_lost() => "Completed/suspended | | ask_undo@7200s | bill";
        back_stands() => "Completed/suspended | | undo | bill";
        back_undone() => "Completed/returning_cash | pooled-6000 account-1500 payable+7500 | sms ripple return_cash | bill";
    }
    a_refund_whose_2208_is_lost_again_and_again_is_shown_to_the_bureaus_operators: completed_without_cash() => {
        refund_all() => "Completed/undoing_insurance | | undo | bill";
        back_lost() => "Completed/asking_undo | | ask_undo@90s | bill";
        after(7_200, back_stands()) => "Completed/suspended | | undo | bill";
        back_undone() => "Completed/done | pooled-8000 account-2000 payable+10000 | sms ripple tell_undone | bill";
    }
    a_bureau_too_busy_for_a_2208_is_shown_to_its_operators_and_tried_on: completed() => {
        refund_all() => "Completed/undoing_insurance | | undo | bill";
        after(7_200, back_busy()) => "Completed/suspended | | undo@7200s | bill";
        after(7_200, back_busy()) => "Completed/suspended | | undo@7200s | bill";
        refund_all() => "refused REFUND_UNDER_WAY";
        back_refused() => "Completed/suspended | | ask_undo@7200s | bill";
        back_stands() => "Completed/refused | | | bill";
        refund_all() => "Completed/undoing_insurance | | undo | bill";
    }
    a_refusal_that_could_not_be_asked_about_for_long_is_one_in_the_end: completed() => {
        refund_all() => "Completed/undoing_insurance | | undo | bill";
        back_refused() => "Completed/asking_undo | | ask_undo@5s | bill";
        after(7_200, back_lost()) => "Completed/suspended | | ask_undo@7200s | bill";
        back_stands() => "Completed/refused | | | bill";
    }
    cash_that_takes_days_to_come_back_is_shown_to_finance_after_five: completed_in_cash() => {
        refund(100) => "Completed/returning_cash | | return_cash | bill";
        after(431_999, cash_lost()) => "Completed/returning_cash | | ask_return@600s | bill";
        after(1, cash_lost()) => "Completed/suspended | | ask_return@7200s | bill";
        cash_back() => "Completed/done | wallet-100 payable+100 | sms tell_undone | bill";
    }

    // ——— a part of an insured order goes back ———

    a_partial_return_undoes_all_and_gives_back_what_its_replacement_does_not_keep: completed() => {
        replace_by(6_000) => "Completed/undoing_insurance | | undo | bill";
        refund_all() => "refused REFUND_UNDER_WAY";
        back_undone() => "Completed/replacing | pooled-6000 account-1500 payable+7500 | sms ripple replace | bill";
        claim() => "refused BILL_NOT_PAYABLE";
        kept(2_501) => "refused INTERNAL";
        kept(1_000) => "Completed/returning_cash | suspense-1000 payable+1000 | return_cash | bill";
        kept(1_000) => "refused NOT_NOW";
        cash_back() => "Closed(replaced)/done | wallet-1500 payable+1500 | sms tell_undone |";
    }
    a_replacement_that_keeps_all_the_cash_leaves_nothing_to_give_back: completed() => {
        replace_by(9_000) => "Completed/undoing_insurance | | undo | bill";
        back_undone() => "Completed/replacing | pooled-6000 account-1500 payable+7500 | sms ripple replace | bill";
        kept(2_500) => "Closed(replaced)/done | suspense-2500 payable+2500 | tell_undone |";
    }
    a_replacement_that_fails_gives_everything_back: completed() => {
        replace_by(6_000) => "Completed/undoing_insurance | | undo | bill";
        back_lost() => "Completed/asking_undo | | ask_undo@90s | bill";
        back_undone() => "Completed/replacing | pooled-6000 account-1500 payable+7500 | sms ripple replace | bill";
        nothing_kept() => "Completed/returning_cash | | return_cash | bill";
        cash_back() => "Closed(replaced)/done | wallet-2500 payable+2500 | sms tell_undone |";
    }
    a_partial_return_of_a_bill_without_cash_has_nothing_to_keep: completed_without_cash() => {
        replace_by(6_000) => "Completed/undoing_insurance | | undo | bill";
        back_undone() => "Completed/replacing | pooled-8000 account-2000 payable+10000 | sms ripple replace | bill";
        nothing_kept() => "Closed(replaced)/done | | tell_undone |";
    }
    a_partial_return_whose_2208_was_found_late_goes_on: completed() => {
        replace_by(6_000) => "Completed/undoing_insurance | | undo | bill";
        after(7_200, back_busy()) => "Completed/suspended | | undo@7200s | bill";
        back_undone() => "Completed/replacing | pooled-6000 account-1500 payable+7500 | sms ripple replace | bill";
    }
    a_partial_return_that_the_bureau_refuses_moves_nothing: completed() => {
        replace_by(6_000) => "Completed/undoing_insurance | | undo | bill";
        back_refused() => "Completed/asking_undo | | ask_undo@5s | bill";
        back_stands() => "Completed/refused | | | bill";
    }
    what_remains_is_a_smaller_bill_of_an_insured_order: completed() => {
        replace_by(10_000) => "refused REFUND_TOO_MUCH";
        refund_ask(Some(10_000), Some(6_000)) => "refused REFUND_NOT_NOW";
    }
    what_remains_is_paid_at_the_merchant_that_has_the_cash: completed() => {
        replace_elsewhere() => "refused REFUND_NOT_NOW";
    }
    a_cash_only_order_is_given_back_in_part_without_a_replacement: completed_in_cash() => {
        replace_by(6_000) => "refused REFUND_NOT_NOW";
    }
    a_replacement_within_what_was_authorised_is_settled_without_asking_the_payer: replacement() => {
        Line::Opened => "Created | | price | bill";
        price(MIXED) => "Priced | | resume | bill";
        resumed() => "Settling | | settle | bill person";
        settled(MIXED) => "Carrying | pooled+6000 account+1500 payable-7500 | sms ripple carry | bill person";
        claim() => "refused IN_PROGRESS";
        cash_carried() => "Paid | suspense+2500 payable-2500 | tell | bill";
        booked() => "Completed | | | bill";
        refund_all() => "Completed/undoing_insurance | | undo | bill";
        back_undone() => "Completed/returning_cash | pooled-6000 account-1500 payable+7500 | sms ripple return_cash | bill";
        cash_back() => "Completed/done | wallet-2500 payable+2500 | sms tell_undone | bill";
        claim() => "Closed(taken_by_window) | | |";
    }
    a_replacement_without_cash_part_lets_all_the_cash_go: replacement() => {
        price(split([8_500, 0, 1_500, 0, 0, 0])) => "Priced | | resume | bill";
        resumed() => "Settling | | settle | bill person";
        settled(split([8_500, 0, 1_500, 0, 0, 0])) => "Carrying | pooled+8500 account+1500 payable-10000 | sms ripple carry | bill person";
        cash_carried() => "Paid | | tell | bill";
    }
    a_replacement_may_be_replaced_itself: carrying() => {
        cash_carried() => "Paid | suspense+2500 payable-2500 | tell | bill";
        booked() => "Completed | | | bill";
        replace_by(6_000) => "Completed/undoing_insurance | | undo | bill";
        back_undone() => "Completed/replacing | pooled-6000 account-1500 payable+7500 | sms ripple replace | bill";
        kept(2_000) => "Completed/returning_cash | suspense-2000 payable+2000 | return_cash | bill";
        cash_back() => "Closed(replaced)/done | wallet-500 payable+500 | sms tell_undone |";
    }
    a_replacement_that_costs_the_payer_more_is_an_order_like_any_other: replacement() => {
        price(MORE_CASH) => "Priced | | not_carried | bill";
        resumed() => "refused INTERNAL";
        code(1) => "Priced | | | bill";
        authorise(1) => "Settling | | settle | bill person";
        settled(MORE_CASH) => "Prepaying | pooled+5500 account+1500 payable-7000 | sms ripple prepay | bill person";
    }
    a_replacement_that_ends_early_lets_the_cash_go: replacement() => {
        price_refused() => "Closed(price_refused) | | release not_carried |";
    }
    a_replacement_that_the_payer_cancels_lets_the_cash_go: replacement() => {
        price(MIXED) => "Priced | | resume | bill";
        cancel() => "Closed(cancelled) | | release not_carried |";
        resumed() => "refused NOT_NOW";
    }
    a_replacement_does_not_go_on_after_its_price_or_a_loss: replacement() => {
        price(MIXED) => "Priced | | resume | bill";
        after(1_800, resumed()) => "refused PRICE_EXPIRED";
        deadline() => "Closed(price_expired) | | release not_carried |";
    }
    a_replacement_whose_lost_2207_is_proven_nothing_goes_on_again: replacement_settling() => {
        settle_lost() => "Doubting | | reverse@90s | bill person";
        reversed() => "Proving | | ask_settle@90s | bill person";
        not_found() => "Priced | | resume | bill";
        resumed() => "Settling | | settle | bill person";
    }
    a_replacement_settled_otherwise_is_undone_and_priced_again: replacement_settling() => {
        settled(MORE_CASH) => "UndoingInsurance(differs) | pooled+5500 account+1500 payable-7000 | sms undo | bill person";
        undone() => "Created | pooled-5500 account-1500 payable+7000 | sms ripple price | bill";
        price(MIXED) => "Priced | | resume | bill";
    }
    a_replacement_whose_cash_is_gone_is_undone: carrying() => {
        carry_refused() => "UndoingInsurance(differs) | | undo | bill person";
        undone() => "Created | pooled-6000 account-1500 payable+7500 | sms ripple price | bill";
        price(MIXED) => "Priced | | | bill";
    }
    a_loss_while_cash_is_carried_is_noted: carrying() => {
        lost() => "Carrying | | | bill person";
        cash_carried() => "Paid | suspense+2500 payable-2500 | tell | bill";
    }
    cash_that_is_not_carried_for_long_is_shown_to_finance_and_carried_late: carrying() => {
        too_early() => "refused NOT_NOW";
        deadline() => "Suspended(refund_stuck) | | | bill person";
        cash_carried() => "Paid | suspense+2500 payable-2500 | tell | bill";
    }
    cash_that_turns_out_to_be_gone_after_long_undoes_the_insurance: carrying() => {
        deadline() => "Suspended(refund_stuck) | | | bill person";
        carry_refused() => "UndoingInsurance(differs) | | undo | bill person";
    }
    a_replacement_settled_after_the_suspension_claims_its_cash: replacement_settling() => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        settled(MIXED) => "Carrying | pooled+6000 account+1500 payable-7500 | sms ripple carry | bill person";
    }

    // ——— the bureau is busy ———

    while_the_bureau_is_busy_nothing_is_out_and_the_payer_may_leave: settling() => {
        settle_busy() => "Settling | | settle_due@5s | bill person";
        claim() => "refused IN_PROGRESS";
        cancel() => "Closed(cancelled) | | release |";
        settle_due() => "refused NOT_NOW";
    }
    a_payer_cannot_leave_while_2207_is_out: settling() => {
        cancel() => "refused NOT_NOW";
    }
    a_card_lost_while_the_bureau_is_busy_ends_the_order_before_the_next_2207: settling() => {
        settle_busy() => "Settling | | settle_due@5s | bill person";
        lost() => "Closed(binding_lost) | | release |";
        settle_due() => "refused NOT_NOW";
    }
    a_loss_that_the_order_has_not_heard_of_sends_no_second_2207: lost_unheard(settling().then(&[settle_busy()])) => {
        after(5, settle_due()) => "Closed(binding_lost) | | release |";
    }
    a_bureau_busy_until_the_price_is_over_has_refused: settling() => {
        settle_busy() => "Settling | | settle_due@5s | bill person";
        after(1_800, settle_due()) => "Closed(settle_refused) | | release |";
    }
    a_bureau_busy_until_patience_ends_has_refused: settling_without_patience(true) => {
        settle_busy() => "Settling | | settle_due@5s | bill person";
        deadline() => "Closed(settle_refused) | | release |";
    }
    a_bureau_busy_after_the_suspension_is_tried_again: settling_without_patience(true) => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        settle_busy() => "Suspended(bureau_silent) | | settle_due@5s | bill person";
        settle_due() => "Suspended(bureau_silent) | | settle | bill person";
        settled(MIXED) => "Prepaying | pooled+6000 account+1500 payable-7500 | sms ripple prepay | bill person";
    }
    a_card_lost_while_a_suspended_order_waits_for_a_busy_bureau_ends_it: settling_without_patience(true) => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        settle_busy() => "Suspended(bureau_silent) | | settle_due@5s | bill person";
        lost() => "Suspended(bureau_silent) | | | bill person";
        settle_due() => "Closed(binding_lost) | | release |";
    }

    // ——— the window ———

    what_went_back_whole_is_the_windows_again: completed() => {
        refund_all() => "Completed/undoing_insurance | | undo | bill";
        claim() => "refused BILL_NOT_PAYABLE";
        back_undone() => "Completed/returning_cash | pooled-6000 account-1500 payable+7500 | sms ripple return_cash | bill";
        cash_back() => "Completed/done | wallet-2500 payable+2500 | sms tell_undone | bill";
        claim() => "Closed(taken_by_window) | | |";
    }

    the_window_takes_back_a_bill_that_is_not_priced: insured() => {
        claim() => "Closed(taken_by_window) | | release |";
    }
    the_window_takes_back_a_bill_that_is_priced_and_its_code_is_dead: priced() => {
        code(1) => "Priced | | | bill";
        claim() => "Closed(taken_by_window) | | release |";
        authorise(1) => "refused NOT_NOW";
    }
    the_window_takes_back_a_cash_only_bill: cash_priced() => {
        claim() => "Closed(taken_by_window) | | release |";
    }
    the_window_waits_while_the_bureau_settles: settling() => {
        claim() => "refused IN_PROGRESS";
    }
    the_window_waits_while_a_settlement_is_doubted: doubting() => {
        claim() => "refused IN_PROGRESS";
    }
    the_window_waits_while_a_settlement_is_proved: proving() => {
        claim() => "refused IN_PROGRESS";
    }
    the_window_waits_while_the_wallet_opens: prepaying() => {
        claim() => "refused IN_PROGRESS";
    }
    the_window_waits_while_the_payer_is_in_the_wallet: collecting() => {
        claim() => "refused IN_PROGRESS";
    }
    the_window_waits_while_the_wallet_closes: closing() => {
        claim() => "refused IN_PROGRESS";
    }
    the_window_waits_while_the_insurance_is_undone: undoing() => {
        claim() => "refused IN_PROGRESS";
        undo_lost() => "AskingUndo(cancelled) | | ask_undo@90s | bill person";
        claim() => "refused IN_PROGRESS";
    }
    the_window_hears_that_a_paid_bill_is_paid: paid_mixed() => {
        claim() => "refused BILL_NOT_PAYABLE";
        booked() => "Completed | | | bill";
        claim() => "refused BILL_NOT_PAYABLE";
    }
    the_window_hears_that_a_paid_bill_is_paid_though_a_person_looks_at_it: paid_without_cash() => {
        deadline() => "Suspended(institution_silent) | | | bill";
        claim() => "refused BILL_NOT_PAYABLE";
    }
    the_window_waits_while_a_paid_bill_is_given_back: returning() => {
        claim() => "refused IN_PROGRESS";
        deadline() => "Suspended(refund_stuck) | | | bill";
        claim() => "refused IN_PROGRESS";
    }
    the_window_finds_no_claim_on_a_closed_order: closed() => {
        claim() => "refused NOT_NOW";
    }
    the_window_waits_while_a_suspended_order_is_not_known_to_be_paid: settling() => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        claim() => "refused IN_PROGRESS";
    }

    // ——— the payer cancels ———

    a_cancelled_order_that_is_not_priced_closes: insured() => {
        cancel() => "Closed(cancelled) | | release |";
    }
    a_cancelled_order_that_is_priced_closes: priced() => {
        cancel() => "Closed(cancelled) | | release |";
        cancel() => "refused NOT_NOW";
    }
    nobody_cancels_while_the_bureau_settles: settling() => {
        cancel() => "refused NOT_NOW";
        settle_lost() => "Doubting | | reverse@90s | bill person";
        cancel() => "refused NOT_NOW";
        reversed() => "Proving | | ask_settle@90s | bill person";
        cancel() => "refused NOT_NOW";
    }
    a_cancelled_order_whose_wallet_opens_is_closed_there_first: prepaying() => {
        cancel() => "ClosingWallet(cancelled) | | close_wallet | bill person";
        prepaid() => "refused NOT_NOW";
        cancel() => "refused NOT_NOW";
        wallet_closed() => "UndoingInsurance(cancelled) | | undo | bill person";
        cancel() => "refused NOT_NOW";
        undone() => "Closed(cancelled) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_cancelled_order_in_the_wallet_is_closed_there_first: collecting() => {
        cancel() => "ClosingWallet(cancelled) | | close_wallet | bill person";
        not_paid() => "ClosingWallet(cancelled) | | close_wallet@5s | bill person";
        wallet_closed() => "UndoingInsurance(cancelled) | | undo | bill person";
        undone() => "Closed(cancelled) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_cancelled_cash_only_order_leaves_nothing_behind: cash_collecting() => {
        cancel() => "ClosingWallet(cancelled) | | close_wallet | bill";
        wallet_closed() => "Closed(cancelled) | | release |";
    }
    nobody_cancels_what_is_paid: paid_mixed() => {
        cancel() => "refused NOT_NOW";
        booked() => "Completed | | | bill";
        cancel() => "refused NOT_NOW";
    }
    nobody_cancels_what_is_being_given_back: returning() => {
        cancel() => "refused NOT_NOW";
    }

    // ——— the card or the binding is lost ———

    a_loss_closes_an_order_that_is_not_priced: insured() => {
        lost() => "Closed(binding_lost) | | release |";
    }
    a_loss_closes_an_order_that_is_priced: priced() => {
        lost() => "Closed(binding_lost) | | release |";
    }
    a_loss_does_not_touch_a_cash_only_order: cash_only() => {
        lost() => "refused NOT_NOW";
        price(CASH) => "Priced | | | bill";
        lost() => "refused NOT_NOW";
        tap() => "Prepaying | | prepay | bill";
        lost() => "refused NOT_NOW";
    }
    a_loss_while_2207_is_out_lets_it_end_normally: settling() => {
        lost() => "Settling | | | bill person";
        settled(MIXED) => "Prepaying | pooled+6000 account+1500 payable-7500 | sms ripple prepay | bill person";
        lost() => "Prepaying | | | bill person";
        prepaid() => "Collecting | | ask_wallet@30s | bill person";
        lost() => "Collecting | | | bill person";
        paid(2_500) => "Paid | wallet+2500 payable-2500 | sms tell | bill";
        booked() => "Completed | | | bill";
    }
    a_loss_while_2207_is_doubted_closes_the_order_after_the_proof: doubting() => {
        lost() => "Doubting | | | bill person";
        reversed() => "Proving | | ask_settle@90s | bill person";
        not_found() => "Closed(binding_lost) | | release |";
    }
    a_loss_while_2207_is_proved_closes_the_order_after_the_undo: proving() => {
        lost() => "Proving | | | bill person";
        found(MIXED) => "UndoingInsurance(settled_late) | pooled+6000 account+1500 payable-7500 | sms undo | bill person";
        undone() => "Closed(binding_lost) | pooled-6000 account-1500 payable+7500 | sms ripple release |";
    }
    a_loss_closes_a_doubted_order_where_only_reversals_prove: insured_without_question() => {
        price(MIXED) => "Priced | | | bill";
        code(1) => "Priced | | | bill";
        authorise(1) => "Settling | | settle | bill person";
        settle_lost() => "Doubting | | reverse@90s | bill person";
        lost() => "Doubting | | | bill person";
        reversed() => "Proving | | reverse@90s | bill person";
        reversed() => "Closed(binding_lost) | | release |";
    }
    a_loss_while_a_difference_is_undone_closes_the_order: undoing_a_difference() => {
        lost() => "UndoingInsurance(differs) | | | bill person";
        undo_lost() => "AskingUndo(differs) | | ask_undo@90s | bill person";
        lost() => "AskingUndo(differs) | | | bill person";
        undo_found() => "Closed(binding_lost) | pooled-5500 account-1500 payable+7000 | sms ripple release |";
    }
    a_loss_while_the_wallet_closes_changes_nothing: closing() => {
        lost() => "ClosingWallet(cancelled) | | | bill person";
        paid(2_500) => "Paid | wallet+2500 payable-2500 | sms tell | bill";
    }
    a_loss_while_the_bureau_is_busy_sends_no_second_2207: settling() => {
        lost() => "Settling | | | bill person";
        settle_busy() => "Closed(binding_lost) | | release |";
    }
    a_loss_reaches_a_suspended_order_too: settling() => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        lost() => "Suspended(bureau_silent) | | | bill person";
        settle_busy() => "Closed(binding_lost) | | release |";
    }
    a_loss_closes_a_suspended_order_once_nothing_is_proved: proving() => {
        deadline() => "Suspended(bureau_silent) | | | bill person";
        lost() => "Suspended(bureau_silent) | | | bill person";
        not_found() => "Closed(binding_lost) | | release |";
    }
    a_loss_closes_a_suspended_order_where_only_reversals_prove: settling_without_patience(false) => {
        settle_lost() => "Doubting | | reverse@90s | bill person";
        reversed() => "Proving | | reverse@90s | bill person";
        deadline() => "Suspended(bureau_silent) | | | bill person";
        lost() => "Suspended(bureau_silent) | | | bill person";
        reversed() => "Closed(binding_lost) | | release |";
    }
    a_loss_after_payment_is_noted_and_changes_nothing: paid_mixed() => {
        lost() => "Paid | | | bill";
        rejected() => "Returning(rejected)/undoing_insurance | | undo | bill";
        lost() => "Returning(rejected) | | | bill";
    }
    a_loss_after_the_end_is_no_event_of_the_order: completed() => {
        lost() => "refused NOT_NOW";
    }
}

// ——— the tables against the pages ———

/// Transitions that a table allows and no page can show, and why.
const NEVER_SHOWN: &[(Place, &str, Place, &str)] = &[];

#[test]
fn every_row_of_the_order_table_is_shown_and_every_transition_is_in_its_row() {
    let seen = every_page();
    let mut faults = Vec::new();
    for row in TABLE {
        let shown = |to: Option<Place>| seen.moves.contains(&(row.place, row.event, to));
        if row.to.is_empty() && !shown(None) {
            faults.push(format!("{:?} + {} never refused on any page", row.place, row.event));
        }
        for to in row.to {
            let never = NEVER_SHOWN
                .iter()
                .any(|(place, event, there, _)| (*place, *event, *there) == (row.place, row.event, *to));
            if shown(Some(*to)) == never {
                let word = if never { "is excused and yet shown" } else { "is on no page" };
                faults.push(format!("{:?} + {} -> {to:?} {word}", row.place, row.event));
            }
        }
    }
    for (place, event, to) in &seen.moves {
        let row = TABLE.iter().find(|row| row.place == *place && row.event == *event);
        let listed = match (row, to) {
            (Some(row), Some(to)) => row.to.contains(to),
            (None, Some(_)) => false,
            (_, None) => true,
        };
        if !listed {
            faults.push(format!("{place:?} + {event} led to {to:?}, which its row does not list"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_row_of_the_refund_table_is_shown_and_every_transition_is_in_its_row() {
    let seen = every_page().refund_moves;
    let listed: BTreeSet<_> =
        refund::TABLE.iter().flat_map(|row| row.to.iter().map(|to| (row.state, row.event, *to))).collect();
    assert_eq!(seen, listed);
}

/// One of every event there is, each in its shortest form.
fn one_of_each() -> Vec<Event> {
    let lines = [
        price(MIXED),
        price_refused(),
        price_lost(),
        stale(),
        code(1),
        authorise(1),
        settled(MIXED),
        settle_refused(),
        settle_due(),
        resumed(),
        cash_carried(),
        carry_refused(),
        settle_lost(),
        reversed(),
        reverse_lost(),
        found(MIXED),
        not_found(),
        question_lost(),
        undone(),
        undo_refused(),
        undo_lost(),
        undo_found(),
        stands(),
        undo_question_lost(),
        prepaid(),
        prepay_refused(),
        prepay_lost(),
        paid(2_500),
        not_paid(),
        wallet_closed(),
        booked(),
        rejected(),
        tell_lost(),
        not_booked(),
        cancel(),
        claim(),
        order(Event::BindingLost),
        too_early(),
        refund_all(),
    ];
    let mut events: Vec<Event> = lines
        .into_iter()
        .filter_map(|line| match line {
            Line::Order(event) => Some(event),
            _ => None,
        })
        .collect();
    let ended = Returned {
        refund: RefundId::from_uuid(Uuid::from_u128(4)),
        amount: Fen::ZERO,
        cash: Fen::ZERO,
        carried: Fen::ZERO,
        replaced: false,
        undo_setl_id: None,
        done: true,
        words: None,
    };
    events.push(Event::RefundEnded(ended));
    events
}

fn one_of_each_refund() -> Vec<RefundEvent> {
    let lines = [
        back_undone(),
        back_refused(),
        back_lost(),
        back_stands(),
        kept(0),
        nothing_kept(),
        cash_back(),
        cash_lost(),
        cash_unheard_of(),
        cash_refused(),
        cash_abnormal(),
    ];
    lines
        .into_iter()
        .filter_map(|line| match line {
            Line::Refund(event) => Some(event),
            _ => None,
        })
        .collect()
}

fn listed(place: Place, event: &Event) -> bool {
    TABLE.iter().any(|row| row.place == place && row.event == event.kind())
}

#[test]
fn every_unlisted_pair_of_an_order_is_refused_naming_both_sides() {
    let events = one_of_each();
    let kinds: BTreeSet<_> = events.iter().map(Event::kind).collect();
    assert!(TABLE.iter().all(|row| kinds.contains(row.event)), "an event of the table has no example");
    let mut pairs = BTreeSet::new();
    for (paper, now_us) in every_page().papers {
        let place = paper.place();
        for event in events.iter().filter(|event| !listed(place, event)) {
            let mut after = paper.clone();
            let refusal = after.event(event, now_us).expect_err("an unlisted pair");
            assert_eq!(refusal.code, Code::NotNow, "{place:?} + {}", event.kind());
            for side in [place.word(), event.kind()] {
                assert!(refusal.detail.contains(side), "{place:?} + {}: {}", event.kind(), refusal.detail);
            }
            assert_eq!((after.order, after.postings), (paper.order.clone(), paper.postings.clone()));
            pairs.insert((place, event.kind()));
        }
    }
    assert_eq!(pairs.len() + TABLE.len(), Place::ALL.len() * kinds.len(), "every pair is listed or tried");
}

#[test]
fn every_unlisted_pair_of_a_refund_is_refused_naming_both_sides() {
    let events = one_of_each_refund();
    let mut pairs = BTreeSet::new();
    for (paper, now_us) in every_page().papers {
        let Some(refund) = paper.refunds.last().cloned() else { continue };
        let state = refund.state.word();
        let listed =
            |event: &RefundEvent| refund::TABLE.iter().any(|row| row.state == state && row.event == event.kind());
        for event in events.iter().filter(|event| !listed(event)) {
            let mut after = paper.clone();
            let refusal = after.refund_event(refund.id, event, now_us).expect_err("an unlisted pair");
            assert_eq!(refusal.code, Code::NotNow, "{state} + {}", event.kind());
            for side in [state, event.kind()] {
                assert!(refusal.detail.contains(side), "{state} + {}: {}", event.kind(), refusal.detail);
            }
            assert_eq!((after.order, after.refunds), (paper.order.clone(), paper.refunds.clone()));
            pairs.insert((state, event.kind()));
        }
    }
    assert_eq!(pairs.len() + refund::TABLE.len(), 7 * events.len(), "every pair is listed or tried");
}

/// What people and clocks say; everything else is an answer that somebody outside may give late.
const NO_ANSWERS: [&str; 9] = [
    "price_came",
    "price_refused",
    "price_unknown",
    "price_stale",
    "code_issued",
    "resumed",
    "authorised",
    "cancelled",
    "deadline_passed",
];

#[test]
fn a_suspended_order_takes_every_answer_that_any_place_takes() {
    for row in TABLE.iter().filter(|row| !NO_ANSWERS.contains(&row.event)) {
        let taken = TABLE.iter().any(|other| other.place == Place::Suspended && other.event == row.event);
        assert!(taken, "{:?} takes {}, a suspended order does not", row.place, row.event);
    }
}

/// Learning is deciding as if the order still stood where it was: no posting, action or refund may differ, and what is
/// known of the money afterwards is the same.
#[test]
fn a_suspended_order_learns_exactly_what_it_would_have_learned() {
    let mut learned = BTreeSet::new();
    for (paper, now_us) in every_page().papers {
        if paper.place() == Place::Suspended {
            continue;
        }
        let acts = ["window_claimed", "binding_lost"];
        // A window's claim and a lost card are no answers: a suspended order takes them in a way of its own.
        let answers = one_of_each().into_iter().filter(|event| !acts.contains(&event.kind()));
        for event in answers.filter(|event| listed(Place::Suspended, event)) {
            let event = match (event, &paper.order.state) {
                (Event::SettleDone(s), State::Settling { msgid, .. }) => {
                    Event::SettleDone(Box::new(Settlement { msgid: msgid.clone(), ..*s }))
                }
                (Event::RefundEnded(ended), State::Returning { refund, .. }) => {
                    Event::RefundEnded(Returned { refund: *refund, amount: paper.order.refunding, ..ended })
                }
                (event, _) => event,
            };
            let (mut awake, mut suspended) = (paper.clone(), paper.clone());
            suspended.order.state = State::Suspended {
                from: Box::new(paper.order.state.clone()),
                why: Why::BureauSilent,
                owner: Owner::Bureau,
            };
            let about = format!("{:?} + {}", paper.place(), event.kind());
            match (awake.event(&event, now_us), suspended.event(&event, now_us)) {
                (Ok(seen), Ok(learns)) => {
                    assert_eq!(seen.postings, learns.postings, "{about}");
                    assert_eq!(seen.actions, learns.actions, "{about}");
                    assert_eq!(seen.refund, learns.refund, "{about}");
                    assert_eq!(money_facts(&seen.next), money_facts(&learns.next), "{about}");
                    learned.insert((paper.place(), event.kind()));
                }
                (Err(seen), Err(learns)) => assert_eq!(seen.code, learns.code, "{about}"),
                (seen, learns) => panic!("{about}: {seen:?} but suspended {learns:?}"),
            }
        }
    }
    for (place, event) in [
        (Place::Settling, "settle_done"),
        (Place::Proving, "settle_found"),
        (Place::UndoingInsurance, "undo_done"),
        (Place::AskingUndo, "undo_found"),
        (Place::Collecting, "wallet_paid"),
        (Place::UndoingInsurance, "wallet_paid"),
        (Place::Returning, "refund_ended"),
    ] {
        assert!(learned.contains(&(place, event)), "{place:?} + {event} was never tried");
    }
}

fn money_facts(order: &Order) -> impl PartialEq + std::fmt::Debug + use<> {
    let (settled, taken) = (order.state.settled().cloned(), order.state.taken().cloned());
    (settled, taken, order.refunded, order.refunding, order.strays.clone(), order.price.clone())
}

#[test]
fn every_posting_carries_its_counterpartys_accounting_date() {
    let mut page = completed().then(&[refund_all(), back_undone(), cash_back()]);
    let mut dates: Vec<(String, i64, i64)> = page
        .paper
        .postings
        .drain(..)
        .map(|line| (short(&line.account.to_string()), line.amount.get(), (line.counterparty_at_us - T0_US) / S_US))
        .collect();
    dates.sort_by_key(|(_, _, at)| *at);
    let line = |account: &str, amount, at| (account.to_owned(), amount, at);
    assert_eq!(
        dates,
        [
            line("pooled", 6_000, 1),
            line("account", 1_500, 1),
            line("payable", -7_500, 1),
            line("pooled", -6_000, 2),
            line("account", -1_500, 2),
            line("payable", 7_500, 2),
            line("wallet", 2_500, 3),
            line("payable", -2_500, 3),
            line("wallet", -2_500, 4),
            line("payable", 2_500, 4),
        ]
    );
}
