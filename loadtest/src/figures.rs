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

/// Over so many seconds a percentile is taken.
const WINDOW: usize = 5;

/// One second of the run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Second {
    /// Payments that arrived.
    pub(crate) arrived: u64,
    /// Payments that were completed.
    pub(crate) completed: u64,
    /// How long each of those took, in milliseconds.
    pub(crate) took_ms: Vec<u64>,
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
    /// What became of payments that the scenario is not about (`slow-hospital`: the slow one's own): they are in none of
    /// the rest.
    pub(crate) aside: BTreeMap<String, u64>,
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
            second.took_ms.push(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
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

    /// A payment ended that the scenario is not about.
    pub(crate) fn aside(&mut self, told: Told) {
        *self.aside.entry(told.failed.unwrap_or_else(|| "completed".to_owned())).or_default() += 1;
    }

    /// A step's percentiles, in microseconds: p50, p95, p99, the longest.
    pub(crate) fn percentiles(&self, step: Step) -> Option<[u64; 4]> {
        let histogram = self.steps.get(&step)?;
        let at = |quantile| histogram.value_at_quantile(quantile);
        Some([at(0.5), at(0.95), at(0.99), histogram.max()])
    }

    /// A percentile of whole payments second by second, in milliseconds, each over the seconds before it as well: one
    /// alone has too few for a percentile.
    pub(crate) fn over_time(&self, percent: usize) -> Vec<u64> {
        let until = |second: usize| {
            let window = &self.line[(second + 1).saturating_sub(WINDOW)..=second];
            let mut took: Vec<u64> = window.iter().flat_map(|second| &second.took_ms).copied().collect();
            took.sort_unstable();
            took.get((took.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
        };
        (0..self.line.len()).map(until).collect()
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
            "authorised_again": self.again, "aside": self.aside,
            "nobody_free": self.nobody_free, "steps": steps,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_over_time_is_that_of_the_last_seconds() {
        let mut figures = Figures::default();
        for second in 0..8 {
            for number in 0..10 {
                let took = Duration::from_millis(if second == 2 { 900 + number } else { 10 + number });
                let steps = vec![(Step::Whole, took)];
                figures.ended(Duration::from_secs(second), true, Told { steps, again: 0, failed: None });
            }
        }
        assert_eq!(figures.over_time(50), [14, 14, 17, 16, 16, 16, 16, 14]);
        assert_eq!(figures.over_time(99), [19, 19, 909, 909, 909, 909, 909, 19]);
        assert_eq!(Figures::default().over_time(50), Vec::<u64>::new());
    }
}
