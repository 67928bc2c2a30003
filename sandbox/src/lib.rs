//! The counterparties of a city, as a library and a binary: bureau, wallet, SMS gateway, hospitals, people.
//!
//! They know nothing of the platform's insides: they speak the wire formats of the outside world, keep their own
//! records (from which the books are proved from the other side), and take faults by rule.

pub mod bureau;
pub mod city;
pub mod clock;
pub mod engines;
pub mod fault;
pub mod his;
pub mod http;
pub mod people;
pub mod serve;
pub mod sms;
pub mod snapshot;
pub mod wallet;
