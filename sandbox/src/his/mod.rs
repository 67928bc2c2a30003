//! A hospital's own system (HIS), with a window: what stands behind an adapter.
//!
//! | read | for |
//! | --- | --- |
//! | [`core`] | [`Core`](core::Core): bills, work items in, replies out; no I/O, no clock |
//! | [`procedure`] | the bureau's messages that lead to a price, to a clean slate, or to a payment at the window |
//! | [`message`] | the national envelope, and yuan ↔ fen |
//! | [`bill`] | a bill as the HIS keeps it, and what it has at the bureau |
//! | [`draft`] | new bills out of the catalogue |
//! | [`books`] | what was booked, as records and as sums |
//! | [`outside`] | the adapter and the bureau over HTTP |
//! | [`desk`] | one hospital at work: long poll, answers, window, faults |
//! | [`server`], [`run`] | the same as a process that plays several hospitals |
//!
//! The core is synchronous and deterministic (counters and ordered collections, the time handed in), so that a
//! simulation can put it beside an in-memory bureau by the small [`BureauPort`](core::BureauPort).

pub mod bill;
pub mod books;
pub mod core;
pub mod desk;
pub mod draft;
pub mod hospital;
pub mod message;
pub mod outside;
pub mod procedure;
pub mod run;
pub mod server;

pub use core::{BureauPort, Core};
pub use hospital::Hospital;
