//! Real servers for tests and benches: each started on a free port in a directory of its own, dead when we are.

pub mod child;
pub mod kafka;
pub mod postgres;
pub mod redis;
