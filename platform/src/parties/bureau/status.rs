//! The bureau's words become ours here and nowhere else. A word nobody has seen yet stays unknown.

use super::config::Dialect;
use super::envelope::Node;

/// What an answer's head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Done.
    Done,
    /// No. The code is theirs.
    Refused {
        /// `infcode`.
        code: String,
        /// `err_msg`, not yet fit for people.
        words: String,
        /// Nothing was done and later may help.
        busy: bool,
    },
    /// It cannot be told.
    Unclear(&'static str),
}

/// Transactions that move money. A fresh one may follow one that did nothing, but never one that only sounds so.
const MOVES_MONEY: [&str; 3] = ["2207", "2208", "2601"];

/// Judges `infcode` and `err_msg` together: both `0` and `"0"` are done, and where the dialect says so an `err_msg`
/// beside them is a refusal. With an output beside that again, the answer contradicts itself.
pub(super) fn verdict(infno: &str, reply: &Node, output_is_empty: bool, dialect: &Dialect) -> Verdict {
    let words = reply.text("err_msg").unwrap_or_default();
    let Some(code) = reply.text("infcode") else { return Verdict::Unclear("the answer has no infcode") };
    if dialect.unclear_codes.contains(&code) {
        return Verdict::Unclear("an infcode after which the outcome is open");
    }
    if code == "0" {
        return match (words.is_empty() || !dialect.err_msg_refuses, output_is_empty) {
            (true, _) => Verdict::Done,
            (false, true) => refused(infno, code, words, dialect),
            (false, false) => {
                Verdict::Unclear("infcode 0 with an err_msg and an output: the answer contradicts itself")
            }
        };
    }
    refused(infno, code, words, dialect)
}

fn refused(infno: &str, code: String, words: String, dialect: &Dialect) -> Verdict {
    let (by_code, by_words) =
        (dialect.busy_codes.contains(&code), dialect.busy_words.iter().any(|busy| words.contains(busy)));
    if by_words && !by_code && MOVES_MONEY.contains(&infno) {
        return Verdict::Unclear("it sounds busy, and no code says that nothing was done");
    }
    Verdict::Refused { code, words, busy: by_code || by_words }
}

/// Whether a settlement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It counts.
    Live,
    /// It was undone.
    Undone,
    /// The bureau does not say, or in a word we do not know.
    Unclear,
}

/// `refd_setl_flag`.
pub(super) fn standing(refd_setl_flag: Option<&str>) -> Standing {
    match refd_setl_flag {
        Some("0") => Standing::Live,
        Some("1") => Standing::Undone,
        Some(_) | None => Standing::Unclear,
    }
}

/// `psn_insu_stas`: 1 is 正常参保; 2 暂停, 4 终止 and every other word are not.
pub(super) fn insured(psn_insu_stas: Option<&str>) -> bool {
    psn_insu_stas == Some("1")
}

/// `card_stas` (a field some bureaus add to 1101): 1 is normal. Absent, the bureau does not tell; every other word, 2
/// 挂失 first of all, keeps the card from being used.
pub(super) fn card_usable(card_stas: Option<&str>) -> bool {
    matches!(card_stas, None | Some("1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(infno: &str, reply: &str, dialect: &Dialect) -> Verdict {
        let reply = Node::parse(reply.as_bytes()).expect("an object");
        verdict(infno, &reply, reply.node("output").is_empty(), dialect)
    }

    fn refused(code: &str, words: &str, busy: bool) -> Verdict {
        Verdict::Refused { code: code.to_owned(), words: words.to_owned(), busy }
    }

    #[test]
    fn infcode_and_err_msg_are_judged_together() {
        let hunan = Dialect::default();
        let plain = Dialect { err_msg_refuses: false, unclear_codes: vec!["-9".to_owned()], ..Dialect::default() };
        let contradicts = Verdict::Unclear("infcode 0 with an err_msg and an output: the answer contradicts itself");
        for (reply, dialect, expected) in [
            (r#"{"infcode":0,"err_msg":"","output":{}}"#, &hunan, Verdict::Done),
            (r#"{"infcode":"0","err_msg":null,"output":{"a":1}}"#, &hunan, Verdict::Done),
            (r#"{"infcode":0,"err_msg":"该人员未参保","output":{}}"#, &hunan, refused("0", "该人员未参保", false)),
            (
                r#"{"infcode":0,"err_msg":"系统繁忙，请稍后","output":null}"#,
                &hunan,
                refused("0", "系统繁忙，请稍后", true),
            ),
            (r#"{"infcode":0,"err_msg":"异常","output":{"setlinfo":{}}}"#, &hunan, contradicts),
            (r#"{"infcode":0,"err_msg":"成功","output":{"setlinfo":{}}}"#, &plain, Verdict::Done),
            (r#"{"infcode":1001,"err_msg":"忙"}"#, &hunan, refused("1001", "忙", true)),
            (r#"{"infcode":-1,"err_msg":"错"}"#, &hunan, refused("-1", "错", false)),
            (
                r#"{"infcode":-9,"err_msg":"错"}"#,
                &plain,
                Verdict::Unclear("an infcode after which the outcome is open"),
            ),
            (r#"{"err_msg":""}"#, &hunan, Verdict::Unclear("the answer has no infcode")),
        ] {
            assert_eq!(judged("1101", reply, dialect), expected, "{reply}");
        }
    }

    #[test]
    fn only_a_code_proves_that_what_moves_money_did_nothing() {
        let dialect = Dialect::default();
        let sounds_busy = Verdict::Unclear("it sounds busy, and no code says that nothing was done");
        for infno in MOVES_MONEY {
            for (reply, expected) in [
                (r#"{"infcode":1001,"err_msg":"系统繁忙"}"#, refused("1001", "系统繁忙", true)),
                (r#"{"infcode":-1,"err_msg":"系统繁忙，请稍后"}"#, sounds_busy.clone()),
                (r#"{"infcode":0,"err_msg":"系统繁忙，请稍后","output":null}"#, sounds_busy.clone()),
                (r#"{"infcode":-1,"err_msg":"待遇未生效"}"#, refused("-1", "待遇未生效", false)),
            ] {
                assert_eq!(judged(infno, reply, &dialect), expected, "{infno} {reply}");
            }
        }
    }

    #[test]
    fn unseen_words_conclude_nothing() {
        assert_eq!(standing(Some("0")), Standing::Live);
        assert_eq!(standing(Some("1")), Standing::Undone);
        assert_eq!(standing(Some("2")), Standing::Unclear);
        assert_eq!(standing(None), Standing::Unclear);
        assert!(insured(Some("1")) && !insured(Some("2")) && !insured(None));
        assert!(card_usable(None) && card_usable(Some("1")) && !card_usable(Some("2")) && !card_usable(Some("9")));
    }
}
