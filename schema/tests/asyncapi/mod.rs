//! The AsyncAPI document holds together, and its payloads judge records as the schemas of `schema/events` do.

use jsonschema::{Draft, Validator};
use schema::asyncapi::{CONTENT_TYPE, document};
use serde_json::{Value, json};

use crate::records;
use crate::sample::{STATES, record};

/// The payload of one message, with everything that it refers to.
fn payload(document: &Value, message: &str) -> Validator {
    let mut schema = document["components"]["messages"][message]["payload"].clone();
    schema["components"] = document["components"].clone();
    // What an AsyncAPI schema object is a superset of.
    jsonschema::options().with_draft(Draft::Draft7).build(&schema).expect("a sound schema")
}

#[test]
fn every_type_of_record_is_a_message_of_the_channel() {
    let document = document(Some(("tongfu.orders", 12)));
    assert_eq!(document["asyncapi"], "3.0.0");
    let channel = &document["channels"]["orders"];
    assert_eq!(channel["address"], "tongfu.orders");
    let kafka = json!({ "topic": "tongfu.orders", "partitions": 12, "bindingVersion": "0.5.0" });
    assert_eq!(channel["bindings"]["kafka"], kafka);
    let named: Vec<&String> = channel["messages"].as_object().expect("messages").keys().collect();
    let messages = document["components"]["messages"].as_object().expect("messages");
    assert_eq!(named, messages.keys().collect::<Vec<_>>());
    assert_eq!(messages.len(), STATES.len());
    for state in STATES {
        let message = &messages[&format!("order-{state}.v1")];
        assert_eq!(message["name"], format!("cn.tongfu.order.{state}.v1"));
        assert!(message["title"].as_str().is_some_and(|title| !title.is_empty()), "{message}");
        assert_eq!(message["bindings"]["kafka"]["key"], document["components"]["schemas"]["uuid"]);
        assert_eq!(message["headers"]["properties"]["content-type"]["const"], CONTENT_TYPE);
    }
    let operation = &document["operations"]["publishOrders"];
    assert_eq!((&operation["action"], &operation["channel"]["$ref"]), (&json!("send"), &json!("#/channels/orders")));
}

#[test]
fn records_that_go_to_a_file_have_no_topic() {
    let document = document(None);
    assert_eq!(document["channels"]["orders"]["address"], Value::Null);
    assert!(document["channels"]["orders"].get("bindings").is_none());
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document(None);
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 40, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn payloads_judge_records_as_the_schemas_do() {
    let document = document(None);
    for state in STATES {
        let validator = payload(&document, &format!("order-{state}.v1"));
        for other in STATES {
            assert_eq!(validator.is_valid(&record(other)), state == other, "{other} as {state}");
        }
        let whole = record(state);
        let members =
            |at: &str| whole.pointer(at).and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name);
        let paths =
            members("").map(|name| format!("/{name}")).chain(members("/data").map(|name| format!("/data/{name}")));
        for path in paths {
            let (parent, name) = path.rsplit_once('/').expect("a path");
            for without in [true, false] {
                let mut changed = whole.clone();
                let parent = changed.pointer_mut(parent).and_then(Value::as_object_mut).expect("its parent");
                if without {
                    parent.remove(name);
                } else {
                    parent.insert(name.to_owned(), json!([]));
                }
                // A record that does not say which schema is its own is judged by none.
                let own = changed["dataschema"] == whole["dataschema"];
                let sound = own && records::faults(&changed).is_empty();
                assert_eq!(validator.is_valid(&changed), sound, "{state}: {path}, removed: {without}");
            }
        }
    }
}

#[test]
fn the_documented_copy_is_what_is_printed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/asyncapi.json");
    let copy: Value = serde_json::from_slice(&std::fs::read(path).expect("docs/asyncapi.json")).expect("JSON");
    assert!(
        copy == document(None),
        "docs/asyncapi.json is out of date: replace it by what `platform events asyncapi` prints with the default settings"
    );
}
