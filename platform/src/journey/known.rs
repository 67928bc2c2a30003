//! What this process has read or written and need not read again: rows that never change once they are written, names of
//! institutions and whose phones to ring, which are a few seconds old at most, orders as its desk left them, for whoever
//! says which version they have heard of, and what it signed for a phone a minute ago. Of it only what never changes has
//! a part in a decision: what can change is read anew. An order at hand may let a code be asked for; whether one is
//! issued the desk decides on what is stored.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use schema::bill::LineResult;
use schema::ids::{BillId, BindingId, ChannelUserId, InstitutionCode, OrderId, TenantId};
use schema::mobile::WalletView;
use schema::money::Fen;
use schema::refusal::{Code, Refusal};
use schema::seal::{Lookup, Sealed};

use super::{Ground, Tenant, people};
use crate::domain::order::Order;
use crate::store::NewBill;

/// Prices and bills that are at hand; one is looked at a dozen times within the minutes of its payment.
const ROWS_MAX: u64 = 2_000;
const INSTITUTIONS_MAX: u64 = 5_000;
/// Orders as the desk left them, and for how long: a phone looks at once when it is rung. A bell may be lost, and what
/// another process decided must not be hidden by it for longer.
const ORDERS_MAX: u64 = 1_000;
const ORDERS_KEPT: Duration = Duration::from_secs(3);
/// Replies, signatures and watchers: one each for the payments of the last minutes.
const PAYMENTS_MAX: u64 = 1_000;
/// How old an institution's name may be.
const NAMES_KEPT: Duration = Duration::from_secs(5);
/// Phones that watch a patient's bills, as they were when a bill came: for the moment until it is stored.
const WATCHERS_KEPT: Duration = Duration::from_secs(2);
/// For how long a phone that looks again gets the same signature for the wallet: one costs as much as the rest of the
/// answer several times over. The wallet takes it for as long as its order is open, two hours.
const SIGNED_KEPT: Duration = Duration::from_secs(60);

/// How an institution is called, for showing and for the bureau. Whether it may do anything is not among it.
#[derive(Debug)]
pub struct Names {
    /// Its name.
    pub name: String,
    /// 6-digit area code.
    pub area: String,
}

/// What a bill said when it came, as it is stored: who asks, whose it is, and its draft, sealed.
#[derive(Debug)]
pub struct Stated {
    /// Who asks for the money.
    pub institution: InstitutionCode,
    /// Keyed hash of the patient's document.
    pub patient: Lookup,
    /// The draft.
    pub sealed: Sealed,
}

/// See the module. Clones know the same.
#[derive(Clone)]
pub struct Known {
    lines: Cache<(TenantId, OrderId, u32), Arc<[LineResult]>>,
    bills: Cache<(TenantId, BillId), Arc<Stated>>,
    persons: Cache<(TenantId, BindingId, i64), Sealed>,
    names: Cache<(TenantId, InstitutionCode), (Duration, Arc<Names>)>,
    orders: Cache<(TenantId, OrderId), (Duration, Arc<Order>)>,
    signed: Cache<(TenantId, String, Fen), (Duration, WalletView)>,
    replies: Cache<(TenantId, String), Sealed>,
    watchers: Cache<(TenantId, Lookup), (Duration, BTreeSet<ChannelUserId>)>,
}

impl Default for Known {
    fn default() -> Known {
        Known {
            lines: Cache::new(ROWS_MAX),
            bills: Cache::new(ROWS_MAX),
            persons: Cache::new(ROWS_MAX),
            names: Cache::new(INSTITUTIONS_MAX),
            orders: Cache::new(ORDERS_MAX),
            signed: Cache::new(PAYMENTS_MAX),
            replies: Cache::new(PAYMENTS_MAX),
            watchers: Cache::new(PAYMENTS_MAX),
        }
    }
}

impl Ground {
    /// An order as a commit of this process left it; one that is known at a later version stays.
    pub fn left(&self, order: &Arc<Order>) {
        let (orders, key) = (&self.known.orders, (order.tenant, order.id));
        if orders.get(&key).is_none_or(|(_, known)| known.version < order.version) {
            orders.insert(key, (self.clock.steady(), Arc::clone(order)));
        }
    }

    /// The bureau's word on every line of a price, as a commit of this process wrote it.
    pub fn priced(&self, tenant: TenantId, order: OrderId, price: u32, lines: Vec<LineResult>) {
        self.known.lines.insert((tenant, order, price), lines.into());
    }

    /// The bureau's sealed reply to a settlement, as a commit of this process wrote it.
    pub fn replied(&self, tenant: TenantId, setl_id: String, reply: Sealed) {
        self.known.replies.insert((tenant, setl_id), reply);
    }

    /// The bureau's sealed reply to a settlement; `None` where there is no such settlement.
    pub async fn bureau_reply(&self, tenant: TenantId, setl_id: &str) -> Result<Option<Sealed>, Refusal> {
        let key = (tenant, setl_id.to_owned());
        match self.known.replies.get(&key) {
            Some(reply) => Ok(Some(reply)),
            None => self.read(move |store| store.settlement_reply(tenant, &key.1)).await,
        }
    }

    /// Whose phones watch this patient's bills, as was just read for one.
    pub fn watched(&self, tenant: TenantId, patient: Lookup, by: impl Iterator<Item = ChannelUserId>) {
        self.known.watchers.insert((tenant, patient), (self.clock.steady(), by.collect()));
    }

    /// Whose phones are to ring for a bill of this patient. One bound within the last seconds may not be among them, and
    /// sees the bill when it looks; one unbound within them is rung and sees nothing.
    pub async fn watchers(&self, tenant: TenantId, patient: Lookup) -> Result<BTreeSet<ChannelUserId>, Refusal> {
        if let Some((read, by)) = self.known.watchers.get(&(tenant, patient))
            && self.clock.steady().saturating_sub(read) < WATCHERS_KEPT
            // Whoever binds first while the bill is on its way is to hear of it.
            && !by.is_empty()
        {
            return Ok(by);
        }
        Ok(self.read(move |store| store.watchers(tenant, &patient)).await?.into_iter().collect())
    }

    /// An order as this process left it last, however long ago: for whoever goes on only if it permits that, and reads
    /// what is stored before refusing anything. What then happens the desk decides on what is stored.
    pub fn at_hand(&self, tenant: TenantId, order: OrderId) -> Option<Arc<Order>> {
        self.known.orders.get(&(tenant, order)).map(|(_, order)| order)
    }

    /// An order at `version` or a later one, if this process decided it within the last seconds. Another process may
    /// have decided more since: whoever asks has heard of `version`, and hears of that as well.
    pub fn just_left(&self, tenant: TenantId, order: OrderId, version: i64) -> Option<Arc<Order>> {
        let (left, order) = self.known.orders.get(&(tenant, order))?;
        let fresh = self.clock.steady().saturating_sub(left) < ORDERS_KEPT;
        (fresh && order.version >= version).then_some(order)
    }

    /// The bureau's word on every line of one price of an order.
    pub async fn price_lines(
        &self,
        tenant: TenantId,
        order: OrderId,
        price: u32,
    ) -> Result<Arc<[LineResult]>, Refusal> {
        let key = (tenant, order, price);
        if let Some(lines) = self.known.lines.get(&key) {
            return Ok(lines);
        }
        let lines: Arc<[LineResult]> = self.read(move |store| store.price_lines(tenant, order, price)).await?.into();
        // None yet: they may be on their way.
        if !lines.is_empty() {
            self.known.lines.insert(key, Arc::clone(&lines));
        }
        Ok(lines)
    }

    /// What a bill of ours said when it came.
    pub async fn stated(&self, tenant: TenantId, bill: BillId) -> Result<Arc<Stated>, Refusal> {
        let stated = self.stated_if_known(tenant, bill).await?;
        stated.ok_or_else(|| Refusal::new(Code::Internal, format!("bill {bill} is missing")))
    }

    /// What a bill said when it came, if it is one of ours.
    pub async fn stated_if_known(&self, tenant: TenantId, bill: BillId) -> Result<Option<Arc<Stated>>, Refusal> {
        if let Some(stated) = self.known.bills.get(&(tenant, bill)) {
            return Ok(Some(stated));
        }
        let row = self.read(move |store| store.bill(tenant, bill)).await?;
        Ok(row.map(|row| self.states(tenant, &row.bill)))
    }

    /// What a bill says that was read for another reason.
    pub fn states(&self, tenant: TenantId, bill: &NewBill) -> Arc<Stated> {
        let (institution, patient) = (bill.facts.institution.clone(), bill.patient);
        let stated = Arc::new(Stated { institution, patient, sealed: bill.sealed.clone() });
        self.known.bills.insert((tenant, bill.facts.id), Arc::clone(&stated));
        stated
    }

    /// The person behind a binding, sealed, as they were at an epoch of it: a change brings the next. If there has been one,
    /// as they are now.
    pub async fn sealed_person(&self, tenant: TenantId, binding: BindingId, epoch: i64) -> Result<Sealed, Refusal> {
        let key = (tenant, binding, epoch);
        if let Some(sealed) = self.known.persons.get(&key) {
            return Ok(sealed);
        }
        let row = people::binding_row(self, tenant, binding).await?;
        if row.facts.epoch == epoch {
            self.known.persons.insert(key, row.sealed.clone());
        }
        Ok(row.sealed)
    }

    /// What a phone needs to open the wallet for `due`.
    pub fn wallet_view(&self, tenant: &Tenant, prepay_id: &str, due: Fen) -> WalletView {
        let key = (tenant.id, prepay_id.to_owned(), due);
        let now = self.clock.steady();
        if let Some((signed, view)) = self.known.signed.get(&key)
            && now.saturating_sub(signed) < SIGNED_KEPT
        {
            return view;
        }
        let view = tenant.wallet.client_sign(prepay_id, due);
        self.known.signed.insert(key, (now, view.clone()));
        view
    }

    /// How an institution is called, suspended or not: money that is out must be finished all the same. Refuses an
    /// unknown one.
    pub async fn names_of(&self, tenant: TenantId, institution: &InstitutionCode) -> Result<Arc<Names>, Refusal> {
        let key = (tenant, institution.clone());
        let now = self.clock.steady();
        if let Some((read, names)) = self.known.names.get(&key)
            && now.saturating_sub(read) < NAMES_KEPT
        {
            return Ok(names);
        }
        let row = self.institution_as_known(tenant, institution).await?;
        let names = Arc::new(Names { name: row.name, area: row.area });
        self.known.names.insert(key, (now, Arc::clone(&names)));
        Ok(names)
    }
}
