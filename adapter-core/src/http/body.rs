//! Reading request bodies: bounded, refused with places and never with values, and for everything that is wrong at
//! once: serde stops at the first fault, so a faulty body is mended there and read again, until it reads or cannot be
//! mended. What was mended is only used to look for further faults.

use std::collections::BTreeMap;

use actix_web::web::{self, BytesMut};
use futures_util::StreamExt as _;
use schema::refusal::{Code, Fault, Refusal};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serde_path_to_error::{Path, Segment};

use crate::core::Core;

/// A body that is listed in more places than this is not worth listing further.
const MOST_MENDINGS: usize = 64;

/// A body that does not read.
pub(crate) struct Misshapen<T> {
    /// What is wrong with its shape.
    pub(crate) faults: Vec<Fault>,
    /// What it would read as after mending, to be looked at for faults of content.
    pub(crate) mended: Option<T>,
}

impl<T> From<Misshapen<T>> for Refusal {
    fn from(misshapen: Misshapen<T>) -> Refusal {
        Refusal::faulty(Code::Malformed, misshapen.faults)
    }
}

/// Collects a body, up to the most that is set.
pub(crate) async fn bytes(core: &Core, mut payload: web::Payload) -> Result<BytesMut, Refusal> {
    let most = core.settings.http.body_most_bytes;
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| Refusal::new(Code::Malformed, error.to_string()))?;
        if bytes.len() + chunk.len() > most {
            return Err(Refusal::new(Code::TooLarge, format!("more than {most} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads a JSON body.
pub(crate) async fn read<T: DeserializeOwned>(core: &Core, payload: web::Payload) -> Result<T, Refusal> {
    Ok(parse(&bytes(core, payload).await?)?)
}

/// Reads JSON text.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Misshapen<T>> {
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(value),
        Err(first) => Err(everything_wrong(bytes, &first)),
    }
}

fn everything_wrong<T: DeserializeOwned>(bytes: &[u8], first: &serde_json::Error) -> Misshapen<T> {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else {
        let at = format!("line {} column {}", first.line(), first.column());
        return Misshapen { faults: vec![Fault::new(at, "不是有效的JSON", "is not valid JSON")], mended: None };
    };
    let mut faults: Vec<Fault> = Vec::new();
    let mut tries: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..MOST_MENDINGS {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(mended) => {
                if faults.is_empty() {
                    // Only the text itself was wrong, not what it says: a field that stands there twice.
                    faults.push(Fault::new("body", "有重复字段", "has a field twice"));
                }
                return Misshapen { faults, mended: Some(mended) };
            }
            Err(error) => error,
        };
        let wrong = Wrong::of(&error.inner().to_string());
        let mut steps = steps(error.path());
        if let Wrong::Missing(name) | Wrong::Unknown(name) = &wrong
            && steps.last() != Some(&Step::Key(name.clone()))
        {
            steps.push(Step::Key(name.clone()));
        }
        let at = spell(&steps);
        let within_mended = tries.keys().any(|mended| is_within(&at, mended));
        if !within_mended {
            let (zh, en) = wrong.sentences();
            faults.push(Fault::new(at.clone(), zh, en));
        }
        let tried = tries.entry(at).or_insert(0);
        let done = mend(&mut value, &steps, &wrong, *tried);
        *tried += 1;
        if !done {
            break;
        }
    }
    Misshapen { faults, mended: None }
}

/// What serde complains of. Its words quote values, so they go no further than here.
enum Wrong {
    Missing(String),
    Unknown(String),
    Variant(Option<String>),
    Type,
    Form,
}

impl Wrong {
    fn of(words: &str) -> Wrong {
        let quoted = |words: &str| words.split('`').nth(1).map(|name| name.chars().take(60).collect::<String>());
        if words.starts_with("missing field") {
            quoted(words).map_or(Wrong::Form, Wrong::Missing)
        } else if words.starts_with("unknown field") {
            quoted(words).map_or(Wrong::Form, Wrong::Unknown)
        } else if words.starts_with("unknown variant") {
            Wrong::Variant(words.split_once("expected").and_then(|(_, expected)| quoted(expected)))
        } else if words.starts_with("invalid type") {
            Wrong::Type
        } else {
            Wrong::Form
        }
    }

    const fn sentences(&self) -> (&'static str, &'static str) {
        match self {
            Wrong::Missing(_) => ("缺少必填字段", "is missing"),
            Wrong::Unknown(_) => ("不是已知字段", "is not a known field"),
            Wrong::Variant(_) => ("不在允许的取值之内", "is not one of the allowed values"),
            Wrong::Type => ("类型有误", "has the wrong type"),
            Wrong::Form => ("格式有误", "has the wrong form"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

fn steps(path: &Path) -> Vec<Step> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

fn spell(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    if text.is_empty() { "body".to_owned() } else { text }
}

/// Whether a place is another one or lies inside it.
fn is_within(at: &str, other: &str) -> bool {
    at.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Puts something there that may read, a different thing at each try; false when there is nothing left to try.
fn mend(value: &mut Value, steps: &[Step], wrong: &Wrong, tried: usize) -> bool {
    let Some((last, parents)) = steps.split_last() else { return false };
    let parent = parents.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    });
    let Some(parent) = parent else { return false };
    if let (Wrong::Unknown(name), Some(fields)) = (wrong, parent.as_object_mut()) {
        return fields.remove(name).is_some();
    }
    let stand_ins = [json!("1"), json!(1), json!([]), json!({}), json!(false)];
    let stand_in = match wrong {
        Wrong::Variant(Some(allowed)) => json!(allowed),
        _ => match stand_ins.get(tried) {
            Some(stand_in) => stand_in.clone(),
            None => return false,
        },
    };
    match (last, parent) {
        (Step::Key(key), Value::Object(fields)) => {
            fields.insert(key.clone(), stand_in);
            true
        }
        (Step::Index(index), Value::Array(rows)) if *index < rows.len() => {
            rows[*index] = stand_in;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::bill::BillDraft;
    use schema::his::WorkAnswer;

    fn misshapen<T: DeserializeOwned>(text: &str) -> Misshapen<T> {
        match parse(text.as_bytes()) {
            Ok(_) => unreachable!("a faulty body was due"),
            Err(misshapen) => misshapen,
        }
    }

    fn places<T: DeserializeOwned>(text: &str) -> Vec<String> {
        misshapen::<T>(text).faults.into_iter().map(|fault| fault.at).collect()
    }

    #[test]
    fn every_misshapen_place_is_named_once() {
        let text = r#"{ "bill_no": 7, "kind": "haircut", "amount_fen": "3000", "surprise": 1,
            "visit": { "ipt_otp_no": "M1", "med_type": "11", "dept_code": "D1", "dept_name": "内科", "atddr_no": "A1" },
            "diagnoses": {}, "lines": [
                { "feedetl_sn": "1", "medins_list_codg": "Y", "name": "x", "pric": "a lot", "cnt": 1.5, "amount_fen": 1 },
                "none" ],
            "issued_at_us": 1.5, "expires_at_us": 2 }"#;
        let mut places = places::<BillDraft>(text);
        places.sort();
        assert_eq!(
            places,
            [
                "amount_fen",
                "bill_no",
                "diagnoses",
                "issued_at_us",
                "kind",
                "lines[0].cnt",
                "lines[0].pric",
                "lines[1]",
                "patient",
                "surprise",
                "visit.dr_name"
            ]
        );
    }

    #[test]
    fn no_fault_quotes_what_was_sent() {
        let text = r#"{ "bill_no": { "王小明": "441900199001011234" }, "kind": "441900199001011234" }"#;
        let misshapen = misshapen::<BillDraft>(text);
        let shown = format!("{:?}", misshapen.faults);
        assert!(!shown.contains("441900199001011234") && !shown.contains("王小明"), "{shown}");
    }

    #[test]
    fn what_is_no_json_is_named_by_line_and_column() {
        assert_eq!(places::<BillDraft>("{\n \"bill_no\": }"), ["line 2 column 13"]);
        assert_eq!(places::<BillDraft>(""), ["line 1 column 0"]);
        assert_eq!(places::<BillDraft>("7"), ["body"]);
    }

    #[test]
    fn an_answer_of_an_unknown_kind_is_refused_and_not_tried_for_ever() {
        assert_eq!(places::<WorkAnswer>(r#"{ "reply": { "reply": "maybe" } }"#), ["reply.reply"]);
    }
}
