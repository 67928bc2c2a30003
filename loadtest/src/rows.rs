//! The rows that payments wrote, as PostgreSQL's own log tells them (`test_decoding`), and the `pgbench` scripts that
//! write the same rows again.
//!
//! One script is one payment, one transaction in it is one transition of its order. What was written beside the
//! transitions (the mark that an action is done, a first answer, the mark that a record is published) goes with the
//! transition before it, which spares `pgbench` those commits. Changes of rows that were there before are left out, so
//! that its clients never wait for one another. Rows of one table are inserted by one statement. All three favour
//! `pgbench`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What one transaction did, in order.
pub(crate) type Transaction = Vec<Change>;

/// One row's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    table: String,
    kind: Kind,
    /// The row as it is afterwards; of a deleted one, its key.
    columns: Vec<Column>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Insert,
    Update,
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    name: String,
    kind: String,
    /// None for null; an update's column that did not change and lies elsewhere is not among the columns at all.
    value: Option<String>,
}

/// The columns by which rows of a table are told apart, by table: every unique index's.
pub(crate) type Keys = BTreeMap<String, Vec<Vec<String>>>;

/// Reads what `pg_logical_slot_get_changes` said, line by line; what is no row's change is skipped.
pub(crate) fn transactions<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Transaction> {
    let mut transactions = Vec::new();
    let mut open = Vec::new();
    for line in lines {
        if line.starts_with("COMMIT") {
            transactions.push(std::mem::take(&mut open));
        } else if let Some(change) = line.strip_prefix("table public.").and_then(change) {
            open.push(change);
        }
    }
    transactions
}

fn change(text: &str) -> Option<Change> {
    let (table, rest) = text.split_once(": ")?;
    let (kind, rest) = rest.split_once(": ")?;
    let kind = match kind {
        "INSERT" => Kind::Insert,
        "UPDATE" => Kind::Update,
        "DELETE" => Kind::Delete,
        _ => return None,
    };
    let rest = rest.split_once("new-tuple: ").map_or(rest, |(_, new)| new);
    Some(Change { table: table.to_owned(), kind, columns: columns(rest) })
}

/// `name[type]:value name[type]:'quoted'' value' …`
fn columns(mut text: &str) -> Vec<Column> {
    let mut columns = Vec::new();
    while let Some((name, rest)) = text.split_once('[') {
        let Some((kind, rest)) = rest.split_once("]:") else { break };
        let (value, rest) = match rest.strip_prefix('\'') {
            Some(quoted) => {
                let (value, rest) = unquoted(quoted);
                (Some(value), rest)
            }
            None => {
                let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                ((word != "null").then(|| word.to_owned()), rest)
            }
        };
        if value.as_deref() != Some("unchanged-toast-datum") {
            columns.push(Column { name: name.trim().to_owned(), kind: kind.to_owned(), value });
        }
        text = rest;
    }
    columns
}

/// A text up to its closing quote, and what follows.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut rest = text;
    while let Some((part, after)) = rest.split_once('\'') {
        value.push_str(part);
        match after.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return (value, after),
        }
    }
    (value, "")
}

/// The script that writes one payment's rows anew each time, and how many transactions are in it.
pub(crate) struct Script {
    /// What `pgbench --file` reads.
    pub(crate) text: String,
    /// Transactions in it.
    pub(crate) transactions: usize,
    /// Rows it inserts, changes and deletes.
    pub(crate) rows: usize,
}

/// Tables that are written by the clock or by errands, whatever is paid, and those of the set-up and of people.
const NOT_OF_A_PAYMENT: [&str; 10] = [
    "lease",
    "duty",
    "balance",
    "tenant",
    "channel",
    "institution",
    "channel_user",
    "binding",
    "person_insurance",
    "visit_card",
];

/// The script of one payment's transactions.
pub(crate) fn script(transactions: &[Transaction], keys: &Keys) -> Script {
    let mut steps: Vec<Vec<&Change>> = vec![Vec::new()];
    for transaction in transactions {
        if transaction.iter().any(|change| change.table == "history")
            && steps.last().is_some_and(|last| !last.is_empty())
        {
            steps.push(Vec::new());
        }
        let of_payment = transaction.iter().filter(|change| !NOT_OF_A_PAYMENT.contains(&change.table.as_str()));
        if let Some(step) = steps.last_mut() {
            step.extend(of_payment);
        }
    }
    let identities = Identities::of(&steps, keys);
    let mut rows: BTreeMap<(String, Vec<Option<String>>), Vec<Column>> = BTreeMap::new();
    // Twelve digits whatever comes, and near one another for clients at the same time, as ids of one moment are.
    let mut script = Script {
        text: "\\set i :i + 1\n\\set n 100000000000 + :i * 64 + :client_id\n".into(),
        transactions: 0,
        rows: 0,
    };
    for step in &steps {
        let mut statements = String::new();
        let mut at = 0;
        while at < step.len() {
            let change = step[at];
            match change.kind {
                Kind::Insert => {
                    // All that are inserted into one table: by then whatever they refer to is there.
                    let same: Vec<&Change> = step[at..]
                        .iter()
                        .copied()
                        .take_while(|other| other.kind == Kind::Insert && other.table == change.table)
                        .collect();
                    at += same.len();
                    script.rows += same.len();
                    for row in &same {
                        rows.insert(key(row, keys), row.columns.clone());
                    }
                    insert(&mut statements, &same, &identities);
                    continue;
                }
                Kind::Update => {
                    if let Some(known) = rows.get_mut(&key(change, keys)) {
                        let new: Vec<Column> =
                            change.columns.iter().filter(|column| !known.contains(column)).cloned().collect();
                        known.retain(|column| !new.iter().any(|new| new.name == column.name));
                        known.extend(new.iter().cloned());
                        if !new.is_empty() {
                            script.rows += 1;
                            update(&mut statements, change, &new, keys, &identities);
                        }
                    }
                }
                Kind::Delete => {
                    if rows.remove(&key(change, keys)).is_some() {
                        script.rows += 1;
                        delete(&mut statements, change, &identities);
                    }
                }
            }
            at += 1;
        }
        if !statements.is_empty() {
            script.transactions += 1;
            let _ = write!(script.text, "BEGIN;\n{statements}COMMIT;\n");
        }
    }
    script
}

/// A row's primary key, which is its table's first.
fn key(change: &Change, keys: &Keys) -> (String, Vec<Option<String>>) {
    let names = keys.get(&change.table).and_then(|keys| keys.first());
    let of = |name: &String| change.columns.iter().find(|column| &column.name == name).and_then(|it| it.value.clone());
    (change.table.clone(), names.into_iter().flatten().map(of).collect())
}

/// The values that name something that a payment makes: each time they are others.
struct Identities(BTreeMap<String, usize>);

impl Identities {
    /// A value is one if it alone, beside the tenant, tells a new row from all others; and the numbers that callers give.
    fn of(steps: &[Vec<&Change>], keys: &Keys) -> Identities {
        let mut found = BTreeMap::new();
        for change in steps.iter().flatten().filter(|change| change.kind == Kind::Insert) {
            for key in keys.get(&change.table).into_iter().flatten() {
                let own: Vec<&str> = key.iter().map(String::as_str).filter(|name| *name != "tenant").collect();
                let named = match own.as_slice() {
                    [one] => Some(*one),
                    [.., last] => ["bill_no", "caller_key", "refund_no"].contains(last).then_some(*last),
                    [] => None,
                };
                let column = change.columns.iter().find(|column| Some(column.name.as_str()) == named);
                if let Some(value) = column.and_then(|column| column.value.clone()) {
                    let number = found.len();
                    found.entry(value).or_insert(number);
                }
            }
        }
        Identities(found)
    }

    /// A value as SQL.
    fn sql(&self, column: &Column) -> String {
        let Some(value) = &column.value else { return "NULL".into() };
        let identity = self.0.get(value);
        match (column.kind.as_str(), identity) {
            // As long as it was: a number of this identity, and the payment's.
            ("bytea", Some(number)) => {
                let bytes = value.len().saturating_sub(2) / 2;
                let filled = 2 * bytes.saturating_sub(8);
                format!("('\\x{number:0filled$x}'::bytea || int8send(:n))")
            }
            ("text", Some(number)) => {
                let kept: String = value.chars().take(value.chars().count().saturating_sub(14)).collect();
                format!("({} || :n::int8::text)", quoted(&format!("{kept}{number:02}")))
            }
            ("bigint" | "integer" | "smallint", _) => value.clone(),
            ("boolean", _) => value.clone(),
            (kind, _) => format!("{}::{kind}", quoted(value)),
        }
    }
}

/// A literal in which `pgbench` finds no variable.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('\'', "''").replace(':', "\\072").replace('\n', "\\n");
    format!("E'{escaped}'")
}

fn insert(out: &mut String, rows: &[&Change], identities: &Identities) {
    let Some(first) = rows.first() else { return };
    let names: Vec<&str> = first.columns.iter().map(|column| column.name.as_str()).collect();
    let values: Vec<String> = rows
        .iter()
        .map(|row| {
            let values: Vec<String> = row.columns.iter().map(|column| identities.sql(column)).collect();
            format!("({})", values.join(", "))
        })
        .collect();
    let _ = writeln!(out, "INSERT INTO {} ({}) VALUES {};", first.table, names.join(", "), values.join(", "));
}

fn update(out: &mut String, row: &Change, new: &[Column], keys: &Keys, identities: &Identities) {
    let primary = keys.get(&row.table).and_then(|keys| keys.first());
    let is_key = |column: &Column| primary.is_some_and(|key| key.contains(&column.name));
    let equal = |column: &Column| format!("{} = {}", column.name, identities.sql(column));
    let set: Vec<String> = new.iter().map(equal).collect();
    let by: Vec<String> = row.columns.iter().filter(|column| is_key(column)).map(equal).collect();
    let _ = writeln!(out, "UPDATE {} SET {} WHERE {};", row.table, set.join(", "), by.join(" AND "));
}

fn delete(out: &mut String, row: &Change, identities: &Identities) {
    let by: Vec<String> =
        row.columns.iter().map(|column| format!("{} = {}", column.name, identities.sql(column))).collect();
    let _ = writeln!(out, "DELETE FROM {} WHERE {};", row.table, by.join(" AND "));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        let key = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        [
            ("orders".to_owned(), vec![key(&["tenant", "id"])]),
            ("history".to_owned(), vec![key(&["tenant", "order_id", "version"]), key(&["tenant", "event_id"])]),
            ("binding".to_owned(), vec![key(&["tenant", "id"])]),
        ]
        .into()
    }

    #[test]
    fn a_payments_rows_are_written_anew_transition_by_transition() {
        let told = [
            "BEGIN 7",
            r#"table public.orders: INSERT: tenant[bytea]:'\x00' id[bytea]:'\x0000000000000000000000000000aa01' doc[text]:'{"a":''b;''}' trace_id[text]:null"#,
            r#"table public.history: INSERT: tenant[bytea]:'\x00' order_id[bytea]:'\x0000000000000000000000000000aa01' version[bigint]:1 event_id[bytea]:'\x0000000000000000000000000000bb01'"#,
            "COMMIT 7",
            "BEGIN 8",
            r#"table public.orders: UPDATE: tenant[bytea]:'\x00' id[bytea]:'\x0000000000000000000000000000aa01' doc[text]:unchanged-toast-datum trace_id[text]:'t'"#,
            r#"table public.binding: UPDATE: tenant[bytea]:'\x00' id[bytea]:'\x0000000000000000000000000000cc01'"#,
            r#"table public.lease: INSERT: process[bytea]:'\x00'"#,
            "COMMIT 8",
            "BEGIN 9",
            r#"table public.history: INSERT: tenant[bytea]:'\x00' order_id[bytea]:'\x0000000000000000000000000000aa01' version[bigint]:2 event_id[bytea]:'\x0000000000000000000000000000bb02'"#,
            r#"table public.orders: DELETE: tenant[bytea]:'\x00' id[bytea]:'\x0000000000000000000000000000aa01'"#,
            "COMMIT 9",
        ];
        let script = script(&transactions(told.into_iter()), &keys());
        let order = r"('\x0000000000000000'::bytea || int8send(:n))";
        let expected = [
            r"\set i :i + 1".to_owned(),
            r"\set n 100000000000 + :i * 64 + :client_id".to_owned(),
            "BEGIN;".to_owned(),
            format!(
                r#"INSERT INTO orders (tenant, id, doc, trace_id) VALUES (E'\\x00'::bytea, {order}, E'{{"a"\072''b;''}}'::text, NULL);"#
            ),
            format!(
                r"INSERT INTO history (tenant, order_id, version, event_id) VALUES (E'\\x00'::bytea, {order}, 1, ('\x0000000000000001'::bytea || int8send(:n)));"
            ),
            format!(r"UPDATE orders SET trace_id = E't'::text WHERE tenant = E'\\x00'::bytea AND id = {order};"),
            "COMMIT;".to_owned(),
            "BEGIN;".to_owned(),
            format!(
                r"INSERT INTO history (tenant, order_id, version, event_id) VALUES (E'\\x00'::bytea, {order}, 2, ('\x0000000000000002'::bytea || int8send(:n)));"
            ),
            format!(r"DELETE FROM orders WHERE tenant = E'\\x00'::bytea AND id = {order};"),
            "COMMIT;".to_owned(),
        ];
        assert_eq!(script.text.lines().collect::<Vec<_>>(), expected);
        assert_eq!((script.transactions, script.rows), (2, 5));
    }
}
