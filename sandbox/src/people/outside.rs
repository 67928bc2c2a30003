//! What people touch besides the phone: text messages, the wallet, a hospital's desks, the bureau's counter.

use std::collections::BTreeMap;
use std::time::Duration;

use schema::bill::{BillKind, Patient};
use schema::money::Fen;
use schema::personal::{CardNo, OneTimeCode, Openid, Personal};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::person::Insured;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts at something that nobody answered.
const AGAIN: Duration = Duration::from_millis(200);

/// The addresses of a city, as its people know them.
#[derive(Debug, Clone)]
pub struct Outside {
    client: reqwest::Client,
    /// The SMS gateway, with the inboxes.
    pub sms_url: String,
    /// The wallet.
    pub wallet_url: String,
    /// The hospitals' own systems.
    pub his_url: String,
    /// The bureaus' counters by area.
    bureaus: BTreeMap<String, String>,
}

/// The first six digits that stand alone in a message.
pub fn code_in(text: &str) -> Option<OneTimeCode> {
    let runs = text.split(|c: char| !c.is_ascii_digit());
    runs.into_iter().find(|run| run.len() == 6).map(OneTimeCode::new)
}

impl Outside {
    /// A city's outside.
    pub fn new(client: reqwest::Client, sms_url: &str, wallet_url: &str, his_url: &str) -> Outside {
        Outside {
            client,
            sms_url: sms_url.to_owned(),
            wallet_url: wallet_url.to_owned(),
            his_url: his_url.to_owned(),
            bureaus: BTreeMap::new(),
        }
    }

    /// Opens the bureaus' counters, by area: without them nobody gets a new card.
    pub fn with_bureaus(mut self, bureaus: &BTreeMap<String, String>) -> Outside {
        self.bureaus.clone_from(bureaus);
        self
    }

    /// The HTTP client that all of this person's things share.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    async fn get(&self, url: String) -> Option<Value> {
        self.client.get(url).timeout(PATIENCE).send().await.ok()?.json().await.ok()
    }

    /// Status and body; `None` when nobody answered.
    pub async fn post(&self, url: String, body: &Value) -> Option<(u16, Value)> {
        let response = self.client.post(url).timeout(PATIENCE).json(body).send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.unwrap_or(Value::Null)))
    }

    async fn inbox(&self, phone: &str, after: u64, wait_ms: u64) -> Vec<(u64, String)> {
        let url = format!("{}/sandbox/inbox/{phone}?after={after}&wait_ms={wait_ms}", self.sms_url);
        let body = self.get(url).await.unwrap_or_default();
        let rows = body["messages"].as_array().cloned().unwrap_or_default();
        let read = |row: &Value| Some((row["seq"].as_u64()?, row["text"].as_str()?.to_owned()));
        rows.iter().filter_map(read).collect()
    }

    /// The cursor behind the newest message of a phone.
    pub async fn last_message(&self, phone: &str) -> u64 {
        self.inbox(phone, 0, 0).await.last().map_or(0, |(seq, _)| *seq)
    }

    /// Waits for a message behind `after` that fits; the newest of those that do. `None` when none came in time.
    pub async fn message(
        &self,
        phone: &str,
        after: u64,
        deadline: Instant,
        fits: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let mut cursor = after;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait_ms = u64::try_from(left.as_millis()).unwrap_or_default().min(20_000);
            let messages = self.inbox(phone, cursor, wait_ms).await;
            if let Some((_, text)) = messages.iter().rev().find(|(_, text)| fits(text)) {
                return Some(text.clone());
            }
            if Instant::now() >= deadline {
                return None;
            }
            match messages.last() {
                Some((seq, _)) => cursor = *seq,
                // Nothing although it waited: the gateway did not answer, or the wait was over.
                None => tokio::time::sleep(AGAIN.min(left)).await,
            }
        }
    }

    /// A doctor orders something. The bill's number and amount; `None` when the hospital did not answer.
    pub async fn be_treated(
        &self,
        institution: &str,
        patient: &Patient,
        kind: Option<BillKind>,
    ) -> Option<(String, Fen)> {
        let mut ask = json!({"institution": institution, "patient": patient});
        if let Some(kind) = kind {
            ask["kind"] = json!(kind);
        }
        let (status, body) = self.post(format!("{}/sandbox/bills", self.his_url), &ask).await?;
        let bill_no = body["bill_no"].as_str().filter(|_| status == 200)?;
        Some((bill_no.to_owned(), Fen::new(body["amount_fen"].as_i64()?)))
    }

    /// Walks to the window with a bill. The answer's `claim`, or `refused`, or `no_answer`.
    pub async fn ask_window(&self, institution: &str, bill_no: &str) -> String {
        let ask = json!({"institution": institution, "bill_no": bill_no});
        match self.post(format!("{}/sandbox/window/claim", self.his_url), &ask).await {
            Some((200, body)) => body["claim"].as_str().unwrap_or("unnamed").to_owned(),
            Some((503, _)) | None => "no_answer".to_owned(),
            Some(_) => "refused".to_owned(),
        }
    }

    /// Has something else treated and paid at the window, where the platform cannot see it.
    pub async fn pay_elsewhere(&self, institution: &str, patient: &Patient) -> bool {
        let ask = json!({"institution": institution, "patient": patient});
        let answer = self.post(format!("{}/sandbox/window/settle-own", self.his_url), &ask).await;
        answer.is_some_and(|(status, _)| status == 200)
    }

    /// The hospital asks for money back. Its answer's state, `refused`, or `no_answer`.
    pub async fn ask_refund(&self, institution: &str, refund_no: &str, bill_no: &str, amount: Option<Fen>) -> String {
        let mut refund = json!({"refund_no": refund_no, "bill_no": bill_no, "reason": "未做检查"});
        if let Some(amount) = amount {
            refund["amount_fen"] = json!(amount);
        }
        let ask = json!({"institution": institution, "refund": refund});
        refund_word(self.post(format!("{}/sandbox/window/refund", self.his_url), &ask).await)
    }

    /// Brings the last line of a paid bill back to the hospital. Answers like [`Outside::ask_refund`].
    pub async fn return_part(&self, institution: &str, refund_no: &str, bill_no: &str) -> String {
        let ask = json!({"institution": institution, "bill_no": bill_no, "refund_no": refund_no});
        refund_word(self.post(format!("{}/sandbox/window/return-part", self.his_url), &ask).await)
    }

    /// A refund's present state.
    pub async fn refund_state(&self, institution: &str, refund_no: &str) -> Option<String> {
        let url = format!("{}/sandbox/window/refunds/{institution}/{refund_no}", self.his_url);
        Some(self.get(url).await?["state"].as_str()?.to_owned())
    }

    fn counter(&self, insured: &Insured) -> Option<String> {
        let area = insured.register.insurances.first()?.insuplc_admdvs.as_str();
        let bureau = self.bureaus.get(area)?;
        Some(format!("{bureau}/sandbox/persons/{}/card", insured.psn_no.expose()))
    }

    /// The person with the card that is in their pocket now, as the bureau issued it; unchanged where no counter is open.
    pub async fn with_card(&self, insured: &Insured) -> Insured {
        let mut now = insured.clone();
        if let Some(url) = self.counter(insured)
            && let Some(card) = self.get(url).await
            && let (Some(card_no), Some(password)) = (card["card_no"].as_str(), card["card_password"].as_str())
        {
            now.card_no = CardNo::new(card_no);
            password.clone_into(&mut now.card_password);
        }
        now
    }

    /// Gets a new card at the bureau's counter, with another number; `false` where none was issued.
    pub async fn replace_card(&self, insured: &Insured) -> bool {
        let Some(url) = self.counter(insured) else { return false };
        let now = self.with_card(insured).await;
        let card_no = next_card_no(now.card_no.expose());
        let answer = self.post(url, &json!({"card_no": card_no, "card_password": now.card_password})).await;
        answer.is_some_and(|(status, _)| status == 200)
    }

    /// Taps "pay" in the wallet, for no more than was shown. The wallet's word: `PAID` or its refusal's code.
    pub async fn tap_wallet(&self, package: &str, openid: &Openid, at_most: Fen) -> String {
        let prepay_id = package.strip_prefix("prepay_id=").unwrap_or(package);
        let ask = json!({"prepay_id": prepay_id, "openid": openid.expose(), "at_most_fen": at_most});
        match self.post(format!("{}/sandbox/pay", self.wallet_url), &ask).await {
            Some((200, _)) => "PAID".to_owned(),
            Some((_, body)) => body["code"].as_str().unwrap_or("UNNAMED").to_owned(),
            None => "NO_ANSWER".to_owned(),
        }
    }
}

fn refund_word(answer: Option<(u16, Value)>) -> String {
    match answer {
        Some((200, view)) => view["state"].as_str().unwrap_or("unnamed").to_owned(),
        Some((503, _)) | None => "no_answer".to_owned(),
        Some(_) => "refused".to_owned(),
    }
}

/// A card's successor: the same number with its issue counted behind it, `…` → `…-2` → `…-3`.
fn next_card_no(card_no: &str) -> String {
    match card_no.rsplit_once('-').and_then(|(base, issue)| Some((base, issue.parse::<u32>().ok()?))) {
        Some((base, issue)) => format!("{base}-{}", issue.saturating_add(1)),
        None => format!("{card_no}-2"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_card_has_a_number_of_its_own() {
        assert_eq!(next_card_no("44900000012"), "44900000012-2");
        assert_eq!(next_card_no("44900000012-2"), "44900000012-3");
    }

    #[test]
    fn a_code_is_the_six_digits_that_stand_alone() {
        for (text, code) in [
            ("【统付】登录验证码123456，5分钟内有效。", Some("123456")),
            ("【统付】验证码000789，用于支付账单B20260520000001共12.50元", Some("000789")),
            ("账单B20260520000001已支付12345元", None),
        ] {
            assert_eq!(code_in(text).as_ref().map(|code| code.expose().to_owned()), code.map(str::to_owned));
        }
    }
}
