//! The platform's own share of latency, as its own clock has it: from a request's arrival in the process to its answer.
//! What a phone sees besides is the network, and here, where people live on the platform's machine, their turn at the
//! processor.

use std::collections::BTreeMap;
use std::io;

use sandbox::city::City;
use serde_json::{Map, Value, json};

use crate::journey::Step;
use crate::metrics;

const BUCKETS: &str = "tongfu_http_request_duration_seconds_bucket";
/// The steps that ask nobody outside, and their routes. (One that asks for a code waits for the SMS gateway as well.)
const STEPS: [(Step, &str); 2] = [(Step::Open, "/mobile/v1/orders"), (Step::Pay, "/mobile/v1/orders/{id}/pay")];

/// How many were answered within so many seconds, by step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(BTreeMap<Step, Vec<(f64, f64)>>);

/// What was answered so far.
pub(crate) async fn seen(city: &City) -> io::Result<Seen> {
    let mut seen = Seen::default();
    for (labels, count) in metrics::samples(city, BUCKETS).await? {
        let label = |name: &str| labels.get(name).map_or("", String::as_str);
        let step = STEPS.iter().find(|(_, route)| label("route") == *route);
        let (Some((step, _)), "POST", "2xx") = (step, label("method"), label("status_class")) else { continue };
        // `+Inf` is read as infinity.
        if let Ok(within) = label("le").parse() {
            seen.add(*step, within, count);
        }
    }
    Ok(seen)
}

#[expect(clippy::float_arithmetic, clippy::float_cmp, reason = "seconds and ends of a histogram's buckets, no money")]
impl Seen {
    fn add(&mut self, step: Step, within: f64, count: f64) {
        let own = self.0.entry(step).or_default();
        let at = own.partition_point(|(known, _)| *known < within);
        match own.get_mut(at) {
            Some((known, all)) if *known == within => *all += count,
            _ => own.insert(at, (within, count)),
        }
    }

    /// What was answered since `before`, by step: percentiles in milliseconds, taken to lie evenly within a bucket, and
    /// the share within 5 and 25 ms, which are buckets' ends.
    pub(crate) fn since(&self, before: &Seen) -> Value {
        let mut steps = Map::new();
        for (step, buckets) in &self.0 {
            let known = before.0.get(step);
            let less =
                |at: usize, count: f64| count - known.and_then(|known| known.get(at)).map_or(0.0, |(_, old)| *old);
            let buckets: Vec<(f64, f64)> =
                buckets.iter().enumerate().map(|(at, (within, count))| (*within, less(at, *count))).collect();
            let Some((_, all)) = buckets.last().copied().filter(|(_, all)| *all > 0.0) else { continue };
            let within = |limit: f64| {
                let found = buckets.iter().find(|(within, _)| (*within - limit).abs() < 1e-9);
                found.map_or(0.0, |(_, count)| (count * 1000.0 / all).round() / 10.0)
            };
            let at = |share: f64| (quantile(&buckets, all * share) * 10_000.0).round() / 10.0;
            let told = json!({
                "p50": at(0.5), "p95": at(0.95), "p99": at(0.99),
                "percent_within_5_ms": within(0.005), "percent_within_25_ms": within(0.025),
                "answers": all,
            });
            steps.insert(step.name().into(), told);
        }
        Value::Object(steps)
    }
}

/// Seconds within which so many were answered.
#[expect(clippy::float_arithmetic, reason = "seconds of a histogram, no money")]
fn quantile(buckets: &[(f64, f64)], wanted: f64) -> f64 {
    let (mut from, mut before) = (0.0, 0.0);
    for (within, count) in buckets {
        if *count >= wanted && within.is_finite() {
            return from + (within - from) * (wanted - before) / (count - before).max(f64::MIN_POSITIVE);
        }
        if within.is_finite() {
            (from, before) = (*within, *count);
        }
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_since_counts_and_what_lies_in_a_bucket_lies_evenly_in_it() {
        let ends = [0.005, 0.025, 0.1, f64::INFINITY];
        let of = |counts: [f64; 4]| {
            let mut seen = Seen::default();
            ends.into_iter().zip(counts).for_each(|(within, count)| seen.add(Step::Open, within, count));
            seen
        };
        let told = of([70.0, 100.0, 110.0, 110.0]).since(&of([10.0, 10.0, 10.0, 10.0]));
        assert_eq!(told["open"]["percent_within_5_ms"], json!(60.0));
        assert_eq!(told["open"]["percent_within_25_ms"], json!(90.0));
        assert_eq!((&told["open"]["p50"], &told["open"]["p95"]), (&json!(4.2), &json!(62.5)));
        assert_eq!(told["open"]["answers"], json!(100.0));
        assert_eq!(of([1.0; 4]).since(&of([1.0; 4])), json!({}), "nothing came");
    }
}
