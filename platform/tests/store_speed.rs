//! How fast batches become durable. Run by hand, on an otherwise idle machine:
//! `cargo test -p platform --test store_speed -- --ignored --nocapture`

mod store_contract;

use std::time::Instant;

use platform::clock::Clock as _;
use platform::domain::order::{Event, Order};
use platform::store::sqlite::{Access, SqliteStore};
use platform::store::{Change, Commit, Loaded, Subject, Want, Written};
use schema::ids::{BillId, MessageId, OrderId};
use store_contract::world::World;

/// How long this thread has really run, in seconds: on a shared machine the clock on the wall says little.
fn on_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    let ns: f64 = stat.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("nanoseconds");
    ns / 1e9
}

/// Decides every want, commits them in batches of `k`, and says how long it took.
fn run(world: &World, k: usize, wants: &[Want], decide: &dyn Fn(&Loaded) -> Change) -> f64 {
    let begin = Instant::now();
    for batch in wants.chunks(k) {
        let commit = world.store.transact(batch, &mut |loaded| loaded.iter().map(|one| Some(decide(one))).collect());
        assert_eq!(commit, Commit::Committed(vec![Written::Done; batch.len()]));
    }
    begin.elapsed().as_secs_f64()
}

fn orders(world: &World, ids: &[OrderId]) -> Vec<Want> {
    ids.iter().map(|id| world.want(Subject::Order(*id))).collect()
}

fn opened(world: &World, k: usize, name: &str, many: usize) -> (Vec<OrderId>, f64) {
    let new_bills: Vec<_> = (0..many).map(|n| world.new_bill(&format!("{name}-{n}"), 1000)).collect();
    let ids: Vec<BillId> = new_bills.iter().map(|bill| bill.facts.id).collect();
    let begin = Instant::now();
    for batch in new_bills.chunks(k) {
        let wants: Vec<Want> = batch
            .iter()
            .map(|bill| world.want(Subject::BillNo(world.institution.clone(), bill.facts.bill_no.clone())))
            .collect();
        let changes =
            batch.iter().map(|bill| Some(Change { new_bill: Some(bill.clone()), ..Change::default() })).collect();
        world.commit(&wants, changes);
    }
    let posting = begin.elapsed().as_secs_f64();
    let wants: Vec<Want> = ids.iter().map(|bill| world.want(Subject::Bill(*bill))).collect();
    let made = std::cell::RefCell::new(Vec::new());
    let opening = run(world, k, &wants, &|loaded| {
        let change = world.opening(loaded, false);
        made.borrow_mut().extend(change.order.as_ref().map(|write| write.after.id));
        change
    });
    (made.into_inner(), posting + opening)
}

#[test]
#[ignore = "a measurement, not a check"]
fn writes_and_payments_a_second() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let store = SqliteStore::open(dir.path().join("tongfu.db"), Access::Serve).expect("a file");
    let world = World::new(Box::new(store));
    for (k, many) in [(64, 2_000)] {
        let (ids, mut whole) = opened(&world, k, &format!("K{k}"), many);
        // One small write: the institution did not answer, ask again later.
        let unknown = Event::PriceUnknown { message: MessageId::from_uuid(world.clock.fresh()) };
        let cpu = on_cpu();
        let small = run(&world, k, &orders(&world, &ids), &|loaded| world.decided(loaded, &unknown));
        let cpu_us = (on_cpu() - cpu) * 1e6 / many as f64;
        println!("K={k}: {:.0} small writes/s, {cpu_us:.0} µs of processor each", many as f64 / small);
        let cpu = on_cpu();

        let price = world.price(false, 1000);
        whole += run(&world, k, &orders(&world, &ids), &|loaded| world.decided(loaded, &price));
        let tap = Event::Authorised { offered: None };
        whole += run(&world, k, &orders(&world, &ids), &|loaded| world.decided(loaded, &tap));
        let prepaid = Event::PrepayDone { prepay_id: "P".into() };
        whole += run(&world, k, &orders(&world, &ids), &|loaded| world.decided(loaded, &prepaid));
        whole += run(&world, k, &orders(&world, &ids), &|loaded| {
            let order: &Order = loaded.order.as_ref().expect("the order");
            world.decided(loaded, &Event::WalletPaid(world.taken(order, &order.id.to_string())))
        });
        let booked = Event::TellBooked { guidance: schema::his::Guidance::default() };
        whole += run(&world, k, &orders(&world, &ids), &|loaded| world.decided(loaded, &booked));
        let cpu_us = (on_cpu() - cpu) * 1e6 / many as f64;
        println!("K={k}: {:.0} cash payments/s (7 commits each), {cpu_us:.0} µs for 5 of them", many as f64 / whole);
    }
    let begin = Instant::now();
    assert_eq!(world.store.verify(world.tenant).expect("books").violations, []);
    println!("verify: {:.2} s for 21000 orders", begin.elapsed().as_secs_f64());
}
