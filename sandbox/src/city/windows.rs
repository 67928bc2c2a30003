//! The hospitals' windows before anybody is ill: some people come with card and password and have their visit card bound
//! (普洱). Their bills then reach the platform with nothing but that card.

use std::io;
use std::time::Duration;

use schema::his::VisitCardBinding;
use schema::personal::{CardNo, Personal, SealedPassword};
use serde_json::json;
use tokio::time::Instant;

use super::plan::{CITIES, CityPlan};
use super::town::City;
use crate::bureau::seal_card_password;
use crate::people::person::{Insured, Person};

/// How long one binding may take, with all repeats.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts at a binding that nobody answered: the link may not stand yet.
const AGAIN: Duration = Duration::from_millis(200);

/// Every fourth person, children included.
fn comes_to_the_window(person: &Person) -> bool {
    person.number % 4 == 3
}

impl City {
    /// Binds visit cards at every hospital of each person's city. Repeating it changes nothing.
    pub async fn bind_visit_cards(&self) -> io::Result<()> {
        for city in &CITIES {
            let url = self.addresses.bureaus.get(city.admdvs).cloned().unwrap_or_default();
            let keys = self.get(&format!("{url}/sandbox/public-key")).await?;
            let card_key = keys["card_public_key"].as_str().unwrap_or_default();
            let crowd = self.founded.crowd(city.admdvs);
            for person in crowd.iter().filter(|person| comes_to_the_window(person)) {
                for insured in person.insured() {
                    self.bind_at_windows(city, insured, card_key).await?;
                }
            }
        }
        Ok(())
    }

    async fn bind_at_windows(&self, city: &CityPlan, insured: &Insured, card_key: &str) -> io::Result<()> {
        for hospital in city.hospitals {
            let binding = VisitCardBinding {
                visit_card_no: CardNo::new(format!("V{}", insured.psn_no.expose())),
                psn_name: insured.psn_name.clone(),
                psn_cert_type: "01".to_owned(),
                certno: insured.certno.clone(),
                card_no: insured.card_no.clone(),
                sealed_password: SealedPassword::new(seal_card_password(card_key, &insured.card_password)),
            };
            let ask = json!({"institution": hospital.code, "binding": binding});
            let deadline = Instant::now() + PATIENCE;
            loop {
                match self.outside.post(format!("{}/sandbox/window/visit-card", self.his_url), &ask).await {
                    Some((200, _)) => break,
                    Some((503, _)) | None if Instant::now() < deadline => tokio::time::sleep(AGAIN).await,
                    other => {
                        let code = hospital.code;
                        let said = format!("{code} 就诊卡未能绑定 a visit card could not be bound: {other:?}");
                        return Err(io::Error::other(said));
                    }
                }
            }
        }
        Ok(())
    }
}
