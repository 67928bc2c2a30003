//! PURE: no async, no I/O, no diesel, no clock. Read [`order`] first.

pub mod action;
pub mod bill;
pub mod binding;
pub mod code;
pub mod deadline;
pub mod diagram;
pub mod invariants;
pub mod order;
pub mod posting;
pub mod refund;
pub mod refusal;
pub mod settlement;
pub mod split;
