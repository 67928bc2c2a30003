//! The books from every side, row by row: what the platform says happened against what the bureaus, the wallet and
//! the hospitals recorded by themselves.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::plan::CITIES;
use super::town::City;
use crate::people::payment::{Ended, Ending};

/// States in which nothing is out any more.
const RESTING: [&str; 3] = ["completed", "closed", "suspended"];
/// The same of a refund. One that is suspended is tried on, but waits for somebody else.
const REFUND_RESTING: [&str; 3] = ["done", "refused", "suspended"];
/// How many differences are spelt out.
const SPELT_OUT: usize = 50;

/// What a run came to. Amounts are fen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    /// Payments begun.
    pub payments: u64,
    /// Paid and booked.
    pub completed: u64,
    /// As if nothing had happened, or paid at the window.
    pub closed: u64,
    /// Waiting for a person's decision.
    pub suspended: u64,
    /// None of the three after the last deadline.
    pub unfinished: u64,
    /// The platform's orders that are none of the three, whoever began them.
    pub orders_unfinished: u64,
    /// Refunds that are neither made nor refused nor shown to a person after the last deadline.
    pub refunds_unfinished: u64,
    /// Refunds that wait for a person or for a party that is away.
    pub refunds_suspended: u64,
    /// Bills for which more came in than they ask for, or the same leg twice: from the bureaus', the wallet's and the
    /// windows' own records.
    pub charged_twice: u64,
    /// The platform by `ledger verify`, bureaus, wallet and hospitals each by their own records.
    pub books_balance: bool,
    /// Which of them balance.
    pub balanced: BTreeMap<String, bool>,
    /// What came in for every bill is what its ending says, and the platform's sums are the bureaus' and the wallet's.
    pub sides_agree: bool,
    /// Where not, in words; at most fifty.
    pub differences: Vec<String>,
    /// Sums by share, as the platform's books have them.
    pub fund_fen: BTreeMap<String, i64>,
    /// The platform's orders by state.
    pub orders: BTreeMap<String, i64>,
    /// Why orders were suspended, with how many.
    pub suspended_why: BTreeMap<String, u64>,
    /// Promises of the phone's API that people saw broken.
    pub broken_promises: Vec<String>,
}

impl Verdict {
    /// Everything came to an end: no order and no refund is under way.
    pub const fn is_at_rest(&self) -> bool {
        self.unfinished == 0 && self.orders_unfinished == 0 && self.refunds_unfinished == 0
    }

    /// Nothing is off.
    pub fn is_sound(&self) -> bool {
        self.books_balance && self.sides_agree && self.charged_twice == 0 && self.broken_promises.is_empty()
    }
}

/// An institution's bill.
type BillKey = (String, String);

/// What came in for one bill, by others' records.
#[derive(Debug, Default)]
struct CameIn {
    /// Live settlements at the bureau.
    settlements: u64,
    /// Wallet payments of which something is still kept.
    wallet_payments: u64,
    /// Payments at the window.
    window_payments: u64,
    /// All of it in fen: funds, accounts and hospital's burden, the wallet's cash, the window's cash.
    fen: i64,
}

/// An order as the platform lists it.
struct OrderRow {
    bill: BillKey,
    state: String,
    why: Option<String>,
    /// Given back so far.
    refunded_fen: i64,
    /// Granted and not yet given back.
    refunding_fen: i64,
    /// Of its cash: what came in at the order that it replaces.
    carried_in_fen: i64,
    /// Of its cash: what pays the order that replaces it.
    carried_out_fen: i64,
}

impl RefundRow {
    fn is_under_way(&self) -> bool {
        !REFUND_RESTING.contains(&self.state.as_str())
    }
}

impl OrderRow {
    /// Nothing of it is on its way any more, so what is due can be told.
    fn rests(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "closed") && self.refunding_fen == 0
    }

    /// What should be in for its bill of so much: cash counts where it came in, whichever order it pays.
    fn due(&self, amount_fen: i64) -> i64 {
        match self.state.as_str() {
            "completed" => amount_fen - self.refunded_fen - self.carried_in_fen,
            _ => self.carried_out_fen - self.carried_in_fen,
        }
    }
}

/// A refund as the platform lists it.
struct RefundRow {
    /// The order's id without hyphens.
    order: String,
    kind: String,
    state: String,
}

/// Everybody's records.
struct Records {
    orders: BTreeMap<String, OrderRow>,
    refunds: Vec<RefundRow>,
    bureaus: Vec<(String, Value)>,
    wallet: Value,
    his: Value,
}

impl City {
    /// Waits until no order is under way and no refund is on its way, at most `profile.rest()`. A refund that a person
    /// must finish is not on its way.
    pub async fn come_to_rest(&self) -> io::Result<()> {
        let deadline = Instant::now() + self.profile.rest();
        loop {
            let ledger = self.platform_cli(&["ledger", "verify"], true).await?;
            let under_way: i64 = counts(&ledger["orders"])
                .into_iter()
                .filter(|(state, _)| !RESTING.contains(&state.as_str()))
                .map(|(_, count)| count)
                .sum();
            let wallet = self.get(&format!("{}/sandbox/records", self.addresses.wallet)).await?;
            let orders = wallet["orders"].as_array().into_iter().flatten();
            let processing = orders
                .flat_map(|order| order["refunds"].as_array().into_iter().flatten())
                .any(|refund| refund["status"] == "PROCESSING");
            let refunding = processing || self.refunds().await?.iter().any(RefundRow::is_under_way);
            if (under_way == 0 && !refunding) || Instant::now() >= deadline {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// The verdict over everything that ever happened in this city, and over the payments of this run.
    pub async fn verdict(&self) -> io::Result<Verdict> {
        self.come_to_rest().await?;
        let mut verdict = Verdict::default();
        let ledger = self.platform_cli(&["ledger", "verify"], true).await?;
        verdict.orders = counts(&ledger["orders"]);
        verdict.fund_fen = counts(&ledger["fund_fen"]);
        verdict.balanced.insert("platform".to_owned(), ledger["balanced"] == true);
        for fault in ledger["faults"].as_array().into_iter().flatten() {
            verdict.differences.push(format!("platform: {fault}"));
        }
        let records = self.records().await?;
        let bureau_sums = self.others_books(&mut verdict).await?;
        compare_sums(&mut verdict, &bureau_sums);

        self.count_endings(&mut verdict, &records);
        judge(&mut verdict, &records);
        Ok(verdict)
    }

    async fn records(&self) -> io::Result<Records> {
        let tenants = self.platform_cli(&["tenant", "list"], false).await?;
        let mut listed = Vec::new();
        // Tenant by tenant: a store may hold another city's million.
        for tenant in tenants.as_array().into_iter().flatten() {
            let of = tenant["tenant_id"].as_str().unwrap_or_default();
            listed.push(self.platform_cli(&["order", "list", "--tenant", of, "--most", "1000000"], false).await?);
        }
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let order = |row: &Value| {
            let bill = (text(row, "institution"), text(row, "bill_no"));
            // The wallet knows an order by its id without hyphens.
            let id = text(row, "id").replace('-', "");
            let row = OrderRow {
                bill,
                state: text(row, "state"),
                why: row["why"].as_str().map(str::to_owned),
                refunded_fen: row["refunded_fen"].as_i64().unwrap_or(0),
                refunding_fen: row["refunding_fen"].as_i64().unwrap_or(0),
                carried_in_fen: row["carried_in_fen"].as_i64().unwrap_or(0),
                carried_out_fen: row["carried_out_fen"].as_i64().unwrap_or(0),
            };
            (id, row)
        };
        let orders = listed.iter().filter_map(Value::as_array).flatten().map(order).collect();
        let mut bureaus = Vec::new();
        for (admdvs, url) in &self.addresses.bureaus {
            bureaus.push((admdvs.clone(), self.get(&format!("{url}/sandbox/records")).await?));
        }
        let wallet = self.get(&format!("{}/sandbox/records", self.addresses.wallet)).await?;
        let his = self.get(&format!("{}/sandbox/records", self.his_url)).await?;
        Ok(Records { orders, refunds: self.refunds().await?, bureaus, wallet, his })
    }

    async fn refunds(&self) -> io::Result<Vec<RefundRow>> {
        let listed = self.platform_cli(&["refund", "list", "--most", "1000000"], false).await?;
        let text = |node: &Value| node.as_str().unwrap_or_default().to_owned();
        let refund = |row: &Value| RefundRow {
            order: text(&row["order"]).replace('-', ""),
            kind: text(&row["kind"]),
            state: text(&row["stands"]["state"]),
        };
        Ok(listed.as_array().into_iter().flatten().map(refund).collect())
    }

    /// Each counterparty's own verdict, and the sums of what the platform did there.
    async fn others_books(&self, verdict: &mut Verdict) -> io::Result<BTreeMap<&'static str, i64>> {
        let mut sums: BTreeMap<&'static str, i64> = BTreeMap::new();
        for city in &CITIES {
            let Some(url) = self.addresses.bureaus.get(city.admdvs) else { continue };
            let books = self.get(&format!("{url}/sandbox/books")).await?;
            verdict.balanced.insert(format!("bureau-{}", city.admdvs), books["balanced"] == true);
            let platform = city.platform_paasid();
            let callers = books["callers"].as_array().into_iter().flatten();
            for caller in callers.filter(|caller| caller["origin"] == platform.as_str()) {
                for (share, name) in [("funds", "fund_fen"), ("accounts", "account_fen")] {
                    *sums.entry(share).or_default() += caller[name].as_i64().unwrap_or(0);
                }
            }
        }
        let wallet = self.get(&format!("{}/sandbox/books", self.addresses.wallet)).await?;
        verdict.balanced.insert("wallet".to_owned(), wallet["balanced"] == true);
        *sums.entry("cash").or_default() += wallet["net_fen"].as_i64().unwrap_or(0);
        let his = self.get(&format!("{}/sandbox/books", self.his_url)).await?;
        verdict.balanced.insert("his".to_owned(), his["balanced"] == true);
        Ok(sums)
    }

    fn count_endings(&self, verdict: &mut Verdict, records: &Records) {
        for ended in self.ended() {
            verdict.payments += 1;
            match final_ending(&ended, records) {
                Ending::Completed => verdict.completed += 1,
                Ending::Closed => verdict.closed += 1,
                Ending::Suspended => verdict.suspended += 1,
                Ending::Unfinished => verdict.unfinished += 1,
            }
            for broken in ended.broken {
                if !verdict.broken_promises.contains(&broken) {
                    verdict.broken_promises.push(broken);
                }
            }
        }
        let at_rest = |order: &&OrderRow| RESTING.contains(&order.state.as_str());
        verdict.orders_unfinished = count(records.orders.values().filter(|order| !at_rest(order)));
        verdict.refunds_unfinished = count(records.refunds.iter().filter(|refund| refund.is_under_way()));
        verdict.refunds_suspended = count(records.refunds.iter().filter(|refund| refund.state == "suspended"));
        for order in records.orders.values().filter(|order| order.state == "suspended") {
            *verdict.suspended_why.entry(order.why.clone().unwrap_or_default()).or_default() += 1;
        }
    }
}

/// Compares everybody's records, and concludes from what was found there and before.
fn judge(verdict: &mut Verdict, records: &Records) {
    let came_in = came_in(records, &mut verdict.differences);
    compare_bills(verdict, records, &came_in);
    compare_refunds(verdict, records);
    verdict.books_balance = verdict.balanced.values().all(|balanced| *balanced);
    verdict.sides_agree = verdict.differences.is_empty();
    verdict.differences.truncate(SPELT_OUT);
}

/// What came in for every bill is what its orders say is paid and was not given back.
fn compare_bills(verdict: &mut Verdict, records: &Records, came_in: &BTreeMap<BillKey, CameIn>) {
    let mut by_bill: BTreeMap<&BillKey, Vec<&OrderRow>> = BTreeMap::new();
    for order in records.orders.values() {
        by_bill.entry(&order.bill).or_default().push(order);
    }
    let nothing = CameIn::default();
    for (key, amount_fen, window) in bills(&records.his) {
        let came = came_in.get(&key).unwrap_or(&nothing);
        let (institution, bill_no) = &key;
        let twice = came.fen > amount_fen || came.settlements > 1 || came.wallet_payments > 1;
        if twice {
            verdict.charged_twice += 1;
            verdict
                .differences
                .push(format!("{institution} {bill_no}: charged twice, {amount_fen} fen asked, {came:?}"));
            continue;
        }
        let orders = by_bill.get(&key).map(Vec::as_slice).unwrap_or_default();
        let due = match window {
            true => amount_fen,
            false => orders.iter().map(|order| order.due(amount_fen)).sum(),
        };
        if orders.iter().all(|order| order.rests()) && came.fen != due {
            verdict.differences.push(format!("{institution} {bill_no}: {due} fen due, {came:?}"));
        }
    }
}

fn count(rows: impl Iterator) -> u64 {
    rows.map(|_| 1).sum()
}

/// What an order says is on its way back, a refund of it is at: one that was lost would never come.
fn compare_refunds(verdict: &mut Verdict, records: &Records) {
    for (id, order) in records.orders.iter().filter(|(_, order)| order.refunding_fen != 0) {
        let at_it = |refund: &&RefundRow| {
            refund.order == *id && refund.kind != "stray" && !matches!(refund.state.as_str(), "done" | "refused")
        };
        if !records.refunds.iter().any(|refund| at_it(&refund)) {
            let (institution, bill_no) = &order.bill;
            let fen = order.refunding_fen;
            verdict.differences.push(format!("{institution} {bill_no}: {fen} fen go back, and no refund is at it"));
        }
    }
}

fn counts(node: &Value) -> BTreeMap<String, i64> {
    let entries = node.as_object().into_iter().flatten();
    entries.filter_map(|(name, count)| Some((name.clone(), count.as_i64()?))).collect()
}

/// The platform's shares are what the bureaus and the wallet keep of its rows.
fn compare_sums(verdict: &mut Verdict, others: &BTreeMap<&'static str, i64>) {
    let ours = |names: &[&str]| names.iter().filter_map(|name| verdict.fund_fen.get(*name)).sum::<i64>();
    let pairs = [
        ("funds", ours(&["fund", "other_funds"])),
        ("accounts", ours(&["account", "account_mulaid"])),
        ("cash", ours(&["cash"])),
    ];
    for (name, platform) in pairs {
        let theirs = others.get(name).copied().unwrap_or(0);
        if platform != theirs {
            verdict.differences.push(format!("{name}: the platform has {platform} fen, the other side {theirs}"));
        }
    }
}

/// Every bill of every hospital: key, amount, whether the window was paid.
fn bills(his: &Value) -> Vec<(BillKey, i64, bool)> {
    let mut all = Vec::new();
    for hospital in his["hospitals"].as_array().into_iter().flatten() {
        let code = hospital["fixmedins_code"].as_str().unwrap_or_default();
        for bill in hospital["bills"].as_array().into_iter().flatten() {
            let key = (code.to_owned(), bill["bill_no"].as_str().unwrap_or_default().to_owned());
            all.push((key, bill["amount_fen"].as_i64().unwrap_or(0), !bill["window"].is_null()));
        }
    }
    all
}

fn came_in(records: &Records, differences: &mut Vec<String>) -> BTreeMap<BillKey, CameIn> {
    let mut came: BTreeMap<BillKey, CameIn> = BTreeMap::new();
    let mut by_visit: BTreeMap<BillKey, String> = BTreeMap::new();
    for hospital in records.his["hospitals"].as_array().into_iter().flatten() {
        let code = hospital["fixmedins_code"].as_str().unwrap_or_default();
        for bill in hospital["bills"].as_array().into_iter().flatten() {
            let bill_no = bill["bill_no"].as_str().unwrap_or_default().to_owned();
            let visit = bill["ipt_otp_no"].as_str().unwrap_or_default().to_owned();
            by_visit.insert((code.to_owned(), visit), bill_no.clone());
            if !bill["window"].is_null() {
                let at_window = came.entry((code.to_owned(), bill_no)).or_default();
                at_window.window_payments += 1;
                at_window.fen += bill["window"]["split"]["cash_fen"].as_i64().unwrap_or(0);
            }
        }
    }
    for (admdvs, rows) in &records.bureaus {
        for row in rows.as_array().into_iter().flatten().filter(|row| row["live"] == true) {
            let code = row["fixmedins_code"].as_str().unwrap_or_default().to_owned();
            // A visit that had to be registered anew carries a suffix.
            let visit = row["ipt_otp_no"].as_str().unwrap_or_default();
            let visit = visit.split('-').next().unwrap_or_default().to_owned();
            let fen = |name: &str| row["amounts"][name].as_i64().unwrap_or(0);
            match by_visit.get(&(code.clone(), visit)) {
                Some(bill_no) => {
                    let bill = came.entry((code, bill_no.clone())).or_default();
                    bill.settlements += 1;
                    bill.fen += fen("medfee_sumamt") - fen("psn_cash");
                }
                None => differences.push(format!("bureau {admdvs}: {} settles no bill we know", row["setl_id"])),
            }
        }
    }
    for row in records.wallet["orders"].as_array().into_iter().flatten().filter(|row| row["state"] == "PAID") {
        let kept = row["total_fen"].as_i64().unwrap_or(0) - row["refunded_fen"].as_i64().unwrap_or(0);
        if kept == 0 {
            continue;
        }
        match records.orders.get(row["out_trade_no"].as_str().unwrap_or_default()) {
            Some(order) => {
                let bill = came.entry(order.bill.clone()).or_default();
                bill.wallet_payments += 1;
                bill.fen += kept;
            }
            None => differences.push(format!("wallet: {} pays no order we know", row["out_trade_no"])),
        }
    }
    came
}

/// What became of a payment in the end, which its person may not have waited for.
fn final_ending(ended: &Ended, records: &Records) -> Ending {
    let key = (&ended.institution, &ended.bill_no);
    let of_bill = records.orders.values().filter(|order| (&order.bill.0, &order.bill.1) == key);
    let states: Vec<&str> = of_bill.map(|order| order.state.as_str()).collect();
    let any = |state: &str| states.contains(&state);
    if any("completed") {
        Ending::Completed
    } else if states.iter().any(|state| !RESTING.contains(state)) {
        Ending::Unfinished
    } else if any("suspended") {
        Ending::Suspended
    } else if any("closed") {
        Ending::Closed
    } else {
        ended.ending
    }
}

/// Records written by hand: the eyes that find nothing in sound ones find each of these.
#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOSPITAL: &str = "H44910100001";

    /// A bill of 1000 fen whose insurance paid 600; order `a` took the other 400 and is completed.
    fn paid() -> Records {
        Records {
            orders: BTreeMap::from([("a".to_owned(), order("completed"))]),
            refunds: Vec::new(),
            bureaus: vec![("449101".to_owned(), json!([settlement("S1", "M1")]))],
            wallet: json!({ "orders": [payment("a", 400, 0)] }),
            his: json!({ "hospitals": [{ "fixmedins_code": HOSPITAL, "bills": [
                { "bill_no": "B1", "ipt_otp_no": "M1", "amount_fen": 1000, "window": null },
            ] }] }),
        }
    }

    fn order(state: &str) -> OrderRow {
        OrderRow {
            bill: (HOSPITAL.to_owned(), "B1".to_owned()),
            state: state.to_owned(),
            why: None,
            refunded_fen: 0,
            refunding_fen: 0,
            carried_in_fen: 0,
            carried_out_fen: 0,
        }
    }

    fn settlement(setl_id: &str, visit: &str) -> Value {
        json!({ "setl_id": setl_id, "fixmedins_code": HOSPITAL, "ipt_otp_no": visit, "live": true,
            "amounts": { "medfee_sumamt": 1000, "psn_cash": 400 } })
    }

    fn payment(order: &str, total_fen: i64, refunded_fen: i64) -> Value {
        json!({ "out_trade_no": order, "state": "PAID", "total_fen": total_fen, "refunded_fen": refunded_fen })
    }

    fn judged(records: &Records) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.balanced.insert("platform".to_owned(), true);
        judge(&mut verdict, records);
        verdict
    }

    /// Unsound, and this many bills charged twice; what is said about it.
    fn found(change: impl FnOnce(&mut Records), charged_twice: u64) -> String {
        let mut records = paid();
        change(&mut records);
        let verdict = judged(&records);
        assert!(!verdict.is_sound() && !verdict.sides_agree, "{verdict:?}");
        assert_eq!((verdict.charged_twice, verdict.differences.len()), (charged_twice, 1), "{verdict:?}");
        verdict.differences[0].clone()
    }

    fn rows(node: &mut Value) -> &mut Vec<Value> {
        node.as_array_mut().expect("rows")
    }

    #[test]
    fn records_that_agree_are_sound() {
        let verdict = judged(&paid());
        assert!(verdict.is_sound() && verdict.sides_agree && verdict.books_balance, "{verdict:?}");
        // What was undone and given back is in no longer, whoever asks.
        let mut records = paid();
        rows(&mut records.bureaus[0].1)[0]["live"] = json!(false);
        rows(&mut records.wallet["orders"])[0] = payment("a", 400, 400);
        records.orders.insert("a".to_owned(), order("closed"));
        assert!(judged(&records).is_sound(), "{:?}", judged(&records));
    }

    #[test]
    fn the_same_leg_twice_is_charged_twice() {
        let said = found(|records| rows(&mut records.bureaus[0].1).push(settlement("S2", "M1-2")), 1);
        assert!(said.contains("charged twice") && said.contains("settlements: 2"), "{said}");

        let again = |records: &mut Records| {
            records.orders.insert("b".to_owned(), order("closed"));
            rows(&mut records.wallet["orders"]).push(payment("b", 400, 399));
        };
        let said = found(again, 1);
        assert!(said.contains("wallet_payments: 2"), "{said}");
        // Also where the sum would still be right.
        let halves = |records: &mut Records| {
            records.orders.insert("b".to_owned(), order("completed"));
            *rows(&mut records.wallet["orders"]) = vec![payment("a", 200, 0), payment("b", 200, 0)];
        };
        found(halves, 1);

        let at_the_window = |records: &mut Records| {
            records.his["hospitals"][0]["bills"][0]["window"] = json!({ "split": { "cash_fen": 400 } });
        };
        found(at_the_window, 1);
    }

    #[test]
    fn a_fen_too_few_is_a_difference_and_a_fen_too_many_is_charged_twice() {
        let with = |total_fen: i64| {
            move |records: &mut Records| rows(&mut records.wallet["orders"])[0] = payment("a", total_fen, 0)
        };
        let said = found(with(399), 0);
        assert!(said.contains("1000 fen due") && said.contains("fen: 999"), "{said}");
        found(with(401), 1);
        // Nothing is due for a closed order: whatever stays is too much.
        let stays = |records: &mut Records| {
            rows(&mut records.bureaus[0].1).clear();
            rows(&mut records.wallet["orders"])[0] = payment("a", 400, 399);
            records.orders.insert("a".to_owned(), order("closed"));
        };
        let said = found(stays, 0);
        assert!(said.contains(" 0 fen due"), "{said}");
        // A part that the order says went back is not in any more.
        let back = |records: &mut Records| {
            records.orders.insert("a".to_owned(), OrderRow { refunded_fen: 100, ..order("completed") });
        };
        let said = found(back, 0);
        assert!(said.contains("900 fen due"), "{said}");
    }

    #[test]
    fn what_nobody_here_asked_for_is_a_difference() {
        let said = found(|records| rows(&mut records.bureaus[0].1).push(settlement("S9", "M9")), 0);
        assert!(said.contains("S9") && said.contains("no bill we know"), "{said}");
        let said = found(|records| rows(&mut records.wallet["orders"]).push(payment("z", 1, 0)), 0);
        assert!(said.contains('z') && said.contains("no order we know"), "{said}");
    }

    #[test]
    fn a_refund_that_nobody_is_at_is_a_difference() {
        let order_only = |records: &mut Records| {
            records.orders.insert("a".to_owned(), OrderRow { refunding_fen: 50, ..order("completed") });
        };
        let said = found(order_only, 0);
        assert!(said.contains("no refund is at it"), "{said}");
        let mut records = paid();
        order_only(&mut records);
        let refund = |state: &str| RefundRow { order: "a".into(), kind: "asked".into(), state: state.into() };
        records.refunds = vec![refund("returning_cash")];
        assert!(judged(&records).is_sound());
        records.refunds = vec![refund("done")];
        assert!(!judged(&records).is_sound(), "one that is over brings nothing any more");
    }

    #[test]
    fn sums_that_differ_and_books_that_do_not_balance_are_unsound() {
        let mut verdict = Verdict::default();
        verdict.fund_fen.extend([("fund".to_owned(), 500), ("other_funds".to_owned(), 100), ("cash".to_owned(), 400)]);
        let theirs = |funds: i64| BTreeMap::from([("funds", funds), ("cash", 400)]);
        compare_sums(&mut verdict, &theirs(600));
        assert_eq!(verdict.differences, Vec::<String>::new());
        compare_sums(&mut verdict, &theirs(601));
        judge(&mut verdict, &paid());
        assert!(!verdict.sides_agree && !verdict.is_sound(), "{verdict:?}");

        let mut verdict = Verdict::default();
        verdict.balanced.extend([("platform".to_owned(), true), ("wallet".to_owned(), false)]);
        judge(&mut verdict, &paid());
        assert!(verdict.sides_agree && !verdict.books_balance && !verdict.is_sound(), "{verdict:?}");
    }
}
