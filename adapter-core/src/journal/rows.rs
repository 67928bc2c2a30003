//! The journal's tables as diesel sees them. Purposes name the column a sealed value belongs to.

use diesel::prelude::*;

diesel::table! {
    asks (seq) {
        seq -> BigInt,
        id -> Binary,
        kind -> Text,
        subject -> Text,
        content -> Binary,
        payload -> Binary,
        trace_id -> Text,
        asked_us -> BigInt,
        reply -> Nullable<Binary>,
        replied_us -> Nullable<BigInt>,
    }
}

diesel::table! {
    work (seq) {
        seq -> BigInt,
        id -> Binary,
        payload -> Binary,
        trace_id -> Nullable<Text>,
        received_us -> BigInt,
        answer_id -> Nullable<Binary>,
        answer -> Nullable<Binary>,
        answered_us -> Nullable<BigInt>,
    }
}

pub(super) const ASK: &str = "asks.payload";
pub(super) const REPLY: &str = "asks.reply";
pub(super) const WORK: &str = "work.payload";
pub(super) const ANSWER: &str = "work.answer";

#[derive(Insertable)]
#[diesel(table_name = asks)]
pub(super) struct NewAskRow {
    pub(super) id: Vec<u8>,
    pub(super) kind: &'static str,
    pub(super) subject: String,
    pub(super) content: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) trace_id: String,
    pub(super) asked_us: i64,
}

#[derive(Insertable)]
#[diesel(table_name = work)]
pub(super) struct NewWorkRow {
    pub(super) id: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) trace_id: Option<String>,
    pub(super) received_us: i64,
}

/// Work that is known, answered or not.
#[derive(Queryable, Selectable, Clone)]
#[diesel(table_name = work)]
pub(super) struct AnswerRow {
    pub(super) seq: i64,
    pub(super) received_us: i64,
    pub(super) id: Vec<u8>,
    pub(super) trace_id: Option<String>,
    pub(super) answer_id: Option<Vec<u8>>,
    pub(super) answer: Option<Vec<u8>>,
    pub(super) answered_us: Option<i64>,
}
