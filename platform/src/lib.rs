//! The platform: the centre of a city's medical-insurance payments.
//!
//! Floors, ground first; a floor uses those above it in this list, never those below it:
//! [`clock`] · settings · [`domain`] · store · ephemeral · [`parties`] · journey · errands · http · startup.

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
