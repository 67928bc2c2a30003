//! What is published of an order's step.

use chrono::DateTime;
use schema::event::{CloudEvent, RefundStep, Transition};
use schema::ids::EventId;
use schema::money::Fen;

use crate::domain::order::Order;
use crate::domain::refund::Refund;

pub(super) fn record(
    event_id: EventId,
    event: &'static str,
    from: Option<&'static str>,
    order: &Order,
    refund: Option<&Refund>,
) -> CloudEvent {
    let to = order.state.place().word();
    CloudEvent {
        specversion: "1.0".into(),
        id: event_id,
        kind: format!("cn.tongfu.order.{to}.v1"),
        source: format!("/tongfu/{}", order.tenant),
        subject: order.id,
        time: DateTime::from_timestamp_micros(order.updated_at_us)
            .unwrap_or_default()
            .to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        tenantid: order.tenant,
        sequence: order.version,
        datacontenttype: "application/json".into(),
        dataschema: format!("order-{to}.v1.json"),
        data: Transition {
            version: order.version,
            event: event.to_owned(),
            from: from.map(str::to_owned),
            to: to.to_owned(),
            institution: order.bill.institution.clone(),
            bill_no: order.bill.bill_no.clone(),
            amount_fen: order.bill.amount,
            split: order.split(),
            setl_id: order.state.settled().map(|settled| settled.setl_id.clone()),
            transaction_id: order.state.taken().map(|taken| taken.transaction_id.clone()),
            refunded_fen: order.refunded,
            reason: order.state.why().map(|why| why.word().to_owned()),
            refund: refund.map(|refund| RefundStep {
                refund_id: refund.id,
                refund_no: refund.refund_no.clone(),
                state: refund.state.word().to_owned(),
                amount_fen: refund.amount,
                cash_fen: refund.cash.as_ref().map_or(Fen::ZERO, |cash| cash.amount),
            }),
        },
    }
}
