//! The bureau's core system 医保核心: who is insured, what policy pays, and what was settled.
//!
//! | read | for |
//! | --- | --- |
//! | [`core`] | [`Core::handle`](core::Core::handle): one envelope in, one envelope out; no I/O, no clock |
//! | `t9001` … `t5203`, `b001` | one file per message of the interface, named by its number |
//! | [`policy`] | deductible, caps, ratios, account: how a bill is split |
//! | [`lines`] | class, ceiling and limited use: how one fee line is split |
//! | [`config`] | cities, dialect, latency; `data/bureau.toml` is the default and the manual |
//! | [`catalogue`] | drugs, services, diagnoses; shared with the hospitals' HIS |
//! | [`gateway`] | the header signature in front of everything |
//! | [`admin`] | what only an operator of the sandbox may do: persons, callers, loss, clearing |
//! | [`records`] | every settlement and undo, and the books proved from them |
//! | [`server`], [`run`] | the same over HTTP, and as a process |
//!
//! The core is synchronous and deterministic: ids come from counters and every collection is ordered, so that a
//! simulation can run it inside one thread and get the same story from the same seed.

pub mod admin;
mod admin_http;
mod b001;
pub mod caller;
pub mod catalogue;
pub mod config;
pub mod core;
pub mod envelope;
mod fields;
pub mod gateway;
pub mod lines;
pub mod notice;
pub mod policy;
mod pricing;
pub mod records;
pub mod refusal;
pub mod run;
pub mod seal;
pub mod server;
mod setlinfo;
pub mod state;
mod t1101;
mod t2001;
mod t2201;
mod t2203;
mod t2204;
mod t2206;
mod t2207;
mod t2208;
mod t2601;
mod t5203;
mod t9001;
mod undo;

pub use caller::{Caller, CallerKind, HospLevel, Institution, gateway_signature};
pub use catalogue::Catalogue;
pub use config::Config;
pub use core::{Core, Reception};
pub use seal::seal_card_password;
