//! People with phones: they get bills, look at splits, read codes, pay, change their minds and lose their cards.
//!
//! | read | for |
//! | --- | --- |
//! | [`person`] | who they are; a crowd of fictional ones from a seed |
//! | [`phone`] | one login at `/mobile/v1`: changes with an idempotency key, the bell, waiting |
//! | [`outside`] | what people touch besides the phone: text messages, the wallet, a hospital, the bureau's counter |
//! | [`story`] | how one payment goes, by dice |
//! | [`payment`] | a story lived through to its end |
//!
//! People see what a payer sees and nothing else; whether the money is right is proved from others' records.

pub mod outside;
pub mod payment;
pub mod person;
pub mod phone;
pub mod story;
