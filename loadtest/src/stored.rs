//! A store that has run for years: finished payments are copied into it, a million and more, and the city pays on.
//!
//! The copies stand under a tenant of their own, as another city's would on a province's server: every key begins with
//! the tenant, so they make each table and each index as large and as deep, and nobody's books change. What only lies
//! there (the texts of history, records and actions, first answers, bureau replies) is left out of the copies: with it a
//! million payments take more room than a bench should.

use std::io;
use std::time::Duration;

use sandbox::engines::postgres::Postgres;
use tokio::time::Instant;

use crate::engines::settle;

/// Payments that are copied.
const TEMPLATES: u32 = 50;
/// The tenant of the copies: version and variant of an id, and nothing else.
const TENANT: &str = r"'\x00000000000070008000000000000000'::bytea";
/// Copies of every template in one statement, so that a statement takes seconds.
const AT_A_TIME: u64 = 1_000;

/// A table and how its rows find their payment.
const TABLES: [(&str, &str); 17] = [
    ("bill", "t.id = o.bill"),
    ("bill_line", "t.bill = o.bill"),
    ("orders", "t.id = o.id"),
    ("history", "t.order_id = o.id"),
    ("record", "t.order_id = o.id"),
    ("action", "t.order_id = o.id"),
    ("first_answer", "t.order_id = o.id"),
    ("authorisation", "t.order_id = o.id"),
    ("price_line", "t.order_id = o.id"),
    ("posting", "t.order_id = o.id"),
    ("prepay", "t.order_id = o.id"),
    ("cash_leg", "t.order_id = o.id"),
    ("settlement_input", "t.order_id = o.id"),
    ("settlement", "t.order_id = o.id"),
    ("settlement_amount", "t.setl_id = o.setl_id"),
    ("settlement_text", "t.setl_id = o.setl_id"),
    ("settlement_fund", "t.setl_id = o.setl_id"),
];

/// Copies finished payments until there are `orders` more. Two connections at a time: this is waited for.
pub(crate) fn fill(postgres: &Postgres, url: &str, orders: u64) -> io::Result<Duration> {
    let began = Instant::now();
    postgres.ask(
        url,
        &format!(
            "CREATE TABLE stored AS SELECT o.tenant, o.id, o.bill, s.setl_id FROM orders o \
             LEFT JOIN settlement s ON s.tenant = o.tenant AND s.order_id = o.id \
             WHERE o.state = 'completed' ORDER BY o.id LIMIT {TEMPLATES}"
        ),
    )?;
    let statements = TABLES.iter().map(|(table, of)| copy(postgres, url, table, of)).collect::<io::Result<Vec<_>>>()?;
    let copies = orders.div_ceil(TEMPLATES.into());
    let half = copies / 2;
    let run = |from: u64, to: u64| -> io::Result<()> {
        let mut from = from;
        while from < to {
            let until = to.min(from + AT_A_TIME);
            for statement in &statements {
                let between = format!("generate_series({from}, {}) AS n", until - 1);
                let all = ["SET session_replication_role = replica", "SET synchronous_commit = off"];
                postgres.ask(url, &format!("{}; {}", all.join("; "), statement.replace("{n}", &between)))?;
            }
            from = until;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(half, copies));
        run(0, half)?;
        other.join().map_err(|_| io::Error::other("copying ended early"))?
    })?;
    postgres.ask(url, "DROP TABLE stored")?;
    settle(postgres, url)?;
    Ok(began.elapsed())
}

/// The statement that copies one table's rows, with `{n}` for the numbers of the copies.
fn copy(postgres: &Postgres, url: &str, table: &str, of: &str) -> io::Result<String> {
    let told = postgres.ask(
        url,
        &format!(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = \
             '{table}' ORDER BY ordinal_position"
        ),
    )?;
    let columns: Vec<&str> = told.lines().collect();
    if columns.is_empty() {
        return Err(io::Error::other(format!("no table {table}")));
    }
    let values: Vec<String> = columns.iter().map(|column| value(table, column)).collect();
    Ok(format!(
        "INSERT INTO {table} ({}) SELECT {} FROM stored o JOIN {table} t ON t.tenant = o.tenant AND {of}, {{n}}",
        columns.join(", "),
        values.join(", "),
    ))
}

/// What a copy's column holds: its own name where others find it by that, and the template's otherwise.
fn value(table: &str, column: &str) -> String {
    let own_id = "substring(t.{column}, 1, 12) || int4send(n)";
    let own_text = "t.{column} || '-' || n";
    let value = match (table, column) {
        (_, "tenant") => TENANT,
        (_, "id" | "order_id" | "bill" | "event_id" | "last_order") => own_id,
        (_, "msgid" | "setl_id" | "bill_no" | "caller_key" | "transaction_id" | "out_trade_no") => own_text,
        // Twenty payments of everybody.
        ("orders", "person" | "payer") | ("bill", "patient") => {
            "substring(t.{column}, 1, length(t.{column}) - 8) || int8send(n / 20)"
        }
        ("orders", "deadline_at_us" | "look_at_us") => "NULL::int8",
        ("record", "published") | ("posting", "rolled_up") | ("action", "done") => "TRUE",
        ("history" | "record" | "action", "doc") => "'{}'",
        ("first_answer", "response") | ("settlement", "reply") => "''::bytea",
        _ => "t.{column}",
    };
    value.replace("{column}", column)
}
