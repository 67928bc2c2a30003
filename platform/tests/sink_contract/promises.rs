//! The promises.

use std::collections::BTreeSet;

use platform::events::Sink;
use platform::store::Unpublished;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use schema::ids::{OrderId, TenantId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Break, Engine};

/// The `sequence`th record of an order.
fn record(order: u128, sequence: i64) -> Unpublished {
    let text = json!({
        "subject": order.to_string(), "sequence": sequence,
        "data": { "bill_no": "B1", "words": "余额不足\n\"第二行\" 医院", "padding": "x".repeat(order as usize % 7 * 40) },
    });
    Unpublished {
        tenant: TenantId::from_uuid(Uuid::from_u128(order % 2)),
        order: OrderId::from_uuid(Uuid::from_u128(order)),
        sequence,
        record: text.to_string(),
    }
}

fn batch(records: &[(u128, i64)]) -> Vec<Unpublished> {
    records.iter().map(|(order, sequence)| record(*order, *sequence)).collect()
}

fn texts(records: &[Unpublished]) -> Vec<String> {
    records.iter().map(|record| record.record.clone()).collect()
}

fn taken(sink: &mut Box<dyn Sink>, records: &[Unpublished]) {
    sink.append(records).expect("nothing is in the way");
}

/// What a consumer has of it that drops repeats by (order, sequence). Fails where a record is not whole.
fn without_repeats(read: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let fresh = |text: &String| {
        let whole: Value = serde_json::from_str(text).expect("a whole record");
        seen.insert((whole["subject"].to_string(), whole["sequence"].as_i64().expect("a number")))
    };
    read.into_iter().filter(fresh).collect()
}

pub(crate) fn records_come_out_as_they_went_in_and_in_order(engine: &dyn Engine) {
    let all = batch(&[(1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 2)]);
    let mut sink = engine.open();
    taken(&mut sink, &all[..1]);
    taken(&mut sink, &all[1..4]);
    taken(&mut sink, &all[4..]);
    assert_eq!(engine.read(), texts(&all));
}

pub(crate) fn an_empty_batch_is_nothing(engine: &dyn Engine) {
    let mut sink = engine.open();
    taken(&mut sink, &[]);
    taken(&mut sink, &batch(&[(1, 1)]));
    taken(&mut sink, &[]);
    assert_eq!(engine.read(), texts(&batch(&[(1, 1)])));
}

pub(crate) fn a_batch_that_broke_off_is_not_taken_and_its_repeat_is_whole(engine: &dyn Engine) {
    let mut sink = engine.open();
    let mut expected = Vec::new();
    for (how, order) in Break::ALL.into_iter().zip(1..) {
        let records = batch(&[(order, 1), (order + 10, 1), (order, 2)]);
        engine.break_next(how);
        sink.append(&records).expect_err("a failure is told");
        taken(&mut sink, &records);
        expected.extend(texts(&records));
        assert_eq!(without_repeats(engine.read()), expected, "{how:?}");
    }
}

pub(crate) fn nothing_acknowledged_is_lost_when_a_later_batch_breaks_off(engine: &dyn Engine) {
    let mut sink = engine.open();
    let first = batch(&[(1, 1), (1, 2)]);
    taken(&mut sink, &first);
    for how in Break::ALL {
        engine.break_next(how);
        sink.append(&batch(&[(1, 3), (2, 1)])).expect_err("a failure is told");
        drop(sink);
        sink = engine.open();
        let read = without_repeats(engine.read());
        assert_eq!(read[..2], texts(&first), "{how:?}");
    }
}

pub(crate) fn a_sink_opened_again_goes_on(engine: &dyn Engine) {
    let all = batch(&[(1, 1), (1, 2), (1, 3)]);
    for record in &all {
        taken(&mut engine.open(), std::slice::from_ref(record));
    }
    assert_eq!(engine.read(), texts(&all));
}

pub(crate) fn a_crash_in_the_middle_of_a_batch_leaves_only_whole_records(engine: &dyn Engine) {
    let first = batch(&[(1, 1)]);
    let second = batch(&[(1, 2), (6, 1), (1, 3)]);
    taken(&mut engine.open(), &first);
    for how in Break::ALL {
        let mut sink = engine.open();
        engine.break_next(how);
        sink.append(&second).expect_err("a failure is told");
        // The process ends here: whoever comes next offers the same again.
    }
    taken(&mut engine.open(), &second);
    assert_eq!(without_repeats(engine.read()), texts(&[first, second].concat()));
}

pub(crate) fn a_batch_may_break_off_again_and_again(engine: &dyn Engine) {
    let mut sink = engine.open();
    let records = batch(&[(5, 1), (6, 1), (5, 2)]);
    for how in Break::ALL.into_iter().chain(Break::ALL).rev() {
        engine.break_next(how);
        sink.append(&records).expect_err("a failure is told");
    }
    taken(&mut sink, &records);
    assert_eq!(without_repeats(engine.read()), texts(&records));
}

pub(crate) fn any_mix_of_batches_failures_and_crashes_gives_every_record_in_order(engine: &dyn Engine) {
    let mut dice = ChaCha8Rng::seed_from_u64(3);
    let mut sink = engine.open();
    let mut offered = Vec::new();
    for sequence in 1..=200 {
        let records: Vec<Unpublished> = (0..dice.random_range(1..6)).map(|order| record(order, sequence)).collect();
        loop {
            let broken = dice.random_range(0..3) == 0;
            if broken {
                engine.break_next(Break::ALL[dice.random_range(0..Break::ALL.len())]);
            }
            let answer = sink.append(&records);
            assert_eq!(answer.is_err(), broken, "{answer:?}");
            if dice.random_range(0..5) == 0 {
                drop(sink);
                sink = engine.open();
            }
            if !broken {
                break;
            }
        }
        offered.extend(texts(&records));
    }
    assert_eq!(without_repeats(engine.read()), offered);
}
