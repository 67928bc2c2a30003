//! The doors, from outside: real sockets, a store in memory, outsiders that live in the test.

#![allow(clippy::panic, unreachable_pub, reason = "a test says no by panicking, and its modules are its own")]

mod adapter;
mod bills;
mod callbacks;
mod changes;
mod code;
mod insured;
mod later;
mod link;
mod login;
mod money;
mod operators;
mod outsiders;
mod payment;
mod price;
mod replicas;
mod surface;
mod tenants;
mod trace;
mod visit_cards;
mod words;
mod world;
