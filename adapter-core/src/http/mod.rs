//! The face towards the HIS: documented local HTTP. `routes` is the whole URL table; one file per subject.

mod auth;
mod bills;
mod body;
mod fields;
mod health;
mod openapi;
mod orders;
mod problem;
mod refunds;
mod routes;
mod trace;
mod visit_cards;
mod work;

pub(crate) use body::parse;
pub(crate) use routes::serve;
pub(crate) use trace::HEADER as TRACE_HEADER;
