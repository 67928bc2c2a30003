//! One folder per outsider, the same file names inside: `mod` (the seam), `client`, `mapping`, `status`, MAPPINGS.md.
//!
//! Every call answers [`answer::Answer`]: done, refused, or unknown. "We do not know" is never an error to be retried
//! blindly: whoever made the call asks.

pub mod answer;
pub mod bureau;
mod china;
pub mod link;
pub mod outbound;
pub mod secret;
pub mod sms;
pub mod wallet;
pub mod words;
