//! Rules about 分担 that only the platform needs; the shares themselves are [`schema::split::Split`].

use schema::split::Split;

/// True if the payer would pay other than what they saw: an account, the cash or the sum differ. The own
/// and the shared account are two people's money, so a shift between them is a difference; a shift among funds only is
/// nobody's and is merely recorded.
pub fn differs_for_the_payer(authorised: &Split, settled: &Split) -> bool {
    authorised.account_own_fen != settled.account_own_fen
        || authorised.account_mulaid_fen != settled.account_mulaid_fen
        || authorised.cash_fen != settled.cash_fen
        || authorised.total() != settled.total()
}

/// True if a replacement asks more of the payer than they authorised before: of either account, or in cash.
pub fn rises_for_the_payer(authorised: &Split, priced: &Split) -> bool {
    priced.account_own_fen > authorised.account_own_fen
        || priced.account_mulaid_fen > authorised.account_mulaid_fen
        || priced.cash_fen > authorised.cash_fen
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::money::Fen;

    fn split(fund: i64, other: i64, own: i64, mulaid: i64, hospital: i64, cash: i64) -> Split {
        Split {
            fund_fen: Fen::new(fund),
            other_funds_fen: Fen::new(other),
            account_own_fen: Fen::new(own),
            account_mulaid_fen: Fen::new(mulaid),
            hospital_fen: Fen::new(hospital),
            cash_fen: Fen::new(cash),
        }
    }

    #[test]
    fn what_was_authorised_covers_a_replacement_unless_an_account_or_the_cash_rises() {
        let authorised = split(500, 100, 200, 50, 0, 150);
        for (priced, rises) in [
            (split(300, 100, 200, 50, 0, 150), false),
            (split(0, 0, 0, 0, 0, 1), false),
            (split(900, 0, 0, 0, 0, 0), false),
            (split(0, 0, 201, 0, 0, 0), true),
            (split(0, 0, 0, 51, 0, 0), true),
            (split(0, 0, 0, 0, 0, 151), true),
        ] {
            assert_eq!(rises_for_the_payer(&authorised, &priced), rises, "{priced:?}");
        }
    }

    #[test]
    fn only_what_the_payer_pays_counts_as_a_difference() {
        let seen = split(500, 100, 200, 50, 0, 150);
        for (settled, differs) in [
            (split(500, 100, 200, 50, 0, 150), false),
            (split(400, 200, 200, 50, 0, 150), false),
            (split(500, 100, 150, 100, 0, 150), true),
            (split(450, 100, 200, 50, 0, 200), true),
            (split(450, 100, 250, 50, 0, 150), true),
            (split(501, 100, 200, 50, 0, 150), true),
        ] {
            assert_eq!(differs_for_the_payer(&seen, &settled), differs, "{settled:?}");
        }
    }
}
