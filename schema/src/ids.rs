//! One id type per kind of thing: a bill id cannot slip into a function that wants a refund id.
//!
//! All are UUIDv7 made where the thing is born (never by a database), printed in the usual hyphenated form, and stored
//! as 16 bytes. None says anything about a person.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a uuid made by the clock.
            pub const fn from_uuid(uuid: Uuid) -> $name {
                $name(uuid)
            }

            /// The uuid inside.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The 16 bytes that are stored.
            pub fn to_vec(self) -> Vec<u8> {
                self.0.as_bytes().to_vec()
            }

            /// Reads the 16 stored bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<$name, uuid::Error> {
                Uuid::from_slice(bytes).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<$name, uuid::Error> {
                Uuid::parse_str(text).map($name)
            }
        }
    )*};
}

id! {
    /// A 统筹区: one pooling area.
    TenantId;
    /// A way in: a mobile app, mini-program or service account.
    ChannelId;
    /// One login of one channel (a phone number); may hold bindings to several insured persons.
    ChannelUserId;
    /// The tie of a channel user to an insured person.
    BindingId;
    /// A 待缴费单 as the platform holds it.
    BillId;
    /// One attempt to pay one bill.
    OrderId;
    /// Money going back.
    RefundId;
    /// Something that was decided about an order; the key that makes a repeated event harmless.
    EventId;
    /// A call to the outside that is a row before it is a call.
    ActionId;
    /// One message on a link; answered by the same id.
    MessageId;
    /// One running platform process.
    ProcessId;
}

/// The 12-character national code of a 定点医药机构 (`fixmedins_code`): one letter and eleven digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstitutionCode(String);

/// The text is not one letter followed by eleven digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an institution code is one letter (H or P) and eleven digits / 机构编码应为1位字母加11位数字")]
pub struct NotAnInstitutionCode;

impl InstitutionCode {
    /// The twelve characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InstitutionCode {
    type Error = NotAnInstitutionCode;
    fn try_from(text: String) -> Result<InstitutionCode, NotAnInstitutionCode> {
        let bytes = text.as_bytes();
        let shaped = bytes.len() == 12 && bytes[0].is_ascii_uppercase() && bytes[1..].iter().all(u8::is_ascii_digit);
        if shaped { Ok(InstitutionCode(text)) } else { Err(NotAnInstitutionCode) }
    }
}

impl FromStr for InstitutionCode {
    type Err = NotAnInstitutionCode;
    fn from_str(text: &str) -> Result<InstitutionCode, NotAnInstitutionCode> {
        InstitutionCode::try_from(text.to_owned())
    }
}

impl From<InstitutionCode> for String {
    fn from(code: InstitutionCode) -> String {
        code.0
    }
}

impl fmt::Display for InstitutionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
