//! Background work, one file per errand.
//!
//! | errand | what it does |
//! | --- | --- |
//! | [`after`] | what a commit sets going: actions, bells, records |
//! | [`perform`] | makes the calls that actions stand for |
//! | [`due`] | starts actions whose time has come, passes deadlines, looks back at unknown commits |
//! | [`adopt`] | says that this process lives, and asks about the actions of the dead |
//! | [`duty`] | which process does what only one may |
//! | [`lease`] | whether this process may send anything outside |
//! | [`measure`] | looks at the books for operators |
//! | [`publish`] | hands records to the event sink |
//! | [`roll_up`] | adds postings to the balances |

pub mod adopt;
pub mod after;
pub mod due;
pub mod duty;
pub mod lease;
pub mod measure;
pub mod perform;
pub mod publish;
pub mod roll_up;
