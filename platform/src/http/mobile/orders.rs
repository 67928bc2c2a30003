//! Orders.

use std::sync::Arc;

use actix_web::web::{Data, Path, Query};
use schema::ids::OrderId;
use schema::mobile::{OrderAsk, OrderView, PayAsk, ReceiptView};
use schema::personal::Personal as _;
use schema::refusal::{Code, Refusal};

use crate::domain::order::{Insurance, Legs, Order, State};
use crate::http::Shared;
use crate::http::answer::{Answer, accepted, ok, to_its_end};
use crate::http::caller::{Caller, Change, Nothing, id};
use crate::http::trace::Trace;
use crate::journey::{Ground, Tenant, code, open, pay, people, view};

/// Orders in a list.
const LIST_MAX: u32 = 200;

/// 本付款人的订单，新的在前 / this payer's orders, newest first
///
/// Without what only one order's view holds.
#[utoipa::path(
    get, path = "/mobile/v1/orders", tag = "orders", security(("session" = [])),
    responses((status = 200, body = Vec<OrderView>)),
)]
pub(in crate::http) async fn list(shared: Data<Shared>, caller: Caller) -> Answer {
    let (tenant, user) = (caller.tenant.id, caller.user);
    let orders = shared.ground.read(move |store| store.orders_of(tenant, user, LIST_MAX)).await?;
    let views: Vec<OrderView> = orders.iter().map(|order| view::payer(order, view::Beside::default())).collect();
    ok(&views)
}

/// 为账单下单，向医院要预结算 / opens an order for a bill; the institution is asked for the price
#[utoipa::path(
    post, path = "/mobile/v1/orders", tag = "orders", request_body = OrderAsk, security(("session" = [])),
    responses(
        (status = 202, description = "Decided", body = OrderView),
        (status = 503, description = "Too busy, or not known", body = schema::refusal::Problem),
    ),
)]
pub(in crate::http) async fn open(shared: Data<Shared>, change: Change<OrderAsk>, trace: Trace) -> Answer {
    let Change { caller, ask, key } = change;
    let journey = async move { open::open(&shared.ground, &caller.tenant, caller.user, &ask, key, trace.id()).await };
    accepted(to_its_end(journey).await?)
}

/// 一笔订单：分担及明细 / one order: who pays what, line by line
///
/// Also the phone a code goes to, and, while collecting, what opens the wallet. Who was rung says `version`: the answer
/// is that version or a later one, and costs the platform less.
#[utoipa::path(
    get, path = "/mobile/v1/orders/{id}", tag = "orders", security(("session" = [])),
    params(
        ("id" = String, Path, description = "The order"),
        ("version" = Option<i64>, Query, description = "所知的最新版本（铃声或答复所报） / the latest version that is known, from a bell or an answer"),
    ),
    responses((status = 200, body = OrderView)),
)]
pub(in crate::http) async fn one(
    shared: Data<Shared>,
    caller: Caller,
    path: Path<String>,
    heard: Option<Query<Heard>>,
) -> Answer {
    let id: OrderId = id(&path, Code::OrderUnknown)?;
    let known = heard.and_then(|heard| shared.ground.just_left(caller.tenant.id, id, heard.version));
    let order = match known.filter(|order| order.payer == caller.user) {
        Some(order) => order,
        None => Arc::new(open::own(&shared.ground, &caller.tenant, caller.user, id).await?),
    };
    let beside = beside(&shared.ground, &caller.tenant, &order).await?;
    ok(&view::payer(&order, beside))
}

/// 发送一次性验证码 / sends a one-time code for the split the payer sees
///
/// To the phone fixed at level-2 binding.
#[utoipa::path(
    post, path = "/mobile/v1/orders/{id}/code", tag = "orders", security(("session" = [])),
    params(("id" = String, Path, description = "The order")),
    responses(
        (status = 202, description = "Sent", body = OrderView),
        (status = 503, description = "No message can be sent at present", body = schema::refusal::Problem),
    ),
)]
pub(in crate::http) async fn send_code(
    shared: Data<Shared>,
    path: Path<String>,
    change: Change<Nothing>,
    trace: Trace,
) -> Answer {
    let Change { caller, key, .. } = change;
    let order = id(&path, Code::OrderUnknown)?;
    let journey = async move { code::issue(&shared.ground, &caller.tenant, caller.user, order, key, trace.id()).await };
    accepted(to_its_end(journey).await?)
}

/// 授权支付所见的分担 / authorises the split the payer saw
#[utoipa::path(
    post, path = "/mobile/v1/orders/{id}/pay", tag = "orders", request_body = PayAsk, security(("session" = [])),
    params(("id" = String, Path, description = "The order")),
    responses(
        (status = 202, description = "Decided", body = OrderView),
        (status = 503, description = "Too busy, or not known", body = schema::refusal::Problem),
    ),
)]
pub(in crate::http) async fn pay(
    shared: Data<Shared>,
    path: Path<String>,
    change: Change<PayAsk>,
    trace: Trace,
) -> Answer {
    let Change { caller, ask, key } = change;
    let order = id(&path, Code::OrderUnknown)?;
    let journey =
        async move { pay::pay(&shared.ground, &caller.tenant, caller.user, order, &ask, key, trace.id()).await };
    accepted(to_its_end(journey).await?)
}

/// 取消，已付部分先撤销 / cancels; whatever is out is undone first
#[utoipa::path(
    post, path = "/mobile/v1/orders/{id}/cancel", tag = "orders", security(("session" = [])),
    params(("id" = String, Path, description = "The order")),
    responses((status = 202, description = "Decided", body = OrderView)),
)]
pub(in crate::http) async fn cancel(
    shared: Data<Shared>,
    path: Path<String>,
    change: Change<Nothing>,
    trace: Trace,
) -> Answer {
    let Change { caller, key, .. } = change;
    let order = id(&path, Code::OrderUnknown)?;
    let journey =
        async move { open::cancel(&shared.ground, &caller.tenant, caller.user, order, key, trace.id()).await };
    accepted(to_its_end(journey).await?)
}

/// 支付凭证 / what a payer keeps of a payment
///
/// Refused until it is paid.
#[utoipa::path(
    get, path = "/mobile/v1/orders/{id}/receipt", tag = "orders", security(("session" = [])),
    params(("id" = String, Path, description = "The order")),
    responses((status = 200, body = ReceiptView)),
)]
pub(in crate::http) async fn receipt(shared: Data<Shared>, caller: Caller, path: Path<String>) -> Answer {
    let order = own(&shared, &caller, &path).await?;
    let names = shared.ground.names_of(caller.tenant.id, &order.bill.institution).await?;
    ok(&receipt_of(&order, names.name.clone())?)
}

/// What a bell told.
#[derive(serde::Deserialize)]
pub(in crate::http) struct Heard {
    version: i64,
}

async fn own(shared: &Shared, caller: &Caller, path: &str) -> Result<Order, Refusal> {
    let order: OrderId = id(path, Code::OrderUnknown)?;
    open::own(&shared.ground, &caller.tenant, caller.user, order).await
}

async fn beside(ground: &Ground, tenant: &Tenant, order: &Order) -> Result<view::Beside, Refusal> {
    let mut beside = view::Beside::default();
    if let Some(price) = &order.price {
        beside.lines = ground.price_lines(tenant.id, order.id, price.number).await?.to_vec();
    }
    match (&order.state, &order.insured) {
        (State::Priced { .. }, Some(insured)) => {
            let person = people::insured_person(ground, tenant, insured).await?;
            beside.code_phone = person.phone.map(|phone| phone.masked());
        }
        (State::Collecting { insurance, prepay_id, .. }, _) => {
            let due = match insurance {
                Insurance::Settled(settled) => settled.split.cash_fen,
                Insurance::CashOnly => order.bill.amount,
            };
            beside.wallet = Some(ground.wallet_view(tenant, prepay_id, due));
        }
        _ => {}
    }
    Ok(beside)
}

fn receipt_of(order: &Order, fixmedins_name: String) -> Result<ReceiptView, Refusal> {
    let legs = paid_legs(&order.state);
    let (Some(legs), Some(price)) = (legs, &order.price) else {
        return Err(Refusal::new(Code::NotNow, format!("no receipt in {}", order.state.place().word())));
    };
    let settled = legs.insurance.settled();
    Ok(ReceiptView {
        order_id: order.id,
        bill_no: order.bill.bill_no.clone(),
        fixmedins_code: order.bill.institution.to_string(),
        fixmedins_name,
        state: order.state.place().word().into(),
        amount_fen: order.bill.amount,
        split: settled.map_or(price.split, |settled| settled.split),
        setl_id: settled.map(|settled| settled.setl_id.clone()),
        setl_time_us: settled.map(|settled| settled.setl_time_us),
        transaction_id: legs.cash.as_ref().map(|taken| taken.transaction_id.clone()),
        success_time_us: legs.cash.as_ref().map(|taken| taken.success_time_us),
        refunded_fen: order.refunded,
        guidance: match &order.state {
            State::Completed { guidance, .. } => Some(guidance.clone()),
            _ => None,
        },
        created_at_us: order.created_at_us,
        updated_at_us: order.updated_at_us,
    })
}

/// The legs of an order that is paid, or was.
fn paid_legs(state: &State) -> Option<&Legs> {
    match state {
        State::Paid { legs, .. } | State::Completed { legs, .. } | State::Returning { legs, .. } => Some(legs),
        State::Closed { returned, .. } => returned.as_ref(),
        State::Suspended { from, .. } => paid_legs(from),
        _ => None,
    }
}
