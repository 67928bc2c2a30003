//! The phone API as OpenAPI 3.1 at `/openapi.json`, and as a page at `/docs/` that needs no network.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use schema::openapi::EveryOperation;
use utoipa::openapi::Required;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::mobile;

/// The document. Its routes are compared with the URL table by a test.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tongfu 统付 phone API",
        description = "Amounts are fen, times microseconds UTC, ids UUIDs. Every change carries `Idempotency-Key`: the \
            same key with the same request gets the first answer byte for byte. A change answers 202 with what was \
            decided; outcomes come by `GET /mobile/v1/events` or by GET. Every refusal is a problem document that says \
            what happened to the money.",
    ),
    paths(
        mobile::login::send_code,
        mobile::login::login,
        mobile::people::bureau_key,
        mobile::people::bindings,
        mobile::people::bind,
        mobile::people::unbind,
        mobile::people::bind_level2,
        mobile::people::report_loss,
        mobile::bills::list,
        mobile::bills::one,
        mobile::orders::list,
        mobile::orders::open,
        mobile::orders::one,
        mobile::orders::send_code,
        mobile::orders::pay,
        mobile::orders::cancel,
        mobile::orders::receipt,
        mobile::events::events,
    ),
    tags(
        (name = "login", description = "登录 / logging in by text message"),
        (name = "bindings", description = "绑定 / whose insurance this phone may look at, and spend"),
        (name = "bills", description = "待缴费单 / what hospitals ask for"),
        (name = "orders", description = "支付订单 / paying a bill"),
        (name = "events", description = "通知 / the bell that says when to look again"),
    ),
    components(schemas(schema::refusal::Problem, schema::mobile::Bell)),
    modifiers(&Credentials, &Keys, &EveryOperation),
)]
pub(super) struct PhoneApi;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("session", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        components.add_security_scheme(
            "channel",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Tongfu-Channel"))),
        );
    }
}

/// Every change carries a key.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            let PathItem { post, put, patch, delete, .. } = item;
            for operation in [post, put, patch, delete].into_iter().flatten() {
                let key = ParameterBuilder::new()
                    .name("Idempotency-Key")
                    .parameter_in(ParameterIn::Header)
                    .required(Required::True)
                    .description(Some(
                        "1 to 64 visible ASCII characters, unique in the login; in the channel before it",
                    ))
                    .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
                    .build();
                operation.parameters.get_or_insert_default().push(key.into());
            }
        }
    }
}

/// The page as it comes asks a validator on the internet about our address, and offers to fetch any other.
fn offline() -> Config<'static> {
    Config::default().validator_url("none").use_base_layout()
}

pub(super) fn configure(config: &mut ServiceConfig) {
    let there = || async { HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/docs/")).finish() };
    config
        .service(web::resource("/docs").route(web::get().to(there)))
        .service(SwaggerUi::new("/docs/{_:.*}").config(offline()).url("/openapi.json", PhoneApi::openapi()));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schema::openapi::lacking;
    use schema::refusal::Code;

    use super::*;
    use crate::http::routes::GROUPS;

    #[test]
    fn every_phone_route_is_documented_and_nothing_else() {
        let table = GROUPS.iter().find(|group| group.name == "mobile").expect("the phone's group");
        let routed: BTreeSet<String> = table
            .routes
            .iter()
            .flat_map(|(path, methods)| methods.iter().map(move |method| format!("{method} {path}")))
            .collect();
        let document = serde_json::to_value(PhoneApi::openapi()).expect("serialises");
        let documented: BTreeSet<String> = document["paths"]
            .as_object()
            .expect("paths")
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("an item").keys();
                methods.map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        assert_eq!(routed, documented);
        assert_eq!(document["openapi"], "3.1.0");
    }

    #[test]
    fn every_operation_has_an_id_of_its_own_and_says_how_it_refuses() {
        let document = serde_json::to_value(PhoneApi::openapi()).expect("serialises");
        assert_eq!(lacking(&document), Vec::<String>::new());
    }

    #[test]
    fn the_codes_of_refusals_are_those_of_the_wire() {
        let document = serde_json::to_value(PhoneApi::openapi()).expect("serialises");
        let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(document["components"]["schemas"]["Code"]["enum"], serde_json::json!(codes));
    }

    #[test]
    fn every_phone_route_but_login_wants_a_session_and_every_change_a_key() {
        let document = serde_json::to_value(PhoneApi::openapi()).expect("serialises");
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("an item") {
                let login = path.starts_with("/mobile/v1/login");
                let scheme = if login { "channel" } else { "session" };
                assert!(operation["security"][0].get(scheme).is_some(), "{method} {path}");
                let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                let keyed = parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key");
                assert_eq!(keyed, method != "get", "{method} {path}");
            }
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
