//! New bills: what a doctor orders, out of the catalogue, by dice that repeat from the seed.

use chrono::{DateTime, FixedOffset};
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schema::bill::{BillDraft, BillKind, DiagnosisRow, FeeLine, Patient, Visit};
use schema::money::{Fen, Qty4};
use schema::personal::{Diagnosis, Personal};
use serde::{Deserialize, Serialize};

use super::bill::{Bill, Posted, Standing};
use super::core::Core;
use crate::bureau::catalogue::{Catalogue, Item, Kind};

/// What is known of a bill before the doctor writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Why money is asked for; any when absent.
    #[serde(default)]
    pub kind: Option<BillKind>,
    /// How many lines, 1 to 100; a few when absent.
    #[serde(default)]
    pub lines: Option<usize>,
}

const DEPARTMENTS: [(&str, &str, &str, &str); 5] = [
    ("0300", "内科", "D440001", "林知远"),
    ("0400", "外科", "D440002", "周怀瑾"),
    ("0700", "儿科", "D440003", "沈若溪"),
    ("0500", "妇产科", "D440004", "顾明月"),
    ("5000", "中医科", "D440005", "叶清和"),
];

/// A line above this is too dear for an ordinary bill, in fen.
const DEAREST_LINE_FEN: i64 = 30_000;

impl Core {
    /// Writes a bill and keeps it. The same seed, hospital and number of bills before it give the same bill.
    /// `for_window`: phones never hear of it.
    pub fn issue(
        &mut self,
        catalogue: &Catalogue,
        seed: u64,
        patient: Patient,
        wish: &Wish,
        for_window: bool,
        now: DateTime<FixedOffset>,
    ) -> BillDraft {
        self.revision += 1;
        self.state.issued += 1;
        let number = self.state.issued;
        let salt = self
            .hospital
            .code
            .as_str()
            .bytes()
            .fold(seed, |salt, byte| salt.wrapping_mul(1_099_511_628_211).wrapping_add(u64::from(byte)));
        let mut dice = ChaCha8Rng::seed_from_u64(salt.wrapping_add(number));
        let kind = wish.kind.unwrap_or_else(|| {
            [BillKind::Outpatient, BillKind::Drug, BillKind::Examination, BillKind::Outpatient][dice.random_range(0..4)]
        });
        let (dept_code, dept_name, atddr_no, dr_name) = DEPARTMENTS[dice.random_range(0..DEPARTMENTS.len())];
        let lines = self.lines(catalogue, kind, wish, number, &mut dice);
        let amount_fen = Fen::new(lines.iter().map(|line| line.amount_fen.get()).sum());
        let (patient, by_card) = self.recognised(patient);
        let issued_at_us = now.timestamp_micros();
        let day = now.format("%Y%m%d");
        let draft = BillDraft {
            bill_no: format!("B{day}{number:06}"),
            kind,
            amount_fen,
            patient,
            visit: Visit {
                ipt_otp_no: format!("M{day}{number:06}"),
                med_type: "11".to_owned(),
                dept_code: dept_code.to_owned(),
                dept_name: dept_name.to_owned(),
                atddr_no: atddr_no.to_owned(),
                dr_name: dr_name.to_owned(),
                dise_codg: None,
            },
            diagnoses: diagnoses(catalogue, &mut dice),
            lines,
            issued_at_us,
            expires_at_us: issued_at_us + i64::from(self.hospital.bill_lives_s) * 1_000_000,
        };
        let (standing, posted) = match for_window {
            true => (Standing::AtWindow, Posted::Never),
            false => (Standing::Open, Posted::NotYet),
        };
        let bill = Bill { by_card, ..Bill::new(draft.clone(), standing, posted) };
        self.state.bills.insert(draft.bill_no.clone(), bill);
        draft
    }

    /// The bill of what remains when the last line of a bill is taken back: a visit and lines of its own. The same bill
    /// again for the same `bill_no`; `None` where nothing would remain.
    pub fn issue_rest(&mut self, bill_no: &str, now: DateTime<FixedOffset>) -> Option<BillDraft> {
        let rest_no = format!("{bill_no}R");
        if let Some(known) = self.state.bills.get(&rest_no) {
            return Some(known.draft.clone());
        }
        let paid = self.state.bills.get(bill_no)?;
        let (mut draft, by_card) = (paid.draft.clone(), paid.by_card);
        draft.lines.pop();
        if draft.lines.is_empty() {
            return None;
        }
        for line in &mut draft.lines {
            line.feedetl_sn.push('R');
        }
        draft.visit.ipt_otp_no.push('R');
        draft.bill_no.clone_from(&rest_no);
        draft.amount_fen = Fen::new(draft.lines.iter().map(|line| line.amount_fen.get()).sum());
        draft.issued_at_us = now.timestamp_micros();
        self.revision += 1;
        let rest = Bill { by_card, ..Bill::new(draft.clone(), Standing::Open, Posted::NotYet) };
        self.state.bills.insert(rest_no, rest);
        Some(draft)
    }

    fn lines(
        &self,
        catalogue: &Catalogue,
        kind: BillKind,
        wish: &Wish,
        number: u64,
        dice: &mut ChaCha8Rng,
    ) -> Vec<FeeLine> {
        let few = dice.random_range(1..=4);
        let count = wish.lines.unwrap_or(few).clamp(1, 100);
        let fits = |item: &&Item| {
            let dear = item.price.times(one()).is_ok_and(|price| price.get() > DEAREST_LINE_FEN);
            let right_kind = match kind {
                BillKind::Registration | BillKind::Examination => item.kind == Kind::Service,
                BillKind::Drug | BillKind::Pharmacy => item.kind == Kind::Drug,
                BillKind::Outpatient | BillKind::Inpatient => true,
            };
            right_kind && !dear
        };
        let chosen = catalogue.items().filter(fits).choose_multiple(dice, count);
        let mut lines: Vec<FeeLine> = chosen
            .into_iter()
            .enumerate()
            .filter_map(|(at, item)| line(item, &format!("{number:06}{:03}", at + 1), dice))
            .collect();
        // Now and then something the national catalogue does not know: the patient's whole.
        if lines.is_empty() || dice.random_range(0..20) == 0 {
            lines.push(uncoded(&format!("{number:06}999")));
        }
        lines
    }
}

fn one() -> Qty4 {
    Qty4::from_units(10_000)
}

fn line(item: &Item, feedetl_sn: &str, dice: &mut ChaCha8Rng) -> Option<FeeLine> {
    let drug = item.kind == Kind::Drug;
    let times = if drug { dice.random_range(1..=3) } else { 1 };
    let cnt = Qty4::from_units(times * 10_000);
    // Two thirds of the limited drugs were approved by the hospital; refused ones and forgotten ones share the rest.
    let hosp_appr_flag = match (item.limited, dice.random_range(0..6)) {
        (false, _) => "0",
        (true, 0..=3) => "1",
        (true, 4) => "2",
        (true, _) => "0",
    };
    Some(FeeLine {
        feedetl_sn: feedetl_sn.to_owned(),
        med_list_codg: Some(item.code.clone()),
        medins_list_codg: format!("Y{}", item.code),
        name: item.name.clone(),
        pric: item.price,
        cnt,
        amount_fen: item.price.times(cnt).ok()?,
        rxno: drug.then(|| format!("R{feedetl_sn}")),
        rx_circ_flag: "0".to_owned(),
        hosp_appr_flag: hosp_appr_flag.to_owned(),
        unit: (!item.unit.is_empty()).then(|| item.unit.clone()),
        spec: (!item.spec.is_empty()).then(|| item.spec.clone()),
        prd_days: drug.then(|| dice.random_range(3..=14)),
        level_hint: Some(item.class.chrgitm_lv().to_owned()),
    })
}

fn uncoded(feedetl_sn: &str) -> FeeLine {
    FeeLine {
        feedetl_sn: feedetl_sn.to_owned(),
        med_list_codg: None,
        medins_list_codg: "Y-LOCAL-0001".to_owned(),
        name: "病历本".to_owned(),
        pric: "1.5".parse().unwrap_or_default(),
        cnt: one(),
        amount_fen: Fen::new(150),
        rxno: None,
        rx_circ_flag: "0".to_owned(),
        hosp_appr_flag: "0".to_owned(),
        unit: Some("本".to_owned()),
        spec: None,
        prd_days: None,
        level_hint: None,
    }
}

fn diagnoses(catalogue: &Catalogue, dice: &mut ChaCha8Rng) -> Vec<DiagnosisRow> {
    let count = dice.random_range(1..=2);
    let western = catalogue.diagnoses().filter(|diagnosis| diagnosis.system.starts_with("西医"));
    let chosen = western.choose_multiple(dice, count);
    chosen
        .into_iter()
        .zip(1..)
        .map(|(diagnosis, diag_srt_no)| DiagnosisRow {
            diag_type: "1".to_owned(),
            diag_srt_no,
            diag_code: Diagnosis::new(diagnosis.code.clone()),
            diag_name: Diagnosis::new(diagnosis.name.clone()),
        })
        .collect()
}
