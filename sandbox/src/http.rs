//! What every counterparty's HTTP server needs: breaking a connection, taking fault rules, starting and stopping.

use std::io;
use std::sync::Arc;

use actix_web::web::{self, Bytes};
use actix_web::{HttpResponse, Responder};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::fault::{Fault, Faults, Rule};

/// Breaks the connection instead of answering: the caller sees it close before a single byte of a reply.
///
/// The body's first chunk is an error, upon which actix-web gives the connection up before it has flushed the head.
pub fn hang_up() -> HttpResponse {
    let severed = io::Error::new(io::ErrorKind::ConnectionAborted, "a fault rule hangs up");
    HttpResponse::Ok().streaming(stream::iter([Err::<Bytes, io::Error>(severed)]))
}

/// What a counterparty does with one call, after the fault rules were asked. Delays have already passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// Act and answer.
    Act,
    /// Act as if the call had come twice, and answer the second.
    ActTwice,
    /// Act and hang up.
    ActThenHangUp,
    /// Hang up now and act after this many milliseconds.
    HangUpThenAct(u64),
    /// Hang up without acting.
    HangUp,
    /// Answer as if done, without acting.
    Pretend,
    /// Act, but otherwise than was agreed; where that means nothing, as [`Course::Act`].
    Differ,
    /// Refuse in the counterparty's words.
    Refuse {
        /// The code in its dialect.
        code: String,
        /// The sentence beside it.
        message: String,
    },
    /// Refuse as busy.
    Busy,
}

/// Asks the rules about one call and waits out a delay. A fault that means nothing to an HTTP call changes nothing.
pub async fn course(faults: &Faults, operation: &str, subject: &str) -> Course {
    match faults.strike(operation, subject) {
        Some(Fault::Delay { delay_ms }) => {
            tokio::time::sleep(std::time::Duration::from_millis(delay_ms)).await;
            Course::Act
        }
        Some(Fault::Refuse { code, message }) => Course::Refuse { code, message },
        Some(Fault::DoButDoNotAnswer) => Course::ActThenHangUp,
        Some(Fault::AnswerButDoNotDo) => Course::Pretend,
        Some(Fault::NeitherDoNorAnswer) => Course::HangUp,
        Some(Fault::LateCommit { delay_ms }) => Course::HangUpThenAct(delay_ms),
        Some(Fault::Duplicate) => Course::ActTwice,
        Some(Fault::Busy) => Course::Busy,
        Some(Fault::Differ) => Course::Differ,
        Some(Fault::ExecuteAfterReversal { .. } | Fault::NeverNotify | Fault::NotFoundIsAnError) | None => Course::Act,
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Rules {
    Many(Vec<Rule>),
    One(Rule),
}

/// `POST /sandbox/faults` (one rule or a list; added), `DELETE` (all forgotten, or those with `?subject=`), `GET` (how
/// often any struck).
pub fn fault_routes(faults: Arc<Faults>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config.service(
            web::resource("/sandbox/faults")
                .app_data(web::Data::from(faults))
                .route(web::post().to(add_rules))
                .route(web::delete().to(forget_rules))
                .route(web::get().to(count_strikes)),
        );
    }
}

async fn add_rules(faults: web::Data<Faults>, body: Bytes) -> impl Responder {
    match serde_json::from_slice::<Rules>(&body) {
        Ok(Rules::One(rule)) => {
            faults.add(rule);
            HttpResponse::Ok().json(json!({ "added": 1 }))
        }
        Ok(Rules::Many(rules)) => {
            let added = rules.len();
            rules.into_iter().for_each(|rule| faults.add(rule));
            HttpResponse::Ok().json(json!({ "added": added }))
        }
        Err(fault) => HttpResponse::BadRequest().json(json!({ "code": "BAD_RULE", "message": fault.to_string() })),
    }
}

#[derive(Deserialize)]
struct About {
    subject: Option<String>,
}

async fn forget_rules(about: web::Query<About>, faults: web::Data<Faults>) -> impl Responder {
    match &about.subject {
        Some(subject) => faults.forget(subject),
        None => faults.clear(),
    }
    HttpResponse::Ok().json(json!({ "added": 0 }))
}

async fn count_strikes(faults: web::Data<Faults>) -> impl Responder {
    HttpResponse::Ok().json(json!({ "struck": faults.struck() }))
}

/// Rules from a JSON file holding one rule or a list.
pub fn rules_from(file: &std::path::Path) -> io::Result<Vec<Rule>> {
    let text = std::fs::read(file)?;
    match serde_json::from_slice(&text) {
        Ok(Rules::Many(rules)) => Ok(rules),
        Ok(Rules::One(rule)) => Ok(vec![rule]),
        Err(fault) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: {fault}", file.display()))),
    }
}

/// The one line on standard output by which a parent process learns that a party listens, and where.
pub fn print_ready(party: &str, url: &str) {
    println!(r#"{{"ready":"{party}","url":"{url}"}}"#);
}

/// SIGINT and SIGTERM, caught from the moment this is made: make it before the ready line is printed, or a parent
/// quick to change its mind kills the process before it can save.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Starts catching.
    pub fn catch() -> io::Result<StopSignals> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(StopSignals { interrupt, terminate })
    }

    /// Resolves at the first of them.
    pub async fn told_to_stop(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
