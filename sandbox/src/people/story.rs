//! How one payment goes. Most people simply pay; the others are why a platform is hard to build.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// When, in the life of an order, somebody does something unexpected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before an order is opened.
    Unopened,
    /// Right after it was opened.
    Created,
    /// With the split on the screen.
    Priced,
    /// With the code in hand, not yet entered.
    CodeInHand,
    /// Right after the code was entered.
    Authorised,
    /// When the wallet is open.
    Collecting,
}

const MOMENTS: [Moment; 6] =
    [Moment::Unopened, Moment::Created, Moment::Priced, Moment::CodeInHand, Moment::Authorised, Moment::Collecting];

/// What is unusual about a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "twist", rename_all = "snake_case")]
pub enum Twist {
    /// Nothing.
    None,
    /// A wrong code first.
    WrongCode,
    /// The person cancels.
    Cancels {
        /// When.
        at: Moment,
    },
    /// The person walks away.
    WalksAway {
        /// When.
        at: Moment,
    },
    /// Somebody takes the bill to the window.
    Window {
        /// When.
        at: Moment,
    },
    /// The card is lost: reported in the app.
    ReportsLoss {
        /// When.
        at: Moment,
    },
    /// Another visit is settled at a window, where the platform cannot see it, with the split on the screen.
    PaysElsewhere,
    /// A second bill of the same person at the same time.
    TwoBills,
    /// The hospital asks for the whole back afterwards.
    RefundWhole,
    /// The hospital asks for a part back afterwards; in cash only.
    RefundPart,
    /// One line of an insured bill goes back afterwards, and the rest is settled anew.
    ReturnLine,
}

/// One payment, before it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// Everything in cash, by choice.
    pub cash_only: bool,
    /// 个账.
    pub use_account: bool,
    /// For the child, where there is one.
    pub for_child: bool,
    /// Every change is sent a second time with its key.
    pub repeats: bool,
    /// What is unusual.
    pub twist: Twist,
}

/// How many of a hundred payments have a twist. More than half of all payments complete even with faults around them.
pub const TWISTS_PERCENT: u32 = 32;

impl Story {
    /// Rolls a story; `twists_percent` of a hundred get a twist.
    pub fn roll(dice: &mut ChaCha8Rng, twists_percent: u32) -> Story {
        let cash_only = dice.random_range(0..100) < 15;
        let use_account = dice.random_range(0..100) < 60;
        let for_child = dice.random_range(0..2) == 0;
        let repeats = dice.random_range(0..100) < 20;
        let moment = |dice: &mut ChaCha8Rng| MOMENTS[dice.random_range(0..MOMENTS.len())];
        let twist = if dice.random_range(0..100) >= twists_percent {
            Twist::None
        } else {
            match dice.random_range(0..18) {
                0..=2 => Twist::WrongCode,
                3..=4 => Twist::Cancels { at: moment(dice) },
                5 => Twist::WalksAway { at: moment(dice) },
                6..=7 => Twist::Window { at: moment(dice) },
                8 => Twist::ReportsLoss { at: moment(dice) },
                9..=10 => Twist::PaysElsewhere,
                11..=13 => Twist::TwoBills,
                14 => Twist::RefundWhole,
                15..=16 => Twist::ReturnLine,
                _ => Twist::RefundPart,
            }
        };
        let cash_only = match twist {
            Twist::RefundPart => true,
            Twist::ReturnLine => false,
            _ => cash_only,
        };
        Story { cash_only, use_account, for_child, repeats, twist }
    }

    /// A plain insured payment.
    pub fn plain(use_account: bool) -> Story {
        Story { cash_only: false, use_account, for_child: false, repeats: false, twist: Twist::None }
    }

    /// Whether the twist strikes at this moment.
    pub fn strikes(&self, moment: Moment) -> bool {
        match self.twist {
            Twist::Cancels { at } | Twist::WalksAway { at } | Twist::Window { at } | Twist::ReportsLoss { at } => {
                at == moment
            }
            Twist::PaysElsewhere => moment == Moment::Priced,
            Twist::None
            | Twist::WrongCode
            | Twist::TwoBills
            | Twist::RefundWhole
            | Twist::RefundPart
            | Twist::ReturnLine => false,
        }
    }
}
