//! The platform: the centre of a city's medical-insurance payments.
//!
//! Floors, ground first; a floor uses those before it in this list, never those behind it (ARCHITECTURE.md has the two
//! exceptions): [`clock`] · [`settings`] · [`domain`] · [`store`] · [`ephemeral`] · [`events`] · [`parties`] ·
//! [`metrics`] · [`journey`] · [`errands`] · [`http`] · [`startup`].

pub mod clock;
pub mod domain;
pub mod ephemeral;
pub mod errands;
pub mod events;
pub mod http;
pub mod journey;
pub mod metrics;
pub mod parties;
pub mod settings;
pub mod startup;
pub mod store;
