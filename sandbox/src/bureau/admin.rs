//! What only an operator of the sandbox may do, as functions of the core. `admin_http` offers the same over HTTP.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset, NaiveDate};
use schema::money::Fen;
use serde::{Deserialize, Serialize};

use super::caller::{Caller, CallerKind, Institution};
use super::core::Core;
use super::refusal::Refusal;
use super::state::{CardStatus, Insurance, Notice, Person};

/// An insured person to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPerson {
    /// 个人编号.
    pub psn_no: String,
    /// 01 when absent.
    #[serde(default = "identity_card")]
    pub psn_cert_type: String,
    /// Certificate number.
    pub certno: String,
    /// Name.
    pub psn_name: String,
    /// 1 male (when absent), 2 female.
    #[serde(default = "male")]
    pub gend: String,
    /// Birthday, `yyyy-MM-dd`.
    pub brdy: NaiveDate,
    /// Insurance card number.
    pub card_no: String,
    /// The card's payment password.
    pub card_password: String,
    /// At least one, each of a different insutype.
    pub insurances: Vec<Insurance>,
    /// Personal account, fen.
    #[serde(default)]
    pub balance_fen: Fen,
    /// psn_nos whose accounts this person may use (共济).
    #[serde(default)]
    pub relatives: Vec<String>,
}

fn identity_card() -> String {
    "01".to_owned()
}

fn male() -> String {
    "1".to_owned()
}

/// A credential to register, with everything about the institutions it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// `x-tif-paasid`.
    pub paasid: String,
    /// Shared secret.
    pub secret: String,
    /// `hospital` (exactly one institution) or `platform`.
    pub kind: CallerKind,
    /// Registered (or changed) along with it.
    pub institutions: Vec<Institution>,
    /// Where notices go.
    #[serde(default)]
    pub notice_url: Option<String>,
}

/// One row of `persons/import`.
#[derive(Deserialize)]
struct ImportRow {
    psn_no: String,
    certno: String,
    psn_name: String,
    gend: String,
    brdy: NaiveDate,
    card_no: String,
    card_password: String,
    insutype: String,
    psn_type: String,
    insuplc_admdvs: String,
    balance_fen: Fen,
    relatives: String,
}

impl Core {
    /// Creates persons, all or none, and answers how many are new. A person who exists with the same certificate is
    /// left as they are, so that a city may be set up again after a restart.
    pub fn create_persons(&mut self, persons: Vec<NewPerson>) -> Result<usize, Refusal> {
        let mut cards: BTreeMap<String, String> = BTreeMap::new();
        let mut certificates: BTreeMap<String, String> = BTreeMap::new();
        for person in self.state.persons.values() {
            cards.insert(person.card_no.clone(), person.psn_no.clone());
            certificates.insert(person.certno.clone(), person.psn_no.clone());
        }
        let mut faults = Vec::new();
        let mut fresh = BTreeMap::new();
        for person in persons {
            let psn_no = person.psn_no.clone();
            if self.state.persons.get(&psn_no).is_some_and(|known| known.certno == person.certno) {
                continue;
            }
            let card = cards.insert(person.card_no.clone(), psn_no.clone());
            let certificate = certificates.insert(person.certno.clone(), psn_no.clone());
            for (name, other) in [("card_no", card), ("certno", certificate)] {
                if let Some(other) = other {
                    faults.push(format!("{psn_no}: {name} 已属于{other} belongs to {other}"));
                }
            }
            let mut insutypes: Vec<&str> = person.insurances.iter().map(|i| i.insutype.as_str()).collect();
            insutypes.sort_unstable();
            insutypes.dedup();
            if insutypes.is_empty() || insutypes.len() != person.insurances.len() {
                faults.push(format!("{psn_no}: insurances 须至少一项且险种不重复 at least one, each insutype once"));
            }
            if person.balance_fen.is_negative() {
                faults.push(format!("{psn_no}: balance_fen 不能为负 must not be negative"));
            }
            if self.state.persons.contains_key(&psn_no) || fresh.contains_key(&psn_no) {
                faults.push(format!("{psn_no}: 已存在 exists with another certificate"));
            }
            fresh.insert(psn_no, created(person));
        }
        if !faults.is_empty() {
            return Err(Refusal::malformed(faults.join("; ")));
        }
        let count = fresh.len();
        self.state.persons.append(&mut fresh);
        self.touched();
        Ok(count)
    }

    /// [`Core::create_persons`] from CSV with the header `psn_no, certno, psn_name, gend, brdy, card_no,
    /// card_password, insutype, psn_type, insuplc_admdvs, balance_fen, relatives` (psn_nos with `;` between them).
    pub fn import_persons(&mut self, csv_text: &str) -> Result<usize, Refusal> {
        let rows = csv::Reader::from_reader(csv_text.as_bytes()).into_deserialize::<ImportRow>();
        let mut persons = Vec::new();
        let mut faults = Vec::new();
        for row in rows {
            match row {
                Ok(row) => persons.push(imported(row)),
                Err(error) => faults.push(error.to_string()),
            }
        }
        if faults.is_empty() { self.create_persons(persons) } else { Err(Refusal::malformed(faults.join("; "))) }
    }

    /// Registers a credential, or changes it, with its institutions.
    pub fn register_caller(&mut self, registration: Registration) -> Result<Caller, Refusal> {
        let Registration { paasid, secret, kind, institutions, notice_url } = registration;
        let mut faults = Vec::new();
        if paasid.is_empty() || secret.is_empty() {
            faults.push("paasid与secret必填 paasid and secret are required".to_owned());
        }
        if kind == CallerKind::Hospital && institutions.len() != 1 {
            faults.push("医院只能代表一家机构 a hospital names exactly one institution".to_owned());
        }
        for institution in &institutions {
            let code = &institution.fixmedins_code;
            if code.chars().count() != 12 {
                faults.push(format!("fixmedins_code {code}须为12位 must have 12 characters"));
            }
            if institution.admdvs.len() != 6 || !institution.admdvs.bytes().all(|b| b.is_ascii_digit()) {
                faults.push(format!("{code}: admdvs须为6位数字 must have 6 digits"));
            }
        }
        if !faults.is_empty() {
            return Err(Refusal::malformed(faults.join("; ")));
        }
        let codes = institutions.iter().map(|institution| institution.fixmedins_code.clone()).collect();
        let caller = Caller { paasid: paasid.clone(), secret, kind, institutions: codes, notice_url };
        self.state.institutions.extend(institutions.into_iter().map(|i| (i.fixmedins_code.clone(), i)));
        self.state.callers.insert(paasid, caller.clone());
        self.touched();
        Ok(caller)
    }

    /// The card is lost: it is dead, every live binding of the person ends, and a notice about each is queued, which
    /// is also the answer. Once more changes nothing and queues nothing.
    pub fn report_loss(&mut self, psn_no: &str, now: DateTime<FixedOffset>) -> Result<Vec<Notice>, Refusal> {
        let person = self.state.persons.get_mut(psn_no).ok_or_else(|| Refusal::person("查无此人 no such psn_no"))?;
        person.card_status = CardStatus::Lost;
        let mut notices = Vec::new();
        for binding in self.state.bindings.values_mut().filter(|b| b.psn_no == psn_no && !b.ended) {
            binding.ended = true;
            self.state.counter += 1;
            notices.push(Notice {
                notice_id: format!("N{:014}", self.state.counter),
                kind: "loss".to_owned(),
                psn_no: psn_no.to_owned(),
                bind_no: binding.bind_no.clone(),
                at: now,
                paasid: binding.paasid.clone(),
                done: false,
                attempts: 0,
            });
        }
        self.state.notices.extend(notices.iter().cloned());
        self.touched();
        Ok(notices)
    }

    /// A new card for the same psn_no: usable at once, but every binding must be made anew.
    pub fn issue_card(&mut self, psn_no: &str, card_no: &str, card_password: &str) -> Result<(), Refusal> {
        if self.state.persons.values().any(|person| person.card_no == card_no) {
            return Err(Refusal::duplicate("卡号已使用 this card number is in use"));
        }
        let person = self.state.persons.get_mut(psn_no).ok_or_else(|| Refusal::person("查无此人 no such psn_no"))?;
        card_no.clone_into(&mut person.card_no);
        card_password.clone_into(&mut person.card_password);
        person.card_status = CardStatus::Normal;
        (person.wrong_passwords, person.locked_on) = (0, None);
        self.touched();
        Ok(())
    }

    /// The person's card: number and payment password.
    pub fn card_of(&self, psn_no: &str) -> Result<(String, String), Refusal> {
        let person = self.state.persons.get(psn_no).ok_or_else(|| Refusal::person("查无此人 no such psn_no"))?;
        Ok((person.card_no.clone(), person.card_password.clone()))
    }

    /// Clears a month (`yyyyMM`): its settlements cannot be undone any more.
    pub fn clear_month(&mut self, month: &str) -> Result<(), Refusal> {
        if month.len() != 6 || !month.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refusal::malformed("month应为yyyyMM must be yyyyMM"));
        }
        self.state.cleared_months.insert(month.to_owned());
        self.touched();
        Ok(())
    }
}

fn created(person: NewPerson) -> Person {
    Person {
        psn_no: person.psn_no,
        psn_cert_type: person.psn_cert_type,
        certno: person.certno,
        psn_name: person.psn_name,
        gend: person.gend,
        brdy: person.brdy,
        card_no: person.card_no,
        card_password: person.card_password,
        card_status: CardStatus::Normal,
        wrong_passwords: 0,
        locked_on: None,
        insurances: person.insurances,
        balance: person.balance_fen,
        opening_balance: person.balance_fen,
        relatives: person.relatives,
    }
}

fn imported(row: ImportRow) -> NewPerson {
    NewPerson {
        psn_no: row.psn_no,
        psn_cert_type: identity_card(),
        certno: row.certno,
        psn_name: row.psn_name,
        gend: row.gend,
        brdy: row.brdy,
        card_no: row.card_no,
        card_password: row.card_password,
        insurances: vec![Insurance {
            insutype: row.insutype,
            psn_type: row.psn_type,
            insuplc_admdvs: row.insuplc_admdvs,
            cvlserv: false,
            paused: false,
        }],
        balance_fen: row.balance_fen,
        relatives: row.relatives.split(';').filter(|text| !text.is_empty()).map(str::to_owned).collect(),
    }
}
