//! Faults by rule: what can go wrong with a counterparty, and when it does.
//!
//! Every counterparty asks [`Faults::strike`] once per incoming call, before it acts. Rules come from a file, from
//! `POST /sandbox/faults`, or from a seed (a share of all calls).

use std::sync::Mutex;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// One way of going wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// Acts and answers, but only after `delay_ms` milliseconds.
    Delay {
        /// Milliseconds.
        delay_ms: u64,
    },
    /// Refuses in the counterparty's own words; nothing is done.
    Refuse {
        /// The refusal's code in the counterparty's dialect.
        code: String,
        /// The sentence beside it.
        message: String,
    },
    /// Does it and never answers: the connection is dropped.
    DoButDoNotAnswer,
    /// Answers as if done; nothing is done.
    AnswerButDoNotDo,
    /// The connection is dropped before anything is done.
    NeitherDoNorAnswer,
    /// Drops the connection at once and does it `delay_ms` milliseconds later.
    LateCommit {
        /// Milliseconds.
        delay_ms: u64,
    },
    /// A 2207 whose reversal answers "done" (or "nothing found") and which executes all the same afterwards.
    ExecuteAfterReversal {
        /// Milliseconds.
        delay_ms: u64,
    },
    /// What should happen once happens twice: a notice, a message, an answer.
    Duplicate,
    /// A notice is never sent.
    NeverNotify,
    /// Does something other than was agreed: settles or prices another split, takes another amount.
    Differ,
    /// Answers with its "busy" refusal.
    Busy,
    /// A reversal of something unknown is an error instead of a success.
    NotFoundIsAnError,
}

/// When a fault strikes: all given conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The operation in the counterparty's words (`2207`, `prepay`, `close`, `refund`, `notify`, `pre-settle` …).
    pub operation: String,
    /// Strikes only calls about this subject (psn_no, out_trade_no, phone, `INSTITUTION/bill_no`, or `INSTITUTION` for
    /// every bill of it); any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Share of matching calls in parts per million; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_ppm: Option<u32>,
    /// How many more times this rule may strike; for ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What happens.
    #[serde(flatten)]
    pub fault: Fault,
}

/// The rules of one counterparty, with the seeded dice that choose among calls.
#[derive(Debug)]
pub struct Faults {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    rules: Vec<Rule>,
    dice: ChaCha8Rng,
    struck: u64,
}

impl Faults {
    /// No rules yet; `seed` feeds the dice of shared rules.
    pub fn new(seed: u64) -> Faults {
        Faults { inner: Mutex::new(Inner { rules: Vec::new(), dice: ChaCha8Rng::seed_from_u64(seed), struck: 0 }) }
    }

    /// Adds a rule behind those already there; the first that strikes wins.
    pub fn add(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    /// Forgets every rule.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// Forgets the rules about one subject; the storm goes on for everybody else.
    pub fn forget(&self, subject: &str) {
        self.lock().rules.retain(|rule| rule.subject.as_deref() != Some(subject));
    }

    /// How often any rule has struck.
    pub fn struck(&self) -> u64 {
        self.lock().struck
    }

    /// The fault for this call, if any. Counts down the rule that struck.
    pub fn strike(&self, operation: &str, subject: &str) -> Option<Fault> {
        let mut inner = self.lock();
        let Inner { rules, dice, struck } = &mut *inner;
        for rule in rules.iter_mut() {
            let about =
                |named: &str| subject.strip_prefix(named).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            let matches = rule.operation == operation && rule.subject.as_deref().is_none_or(about);
            if !matches || rule.times == Some(0) {
                continue;
            }
            if let Some(share_ppm) = rule.share_ppm
                && dice.random_range(0..1_000_000) >= share_ppm
            {
                continue;
            }
            if let Some(times) = rule.times.as_mut() {
                *times -= 1;
            }
            *struck += 1;
            return Some(rule.fault.clone());
        }
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
