//! Looks at the books for operators: orders by state and result, how long suspended ones have waited, whether everything sums.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schema::money::Fen;
use schema::refusal::Refusal;

use crate::journey::Ground;
use crate::metrics::Metrics;

/// At most this often.
const EVERY: Duration = Duration::from_secs(15);
/// A look that takes long is followed by so many times its own length of rest, so that it never costs more than a
/// twentieth of one reader.
const REST: u32 = 20;
/// Suspended orders, and as many refunds, that are looked at; with more waiting, the count is not what matters.
const SUSPENDED_MAX: u32 = 10_000;

/// Runs for ever.
pub async fn run(ground: Arc<Ground>, metrics: Arc<Metrics>) {
    loop {
        let started = ground.clock.steady();
        if let Err(refusal) = round(&ground, &metrics).await {
            tracing::warn!(%refusal, "the books could not be looked at");
        }
        tokio::time::sleep(EVERY.max(ground.clock.steady().saturating_sub(started).saturating_mul(REST))).await;
    }
}

/// One look. Where it fails nothing is said of the books any more.
pub async fn round(ground: &Ground, metrics: &Metrics) -> Result<(), Refusal> {
    let looked = look(ground, metrics).await;
    if looked.is_err() {
        metrics.forget_balance();
    }
    looked
}

async fn look(ground: &Ground, metrics: &Metrics) -> Result<(), Refusal> {
    let mut orders: BTreeMap<(&'static str, &'static str), i64> = BTreeMap::new();
    let mut balanced = true;
    for tenant in ground.tenants.all() {
        let id = tenant.id;
        let sums = ground.read(move |store| store.verify(id)).await?;
        for (result, count) in sums.results {
            *orders.entry(result).or_default() += count;
        }
        balanced &= sums.violations.is_empty() && Fen::sum(sums.accounts.into_values()) == Ok(Fen::new(0));
        for violation in &sums.violations {
            tracing::error!(tenant = %id, ?violation, "the books do not hold");
        }
    }
    let now_us = ground.clock.now_us();
    let suspended = ground.read(|store| store.orders_in(None, Some("suspended"), SUSPENDED_MAX)).await?;
    let refunds = ground.read(|store| store.refunds_in(Some("suspended"), SUSPENDED_MAX)).await?;
    let since_us = suspended.iter().map(|order| order.entered_at_us);
    let since_us = since_us.chain(refunds.iter().map(|(_, refund)| refund.created_at_us));
    metrics.set_suspended(since_us.map(|since_us| now_us.saturating_sub(since_us)));
    metrics.set_records_waiting(ground.read(|store| store.records_waiting()).await?);
    metrics.set_orders(&orders);
    metrics.set_balanced(balanced, now_us);
    Ok(())
}
