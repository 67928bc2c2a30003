//! The wallet's words become ours here and nowhere else. A word nobody has seen yet stays unclear.

/// What `trade_state` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trade {
    /// Open and unpaid.
    NotPaid,
    /// Cash was taken.
    Paid,
    /// Closed unpaid.
    Closed,
    /// A word we do not know.
    Unclear,
}

/// `trade_state`. `REFUND` (转入退款) is a payment of which something was given back: it was paid, and refunds are asked
/// for one by one. `USERPAYING`, `REVOKED` and `PAYERROR` belong to payment codes shown at a counter, which we never open.
pub(super) fn trade(trade_state: &str) -> Trade {
    match trade_state {
        "SUCCESS" | "REFUND" => Trade::Paid,
        "NOTPAY" => Trade::NotPaid,
        "CLOSED" => Trade::Closed,
        _ => Trade::Unclear,
    }
}

/// What a refund's `status` (`refund_status` in notices) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refund {
    /// The payer has it.
    Returned,
    /// Under way.
    Processing,
    /// A person must act: `ABNORMAL` (the payer's bank will not take it) or `CLOSED` (given up, the merchant has it).
    Abnormal,
    /// A word we do not know.
    Unclear,
}

/// See [`Refund`].
pub(super) fn refund(status: &str) -> Refund {
    match status {
        "SUCCESS" => Refund::Returned,
        "PROCESSING" => Refund::Processing,
        "ABNORMAL" | "CLOSED" => Refund::Abnormal,
        _ => Refund::Unclear,
    }
}

/// `code`s beside HTTP 404 that say "there is no such order or refund". A 404 without them is a wrong address.
pub(super) fn says_nothing_there(status: u16, code: &str) -> bool {
    status == 404 && matches!(code, "ORDER_NOT_EXIST" | "ORDERNOTEXIST" | "RESOURCE_NOT_EXISTS")
}

/// Closing what is closed is what was wanted.
pub(super) fn says_closed(code: &str) -> bool {
    matches!(code, "ORDER_CLOSED" | "ORDERCLOSED")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_are_translated_and_unseen_ones_stay_unclear() {
        for (word, expected) in [
            ("SUCCESS", Trade::Paid),
            ("REFUND", Trade::Paid),
            ("NOTPAY", Trade::NotPaid),
            ("CLOSED", Trade::Closed),
            ("USERPAYING", Trade::Unclear),
            ("success", Trade::Unclear),
            ("", Trade::Unclear),
        ] {
            assert_eq!(trade(word), expected, "{word}");
        }
        for (word, expected) in [
            ("SUCCESS", Refund::Returned),
            ("PROCESSING", Refund::Processing),
            ("ABNORMAL", Refund::Abnormal),
            ("CLOSED", Refund::Abnormal),
            ("CHANGE", Refund::Unclear),
        ] {
            assert_eq!(refund(word), expected, "{word}");
        }
        assert!(says_nothing_there(404, "ORDER_NOT_EXIST") && says_nothing_there(404, "RESOURCE_NOT_EXISTS"));
        assert!(!says_nothing_there(404, "NOT_FOUND") && !says_nothing_there(400, "ORDER_NOT_EXIST"));
    }
}
