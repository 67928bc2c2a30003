//! What every adapter does, whatever kind of institution it stands in: it keeps one link to the platform, remembers
//! everything it promised, and gives the institution's own system a local face.
//!
//! ```text
//!   HIS ──HTTP──▶ http ──▶ asks ──▶ journal (durable) ──▶ outbox ──▶ link ──▶ platform
//!   HIS ◀──poll── http ◀── work ◀── journal (durable) ◀──────────── link ◀── platform
//!    └──answer──▶ http ──▶ work_answer ──▶ journal (durable) ──▶ outbox ──▶ link
//! ```
//!
//! Nothing is acknowledged to either side before the journal has it. What was promised and not yet done is found again
//! after a SIGKILL at any moment ([`startup`]).

mod asks;
mod callback;
pub mod clock;
mod core;
pub mod doctor;
mod http;
pub mod init;
pub mod journal;
pub mod keys;
pub mod link;
pub mod logs;
mod metrics;
mod outbox;
pub mod settings;
pub mod startup;
mod tidy;
mod work;
mod work_answer;
