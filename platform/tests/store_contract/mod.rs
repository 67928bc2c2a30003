//! What every store must do, whatever engine is behind it. Each function takes a way to open an empty store, and panics
//! where the store breaks its contract.

pub(crate) mod world;

use platform::store::Store;
use world::World;

/// Opens an empty store.
pub(crate) type Fresh<'a> = &'a dyn Fn() -> Box<dyn Store>;

pub(crate) fn a_whole_payment_leaves_sound_books(fresh: Fresh<'_>) {
    let world = World::new(fresh(), 1);
    let order = world.completed("B1", 1000);
    let sums = world.store.verify(world.tenant).expect("books");
    assert_eq!(sums.violations, []);
    assert_eq!(sums.orders.get("completed"), Some(&1));
    let story = world.store.story(order.id).expect("the store answers").expect("a story");
    assert_eq!(story.order, order);
    assert_eq!(story.history.len(), 8);
}
