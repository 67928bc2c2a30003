//! Ten thousand stories of payments and refunds, told by a small city that lies never but loses much.
//!
//! The *reference* is the outside world: a bureau that knows what is settled, a wallet that knows what is paid, a
//! hospital that knows what it booked, two bills of one insured person, and a post that delivers answers in any order,
//! late or never. The *system under test* is the order's table with the books that follow from its decisions. After
//! every move the books must be in order; at the end, when everybody answers again, every order has ended and the
//! world's money is the books' money, fen by fen.
//!
//! `PROPTEST_CASES` sets how many stories are told, `PROPTEST_RNG_SEED` which ones. A story that fails is shortened.

mod city;
#[allow(dead_code, reason = "the order table uses the rest")]
mod paper;

use std::collections::BTreeMap;
use std::sync::Mutex;

use city::{Begin, City, Move};
use platform::domain::order::{Order, Place, State};
use platform::domain::posting::Posting;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use schema::money::Fen;

/// Told unless `PROPTEST_CASES` says otherwise.
const STORIES: u32 = 10_000;
/// The longest story, in moves.
const MOVES: std::ops::Range<usize> = 1..70;

/// The world as it is.
struct World;

impl ReferenceStateMachine for World {
    type State = City;
    type Transition = Move;

    fn init_state() -> BoxedStrategy<City> {
        let begin = prop::sample::select(Begin::ALL.to_vec());
        (begin, any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(begin, can_ask_by_visit, falls_silent)| City::new(begin, can_ask_by_visit, falls_silent))
            .boxed()
    }

    fn transitions(city: &City) -> BoxedStrategy<Move> {
        prop::sample::select(city.moves()).boxed()
    }

    fn preconditions(city: &City, what: &Move) -> bool {
        city.allows(what)
    }

    fn apply(mut city: City, what: &Move) -> City {
        city.make(what);
        city
    }
}

/// The books as the decisions wrote them, kept apart from the world that they are compared with.
#[derive(Default)]
struct Ledger {
    postings: BTreeMap<usize, Vec<Posting>>,
    orders: BTreeMap<usize, Order>,
}

impl Ledger {
    /// Reads what the last move decided. Nothing that was written once may change.
    fn read(&mut self, city: &City) {
        for (at, decision) in &city.decided {
            let next = &decision.next;
            let before = self.orders.insert(*at, next.clone());
            self.postings.entry(*at).or_default().extend(decision.postings.iter().cloned());
            assert_eq!(next.version, before.as_ref().map_or(1, |order| order.version + 1), "a version is left out");
            assert!(paper::balanced(&decision.postings), "a commit does not balance: {:?}", decision.postings);
            let Some(before) = before else { continue };
            for end in [Place::Completed, Place::Closed] {
                let left = before.state.place() == end && next.state.place() != end;
                // What went back whole, or was replaced, is the only thing that a completed order may become.
                let went_back = matches!(&next.state, State::Closed { returned: Some(_), .. });
                assert!(!left || end == Place::Completed && went_back, "an order left {end:?} for {:?}", next.state);
            }
            assert!(before.refunded <= next.refunded, "a refund was forgotten");
            assert!(!before.flagged || next.flagged, "a loss was forgotten");
            // A deadline that passed while something else happened stays the same until it is told.
            let passed = next.deadline_at_us.is_some_and(|at| at < next.updated_at_us);
            assert!(!passed || next.deadline_at_us == before.deadline_at_us, "a deadline was set in the past");
        }
    }

    fn net(&self, at: usize, account: &str) -> Fen {
        let lines = self.postings.get(&at).into_iter().flatten();
        let amounts = lines.filter(|line| line.account.to_string().starts_with(account)).map(|line| line.amount);
        Fen::sum(amounts).expect("small amounts")
    }

    /// What is in the books is what is in the world.
    fn equals(&self, city: &City) {
        for at in self.orders.keys() {
            assert_eq!(self.net(*at, "bureau:"), city.bureau_owes(*at), "order {at} at the bureau");
            assert_eq!(self.net(*at, "wallet:"), city.wallet_holds(*at), "order {at} at the wallet");
            let suspense = city.carried(*at).minus(city.stray_left(*at)).expect("small amounts");
            assert_eq!(self.net(*at, "suspense"), suspense, "order {at} in suspense");
        }
    }
}

/// How stories ended, to see that they were about something.
static ENDS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

struct Stories;

impl StateMachineTest for Stories {
    type SystemUnderTest = Ledger;
    type Reference = World;

    fn init_test(city: &City) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.read(city);
        ledger
    }

    fn apply(mut ledger: Ledger, city: &City, _: Move) -> Ledger {
        ledger.read(city);
        ledger
    }

    fn check_invariants(_: &Ledger, city: &City) {
        assert!(city.faults.is_empty(), "{:#?}", city.faults);
    }

    fn teardown(mut ledger: Ledger, mut city: City) {
        while city.come_to_rest() {
            ledger.read(&city);
            assert!(city.faults.is_empty(), "{:#?}", city.faults);
        }
        assert!(city.faults.is_empty(), "{:#?}", city.faults);
        if !city.falls_silent {
            ledger.equals(&city);
        }
        let mut ends = ENDS.lock().expect("no poison");
        for order in ledger.orders.values() {
            let end = match &order.state {
                State::Suspended { from, why, .. } => format!("suspended {} in {:?}", why.word(), from.place()),
                state => format!("{} {}", state.place().word(), state.why().map_or("", |why| why.word())),
            };
            *ends.entry(end).or_default() += 1;
        }
    }
}

#[test]
fn every_story_ends_and_the_worlds_money_is_the_books_money() {
    let defaults = ProptestConfig::default();
    let config = ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { defaults.cases } else { STORIES },
        rng_seed: match defaults.rng_seed {
            RngSeed::Random => RngSeed::Fixed(20_260_101),
            seed => seed,
        },
        failure_persistence: None,
        ..defaults
    };
    let told = TestRunner::new(config.clone()).run(&World::sequential_strategy(MOVES), |(city, moves, seen)| {
        Stories::test_sequential(config.clone(), city, moves, seen);
        Ok(())
    });
    let ends = ENDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("{ends:#?}");
    assert!(told.is_ok(), "{}", told.err().map(|error| error.to_string()).unwrap_or_default());
    if config.cases >= STORIES {
        for end in
            ["completed ", "closed cancelled", "closed rejected", "closed binding_lost", "closed not_paid_in_time"]
        {
            assert!(ends.get(end).is_some_and(|count| *count > 10), "hardly a story ended {end}");
        }
    }
}
