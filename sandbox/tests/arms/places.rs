//! In every place an order can be in: the window claims the bill, the person cancels, the card is lost, the deadline
//! passes. An order is held in a place by a counterparty that is busy or silent about it alone.

use std::sync::Arc;

use sandbox::fault::Fault;
use schema::mobile::{Mode, OrderView};
use schema::refusal::Code;

use crate::case::{Case, Sides, cash_of};
use crate::world::{FIRST, World};
use crate::{Arm, arm};

/// A place, as `order list` names it, and how an order comes to stay there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Created,
    Priced,
    Settling,
    Doubting,
    Proving,
    Prepaying,
    Collecting,
    ClosingWallet,
    UndoingInsurance,
    AskingUndo,
    Paid,
    Completed,
    Returning,
    /// Suspended before it was paid: the bureau refuses 2208.
    SuspendedUnpaid,
    /// Suspended after it was paid: the hospital is silent.
    SuspendedPaid,
    Closed,
}

/// All but Carrying, in which no counterparty can hold an order; `order_table` has its pages.
const ALL: [Held; 16] = [
    Held::SuspendedPaid,
    Held::Returning,
    Held::ClosingWallet,
    Held::UndoingInsurance,
    Held::AskingUndo,
    Held::Doubting,
    Held::Proving,
    Held::Paid,
    Held::SuspendedUnpaid,
    Held::Settling,
    Held::Prepaying,
    Held::Created,
    Held::Priced,
    Held::Collecting,
    Held::Completed,
    Held::Closed,
];

impl Held {
    fn place(self) -> String {
        match self {
            Held::SuspendedUnpaid | Held::SuspendedPaid => "Suspended".to_owned(),
            other => format!("{other:?}"),
        }
    }

    /// In a sentence.
    fn words(self) -> &'static str {
        match self {
            Held::Created => "waits for its price",
            Held::Priced => "is priced",
            Held::Settling => "is being settled",
            Held::Doubting => "has lost its 2207",
            Held::Proving => "proves what became of its 2207",
            Held::Prepaying => "opens the wallet",
            Held::Collecting => "is at the wallet",
            Held::ClosingWallet => "closes the wallet",
            Held::UndoingInsurance => "undoes its settlement",
            Held::AskingUndo => "asks whether its settlement is undone",
            Held::Paid => "is paid and not booked",
            Held::Completed => "is completed",
            Held::Returning => "is being given back",
            Held::SuspendedUnpaid => "is suspended before payment",
            Held::SuspendedPaid => "is suspended after payment",
            Held::Closed => "is closed",
        }
    }
}

/// How an order ends: state, why, owner.
type Ending = (&'static str, Option<&'static str>, Option<&'static str>);

const CANCELLED: Ending = ("closed", Some("cancelled"), None);
const COMPLETED: Ending = ("completed", None, None);
const LOST: Ending = ("closed", Some("binding_lost"), None);
const REFUSED_2208: Ending = ("suspended", Some("undo_refused"), Some("bureau"));

pub(crate) fn arms() -> Vec<Arm> {
    let mut all = Vec::new();
    for held in ALL {
        if let Some((why, sentence)) = deadline(held) {
            let name = format!("an order that {} too long {sentence}", held.words());
            all.push(arm(name, move |world| passes_its_deadline(world, held, why)));
        }
        let name = format!("the window claims the bill of an order that {}", held.words());
        all.push(arm(name, move |world| window_claims(world, held)));
        let name = format!("the person cancels an order that {}", held.words());
        all.push(arm(name, move |world| person_cancels(world, held)));
        let name = format!("a card is lost while its order {}", held.words());
        all.push(arm(name, move |world| card_is_lost(world, held)));
    }
    all.push(arm("the window claims a bill that nobody opened", |world| async move {
        let case = Case::at(&world, FIRST).await;
        let listed = case.member.phone().bill(FIRST, &case.bill_no, crate::case::soon()).await;
        assert!(listed.is_some(), "the bill comes to the phone");
        assert_eq!(case.window().await, "released");
        case.sides_become(&Sides { settlements: 1, cash: 0, standing: "paid-at-window" }).await;
    }));
    all
}

/// A payment that was brought to a place and stays there.
struct Stay {
    case: Case,
    /// What the wallet was opened with, where it was.
    wallet: Option<OrderView>,
}

async fn hold(world: &Arc<World>, held: Held) -> Stay {
    let mut case = Case::at(world, FIRST).await;
    let refusal = || Fault::Refuse { code: "2009".to_owned(), message: "该月已清算".to_owned() };
    let mut wallet = None;
    match held {
        Held::Created => {
            case.his_fault("pre-settle", Fault::NeitherDoNorAnswer, None).await;
            case.open(Mode::Insured).await;
        }
        Held::Priced => {
            case.priced().await;
        }
        Held::Settling => {
            case.priced().await;
            case.bureau_fault("2207", Fault::Busy, None).await;
            case.authorise().await;
        }
        Held::Doubting => {
            case.priced().await;
            case.bureau_fault("2207", Fault::NeitherDoNorAnswer, Some(1)).await;
            case.bureau_fault("2601", Fault::Busy, None).await;
            case.authorise().await;
        }
        Held::Proving => {
            case.priced().await;
            case.bureau_fault("2207", Fault::NeitherDoNorAnswer, Some(1)).await;
            case.bureau_fault("5203", Fault::NeitherDoNorAnswer, None).await;
            case.authorise().await;
        }
        Held::Prepaying => {
            case.priced().await;
            case.wallet_fault("prepay", Fault::Busy, None).await;
            case.authorise().await;
        }
        Held::Collecting => wallet = Some(case.collecting().await),
        Held::ClosingWallet => {
            case.collecting().await;
            case.wallet_fault("close", Fault::Busy, None).await;
            case.wallet_fault("query", Fault::Busy, None).await;
            assert_eq!(case.cancel().await, Ok(()));
        }
        Held::UndoingInsurance => {
            case.collecting().await;
            case.bureau_fault("2208", Fault::Busy, None).await;
            assert_eq!(case.cancel().await, Ok(()));
        }
        Held::AskingUndo => {
            case.collecting().await;
            case.bureau_fault("2208", Fault::NeitherDoNorAnswer, Some(1)).await;
            case.bureau_fault("5203", Fault::NeitherDoNorAnswer, None).await;
            assert_eq!(case.cancel().await, Ok(()));
        }
        Held::SuspendedUnpaid => {
            case.collecting().await;
            case.bureau_fault("2208", refusal(), None).await;
            assert_eq!(case.cancel().await, Ok(()));
        }
        Held::Paid | Held::Returning | Held::SuspendedPaid => {
            let view = case.collecting().await;
            case.his_fault("settled", Fault::NeitherDoNorAnswer, None).await;
            case.his_fault("query", Fault::NeitherDoNorAnswer, None).await;
            case.pay_cash(&view).await;
            if held == Held::Returning {
                case.reaches("Paid").await;
                case.bureau_fault("2208", Fault::Busy, None).await;
                case.ask_back(None).await;
            }
            wallet = Some(view);
        }
        Held::Completed => {
            let view = case.collecting().await;
            case.pay_cash(&view).await;
            wallet = Some(view);
        }
        Held::Closed => {
            case.priced().await;
            assert_eq!(case.cancel().await, Ok(()));
        }
    }
    case.reaches(&held.place()).await;
    Stay { case, wallet }
}

impl Stay {
    fn cash(&self) -> i64 {
        self.wallet.as_ref().map_or(0, cash_of)
    }

    /// Everybody works again, and the order ends as if nobody had disturbed it.
    async fn goes_on(&self, held: Held) -> Ending {
        self.case.calm().await;
        match held {
            Held::Created => {
                self.case.shown("priced").await;
                assert_eq!(self.case.cancel().await, Ok(()));
                CANCELLED
            }
            Held::Doubting | Held::Proving => {
                self.case.shown("priced").await;
                assert_eq!(self.case.cancel().await, Ok(()));
                CANCELLED
            }
            Held::Settling | Held::Prepaying => {
                let view = self.case.at_the_wallet().await;
                self.case.pay_cash(&view).await;
                COMPLETED
            }
            Held::Collecting => {
                if let Some(view) = &self.wallet {
                    self.case.pay_cash(view).await;
                }
                COMPLETED
            }
            Held::Priced => {
                assert_eq!(self.case.cancel().await, Ok(()));
                CANCELLED
            }
            Held::ClosingWallet | Held::UndoingInsurance | Held::AskingUndo | Held::Closed => CANCELLED,
            Held::Paid | Held::Completed | Held::SuspendedPaid => COMPLETED,
            Held::Returning => ("closed", Some("refund_asked"), None),
            Held::SuspendedUnpaid => REFUSED_2208,
        }
    }

    /// The order ended so, and everybody else's records say the same.
    async fn ended(&self, ending: Ending) {
        let (state, why, owner) = ending;
        let story = self.case.ends(state, why, owner).await;
        let cash = story["order"]["authorisation"]["split"]["cash_fen"].as_i64().unwrap_or(0);
        let sides = match ending {
            COMPLETED => Sides { settlements: 1, cash, standing: "booked" },
            // A hospital that hears of the undoing before it ever booked keeps the lock of an order that is no more;
            // one that booked just before gives the bill free. The window can take either.
            ("closed", Some("refund_asked"), _) => {
                let held = Sides { settlements: 0, cash: 0, standing: "held" };
                return self.case.sides_become_one_of(&[held, Sides::nothing()]).await;
            }
            ("closed", Some("taken_by_window"), _) => Sides { settlements: 1, cash: 0, standing: "paid-at-window" },
            ("closed", ..) => Sides::nothing(),
            _ => Sides { settlements: 1, cash: self.cash(), standing: "held" },
        };
        self.case.sides_become(&sides).await;
    }
}

async fn window_claims(world: Arc<World>, held: Held) {
    let stay = hold(&world, held).await;
    let said = stay.case.window().await;
    match held {
        Held::Created | Held::Priced => {
            assert_eq!(said, "released");
            stay.case.calm().await;
            stay.ended(("closed", Some("taken_by_window"), None)).await;
        }
        Held::Closed => {
            assert_eq!(said, "released");
            stay.case.ends("closed", Some("cancelled"), None).await;
            stay.case.sides_become(&Sides { settlements: 1, cash: 0, standing: "paid-at-window" }).await;
        }
        Held::Paid | Held::Completed | Held::SuspendedPaid => {
            assert_eq!(said, "already_paid");
            let ending = stay.goes_on(held).await;
            stay.ended(ending).await;
        }
        _ => {
            assert_eq!(said, "in_progress");
            let ending = stay.goes_on(held).await;
            stay.ended(ending).await;
        }
    }
}

async fn person_cancels(world: Arc<World>, held: Held) {
    let stay = hold(&world, held).await;
    let said = stay.case.cancel().await;
    match held {
        // Nothing is out while the bureau is busy.
        Held::Created | Held::Priced | Held::Settling | Held::Prepaying | Held::Collecting => {
            assert_eq!(said, Ok(()));
            stay.case.calm().await;
            stay.ended(CANCELLED).await;
        }
        _ => {
            assert!(matches!(said, Err(Code::NotNow | Code::InProgress)), "{said:?}");
            let ending = stay.goes_on(held).await;
            stay.ended(ending).await;
        }
    }
}

async fn card_is_lost(world: Arc<World>, held: Held) {
    let stay = hold(&world, held).await;
    stay.case.lose().await;
    let ending = match held {
        Held::Created | Held::Priced | Held::Settling | Held::Doubting | Held::Proving => {
            stay.case.calm().await;
            LOST
        }
        _ => stay.goes_on(held).await,
    };
    stay.ended(ending).await;
    let story = world.story(stay.case.order()).await;
    // Where money was moving the order ended normally, and a person may look at it. Where nothing moved, or all was
    // over, there is nothing to look at.
    let moving = !matches!(held, Held::Created | Held::Priced | Held::Settling | Held::Completed | Held::Closed);
    assert_eq!(story["order"]["flagged"], moving);
}

/// What a deadline in this place leads to, and how to say it; none where nothing waits.
fn deadline(held: Held) -> Option<(Ending, &'static str)> {
    let bureau = ("suspended", Some("bureau_silent"), Some("bureau"));
    match held {
        Held::Created => Some((("closed", Some("no_price_in_time"), None), "is closed")),
        Held::Priced => Some((("closed", Some("price_expired"), None), "is closed")),
        Held::Settling => Some((("closed", Some("settle_refused"), None), "is closed")),
        Held::Doubting | Held::Proving | Held::UndoingInsurance | Held::AskingUndo => {
            Some((bureau, "is shown to the bureau's people, and still learns"))
        }
        Held::Prepaying | Held::Collecting => Some((("closed", Some("not_paid_in_time"), None), "is undone")),
        Held::ClosingWallet => {
            let finance = ("suspended", Some("wallet_silent"), Some("finance"));
            Some((finance, "is shown to the finance people, and still learns"))
        }
        Held::Paid => {
            let institution = ("suspended", Some("institution_silent"), Some("institution"));
            Some((institution, "is shown to the hospital's people, and still learns"))
        }
        Held::Returning => {
            let finance = ("suspended", Some("refund_stuck"), Some("finance"));
            Some((finance, "is shown to the finance people, and still learns"))
        }
        Held::Completed | Held::SuspendedUnpaid | Held::SuspendedPaid | Held::Closed => None,
    }
}

async fn passes_its_deadline(world: Arc<World>, held: Held, ending: Ending) {
    let stay = hold(&world, held).await;
    let (state, why, owner) = ending;
    stay.case.ends(state, why, owner).await;
    match held {
        Held::Created | Held::Priced | Held::Settling | Held::Prepaying | Held::Collecting => {
            stay.case.calm().await;
            stay.ended(ending).await;
        }
        // The refund is a row of its own, and is shown to a person too: it ends all the same once the bureau is not busy.
        Held::Returning => {
            stay.case.refund_becomes("suspended").await;
            let ending = stay.goes_on(held).await;
            stay.ended(ending).await;
        }
        _ => {
            let ending = stay.goes_on(held).await;
            stay.ended(ending).await;
        }
    }
}
