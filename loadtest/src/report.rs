//! What a run came to: JSON for programs, Markdown for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use sandbox::city::verdict::Verdict;
use serde_json::{Value, json};

use crate::Options;
use crate::costs::Spent;
use crate::figures::Figures;
use crate::journey::Step;
use crate::lost::Lost;

/// A run.
pub(crate) struct Report {
    scenario: &'static str,
    rate: u32,
    replicas: usize,
    /// What was seen.
    pub(crate) figures: Figures,
    verdict: Verdict,
    fallen: Vec<String>,
    took: Duration,
    cpu_ms: BTreeMap<&'static str, u64>,
    peak_kib: Option<u64>,
    /// What the platform's memory grew by for each link that only stood there.
    pub(crate) bytes_per_idle_link: Option<u64>,
    /// The platform's own share of latency, warm-up included.
    pub(crate) own_share_ms: Value,
    /// What became of what a killed process held.
    pub(crate) lost: Option<Lost>,
    /// Where the topic is not the store's history.
    pub(crate) topic: Vec<String>,
    may_fail: bool,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "a report is made once, of everything there is")]
    pub(crate) fn new(
        options: &Options,
        figures: Figures,
        verdict: Verdict,
        fallen: Vec<String>,
        took: Duration,
        before: &Spent,
        after: &Spent,
        peak_kib: Option<u64>,
    ) -> Report {
        let since = |group: &str| before.get(group).copied().unwrap_or(0);
        Report {
            scenario: options.scenario.name(),
            rate: options.rate,
            replicas: options.scenario.replicas(options.replicas),
            figures,
            verdict,
            fallen,
            took,
            cpu_ms: after.iter().map(|(group, ms)| (*group, ms.saturating_sub(since(group)))).collect(),
            peak_kib,
            bytes_per_idle_link: None,
            own_share_ms: Value::Null,
            lost: None,
            topic: Vec::new(),
            may_fail: options.scenario.may_fail(),
        }
    }

    /// Nothing is off.
    pub(crate) fn is_sound(&self) -> bool {
        self.wrong().is_empty()
    }

    /// Everything that is off: the books, the topic, programs that fell, payments that did not end or, where nobody
    /// outside fails, were not completed, and a measurement that was none.
    fn wrong(&self) -> Vec<String> {
        let Report { figures, verdict, .. } = self;
        let mut wrong: Vec<String> = [&verdict.differences, &verdict.broken_promises, &self.topic, &self.fallen]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let mut unless = |is_right: bool, what: String| wrong.extend((!is_right).then_some(what));
        unless(verdict.is_sound(), "账实不符 the books are off".to_owned());
        let unfinished = (verdict.unfinished, verdict.orders_unfinished, verdict.refunds_unfinished);
        unless(verdict.is_at_rest(), format!("未了结 unfinished payments, orders and refunds: {unfinished:?}"));
        unless(figures.completed > 0, "一笔也未完成 nothing was completed".to_owned());
        let failed: u64 = figures.failed.values().sum();
        unless(failed == 0 || self.may_fail, format!("{failed} 笔未完成 payments were not completed"));
        let nobody = figures.nobody_free;
        unless(nobody == 0, format!("{nobody} arrivals found nobody free: more --people"));
        let late = |lost: &Lost| format!("恢复超过5秒 not all of it moved again within 5 s: {lost}");
        unless(self.lost.as_ref().is_none_or(Lost::is_soon), self.lost.as_ref().map(late).unwrap_or_default());
        wrong
    }

    /// Completed payments a second, in thousandths.
    fn per_s_milli(&self) -> u64 {
        let ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX).max(1);
        self.figures.completed.saturating_mul(1_000_000) / ms
    }

    /// Processor microseconds of a group per completed payment.
    fn cpu_us(&self, ms: u64) -> u64 {
        ms * 1000 / self.figures.completed.max(1)
    }

    /// All of it.
    pub(crate) fn json(&self) -> Value {
        let cpu: BTreeMap<&str, u64> = self.cpu_ms.iter().map(|(group, ms)| (*group, self.cpu_us(*ms))).collect();
        json!({
            "scenario": self.scenario, "rate_per_s": self.rate, "replicas": self.replicas,
            "payments": self.figures.json(),
            "payments_per_s_milli": self.per_s_milli(),
            "elapsed_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "cpu_us_per_payment": cpu,
            "own_share_ms": self.own_share_ms,
            "platform_peak_kib": self.peak_kib, "bytes_per_idle_link": self.bytes_per_idle_link,
            "lost_replica": self.lost.as_ref().map(Lost::json),
            "books_balance": self.verdict.books_balance, "sides_agree": self.verdict.sides_agree,
            "charged_twice": self.verdict.charged_twice, "differences": self.verdict.differences,
            "fallen": self.fallen, "wrong": self.wrong(),
        })
    }

    /// A page for people.
    pub(crate) fn markdown(&self) -> String {
        let mut page = String::new();
        let milli = self.per_s_milli();
        let wrong = self.wrong();
        let sound = if wrong.is_empty() {
            "账实相符，事件与账一致 books balance, the topic is their history"
        } else {
            "**有误 something is off**"
        };
        // Writing into a String cannot fail.
        let _ = writeln!(
            page,
            "## {} · {}/s · {} replica(s)\n\n{} arrived, {} completed, {}.{:03} payments/s; {sound}\n",
            self.scenario,
            self.rate,
            self.replicas,
            self.figures.arrived,
            self.figures.completed,
            milli / 1000,
            milli % 1000,
        );
        let _ = writeln!(page, "| step | p50 ms | p95 ms | p99 ms | max ms |\n| --- | ---: | ---: | ---: | ---: |");
        for step in Step::ALL {
            if let Some(values) = self.figures.percentiles(step) {
                let [p50, p95, p99, max] = values.map(|us| format!("{}.{}", us / 1000, us % 1000 / 100));
                let _ = writeln!(page, "| {} | {p50} | {p95} | {p99} | {max} |", step.name());
            }
        }
        let _ = writeln!(page, "\n| program | CPU ms per payment |\n| --- | ---: |");
        for (group, ms) in &self.cpu_ms {
            let us = self.cpu_us(*ms);
            let _ = writeln!(page, "| {group} | {}.{:02} |", us / 1000, us % 1000 / 10);
        }
        if let Some(bytes) = self.bytes_per_idle_link {
            let _ = writeln!(page, "\n{bytes} bytes of the platform's memory per idle link");
        }
        if let Some(lost) = &self.lost {
            let _ = writeln!(page, "\n{lost}");
        }
        if self.figures.again > 0 {
            let _ = writeln!(page, "\n* authorised anew {} times", self.figures.again);
        }
        for (why, count) in &self.figures.failed {
            let _ = writeln!(page, "\n* {count} × {why}");
        }
        for (what, count) in &self.figures.aside {
            let _ = writeln!(page, "\n* 不计入 not counted: {count} × {what}");
        }
        for what in wrong {
            let _ = writeln!(page, "\n* **{what}**");
        }
        page
    }
}
