//! One login at `/mobile/v1`, as an app holds it.
//!
//! A change carries an idempotency key and is repeated with the same key while nobody answers, or the platform says
//! 503. What changes is heard by server-sent events; a slow GET stands behind them. Where the platform has several
//! replicas, each request goes to the next one, as behind a balancer that remembers nobody.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use schema::ids::{BillId, BindingId, OrderId};
use schema::mobile::{
    Bell, BillView, BindAsk, BindLevel2Ask, BindingView, BureauKeyView, LoggedIn, LoginAsk, LoginCodeAsk, OrderAsk,
    OrderView, PayAsk,
};
use schema::personal::{BearerToken, Openid, Personal};
use schema::refusal::{Code, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::outside::{Outside, code_in};
use super::person::{Insured, Person};
use crate::bureau::seal_card_password;
use crate::clock::random_hex;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts at a change that nobody answered.
const AGAIN: Duration = Duration::from_millis(150);
/// Behind the bell stands a GET, should one be lost: after this at first, and later each time until it rings again.
const LOOK_AGAIN: Duration = Duration::from_millis(700);
const LOOK_AGAIN_MOST: Duration = Duration::from_secs(5);

/// Why something did not work out.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// The platform said no.
    Refused(Box<Problem>),
    /// Nobody answered until the person gave up.
    NoAnswer(String),
    /// The platform broke a promise of its API.
    Broken(String),
}

impl Trouble {
    /// The refusal's code, if it is one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Trouble::Refused(problem) => Some(problem.code),
            Trouble::NoAnswer(_) | Trouble::Broken(_) => None,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Refused(problem) => write!(f, "{}: {}", problem.code, problem.title),
            Trouble::NoAnswer(why) => write!(f, "no answer: {why}"),
            Trouble::Broken(why) => write!(f, "a promise of the API is broken: {why}"),
        }
    }
}

/// A phone that is logged in.
#[derive(Debug)]
pub struct MobilePhone {
    doors: Arc<Doors>,
    token: BearerToken,
    client: reqwest::Client,
    bell: watch::Receiver<u64>,
    /// What bells told and nobody has looked at since.
    heard: Heard,
    /// Bills that were looked at for somebody who was waiting for another.
    seen: Mutex<Vec<BillView>>,
    listening: JoinHandle<()>,
    /// Promises of the API that this phone saw broken.
    broken: Mutex<Vec<String>>,
}

type Heard = Arc<Mutex<Told>>;

#[derive(Debug, Default)]
struct Told {
    bills: Vec<BillId>,
    /// Each at its latest version.
    orders: HashMap<OrderId, i64>,
    /// The latest version that an answer showed: nobody wants to see an older one again.
    shown: HashMap<OrderId, i64>,
}

impl Told {
    /// The latest version that is known of an order for which a bell rang since the last look.
    fn rang(&mut self, order: OrderId) -> Option<i64> {
        let rang = self.orders.remove(&order)?;
        Some(self.shown.get(&order).copied().unwrap_or_default().max(rang))
    }

    fn showed(&mut self, view: &OrderView) {
        let shown = self.shown.entry(view.id).or_default();
        *shown = view.version.max(*shown);
    }
}

impl Drop for MobilePhone {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The way into a city: the platform and the channel through which it is reached.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// `http://127.0.0.1:PORT` of every replica, at least one; the first request goes to the first.
    pub platform_urls: Vec<String>,
    /// The app's channel key; fixes the tenant.
    pub channel_key: String,
}

/// The replicas of the platform, each taken in turn.
#[derive(Debug)]
struct Doors {
    urls: Vec<String>,
    turn: AtomicUsize,
}

impl Doors {
    fn next(&self) -> &str {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.urls[turn % self.urls.len()]
    }
}

impl MobilePhone {
    /// Logs in by text message and listens from then on. Gives up at `deadline`.
    pub async fn log_in(
        entrance: &Entrance,
        person: &Person,
        outside: &Outside,
        deadline: Instant,
    ) -> Result<MobilePhone, Trouble> {
        let client = outside.client().clone();
        let urls = entrance.platform_urls.iter().map(|url| format!("{url}/mobile/v1")).collect();
        let doors = Arc::new(Doors { urls, turn: AtomicUsize::new(0) });
        let knock = Knock { doors: &doors, client: &client, who: Who::Channel(&entrance.channel_key) };
        let phone = person.phone.clone();
        let seen = outside.last_message(phone.expose()).await;
        let ask = LoginCodeAsk { phone: phone.clone() };
        let _: Value = parsed(&knock.change(Method::POST, "/login/code", &ask, &random_hex(16), deadline).await?)?;
        let text = outside.message(phone.expose(), seen, deadline, |text| code_in(text).is_some()).await;
        let code =
            text.as_deref().and_then(code_in).ok_or_else(|| Trouble::NoAnswer("no login code came".to_owned()))?;
        let ask = LoginAsk { phone, code, openid: Some(Openid::new(person.openid.expose())) };
        let body = knock.change(Method::POST, "/login", &ask, &random_hex(16), deadline).await?;
        let LoggedIn { token, .. } = parsed(&body)?;
        let (ring, bell) = watch::channel(0);
        let heard = Heard::default();
        let listening =
            tokio::spawn(listen(client.clone(), Arc::clone(&doors), token.clone(), ring, Arc::clone(&heard)));
        Ok(MobilePhone {
            doors,
            token,
            client,
            bell,
            heard,
            seen: Mutex::default(),
            listening,
            broken: Mutex::default(),
        })
    }

    /// What shows that it is logged in.
    pub fn token(&self) -> &BearerToken {
        &self.token
    }

    /// What was seen of broken promises: empty when all is well.
    pub fn broken(&self) -> Vec<String> {
        lock(&self.broken).clone()
    }

    fn knock(&self) -> Knock<'_> {
        Knock { doors: &self.doors, client: &self.client, who: Who::Session(&self.token) }
    }

    /// A change, repeated with its key until it is answered. With `twice` it is sent once more afterwards, and the
    /// second answer must be the first, byte for byte.
    pub async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        ask: &impl Serialize,
        twice: bool,
        deadline: Instant,
    ) -> Result<T, Trouble> {
        let key = random_hex(16);
        let first = self.knock().change(method.clone(), path, ask, &key, deadline).await?;
        if twice {
            let again = self.knock().change(method, path, ask, &key, deadline).await;
            if again.as_ref().is_ok_and(|again| *again != first) || again.as_ref().is_err_and(|t| t.code().is_some()) {
                let mut broken = lock(&self.broken);
                broken.push(format!("{path}: a repeat with the same key was answered otherwise"));
            }
        }
        parsed(&first)
    }

    /// Something to look at; repeated while nobody answers.
    pub async fn look<T: DeserializeOwned>(&self, path: &str, deadline: Instant) -> Result<T, Trouble> {
        parsed(&self.knock().send_until(Method::GET, path, None, None, deadline).await?)
    }

    /// Binds a person at level 1, or finds the binding that is there already.
    pub async fn bind(&self, insured: &Insured, deadline: Instant) -> Result<BindingView, Trouble> {
        let ask = BindAsk {
            psn_name: insured.psn_name.clone(),
            psn_cert_type: "01".to_owned(),
            certno: insured.certno.clone(),
        };
        match self.change(Method::POST, "/bindings", &ask, false, deadline).await {
            Err(trouble) if trouble.code() == Some(Code::BindingExists) => {
                let bindings: Vec<BindingView> = self.look("/bindings", deadline).await?;
                let (name, certno) = (insured.psn_name.masked(), insured.certno.masked());
                let own = bindings.into_iter().find(|view| view.psn_name == name && view.certno == certno);
                own.ok_or(trouble)
            }
            other => other,
        }
    }

    /// Raises a binding to level 2 with the card and its payment password.
    pub async fn bind_level2(
        &self,
        binding: BindingId,
        insured: &Insured,
        deadline: Instant,
    ) -> Result<BindingView, Trouble> {
        let BureauKeyView { sm2_public_key } = self.look("/bureau-key", deadline).await?;
        let ask = BindLevel2Ask {
            card_no: insured.card_no.clone(),
            sealed_password: Personal::new(seal_card_password(&sm2_public_key, &insured.card_password)),
        };
        self.change(Method::POST, &format!("/bindings/{binding}/level2"), &ask, false, deadline).await
    }

    /// Freezes a binding.
    pub async fn report_loss(&self, binding: BindingId, deadline: Instant) -> Result<(), Trouble> {
        let path = format!("/bindings/{binding}/loss");
        self.change::<Value>(Method::POST, &path, &json!({}), false, deadline).await.map(drop)
    }

    /// Ends a binding.
    pub async fn unbind(&self, binding: BindingId, deadline: Instant) -> Result<(), Trouble> {
        let path = format!("/bindings/{binding}");
        self.change::<Value>(Method::DELETE, &path, &json!({}), false, deadline).await.map(drop)
    }

    /// The live bindings of this login.
    pub async fn bindings(&self, deadline: Instant) -> Result<Vec<BindingView>, Trouble> {
        self.look("/bindings", deadline).await
    }

    /// Waits until a bill with this number is listed; `None` when the person gave up before.
    pub async fn bill(&self, fixmedins_code: &str, bill_no: &str, deadline: Instant) -> Option<BillView> {
        let is_it = |bill: &BillView| bill.bill_no == bill_no && bill.fixmedins_code == fixmedins_code;
        let mut bell = Waiting::of(&self.bell);
        loop {
            bell.heard();
            let rang = std::mem::take(&mut lock(&self.heard).bills);
            for bill in &rang {
                if let Ok(bill) = self.look(&format!("/bills/{bill}"), deadline).await {
                    lock(&self.seen).push(bill);
                }
            }
            if let Some(bill) = self.take_seen(is_it) {
                return Some(bill);
            }
            // Nothing rang, or it was missed: whoever looks by themselves looks at all of them.
            if rang.is_empty()
                && let Ok(bills) = self.look::<Vec<BillView>>("/bills", deadline).await
                && let Some(bill) = bills.into_iter().find(is_it)
            {
                return Some(bill);
            }
            bell.rings(deadline).await?;
        }
    }

    fn take_seen(&self, is_it: impl Fn(&BillView) -> bool) -> Option<BillView> {
        let mut seen = lock(&self.seen);
        let at = seen.iter().position(is_it)?;
        Some(seen.swap_remove(at))
    }

    async fn change_order(
        &self,
        path: &str,
        ask: &impl Serialize,
        twice: bool,
        deadline: Instant,
    ) -> Result<OrderView, Trouble> {
        let view = self.change(Method::POST, path, ask, twice, deadline).await?;
        lock(&self.heard).showed(&view);
        Ok(view)
    }

    /// Opens an order.
    pub async fn open(&self, ask: &OrderAsk, twice: bool, deadline: Instant) -> Result<OrderView, Trouble> {
        self.change_order("/orders", ask, twice, deadline).await
    }

    /// One order: at least as new as the bell told, if one rang for it since the last look.
    pub async fn order(&self, order: OrderId, deadline: Instant) -> Result<OrderView, Trouble> {
        let Some(version) = lock(&self.heard).rang(order) else {
            return self.look(&format!("/orders/{order}"), deadline).await;
        };
        let view: OrderView = self.look(&format!("/orders/{order}?version={version}"), deadline).await?;
        if view.version < version {
            let broken = format!("order {order} was shown at {} after {version} was told", view.version);
            lock(&self.broken).push(broken);
        }
        lock(&self.heard).showed(&view);
        Ok(view)
    }

    /// Asks for a code.
    pub async fn ask_code(&self, order: OrderId, deadline: Instant) -> Result<OrderView, Trouble> {
        self.change_order(&format!("/orders/{order}/code"), &json!({}), false, deadline).await
    }

    /// Authorises.
    pub async fn pay(
        &self,
        order: OrderId,
        ask: &PayAsk,
        twice: bool,
        deadline: Instant,
    ) -> Result<OrderView, Trouble> {
        self.change_order(&format!("/orders/{order}/pay"), ask, twice, deadline).await
    }

    /// Takes it back.
    pub async fn cancel(&self, order: OrderId, deadline: Instant) -> Result<OrderView, Trouble> {
        self.change_order(&format!("/orders/{order}/cancel"), &json!({}), false, deadline).await
    }

    /// The last order of a bill, if it has one.
    pub async fn order_of(&self, bill: BillId, deadline: Instant) -> Result<Option<OrderView>, Trouble> {
        let view: BillView = self.look(&format!("/bills/{bill}"), deadline).await?;
        match view.order_id {
            Some(order) => self.order(order, deadline).await.map(Some),
            None => Ok(None),
        }
    }

    /// Looks at an order until `enough` says so; `None` when the person gave up before.
    pub async fn wait(
        &self,
        order: OrderId,
        deadline: Instant,
        enough: impl Fn(&OrderView) -> bool,
    ) -> Option<OrderView> {
        let mut bell = Waiting::of(&self.bell);
        loop {
            bell.heard();
            if let Ok(view) = self.order(order, deadline).await
                && enough(&view)
            {
                return Some(view);
            }
            bell.rings(deadline).await?;
        }
    }
}

/// Somebody who waits for a bell, and looks by themselves where none rings.
struct Waiting {
    bell: watch::Receiver<u64>,
    patience: Duration,
}

impl Waiting {
    fn of(bell: &watch::Receiver<u64>) -> Waiting {
        Waiting { bell: bell.clone(), patience: LOOK_AGAIN }
    }

    /// Whatever has rung so far is known.
    fn heard(&mut self) {
        self.bell.borrow_and_update();
    }

    /// Waits for the bell, or a while; `None` after the deadline.
    async fn rings(&mut self, deadline: Instant) -> Option<()> {
        if Instant::now() >= deadline {
            return None;
        }
        let wake = (Instant::now() + self.patience).min(deadline);
        self.patience = match tokio::time::timeout_at(wake, self.bell.changed()).await {
            Ok(Ok(())) => LOOK_AGAIN,
            Ok(Err(_closed)) => {
                tokio::time::sleep_until(wake).await;
                LOOK_AGAIN
            }
            Err(_silence) => (self.patience * 2).min(LOOK_AGAIN_MOST),
        };
        Some(())
    }
}

enum Who<'a> {
    Channel(&'a str),
    Session(&'a BearerToken),
}

struct Knock<'a> {
    doors: &'a Doors,
    client: &'a reqwest::Client,
    who: Who<'a>,
}

impl Knock<'_> {
    async fn change(
        &self,
        method: Method,
        path: &str,
        ask: &impl Serialize,
        key: &str,
        deadline: Instant,
    ) -> Result<Vec<u8>, Trouble> {
        let body = serde_json::to_vec(ask).map_err(|fault| Trouble::Broken(fault.to_string()))?;
        self.send_until(method, path, Some(body), Some(key), deadline).await
    }

    async fn send_until(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        key: Option<&str>,
        deadline: Instant,
    ) -> Result<Vec<u8>, Trouble> {
        loop {
            match self.send(method.clone(), path, body.clone(), key).await {
                Err(Trouble::NoAnswer(_)) if Instant::now() + AGAIN < deadline => tokio::time::sleep(AGAIN).await,
                other => return other,
            }
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        key: Option<&str>,
    ) -> Result<Vec<u8>, Trouble> {
        let mut request = self.client.request(method, format!("{}{path}", self.doors.next())).timeout(PATIENCE);
        request = match self.who {
            Who::Channel(channel_key) => request.header("x-tongfu-channel", channel_key),
            Who::Session(token) => request.bearer_auth(token.expose()),
        };
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let none = |error: reqwest::Error| Trouble::NoAnswer(error.without_url().to_string());
        let response = request.send().await.map_err(none)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(none)?.to_vec();
        if status.is_success() {
            return Ok(bytes);
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) if status.as_u16() == 503 => Err(Trouble::NoAnswer(problem.title)),
            Ok(problem) => Err(Trouble::Refused(Box::new(problem))),
            Err(fault) => Err(Trouble::Broken(format!("{path}: {status} without problem details: {fault}"))),
        }
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Trouble> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|fault| Trouble::Broken(format!("the answer cannot be read: {fault}")))
}

/// Rings at every server-sent record, and once at every connection, since something may have changed before it.
async fn listen(
    client: reqwest::Client,
    doors: Arc<Doors>,
    token: BearerToken,
    ring: watch::Sender<u64>,
    heard: Heard,
) {
    loop {
        let asked = client.get(format!("{}/events", doors.next())).bearer_auth(token.expose()).send().await;
        if let Ok(response) = asked
            && response.status().is_success()
        {
            ring.send_modify(|rings| *rings += 1);
            let mut chunks = response.bytes_stream();
            while let Some(Ok(chunk)) = chunks.next().await {
                for bell in bells(&chunk) {
                    match bell {
                        Bell::Bill { bill_id } => lock(&heard).bills.push(bill_id),
                        Bell::Order { order_id, version, .. } => {
                            let mut heard = lock(&heard);
                            let known = heard.orders.entry(order_id).or_default();
                            *known = version.max(*known);
                        }
                        Bell::Binding { .. } => {}
                    }
                }
                // Heartbeats are comments (":"); a record split over two chunks rings twice, which is harmless.
                if !chunk.starts_with(b":") {
                    ring.send_modify(|rings| *rings += 1);
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bells that are whole in a chunk; of one that is not, the order is looked at without its version.
fn bells(chunk: &[u8]) -> impl Iterator<Item = Bell> {
    let lines = chunk.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line.strip_prefix(b"data: ")?).ok())
}
