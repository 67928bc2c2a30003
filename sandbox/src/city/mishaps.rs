//! The share of faults: what goes wrong at the counterparties when a city is told that things go wrong.
//!
//! Every kind of call gets `ppm` parts per million of faults, shared evenly among the kinds of fault that it can have.
//! Left out is what no platform can see while it happens (a counterparty that says "done" and did nothing).

use crate::fault::{Fault, Rule};

/// A fault short enough to be waited for, in milliseconds.
const SLOW: Fault = Fault::Delay { delay_ms: 400 };
/// A fault longer than the patience for one call, in milliseconds.
const SLOWER: Fault = Fault::Delay { delay_ms: 2_200 };
/// Done after the caller gave up, before anybody may ask, in milliseconds.
const LATE: Fault = Fault::LateCommit { delay_ms: 700 };
/// Done after its reversal, before the second question, in milliseconds.
const AFTER_REVERSAL: Fault = Fault::ExecuteAfterReversal { delay_ms: 700 };

fn refusal(code: &str) -> Fault {
    Fault::Refuse { code: code.to_owned(), message: "沙箱故障 a fault of the sandbox".to_owned() }
}

fn spread(operations: Vec<(&str, Vec<Fault>)>, ppm: u32) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (operation, faults) in operations {
        let share_ppm = ppm / u32::try_from(faults.len()).unwrap_or(1).max(1);
        rules.extend(faults.into_iter().map(|fault| Rule {
            operation: operation.to_owned(),
            subject: None,
            share_ppm: Some(share_ppm),
            times: None,
            fault,
        }));
    }
    rules
}

/// A bureau's.
pub fn bureau(ppm: u32) -> Vec<Rule> {
    use Fault::{Busy, Differ, DoButDoNotAnswer, NeitherDoNorAnswer};
    let settle =
        vec![DoButDoNotAnswer, NeitherDoNorAnswer, LATE, AFTER_REVERSAL, Differ, Busy, SLOW, SLOWER, refusal("2001")];
    spread(
        vec![
            ("1101", vec![Busy, SLOW]),
            ("2201", vec![DoButDoNotAnswer, NeitherDoNorAnswer]),
            ("2204", vec![DoButDoNotAnswer, SLOW]),
            ("2205", vec![DoButDoNotAnswer, Busy]),
            ("2206", vec![SLOW, Busy, NeitherDoNorAnswer, refusal("2001")]),
            ("2207", settle),
            ("2208", vec![DoButDoNotAnswer, NeitherDoNorAnswer, SLOWER, Busy]),
            ("2601", vec![DoButDoNotAnswer, NeitherDoNorAnswer, Busy]),
            ("5203", vec![NeitherDoNorAnswer, SLOW]),
        ],
        ppm,
    )
}

/// The wallet's.
pub fn wallet(ppm: u32) -> Vec<Rule> {
    use Fault::{Busy, DoButDoNotAnswer, Duplicate, NeitherDoNorAnswer, NeverNotify};
    spread(
        vec![
            ("prepay", vec![DoButDoNotAnswer, NeitherDoNorAnswer, Busy, SLOW]),
            ("query", vec![NeitherDoNorAnswer, Busy, SLOWER]),
            ("close", vec![DoButDoNotAnswer, NeitherDoNorAnswer, Busy]),
            ("refund", vec![DoButDoNotAnswer, NeitherDoNorAnswer, Busy]),
            ("refund-query", vec![NeitherDoNorAnswer, Busy]),
            ("notify", vec![Duplicate, NeverNotify]),
            ("pay", vec![SLOW, NeitherDoNorAnswer, DoButDoNotAnswer]),
        ],
        ppm,
    )
}

/// The hospitals'.
pub fn his(ppm: u32) -> Vec<Rule> {
    use Fault::{Busy, DoButDoNotAnswer, Duplicate, NeitherDoNorAnswer};
    spread(
        vec![
            ("bill", vec![SLOW, Duplicate]),
            ("pre-settle", vec![SLOWER, refusal("HIS-1"), DoButDoNotAnswer, NeitherDoNorAnswer, Busy]),
            ("release", vec![SLOW, DoButDoNotAnswer, NeitherDoNorAnswer, Busy]),
            ("settled", vec![refusal("HIS-2"), DoButDoNotAnswer, NeitherDoNorAnswer, SLOWER, Busy]),
            ("undone", vec![SLOW, DoButDoNotAnswer, Busy]),
            ("query", vec![SLOW, NeitherDoNorAnswer, Busy]),
        ],
        ppm,
    )
}

/// The SMS gateway's.
pub fn sms(ppm: u32) -> Vec<Rule> {
    spread(vec![("send", vec![Fault::NeitherDoNorAnswer, Fault::Busy])], ppm)
}
