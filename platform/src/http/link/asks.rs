//! What an adapter asks of the platform, each answered by one journey. A change that is repeated under its message id gets
//! the first answer, which its own commit has kept, and the id with another ask is refused. What is asked for under a new
//! id goes by the institution's own numbers.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use schema::bill::BillDraft;
use schema::his;
use schema::ids::InstitutionCode;
use schema::link::{BillNamed, Frame, Reply, ToPlatform};
use schema::refusal::{Code, Fault, Refusal};
use serde_json::Value;

use crate::http::faults;
use crate::journey::{Ground, Tenant, bills, people, refund, view};
use crate::store::CallerKey;

/// Who asks.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) ground: Arc<Ground>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) institution: InstitutionCode,
}

impl Asker {
    /// Answers the ask that a frame brought.
    pub(super) async fn answer(&self, frame: &Frame, ask: ToPlatform, trace_id: &str) -> Result<Reply, Refusal> {
        let Asker { ground, tenant, institution } = self;
        let trace_id = Some(trace_id.to_owned());
        let key = CallerKey {
            caller: format!("adapter:{institution}"),
            key: frame.id.to_string(),
            request: tenant.vault.lookup("request", frame.payload.0.as_bytes()).to_bytes(),
        };
        match ask {
            ToPlatform::Bill(draft) => bills::take(ground, tenant, institution, &draft, key, trace_id).await,
            ToPlatform::Withdraw(bill) | ToPlatform::Claim(bill) => {
                bills::claim(ground, tenant.id, institution, &bill.bill_no, key, trace_id).await
            }
            ToPlatform::Refund(ask) => {
                let hush = bills::Hush::of_number(ground, tenant, institution, &ask.bill_no).await?;
                let ask = his::RefundAsk { reason: hush.sentence(&ask.reason), ..ask };
                refund::asked(ground, tenant.id, institution, &ask, key, trace_id).await
            }
            ToPlatform::BindVisitCard(card) => people::bind_visit_card(ground, tenant, institution, &card, key).await,
            ToPlatform::OrderQuery(bill) => self.order(bill).await,
            ToPlatform::DayList(day) => self.day(&day).await,
        }
    }

    async fn order(&self, bill: BillNamed) -> Result<Reply, Refusal> {
        let (tenant, institution) = (self.tenant.id, self.institution.clone());
        let order = self
            .ground
            .read(move |store| {
                let Some(row) = store.bill_by_no(tenant, &institution, &bill.bill_no)? else { return Ok(None) };
                let order = row.last_order.map(|id| store.order(tenant, id)).transpose()?;
                Ok(Some(order.flatten()))
            })
            .await?;
        match order {
            None => Err(Refusal::new(Code::BillUnknown, "no such bill")),
            Some(None) => Err(Refusal::new(Code::OrderUnknown, "no order for this bill")),
            Some(Some(order)) => Ok(Reply::Orders { orders: vec![view::institution(&order)] }),
        }
    }

    async fn day(&self, day: &his::DayAsk) -> Result<Reply, Refusal> {
        let wrong = || Refusal::faulty(Code::Invalid, vec![Fault::new("date", "须为YYYY-MM-DD", "must be YYYY-MM-DD")]);
        let date = NaiveDate::parse_from_str(&day.date, "%Y-%m-%d").map_err(|_| wrong())?;
        let from_us = china_midnight_us(date).ok_or_else(wrong)?;
        let to_us = date.succ_opt().and_then(china_midnight_us).ok_or_else(wrong)?;
        let (tenant, institution, after) = (self.tenant.id, self.institution.clone(), day.after);
        let orders = self
            .ground
            .read(move |store| {
                let last = after.map(|id| store.order(tenant, id)).transpose()?.flatten();
                let last = last.filter(|order| order.bill.institution == institution);
                if after.is_some() && last.is_none() {
                    return Ok(None);
                }
                // A page begins within the microsecond in which the last one ended; those already told are left out.
                let after = last.map(|order| (order.created_at_us, order.id));
                let from_us = after.map_or(from_us, |(created_at_us, _)| created_at_us.max(from_us));
                let most = u32::try_from(his::DAY_PAGE * 2).unwrap_or(u32::MAX);
                let mut orders = store.orders_between(tenant, &institution, from_us, to_us, most)?;
                orders.retain(|order| after.is_none_or(|after| (order.created_at_us, order.id) > after));
                orders.truncate(his::DAY_PAGE);
                Ok(Some(orders))
            })
            .await?;
        let unknown = || Refusal::faulty(Code::Invalid, vec![Fault::new("after", "没有该订单", "names no order")]);
        let orders = orders.ok_or_else(unknown)?;
        Ok(Reply::Orders { orders: orders.iter().map(view::institution).collect() })
    }
}

/// The instant a day begins in China (UTC+8, no summer time): microseconds UTC.
fn china_midnight_us(date: NaiveDate) -> Option<i64> {
    let offset = chrono::FixedOffset::east_opt(8 * 3600)?;
    let midnight = date.and_time(NaiveTime::MIN).and_local_timezone(offset).single()?;
    Some(midnight.timestamp_micros())
}

/// Everything wrong with an ask that could not be read, by place.
pub(super) fn unreadable(payload: &str) -> Refusal {
    let faults = match serde_json::from_str::<Value>(payload) {
        Ok(Value::Object(mut body)) => match body.remove("ask") {
            Some(Value::Object(mut ask)) => {
                let word = ask.remove("ask").and_then(|word| word.as_str().map(str::to_owned));
                let rest = Value::Object(ask);
                match word.as_deref() {
                    Some("bill") => faults::all::<BillDraft>(rest),
                    Some("withdraw" | "claim" | "order_query") => faults::all::<BillNamed>(rest),
                    Some("refund") => faults::all::<his::RefundAsk>(rest),
                    Some("day_list") => faults::all::<his::DayAsk>(rest),
                    Some("bind_visit_card") => faults::all::<his::VisitCardBinding>(rest),
                    _ => vec![Fault::new("ask", "没有这种请求", "is not a known ask")],
                }
            }
            _ => vec![Fault::new("ask", "缺少必填项", "is required")],
        },
        _ => Vec::new(),
    };
    if faults.is_empty() {
        return Refusal::faulty(Code::Malformed, vec![Fault::new("payload", "消息内容无法识别", "is not understood")]);
    }
    Refusal::faulty(Code::Malformed, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_ask_is_answered_with_all_its_faults() {
        let places = |payload: &str| -> Vec<String> {
            unreadable(payload).faults.into_iter().map(|fault| format!("{} {}", fault.at, fault.en)).collect()
        };
        assert_eq!(places("nonsense"), ["payload is not understood"]);
        assert_eq!(places(r#"{"body":"to_platform"}"#), ["ask is required"]);
        assert_eq!(places(r#"{"body":"to_platform","ask":{"ask":"dance"}}"#), ["ask is not a known ask"]);
        assert_eq!(places(r#"{"body":"to_platform","ask":{"ask":"refund","bill_no":1,"amount_fen":"x"}}"#).len(), 4,);
    }

    #[test]
    fn a_day_begins_at_midnight_in_china() {
        let date = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date");
        assert_eq!(china_midnight_us(date), Some(1_767_196_800_000_000));
    }
}
