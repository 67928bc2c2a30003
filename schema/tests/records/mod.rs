//! Reads published records as a consumer would: each against the schema that it names, and numbered per order.
//! Other crates' tests include this file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jsonschema::{Resource, Validator};
use schema::event::SCHEMAS;
use serde_json::Value;

/// Where the schemas' relative names are resolved. Nothing is fetched.
const BASE: &str = "json-schema:///";

static VALIDATORS: LazyLock<BTreeMap<&'static str, Validator>> = LazyLock::new(|| {
    let absolute = |(name, text): &(&'static str, &str)| {
        let mut schema: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(schema["$id"], *name, "a file is called what it calls itself");
        schema["$id"] = format!("{BASE}{name}").into();
        (*name, schema)
    };
    let schemas: Vec<(&str, Value)> = SCHEMAS.iter().map(absolute).collect();
    let compile = |schema: &Value| {
        let resource = |(name, schema): &(&str, Value)| {
            (format!("{BASE}{name}"), Resource::from_contents(schema.clone()).expect("a sound schema"))
        };
        let options = jsonschema::options().with_resources(schemas.iter().map(resource));
        options.build(schema).expect("a sound schema")
    };
    schemas.iter().map(|(name, schema)| (*name, compile(schema))).collect()
});

/// Everything wrong with one record in itself.
pub(crate) fn faults(record: &Value) -> Vec<String> {
    let name = record["dataschema"].as_str().unwrap_or_default();
    // What all of them share describes no type.
    let Some(validator) = VALIDATORS.get(name).filter(|_| name != "order.v1.json") else {
        return vec![format!("no schema describes {record}")];
    };
    validator.iter_errors(record).map(|error| format!("{}: {error} in {record}", error.instance_path)).collect()
}

/// What a whole stream of records holds.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The last number of each order.
    pub(crate) orders: BTreeMap<String, i64>,
    /// The types that occurred.
    pub(crate) types: BTreeSet<String>,
    /// The refunds' states that occurred.
    pub(crate) refund_states: BTreeSet<String>,
    /// Everything wrong with it.
    pub(crate) faults: Vec<String>,
}

/// Reads a stream: repeats are dropped, and the numbers of an order must then follow each other from 1.
pub(crate) fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Seen {
    let mut seen = Seen::default();
    let mut firsts: BTreeMap<(String, i64), String> = BTreeMap::new();
    for line in lines {
        let Ok(record) = serde_json::from_str::<Value>(line) else {
            seen.faults.push(format!("no record: {line}"));
            continue;
        };
        let order = record["subject"].as_str().unwrap_or_default().to_owned();
        let sequence = record["sequence"].as_i64().unwrap_or_default();
        if let Some(first) = firsts.get(&(order.clone(), sequence)) {
            if first != line {
                seen.faults.push(format!("{order} {sequence}: a repeat says something else: {line}"));
            }
            continue;
        }
        seen.faults.extend(faults(&record));
        let last = seen.orders.entry(order.clone()).or_default();
        if sequence != *last + 1
            || record["data"]["version"] != sequence
            || (sequence == 1) != record["data"]["from"].is_null()
        {
            seen.faults.push(format!("{order}: {line} after number {last}"));
        }
        *last = sequence;
        seen.types.insert(record["type"].as_str().unwrap_or_default().to_owned());
        if let Some(state) = record["data"]["refund"]["state"].as_str() {
            seen.refund_states.insert(state.to_owned());
        }
        firsts.insert((order, sequence), line.to_owned());
    }
    seen
}
