//! Field by field between the gateway and ours; MAPPINGS.md is the table.

use std::collections::BTreeMap;

use schema::personal::Personal as _;
use serde::{Deserialize, Serialize};

use super::Sms;

/// `POST /sms/v1/messages`.
#[derive(Serialize)]
pub(super) struct MessageBody<'a> {
    message_id: &'a str,
    phone: &'a str,
    template: &'a str,
    params: BTreeMap<&'a str, &'a str>,
    text: &'a str,
}

impl<'a> MessageBody<'a> {
    pub(super) fn of(sms: &'a Sms) -> MessageBody<'a> {
        MessageBody {
            message_id: &sms.message_id,
            phone: sms.phone.expose(),
            template: sms.template,
            // The text is whole: a gateway that fills templates itself would take them from here.
            params: BTreeMap::new(),
            text: &sms.text.0,
        }
    }
}

/// A refusal's body.
#[derive(Deserialize)]
pub(super) struct Problem {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}
