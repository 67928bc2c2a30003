//! One sound record of each type.

use schema::event::{CloudEvent, RefundStep, Transition};
use schema::ids::{EventId, OrderId, RefundId, TenantId};
use schema::money::Fen;
use schema::split::Split;
use serde_json::Value;
use uuid::Uuid;

pub(crate) const STATES: [&str; 9] =
    ["created", "priced", "settling", "collecting", "paid", "completed", "undoing", "suspended", "closed"];

/// A record with everything that its state has.
pub(crate) fn record(state: &str) -> Value {
    let id = Uuid::from_u128(7);
    let has = |states: &[&str]| states.contains(&state);
    let reason = has(&["undoing", "suspended", "closed"]).then(|| "cancelled".to_owned());
    let settled = has(&["collecting", "paid", "completed", "undoing", "suspended"]);
    let paid = has(&["paid", "completed", "undoing", "suspended"]);
    let event = CloudEvent {
        specversion: "1.0".into(),
        id: EventId::from_uuid(id),
        kind: format!("cn.tongfu.order.{state}.v1"),
        source: format!("/tongfu/{id}"),
        subject: OrderId::from_uuid(id),
        time: "2026-05-20T02:00:00.000001Z".into(),
        tenantid: TenantId::from_uuid(id),
        sequence: 4,
        datacontenttype: "application/json".into(),
        dataschema: format!("order-{state}.v1.json"),
        data: Transition {
            version: 4,
            event: "cash_returned".into(),
            from: Some("priced".into()),
            to: state.into(),
            institution: "H44910000001".parse().expect("a code"),
            bill_no: "B1".into(),
            amount_fen: Fen::new(100),
            split: Some(Split::all_cash(Fen::new(100))),
            setl_id: settled.then(|| "S1".into()),
            transaction_id: paid.then(|| "T1".into()),
            refunded_fen: Fen::ZERO,
            reason,
            refund: Some(RefundStep {
                refund_id: RefundId::from_uuid(id),
                refund_no: Some("R1".into()),
                state: "returning_cash".into(),
                amount_fen: Fen::new(100),
                cash_fen: Fen::new(100),
            }),
        },
    };
    serde_json::to_value(event).expect("a record serialises")
}
