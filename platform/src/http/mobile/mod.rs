//! The phone's routes; `schema::mobile` is their contract.

pub(super) mod bills;
pub(super) mod events;
pub(super) mod login;
pub(super) mod orders;
pub(super) mod people;
