//! Data about people. None of these types can be formatted or serialised by accident: `Debug` masks, `Display` and
//! `Serialize` do not exist, and a wire structure that must carry the real value says so field by field:
//!
//! ```
//! # use schema::personal::{wire, Phone};
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Login {
//!     #[serde(with = "wire")]
//!     phone: Phone,
//! }
//! ```

use std::fmt;

/// Something that names or describes a person.
pub trait Personal: Sized {
    /// Takes ownership of the real value.
    fn new(value: impl Into<String>) -> Self;
    /// The real value. Every call of this is a place to look at when asking who can see what.
    fn expose(&self) -> &str;
    /// What may be shown: enough for its owner to recognise it.
    fn masked(&self) -> String;
}

fn keep_ends(text: &str, head: usize, tail: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= head + tail {
        return "*".repeat(chars.len());
    }
    let hidden = "*".repeat(chars.len() - head - tail);
    let first: String = chars[..head].iter().collect();
    let last: String = chars[chars.len() - tail..].iter().collect();
    format!("{first}{hidden}{last}")
}

macro_rules! personal {
    ($($(#[$doc:meta])* $name:ident masks $mask:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl Personal for $name {
            fn new(value: impl Into<String>) -> Self {
                $name(value.into())
            }
            fn expose(&self) -> &str {
                &self.0
            }
            fn masked(&self) -> String {
                let mask: fn(&str) -> String = $mask;
                mask(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.masked())
            }
        }
    )*};
}

personal! {
    /// A person's name (`psn_name`).
    PersonName masks |text| keep_ends(text, 1, 0);
    /// The number of an identity document (`certno`).
    CertNo masks |text| keep_ends(text, 3, 2);
    /// The number of a social-insurance card or a hospital visit card.
    CardNo masks |text| keep_ends(text, 0, 4);
    /// A mobile phone number.
    Phone masks |text| keep_ends(text, 3, 4);
    /// The bureau's number of an insured person (`psn_no`).
    PsnNo masks |text| keep_ends(text, 0, 3);
    /// What a person shows for treatment or payment (`mdtrt_cert_no`): a card number, identity number or ecToken.
    MdtrtCertNo masks |text| keep_ends(text, 0, 3);
    /// The wallet's name for a payer (`openid`).
    Openid masks |text| keep_ends(text, 0, 3);
    /// Whom an insured person works for (`emp_name`).
    EmployerName masks |text| keep_ends(text, 1, 0);
    /// A diagnosis in words or by code.
    Diagnosis masks |_| "***".to_owned();
    /// A card's payment password, already sealed for the bureau (Base64); nobody here can open it.
    SealedPassword masks |_| "***".to_owned();
    /// Six digits that authorise something once. Shown to nobody but the phone.
    OneTimeCode masks |_| "******".to_owned();
    /// The bearer token of a logged-in channel user.
    BearerToken masks |_| "***".to_owned();
}

/// `#[serde(with = "personal::wire")]`: this field carries the real value to a party entitled to it.
pub mod wire {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Personal;

    /// Writes the real value.
    pub fn serialize<T: Personal, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.expose())
    }

    /// Reads the real value.
    pub fn deserialize<'de, T: Personal, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        String::deserialize(deserializer).map(T::new)
    }
}

/// The same for optional fields; use together with `#[serde(default)]`.
pub mod wire_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Personal;

    /// Writes the real value, or null.
    pub fn serialize<T: Personal, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(T::expose).serialize(serializer)
    }

    /// Reads the real value, or null.
    pub fn deserialize<'de, T: Personal, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(T::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_personal_can_be_formatted_unmasked() {
        let shown = format!(
            "{:?} {:?} {:?} {:?}",
            PersonName::new("王小明"),
            CertNo::new("441900199001011234"),
            Phone::new("13800001234"),
            CardNo::new("A12345678")
        );
        assert_eq!(shown, "王** 441*************34 138****1234 *****5678");
    }

    #[test]
    fn a_short_value_is_hidden_whole() {
        assert_eq!(Phone::new("110").masked(), "***");
    }
}
