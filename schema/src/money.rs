//! Money and the finer numbers of the wire. Integers only; yuan exist in parties' mappings and before people's eyes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount of money in fen (1/100 yuan). Owned by nobody: a plain number with checked arithmetic.
///
/// Serialised as a JSON integer. Arithmetic that would overflow is an error, never a wrap: see [`Overflow`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fen(i64);

/// A sum left the range of a 64-bit number of fen. Real money cannot do this: the input is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount is beyond the range of money")]
pub struct Overflow;

impl Fen {
    /// Nothing.
    pub const ZERO: Fen = Fen(0);

    /// An amount of `fen` fen.
    pub const fn new(fen: i64) -> Fen {
        Fen(fen)
    }

    /// The number of fen.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// `self + other`; refuses overflow.
    pub fn plus(self, other: Fen) -> Result<Fen, Overflow> {
        self.0.checked_add(other.0).map(Fen).ok_or(Overflow)
    }

    /// `self - other`; may be negative; refuses overflow.
    pub fn minus(self, other: Fen) -> Result<Fen, Overflow> {
        self.0.checked_sub(other.0).map(Fen).ok_or(Overflow)
    }

    /// The same amount in the other direction.
    pub const fn negated(self) -> Fen {
        Fen(self.0.saturating_neg())
    }

    /// The exact sum of many amounts; refuses overflow.
    pub fn sum<I: IntoIterator<Item = Fen>>(amounts: I) -> Result<Fen, Overflow> {
        amounts.into_iter().try_fold(Fen::ZERO, Fen::plus)
    }

    /// True below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// True at exactly zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Reads yuan as the bureau and Alipay write them (`"12"`, `"12.3"`, `"12.34"`, `"-0.05"`, `"12.3400"`).
    /// Refuses anything finer than a fen rather than round somebody's money.
    pub fn from_yuan(text: &str) -> Result<Fen, NotANumber> {
        Ok(Fen(parse_fixed(text, 2)?))
    }

    /// Yuan with exactly two decimals, without a currency sign: `1234` fen is `"12.34"`.
    pub fn to_yuan(self) -> String {
        print_fixed(self.0, 2, 2)
    }
}

impl fmt::Display for Fen {
    /// For people's eyes: `¥12.34`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "¥{}", self.to_yuan())
    }
}

impl fmt::Debug for Fen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fen", self.0)
    }
}

/// The text is not a decimal number, has more decimals than the field allows, or is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number with at most {decimals} decimals")]
pub struct NotANumber {
    /// How many decimals the field allows.
    pub decimals: u32,
}

fn parse_fixed(text: &str, decimals: u32) -> Result<i64, NotANumber> {
    let bad = || NotANumber { decimals };
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || (digits.contains('.') && fraction.is_empty())
    {
        return Err(bad());
    }
    let kept = fraction.trim_end_matches('0');
    if kept.len() > decimals as usize {
        return Err(bad());
    }
    let mut value: i64 = whole.parse().map_err(|_| bad())?;
    for place in 0..decimals as usize {
        let digit = kept.as_bytes().get(place).map_or(0, |b| i64::from(b - b'0'));
        value = value.checked_mul(10).and_then(|v| v.checked_add(digit)).ok_or_else(bad)?;
    }
    Ok(if negative { -value } else { value })
}

fn print_fixed(value: i64, decimals: u32, at_least: usize) -> String {
    let scale = 10_u64.pow(decimals);
    let magnitude = value.unsigned_abs();
    let mut fraction = format!("{:0width$}", magnitude % scale, width = decimals as usize);
    while fraction.len() > at_least && fraction.ends_with('0') {
        fraction.pop();
    }
    let sign = if value < 0 { "-" } else { "" };
    let whole = magnitude / scale;
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Fixed-point numbers finer than money. Serialised as JSON strings so that no reader passes them through a float;
/// JSON numbers are accepted on the way in when their text is exact.
macro_rules! fixed_point {
    ($(#[$doc:meta])* $name:ident, $decimals:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(i64);

        impl $name {
            /// Decimals this number carries.
            pub const DECIMALS: u32 = $decimals;
            /// Zero.
            pub const ZERO: $name = $name(0);

            /// From the number of smallest units (10^-DECIMALS).
            pub const fn from_units(units: i64) -> $name {
                $name(units)
            }

            /// The number of smallest units (10^-DECIMALS).
            pub const fn units(self) -> i64 {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = NotANumber;
            fn from_str(text: &str) -> Result<$name, NotANumber> {
                Ok($name(parse_fixed(text, $decimals)?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&print_fixed(self.0, $decimals, 0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "a decimal number as a string, with at most {} decimals", $decimals)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: de::Error>(self, whole: u64) -> Result<$name, E> {
                        whole.to_string().parse().map_err(E::custom)
                    }
                    fn visit_i64<E: de::Error>(self, whole: i64) -> Result<$name, E> {
                        whole.to_string().parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }
    };
}

fixed_point!(
    /// A unit price in yuan with six decimals (N16,6: `pric`, `pric_uplmt_amt`).
    Price6, 6
);
fixed_point!(
    /// A quantity with four decimals (N16,4: `cnt`).
    Qty4, 4
);
fixed_point!(
    /// A ratio with four decimals (N5,4: `selfpay_prop`, `pool_prop_selfpay`); `1` is the whole.
    Ratio4, 4
);

impl Price6 {
    /// `price × count` in fen, rounded half up, as bureaus and HIS do (N16,6 × N16,4 → N16,2).
    pub fn times(self, count: Qty4) -> Result<Fen, Overflow> {
        // 10^-6 yuan × 10^-4 = 10^-10 yuan; a fen is 10^-2 yuan, so divide by 10^8.
        round_half_up(i128::from(self.0) * i128::from(count.0), 100_000_000)
    }
}

impl Ratio4 {
    /// The whole: 1.
    pub const ONE: Ratio4 = Ratio4(10_000);

    /// This share of an amount, rounded half up to the fen.
    pub fn of(self, amount: Fen) -> Result<Fen, Overflow> {
        round_half_up(i128::from(self.0) * i128::from(amount.get()), 10_000)
    }
}

fn round_half_up(value: i128, divisor: i128) -> Result<Fen, Overflow> {
    let half = divisor / 2;
    let rounded = if value < 0 { -((-value + half) / divisor) } else { (value + half) / divisor };
    i64::try_from(rounded).map(Fen).map_err(|_| Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yuan_are_read_exactly_or_refused() {
        for (text, fen) in
            [("12", 1200), ("12.3", 1230), ("12.34", 1234), ("0.05", 5), ("-0.05", -5), ("12.3400", 1234)]
        {
            assert_eq!(Fen::from_yuan(text), Ok(Fen::new(fen)), "{text}");
        }
        for text in ["", ".", "1.", ".5", "1.234", "1,000", "１", "1e3", "99999999999999999999"] {
            assert!(Fen::from_yuan(text).is_err(), "{text} must be refused");
        }
    }

    #[test]
    fn yuan_are_printed_with_two_decimals() {
        for (fen, text) in [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (123_456, "1234.56")] {
            assert_eq!(Fen::new(fen).to_yuan(), text);
        }
    }

    #[test]
    fn a_share_is_rounded_half_up_as_in_example_h5() {
        // 49.99 × 50 % = 24.995 → 25.00; half-even would agree, 0.05 × 50 % would not.
        let half: Ratio4 = "0.5".parse().expect("a ratio");
        assert_eq!(half.of(Fen::new(4999)), Ok(Fen::new(2500)));
        assert_eq!(half.of(Fen::new(5)), Ok(Fen::new(3)));
    }

    #[test]
    fn a_line_amount_is_price_times_count() {
        let price: Price6 = "3.333333".parse().expect("a price");
        let count: Qty4 = "3".parse().expect("a count");
        assert_eq!(price.times(count), Ok(Fen::new(1000)));
    }

    #[test]
    fn overflow_is_an_error_and_never_a_wrap() {
        assert_eq!(Fen::new(i64::MAX).plus(Fen::new(1)), Err(Overflow));
        assert_eq!(Fen::sum([Fen::new(i64::MAX), Fen::new(1)]), Err(Overflow));
    }
}
