//! The order's life. [`desk`] is the only writer of orders; most other files are one step with its undo beside it.
//!
//! | file | step | undo |
//! | --- | --- | --- |
//! | [`bills`], [`patient`] | a bill comes | the window takes it back |
//! | [`open`] | the payer opens an order | cancel |
//! | [`price`] | pre-settle | release |
//! | [`code`], [`pay`] | the payer authorises | – |
//! | [`settle`] | 2207 | 2208, 2601 |
//! | [`collect`] | prepay | close and ask |
//! | [`tell`] | tell the institution | tell undone |
//! | [`refund`] | – | cash back |
//! | [`replace`] | an order for what remains | – |
//! | [`people`] | login, binding | unbinding, loss |
//!
//! What they share: [`perform`] is the list of actions and brings each one's answer to the desk, [`job`] is what an
//! action has at hand, [`known`] what need not be read again, [`view`] how payer and institution see an order, [`reply`]
//! what an institution is answered.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use schema::ids::{InstitutionCode, TenantId};
use schema::refusal::{Code, Refusal};
use schema::seal::Vault;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::ephemeral::Ephemeral;
use crate::parties::bureau::Bureau;
use crate::parties::link::{Address, Links};
use crate::parties::sms::SmsGateway;
use crate::parties::wallet::{Account, Wallet};
use crate::settings::Settings;
use crate::store::{CallerKey, InstitutionRow, Store, StoreError};

pub mod bills;
pub mod code;
pub mod collect;
pub mod desk;
pub mod job;
pub mod known;
pub mod open;
pub mod patient;
pub mod pay;
pub mod people;
pub mod perform;
pub mod price;
pub mod refund;
pub mod replace;
pub mod reply;
pub mod settle;
pub mod tell;
pub mod view;

/// What the journey stands on; put together once in `startup`.
#[derive(Clone)]
pub struct Ground {
    /// Time, randomness, ids.
    pub clock: Arc<dyn Clock>,
    /// Settings.
    pub settings: Settings,
    /// Record of truth.
    pub store: Arc<dyn Store>,
    /// Ephemeral state.
    pub ephemeral: Arc<dyn Ephemeral>,
    /// Institutions.
    pub links: Arc<dyn Links>,
    /// The only writer of orders.
    pub desk: Arc<dyn desk::Door>,
    /// Tenants and their parties.
    pub tenants: Arc<Tenants>,
    /// What need not be read again.
    pub known: known::Known,
    /// Room for readings.
    pub room: Room,
}

/// How long a caller waits for room.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// Room for as many readings as the store takes at a time. A batch of the desk never waits behind somebody who looks, and
/// no crowd of threads waits for a connection.
#[derive(Clone)]
pub struct Room {
    readings: Arc<Semaphore>,
    /// How long one waits for it; for as long as it takes where nothing is said.
    wait: Option<Duration>,
}

impl Room {
    /// For so many at a time.
    pub fn of(readings: usize) -> Room {
        Room { readings: Arc::new(Semaphore::new(readings)), wait: Some(ROOM_WAIT) }
    }

    /// The same room, waited for as long as it takes.
    fn patient(&self) -> Room {
        Room { wait: None, ..self.clone() }
    }

    async fn take(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = Arc::clone(&self.readings).acquire_owned();
        let room = match self.wait {
            Some(wait) => tokio::time::timeout(wait, room).await.ok().and_then(Result::ok),
            None => room.await.ok(),
        };
        room.ok_or_else(|| unavailable(StoreError::Unavailable("too many are reading".into())))
    }
}

/// One tenant's parties and keys.
pub struct Tenant {
    /// Id.
    pub id: TenantId,
    /// Name.
    pub name: String,
    /// 6-digit area code.
    pub area: String,
    /// How far a fee line's amount may lie from price × count, in fen.
    pub line_tolerance_fen: i64,
    /// Keys.
    pub vault: Vault,
    /// 医保核心.
    pub bureau: Arc<dyn Bureau>,
    /// 个人支付渠道.
    pub wallet: Arc<dyn Wallet>,
    /// SMS gateway.
    pub sms: Arc<dyn SmsGateway>,
}

/// The tenants this process serves. Grows while running; a tenant never changes its id.
#[derive(Default)]
pub struct Tenants {
    inner: RwLock<HashMap<TenantId, Arc<Tenant>>>,
}

impl Tenants {
    /// One tenant. Refuses an id this process does not serve.
    pub fn get(&self, id: TenantId) -> Result<Arc<Tenant>, Refusal> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.get(&id).cloned().ok_or_else(|| Refusal::new(Code::NotFound, format!("tenant {id} is not served")))
    }

    /// Adds or replaces one.
    pub fn put(&self, tenant: Tenant) {
        self.inner.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.id, Arc::new(tenant));
    }

    /// Every tenant.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl desk::Dialects for Tenants {
    fn can_ask_by_visit(&self, tenant: TenantId) -> bool {
        self.get(tenant).is_ok_and(|tenant| tenant.bureau.can_ask_by_visit())
    }

    fn wallet_account(&self, tenant: TenantId) -> Option<Account> {
        self.get(tenant).ok().map(|tenant| tenant.wallet.account())
    }
}

impl Ground {
    /// The same ground for whoever performs actions: it waits for room for as long as it takes, in the same queue. A
    /// refusal before a call would count as a call that may have happened, and nobody is helped by asking about it.
    pub fn patient(&self) -> Ground {
        Ground { room: self.room.patient(), ..self.clone() }
    }

    /// Runs a reading of the store, or a small writing beside the desk, off the async threads. Refuses with Overloaded
    /// where there is no room for two seconds (a [`Ground::patient`] one waits on), or the store is away.
    pub async fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let room = self.room.take().await?;
        self.read_at_once(move |store| {
            // Whoever no longer waits for a reading does not end it.
            let _until_the_end = room;
            reading(store)
        })
        .await
    }

    /// The same for errands on which every payment hangs: the lease, and what is due. They wait behind nobody who looks.
    pub async fn read_at_once<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = Arc::clone(&self.store);
        // In a simulation there is one thread and a store in memory: it is called inline, or time could not stand still.
        let outcome = match tokio::runtime::Handle::current().runtime_flavor() {
            tokio::runtime::RuntimeFlavor::CurrentThread if self.settings.store.url == "sqlite::memory:" => {
                reading(store.as_ref())
            }
            _ => tokio::task::spawn_blocking(move || reading(store.as_ref()))
                .await
                .map_err(|error| Refusal::new(Code::Internal, format!("a reading ended early: {error}")))?,
        };
        outcome.map_err(unavailable)
    }

    /// One institution, suspended or not: money that is out must be finished all the same.
    pub async fn institution_as_known(
        &self,
        tenant: TenantId,
        code: &InstitutionCode,
    ) -> Result<InstitutionRow, Refusal> {
        let wanted = code.clone();
        let found = self.read(move |store| store.institution(tenant, &wanted)).await?;
        found.ok_or_else(|| Refusal::new(Code::InstitutionUnknown, format!("institution {code} is unknown")))
    }

    /// The first answer under an idempotency key. Refuses a key that was used with another request.
    pub async fn first_answer(&self, tenant: TenantId, key: &CallerKey) -> Result<Option<Vec<u8>>, Refusal> {
        let wanted = key.clone();
        match self.read(move |store| store.first_answer(tenant, &wanted)).await? {
            None => Ok(None),
            Some(first) if first.request == key.request => Ok(Some(first.response)),
            Some(_) => Err(Refusal::new(Code::KeyReused, "the key was used with another request")),
        }
    }

    /// The first answer under an idempotency key, or else the refusal. The desk knows a key that was used; whoever refuses
    /// before it is asked looks here, and nobody else need look twice.
    pub async fn unless_answered(
        &self,
        tenant: TenantId,
        key: &CallerKey,
        refusal: Refusal,
    ) -> Result<Vec<u8>, Refusal> {
        self.first_answer(tenant, key).await?.ok_or(refusal)
    }

    /// How long one question on the link may take.
    pub fn link_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.limits.link_timeout_ms)
    }

    /// An institution's address on the link.
    pub fn address(tenant: TenantId, institution: &InstitutionCode) -> Address {
        Address { tenant, institution: institution.clone() }
    }
}

/// An institution as it was read, for whoever begins something with it. Refuses an unknown or suspended one.
fn at_work(found: Option<InstitutionRow>, code: &InstitutionCode) -> Result<InstitutionRow, Refusal> {
    found
        .filter(|row| !row.suspended)
        .ok_or_else(|| Refusal::new(Code::InstitutionUnknown, format!("institution {code} is unknown or suspended")))
}

/// The store's failure as a refusal: nothing was done.
pub fn unavailable(error: StoreError) -> Refusal {
    match error {
        StoreError::Unavailable(why) => Refusal::new(Code::Overloaded, why).after_s(1),
        StoreError::Damaged(why) => Refusal::new(Code::Internal, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_finds_no_room_to_read_is_told_to_come_again_and_room_comes_back_when_a_reading_ends() {
        let room = Room::of(3);
        let mut readings = Vec::new();
        for _ in 0..3 {
            readings.push(room.take().await.expect("there is room"));
        }
        let refused = room.take().await.expect_err("there is none");
        assert_eq!((refused.code, refused.retry_after_s), (Code::Overloaded, Some(1)));
        let patient = room.patient();
        let waiting = tokio::spawn(async move { patient.take().await.is_ok() });
        tokio::time::sleep(ROOM_WAIT * 10).await;
        assert!(!waiting.is_finished(), "whoever has patience waits on");
        readings.pop();
        assert!(waiting.await.expect("it ends"), "one has ended");
        drop(room.take().await.expect("room comes back"));
    }
}
