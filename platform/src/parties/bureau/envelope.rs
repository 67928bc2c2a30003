//! The national envelope (MAPPINGS.md, "The envelope"): what goes around every input, and reading answers without ever
//! passing an amount through a float.
//!
//! `serde_json` reads numbers into floats unless its `arbitrary_precision` is on, and that feature breaks tagged enums
//! for the whole workspace. So answers are read as raw text, node by node, and a number keeps the text it came with.

use std::collections::BTreeMap;

use ring::digest;
use schema::money::Fen;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A request's envelope; the names are the interface's.
#[derive(Serialize)]
pub(super) struct Envelope<'a, I> {
    pub(super) infno: &'a str,
    pub(super) msgid: &'a str,
    pub(super) mdtrtarea_admvs: &'a str,
    pub(super) insuplc_admdvs: &'a str,
    pub(super) recer_sys_code: &'a str,
    pub(super) dev_no: &'a str,
    pub(super) dev_safe_info: &'a str,
    pub(super) cainfo: &'a str,
    pub(super) signtype: &'a str,
    pub(super) infver: &'a str,
    pub(super) opter_type: &'a str,
    pub(super) opter: &'a str,
    pub(super) opter_name: &'a str,
    pub(super) inf_time: &'a str,
    pub(super) fixmedins_code: &'a str,
    pub(super) fixmedins_name: &'a str,
    pub(super) sign_no: &'a str,
    pub(super) input: &'a I,
}

/// The input node most messages use.
#[derive(Serialize)]
pub(super) struct Data<T> {
    pub(super) data: T,
}

/// An amount on its way out: a JSON number of yuan with two decimals, exact.
pub(super) struct Yuan(pub(super) Fen);

impl Serialize for Yuan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_yuan()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// The signature of the Guangdong gateway: lower-case hexadecimal SHA-256 of timestamp (unix seconds) + secret + nonce +
/// timestamp. It does not cover the body.
pub(super) fn gateway_signature(timestamp: &str, secret: &str, nonce: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, format!("{timestamp}{secret}{nonce}{timestamp}").as_bytes()))
}

/// One object of an answer, its values still as they were written.
#[derive(Debug, Default)]
pub(super) struct Node(BTreeMap<String, Box<RawValue>>);

/// A field holds no amount that can be read exactly. Names the field, not its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an amount in yuan with at most two decimals")]
pub(super) struct Unreadable(pub(super) String);

impl Node {
    /// Reads an object; `None` for anything else.
    pub(super) fn parse(json: &[u8]) -> Option<Node> {
        serde_json::from_slice(json).ok().map(Node)
    }

    /// Nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of its fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The value as it was written.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|raw| raw.get().trim())
    }

    /// A text, or the text of a number or truth value; `None` when absent, null or blank.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let raw = self.raw(name)?;
        let text = match raw.as_bytes().first()? {
            b'"' => serde_json::from_str::<String>(raw).ok()?,
            b'{' | b'[' => return None,
            _ if raw == "null" => return None,
            _ => raw.to_owned(),
        };
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The object inside; empty when absent or no object.
    pub(super) fn node(&self, name: &str) -> Node {
        self.raw(name).and_then(|raw| Node::parse(raw.as_bytes())).unwrap_or_default()
    }

    /// The objects of an array; one object counts as an array of one, as bureaus that found one row write it.
    pub(super) fn nodes(&self, name: &str) -> Vec<Node> {
        let Some(raw) = self.raw(name) else { return Vec::new() };
        if let Some(one) = Node::parse(raw.as_bytes()) {
            return if one.is_empty() { Vec::new() } else { vec![one] };
        }
        serde_json::from_str::<Vec<BTreeMap<String, Box<RawValue>>>>(raw)
            .map(|rows| rows.into_iter().map(Node).collect())
            .unwrap_or_default()
    }

    /// An amount: a JSON number or string of yuan. `None` when absent, null or blank.
    pub(super) fn yuan(&self, name: &str) -> Result<Option<Fen>, Unreadable> {
        let unreadable = || Unreadable(name.to_owned());
        match self.text(name) {
            Some(text) => plain(&text).and_then(|text| Fen::from_yuan(&text).ok()).map(Some).ok_or_else(unreadable),
            // An object or array where an amount belongs is not "absent".
            None if self.raw(name).is_some_and(|raw| raw.starts_with(['{', '['])) => Err(unreadable()),
            None => Ok(None),
        }
    }
}

/// Writes `1E+2` as `100` and `0E-8` as `0.00000000`: Java's `BigDecimal` prints round amounts so. Exact, without
/// arithmetic: the point is moved in the text.
fn plain(text: &str) -> Option<String> {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return Some(text.to_owned()) };
    let exponent: i32 = exponent.parse().ok().filter(|exponent: &i32| exponent.abs() <= 18)?;
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let mut all = format!("{whole}{fraction}");
    if point <= 0 {
        let zeros = usize::try_from(1 - point).ok()?;
        all.insert_str(0, &"0".repeat(zeros));
        all.insert(1, '.');
    } else {
        let point = usize::try_from(point).ok()?;
        while all.len() < point {
            all.push('0');
        }
        if point < all.len() {
            all.insert(point, '.');
        }
    }
    Some(format!("{sign}{all}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_exactly_however_it_is_written() {
        for (written, fen) in [
            ("0.1", Some(10)),
            ("1e2", Some(10_000)),
            ("1E+2", Some(10_000)),
            ("1.234E1", Some(1234)),
            ("5e-2", Some(5)),
            ("-5E-2", Some(-5)),
            ("0E-8", Some(0)),
            ("12.30", Some(1230)),
            (r#""12.3""#, Some(1230)),
            (r#"" 12.34 ""#, Some(1234)),
            ("5792.53", Some(579_253)),
            ("0.29", Some(29)),
            ("90071992547409.93", Some(9_007_199_254_740_993)),
            ("\"\"", None),
            ("null", None),
        ] {
            let node = Node::parse(format!(r#"{{"a":{written}}}"#).as_bytes()).expect("an object");
            assert_eq!(node.yuan("a"), Ok(fen.map(Fen::new)), "{written}");
        }
        assert_eq!(Node::default().yuan("a"), Ok(None));
    }

    #[test]
    fn what_is_no_amount_is_refused_and_never_rounded() {
        for written in ["0.001", "1e-3", "1e99", r#""1,000""#, r#""12.3元""#, "true", "[1]", "{}", "1e9999999999"] {
            let node = Node::parse(format!(r#"{{"a":{written}}}"#).as_bytes()).expect("an object");
            assert_eq!(node.yuan("a"), Err(Unreadable("a".to_owned())), "{written}");
        }
    }

    #[test]
    fn an_amount_goes_out_as_a_number_with_two_decimals() {
        #[derive(Serialize)]
        struct Fee {
            medfee_sumamt: Yuan,
        }
        let json = serde_json::to_string(&Fee { medfee_sumamt: Yuan(Fen::new(1230)) }).expect("serialises");
        assert_eq!(json, r#"{"medfee_sumamt":12.30}"#);
    }

    #[test]
    fn the_gateway_signature_is_the_hash_of_timestamp_secret_nonce_timestamp() {
        // printf '%s' '1700000000secretnonce1700000000' | sha256sum
        assert_eq!(
            gateway_signature("1700000000", "secret", "nonce"),
            "79b5fa2ac51a4476d25251a32c9766e6f5bb966021ef6df3778a72fb07039ee4"
        );
    }

    #[test]
    fn one_row_is_read_like_an_array_of_one() {
        let output = Node::parse(br#"{"one":{"a":1},"many":[{"a":1},{"a":2}],"none":{},"null":null}"#).expect("object");
        let count = |name: &str| output.nodes(name).len();
        assert_eq!((count("one"), count("many"), count("none"), count("null"), count("x")), (1, 2, 0, 0, 0));
    }
}
