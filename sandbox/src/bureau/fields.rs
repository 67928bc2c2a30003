//! Reads the fields of one input node and collects everything that is wrong with them.

use chrono::NaiveDateTime;
use schema::money::{Fen, Price6, Qty4};
use serde_json::{Map, Value};

/// `yyyy-MM-dd HH:mm:ss`, the interface's DT19.
pub(super) const DT19: &str = "%Y-%m-%d %H:%M:%S";

/// One node of an input. Missing required fields and unreadable values become sentences in [`Fields::finish`].
pub(super) struct Fields<'a> {
    node: String,
    object: Option<&'a Map<String, Value>>,
    faults: Vec<String>,
}

impl<'a> Fields<'a> {
    /// The object `input[node]`.
    pub(super) fn of(input: &'a Value, node: &str) -> Fields<'a> {
        Fields::from_value(input.get(node), format!("input.{node}"))
    }

    /// An object found elsewhere; `name` is how messages call it.
    pub(super) fn from_value(value: Option<&'a Value>, name: String) -> Fields<'a> {
        let object = value.and_then(Value::as_object);
        let faults = if object.is_none() {
            vec![format!("{name} 缺失或不是对象 is missing or no object")]
        } else {
            Vec::new()
        };
        Fields { node: name, object, faults }
    }

    /// The faults found; empty when all is well.
    pub(super) fn finish(self) -> Vec<String> {
        self.faults
    }

    fn fault(&mut self, name: &str, what: &str) {
        // A missing node is one fault, not one for each of its fields.
        if self.object.is_some() {
            self.faults.push(format!("{}.{name} {what}", self.node));
        }
    }

    fn raw(&self, name: &str) -> Option<String> {
        // Both "12.30" and 12.30 are seen for numbers, both "0" and 0 for codes.
        let text = match self.object?.get(name)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Null => return None,
            other => other.to_string(),
        };
        (!text.is_empty()).then_some(text)
    }

    /// A text that may be absent or blank.
    pub(super) fn optional(&mut self, name: &str, max_chars: usize) -> Option<String> {
        let text = self.raw(name)?;
        if text.chars().count() > max_chars {
            self.fault(name, &format!("超过{max_chars}个字符 is longer than {max_chars} characters"));
        }
        Some(text)
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, name: &str, max_chars: usize) -> String {
        match self.optional(name, max_chars) {
            Some(text) => text,
            None => {
                self.fault(name, "必填 is required");
                String::new()
            }
        }
    }

    /// A code out of a value set.
    pub(super) fn one_of(&mut self, name: &str, values: &[&str]) -> String {
        let text = self.text(name, 20);
        if !text.is_empty() && !values.contains(&text.as_str()) {
            self.fault(name, &format!("取值不在值域 must be one of {}", values.join(" ")));
        }
        text
    }

    /// An amount in yuan (N16,2), never negative.
    pub(super) fn yuan(&mut self, name: &str) -> Fen {
        let text = self.text(name, 20);
        match Fen::from_yuan(&text) {
            Ok(fen) if !fen.is_negative() => fen,
            _ if text.is_empty() => Fen::ZERO,
            _ => {
                self.fault(name, "不是非负金额(两位小数) must be yuan with at most 2 decimals, not negative");
                Fen::ZERO
            }
        }
    }

    /// A unit price (N16,6), never negative.
    pub(super) fn price(&mut self, name: &str) -> Price6 {
        let text = self.text(name, 24);
        match text.parse::<Price6>() {
            Ok(price) if price.units() >= 0 => price,
            _ if text.is_empty() => Price6::ZERO,
            _ => {
                self.fault(name, "不是非负单价(六位小数) must be a price with at most 6 decimals, not negative");
                Price6::ZERO
            }
        }
    }

    /// A quantity (N16,4), above zero.
    pub(super) fn count(&mut self, name: &str) -> Qty4 {
        let text = self.text(name, 24);
        match text.parse::<Qty4>() {
            Ok(count) if count.units() > 0 => count,
            _ if text.is_empty() => Qty4::ZERO,
            _ => {
                self.fault(name, "不是正数量(四位小数) must be a quantity above zero with at most 4 decimals");
                Qty4::ZERO
            }
        }
    }

    /// A required moment, `yyyy-MM-dd HH:mm:ss` (a bare date is accepted where the day is all that matters).
    pub(super) fn time(&mut self, name: &str) -> String {
        let text = self.text(name, 19);
        let date_only = chrono::NaiveDate::parse_from_str(&text, "%Y-%m-%d").is_ok();
        if !text.is_empty() && !date_only && NaiveDateTime::parse_from_str(&text, DT19).is_err() {
            self.fault(name, "时间格式应为 must be yyyy-MM-dd HH:mm:ss");
        }
        text
    }
}

/// The elements of the array `input[node]`, each to be read as [`Fields`]; a fault when it is missing or empty.
pub(super) fn elements<'a>(input: &'a Value, node: &str, faults: &mut Vec<String>) -> Vec<Fields<'a>> {
    let array = input.get(node).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if array.is_empty() {
        faults.push(format!("input.{node} 缺失或为空数组 is missing or an empty array"));
    }
    array.iter().enumerate().map(|(n, value)| Fields::from_value(Some(value), format!("input.{node}[{n}]"))).collect()
}
