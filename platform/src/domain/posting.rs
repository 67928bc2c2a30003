//! 分录: double-entry lines. Never edited, only answered by others; the lines of one commit sum to zero.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, FixedOffset, NaiveDate};
use schema::ids::InstitutionCode;
use schema::money::{Fen, Overflow};
use schema::split::Split;
use serde::{Deserialize, Serialize};

/// Whose money a share is at the bureau.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fund {
    /// 统筹
    Pooled,
    /// 其他基金
    Other,
    /// 个账
    Account,
    /// 个账共济
    Mulaid,
}

/// A tenant's accounts. Debits are positive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// What the bureau owes, by 险种 and fund.
    Bureau {
        /// 险种.
        insutype: String,
        /// Fund.
        fund: Fund,
    },
    /// What the wallet owes to an institution's merchant.
    Wallet {
        /// `sub_mchid`.
        merchant: String,
    },
    /// What an institution is owed for its bills.
    Payable {
        /// The institution.
        institution: InstitutionCode,
    },
    /// Money that came without a right to stay: to be given back.
    Suspense,
}

impl fmt::Display for Account {
    /// The stored form: `bureau:310:pooled`, `wallet:1900000109`, `payable:H44190000001`, `suspense`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::Bureau { insutype, fund } => {
                let fund = match fund {
                    Fund::Pooled => "pooled",
                    Fund::Other => "other",
                    Fund::Account => "account",
                    Fund::Mulaid => "mulaid",
                };
                write!(f, "bureau:{insutype}:{fund}")
            }
            Account::Wallet { merchant } => write!(f, "wallet:{merchant}"),
            Account::Payable { institution } => write!(f, "payable:{institution}"),
            Account::Suspense => f.write_str("suspense"),
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// Which account.
    pub account: Account,
    /// Debit positive, credit negative.
    pub amount: Fen,
    /// The counterparty's accounting time (bureau's `setl_time`, wallet's `success_time`): microseconds UTC.
    pub counterparty_at_us: i64,
}

/// Sums of postings by account, in its stored form, and accounting date.
pub type ByDate = BTreeMap<(String, NaiveDate), Fen>;

/// The accounting date of an instant (microseconds UTC): the day in China (UTC+8, no summer time). None beyond the
/// calendar.
pub fn accounting_date(at_us: i64) -> Option<NaiveDate> {
    let china = FixedOffset::east_opt(8 * 3600)?;
    Some(DateTime::from_timestamp_micros(at_us)?.with_timezone(&china).date_naive())
}

/// The insured part of a bill became the bureau's debt to the institution.
pub fn insurance_settled(
    split: &Split,
    insutype: &str,
    institution: &InstitutionCode,
    setl_time_us: i64,
) -> Result<Vec<Posting>, Overflow> {
    let funds = [
        (Fund::Pooled, split.fund_fen),
        (Fund::Other, split.other_funds_fen),
        (Fund::Account, split.account_own_fen),
        (Fund::Mulaid, split.account_mulaid_fen),
    ];
    let mut lines: Vec<Posting> = funds
        .into_iter()
        .filter(|(_, amount)| !amount.is_zero())
        .map(|(fund, amount)| Posting {
            account: Account::Bureau { insutype: insutype.to_owned(), fund },
            amount,
            counterparty_at_us: setl_time_us,
        })
        .collect();
    close_against(&mut lines, Account::Payable { institution: institution.clone() }, setl_time_us)?;
    Ok(lines)
}

/// The cash part came in at the wallet, for the institution or (stray) for nobody yet.
pub fn cash_taken(
    amount: Fen,
    merchant: &str,
    against: Account,
    success_time_us: i64,
) -> Result<Vec<Posting>, Overflow> {
    let mut lines = vec![Posting {
        account: Account::Wallet { merchant: merchant.to_owned() },
        amount,
        counterparty_at_us: success_time_us,
    }];
    close_against(&mut lines, against, success_time_us)?;
    Ok(lines)
}

/// A part of the cash that a replaced order took now pays its replacement: owed to the institution for this order, and
/// taken out of suspense. The replaced order books the same lines [`reversed`].
pub fn cash_carried(
    amount: Fen,
    institution: &InstitutionCode,
    success_time_us: i64,
) -> Result<Vec<Posting>, Overflow> {
    if amount.is_zero() {
        return Ok(Vec::new());
    }
    let mut lines = vec![Posting { account: Account::Suspense, amount, counterparty_at_us: success_time_us }];
    close_against(&mut lines, Account::Payable { institution: institution.clone() }, success_time_us)?;
    Ok(lines)
}

/// The same lines in the other direction, at the time of the undoing.
pub fn reversed(lines: Vec<Posting>, at_us: i64) -> Vec<Posting> {
    lines.into_iter().map(|line| Posting { amount: line.amount.negated(), counterparty_at_us: at_us, ..line }).collect()
}

fn close_against(lines: &mut Vec<Posting>, account: Account, at_us: i64) -> Result<(), Overflow> {
    let sum = Fen::sum(lines.iter().map(|line| line.amount))?;
    if !sum.is_zero() {
        lines.push(Posting { account, amount: sum.negated(), counterparty_at_us: at_us });
    }
    Ok(())
}

/// True if the lines of one commit balance.
pub fn sums_to_zero(lines: &[Posting]) -> bool {
    Fen::sum(lines.iter().map(|line| line.amount)) == Ok(Fen::ZERO)
}
