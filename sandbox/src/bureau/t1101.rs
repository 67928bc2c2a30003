//! 1101 人员基本信息: who holds this certificate, and how are they insured.
//!
//! Beyond the national interface: `baseinfo.card_stas` says whether the insurance card is usable (1 normal, 2 reported
//! lost). A lost card still answers 1101, so that whoever asks learns of the loss.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate};
use serde_json::{Value, json};

use super::core::{Call, Core};
use super::fields::Fields;
use super::refusal::Refusal;
use super::state::{CardStatus, Insurance, Person};

pub(super) struct Ask {
    cert_type: String,
    cert_no: String,
    identity: [(&'static str, Option<String>); 3],
}

pub(super) fn read(input: &Value) -> (Ask, Vec<String>) {
    let mut fields = Fields::of(input, "data");
    let cert_type = fields.one_of("mdtrt_cert_type", &["01", "02", "03"]);
    let cert_no = fields.text("mdtrt_cert_no", 50);
    if cert_type == "03" {
        fields.text("card_sn", 32);
    }
    fields.optional("begntime", 19);
    let identity = [
        ("psn_cert_type", fields.optional("psn_cert_type", 6)),
        ("certno", fields.optional("certno", 50)),
        ("psn_name", fields.optional("psn_name", 50)),
    ];
    (Ask { cert_type, cert_no, identity }, fields.finish())
}

pub(super) fn run(core: &mut Core, call: &Call<'_>, ask: Ask) -> Result<Value, Refusal> {
    let mut persons = core.state.persons.values();
    let person = match ask.cert_type.as_str() {
        "02" => persons.find(|person| person.certno == ask.cert_no),
        "03" => persons.find(|person| person.card_no == ask.cert_no),
        _ => return Err(Refusal::person("电子凭证令牌无效 this core decodes no e-credential tokens")),
    };
    let person = person.ok_or_else(|| Refusal::person("查无此人 nobody holds this certificate"))?;
    let own = [&person.psn_cert_type, &person.certno, &person.psn_name];
    for ((name, told), own) in ask.identity.iter().zip(own) {
        if told.as_ref().is_some_and(|told| told != own) {
            return Err(Refusal::person(format!("{name}与登记不一致 differs from the register")));
        }
    }
    let dialect = &core.config.dialect;
    let insuinfo = |insurance: &Insurance| {
        // The account belongs to employees' insurance; residents have none.
        let balance = if insurance.insutype == "310" { person.balance } else { schema::money::Fen::ZERO };
        json!({
            "balc": dialect.yuan(balance),
            "insutype": insurance.insutype,
            "psn_type": insurance.psn_type,
            "psn_insu_stas": if insurance.paused { "2" } else { "1" },
            "psn_insu_date": "2020-01-01",
            "paus_insu_date": "",
            "cvlserv_flag": if insurance.cvlserv { "1" } else { "0" },
            "insuplc_admdvs": insurance.insuplc_admdvs,
            "emp_name": "",
        })
    };
    let mut baseinfo = base(person, call.now);
    baseinfo["card_stas"] = Value::from(match person.card_status {
        CardStatus::Normal => "1",
        CardStatus::Lost => "2",
    });
    Ok(json!({
        "baseinfo": baseinfo,
        "insuinfo": person.insurances.iter().map(insuinfo).collect::<Vec<_>>(),
        "idetinfo": [],
    }))
}

/// The identity fields that 1101 and setlinfo share.
pub(super) fn base(person: &Person, now: DateTime<FixedOffset>) -> Value {
    json!({
        "psn_no": person.psn_no,
        "psn_cert_type": person.psn_cert_type,
        "certno": person.certno,
        "psn_name": person.psn_name,
        "gend": person.gend,
        "naty": "01",
        "brdy": person.brdy.format("%Y-%m-%d").to_string(),
        "age": age(person.brdy, now.date_naive()),
    })
}

fn age(born: NaiveDate, today: NaiveDate) -> i32 {
    let birthday_to_come = (today.month(), today.day()) < (born.month(), born.day());
    today.year() - born.year() - i32::from(birthday_to_come)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_a_year_older_on_the_birthday_and_not_before() {
        let day = |text: &str| text.parse::<NaiveDate>().expect("a day");
        assert_eq!(age(day("1990-05-20"), day("2026-05-19")), 35);
        assert_eq!(age(day("1990-05-20"), day("2026-05-20")), 36);
    }
}
