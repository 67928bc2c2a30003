//! What signatures cost apart from everything else: how many the platform says it made and checked, and what one costs
//! on this machine when nothing else runs.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::time::Duration;

use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use sandbox::city::City;
use sandbox::wallet::keys::Keys;
use schema::sign::SigningKey;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::metrics;
use crate::turn::milli;

/// Scheme and act, as the platform's metric names them: `rsa2048 made`.
pub(crate) type Counted = BTreeMap<String, u64>;

const METRIC: &str = "tongfu_signatures_total";
/// One of each kind is timed in so many rounds, of which the quickest counts: others' processor time is in the rest.
const ROUNDS: usize = 20;
const A_ROUND: u32 = 25;

/// How many there were so far, over all platform processes.
pub(crate) async fn counted(city: &City) -> io::Result<Counted> {
    let mut counted = Counted::new();
    for (labels, value) in metrics::samples(city, METRIC).await? {
        let label = |name: &str| labels.get(name).map_or("", String::as_str);
        *counted.entry(format!("{} {}", label("scheme"), label("act"))).or_default() += value as u64;
    }
    Ok(counted)
}

/// How many the platform made for a wallet meanwhile.
pub(crate) fn made_by_rsa(before: &Counted, after: &Counted) -> u64 {
    let made = |counted: &Counted| counted.get("rsa2048 made").copied().unwrap_or(0);
    made(after) - made(before)
}

/// Nanoseconds of one of each kind.
pub(crate) fn costs_ns() -> io::Result<BTreeMap<&'static str, u64>> {
    let text = [7_u8; 300];
    let keys = Keys::generate("1900000001", "wx0000000000000001")?;
    let pem = keys.credentials.merchant_private_key_pem.as_bytes();
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(io::Error::other)?;
    let rsa = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|error| io::Error::other(error.to_string()))?;
    #[expect(clippy::disallowed_methods, reason = "a load test, whose signatures are thrown away")]
    let unused = ring::rand::SystemRandom::new();
    let mut signature = vec![0; rsa.public().modulus_len()];
    rsa.sign(&RSA_PKCS1_SHA256, &unused, &text, &mut signature).map_err(|_| io::Error::other("cannot sign"))?;
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, rsa.public_key().as_ref().to_vec());
    let link = SigningKey::from_seed([7; 32]);
    let (own, signed) = (link.public(), link.sign(&text));
    Ok(BTreeMap::from([
        ("rsa2048 made", quickest_ns(|| rsa.sign(&RSA_PKCS1_SHA256, &unused, &text, &mut [0; 256]))),
        ("rsa2048 checked", quickest_ns(|| public.verify(&text, &signature))),
        ("ed25519 made", quickest_ns(|| link.sign(&text))),
        ("ed25519 checked", quickest_ns(|| own.verify(&text, &signed))),
    ]))
}

fn quickest_ns<T>(mut work: impl FnMut() -> T) -> u64 {
    let round = |_| {
        let began = Instant::now();
        (0..A_ROUND).for_each(|_| drop(black_box(work())));
        began.elapsed() / A_ROUND
    };
    let quickest: Duration = (0..ROUNDS).map(round).min().unwrap_or_default();
    u64::try_from(quickest.as_nanos()).unwrap_or(u64::MAX)
}

/// By kind: how many a payment, microseconds of one, and milliseconds a payment of all.
pub(crate) fn report(
    before: &Counted,
    after: &Counted,
    costs_ns: &BTreeMap<&'static str, u64>,
    payments: u64,
) -> Value {
    let mut all_ns = 0;
    let mut kinds = Map::new();
    for (kind, cost_ns) in costs_ns {
        let of = |counted: &Counted| counted.get(*kind).copied().unwrap_or(0);
        let thousandths = (of(after) - of(before)) * 1000 / payments.max(1);
        all_ns += thousandths * cost_ns / 1000;
        kinds.insert((*kind).to_owned(), json!({"a_payment": milli(thousandths), "us": cost_ns / 1000}));
    }
    kinds.insert("ms_per_payment".into(), milli(all_ns / 1000));
    Value::Object(kinds)
}
