//! Every arm of the journey against real processes: one city, one trial per arm, all of them at the same time.
//!
//! A trial is one person with one bill at one hospital, and one thing that goes wrong. It asserts how the order ended
//! as `platform order show` tells it, what the bureau, the wallet and the hospital recorded by themselves, and, where
//! it matters, what the phone was told. Then the books of the whole city are proved from every side.
//!
//! | read | for |
//! | --- | --- |
//! | [`world`] | the city, and everything that is shared in it |
//! | [`case`] | one person with one bill, and what can be asked about it |
//! | [`places`] | the window, a change of mind, a loss and a deadline, in every place an order can be in |
//! | [`cutter`] | whoever cuts the link at a chosen message |
//! | the others | the arms, by where they leave the straight way |
//!
//! The programs are real: `make test` builds them before the tests run. `cargo test --test arms -- NAME` runs some.

mod back;
mod case;
mod cash;
mod codes;
mod cutter;
mod hospital;
mod insurance;
mod link;
mod loss;
mod places;
mod pricing;
mod replace;
mod sms;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::{Builder, Handle};

use world::World;

/// How many arms are lived at the same time: they mostly wait.
const AT_ONCE: usize = 40;

/// What happens in an arm, from its beginning to its last assertion.
type Life = Box<dyn FnOnce(Arc<World>, &Handle) + Send>;

/// One arm, to be lived in a city.
struct Arm {
    name: String,
    live: Life,
}

/// An arm by its sentence.
fn arm<L: Future<Output = ()>>(name: impl Into<String>, live: impl FnOnce(Arc<World>) -> L + Send + 'static) -> Arm {
    Arm { name: name.into(), live: Box::new(move |world, runtime| runtime.block_on(live(world))) }
}

fn arms() -> Vec<Arm> {
    let mut all = Vec::new();
    // Those that take turns, or wait longest, begin first.
    all.extend(link::arms());
    all.extend(places::arms());
    all.extend(hospital::arms());
    all.extend(cash::arms());
    all.extend(insurance::arms());
    all.extend(back::arms());
    all.extend(replace::arms());
    all.extend(loss::arms());
    all.extend(codes::arms());
    all.extend(pricing::arms());
    all.extend(sms::arms());
    all
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    if arguments.list {
        let listed = arms().into_iter().map(|arm| Trial::test(arm.name, || Ok(()))).collect();
        return libtest_mimic::run(&arguments, listed).exit_code();
    }
    let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let world = Arc::new(runtime.block_on(World::found()));
    let trials = arms().into_iter().map(|arm| {
        let (world, runtime) = (Arc::clone(&world), runtime.handle().clone());
        Trial::test(arm.name, move || {
            (arm.live)(world, &runtime);
            Ok(())
        })
    });
    let lived = libtest_mimic::run(&arguments, trials.collect());
    // The proof of the whole comes after every part, whichever parts were chosen.
    arguments.filter = None;
    arguments.skip.clear();
    let proof = {
        let runtime = runtime.handle().clone();
        Trial::test("at the end the books of the whole city are right from every side", move || {
            let world = Arc::into_inner(world).ok_or("an arm still holds the city")?;
            runtime.block_on(world.prove());
            Ok(())
        })
    };
    let proved = libtest_mimic::run(&arguments, vec![proof]);
    if lived.has_failed() { lived.exit_code() } else { proved.exit_code() }
}
