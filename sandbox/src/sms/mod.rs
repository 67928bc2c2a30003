//! An SMS gateway with an inbox per phone, where the people of the sandbox read their codes.

pub mod core;
pub mod run;
pub mod server;
