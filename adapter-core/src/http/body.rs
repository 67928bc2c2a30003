//! Reading request bodies: bounded, and refused with places and never with values.

use actix_web::web::{self, BytesMut};
use futures_util::StreamExt as _;
use schema::refusal::{Code, Fault, Refusal};
use serde::de::DeserializeOwned;

use crate::core::Core;

/// Reads a JSON body.
pub(crate) async fn read<T: DeserializeOwned>(core: &Core, mut payload: web::Payload) -> Result<T, Refusal> {
    let most = core.settings.http.body_most_bytes;
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| Refusal::new(Code::Malformed, error.to_string()))?;
        if bytes.len() + chunk.len() > most {
            return Err(Refusal::new(Code::TooLarge, format!("more than {most} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    parse(&bytes)
}

/// Reads JSON text.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let at = error.path().to_string();
        Refusal::faulty(Code::Malformed, vec![fault(at, error.inner())])
    })?;
    reader.end().map_err(|error| Refusal::faulty(Code::Malformed, vec![fault(".".to_owned(), &error)]))?;
    Ok(value)
}

fn fault(at: String, error: &serde_json::Error) -> Fault {
    if error.is_data() {
        Fault::new(at, "字段缺失或格式有误", "is missing or has the wrong form")
    } else {
        Fault::new(format!("line {} column {}", error.line(), error.column()), "不是有效的JSON", "is not valid JSON")
    }
}
