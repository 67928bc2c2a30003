//! The whole URL table, grouped by who calls. Every other address is 404, every other method 405 with `Allow`.

use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Resource};

use super::{bureau, health, link, mobile, wallet};

/// A group of routes: who calls, and what they may call.
pub struct Group {
    /// Who calls.
    pub name: &'static str,
    /// Address templates with their methods.
    pub routes: &'static [(&'static str, &'static [&'static str])],
}

macro_rules! table {
    ($($(#[$doc:meta])* $group:ident { $($path:literal { $($method:ident $handler:path),+ $(,)? })+ })+) => {
        /// Every group, for documents and tests.
        pub const GROUPS: &[Group] = &[$(
            Group { name: stringify!($group), routes: &[$(($path, &[$(stringify!($method)),+])),+] },
        )+];

        $($(#[$doc])*
        fn $group(config: &mut ServiceConfig) {
            $(config.service(
                resource($path, &[$(stringify!($method)),+])$(.route(table!(@$method).to($handler)))+
            );)+
        })+

        pub(super) fn configure(config: &mut ServiceConfig) {
            $($group(config);)+
        }
    };
    (@GET) => { web::get() };
    (@HEAD) => { web::head() };
    (@POST) => { web::post() };
    (@DELETE) => { web::delete() };
}

table! {
    /// Persons, through a channel: a channel key before login, a bearer token after it.
    mobile {
        "/mobile/v1/login/code" { POST mobile::login::send_code }
        "/mobile/v1/login" { POST mobile::login::login }
        "/mobile/v1/bureau-key" { GET mobile::people::bureau_key }
        "/mobile/v1/bindings" { GET mobile::people::bindings, POST mobile::people::bind }
        "/mobile/v1/bindings/{id}" { DELETE mobile::people::unbind }
        "/mobile/v1/bindings/{id}/level2" { POST mobile::people::bind_level2 }
        "/mobile/v1/bindings/{id}/loss" { POST mobile::people::report_loss }
        "/mobile/v1/bills" { GET mobile::bills::list }
        "/mobile/v1/bills/{id}" { GET mobile::bills::one }
        "/mobile/v1/orders" { GET mobile::orders::list, POST mobile::orders::open }
        "/mobile/v1/orders/{id}" { GET mobile::orders::one }
        "/mobile/v1/orders/{id}/code" { POST mobile::orders::send_code }
        "/mobile/v1/orders/{id}/pay" { POST mobile::orders::pay }
        "/mobile/v1/orders/{id}/cancel" { POST mobile::orders::cancel }
        "/mobile/v1/orders/{id}/receipt" { GET mobile::orders::receipt }
        "/mobile/v1/events" { GET mobile::events::events }
    }

    /// Adapters: the key registered at onboarding signs the opening and every message.
    adapters {
        "/link/v1" { GET link::socket }
    }

    /// Wallets: each notice is signed with the tenant's wallet key.
    wallets {
        "/wallet/v1/notify/{tenant}" { POST wallet::notify }
    }

    /// Bureaus: each notice is signed with the tenant's bureau key.
    bureaus {
        "/bureau/v1/notices/{tenant}" { POST bureau::notice }
    }

    /// Operators' machines, which the network in front of us tells from everybody else. Nothing here names a person.
    machines {
        "/livez" { GET health::livez, HEAD health::livez }
        "/readyz" { GET health::readyz, HEAD health::readyz }
        "/metrics" { GET health::metrics }
    }
}

fn resource(path: &str, methods: &'static [&'static str]) -> Resource {
    let refuse = move || async move {
        HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, methods.join(", "))).finish()
    };
    web::resource(path).default_service(web::to(refuse))
}
