//! 发送方报文ID of messages that move money at a bureau: institution (12) ‖ yyyyMMddHHmmss in China ‖ four digits of our
//! own range.
//!
//! Two processes of one platform may draw the same one, and so may one process after a restart or 4000 messages within a
//! second; the commit notices, and the event is decided again with the next.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

use schema::ids::InstitutionCode;

use super::china_time;
use crate::store::NewAction;

/// The platform's own range of sequence numbers, 5000–8999: HIS of the same institution number from 0001, and questions
/// that move nothing have 9000–9999 (`parties/bureau`).
const FIRST: u32 = 5000;
/// How many there are.
pub(super) const COUNT: u32 = 4000;

/// Where the numbers stand.
pub(super) struct MessageNumbers {
    inner: Mutex<Inner>,
}

struct Inner {
    next: u32,
    /// Drawn for decisions that sent nothing.
    unused: Vec<u32>,
}

impl MessageNumbers {
    /// Begins at the `start`th of the range.
    pub(super) fn starting_at(start: u32) -> MessageNumbers {
        MessageNumbers { inner: Mutex::new(Inner { next: start % COUNT, unused: Vec::new() }) }
    }

    /// A number for a decision that may send a message now.
    pub(super) fn draw(&self, institution: &InstitutionCode, now_us: i64) -> Drawn<'_> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let number = inner.unused.pop().unwrap_or_else(|| {
            let number = inner.next;
            inner.next = (number + 1) % COUNT;
            number
        });
        drop(inner);
        let second = china_time(now_us).format("%Y%m%d%H%M%S");
        Drawn {
            numbers: self,
            number,
            msgid: format!("{institution}{second}{:04}", FIRST + number),
            used: Cell::new(false),
        }
    }
}

/// A number, given back when it is dropped unless something is sent under it: most decisions send nothing, and they must
/// not use up the range of a second.
pub(super) struct Drawn<'a> {
    numbers: &'a MessageNumbers,
    number: u32,
    /// The whole message id.
    pub(super) msgid: String,
    used: Cell<bool>,
}

impl Drawn<'_> {
    /// Keeps it if one of these sends a message under it.
    pub(super) fn used_by(&self, actions: &[NewAction]) {
        let used = actions.iter().any(|new| new.action.msgid() == Some(self.msgid.as_str()));
        self.used.set(self.used.get() || used);
    }
}

impl Drop for Drawn<'_> {
    fn drop(&mut self) {
        if !self.used.get() {
            let mut inner = self.numbers.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.unused.push(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use schema::ids::{ActionId, OrderId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::action::Action;

    const NOW_US: i64 = 1_779_242_400_000_000;

    fn sending(msgid: &str) -> NewAction {
        NewAction {
            id: ActionId::from_uuid(Uuid::nil()),
            order: OrderId::from_uuid(Uuid::nil()),
            action: Action::Settle { msgid: msgid.to_owned() },
            due_at_us: 0,
            started_by: None,
            trace_id: None,
        }
    }

    #[test]
    fn only_what_is_sent_uses_up_a_number_and_two_decisions_at_once_never_share_one() {
        let numbers = MessageNumbers::starting_at(3_999);
        let institution: InstitutionCode = "H44910000001".parse().expect("a code");
        let draw = || numbers.draw(&institution, NOW_US);
        let (one, other) = (draw(), draw());
        assert_eq!(one.msgid, "H44910000001202605201000008999");
        assert_eq!(other.msgid, "H44910000001202605201000005000", "the range begins anew");
        let (sent, unsent) = (one.msgid.clone(), other.msgid.clone());
        one.used_by(&[sending(&unsent), sending(&sent)]);
        other.used_by(&[sending(&sent)]);
        drop((one, other));
        let drawn: Vec<_> = (0..COUNT - 1).map(|_| draw()).collect();
        assert!(drawn.iter().any(|again| again.msgid == unsent), "given back, it is drawn again");
        assert!(drawn.iter().all(|again| again.msgid != sent), "used, it comes only after all the others");
    }
}
