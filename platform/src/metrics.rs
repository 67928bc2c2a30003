//! What operators see of the running platform, as Prometheus text. No label ever names a person, an order or a bill.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::journey::desk::Aftermath;

pub mod counted;

/// How long a suspended order has been waiting for a person, for `tongfu_suspended`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspendedAge {
    /// Less than an hour.
    UnderHour,
    /// Less than a day.
    UnderDay,
    /// A day or more.
    DayOrMore,
}

impl SuspendedAge {
    /// Every bucket.
    pub const ALL: [SuspendedAge; 3] = [SuspendedAge::UnderHour, SuspendedAge::UnderDay, SuspendedAge::DayOrMore];

    /// The bucket of an age in microseconds.
    pub const fn of_us(age_us: i64) -> SuspendedAge {
        const HOUR_US: i64 = 3_600_000_000;
        match age_us {
            ..HOUR_US => SuspendedAge::UnderHour,
            HOUR_US..86_400_000_000 => SuspendedAge::UnderDay,
            _ => SuspendedAge::DayOrMore,
        }
    }

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            SuspendedAge::UnderHour => "under_1h",
            SuspendedAge::UnderDay => "under_1d",
            SuspendedAge::DayOrMore => "1d_or_more",
        }
    }
}

/// A kind of signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// The wallet's.
    Rsa2048,
    /// The link's.
    Ed25519,
}

/// What was done with a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Made with our key.
    Made,
    /// Checked with another's.
    Checked,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

/// The platform's metrics. One per process, shared in an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: HistogramVec,
    moves: IntCounterVec,
    orders: IntGaugeVec,
    party_calls: IntCounterVec,
    signatures: IntCounterVec,
    batches: Histogram,
    damaged: IntCounter,
    suspended: IntGaugeVec,
    balanced: IntGaugeVec,
    looked: IntGaugeVec,
    waiting: IntGaugeVec,
    links: IntGauge,
}

impl Metrics {
    /// Registers everything, empty.
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let requests = registered(
            &registry,
            HistogramVec::new(
                HistogramOpts::new("tongfu_http_request_duration_seconds", "Time to answer a request, by route.")
                    .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
                &["route", "method", "status_class"],
            ),
        );
        let moves = counters(
            &registry,
            "tongfu_order_moves_total",
            "Steps of orders: public state before, after, and what happened.",
            &["from", "to", "event"],
        );
        let orders = gauges(
            &registry,
            "tongfu_orders",
            "Orders by public state, and why they ended, wait or are undone (none: no reason).",
            &["state", "result"],
        );
        let party_calls = counters(
            &registry,
            "tongfu_party_calls_total",
            "Calls to outsiders, and what they came to: done, refused, unknown.",
            &["party", "call", "result"],
        );
        let signatures = counters(
            &registry,
            "tongfu_signatures_total",
            "Asymmetric signatures of the payment path: the wallet's (rsa2048) and the link's (ed25519), made and checked.",
            &["scheme", "act"],
        );
        let batches = registered(
            &registry,
            Histogram::with_opts(
                HistogramOpts::new("tongfu_desk_batch_size", "Events decided in one commit.")
                    .buckets(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]),
            ),
        );
        let damaged = registered(
            &registry,
            IntCounter::new(
                "tongfu_desk_damaged_total",
                "Events refused because a row could not be read or written: each needs somebody to look.",
            ),
        );
        let suspended = gauges(
            &registry,
            "tongfu_suspended",
            "Orders, and refunds of orders, that wait for a person: by how long they have waited (refunds: since granted).",
            &["age_bucket"],
        );
        let balanced = gauges(
            &registry,
            "tongfu_books_balanced",
            "1 while every tenant's postings sum to zero and no invariant fails; absent when the last look failed.",
            &[],
        );
        let looked = gauges(
            &registry,
            "tongfu_books_checked_timestamp_seconds",
            "When the books were last looked at with success: seconds since 1970. What the other gauges of orders say is \
             as old as this.",
            &[],
        );
        let waiting = gauges(
            &registry,
            "tongfu_records_waiting",
            "Records in the store that the event sink does not have yet; what every process says is the same number.",
            &[],
        );
        let links = registered(&registry, IntGauge::new("tongfu_links_up", "Institutions connected to this process."));
        let build = gauges(&registry, "tongfu_build_info", "Always 1; the label says which build runs.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // The process's own figures exist on Linux only; where they cannot be had, they are absent.
        let _ = registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()));
        Metrics {
            registry,
            requests,
            moves,
            orders,
            party_calls,
            signatures,
            batches,
            damaged,
            suspended,
            balanced,
            looked,
            waiting,
            links,
        }
    }

    /// A request was answered. `route` is the template, never the path.
    pub fn answered(&self, route: &str, method: &str, status: u16, took: Duration) {
        let class = match status {
            ..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.requests.with_label_values(&[route, method, class]).observe(took.as_secs_f64());
    }

    /// The desk committed a batch.
    pub fn committed(&self, aftermath: &Aftermath) {
        self.batches.observe(f64::from(u32::try_from(aftermath.batch).unwrap_or(u32::MAX)));
        self.damaged.inc_by(u64::try_from(aftermath.damaged).unwrap_or(u64::MAX));
        for (from, to, event) in &aftermath.moves {
            self.moves.with_label_values(&[*from, *to, *event]).inc();
        }
    }

    /// How many orders stand in each public state now, and with which result, over all tenants. What is not named is
    /// taken to be empty.
    pub fn set_orders(&self, by_result: &BTreeMap<(&'static str, &'static str), i64>) {
        self.orders.reset();
        for ((state, result), count) in by_result {
            self.orders.with_label_values(&[*state, *result]).set(*count);
        }
    }

    /// A call to an outsider ended; `result` is [`Answer::word`](crate::parties::answer::Answer::word).
    pub fn called(&self, party: &str, call: &str, result: &str) {
        self.party_calls.with_label_values(&[party, call, result]).inc();
    }

    /// A signature of this scheme was made or checked.
    pub fn signature(&self, scheme: Scheme, act: Act) {
        let scheme = match scheme {
            Scheme::Rsa2048 => "rsa2048",
            Scheme::Ed25519 => "ed25519",
        };
        let act = match act {
            Act::Made => "made",
            Act::Checked => "checked",
        };
        self.signatures.with_label_values(&[scheme, act]).inc();
    }

    /// The ages (microseconds) of every order and refund that waits for a person now.
    pub fn set_suspended(&self, ages_us: impl IntoIterator<Item = i64>) {
        let mut counts = [0_i64; SuspendedAge::ALL.len()];
        for age_us in ages_us {
            counts[SuspendedAge::of_us(age_us) as usize] += 1;
        }
        for (bucket, count) in SuspendedAge::ALL.into_iter().zip(counts) {
            self.suspended.with_label_values(&[bucket.as_str()]).set(count);
        }
    }

    /// The books were looked at, at this instant (microseconds UTC), and found balanced or not.
    pub fn set_balanced(&self, balanced: bool, at_us: i64) {
        self.balanced.with_label_values::<&str>(&[]).set(i64::from(balanced));
        self.looked.with_label_values::<&str>(&[]).set(at_us / 1_000_000);
    }

    /// The books could not be looked at: nothing is said of them until they can.
    pub fn forget_balance(&self) {
        self.balanced.reset();
    }

    /// Records that wait to be published.
    pub fn set_records_waiting(&self, count: i64) {
        self.waiting.with_label_values::<&str>(&[]).set(count);
    }

    /// Institutions connected now.
    pub fn set_links(&self, up: usize) {
        self.links.set(i64::try_from(up).unwrap_or(i64::MAX));
    }

    /// Everything, as Prometheus text.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("names and labels in this file are well formed");
    registry.register(Box::new(collector.clone())).expect("every name in this file is used once");
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_counted_is_read_back_as_text() {
        let metrics = Metrics::new();
        metrics.answered("/mobile/v1/orders/{id}", "GET", 404, Duration::from_millis(3));
        metrics.called("bureau", "settle", "unknown");
        let moves = vec![("new", "created", "opened")];
        metrics.committed(&Aftermath { batch: 7, damaged: 1, moves, ..Aftermath::default() });
        metrics.set_orders(&BTreeMap::from([(("paid", "none"), 3), (("closed", "cancelled"), 1)]));
        metrics.set_suspended([0, 3_600_000_000, 86_400_000_000, 86_399_999_999]);
        metrics.set_balanced(true, 1_767_225_600_999_999);
        metrics.set_records_waiting(4);
        metrics.set_links(2);
        let text = metrics.text().expect("encodes");
        for line in [
            r#"tongfu_http_request_duration_seconds_count{method="GET",route="/mobile/v1/orders/{id}",status_class="4xx"} 1"#,
            r#"tongfu_order_moves_total{event="opened",from="new",to="created"} 1"#,
            r#"tongfu_party_calls_total{call="settle",party="bureau",result="unknown"} 1"#,
            "tongfu_desk_batch_size_count 1",
            "tongfu_desk_damaged_total 1",
            r#"tongfu_orders{result="none",state="paid"} 3"#,
            r#"tongfu_orders{result="cancelled",state="closed"} 1"#,
            r#"tongfu_suspended{age_bucket="under_1h"} 1"#,
            r#"tongfu_suspended{age_bucket="under_1d"} 2"#,
            r#"tongfu_suspended{age_bucket="1d_or_more"} 1"#,
            "tongfu_books_balanced 1",
            "tongfu_books_checked_timestamp_seconds 1767225600",
            "tongfu_records_waiting 4",
            "tongfu_links_up 2",
            "tongfu_desk_batch_size_sum 7",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
        }
    }
    #[test]
    fn nothing_is_said_of_books_that_nobody_could_look_at() {
        let metrics = Metrics::new();
        let said = |name: &str| {
            let text = metrics.text().expect("encodes");
            text.lines().find(|line| line.starts_with(&format!("{name} "))).map(str::to_owned)
        };
        assert_eq!(said("tongfu_books_balanced"), None, "before the first look");
        metrics.set_balanced(true, 5_000_000);
        metrics.forget_balance();
        assert_eq!(said("tongfu_books_balanced"), None, "a look that failed");
        assert_eq!(
            said("tongfu_books_checked_timestamp_seconds").as_deref(),
            Some("tongfu_books_checked_timestamp_seconds 5")
        );
        metrics.set_balanced(false, 6_000_000);
        assert_eq!(said("tongfu_books_balanced").as_deref(), Some("tongfu_books_balanced 0"));
    }

    /// Snake case under one prefix; counters end in `_total`, and what has a unit names the base unit last.
    #[test]
    fn every_name_is_what_prometheus_asks_for() {
        use prometheus::proto::MetricType;

        let metrics = Metrics::new();
        metrics.answered("/livez", "GET", 200, Duration::from_millis(1));
        metrics.called("sms", "login_code", "done");
        metrics.committed(&Aftermath { batch: 1, moves: vec![("new", "created", "opened")], ..Aftermath::default() });
        metrics.set_orders(&BTreeMap::from([(("paid", "none"), 1)]));
        metrics.set_suspended([0]);
        metrics.set_balanced(true, 0);
        metrics.set_records_waiting(0);
        let families = metrics.registry.gather();
        let own: Vec<_> = families.iter().filter(|family| family.name().starts_with("tongfu_")).collect();
        assert_eq!(own.len(), 12, "every family of this file has a value here");
        for family in own {
            let name = family.name();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert!(!family.help().is_empty(), "{name}");
            assert_eq!(family.get_field_type() == MetricType::COUNTER, name.ends_with("_total"), "{name}");
            for unit in ["duration", "timestamp"] {
                assert!(!name.contains(unit) || name.ends_with("_seconds"), "{name}");
            }
            for unit in ["_ms", "_us", "_minutes", "_count", "_sum", "_bucket"] {
                assert!(!name.ends_with(unit), "{name}");
            }
            for label in family.get_metric()[0].get_label() {
                assert!(label.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
                assert!(!["le", "quantile", "job", "instance"].contains(&label.name()), "{name}");
            }
        }
    }
}
