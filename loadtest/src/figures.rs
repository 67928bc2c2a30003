//! Histograms of every step, and the run second by second.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::journey::{Step, Told};

/// Microseconds from one to five minutes, three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 300_000_000, 3).expect("the bounds are in order")
}

/// One second of the run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Second {
    /// Payments that arrived.
    pub(crate) arrived: u64,
    /// Payments that were completed.
    pub(crate) completed: u64,
    /// The slowest whole payment that ended in it, in milliseconds.
    pub(crate) slowest_ms: u64,
}

/// Everything that was seen. What arrived during the warm-up is in none of it but the time line.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    steps: BTreeMap<Step, Histogram<u64>>,
    /// Payments that arrived and count.
    pub(crate) arrived: u64,
    /// Of them: paid and booked.
    pub(crate) completed: u64,
    /// How often one had to be authorised anew.
    pub(crate) again: u64,
    /// Why the others were not.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Arrivals for which nobody was free: the crowd is too small for the rate.
    pub(crate) nobody_free: u64,
    /// Second by second from the first arrival.
    pub(crate) line: Vec<Second>,
}

impl Figures {
    fn second(&mut self, at: Duration) -> &mut Second {
        let second = usize::try_from(at.as_secs()).unwrap_or(usize::MAX).min(100_000);
        if self.line.len() <= second {
            self.line.resize(second + 1, Second::default());
        }
        &mut self.line[second]
    }

    /// A payment arrived.
    pub(crate) fn arrived(&mut self, at: Duration, counts: bool) {
        self.second(at).arrived += 1;
        self.arrived += u64::from(counts);
    }

    /// A payment ended.
    pub(crate) fn ended(&mut self, at: Duration, counts: bool, told: Told) {
        let whole = told.steps.iter().find(|(step, _)| *step == Step::Whole).map(|(_, took)| *took);
        let second = self.second(at);
        if let Some(took) = whole {
            second.completed += 1;
            second.slowest_ms = second.slowest_ms.max(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        }
        if !counts {
            return;
        }
        for (step, took) in told.steps {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.steps.entry(step).or_insert_with(histogram).saturating_record(micros);
        }
        self.again += told.again;
        match told.failed {
            None => self.completed += 1,
            Some(why) => *self.failed.entry(why).or_default() += 1,
        }
    }

    /// A step's percentiles, in microseconds: p50, p95, p99, the longest.
    pub(crate) fn percentiles(&self, step: Step) -> Option<[u64; 4]> {
        let histogram = self.steps.get(&step)?;
        let at = |quantile| histogram.value_at_quantile(quantile);
        Some([at(0.5), at(0.95), at(0.99), histogram.max()])
    }

    /// All of it.
    pub(crate) fn json(&self) -> Value {
        let steps: BTreeMap<&str, Value> = Step::ALL
            .into_iter()
            .filter_map(|step| {
                let [p50, p95, p99, max] = self.percentiles(step)?;
                Some((step.name(), json!({"p50_us": p50, "p95_us": p95, "p99_us": p99, "max_us": max})))
            })
            .collect();
        json!({
            "arrived": self.arrived, "completed": self.completed, "failed": self.failed,
            "authorised_again": self.again,
            "nobody_free": self.nobody_free, "steps": steps,
        })
    }
}
