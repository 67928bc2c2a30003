//! SQLite keeps the store's contract, in memory and in a file.

mod store_contract;

use platform::store::Store;
use platform::store::sqlite::SqliteStore;

fn memory() -> Box<dyn Store> {
    Box::new(SqliteStore::memory().expect("memory"))
}

#[test]
fn a_whole_payment_leaves_sound_books() {
    store_contract::a_whole_payment_leaves_sound_books(&memory);
}
