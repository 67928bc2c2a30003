//! What an adapter asks of the platform, each answered by one journey. An ask that is repeated has the same effect:
//! bills, refunds and visit cards go by the institution's own numbers, a claim is looked at again.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use schema::bill::BillDraft;
use schema::his;
use schema::ids::InstitutionCode;
use schema::link::{BillNamed, Reply, ToPlatform};
use schema::refusal::{Code, Fault, Refusal};
use serde_json::Value;

use crate::http::faults;
use crate::journey::{Ground, Tenant, bills, people, refund, view};

/// Orders of one day in one message; more do not fit into a frame.
const DAY_MAX: u32 = 1500;

/// Who asks.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) ground: Arc<Ground>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) institution: InstitutionCode,
}

impl Asker {
    /// Answers one ask.
    pub(super) async fn answer(&self, ask: ToPlatform, trace_id: &str) -> Result<Reply, Refusal> {
        let Asker { ground, tenant, institution } = self;
        let trace_id = Some(trace_id.to_owned());
        match ask {
            ToPlatform::Bill(draft) => {
                bills::take(ground, tenant, institution, &draft, trace_id).await.map(|_| Reply::Done)
            }
            ToPlatform::Withdraw(bill) | ToPlatform::Claim(bill) => {
                bills::claim(ground, tenant.id, institution, &bill.bill_no, trace_id).await.map(Reply::Claimed)
            }
            ToPlatform::Refund(ask) => {
                let hush = bills::Hush::of_number(ground, tenant, institution, &ask.bill_no).await?;
                let ask = his::RefundAsk { reason: hush.sentence(&ask.reason), ..ask };
                refund::asked(ground, tenant.id, institution, &ask, trace_id).await.map(Reply::Refund)
            }
            ToPlatform::OrderQuery(bill) => self.order(bill).await,
            ToPlatform::DayList(day) => self.day(&day).await,
            ToPlatform::BindVisitCard(card) => {
                people::bind_visit_card(ground, tenant, institution, &card).await.map(|()| Reply::Done)
            }
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
        let (tenant, institution) = (self.tenant.id, self.institution.clone());
        let most = DAY_MAX + 1;
        let orders =
            self.ground.read(move |store| store.orders_between(tenant, &institution, from_us, to_us, most)).await?;
        if orders.len() > DAY_MAX as usize {
            return Err(Refusal::new(Code::TooLarge, "more orders than one message holds"));
        }
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
