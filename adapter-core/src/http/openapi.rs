//! The HIS face as OpenAPI 3.1 at `/openapi.json`, and as a page at `/docs/` that needs no network.

use actix_web::web::ServiceConfig;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::SwaggerUi;

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
    modifiers(&ApiKey),
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

pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(SwaggerUi::new("/docs/{_:.*}").url("/openapi.json", HisFace::openapi()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of `schema::his`, which is the contract with HIS vendors.
    const CONTRACT: &[(&str, &str)] = &[
        ("/his/v1/bills", "post"),
        ("/his/v1/bills/{bill_no}/withdraw", "post"),
        ("/his/v1/bills/{bill_no}/claim", "post"),
        ("/his/v1/bills/{bill_no}/order", "get"),
        ("/his/v1/orders", "get"),
        ("/his/v1/refunds", "post"),
        ("/his/v1/refunds/{refund_no}", "get"),
        ("/his/v1/visit-cards", "post"),
        ("/his/v1/work", "get"),
        ("/his/v1/work/{id}/answer", "post"),
    ];

    #[test]
    fn the_document_lists_exactly_the_contract() {
        let document = serde_json::to_value(HisFace::openapi()).expect("serialises");
        assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"));
        let mut listed: Vec<(String, String)> = Vec::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            listed.extend(methods.as_object().expect("methods").keys().map(|method| (path.clone(), method.clone())));
        }
        listed.sort();
        let mut contract: Vec<(String, String)> =
            CONTRACT.iter().map(|(path, method)| ((*path).to_owned(), (*method).to_owned())).collect();
        contract.sort();
        assert_eq!(listed, contract);
    }
}
