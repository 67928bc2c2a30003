//! 分担: who pays a bill. The shares sum to the bill, where a split is made and again where it is read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::money::{Fen, Overflow};

/// The shares of one bill, in fen.
///
/// | share | 中文 | from the bureau's `setlinfo` |
/// | --- | --- | --- |
/// | `fund_fen` | 统筹 | `hifp_pay` |
/// | `other_funds_fen` | 其他基金 | cvlserv, hifes, hifmi, hifob, maf, oth |
/// | `account_own_fen` | 个账 | `acct_pay` − `acct_mulaid_pay` |
/// | `account_mulaid_fen` | 个账共济 | `acct_mulaid_pay` |
/// | `hospital_fen` | 医院负担 | `hosp_part_amt` |
/// | `cash_fen` | 现金 | `psn_cash_pay` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// 统筹基金.
    #[schema(value_type = i64)]
    pub fund_fen: Fen,
    /// 其他基金.
    #[schema(value_type = i64)]
    pub other_funds_fen: Fen,
    /// 个人账户, the insured person's own.
    #[schema(value_type = i64)]
    pub account_own_fen: Fen,
    /// 个人账户共济, a relative's account.
    #[schema(value_type = i64)]
    pub account_mulaid_fen: Fen,
    /// 医院负担.
    #[schema(value_type = i64)]
    pub hospital_fen: Fen,
    /// 现金.
    #[schema(value_type = i64)]
    pub cash_fen: Fen,
}

impl Split {
    /// A bill that the payer pays whole.
    pub fn all_cash(amount: Fen) -> Split {
        Split { cash_fen: amount, ..Split::default() }
    }

    /// Every share, in the order in which people read them.
    pub fn shares(&self) -> [Fen; 6] {
        [
            self.fund_fen,
            self.other_funds_fen,
            self.account_own_fen,
            self.account_mulaid_fen,
            self.hospital_fen,
            self.cash_fen,
        ]
    }

    /// The sum of the shares; refuses overflow.
    pub fn total(&self) -> Result<Fen, Overflow> {
        Fen::sum(self.shares())
    }

    /// What moves through the bureau: funds and accounts, without the hospital's own burden.
    pub fn insurance(&self) -> Result<Fen, Overflow> {
        Fen::sum([self.fund_fen, self.other_funds_fen, self.account_own_fen, self.account_mulaid_fen])
    }

    /// Own and shared account together.
    pub fn account(&self) -> Result<Fen, Overflow> {
        self.account_own_fen.plus(self.account_mulaid_fen)
    }

    /// True if no share is negative and the shares sum to `amount`.
    pub fn sums_to(&self, amount: Fen) -> bool {
        self.shares().iter().all(|share| !share.is_negative()) && self.total() == Ok(amount)
    }
}
