//! APIv3's signatures and sealed resources (MAPPINGS.md, "Notices").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use super::config::WalletConfig;

/// The scheme's name in `Authorization`.
const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// How the signature of a probe begins. It would not verify anyway; nothing else is worth checking then.
const PROBE: &str = "WECHATPAY/SIGNTEST/";
/// How far an answer's or notice's timestamp may lie from our clock, in seconds, either way.
const WINDOW_S: u64 = 300;

/// A key of the configuration is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Not the PKCS#8 PEM of an RSA key of at least 2048 bits.
    #[error("merchant_private_key_pem is no PKCS#8 PEM of an RSA key / 商户私钥不是有效的PKCS#8 PEM")]
    Private,
    /// Not the SPKI PEM of an RSA key.
    #[error("wechatpay_public_key_pem is no public key PEM of an RSA key / 微信支付公钥不是有效的PEM")]
    Public,
    /// Not 32 characters.
    #[error("apiv3_key is not 32 characters / APIv3密钥应为32个字符")]
    Apiv3,
}

/// Somebody else's, too old, or changed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the wallet's signature, serial or time is wrong")]
pub(super) struct NotSigned;

/// The keys between the service provider and the wallet, ready for use.
pub(super) struct Keys {
    merchant: RsaKeyPair,
    wallet_pkcs1: Vec<u8>,
    resource: LessSafeKey,
    authorization_head: String,
    wallet_serial: String,
}

impl Keys {
    pub(super) fn of(config: &WalletConfig) -> Result<Keys, BadKey> {
        let private = PrivatePkcs8KeyDer::from_pem_slice(config.merchant_private_key_pem.expose().as_bytes())
            .map_err(|_| BadKey::Private)?;
        let public = SubjectPublicKeyInfoDer::from_pem_slice(config.wechatpay_public_key_pem.as_bytes())
            .map_err(|_| BadKey::Public)?;
        let apiv3 = UnboundKey::new(&AES_256_GCM, config.apiv3_key.expose().as_bytes()).map_err(|_| BadKey::Apiv3)?;
        Ok(Keys {
            merchant: RsaKeyPair::from_pkcs8(private.secret_pkcs8_der()).map_err(|_| BadKey::Private)?,
            wallet_pkcs1: pkcs1_inside(&public).ok_or(BadKey::Public)?.to_vec(),
            resource: LessSafeKey::new(apiv3),
            authorization_head: format!(
                r#"{SCHEME} mchid="{}",serial_no="{}""#,
                config.sp_mchid, config.merchant_serial
            ),
            wallet_serial: config.wechatpay_serial.clone(),
        })
    }

    /// Base64 of the merchant's RSA signature (PKCS#1 v1.5, SHA-256).
    pub(super) fn sign(&self, text: &[u8]) -> String {
        // PKCS#1 v1.5 is deterministic: ring takes a source of randomness for its other paddings and does not use it.
        #[expect(clippy::disallowed_methods, reason = "nothing random comes from it")]
        let unused = ring::rand::SystemRandom::new();
        let mut signature = vec![0; self.merchant.public().modulus_len()];
        self.merchant
            .sign(&RSA_PKCS1_SHA256, &unused, text, &mut signature)
            .expect("the buffer is as long as the modulus");
        STANDARD.encode(signature)
    }

    /// The value of `Authorization` for one request.
    pub(super) fn authorization(&self, method: &str, path: &str, timestamp_s: i64, nonce: &str, body: &[u8]) -> String {
        let signature = self.sign(&request_text(method, path, timestamp_s, nonce, body));
        format!(r#"{},nonce_str="{nonce}",timestamp="{timestamp_s}",signature="{signature}""#, self.authorization_head)
    }

    /// Checks what the wallet sent. `header` finds a header by its lower-case name.
    pub(super) fn check<'a>(
        &self,
        header: impl Fn(&str) -> Option<&'a str>,
        body: &[u8],
        now_us: i64,
    ) -> Result<(), NotSigned> {
        let of = |name: &str| header(name).ok_or(NotSigned);
        let (timestamp, nonce) = (of("wechatpay-timestamp")?, of("wechatpay-nonce")?);
        let (signature, serial) = (of("wechatpay-signature")?, of("wechatpay-serial")?);
        let told_s: i64 = timestamp.parse().map_err(|_| NotSigned)?;
        if (now_us / 1_000_000).abs_diff(told_s) > WINDOW_S
            || serial != self.wallet_serial
            || signature.starts_with(PROBE)
        {
            return Err(NotSigned);
        }
        let signature = STANDARD.decode(signature).map_err(|_| NotSigned)?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.wallet_pkcs1)
            .verify(&answer_text(timestamp, nonce, body), &signature)
            .map_err(|_| NotSigned)
    }

    /// Opens a notice's resource (AEAD_AES_256_GCM); `None` when it is not for us or was changed.
    pub(super) fn open(&self, nonce: &str, associated_data: &str, ciphertext_base64: &str) -> Option<Vec<u8>> {
        let mut sealed = STANDARD.decode(ciphertext_base64).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).ok()?;
        let aad = Aad::from(associated_data.as_bytes());
        self.resource.open_in_place(nonce, aad, &mut sealed).ok().map(|plain| plain.to_vec())
    }
}

/// What a request's signature covers: five lines. `path` is path and query, without the host.
fn request_text(method: &str, path: &str, timestamp_s: i64, nonce: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method}\n{path}\n{timestamp_s}\n{nonce}\n").into_bytes();
    text.extend_from_slice(body);
    text.push(b'\n');
    text
}

/// What the signature of an answer or a notice covers: three lines.
fn answer_text(timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{timestamp}\n{nonce}\n").into_bytes();
    text.extend_from_slice(body);
    text.push(b'\n');
    text
}

/// What the payer's phone shows the wallet: four lines.
pub(super) fn client_text(app_id: &str, time_stamp: &str, nonce: &str, package: &str) -> Vec<u8> {
    format!("{app_id}\n{time_stamp}\n{nonce}\n{package}\n").into_bytes()
}

/// The PKCS#1 key inside a SubjectPublicKeyInfo, which is the form `ring` takes: SEQUENCE { SEQUENCE { OID
/// rsaEncryption, … }, BIT STRING { 0 unused bits, key } }.
fn pkcs1_inside(spki: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    /// 1.2.840.113549.1.1.1 with tag and length.
    const RSA_ENCRYPTION: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let (outer, rest) = der_value(spki, SEQUENCE)?;
    let (algorithm, key) = der_value(outer, SEQUENCE)?;
    let (bits, tail) = der_value(key, BIT_STRING)?;
    let whole = rest.is_empty() && tail.is_empty() && algorithm.starts_with(&RSA_ENCRYPTION);
    bits.strip_prefix(&[0]).filter(|_| whole)
}

/// The content of a DER value with this tag, and what follows it.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        // Two length bytes hold any RSA key; more is no key of ours.
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(bytes, _)| bytes.len() <= 2)?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_over_five_lines_an_answer_over_three_a_phone_over_four() {
        let request = request_text("GET", "/v3/certificates", 1_554_208_460, "593BEC0C930BF1AFEB40B4A08C8FB242", b"");
        assert_eq!(request, b"GET\n/v3/certificates\n1554208460\n593BEC0C930BF1AFEB40B4A08C8FB242\n\n");
        let answer = answer_text("1722850421", "d824f2e086d3c1df967785d13fcd22ef", b"{\"code_url\":\"x\"}");
        assert_eq!(answer, b"1722850421\nd824f2e086d3c1df967785d13fcd22ef\n{\"code_url\":\"x\"}\n");
        let phone = client_text("wx2421b1c4370ec43b", "1554208460", "593BEC0C", "prepay_id=wx201410272009395522657a");
        assert_eq!(phone, b"wx2421b1c4370ec43b\n1554208460\n593BEC0C\nprepay_id=wx201410272009395522657a\n");
    }

    #[test]
    fn only_a_whole_rsa_key_is_taken_out_of_its_wrapping() {
        let mut spki = vec![0x30, 0x14, 0x30, 0x0d];
        spki.extend([0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]);
        spki.extend([0x03, 0x03, 0x00, 0xaa, 0xbb]);
        assert_eq!(pkcs1_inside(&spki), Some(&[0xaa, 0xbb][..]));
        for end in 0..spki.len() {
            assert_eq!(pkcs1_inside(&spki[..end]), None, "cut at {end}");
        }
        let mut elliptic = spki.clone();
        elliptic[12] = 0x02;
        assert_eq!(pkcs1_inside(&elliptic), None);
    }
}
