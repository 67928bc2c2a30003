//! The adapter and the bureau, over HTTP.

use std::time::Duration;

use schema::bill::BillDraft;
use schema::his::{ClaimAnswer, RefundAsk, VisitCardBinding, WorkAnswer, WorkItem};
use schema::ids::MessageId;
use schema::link::Reply;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::hospital::Hospital;
use crate::bureau::gateway_signature;
use crate::clock::{china_now, random_hex};

/// How long the adapter holds a poll open, in seconds.
const POLL_S: u64 = 20;
/// How many work items one poll brings at most.
const POLL_MOST: usize = 100;
/// How long one call to the bureau or the adapter may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a call to the adapter brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It said no.
    Refused {
        /// HTTP status.
        status: u16,
        /// The problem details.
        body: Value,
    },
    /// No answer, or one that says "later".
    NoAnswer(String),
}

impl Failure {
    /// The refusal's stable code, or `NO_ANSWER`.
    pub fn code(&self) -> String {
        match self {
            Failure::Refused { body, .. } => body["code"].as_str().unwrap_or("UNNAMED").to_owned(),
            Failure::NoAnswer(_) => "NO_ANSWER".to_owned(),
        }
    }
}

/// The adapter's HIS face.
#[derive(Debug, Clone)]
pub struct Adapter {
    base: String,
    api_key: String,
    client: reqwest::Client,
}

impl Adapter {
    /// The adapter of one hospital.
    pub fn new(hospital: &Hospital, client: reqwest::Client) -> Adapter {
        let base = hospital.adapter_url.trim_end_matches('/').to_owned();
        Adapter { base, api_key: hospital.adapter_api_key.clone(), client }
    }

    /// Durable there once this is `Ok`.
    pub async fn post_bill(&self, draft: &BillDraft) -> Result<(), Failure> {
        self.post("/his/v1/bills", draft).await.map(drop)
    }

    /// The window takes a bill back.
    pub async fn claim(&self, bill_no: &str) -> Result<ClaimAnswer, Failure> {
        read(self.post(&format!("/his/v1/bills/{bill_no}/claim"), &json!({})).await?)
    }

    /// A bill no longer exists.
    pub async fn withdraw(&self, bill_no: &str) -> Result<ClaimAnswer, Failure> {
        read(self.post(&format!("/his/v1/bills/{bill_no}/withdraw"), &json!({})).await?)
    }

    /// Money back; the adapter's view of the refund.
    pub async fn refund(&self, ask: &RefundAsk) -> Result<Value, Failure> {
        self.post("/his/v1/refunds", ask).await
    }

    /// A refund's present state.
    pub async fn refund_view(&self, refund_no: &str) -> Result<Value, Failure> {
        self.get(&format!("/his/v1/refunds/{refund_no}"), PATIENCE).await
    }

    /// The last order of a bill.
    pub async fn order(&self, bill_no: &str) -> Result<Value, Failure> {
        self.get(&format!("/his/v1/bills/{bill_no}/order"), PATIENCE).await
    }

    /// Binds a visit card.
    pub async fn bind_visit_card(&self, binding: &VisitCardBinding) -> Result<Value, Failure> {
        self.post("/his/v1/visit-cards", binding).await
    }

    /// What the platform wants; waits for something.
    pub async fn work(&self) -> Result<Vec<WorkItem>, Failure> {
        let path = format!("/his/v1/work?wait_s={POLL_S}&most={POLL_MOST}");
        let body = self.get(&path, Duration::from_secs(POLL_S) + PATIENCE).await?;
        read(body.get("items").cloned().unwrap_or(body))
    }

    /// Answers a work item; a repeat is harmless.
    pub async fn answer(&self, id: MessageId, reply: &Reply) -> Result<(), Failure> {
        let answer = WorkAnswer { reply: reply.clone() };
        self.post(&format!("/his/v1/work/{id}/answer"), &answer).await.map(drop)
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        self.send(request.timeout(PATIENCE)).await
    }

    async fn get(&self, path: &str, patience: Duration) -> Result<Value, Failure> {
        self.send(self.client.get(format!("{}{path}", self.base)).timeout(patience)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let none = |error: reqwest::Error| Failure::NoAnswer(error.without_url().to_string());
        let response = request.bearer_auth(&self.api_key).send().await.map_err(none)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(none)?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            Ok(body)
        } else if status.is_server_error() || status.as_u16() == 429 {
            Err(Failure::NoAnswer(format!("{status} {body}")))
        } else {
            Err(Failure::Refused { status: status.as_u16(), body })
        }
    }
}

fn read<T: DeserializeOwned>(body: Value) -> Result<T, Failure> {
    serde_json::from_value(body).map_err(|fault| Failure::NoAnswer(format!("the answer cannot be read: {fault}")))
}

/// The bureau's gateway under a hospital's own credential.
#[derive(Debug, Clone)]
pub struct Bureau {
    base: String,
    paasid: String,
    secret: String,
    client: reqwest::Client,
}

impl Bureau {
    /// The bureau as this hospital reaches it.
    pub fn new(hospital: &Hospital, client: reqwest::Client) -> Bureau {
        Bureau {
            base: hospital.bureau_url.trim_end_matches('/').to_owned(),
            paasid: hospital.paasid.clone(),
            secret: hospital.secret.clone(),
            client,
        }
    }

    /// One envelope there and its answer back; `None` when no readable answer came.
    pub async fn call(&self, infno: &str, envelope: &Value) -> Option<Value> {
        let timestamp = china_now().timestamp().to_string();
        let nonce = random_hex(16);
        let request = self
            .client
            .post(format!("{}/{infno}", self.base))
            .header("x-tif-paasid", &self.paasid)
            .header("x-tif-signature", gateway_signature(&timestamp, &self.secret, &nonce))
            .header("x-tif-timestamp", timestamp)
            .header("x-tif-nonce", nonce)
            .timeout(PATIENCE)
            .json(envelope);
        let bytes = request.send().await.ok()?.bytes().await.ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}
