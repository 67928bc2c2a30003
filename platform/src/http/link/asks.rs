//! What an adapter asks of the platform, each answered by one journey. An ask that is repeated under its message id gets
//! the first answer, and the id with another ask is refused. A bill needs no such key: its number and its content are
//! compared in the commit that takes it. What is asked for under a new id goes by the institution's own numbers.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use schema::bill::BillDraft;
use schema::his::{self, ClaimAnswer};
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
        let changes = matches!(
            ask,
            ToPlatform::Withdraw(_) | ToPlatform::Claim(_) | ToPlatform::Refund(_) | ToPlatform::BindVisitCard(_)
        );
        if !changes {
            return self.act(ask, trace_id).await;
        }
        let key = CallerKey {
            caller: format!("adapter:{}", self.institution),
            key: frame.id.to_string(),
            request: self.tenant.vault.lookup("request", frame.payload.0.as_bytes()).to_bytes(),
        };
        if let Some(first) = self.ground.first_answer(self.tenant.id, &key).await? {
            return serde_json::from_slice(&first)
                .map_err(|error| Refusal::new(Code::Internal, format!("a kept answer does not read back: {error}")));
        }
        let reply = self.act(ask, trace_id).await?;
        // "In progress" and "already paid" have changed nothing: asked again, they may have become another answer.
        if !matches!(reply, Reply::Claimed(ClaimAnswer::InProgress { .. } | ClaimAnswer::AlreadyPaid { .. })) {
            self.keep(key, &reply).await;
        }
        Ok(reply)
    }

    /// The effect is durable by now; where its answer cannot be kept, a repeat finds the effect by its number.
    async fn keep(&self, key: CallerKey, reply: &Reply) {
        let tenant = self.tenant.id;
        let Ok(response) = serde_json::to_vec(reply) else { return };
        let kept = self.ground.read(move |store| store.keep_answer(tenant, &key, &response)).await;
        if let Err(refusal) = kept {
            tracing::warn!(%refusal, institution = %self.institution, "an answer could not be kept for repeats");
        }
    }

    async fn act(&self, ask: ToPlatform, trace_id: &str) -> Result<Reply, Refusal> {
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
