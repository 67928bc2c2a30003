//! What every store must do, whatever engine is behind it. Each function takes an empty engine and panics where the
//! store breaks its word; [`every_promise`] runs them all, so another engine needs one line.

pub(crate) mod books;
pub(crate) mod desk;
pub(crate) mod people;
pub(crate) mod reading;
pub(crate) mod work;
pub(crate) mod world;

use platform::store::Store;

/// Somewhere to keep a store.
pub(crate) trait Engine {
    /// Opens it. Opened again after the first was dropped, it has the same rows if it [`Engine::keeps`] them.
    fn open(&self) -> Box<dyn Store>;
    /// Whether rows outlive the store that wrote them.
    fn keeps(&self) -> bool;
}

/// One test per promise, each on an engine of its own.
macro_rules! every_promise {
    ($engine:path: $($module:ident { $($promise:ident)* })*) => {$($(
        #[test]
        fn $promise() {
            crate::store_contract::$module::$promise(&$engine());
        }
    )*)*};
    ($engine:path) => {
        crate::store_contract::every_promise!($engine:
            desk {
                what_was_asked_for_is_loaded
                decisions_on_an_overtaken_version_are_left_out
                two_opens_of_one_bill_in_one_batch_leave_one
                a_bill_can_be_opened_again_once_its_order_has_closed
                a_bill_that_moved_since_it_was_read_is_noticed
                an_insured_person_is_held_by_one_order_at_a_time
                a_repeated_event_is_left_out
                the_first_answer_is_kept_byte_for_byte
                an_answered_action_closes_once
                a_repeated_bill_number_is_left_out
                a_repeated_refund_number_is_left_out
                what_moved_leaves_nothing_and_its_neighbours_are_written
                a_failure_refuses_the_whole_batch
                a_crash_inside_a_batch_leaves_nothing
                committed_rows_survive_reopening
                any_mix_of_decisions_keeps_the_first_of_each_version
            }
            work {
                due_actions_are_taken_once
                two_takers_never_share_an_action
                a_postponed_action_comes_again
                only_the_actions_of_the_dead_are_adopted
                deadlines_that_passed_are_found
                a_deadline_that_moved_is_found_when_it_passes_and_not_before
                records_are_published_in_sequence_and_once
                every_record_can_be_read_again_page_by_page
                a_duty_has_one_holder_until_it_grows_old
                of_many_that_want_a_duty_at_once_one_has_it
            }
            people {
                set_up_reads_back
                a_login_is_found_again
                a_login_and_its_first_answer_are_one_commit
                a_binding_is_guarded_by_its_epoch
                a_document_has_one_live_binding_per_login
                a_binding_and_its_answer_stand_or_fall_together
                every_insurance_of_a_person_is_kept_and_replaced_by_the_next_answer
                bindings_are_found_by_login_person_and_document
                a_visit_card_is_bound_once
                answers_without_an_order_are_kept
            }
            reading {
                bills_are_listed_newest_first
                orders_are_found_by_payer_institution_state_person_and_binding
                a_payment_leaves_rows_to_search
                a_bill_leaves_its_lines_by_their_codes
                what_2207_is_told_is_there_before_it_goes_out
                a_message_number_is_told_to_the_bureau_once
                a_settlement_is_kept_whole_and_answered_by_its_undo
                an_undo_that_the_bureau_does_not_show_is_kept_as_far_as_it_is_known
                a_refund_leaves_the_undo_and_the_books_hold_at_every_step
                a_wallet_is_asked_for_the_payer_of_that_moment
                a_refund_is_found_and_follows_its_order
                nothing_is_seen_from_another_tenant
                a_batch_of_several_tenants_shows_each_its_own
            }
            books {
                sound_books_are_silent
                every_kind_of_broken_book_is_found
                every_posting_is_rolled_up_once_and_the_balances_are_their_sums
                those_who_roll_up_at_once_add_no_posting_twice
            }
        );
    };
}
pub(crate) use every_promise;
