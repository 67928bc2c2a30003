//! A WeChat-Pay-like wallet: APIv3 in partner mode (服务商模式), the payers who tap "pay", and the wallet's own books.
//!
//! [`core`] is the wallet without sockets, clocks or signatures: deterministic, and used as it is by a simulation.
//! [`server`] puts APIv3's signatures, the notifications and the faults around it. Source of the rules: WeChat Pay's
//! public APIv3 documents; amounts are fen everywhere, as on its wire.

pub mod books;
pub mod call;
pub mod core;
pub mod fields;
pub mod keys;
pub mod notice;
pub mod order;
mod post;
pub mod refund;
pub mod refusal;
pub mod resource;
pub mod run;
pub mod server;
pub mod signature;
