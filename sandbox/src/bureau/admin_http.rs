//! `/sandbox/…`: the operator's functions over HTTP, in JSON. Refusals are 400 with `{code, message}`.
//!
//! | route | does |
//! | --- | --- |
//! | `POST /sandbox/persons` | [`NewPerson`] or a list of them → `{created}` |
//! | `POST /sandbox/persons/import` | CSV ([`Core::import_persons`](super::core::Core::import_persons)) → `{created}` |
//! | `POST /sandbox/persons/{psn_no}/loss` | reports the card lost → the notices queued |
//! | `POST /sandbox/persons/{psn_no}/card` | `{card_no, card_password}`: a new card |
//! | `GET /sandbox/persons/{psn_no}/card` | `{card_no, card_password}`: the card in the person's pocket |
//! | `POST /sandbox/callers` | [`Registration`] |
//! | `POST /sandbox/clear-month` | `{month: "yyyyMM"}` |
//! | `PUT /sandbox/latency` | [`Latency`]: from now on |
//! | `GET /sandbox/records`, `/books`, `/catalogue`, `/public-key` | what their names say |
//! | `POST, GET, DELETE /sandbox/faults` | fault rules ([`crate::http::fault_routes`]) |

use actix_web::web::{self, Bytes};
use actix_web::{HttpResponse, Responder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::admin::{NewPerson, Registration};
use super::config::Latency;
use super::refusal::Refusal;
use super::server::Bureau;
use crate::clock::china_now;

/// Mounts the table above, except the faults.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/sandbox/persons", web::post().to(persons))
        .route("/sandbox/persons/import", web::post().to(import))
        .route("/sandbox/persons/{psn_no}/loss", web::post().to(loss))
        .route("/sandbox/persons/{psn_no}/card", web::post().to(card))
        .route("/sandbox/persons/{psn_no}/card", web::get().to(pocket))
        .route("/sandbox/callers", web::post().to(callers))
        .route("/sandbox/clear-month", web::post().to(clear_month))
        .route("/sandbox/latency", web::put().to(latency))
        .route("/sandbox/records", web::get().to(records))
        .route("/sandbox/books", web::get().to(books))
        .route("/sandbox/catalogue", web::get().to(catalogue))
        .route("/sandbox/public-key", web::get().to(public_key));
}

type Shared = web::Data<Bureau>;

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::malformed(error.to_string()))
}

fn answer(result: Result<Value, Refusal>) -> HttpResponse {
    match result {
        Ok(value) => HttpResponse::Ok().json(value),
        Err(Refusal { infcode, message }) => {
            HttpResponse::BadRequest().json(json!({ "code": infcode, "message": message }))
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<NewPerson>),
    One(Box<NewPerson>),
}

async fn persons(bureau: Shared, body: Bytes) -> impl Responder {
    answer(read::<OneOrMany>(&body).and_then(|persons| {
        let persons = match persons {
            OneOrMany::Many(persons) => persons,
            OneOrMany::One(person) => vec![*person],
        };
        let created = bureau.with_core(|core| core.create_persons(persons))?;
        Ok(json!({ "created": created }))
    }))
}

async fn import(bureau: Shared, body: String) -> impl Responder {
    answer(bureau.with_core(|core| core.import_persons(&body)).map(|created| json!({ "created": created })))
}

async fn loss(bureau: Shared, psn_no: web::Path<String>) -> impl Responder {
    let notices = bureau.with_core(|core| core.report_loss(&psn_no, china_now()));
    bureau.notice_bell.notify_one();
    answer(notices.map(|notices| json!(notices)))
}

#[derive(Deserialize)]
struct NewCard {
    card_no: String,
    card_password: String,
}

async fn card(bureau: Shared, psn_no: web::Path<String>, body: Bytes) -> impl Responder {
    answer(read::<NewCard>(&body).and_then(|card| {
        bureau.with_core(|core| core.issue_card(&psn_no, &card.card_no, &card.card_password))?;
        Ok(json!({ "card_no": card.card_no }))
    }))
}

async fn pocket(bureau: Shared, psn_no: web::Path<String>) -> impl Responder {
    let card = bureau.with_core(|core| core.card_of(&psn_no));
    answer(card.map(|(card_no, card_password)| json!({ "card_no": card_no, "card_password": card_password })))
}

async fn callers(bureau: Shared, body: Bytes) -> impl Responder {
    answer(read::<Registration>(&body).and_then(|registration| {
        let caller = bureau.with_core(|core| core.register_caller(registration))?;
        Ok(json!({ "paasid": caller.paasid, "institutions": caller.institutions }))
    }))
}

#[derive(Deserialize)]
struct Month {
    month: String,
}

async fn clear_month(bureau: Shared, body: Bytes) -> impl Responder {
    answer(read::<Month>(&body).and_then(|Month { month }| {
        bureau.with_core(|core| core.clear_month(&month))?;
        Ok(json!({ "month": month }))
    }))
}

async fn latency(bureau: Shared, body: Bytes) -> impl Responder {
    answer(read::<Latency>(&body).map(|latency| {
        let now = json!(latency);
        bureau.with_core(|core| core.set_latency(latency));
        now
    }))
}

async fn records(bureau: Shared) -> impl Responder {
    HttpResponse::Ok().json(bureau.with_core(|core| core.records()))
}

async fn books(bureau: Shared) -> impl Responder {
    HttpResponse::Ok().json(bureau.with_core(|core| core.books()))
}

async fn catalogue(bureau: Shared) -> impl Responder {
    let catalogue = bureau.with_core(|core| std::sync::Arc::clone(core.catalogue()));
    HttpResponse::Ok().json(json!({
        "items": catalogue.items().collect::<Vec<_>>(),
        "diagnoses": catalogue.diagnoses().collect::<Vec<_>>(),
    }))
}

async fn public_key(bureau: Shared) -> impl Responder {
    HttpResponse::Ok().json(bureau.with_core(|core| {
        json!({
            "card_public_key": core.keys().card_public_key(),
            "notice_public_key": core.keys().notice_public_key(),
        })
    }))
}
