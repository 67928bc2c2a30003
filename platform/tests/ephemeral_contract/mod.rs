//! What ephemeral state must do, whatever engine is behind it. Each function takes a fresh engine and panics where the
//! engine breaks its word; [`every_promise`] runs them all, so another engine needs one line.

pub(crate) mod bells;
pub(crate) mod holds;
pub(crate) mod keys;
pub(crate) mod letters;
pub(crate) mod links;

use std::sync::Arc;

use async_trait::async_trait;
use platform::ephemeral::Ephemeral;
use schema::ids::{ProcessId, TenantId};
use uuid::Uuid;

/// Somewhere to keep ephemeral state.
#[async_trait]
pub(crate) trait Engine: Send + Sync {
    /// A way to it. Two ways lead to the same state, as those of two replicas do.
    fn open(&self) -> Arc<dyn Ephemeral>;
    /// Loses everything, as an engine does that was killed. What was opened before is of no use any more.
    async fn forget_everything(&self);
    /// Lets time pass on whatever clock the engine lives by.
    async fn pass_ms(&self, ms: i64);
}

pub(crate) fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn process(number: u128) -> ProcessId {
    ProcessId::from_uuid(Uuid::from_u128(number))
}

/// One test per promise, each on an engine of its own.
macro_rules! every_promise {
    ($engine:path: $($module:ident { $($promise:ident)* })*) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $promise() {
            crate::ephemeral_contract::$module::$promise(&$engine()).await;
        }
    )*)*};
    ($engine:path) => {
        crate::ephemeral_contract::every_promise!($engine:
            keys {
                the_epoch_changes_with_forgetting_and_with_nothing_else
                a_count_says_its_epoch_before_and_after_forgetting
                a_counter_counts_and_lives_from_its_first_use
                no_count_is_given_twice_however_many_count_at_once
                only_the_first_of_many_passes_a_guard
                a_guard_stands_until_its_life_is_over
                a_value_is_kept_replaced_and_forgotten
                a_replaced_value_lives_from_its_replacement
                a_counter_a_guard_and_a_value_under_one_key_are_apart
                forgetting_frees_the_key_for_all_three
                tenants_share_no_key
                any_bytes_are_kept_as_they_are
                two_ways_lead_to_the_same_state
            }
            bells {
                a_bell_is_heard_by_everyone_who_listens_for_that_login
                nobody_else_hears_it
                a_bell_that_nobody_hears_is_harmless
                who_falls_behind_is_told_and_hears_the_newest
                ringing_never_waits_for_anyone
            }
            holds {
                one_process_has_a_hold_however_many_want_it_at_once
                a_hold_is_its_processs_until_its_life_is_over_and_renewing_prolongs_it
                a_hold_that_is_given_up_is_free_at_once_and_only_its_holder_gives_it_up
                a_later_turn_of_one_process_replaces_an_earlier_one_and_not_the_reverse
                many_holds_are_answered_one_by_one
                a_hold_is_one_tenants_and_no_counter_guard_or_value
            }
            letters {
                a_letter_reaches_its_process_and_no_other
                letters_of_one_sender_come_in_the_order_in_which_they_were_sent
                whoever_asks_later_gets_the_letters_instead
                a_letter_to_nobody_is_harmless
            }
            links {
                any_process_reaches_an_adapter_wherever_its_link_is
                what_an_institution_says_to_another_process_is_what_it_said
                an_institution_has_one_link_over_all_processes
                a_new_key_takes_the_link_from_the_one_it_replaced_wherever_it_is
                a_dead_process_blocks_its_adapters_no_longer_than_its_presence_lives
                a_process_that_was_away_too_long_drops_what_another_has_taken
                who_asks_for_an_institution_that_nobody_has_hears_that_nothing_was_sent
                a_question_is_asked_again_where_the_adapter_has_gone
                a_silent_adapter_elsewhere_is_an_unknown_outcome
                a_link_that_has_just_gone_is_offline_elsewhere_too
                a_forged_letter_reaches_no_adapter
            }
        );
    };
}
pub(crate) use every_promise;
