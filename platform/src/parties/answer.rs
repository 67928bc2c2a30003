//! The three answers of an outsider.

use serde::{Deserialize, Serialize};

/// What a call to the outside came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub enum Answer<T> {
    /// It was done, and this is what they said.
    Done(T),
    /// They said no, and nothing was done.
    Refused(Refused),
    /// It may or may not have been done. The text says what happened on our side; ask before repeating.
    Unknown(String),
}

/// An outsider's no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Their code, verbatim.
    pub code: String,
    /// Their sentence, for people; free of personal data.
    pub words: String,
    /// They were busy: the same call can succeed later, and nothing was done.
    pub busy: bool,
}

impl<T> Answer<T> {
    /// Maps what they said.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Answer::Done(value) => Answer::Done(map(value)),
            Answer::Refused(refused) => Answer::Refused(refused),
            Answer::Unknown(why) => Answer::Unknown(why),
        }
    }

    /// The word under which calls are counted: `done`, `refused`, `unknown`.
    pub const fn word(&self) -> &'static str {
        match self {
            Answer::Done(_) => "done",
            Answer::Refused(_) => "refused",
            Answer::Unknown(_) => "unknown",
        }
    }
}

/// A party's client on its way to an [`Answer`]: everything that is not "done", for use with `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum No {
    /// They said no, and nothing was done.
    Refused(Refused),
    /// It may or may not have been done.
    Unknown(String),
}

impl<T> From<Result<T, No>> for Answer<T> {
    fn from(result: Result<T, No>) -> Answer<T> {
        match result {
            Ok(value) => Answer::Done(value),
            Err(No::Refused(refused)) => Answer::Refused(refused),
            Err(No::Unknown(why)) => Answer::Unknown(why),
        }
    }
}
