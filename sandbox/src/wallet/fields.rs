//! Reading a JSON body field by field, collecting everything that is wrong instead of stopping at the first.

use chrono::{DateTime, FixedOffset};
use schema::money::Fen;
use serde_json::Value;

use super::refusal::{FieldFault, Refusal};

/// The largest amount of one order, in fen (100 million yuan): beyond it the input is wrong.
pub const LARGEST_FEN: i64 = 10_000_000_000;

/// What a text field may hold.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// Fewest characters.
    pub min: usize,
    /// Most characters.
    pub max: usize,
    /// Which characters; `None` is any but control characters.
    pub allowed: Option<fn(char) -> bool>,
}

impl Text {
    /// Any text of up to `max` characters, not empty.
    pub const fn up_to(max: usize) -> Text {
        Text { min: 1, max, allowed: None }
    }

    /// What is wrong with `text`, if anything.
    pub fn fault(&self, text: &str) -> Option<String> {
        let length = text.chars().count();
        let allowed = |c: char| self.allowed.map_or(!c.is_control(), |allowed| allowed(c));
        if length < self.min || length > self.max {
            Some(format!("has {length} characters, {} to {} allowed", self.min, self.max))
        } else {
            let foreign = text.chars().find(|c| !allowed(*c))?;
            Some(format!("contains {foreign:?}, which is not allowed"))
        }
    }
}

/// A merchant's own number: 6–32 (orders) or 1–64 (refunds) of `0-9 A-Z a-z _ - | * @`.
pub fn is_number_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-|*@".contains(c)
}

/// Reads fields by JSON pointer; ends in [`Fields::finish`].
#[derive(Debug)]
pub struct Fields {
    root: Value,
    faults: Vec<FieldFault>,
}

impl Fields {
    /// Parses the body; one that is no JSON object is refused at once.
    pub fn read(body: &[u8]) -> Result<Fields, Refusal> {
        let whole = |issue: String| {
            Refusal::malformed(vec![FieldFault { field: "/".to_owned(), issue, location: "body".to_owned() }])
        };
        match serde_json::from_slice(body) {
            Ok(root @ Value::Object(_)) => Ok(Fields { root, faults: Vec::new() }),
            Ok(_) => Err(whole("is not a JSON object".to_owned())),
            Err(fault) => Err(whole(format!("is not JSON: {fault}"))),
        }
    }

    /// Notes a fault found by the caller.
    pub fn fault(&mut self, field: &str, issue: &str) {
        self.faults.push(FieldFault { field: field.to_owned(), issue: issue.to_owned(), location: "body".to_owned() });
    }

    /// An optional text; null counts as absent.
    pub fn maybe_text(&mut self, pointer: &str, rule: Text) -> Option<String> {
        let found = match self.root.pointer(pointer) {
            None | Some(Value::Null) => return None,
            Some(Value::String(text)) => rule.fault(text).map_or_else(|| Ok(text.clone()), Err),
            Some(_) => Err("is not a string".to_owned()),
        };
        found.map_err(|issue| self.fault(pointer, &issue)).ok()
    }

    /// A required text; empty when at fault (the fault is noted, [`Fields::finish`] refuses).
    pub fn text(&mut self, pointer: &str, rule: Text) -> String {
        let faults_before = self.faults.len();
        let found = self.maybe_text(pointer, rule);
        if found.is_none() && self.faults.len() == faults_before {
            self.fault(pointer, "is missing");
        }
        found.unwrap_or_default()
    }

    /// A required positive whole number of fen.
    pub fn fen(&mut self, pointer: &str) -> Fen {
        let issue = match self.root.pointer(pointer) {
            None | Some(Value::Null) => "is missing",
            Some(value) => match value.as_i64() {
                Some(fen) if (1..=LARGEST_FEN).contains(&fen) => return Fen::new(fen),
                Some(_) => "is not between 1 fen and 100 million yuan",
                None => "is not a whole number of fen",
            },
        };
        self.fault(pointer, issue);
        Fen::ZERO
    }

    /// An optional RFC 3339 time.
    pub fn maybe_time(&mut self, pointer: &str) -> Option<DateTime<FixedOffset>> {
        let text = self.maybe_text(pointer, Text::up_to(64))?;
        let time = DateTime::parse_from_rfc3339(&text);
        time.map_err(|_| self.fault(pointer, "is not an RFC 3339 time")).ok()
    }

    /// The currency: `CNY`, also when absent.
    pub fn currency(&mut self, pointer: &str) -> String {
        let currency = self.maybe_text(pointer, Text::up_to(16)).unwrap_or_else(|| "CNY".to_owned());
        if currency != "CNY" {
            self.fault(pointer, "is not CNY");
        }
        currency
    }

    /// An address WeChat Pay would call: absolute http or https, without a query.
    pub fn maybe_notify_url(&mut self, pointer: &str) -> Option<String> {
        let url = self.maybe_text(pointer, Text::up_to(256))?;
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let sound = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', ' ']))
            && reqwest::Url::parse(&url).is_ok();
        if !sound {
            self.fault(pointer, "is not an absolute http(s) address without a query");
        }
        Some(url)
    }

    /// Refuses if anything was at fault.
    pub fn finish(self) -> Result<(), Refusal> {
        if self.faults.is_empty() { Ok(()) } else { Err(Refusal::malformed(self.faults)) }
    }
}
