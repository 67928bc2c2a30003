//! Sessions: a bearer token says by itself who is signed in, signed with a key of the master secret. Nothing is stored;
//! a token ends when its time is over.

use ring::{digest, hmac};
use schema::ids::{ChannelId, ChannelUserId, TenantId};
use schema::personal::{BearerToken, Personal as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Who is signed in, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub tenant: TenantId,
    /// Through which channel.
    pub channel: ChannelId,
    /// Who.
    pub user: ChannelUserId,
    /// Not after: microseconds UTC.
    pub expires_at_us: i64,
}

/// The key of the tokens. The same for every replica that shares the master secret.
pub struct SessionKeys {
    key: hmac::Key,
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKeys(…)")
    }
}

/// The token's layout; another layout gets another number.
const LAYOUT: u8 = 1;
const ID_BYTES: usize = 16;
const TIME_BYTES: usize = 8;
const BODY_BYTES: usize = 1 + 3 * ID_BYTES + TIME_BYTES;
const TAG_BYTES: usize = 32;

impl SessionKeys {
    /// Takes the key that was derived from the master secret for this purpose alone.
    pub fn new(derived: &[u8; 32]) -> SessionKeys {
        SessionKeys { key: hmac::Key::new(hmac::HMAC_SHA256, derived) }
    }

    /// Writes a token.
    pub fn issue(&self, session: &Session) -> BearerToken {
        let mut token = Vec::with_capacity(BODY_BYTES + TAG_BYTES);
        token.push(LAYOUT);
        for id in [session.tenant.uuid(), session.channel.uuid(), session.user.uuid()] {
            token.extend_from_slice(id.as_bytes());
        }
        token.extend_from_slice(&session.expires_at_us.to_be_bytes());
        let tag = hmac::sign(&self.key, &token);
        token.extend_from_slice(tag.as_ref());
        BearerToken::new(URL_SAFE_NO_PAD.encode(token))
    }

    /// Reads a token. `None` unless it is ours, unchanged and not over at `now_us`. The tag is compared in constant
    /// time.
    pub fn read(&self, token: &str, now_us: i64) -> Option<Session> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, tag) = token.split_at_checked(BODY_BYTES)?;
        hmac::verify(&self.key, body, tag).ok()?;
        let (layout, rest) = body.split_first()?;
        let (ids, time) = rest.split_at_checked(3 * ID_BYTES)?;
        let mut ids = ids.chunks_exact(ID_BYTES);
        let session = Session {
            tenant: TenantId::from_slice(ids.next()?).ok()?,
            channel: ChannelId::from_slice(ids.next()?).ok()?,
            user: ChannelUserId::from_slice(ids.next()?).ok()?,
            expires_at_us: i64::from_be_bytes(time.try_into().ok()?),
        };
        (*layout == LAYOUT && now_us < session.expires_at_us).then_some(session)
    }
}

/// What the store keeps of a channel's key: SHA-256 over the key as the channel sends it.
pub fn channel_key_hash(channel_key: &str) -> [u8; 32] {
    let mut hash = [0_u8; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, channel_key.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn session() -> Session {
        Session {
            tenant: TenantId::from_uuid(Uuid::from_u128(1)),
            channel: ChannelId::from_uuid(Uuid::from_u128(2)),
            user: ChannelUserId::from_uuid(Uuid::from_u128(3)),
            expires_at_us: 1_000,
        }
    }

    #[test]
    fn a_token_is_good_until_its_time_is_over_and_under_its_own_key_only() {
        let keys = SessionKeys::new(&[7; 32]);
        let token = keys.issue(&session());
        assert_eq!(keys.read(token.expose(), 999), Some(session()));
        assert_eq!(keys.read(token.expose(), 1_000), None);
        assert_eq!(SessionKeys::new(&[8; 32]).read(token.expose(), 0), None);
    }

    #[test]
    fn no_changed_character_is_overlooked() {
        let keys = SessionKeys::new(&[7; 32]);
        let token = keys.issue(&session()).expose().to_owned();
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("still text");
            assert_eq!(keys.read(&changed, 0), None, "character {at}");
        }
        assert_eq!(keys.read(&token[..token.len() - 4], 0), None);
        assert_eq!(keys.read("", 0), None);
    }
}
