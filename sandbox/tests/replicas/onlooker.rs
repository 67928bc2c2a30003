//! Somebody with a login who looks at every replica in turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Response, StatusCode};
use sandbox::city::City;
use sandbox::city::plan::CITIES;
use sandbox::people::phone::MobilePhone;
use schema::personal::Personal;
use schema::refusal::{Again, Problem};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(100);
/// However bad things are, a caller hears something within this time.
const PATIENCE: Duration = Duration::from_secs(15);

/// What an onlooker was told.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Answers.
    pub(crate) answers: u32,
    /// "Later", by code.
    pub(crate) later: BTreeMap<String, u32>,
    /// What is neither an answer nor a clear refusal.
    pub(crate) unclear: Vec<String>,
}

/// See the module.
pub(crate) struct Onlooker {
    looking: JoinHandle<Seen>,
    enough: Arc<AtomicBool>,
}

impl Onlooker {
    /// Logs in once more as somebody of the city, and looks from then on.
    pub(crate) async fn of(city: &City) -> Onlooker {
        let area = CITIES[0].admdvs;
        let person = city.crowd(area).pop().expect("somebody lives here");
        let entrance = city.entrance(area).await.expect("a way in");
        let deadline = Instant::now() + Duration::from_secs(60);
        let phone = MobilePhone::log_in(&entrance, &person, city.outside(), deadline).await.expect("a login");
        let enough = Arc::new(AtomicBool::new(false));
        let (client, urls) = (city.outside().client().clone(), city.platform_urls());
        let looking = tokio::spawn(look(client, urls, phone, Arc::clone(&enough)));
        Onlooker { looking, enough }
    }

    /// What was seen.
    pub(crate) async fn told(self) -> Seen {
        self.enough.store(true, Ordering::Relaxed);
        self.looking.await.expect("an onlooker ends")
    }
}

async fn look(client: reqwest::Client, urls: Vec<String>, phone: MobilePhone, enough: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    for turn in 0_usize.. {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let url = &urls[turn / 4 % urls.len()];
        // A list, something that is nowhere, a change that cannot be made, and whether it is well: whoever can be asked
        // says so.
        let nowhere = uuid::Uuid::from_u128((1 << 127) + turn as u128);
        let (what, request) = match turn % 4 {
            0 => ("bills", client.get(format!("{url}/mobile/v1/bills"))),
            // Of these it alone asks Redis.
            3 => ("readiness", client.get(format!("{url}/readyz"))),
            1 => ("an order", client.get(format!("{url}/mobile/v1/orders/{nowhere}"))),
            _ => {
                let ask = json!({"bill_id": nowhere, "mode": "cash_only", "use_account": false});
                let key = nowhere.to_string();
                let post = client.post(format!("{url}/mobile/v1/orders")).header("idempotency-key", key).json(&ask);
                ("opening", post)
            }
        };
        match request.bearer_auth(phone.token().expose()).timeout(PATIENCE).send().await {
            Ok(response) => seen.take_down(what, response).await,
            Err(error) => seen.unclear.push(format!("{what}: {}", error.without_url())),
        }
        tokio::time::sleep(PAUSE).await;
    }
    seen
}

impl Seen {
    async fn take_down(&mut self, what: &str, response: Response) {
        let status = response.status();
        let wait = response.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
        let body = response.text().await.unwrap_or_default();
        if status.is_success() || (["an order", "opening"].contains(&what) && status == StatusCode::NOT_FOUND) {
            self.answers += 1;
            return;
        }
        match serde_json::from_str::<Problem>(&body) {
            Ok(problem)
                if status == StatusCode::SERVICE_UNAVAILABLE
                    && problem.again != Again::Never
                    && wait.is_some()
                    && wait == problem.retry_after_s =>
            {
                *self.later.entry(problem.code.to_string()).or_default() += 1;
            }
            _ => self.unclear.push(format!("{what}: {status}, Retry-After {wait:?}, {body}")),
        }
    }
}
