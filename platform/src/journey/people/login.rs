//! Logging in: a code by text message, and the session that it opens.

use schema::ids::{ChannelId, ChannelUserId};
use schema::mobile::LoginAsk;
use schema::personal::{Personal as _, Phone};
use schema::refusal::{Code, Fault, Refusal};
use serde::{Deserialize, Serialize};

use super::{CodeFor, DAY_MS, MINUTE_MS, PHONE, count_message, hex, phone_lookup, unreachable};
use crate::journey::collect::OPENID;
use crate::journey::{Ground, Tenant};
use crate::parties::answer::Answer;
use crate::parties::sms::{Sms, SmsText};
use crate::store::{CallerKey, ChannelUserRow};

/// How long the key of a login code is known: as long as the count of the phone's messages, which it protects.
const LOGIN_KEY_MS: i64 = DAY_MS;
/// How long a login code may be under way before its request may begin anew. A process may have died with it.
const LOGIN_CODE_UNDER_WAY_MS: i64 = MINUTE_MS;

fn digits(ground: &Ground) -> String {
    format!("{:06}", ground.clock.below(1_000_000))
}

/// A mobile phone number of the mainland.
fn phone_faults(phone: &Phone) -> Vec<Fault> {
    let text = phone.expose();
    let sound = text.len() == 11 && text.starts_with('1') && text.bytes().all(|byte| byte.is_ascii_digit());
    if sound {
        Vec::new()
    } else {
        vec![Fault::new("phone", "须为11位手机号码", "must be an 11-digit mobile number")]
    }
}

/// Counts one more login code of a channel; refuses beyond what a minute may bring, so that a stolen channel key cannot
/// flood phones.
async fn pace_channel(ground: &Ground, tenant: &Tenant, channel: ChannelId) -> Result<(), Refusal> {
    let key = format!("login_codes:{channel}");
    let asked = ground.ephemeral.count(tenant.id, &key, MINUTE_MS).await.map_err(unreachable)?;
    if asked.value > ground.settings.limits.login_codes_per_minute {
        return Err(Refusal::new(Code::RateLimited, "too many login codes of one channel").after_s(60));
    }
    Ok(())
}

/// Sends a login code, and none when the request is repeated under its key. The key is kept where the code is: in the
/// ephemeral store, for a day.
pub async fn send_login_code(
    ground: &Ground,
    tenant: &Tenant,
    channel: ChannelId,
    phone: &Phone,
    key: &CallerKey,
) -> Result<(), Refusal> {
    let name = format!("first_answer:{}:{}", key.caller, key.key);
    if sent_before(ground, tenant, &name, key).await? {
        return Ok(());
    }
    if !ground.ephemeral.first(tenant.id, &name, LOGIN_CODE_UNDER_WAY_MS).await.map_err(unreachable)? {
        // It may have ended since it was looked for.
        if sent_before(ground, tenant, &name, key).await? {
            return Ok(());
        }
        return Err(Refusal::new(Code::Overloaded, "the same request is under way").after_s(1));
    }
    let sent = send_new_login_code(ground, tenant, channel, phone).await;
    match &sent {
        Ok(()) => ground.ephemeral.keep(tenant.id, &name, key.request.to_vec(), LOGIN_KEY_MS).await,
        // Refused: nothing was done under this key, and it may be tried again.
        Err(_) => ground.ephemeral.forget(tenant.id, &name).await,
    }
    .map_err(unreachable)?;
    sent
}

/// Whether a code was sent under this key. Refuses a key that was used with another request.
async fn sent_before(ground: &Ground, tenant: &Tenant, name: &str, key: &CallerKey) -> Result<bool, Refusal> {
    match ground.ephemeral.kept(tenant.id, name).await.map_err(unreachable)? {
        None => Ok(false),
        Some(request) if request == key.request => Ok(true),
        Some(_) => Err(Refusal::new(Code::KeyReused, "the key was used with another request")),
    }
}

async fn send_new_login_code(
    ground: &Ground,
    tenant: &Tenant,
    channel: ChannelId,
    phone: &Phone,
) -> Result<(), Refusal> {
    let faults = phone_faults(phone);
    if !faults.is_empty() {
        return Err(Refusal::faulty(Code::Invalid, faults));
    }
    pace_channel(ground, tenant, channel).await?;
    count_message(ground, tenant, CodeFor::Login, phone).await?;
    let digits = digits(ground);
    let hash = tenant.vault.lookup("login_code", &format!("{}|{digits}", phone.expose()));
    let key = format!("login:{}", hex(&phone_lookup(tenant, phone)));
    let life_ms = ground.settings.limits.login_code_ms;
    ground.ephemeral.forget(tenant.id, &format!("{key}:tries")).await.map_err(unreachable)?;
    ground.ephemeral.keep(tenant.id, &key, hash.as_bytes().to_vec(), life_ms).await.map_err(unreachable)?;
    let text = format!("【统付】登录验证码{digits}，{}分钟内有效。请勿告诉他人。", life_ms / 60_000);
    let sms = Sms {
        message_id: ground.clock.fresh().to_string(),
        phone: phone.clone(),
        template: "login_code",
        text: SmsText(text),
    };
    match tenant.sms.send(&sms).await {
        // A message whose fate is unknown may well arrive.
        Answer::Done(()) | Answer::Unknown(_) => Ok(()),
        Answer::Refused(refused) => Err(Refusal::new(Code::SmsUnreachable, refused.code)),
    }
}

/// Who is signed in, and until when: what is kept under a login's key. The token that says so is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// Who.
    pub user: ChannelUserId,
    /// Not after: microseconds UTC.
    pub expires_at_us: i64,
}

/// Logs a phone in. A code is used once; the request that used it gets its first answer again.
pub async fn login(
    ground: &Ground,
    tenant: &Tenant,
    channel: ChannelId,
    ask: &LoginAsk,
    key: CallerKey,
) -> Result<SignedIn, Refusal> {
    if let Some(first) = signed_in_before(ground, tenant, &key).await? {
        return Ok(first);
    }
    match sign_in(ground, tenant, channel, ask, &key).await {
        // Its first may have used the code, or the key, while this one was looking.
        Err(refusal) => signed_in_before(ground, tenant, &key).await?.ok_or(refusal),
        signed_in => signed_in,
    }
}

async fn signed_in_before(ground: &Ground, tenant: &Tenant, key: &CallerKey) -> Result<Option<SignedIn>, Refusal> {
    let damaged = |error| Refusal::new(Code::Internal, format!("a kept answer does not read back: {error}"));
    let first = ground.first_answer(tenant.id, key).await?;
    first.map(|first| serde_json::from_slice(&first).map_err(damaged)).transpose()
}

async fn sign_in(
    ground: &Ground,
    tenant: &Tenant,
    channel: ChannelId,
    ask: &LoginAsk,
    key: &CallerKey,
) -> Result<SignedIn, Refusal> {
    let phone = phone_lookup(tenant, &ask.phone);
    let name = format!("login:{}", hex(&phone));
    let wrong = || Refusal::new(Code::LoginCodeWrong, "wrong, expired or never sent");
    let life_ms = ground.settings.limits.login_code_ms;
    let tries = ground.ephemeral.count(tenant.id, &format!("{name}:tries"), life_ms).await.map_err(unreachable)?;
    if tries.value > ground.settings.limits.code_tries {
        return Err(wrong());
    }
    let kept = ground.ephemeral.kept(tenant.id, &name).await.map_err(unreachable)?.ok_or_else(wrong)?;
    let offered = tenant.vault.lookup("login_code", &format!("{}|{}", ask.phone.expose(), ask.code.expose()));
    if kept != offered.as_bytes() {
        return Err(wrong());
    }
    ground.ephemeral.forget(tenant.id, &name).await.map_err(unreachable)?;
    let seal = |purpose: &str, text: &str| tenant.vault.seal(ground.clock.nonce(), purpose, text.as_bytes());
    let row = ChannelUserRow {
        tenant: tenant.id,
        id: ChannelUserId::from_uuid(ground.clock.fresh()),
        channel,
        phone,
        phone_sealed: seal(PHONE, ask.phone.expose()),
        openid: ask.openid.as_ref().map(|openid| tenant.vault.lookup(OPENID, openid.expose())),
        openid_sealed: ask.openid.as_ref().map(|openid| seal(OPENID, openid.expose())),
    };
    let life_us = ground.settings.limits.session_ms.saturating_mul(1000);
    let expires_at_us = ground.clock.now_us().saturating_add(life_us);
    let key = key.clone();
    let answer = move |user| serde_json::to_vec(&SignedIn { user, expires_at_us }).unwrap_or_default();
    let login = ground.read(move |store| store.channel_user(&row, Some((&key, &answer)))).await?;
    let login = login.ok_or_else(|| Refusal::new(Code::Overloaded, "the key was used meanwhile").after_s(1))?;
    Ok(SignedIn { user: login.id, expires_at_us })
}
