//! The ground: what two parties must agree on.
//!
//! Nothing here asks for time, randomness or I/O. Both sides of every seam (platform and adapter, adapter and HIS,
//! phone and platform, bureau and platform) take their words from this crate and from nowhere else.
//!
//! | module | what it fixes |
//! | --- | --- |
//! | [`money`] | `Fen` and the finer fixed-point numbers of the wire |
//! | [`ids`] | one id type per kind of thing |
//! | [`personal`] | data about people, which cannot be formatted unmasked |
//! | [`seal`] | sealing at rest (AES-256-GCM), keyed look-up hashes |
//! | [`sign`] | Ed25519 signatures of the link and of bureau notices |
//! | [`bill`], [`split`] | what an institution asks for; who pays it |
//! | [`link`] | the conversation between platform and adapter |
//! | [`his`] | the adapter's face towards a hospital's own system |
//! | [`mobile`] | the phone's API |
//! | [`event`] | the records published for reconciliation |
//! | [`asyncapi`] | the same as a document: topic, key, header, a message per type |
//! | [`refusal`] | every "no", with what happened to the money and what to do |
//! | [`openapi`] | what every documented operation says alike |

pub mod asyncapi;
pub mod bill;
pub mod event;
pub mod his;
pub mod ids;
pub mod link;
pub mod mobile;
pub mod money;
pub mod openapi;
pub mod personal;
pub mod refusal;
pub mod seal;
pub mod sign;
pub mod split;
