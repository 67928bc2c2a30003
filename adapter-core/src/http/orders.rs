//! Orders as their institution may see them: asked of the platform each time, never remembered here.

use actix_web::web;
use schema::his::{DAY_PAGE, DayAsk, OrderView};
use schema::link::{Reply, ToPlatform};
use schema::refusal::{Code, Fault, Refusal};
use serde::Deserialize;

use super::bills::{named, unexpected};
use super::problem::Refused;
use super::trace::Trace;
use crate::asks;
use crate::core::Core;

/// 一张账单的最新订单 / the latest order of one bill
#[utoipa::path(
    get, path = "/his/v1/bills/{bill_no}/order", tag = "orders",
    params(("bill_no" = String, Path, description = "账单号 / the institution's number")),
    responses(
        (status = 200, body = OrderView),
        (status = "5XX", description = "稍后重试 / try again", body = schema::refusal::Problem),
    ),
)]
pub(crate) async fn of_bill(
    core: web::Data<Core>,
    trace: Trace,
    bill_no: web::Path<String>,
) -> Result<web::Json<OrderView>, Refused> {
    let refused = |refusal: Refusal| Refused::new(&refusal, &trace);
    let ask = ToPlatform::OrderQuery(named(bill_no.into_inner()).map_err(refused)?);
    let reply = asks::passing(&core, &ask, trace.id()).await.map_err(refused)?;
    match &*reply {
        Reply::Orders { orders } => match orders.first() {
            Some(order) => Ok(web::Json(order.clone())),
            None => Err(Refused::code(Code::OrderUnknown, "the bill has no order", &trace)),
        },
        other => Err(unexpected(other, &trace)),
    }
}

/// `?date=YYYY-MM-DD`
#[derive(Debug, Deserialize)]
pub(crate) struct Day {
    date: Option<String>,
}

/// 按日查询订单 / the orders of one day in the institution's local time
#[utoipa::path(
    get, path = "/his/v1/orders", tag = "orders",
    params(("date" = String, Query, description = "YYYY-MM-DD")),
    responses(
        (status = 200, body = Vec<OrderView>),
        (status = "5XX", description = "稍后重试 / try again", body = schema::refusal::Problem),
    ),
)]
pub(crate) async fn of_day(
    core: web::Data<Core>,
    trace: Trace,
    day: web::Query<Day>,
) -> Result<web::Json<Vec<OrderView>>, Refused> {
    let refused = |refusal: Refusal| Refused::new(&refusal, &trace);
    let date = day.into_inner().date.unwrap_or_default();
    if date.len() != 10 || chrono::NaiveDate::parse_from_str(&date, "%Y-%m-%d").is_err() {
        let fault = Fault::new("date", "须为YYYY-MM-DD格式的日期", "must be a date as YYYY-MM-DD");
        return Err(refused(Refusal::faulty(Code::Invalid, vec![fault])));
    }
    let mut all: Vec<OrderView> = Vec::new();
    loop {
        let after = all.last().map(|order| order.order_id);
        let ask = ToPlatform::DayList(DayAsk { date: date.clone(), after });
        let reply = asks::passing(&core, &ask, trace.id()).await.map_err(refused)?;
        let Reply::Orders { orders } = &*reply else { return Err(unexpected(&reply, &trace)) };
        all.extend_from_slice(orders);
        if orders.len() < DAY_PAGE {
            return Ok(web::Json(all));
        }
    }
}
