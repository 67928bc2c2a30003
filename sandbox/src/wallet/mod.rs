//! A WeChat-Pay-like wallet: APIv3 in partner mode (服务商模式), the payers who tap "pay", and the wallet's own books.
//!
//! [`core`] is the wallet without sockets, clocks or signatures: deterministic, and used as it is by a simulation.
//! [`server`] puts APIv3's signatures, the notifications and the faults around it. Source of the rules: WeChat Pay's
//! public APIv3 documents; amounts are fen everywhere, as on its wire.
//!
//! # Fault rules
//!
//! The subject is always the out_trade_no. By operation, the faults that mean something:
//!
//! * `prepay` `query` `close` `refund` `refund-query`, one API call: delay, refuse (any code; its HTTP status follows),
//!   do-but-do-not-answer, neither-do-nor-answer, answer-but-do-not-do, late-commit, duplicate (as if it came twice),
//!   busy (500 `SYSTEM_ERROR`).
//! * `notify`, one attempt to deliver: never-notify (no attempt follows), duplicate, delay, do-but-do-not-answer
//!   (delivered, repeated all the same), neither-do-nor-answer (this attempt is lost).
//! * `notify-probe`, one attempt to deliver: any; a notification with a `WECHATPAY/SIGNTEST/` signature goes ahead.
//! * `refund-settle`, one refund: refuse with code `ABNORMAL` or `CLOSED`; it ends so.
//! * `pay`, one tap of a payer: delay, refuse, busy, do-but-do-not-answer, neither-do-nor-answer.
//! * `pay-after-close`, one tap on a closed or expired order: any; the payment lands all the same.

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
