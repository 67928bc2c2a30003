//! The HIS face as OpenAPI 3.1 at `/openapi.json`, and as a page at `/docs/` that needs no network.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{self, ServiceConfig};
use schema::his::{WorkAnswer, WorkItem};
use schema::openapi::EveryOperation;
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, PathsBuilder, Ref, Required};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{bills, orders, refunds, visit_cards, work};

/// The document. Its routes are compared with the URL table by a test.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "统付适配器 HIS 接口 / Tongfu adapter, HIS face",
        description = "所有金额单位为分，所有时间为UTC微秒。每个请求需带 `Authorization: Bearer <API密钥>`；可带 `X-Trace-Id`\
            （32位十六进制），应答原样带回。拒绝均为RFC 9457问题文档，说明资金状态与下一步。 / Amounts are fen, times \
            microseconds UTC. Every request carries the API key as bearer token and may carry `X-Trace-Id` (32 hex digits), \
            which comes back. Every refusal is an RFC 9457 problem that says what happened to the money and what to do.",
    ),
    paths(
        bills::post,
        bills::withdraw,
        bills::claim,
        orders::of_bill,
        orders::of_day,
        refunds::post,
        refunds::get,
        visit_cards::post,
        work::poll,
        work::answer,
    ),
    components(schemas(schema::refusal::Problem)),
    modifiers(&ApiKey, &EveryOperation, &Callback),
    security(("api_key" = [])),
)]
pub(super) struct HisFace;

struct ApiKey;

impl Modify for ApiKey {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// What is POSTed to an HIS that would rather be called than poll (`callback.url`).
struct Callback;

impl Modify for Callback {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let work = PathItem::new(HttpMethod::Post, work_pushed());
        document.webhooks = Some(PathsBuilder::new().path("work", work).build());
    }
}

fn work_pushed() -> Operation {
    fn json<T: ToSchema>() -> Content {
        Content::new(Some(Ref::from_schema_name(T::name())))
    }
    let item = RequestBodyBuilder::new()
        .description(Some("任务，与长轮询取得的相同 / the item, as a poll would bring it"))
        .content("application/json", json::<WorkItem>())
        .required(Some(Required::True))
        .build();
    let answer = ResponseBuilder::new()
        .description("答复 / the answer, as it would be POSTed to /his/v1/work/{id}/answer")
        .content("application/json", json::<WorkAnswer>())
        .build();
    let again =
        ResponseBuilder::new().description("稍后以同一编号再次调用 / called again later, with the same id").build();
    OperationBuilder::new()
        .tag("work")
        .operation_id(Some("work_callback"))
        .summary(Some("回调：适配器向HIS推送任务 / work by callback, in place of the long poll"))
        .description(Some(
            "设置 callback.url 后启用；适配器以 `Authorization: Bearer <API密钥>` 与 `X-Trace-Id` 调用。除合用的2xx答复外，均会重试；\
             `again` 为 `later`（或代码为 `INTERNAL`、`OUTCOME_UNKNOWN`）的拒绝也会重试，其余拒绝为最终答复。 / Used when \
             callback.url is set, with the API key as bearer token and the trace in `X-Trace-Id`. Repeated until a 2xx with an \
             answer that fits came. A refusal with `again` `later` (or code `INTERNAL` or `OUTCOME_UNKNOWN`) is repeated too; \
             every other refusal is the final answer.",
        ))
        .request_body(Some(item))
        .response("200", answer)
        .response("default", again)
        .build()
}

/// The page as it comes asks a validator on the internet about our address, and offers to fetch any other.
fn offline() -> Config<'static> {
    Config::default().validator_url("none").use_base_layout()
}

pub(super) fn configure(config: &mut ServiceConfig) {
    let there = || async { HttpResponse::PermanentRedirect().insert_header((LOCATION, "/docs/")).finish() };
    config
        .service(web::resource("/docs").route(web::get().to(there)))
        .service(SwaggerUi::new("/docs/{_:.*}").config(offline()).url("/openapi.json", HisFace::openapi()));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schema::openapi::lacking;
    use schema::refusal::Code;
    use serde_json::{Value, json};

    use super::*;
    use crate::http::routes::{HIS, HIS_FACE};

    /// The table of `schema::his`, which is the contract with HIS vendors.
    const CONTRACT: &[&str] = &[
        "POST /his/v1/bills",
        "POST /his/v1/bills/{bill_no}/withdraw",
        "POST /his/v1/bills/{bill_no}/claim",
        "GET /his/v1/bills/{bill_no}/order",
        "GET /his/v1/orders",
        "POST /his/v1/refunds",
        "GET /his/v1/refunds/{refund_no}",
        "POST /his/v1/visit-cards",
        "GET /his/v1/work",
        "POST /his/v1/work/{id}/answer",
    ];

    fn document() -> Value {
        serde_json::to_value(HisFace::openapi()).expect("serialises")
    }

    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let mut operations = Vec::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                operations.push((format!("{} {path}", method.to_uppercase()), operation));
            }
        }
        operations
    }

    #[test]
    fn the_document_and_the_url_table_list_exactly_the_contract() {
        let document = document();
        assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"));
        let contract: BTreeSet<String> = CONTRACT.iter().map(|&call| call.to_owned()).collect();
        let listed: BTreeSet<String> = operations(&document).into_iter().map(|(call, _)| call).collect();
        assert_eq!(listed, contract);
        let routed: BTreeSet<String> = HIS_FACE.iter().map(|(path, method)| format!("{method} {HIS}{path}")).collect();
        assert_eq!(routed, contract);
    }

    #[test]
    fn every_operation_has_an_id_of_its_own_and_says_how_it_refuses() {
        assert_eq!(lacking(&document()), Vec::<String>::new());
    }

    #[test]
    fn the_codes_of_refusals_are_those_of_the_wire() {
        let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(document()["components"]["schemas"]["Code"]["enum"], json!(codes));
    }

    #[test]
    fn the_callback_is_documented_and_everything_it_names_is_there() {
        let document = document();
        let call = &document["webhooks"]["work"]["post"];
        let schema = |content: &Value| content["content"]["application/json"]["schema"]["$ref"].clone();
        for (named, wanted) in
            [(schema(&call["requestBody"]), "WorkItem"), (schema(&call["responses"]["200"]), "WorkAnswer")]
        {
            assert_eq!(named, format!("#/components/schemas/{wanted}"));
            assert!(document["components"]["schemas"].get(wanted).is_some(), "{wanted}");
        }
    }

    #[actix_web::test]
    async fn the_page_asks_nobody_but_us() {
        let app = actix_web::test::init_service(actix_web::App::new().configure(super::configure)).await;
        let ask = actix_web::test::TestRequest::get().uri("/docs/swagger-initializer.js").to_request();
        let script = actix_web::test::call_and_read_body(&app, ask).await;
        let script = String::from_utf8_lossy(&script);
        assert!(script.contains(r#""validatorUrl": "none""#) && script.contains("BaseLayout"), "{script}");
        assert!(!script.contains("https://"), "{script}");
    }
}
