//! An outsider's sentence, made fit to be shown and logged.

/// Digits in a row from which on a number can name a person (identity, card, phone, 人员编号).
const NAMING_DIGITS: usize = 8;
/// The longest sentence kept, in characters.
const MOST_CHARS: usize = 200;

/// The sentence without what names a person: the given values (names and numbers of the call at hand), and every run of
/// eight digits or more, full-width ones and a check letter `X` included. A name that is not among `hide` cannot be
/// recognised: pass everything personal that the call carried.
pub fn for_people(sentence: &str, hide: &[&str]) -> String {
    let mut sentence = sentence.to_owned();
    for value in hide.iter().filter(|value| !value.is_empty()) {
        sentence = sentence.replace(value, "***");
    }
    let mut shown = String::with_capacity(sentence.len());
    let mut digits = String::new();
    for character in sentence.chars() {
        if is_digit(character) {
            digits.push(character);
            continue;
        }
        let masked = flush(&mut digits, &mut shown);
        if masked && matches!(character, 'X' | 'x') {
            continue;
        }
        shown.push(if character.is_control() { ' ' } else { character });
    }
    flush(&mut digits, &mut shown);
    let shown = shown.trim();
    match shown.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown.to_owned(),
    }
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit() || ('０'..='９').contains(&character)
}

/// Writes the digits read so far, masked if they are many; true if they were.
fn flush(digits: &mut String, shown: &mut String) -> bool {
    let masked = digits.chars().count() >= NAMING_DIGITS;
    shown.push_str(if masked { "***" } else { digits });
    digits.clear();
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_names_a_person_is_shown() {
        for (said, shown) in [
            ("参保人44190019900101123X未参保", "参保人***未参保"),
            ("手机13800001234已绑定", "手机***已绑定"),
            ("人员１２３４５６７８不存在", "人员***不存在"),
            ("王小明待遇冻结", "***待遇冻结"),
            ("金额应为120.00，代码1234567", "金额应为120.00，代码1234567"),
            ("a\nb\u{7}", "a b"),
            ("", ""),
        ] {
            assert_eq!(for_people(said, &["王小明", ""]), shown);
        }
    }

    #[test]
    fn a_long_sentence_is_cut_between_characters() {
        let shown = for_people(&"错".repeat(300), &[]);
        assert_eq!(shown.chars().count(), MOST_CHARS + 1);
    }
}
