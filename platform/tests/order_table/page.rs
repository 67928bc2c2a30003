//! A page: an order on paper, told line by line, and how each line is read.

use std::collections::BTreeSet;

use platform::domain::action::Planned;
use platform::domain::code::IssuedCode;
use platform::domain::deadline::Rules;
use platform::domain::order::{Authorisation, AuthorisationKind, Carry, Decision, Event, Order, Place, Taken};
use platform::domain::refund::RefundEvent;
use platform::domain::settlement::Settlement;
use schema::ids::{OrderId, RefundId};
use schema::money::Fen;
use schema::refusal::Refusal;
use uuid::Uuid;

use crate::paper::{self, INSUTYPE, MERCHANT, Paper, RULES, Shape, T0_US, balanced, hash, split};

pub(crate) const S_US: i64 = 1_000_000;

/// One line of a page.
#[derive(Debug, Clone)]
pub(crate) enum Line {
    /// The opening itself.
    Opened,
    /// Something happens to the order.
    Order(Event),
    /// Something happens to its latest refund.
    Refund(RefundEvent),
    /// The state's deadline passes, to the microsecond.
    Deadline,
    /// The binding is lost, and its orders hear of it.
    Lost,
    /// The line, so many seconds later.
    After(i64, Box<Line>),
}

/// An order on paper, its clock, and everything that was seen on the way.
pub(crate) struct Page {
    pub(crate) paper: Paper,
    pub(crate) now_us: i64,
    pub(crate) last: Decision,
    pub(crate) settle_msgid: String,
    pub(crate) seen: Seen,
}

/// What a page has shown: the transitions, and the papers as they lay there in between, each with its instant.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) moves: BTreeSet<(Place, &'static str, Option<Place>)>,
    pub(crate) refund_moves: BTreeSet<(&'static str, &'static str, &'static str)>,
    pub(crate) papers: Vec<(Paper, i64)>,
}

impl Page {
    pub(crate) fn open(shape: Shape, can_ask_by_visit: bool, rules: Rules) -> Page {
        let (paper, last) = Paper::open((1, 1), shape, (paper::binding(), can_ask_by_visit), rules, T0_US)
            .expect("an open bill may be paid");
        let seen = Seen { papers: vec![(paper.clone(), T0_US)], ..Seen::default() };
        Page { paper, now_us: T0_US, last, settle_msgid: String::new(), seen }
    }

    pub(crate) fn replacing(rules: Rules) -> Page {
        let taken = Taken {
            out_trade_no: "0de40000".into(),
            transaction_id: "T0".into(),
            amount: Fen::new(2_500),
            paid: Fen::new(2_500),
            success_time_us: T0_US - S_US,
        };
        let carry = Carry {
            from: OrderId::from_uuid(Uuid::from_u128(0x0de4_0000)),
            refund: RefundId::from_uuid(Uuid::from_u128(0x0de4_0001)),
            epoch: paper::binding().epoch,
            authorisation: Authorisation {
                kind: AuthorisationKind::CodeAndCard,
                level: 2,
                at_us: T0_US - 2 * S_US,
                split: split([12_000, 0, 1_500, 0, 0, 2_500]),
                evidence: Some(hash(1)),
            },
            cash: Some(taken),
        };
        let (paper, last) =
            Paper::replace((1, 1), carry, (paper::binding(), true), rules, T0_US).expect("what remains may be paid");
        let seen = Seen { papers: vec![(paper.clone(), T0_US)], ..Seen::default() };
        Page { paper, now_us: T0_US, last, settle_msgid: String::new(), seen }
    }

    /// The page after these lines, for pages that begin later in the journey.
    pub(crate) fn then(mut self, lines: &[Line]) -> Page {
        for line in lines {
            let said = self.say(line);
            assert!(said.is_ok(), "{line:?}: {said:?}");
        }
        self
    }

    pub(crate) fn say(&mut self, line: &Line) -> Result<Decision, Refusal> {
        match line {
            Line::Opened => Ok(self.last.clone()),
            Line::After(seconds, line) => {
                self.now_us += seconds * S_US;
                self.say(line)
            }
            Line::Deadline => {
                self.now_us = self.paper.order.deadline_at_us.expect("a deadline").max(self.now_us);
                self.order_event(&Event::DeadlinePassed)
            }
            Line::Lost => {
                self.paper.binding.epoch += 1;
                self.order_event(&Event::BindingLost)
            }
            Line::Order(event) => {
                let event = self.completed(event.clone());
                self.order_event(&event)
            }
            Line::Refund(event) => self.refund_event(event),
        }
    }

    /// Fills in what only the order knows: message numbers, times, the price a code is for.
    pub(crate) fn completed(&mut self, event: Event) -> Event {
        match event {
            Event::SettleDone(s) if s.msgid.is_empty() => {
                Event::SettleDone(Box::new(Settlement { msgid: self.settle_msgid.clone(), ..*s }))
            }
            Event::SettleFound(s) => {
                Event::SettleFound(Box::new(Settlement { msgid: self.settle_msgid.clone(), ..*s }))
            }
            Event::CodeIssued { code } if code.price_number == 0 => {
                let price_number = self.paper.order.price.as_ref().map_or(0, |price| price.number);
                let expires_at_us = self.now_us + RULES.code_ms * 1000;
                Event::CodeIssued { code: IssuedCode { price_number, expires_at_us, ..code } }
            }
            event => event,
        }
    }

    pub(crate) fn order_event(&mut self, event: &Event) -> Result<Decision, Refusal> {
        let before = self.paper.order.clone();
        let decided = self.paper.event(event, self.now_us);
        let to = decided.as_ref().ok().map(|decision| decision.next.state.place());
        self.seen.moves.insert((before.state.place(), event.kind(), to));
        self.watch(before, decided)
    }

    pub(crate) fn refund_event(&mut self, event: &RefundEvent) -> Result<Decision, Refusal> {
        let before = self.paper.order.clone();
        let refund = self.paper.refunds.last().expect("a refund").clone();
        let decided = self.paper.refund_event(refund.id, event, self.now_us);
        if decided.is_ok() {
            let now = self.paper.refunds.last().expect("a refund");
            self.seen.refund_moves.insert((refund.state.word(), event.kind(), now.state.word()));
            if matches!(now.state.word(), "done" | "refused") {
                self.seen.moves.insert((before.state.place(), "refund_ended", Some(self.paper.place())));
            }
        }
        self.watch(before, decided)
    }

    /// What must hold under every line.
    pub(crate) fn watch(&mut self, before: Order, decided: Result<Decision, Refusal>) -> Result<Decision, Refusal> {
        let order = &self.paper.order;
        match &decided {
            Err(_) => assert_eq!(*order, before, "a refusal changed something"),
            Ok(decision) => {
                assert!(balanced(&decision.postings), "{:?}", decision.postings);
                for planned in &decision.actions {
                    assert!(planned.due_at_us >= self.now_us, "{planned:?} is in the past");
                    if let platform::domain::action::Action::Settle { msgid } = &planned.action {
                        self.settle_msgid.clone_from(msgid);
                    }
                }
            }
        }
        let broken = self.paper.broken(order.state.place().holds_bill(), holds_person(order));
        assert!(broken.is_empty(), "{broken:?}");
        if let Ok(decision) = &decided {
            self.last = decision.clone();
            self.seen.papers.push((self.paper.clone(), self.now_us));
        }
        decided
    }

    /// Reads the page aloud: every line must end in its answer.
    pub(crate) fn read(mut self, lines: Vec<(Line, &str)>) -> Seen {
        for (at, (line, expected)) in lines.iter().enumerate() {
            let decided = self.say(line);
            let found = self.written(line, &decided);
            assert_eq!(tidy(&found), tidy(expected), "line {} of the page: {line:?}", at + 1);
        }
        self.seen
    }

    pub(crate) fn written(&self, line: &Line, decided: &Result<Decision, Refusal>) -> String {
        let decision = match decided {
            Err(refusal) => return format!("refused {}", refusal.code),
            Ok(decision) => decision,
        };
        let order = &decision.next;
        let mut place = format!("{:?}", order.state.place());
        if let Some(why) = order.state.why() {
            place += &format!("({})", why.word());
        }
        let refund_line = match line {
            Line::After(_, line) => matches!(**line, Line::Refund(_)),
            line => matches!(line, Line::Refund(_)),
        };
        if refund_line || decision.refund.is_some() {
            place += &format!("/{}", self.paper.refunds.last().expect("a refund").state.word());
        }
        let postings: Vec<String> = decision
            .postings
            .iter()
            .map(|line| format!("{}{:+}", short(&line.account.to_string()), line.amount.get()))
            .collect();
        let actions: Vec<String> = decision.actions.iter().map(|action| planned(action, self.now_us)).collect();
        let holds = [("bill", order.state.place().holds_bill()), ("person", holds_person(order))];
        let holds: Vec<&str> = holds.into_iter().filter(|(_, holds)| *holds).map(|(word, _)| word).collect();
        format!("{place}|{}|{}|{}", postings.join(" "), actions.join(" "), holds.join(" "))
    }
}

pub(crate) fn holds_person(order: &Order) -> bool {
    order.insured.is_some() && order.state.holds_person()
}

pub(crate) fn planned(planned: &Planned, now_us: i64) -> String {
    match (planned.due_at_us - now_us) / S_US {
        0 => planned.action.kind().to_owned(),
        seconds => format!("{}@{seconds}s", planned.action.kind()),
    }
}

/// The account without what is the same in every story.
pub(crate) fn short(account: &str) -> String {
    let full = [
        (format!("bureau:{INSUTYPE}:"), ""),
        (format!("wallet:{MERCHANT}"), "wallet"),
        ("payable:H44190000001".to_owned(), "payable"),
    ];
    full.into_iter().fold(account.to_owned(), |text, (long, short)| text.replace(&long, short))
}

pub(crate) fn tidy(text: &str) -> String {
    text.split('|').map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(" | ")
}
