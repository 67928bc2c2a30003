//! A merchant written from WeChat Pay's documents alone: it shares no line with the wallet's own signing and sealing.

use std::time::Duration;

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderMap;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rsa::Pkcs1v15Sign;
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use sandbox::wallet::keys::Credentials;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// The merchant's side of the wallet's API.
pub(crate) struct Merchant {
    pub(crate) credentials: Credentials,
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
}

/// What RSASSA-PKCS1-v1_5 signs for SHA-256 (RFC 8017, §9.2 note 1): the algorithm's DER head and the digest.
fn digest_info(text: &[u8]) -> Vec<u8> {
    let mut info = hex::decode("3031300d060960864801650304020105000420").expect("hexadecimal");
    info.extend_from_slice(ring::digest::digest(&ring::digest::SHA256, text).as_ref());
    info
}

/// A verified answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Merchant {
    pub(crate) fn new(credentials: &Credentials, url: &str) -> Merchant {
        Merchant { credentials: credentials.clone(), url: url.to_owned(), client: reqwest::Client::new() }
    }

    pub(crate) fn authorization(&self, method: &str, path: &str, body: &str, timestamp: i64) -> String {
        let key = rsa::RsaPrivateKey::from_pkcs8_pem(&self.credentials.merchant_private_key_pem).expect("a key");
        let text = [method, path, &timestamp.to_string(), "nonce0123456789", body, ""].join("\n");
        let signature = key.sign(Pkcs1v15Sign::new_unprefixed(), &digest_info(text.as_bytes())).expect("signed");
        let (serial, mchid) = (&self.credentials.merchant_serial, &self.credentials.sp_mchid);
        let signature = STANDARD.encode(signature);
        let items = [
            format!(r#"serial_no="{serial}""#),
            format!(r#"mchid="{mchid}""#),
            r#"nonce_str="nonce0123456789""#.to_owned(),
            format!(r#"timestamp="{timestamp}""#),
            format!(r#"signature="{signature}""#),
        ];
        format!("WECHATPAY2-SHA256-RSA2048 {}", items.join(","))
    }

    pub(crate) async fn try_ask(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, reqwest::Error> {
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let authorization = self.authorization(method, path, &text, sandbox::clock::china_now().timestamp());
        let method = method.parse().expect("a method");
        let request = self.client.request(method, format!("{}{path}", self.url)).header("Authorization", authorization);
        let answer = request.body(text).send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await?;
        assert!(self.signed_by_the_wallet(&headers, &body), "an answer is not signed: {status} {body:?}");
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("JSON") };
        Ok(Answer { status, body })
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.try_ask(method, path, body).await.expect("an answer")
    }

    /// The wallet's three-line signature, checked with the `rsa` crate.
    pub(crate) fn signed_by_the_wallet(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if header("Wechatpay-Serial") != self.credentials.wechatpay_serial {
            return false;
        }
        let mut text = format!("{}\n{}\n", header("Wechatpay-Timestamp"), header("Wechatpay-Nonce")).into_bytes();
        text.extend_from_slice(body);
        text.push(b'\n');
        let key = rsa::RsaPublicKey::from_public_key_pem(&self.credentials.wechatpay_public_key_pem).expect("a key");
        let Ok(bytes) = STANDARD.decode(header("Wechatpay-Signature")) else { return false };
        key.verify(Pkcs1v15Sign::new_unprefixed(), &digest_info(&text), &bytes).is_ok()
    }

    pub(crate) fn opened(&self, notice: &Value) -> Value {
        let resource = &notice["resource"];
        assert_eq!(resource["algorithm"], "AEAD_AES_256_GCM");
        let text = |name: &str| resource[name].as_str().expect("a text");
        let key = UnboundKey::new(&AES_256_GCM, self.credentials.apiv3_key.as_bytes()).expect("32 bytes");
        let nonce = Nonce::try_assume_unique_for_key(text("nonce").as_bytes()).expect("12 bytes");
        let mut sealed = STANDARD.decode(text("ciphertext")).expect("Base64");
        let plain = LessSafeKey::new(key).open_in_place(nonce, Aad::from(text("associated_data")), &mut sealed);
        serde_json::from_slice(plain.expect("the seal holds")).expect("JSON")
    }

    pub(crate) fn order(&self, out_trade_no: &str, total: i64, notify_url: &str) -> Value {
        json!({
            "sp_appid": self.credentials.sp_appid, "sp_mchid": self.credentials.sp_mchid, "sub_mchid": "1900000109",
            "description": "门诊缴费", "out_trade_no": out_trade_no, "notify_url": notify_url,
            "amount": { "total": total, "currency": "CNY" }, "payer": { "sp_openid": "o-zhang" }, "attach": "bill-1",
        })
    }

    pub(crate) async fn place(&self, order: Value) -> String {
        let placed = self.ask("POST", "/v3/pay/partner/transactions/jsapi", Some(order)).await;
        assert_eq!(placed.status, 200, "{placed:?}");
        placed.body["prepay_id"].as_str().expect("a prepay_id").to_owned()
    }

    pub(crate) async fn tap(&self, prepay_id: &str) -> Result<(u16, Value), reqwest::Error> {
        let tap = json!({ "prepay_id": prepay_id, "openid": "o-zhang" });
        let answer = self.client.post(format!("{}/sandbox/pay", self.url)).json(&tap).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    pub(crate) async fn query(&self, out_trade_no: &str) -> Answer {
        let path = format!(
            "/v3/pay/partner/transactions/out-trade-no/{out_trade_no}?sp_mchid={}&sub_mchid=1900000109",
            self.credentials.sp_mchid
        );
        self.ask("GET", &path, None).await
    }

    pub(crate) fn closing(&self, out_trade_no: &str) -> (String, Option<Value>) {
        let path = format!("/v3/pay/partner/transactions/out-trade-no/{out_trade_no}/close");
        (path, Some(json!({ "sp_mchid": self.credentials.sp_mchid, "sub_mchid": "1900000109" })))
    }

    pub(crate) async fn sandbox(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }
}

/// Where the wallet tells: every notification heard, and the status it is answered with.
pub(crate) struct Ear {
    pub(crate) url: String,
    heard: mpsc::UnboundedReceiver<(HeaderMap, Bytes)>,
}

impl Ear {
    /// Listens; answers the first notifications with `first`, all later ones with 204.
    pub(crate) fn open(first: &[u16]) -> Ear {
        let (sender, heard) = mpsc::unbounded_channel();
        let statuses = std::sync::Arc::new(std::sync::Mutex::new(first.to_vec()));
        let listen = move |request: HttpRequest, body: Bytes| {
            let mut headers = HeaderMap::new();
            for (name, value) in request.headers() {
                let name = name.as_str().parse::<reqwest::header::HeaderName>().expect("a name");
                headers.insert(name, value.to_str().expect("text").parse().expect("a value"));
            }
            let _ = sender.send((headers, body));
            let mut statuses = statuses.lock().expect("unpoisoned");
            let status = if statuses.is_empty() { 204 } else { statuses.remove(0) };
            let status = actix_web::http::StatusCode::from_u16(status).expect("a status");
            async move { HttpResponse::build(status).finish() }
        };
        let server = HttpServer::new(move || App::new().route("/notify", web::post().to(listen.clone())))
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0")
            .expect("a free port");
        let url = format!("http://{}/notify", server.addrs()[0]);
        tokio::spawn(server.run());
        Ear { url, heard }
    }

    pub(crate) async fn next(&mut self) -> (HeaderMap, Bytes) {
        let heard = tokio::time::timeout(Duration::from_secs(20), self.heard.recv()).await;
        heard.expect("the wallet tells").expect("the ear is open")
    }

    /// The next notification, its signature checked, still sealed.
    pub(crate) async fn next_verified(&mut self, merchant: &Merchant) -> Value {
        let (headers, body) = self.next().await;
        assert!(merchant.signed_by_the_wallet(&headers, &body), "a notification is not signed");
        serde_json::from_slice(&body).expect("JSON")
    }
}
