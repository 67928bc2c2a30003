//! What ephemeral state must do, whatever engine is behind it. Each function takes a fresh engine and panics where the
//! engine breaks its word; [`every_promise`] runs them all, so another engine needs one line.

pub(crate) mod bells;
pub(crate) mod keys;

use std::sync::Arc;

use async_trait::async_trait;
use platform::ephemeral::Ephemeral;
use schema::ids::TenantId;
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
        );
    };
}
pub(crate) use every_promise;
