//! What every event sink must do, whatever is behind it. Each function takes a fresh engine and panics where the sink
//! breaks its word; [`every_promise`] runs them all, so another sink needs one line.

pub(crate) mod promises;

use platform::events::Sink;

/// How a batch fails to get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// Nothing of it gets there.
    AtOnce,
    /// Some of it gets there, cut anywhere.
    Halfway,
    /// All of it gets there, and nobody confirms that it is durable.
    Unconfirmed,
}

impl Break {
    pub(crate) const ALL: [Break; 3] = [Break::AtOnce, Break::Halfway, Break::Unconfirmed];
}

/// Somewhere to send records.
pub(crate) trait Engine {
    /// Opens it. Opened again, it goes on where it was, however the one before ended.
    fn open(&self) -> Box<dyn Sink>;
    /// Lets the next batch break off.
    fn break_next(&self, how: Break);
    /// Everything that a consumer reads from the beginning, record by record.
    fn read(&self) -> Vec<String>;
}

/// One test per promise, each on an engine of its own.
macro_rules! every_promise {
    ($engine:path: $($promise:ident)*) => {$(
        #[test]
        fn $promise() {
            crate::sink_contract::promises::$promise(&$engine());
        }
    )*};
    ($engine:path) => {
        crate::sink_contract::every_promise!($engine:
            records_come_out_as_they_went_in_and_in_order
            an_empty_batch_is_nothing
            a_batch_that_broke_off_is_not_taken_and_its_repeat_is_whole
            nothing_acknowledged_is_lost_when_a_later_batch_breaks_off
            a_sink_opened_again_goes_on
            a_crash_in_the_middle_of_a_batch_leaves_only_whole_records
            a_batch_may_break_off_again_and_again
            any_mix_of_batches_failures_and_crashes_gives_every_record_in_order
        );
    };
}
pub(crate) use every_promise;
