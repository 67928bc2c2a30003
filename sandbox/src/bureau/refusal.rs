//! Every "no" of the bureau. The national interface knows only "0 or not 0", so the numbers are ours.
//!
//! | infcode | meaning |
//! | --- | --- |
//! | -1 | malformed: the message says everything that is wrong; nothing was done |
//! | 1001 | 系统繁忙 busy: nothing was done, later may help |
//! | 1002 | the caller may not do this for this institution or person |
//! | 1003 | not signed in (9001) |
//! | 1004 | this msgid was used with other content, or was reversed by 2601 |
//! | 2001 | unknown person, certificate or insurance; or they do not belong together |
//! | 2002 | unknown or cancelled visit, batch, settlement |
//! | 2003 | duplicate upload (2204) |
//! | 2004 | amounts differ from what the bureau calculates |
//! | 2005 | a later settlement of the same person exists; undo that first |
//! | 2006 | the month has been cleared |
//! | 2007 | already undone |
//! | 2008 | nothing found to reverse (dialect `not_found_is_an_error`) |
//! | 3001 | no live online-payment binding |
//! | 3002 | wrong card password |
//! | 3003 | card password locked until tomorrow |
//! | 3004 | the card is reported lost |

/// A refusal in the bureau's words. Nothing was changed, except a counted wrong password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{infcode}: {message}")]
pub struct Refusal {
    /// `infcode` of the answer; never 0.
    pub infcode: i32,
    /// `err_msg` of the answer: Chinese first, English beside.
    pub message: String,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl Refusal {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Refusal {
                Refusal { infcode: $code, message: message.into() }
            })*
        }
    };
}

refusals! {
    /// -1.
    malformed = -1;
    /// 1002.
    not_yours = 1002;
    /// 1003.
    not_signed_in = 1003;
    /// 1004.
    msgid_spent = 1004;
    /// 2001.
    person = 2001;
    /// 2002.
    not_found = 2002;
    /// 2003.
    duplicate = 2003;
    /// 2004.
    amounts_differ = 2004;
    /// 2005.
    later_settlement = 2005;
    /// 2006.
    month_cleared = 2006;
    /// 2007.
    already_undone = 2007;
    /// 2008.
    nothing_to_reverse = 2008;
    /// 3001.
    not_bound = 3001;
    /// 3002.
    wrong_password = 3002;
    /// 3003.
    password_locked = 3003;
    /// 3004.
    card_lost = 3004;
}

impl Refusal {
    /// 1001.
    pub fn busy() -> Refusal {
        Refusal {
            infcode: 1001, message: "系统繁忙，请稍后再试 the system is busy, try again later".to_owned()
        }
    }
}

impl From<schema::money::Overflow> for Refusal {
    fn from(_: schema::money::Overflow) -> Refusal {
        Refusal::malformed("金额超出范围 an amount is beyond the range of money")
    }
}
