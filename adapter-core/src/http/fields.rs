//! The checks that every text field gets.

use schema::refusal::Fault;

/// Faults of (name, text, most characters): empty, too long, or with control characters.
pub(crate) fn faults<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str, usize)>) -> Vec<Fault> {
    fields
        .into_iter()
        .filter_map(|(at, text, most)| {
            if text.trim().is_empty() {
                Some(Fault::new(at, "不能为空", "must not be empty"))
            } else if text.chars().count() > most || text.chars().any(char::is_control) {
                Some(Fault::new(at, "过长或含控制字符", "is too long or has control characters"))
            } else {
                None
            }
        })
        .collect()
}
