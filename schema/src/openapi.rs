//! What our OpenAPI documents say of every operation alike, so that no handler has to repeat it and none can forget it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{Content, OpenApi, Paths, Ref, RefOr, Required};
use utoipa::{Modify, ToSchema as _};

use crate::refusal::Problem;

/// `Content-Type` of every refusal.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// The header that carries a payment's trace, both ways.
pub const TRACE: &str = "X-Trace-Id";

/// Gives every operation an id of its own (its tag and its name), the trace header both ways, and its refusals: 4XX and
/// 5XX as problem documents with the headers that go with them. The document must hold [`Problem`] among its schemas.
#[derive(Debug, Clone, Copy)]
pub struct EveryOperation;

impl Modify for EveryOperation {
    fn modify(&self, document: &mut OpenApi) {
        for operation in operations(&mut document.paths) {
            name(operation);
            trace(operation);
            refusals(operation);
        }
    }
}

fn operations(paths: &mut Paths) -> impl Iterator<Item = &mut Operation> {
    paths.paths.values_mut().flat_map(|item| {
        let PathItem { get, put, post, delete, options, head, patch, .. } = item;
        [get, put, post, delete, options, head, patch].into_iter().flatten()
    })
}

fn name(operation: &mut Operation) {
    let tag = operation.tags.as_ref().and_then(|tags| tags.first());
    if let (Some(tag), Some(id)) = (tag, &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{id}").replace('-', "_"));
    }
}

fn trace_id() -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9A-Fa-f]{32}$")).build()
}

fn trace(operation: &mut Operation) {
    let given = ParameterBuilder::new()
        .name(TRACE)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("追踪号，缺省时由服务端生成 / the trace of this payment; made here if it is not given"))
        .schema(Some(trace_id()))
        .build();
    operation.parameters.get_or_insert_default().push(given.into());
}

fn refusals(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    for (status, what) in [("4XX", "拒绝 / refused"), ("5XX", "稍后重试，或查看订单 / try again, or look at the order")]
    {
        responses.entry(status.to_owned()).or_insert_with(|| Response::new(what).into());
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        let mut header = |name: &str, kind: Type, what: &str| {
            let schema = ObjectBuilder::new().schema_type(kind).build();
            let header = HeaderBuilder::new().schema(Some(schema)).description(Some(what)).build();
            response.headers.insert(name.to_owned(), header.into());
        };
        header(TRACE, Type::String, "追踪号 / the trace id");
        let refused = status.starts_with(['4', '5']);
        if refused {
            header("Retry-After", Type::Integer, "多少秒后重试 / seconds after which trying again makes sense");
        }
        if status.starts_with('4') {
            header("Allow", Type::String, "405: 该地址支持的方法 / the methods of this address");
            header("WWW-Authenticate", Type::String, "401: 凭证种类 / the kind of credential");
        }
        if refused {
            let problem = Content::new(Some(Ref::from_schema_name(Problem::name())));
            response.content.clear();
            response.content.insert(PROBLEM_JSON.to_owned(), problem.into());
        }
    }
}

/// What a document lacks of what [`EveryOperation`] gives, operation by operation. Empty for a document that is whole.
pub fn lacking(document: &Value) -> Vec<String> {
    let problem = json!({ PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } });
    let (mut lacking, mut ids) = (Vec::new(), BTreeSet::new());
    let paths = document["paths"].as_object().into_iter().flatten();
    let calls = paths.flat_map(|(path, item)| {
        item.as_object().into_iter().flatten().map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    for (call, operation) in calls {
        let mut wants = |there: bool, what: &str| {
            if !there {
                lacking.push(format!("{call}: {what}"));
            }
        };
        wants(operation["operationId"].as_str().is_some_and(|id| ids.insert(id.to_owned())), "an id of its own");
        let parameters = operation["parameters"].as_array();
        let traced = |it: &Value| it["name"] == TRACE && it["in"] == "header";
        wants(parameters.is_some_and(|parameters| parameters.iter().any(traced)), "the trace as parameter");
        let responses = &operation["responses"];
        wants(responses["4XX"]["headers"].get("Allow").is_some(), "4XX with Allow");
        wants(responses.get("5XX").is_some(), "5XX");
        for (status, response) in responses.as_object().into_iter().flatten() {
            let headers = &response["headers"];
            wants(headers.get(TRACE).is_some(), &format!("{status} with the trace"));
            if status.starts_with(['4', '5']) {
                wants(response["content"] == problem, &format!("{status} as a problem"));
                wants(headers.get("Retry-After").is_some(), &format!("{status} with Retry-After"));
            }
        }
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_operation_lacks_everything_that_all_have_alike() {
        let bare = json!({ "paths": { "/bills": { "post": { "responses": { "404": {} } } } } });
        let what = |lacking: Vec<String>| lacking.join(", ").replace("post /bills: ", "");
        assert_eq!(
            what(lacking(&bare)),
            "an id of its own, the trace as parameter, 4XX with Allow, 5XX, 404 with the trace, 404 as a problem, 404 with \
             Retry-After"
        );
    }
}
