//! 2206 预结算: the split as 2207 would make it now. Changes nothing, promises nothing.

use serde_json::Value;

use super::core::{Call, Core};
use super::pricing::{self, Ask};
use super::refusal::Refusal;
use super::setlinfo;

pub(super) fn read(input: &Value) -> (Ask, Vec<String>) {
    let (ask, fields) = pricing::read(input);
    (ask, fields.finish())
}

pub(super) fn run(core: &mut Core, call: &Call<'_>, ask: Ask) -> Result<Value, Refusal> {
    let settlement = pricing::price(core, call, &ask)?;
    setlinfo::output(core, &settlement)
}
