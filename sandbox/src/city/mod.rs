//! A small city on one machine: the real platform and adapters as child processes, their counterparties around them,
//! and people who pay.
//!
//! | read | for |
//! | --- | --- |
//! | [`plan`] | which cities and hospitals there are; all fictional |
//! | [`options`] | what can be chosen, and the compressed deadlines |
//! | [`town`] | [`City`](town::City): start, kill, restart, stop |
//! | [`founding`] | what is made once: keys, tenants, channels, institutions |
//! | [`child`] | one process: ready line, signals, what the kernel counted |
//! | [`windows`] | visit cards bound at the hospitals' windows |
//! | [`paying`] | many payments at once |
//! | [`verdict`] | the books from every side, row by row |
//! | [`mishaps`] | the share of faults |
//! | [`run`] | `sandbox city` |
//!
//! Also the harness of crash tests: [`City::kill_platform`](town::City::kill_platform) is a SIGKILL.

pub mod child;
pub mod founding;
pub mod mishaps;
pub mod options;
pub mod paying;
pub mod plan;
pub mod run;
pub mod town;
pub mod verdict;
pub mod windows;

pub use options::Options;
pub use town::City;
