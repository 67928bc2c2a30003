//! Reading JSON strictly, and saying everything that is wrong with it at once, by place and never by value.
//!
//! serde stops at the first fault. So after a failure the document is mended where it was found wrong (a missing field
//! is put in, an unknown one taken out, a wrong value replaced by one that fits) and read again, until nothing is
//! wrong any more; what is collected on the way is the answer, the mended document is thrown away.

use std::collections::BTreeMap;

use schema::refusal::{Code, Fault, Refusal};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// So many faults are named; a document with more is wrong in a way no list helps with.
const FAULTS_MAX: usize = 32;
/// Mending ends after this many readings whatever happens.
const READINGS_MAX: usize = 256;
/// A field name of the caller is repeated only if it looks like one.
const NAME_MAX: usize = 40;

/// Reads a body. An empty one counts as `{}`.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let bytes = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { bytes };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let first = match serde_path_to_error::deserialize(&mut reader) {
        Ok(value) => match reader.end() {
            Ok(()) => return Ok(value),
            Err(error) => return Err(not_json(&error)),
        },
        Err(error) => error,
    };
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else { return Err(not_json(first.inner())) };
    let faults = all::<T>(document);
    if faults.is_empty() {
        // What only the text shows: the same field twice.
        let place = Place::of(first.path(), &first.inner().to_string());
        return Err(Refusal::faulty(Code::Malformed, vec![place.fault(&first.inner().to_string())]));
    }
    Err(Refusal::faulty(Code::Malformed, faults))
}

fn not_json(error: &serde_json::Error) -> Refusal {
    let at = format!("line {} column {}", error.line(), error.column());
    Refusal::faulty(Code::Malformed, vec![Fault::new(at, "不是有效的JSON", "is not valid JSON")])
}

/// Everything that keeps `document` from being a `T`.
pub(super) fn all<T: DeserializeOwned>(mut document: Value) -> Vec<Fault> {
    let mut found: BTreeMap<String, (usize, Fault)> = BTreeMap::new();
    let mut tried: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for _ in 0..READINGS_MAX {
        let error = match serde_path_to_error::deserialize::<_, T>(&document) {
            Ok(_) => break,
            Err(error) => error,
        };
        let message = error.inner().to_string();
        let place = Place::of(error.path(), &message);
        let text = place.text();
        let next = found.len();
        found.entry(text.clone()).or_insert_with(|| (next, place.fault(&message)));
        let tried = tried.entry(text).or_default();
        if found.len() > FAULTS_MAX || !place.mend(&mut document, &message, tried) {
            break;
        }
    }
    let mut faults: Vec<(usize, Fault)> = found.into_values().collect();
    faults.sort_by_key(|(order, _)| *order);
    faults.into_iter().take(FAULTS_MAX).map(|(_, fault)| fault).collect()
}

/// Where a fault is, and what has to be done there.
struct Place {
    at: Vec<Step>,
    kind: Kind,
}

enum Step {
    Field(String),
    Item(usize),
}

enum Kind {
    Missing,
    Unknown,
    Twice,
    Wrong,
}

impl Place {
    fn of(path: &Path, message: &str) -> Place {
        let mut at: Vec<Step> = path
            .iter()
            .filter_map(|segment| match segment {
                Segment::Seq { index } => Some(Step::Item(*index)),
                Segment::Map { key } => Some(Step::Field(key.clone())),
                Segment::Enum { .. } | Segment::Unknown => None,
            })
            .collect();
        let (kind, name) = if let Some(name) = quoted(message, "missing field `") {
            (Kind::Missing, Some(name))
        } else if let Some(name) = quoted(message, "unknown field `") {
            (Kind::Unknown, Some(name))
        } else if let Some(name) = quoted(message, "duplicate field `") {
            (Kind::Twice, Some(name))
        } else {
            (Kind::Wrong, None)
        };
        // The reader names the field itself in some of these cases and its parent in others.
        if let Some(name) = name
            && !matches!(at.last(), Some(Step::Field(last)) if *last == name)
        {
            at.push(Step::Field(name));
        }
        Place { at, kind }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.at {
            match step {
                Step::Item(index) => text.push_str(&format!("[{index}]")),
                Step::Field(name) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(if is_name(name) { name } else { "?" });
                }
            }
        }
        if text.is_empty() { ".".into() } else { text }
    }

    fn fault(&self, message: &str) -> Fault {
        let at = self.text();
        match self.kind {
            Kind::Missing => Fault::new(at, "缺少必填项", "is required"),
            Kind::Unknown => Fault::new(at, "没有这一项", "is not a known field"),
            Kind::Twice => Fault::new(at, "重复出现", "appears twice"),
            Kind::Wrong => match expected(message) {
                Some(expected) if expected.starts_with("struct ") => Fault::new(at, "应为对象", "must be an object"),
                Some(expected) => Fault::new(at, "类型或取值有误", format!("must be {expected}")),
                None => Fault::new(at, "格式有误", "is not well formed"),
            },
        }
    }

    /// Makes this place pass, so that the next reading finds the next fault. `false` when nothing more can be tried.
    fn mend(&self, document: &mut Value, message: &str, tried: &mut Vec<Value>) -> bool {
        let Some((last, parents)) = self.at.split_last() else { return false };
        let mut inside = document;
        for step in parents {
            let next = match step {
                Step::Field(name) => inside.get_mut(name.as_str()),
                Step::Item(index) => inside.get_mut(*index),
            };
            let Some(next) = next else { return false };
            inside = next;
        }
        if let (Step::Field(name), Value::Object(fields), Kind::Unknown) = (last, &mut *inside, &self.kind) {
            return fields.remove(name).is_some();
        }
        let Some(value) = stand_ins(message).into_iter().find(|value| !tried.contains(value)) else { return false };
        tried.push(value.clone());
        match (last, inside) {
            (Step::Field(name), Value::Object(fields)) => {
                fields.insert(name.clone(), value);
                true
            }
            (Step::Item(index), Value::Array(items)) => match items.get_mut(*index) {
                Some(item) => {
                    *item = value;
                    true
                }
                None => false,
            },
            _ => false,
        }
    }
}

/// Values that may fit where something was wrong, likeliest first. The last "wrong" message may name the variants.
fn stand_ins(message: &str) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::new();
    if let Some(expected) = expected(message) {
        values.extend(expected.split('`').skip(1).step_by(2).take(1).map(Value::from));
    }
    values.extend([
        Value::from(0),
        Value::from(""),
        Value::from("00000000-0000-0000-0000-000000000000"),
        Value::from(false),
        Value::from("H00000000000"),
        Value::from("0"),
        Value::Array(Vec::new()),
        Value::Object(serde_json::Map::new()),
        Value::Null,
    ]);
    values
}

fn quoted(message: &str, opening: &str) -> Option<String> {
    let rest = message.strip_prefix(opening)?;
    let end = rest.find("`, expected").or_else(|| rest.rfind('`'))?;
    Some(rest[..end].to_owned())
}

/// What our own types say they expect. It is always the end of the message, behind whatever the caller sent.
fn expected(message: &str) -> Option<&str> {
    let known = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant "];
    if !known.iter().any(|opening| message.starts_with(opening)) {
        return None;
    }
    message.rsplit_once(", expected ").map(|(_, expected)| expected)
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use schema::bill::BillDraft;
    use schema::mobile::{BindAsk, OrderAsk, PayAsk};

    use super::*;

    fn places<T: DeserializeOwned>(body: &str) -> Vec<String> {
        match read::<T>(body.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(refusal) => refusal.faults.into_iter().map(|fault| format!("{} {}", fault.at, fault.en)).collect(),
        }
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        for (body, wanted) in [
            (r#"{"bill_id":"01890000-0000-7000-8000-000000000000","mode":"insured","use_account":true}"#, vec![]),
            ("{}", vec!["bill_id is required", "mode is required", "use_account is required"]),
            ("", vec!["bill_id is required", "mode is required", "use_account is required"]),
            (
                r#"{"bill_id":"13800001234","mode":"gold","use_account":"yes","extra":1}"#,
                vec![
                    "bill_id is not well formed",
                    "extra is not a known field",
                    "mode must be `insured` or `cash_only`",
                    "use_account must be a boolean",
                ],
            ),
            (
                r#"{"bill_id":5,"mode":{},"mode":"insured","use_account":null}"#,
                vec!["bill_id must be a formatted UUID string", "use_account must be a boolean"],
            ),
            (r#"[1]"#, vec![". must be an object"]),
            (r#"{"bill_id":"#, vec!["line 1 column 11 is not valid JSON"]),
            (r#"{} {}"#, vec!["bill_id is required", "mode is required", "use_account is required"]),
        ] {
            let mut found = places::<OrderAsk>(body);
            let mut wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
            found.sort();
            wanted.sort();
            assert_eq!(found, wanted, "{body}");
        }
        assert_eq!(places::<PayAsk>(r#"{"phone":1,"code":2}"#), ["code must be a string", "phone must be a string"]);
        let twice = r#"{"psn_name":"王","psn_name":"李","psn_cert_type":"01","certno":"1"}"#;
        assert_eq!(places::<BindAsk>(twice), ["psn_name appears twice"]);
        assert_eq!(places::<PayAsk>("{} {}"), ["line 1 column 4 is not valid JSON"]);
    }

    #[test]
    fn nothing_the_caller_wrote_is_repeated() {
        let secret = "441900199001011234";
        for body in [
            format!(r#"{{"psn_name":{secret},"psn_cert_type":[{secret}],"certno":{{"{secret}":"{secret}"}}}}"#),
            format!(r#"{{"{secret}":"x, expected {secret}","certno":true}}"#),
            format!(r#"{{"certno":"{secret}"#),
            format!(r#""{secret}""#),
        ] {
            let refusal = read::<BindAsk>(body.as_bytes()).expect_err("wrong");
            let shown = format!("{refusal} {:?}", refusal.problem(None));
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn a_nested_list_is_mended_item_by_item() {
        let body = r#"{"lines":[{"cnt":true},{"nonsense":1}]}"#;
        let found = places::<BillDraft>(body);
        for wanted in ["lines[0].cnt", "lines[1].nonsense", "bill_no"] {
            assert!(found.iter().any(|fault| fault.starts_with(wanted)), "{wanted} in {found:?}");
        }
        assert!(found.len() <= FAULTS_MAX);
    }
}
