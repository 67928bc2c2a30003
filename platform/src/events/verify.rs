//! Proves that a sink has the store's history: every record of every order, byte for byte, in sequence per order, nothing
//! else, and repeats only as exact repeats.
//!
//! The history is read first, and then the sink to its end. What was in the store before must be in the sink; what is
//! written meanwhile may be, and is looked up where it is found. So a platform that runs can be looked at.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use ring::digest;
use schema::event::CloudEvent;
use schema::ids::{OrderId, TenantId};

use super::{At, Found, NotRead, Source};
use crate::clock::Clock;
use crate::store::{Recorded, Store, StoreError};

/// What can be wrong with a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// The store has published a record that is not there.
    Gap,
    /// The store has a record that nobody has published.
    Unpublished,
    /// Something is there that the store does not have.
    Foreign,
    /// What is there under a record's number, for the first time or as a repeat, is not that record.
    Changed,
    /// A record stands behind a later one of its order.
    OutOfOrder,
    /// A record is not where its order's records belong.
    Misplaced,
}

impl Wrong {
    /// For programs.
    pub const fn word(self) -> &'static str {
        match self {
            Wrong::Gap => "gap",
            Wrong::Unpublished => "unpublished",
            Wrong::Foreign => "foreign",
            Wrong::Changed => "changed",
            Wrong::OutOfOrder => "out_of_order",
            Wrong::Misplaced => "misplaced",
        }
    }

    /// For people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Wrong::Gap => "已标记发布但事件流中没有 / marked published and not there",
            Wrong::Unpublished => "尚未发布 / not published yet",
            Wrong::Foreign => "库中没有的事件 / not in the store",
            Wrong::Changed => "与库中同号记录内容不同 / says something else than the store under this number",
            Wrong::OutOfOrder => "排在同一订单更晚的记录之后 / behind a later record of its order",
            Wrong::Misplaced => "键或分区不属于该订单 / its key or partition is not its order's",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub wrong: Wrong,
    /// Of which order; none where what was found names none.
    pub order: Option<OrderId>,
    /// Which of its records.
    pub sequence: Option<i64>,
    /// Where; none for what is not there.
    pub at: Option<At>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Orders in the store.
    pub orders: usize,
    /// Records in the store.
    pub records: usize,
    /// Records in the sink, repeats included.
    pub read: usize,
    /// Exact repeats among them: harmless.
    pub repeats: usize,
    /// Everything that is wrong: first what was found, in the order of reading, then what was not, by order.
    pub findings: Vec<Finding>,
}

/// Nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum CannotVerify {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sink cannot be read.
    #[error(transparent)]
    Sink(#[from] NotRead),
}

/// Compares. Records that were not yet published at the beginning are waited for, at most so long.
pub fn verify(
    store: &dyn Store,
    source: &mut dyn Source,
    wait: Duration,
    clock: &dyn Clock,
) -> Result<Report, CannotVerify> {
    let mut verifier = Verifier::read(store)?;
    let begun = clock.steady();
    loop {
        while let Some(found) = source.next()? {
            verifier.take(source, &found)?;
        }
        if verifier.unpublished.is_empty() || clock.steady().saturating_sub(begun) >= wait {
            return verifier.report();
        }
        std::thread::sleep(LOOK);
    }
}

/// How often the end of the sink is looked at while records are waited for.
const LOOK: Duration = Duration::from_millis(200);
/// Rows read at once.
const PAGE: u32 = 2000;

/// Enough of SHA-256 to tell two records apart: of a million orders, what is kept must fit into memory.
type Digest = [u8; 16];

fn digest(record: &str) -> Digest {
    let whole = digest::digest(&digest::SHA256, record.as_bytes());
    let mut out = [0; 16];
    out.copy_from_slice(&whole.as_ref()[..16]);
    out
}

/// An order's records in the store, and which of them have been found.
struct Known {
    tenant: TenantId,
    /// By sequence, from 1.
    digests: Vec<Digest>,
    /// How many of them were there at the beginning and must be found.
    due: usize,
    /// The first so many have been found.
    found: usize,
    /// Found ahead of others; empty where nothing is wrong.
    ahead: BTreeSet<usize>,
}

impl Known {
    fn has(&self, number: usize) -> bool {
        number <= self.found || self.ahead.contains(&number)
    }

    fn find(&mut self, number: usize) {
        self.ahead.insert(number);
        while self.ahead.remove(&(self.found + 1)) {
            self.found += 1;
        }
    }
}

struct Verifier<'a> {
    store: &'a dyn Store,
    tenants: HashSet<TenantId>,
    orders: HashMap<OrderId, Known>,
    /// Not published at the beginning, and not found since.
    unpublished: HashSet<(OrderId, usize)>,
    report: Report,
}

impl Verifier<'_> {
    fn read(store: &dyn Store) -> Result<Verifier<'_>, StoreError> {
        let tenants: Vec<TenantId> = store.tenants()?.into_iter().map(|row| row.id).collect();
        let mut verifier = Verifier {
            store,
            tenants: tenants.iter().copied().collect(),
            orders: HashMap::new(),
            unpublished: HashSet::new(),
            report: Report::default(),
        };
        for tenant in tenants {
            let mut after = None;
            loop {
                let page = store.records(tenant, after, PAGE)?;
                let Some(last) = page.last() else { break };
                after = Some((last.order, last.sequence));
                for recorded in &page {
                    let number = verifier.learn(tenant, recorded)?;
                    let known = verifier.orders.get_mut(&recorded.order);
                    if let Some(known) = known {
                        known.due = number;
                    }
                    if !recorded.published {
                        verifier.unpublished.insert((recorded.order, number));
                    }
                    verifier.report.records += 1;
                }
            }
        }
        verifier.report.orders = verifier.orders.len();
        Ok(verifier)
    }

    /// Adds the next record of an order as the store has it; its number.
    fn learn(&mut self, tenant: TenantId, recorded: &Recorded) -> Result<usize, StoreError> {
        let new = || Known { tenant, digests: Vec::new(), due: 0, found: 0, ahead: BTreeSet::new() };
        let known = self.orders.entry(recorded.order).or_insert_with(new);
        known.digests.push(digest(&recorded.record));
        let number = known.digests.len();
        if i64::try_from(number) != Ok(recorded.sequence) {
            let what = format!("records of order {}: number {} at place {number}", recorded.order, recorded.sequence);
            return Err(StoreError::Damaged(what));
        }
        Ok(number)
    }

    /// Looks for what the store has got of an order since.
    fn look_again(&mut self, tenant: TenantId, order: OrderId) -> Result<(), StoreError> {
        if !self.tenants.contains(&tenant) {
            return Ok(());
        }
        let known = self.orders.get(&order).map_or(0, |known| known.digests.len());
        let behind = (order, i64::try_from(known).unwrap_or(i64::MAX));
        for recorded in self.store.records(tenant, Some(behind), PAGE)?.iter().take_while(|row| row.order == order) {
            self.learn(tenant, recorded)?;
        }
        Ok(())
    }

    fn take(&mut self, source: &dyn Source, found: &Found) -> Result<(), StoreError> {
        self.report.read += 1;
        let Ok(event) = serde_json::from_str::<CloudEvent>(&found.record) else {
            self.wrong(Wrong::Foreign, None, None, found);
            return Ok(());
        };
        let (order, sequence) = (event.subject, event.sequence);
        let number = usize::try_from(sequence).unwrap_or(0);
        let knows = |orders: &HashMap<OrderId, Known>| {
            number > 0 && orders.get(&order).is_some_and(|known| number <= known.digests.len())
        };
        if !knows(&self.orders) {
            self.look_again(event.tenantid, order)?;
        }
        let digest = digest(&found.record);
        let known = self.orders.get_mut(&order).filter(|known| number > 0 && number <= known.digests.len());
        let Some(known) = known else {
            self.wrong(Wrong::Foreign, Some(order), Some(sequence), found);
            return Ok(());
        };
        if known.digests[number - 1] != digest {
            self.wrong(Wrong::Changed, Some(order), Some(sequence), found);
            return Ok(());
        }
        let is_home = source.is_home(found, order);
        let is_repeat = known.has(number);
        let is_late = known.ahead.last().is_some_and(|last| *last > number);
        known.find(number);
        self.unpublished.remove(&(order, number));
        if !is_home {
            self.wrong(Wrong::Misplaced, Some(order), Some(sequence), found);
        } else if is_repeat {
            self.report.repeats += 1;
        } else if is_late {
            self.wrong(Wrong::OutOfOrder, Some(order), Some(sequence), found);
        }
        Ok(())
    }

    fn wrong(&mut self, wrong: Wrong, order: Option<OrderId>, sequence: Option<i64>, found: &Found) {
        self.report.findings.push(Finding { wrong, order, sequence, at: Some(found.at) });
    }

    fn report(mut self) -> Result<Report, CannotVerify> {
        let mut missing = Vec::new();
        for (order, known) in &self.orders {
            let last = known.due.max(known.ahead.last().copied().unwrap_or(0));
            missing.extend((1..=last).filter(|number| !known.has(*number)).map(|number| (*order, number)));
        }
        missing.sort();
        for (order, number) in missing {
            let sequence = i64::try_from(number).unwrap_or(i64::MAX);
            let waits = self.unpublished.contains(&(order, number)) && !self.published_since(order, sequence)?;
            let wrong = if waits { Wrong::Unpublished } else { Wrong::Gap };
            self.report.findings.push(Finding { wrong, order: Some(order), sequence: Some(sequence), at: None });
        }
        Ok(self.report)
    }

    fn published_since(&self, order: OrderId, sequence: i64) -> Result<bool, StoreError> {
        let Some(known) = self.orders.get(&order) else { return Ok(false) };
        let row = self.store.records(known.tenant, Some((order, sequence - 1)), 1)?;
        Ok(row.first().is_some_and(|row| row.order == order && row.sequence == sequence && row.published))
    }
}
