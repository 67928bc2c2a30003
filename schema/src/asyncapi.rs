//! The published records as AsyncAPI 3: the topic, its key and header, and a message per type of record, whose payload is
//! the JSON Schema of `schema/events`.

use serde_json::{Map, Value, json};

use crate::event::SCHEMAS;

/// `content-type` of every message: a CloudEvent in structured JSON form.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// What the records of all types share; describes none of them.
const SHARED: &str = "order.v1.json";

/// The document. `topic`: the Kafka topic and over how many of its partitions orders are spread; none where records go
/// to a file.
pub fn document(topic: Option<(&str, i32)>) -> Value {
    let mut schemas = Map::new();
    let mut key = Value::Null;
    let (mut messages, mut named) = (Map::new(), Map::new());
    for (file, text) in SCHEMAS {
        let Ok(Value::Object(mut schema)) = serde_json::from_str(text) else { continue };
        for meta in ["$schema", "$id"] {
            schema.remove(meta);
        }
        if let Some(Value::Object(parts)) = schema.remove("$defs") {
            // The key's schema is spelt out: a reference would be one too, and a binding must be only one of the two.
            key = parts.get("uuid").cloned().unwrap_or(key);
            schemas.extend(parts.into_iter().map(|(name, part)| (name, rooted(part))));
        }
        let name = file.trim_end_matches(".json");
        if *file != SHARED {
            let (title, kind) = (schema.get("title").cloned(), schema["properties"]["type"]["const"].clone());
            messages.insert(name.to_owned(), message(name, title, kind, &key));
            named.insert(name.to_owned(), json!({ "$ref": format!("#/components/messages/{name}") }));
        }
        schemas.insert(name.to_owned(), rooted(Value::Object(schema)));
    }
    let mut channel = json!({
        "address": topic.map(|(topic, _)| topic),
        "title": "订单事件 / records of orders",
        "description": "每次状态变化一条记录，同一订单的记录按sequence从1连续编号、按序到达、可能重复；按（subject, sequence）\
                        去重。主题长期保留，可从头重读。\n\nOne record per transition. An order's records are numbered by \
                        `sequence` from 1 without gaps and come in order; repeats are possible and are dropped by \
                        (`subject`, `sequence`). Everything is kept and can be read again from the beginning. The key is \
                        the order's id, and so is its partition: the id as a 128-bit number, modulo the number of \
                        partitions.",
        "messages": named,
    });
    if let Some((topic, partitions)) = topic {
        let kafka = json!({ "topic": topic, "partitions": partitions, "bindingVersion": "0.5.0" });
        channel["bindings"] = json!({ "kafka": kafka });
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "统付事件流 / Tongfu events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "供对账与统计使用；金额单位为分，不含个人信息。\n\nFor reconciliation and statistics. Amounts are \
                            fen. No personal data.",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": { "orders": channel },
        "operations": {
            "publishOrders": {
                "action": "send",
                "channel": { "$ref": "#/channels/orders" },
                "summary": "平台发布订单的每次状态变化 / the platform publishes every transition of an order",
            },
        },
        "components": { "messages": messages, "schemas": schemas },
    })
}

fn message(name: &str, title: Option<Value>, kind: Value, key: &Value) -> Value {
    json!({
        "name": kind,
        "title": title,
        "contentType": CONTENT_TYPE,
        "headers": {
            "type": "object",
            "properties": { "content-type": { "const": CONTENT_TYPE } },
            "required": ["content-type"],
        },
        "payload": { "$ref": format!("#/components/schemas/{name}") },
        "bindings": { "kafka": { "key": key, "bindingVersion": "0.5.0" } },
    })
}

/// References within a file and between files become references within the document.
fn rooted(mut schema: Value) -> Value {
    root(&mut schema);
    schema
}

fn root(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(to) if name == "$ref" => {
                        let to_name = to.trim_start_matches("#/$defs/").trim_end_matches(".json");
                        *to = format!("#/components/schemas/{to_name}");
                    }
                    other => root(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(root),
        _ => {}
    }
}
