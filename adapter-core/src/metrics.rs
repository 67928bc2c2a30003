//! `/metrics`: few numbers, each of which somebody is called for.

use prometheus::{IntCounter, IntGauge, Registry, TextEncoder};

/// The adapter's numbers.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    link_up: IntGauge,
    outbound_waiting: IntGauge,
    work_waiting: IntGauge,
    pub(crate) connections: IntCounter,
    pub(crate) frames_sent: IntCounter,
    pub(crate) frames_received: IntCounter,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("the names below are valid");
            registry.register(Box::new(gauge.clone())).expect("the names below differ");
            gauge
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("the names below are valid");
            registry.register(Box::new(counter.clone())).expect("the names below differ");
            counter
        };
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            registry.register(Box::new(process)).expect("process metrics have names of their own");
        }
        Metrics {
            link_up: gauge("tongfu_adapter_link_up", "1 while the link to the platform is open"),
            outbound_waiting: gauge("tongfu_adapter_outbound_waiting", "asks of this institution without reply"),
            work_waiting: gauge("tongfu_adapter_work_waiting", "work items that the HIS has not answered"),
            connections: counter("tongfu_adapter_connections_total", "links opened since start"),
            frames_sent: counter("tongfu_adapter_frames_sent_total", "messages sent to the platform"),
            frames_received: counter("tongfu_adapter_frames_received_total", "messages received from the platform"),
            registry,
        }
    }

    /// The text of `/metrics`, with the gauges as they are now.
    pub(crate) fn text(&self, link_up: bool, outbound_waiting: usize, work_waiting: usize) -> String {
        self.link_up.set(i64::from(link_up));
        self.outbound_waiting.set(i64::try_from(outbound_waiting).unwrap_or(i64::MAX));
        self.work_waiting.set(i64::try_from(work_waiting).unwrap_or(i64::MAX));
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
