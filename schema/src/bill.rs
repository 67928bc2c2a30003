//! What an institution asks for: the bill (待缴费单), as its HIS posts it and as it crosses the link.
//!
//! Field names are the national interface's where it has one (2203, 2204), with units last.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::money::{Fen, Price6, Qty4, Ratio4};
use crate::personal::{self, CardNo, CertNo, Diagnosis, PersonName, Personal};
use crate::refusal::Fault;

/// Why money is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BillKind {
    /// 挂号
    Registration,
    /// 门诊
    Outpatient,
    /// 检查检验
    Examination,
    /// 药品
    Drug,
    /// 药店
    Pharmacy,
    /// 住院
    Inpatient,
}

/// Who is treated. The document finds the person's phone; after a binding at the window the visit card alone does so,
/// and the other three may all be absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Patient {
    /// Name as in the HIS.
    #[serde(default, with = "personal::wire_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub psn_name: Option<PersonName>,
    /// Kind of identity document; `01` is the resident identity card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psn_cert_type: Option<String>,
    /// Number of that document.
    #[serde(default, with = "personal::wire_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub certno: Option<CertNo>,
    /// 就诊卡, where the hospital issues one.
    #[serde(default, with = "personal::wire_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub visit_card_no: Option<CardNo>,
}

impl Patient {
    /// Somebody by name and document.
    pub fn of_document(psn_name: PersonName, psn_cert_type: &str, certno: CertNo) -> Patient {
        Patient {
            psn_name: Some(psn_name),
            psn_cert_type: Some(psn_cert_type.to_owned()),
            certno: Some(certno),
            visit_card_no: None,
        }
    }

    /// Whoever a visit card is bound to.
    pub fn of_visit_card(visit_card_no: CardNo) -> Patient {
        Patient { psn_name: None, psn_cert_type: None, certno: None, visit_card_no: Some(visit_card_no) }
    }

    /// Nothing but the visit card says who it is.
    pub fn is_card_only(&self) -> bool {
        self.visit_card_no.is_some() && self.psn_name.is_none() && self.psn_cert_type.is_none() && self.certno.is_none()
    }
}

/// The visit that the bill belongs to (2201, 2203).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Visit {
    /// 门诊号, unique in the hospital.
    pub ipt_otp_no: String,
    /// 医疗类别: `11` ordinary outpatient, `12` registration, `13` emergency, `14` chronic disease …
    pub med_type: String,
    /// Department code.
    pub dept_code: String,
    /// Department name.
    pub dept_name: String,
    /// Doctor code (`atddr_no`).
    pub atddr_no: String,
    /// Doctor name.
    pub dr_name: String,
    /// 病种编码; one per batch. Absent for ordinary outpatient care.
    #[serde(default, with = "personal::wire_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub dise_codg: Option<Diagnosis>,
}

/// One diagnosis (2203 `diseinfo`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiagnosisRow {
    /// 1 西医, 2 中医主病, 3 中医主证.
    pub diag_type: String,
    /// Order, from 1.
    pub diag_srt_no: u16,
    /// Code.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub diag_code: Diagnosis,
    /// Name.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub diag_name: Diagnosis,
}

/// One fee line (2204 `feedetail`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeeLine {
    /// 费用明细流水号, unique inside a visit.
    pub feedetl_sn: String,
    /// National code; a line without one is accepted and is the patient's whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub med_list_codg: Option<String>,
    /// The hospital's own code.
    pub medins_list_codg: String,
    /// Name for people.
    pub name: String,
    /// Unit price in yuan, six decimals.
    #[schema(value_type = String, example = "12.5")]
    pub pric: Price6,
    /// Quantity, four decimals.
    #[schema(value_type = String, example = "2")]
    pub cnt: Qty4,
    /// The line's amount in fen (`det_item_fee_sumamt`). This is what sums; price × count is only checked against it.
    #[schema(value_type = i64)]
    pub amount_fen: Fen,
    /// 处方号.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rxno: Option<String>,
    /// 外购处方标志: `0` or `1`.
    #[serde(default = "zero")]
    pub rx_circ_flag: String,
    /// 医院审批标志 for limited-use drugs: `0` no approval needed, `1` approved, `2` refused.
    #[serde(default = "zero")]
    pub hosp_appr_flag: String,
    /// Unit of sale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// 规格.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<String>,
    /// 用药天数 (`prd_days`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prd_days: Option<u32>,
    /// 甲/乙/丙 as the HIS believes; a hint for people, the bureau's answer rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level_hint: Option<String>,
}

/// price × count is exact in 10^-8 fen: 10^-6 yuan × 10^-4.
const FINEST_PER_FEN: i128 = 100_000_000;

impl FeeLine {
    /// How far the amount lies from price × count, in 10^-8 fen: compared before anything is rounded away.
    fn off_by(&self) -> i128 {
        let product = i128::from(self.pric.units()) * i128::from(self.cnt.units());
        (product - i128::from(self.amount_fen.get()) * FINEST_PER_FEN).abs()
    }
}

fn zero() -> String {
    "0".to_owned()
}

/// A bill as its institution states it. Never edited afterwards, only replaced or withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BillDraft {
    /// The institution's own number; the same number with other content is refused.
    pub bill_no: String,
    /// Why money is asked for.
    pub kind: BillKind,
    /// Total in fen: exactly the sum of the lines.
    #[schema(value_type = i64)]
    pub amount_fen: Fen,
    /// Who is treated.
    pub patient: Patient,
    /// The visit.
    pub visit: Visit,
    /// Diagnoses in order.
    pub diagnoses: Vec<DiagnosisRow>,
    /// Fee lines.
    pub lines: Vec<FeeLine>,
    /// When the charge arose: microseconds UTC.
    pub issued_at_us: i64,
    /// After this instant the bill cannot be paid here: microseconds UTC.
    pub expires_at_us: i64,
}

/// Bounds that both sides check before anything is stored.
pub const MOST_LINES: usize = 500;
/// The largest bill in fen (ten million yuan): beyond it a typing error is likelier than a bill.
pub const MOST_FEN: i64 = 1_000_000_000;

impl BillDraft {
    /// Everything wrong with this bill in itself, all at once; empty when it may be stored.
    /// `tolerance_fen` is how far a line's amount may lie from price × count (a tenant's setting, usually 1 fen).
    pub fn faults(&self, tolerance_fen: i64) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |at: String, zh: &str, en: &str| faults.push(Fault::new(at, zh, en));
        let mut text = |at: &str, value: &str, most: usize| {
            if value.trim().is_empty() {
                fault(at.to_owned(), "不能为空", "must not be empty");
            } else if value.chars().count() > most || value.chars().any(char::is_control) {
                fault(at.to_owned(), "过长或含控制字符", "is too long or has control characters");
            }
        };
        text("bill_no", &self.bill_no, 40);
        let Patient { psn_name, psn_cert_type, certno, visit_card_no } = &self.patient;
        if !self.patient.is_card_only() {
            text("patient.psn_name", psn_name.as_ref().map_or("", Personal::expose), 50);
            text("patient.psn_cert_type", psn_cert_type.as_deref().unwrap_or_default(), 6);
            text("patient.certno", certno.as_ref().map_or("", Personal::expose), 50);
        }
        if let Some(card) = visit_card_no {
            text("patient.visit_card_no", card.expose(), 50);
        }
        text("visit.ipt_otp_no", &self.visit.ipt_otp_no, 30);
        text("visit.med_type", &self.visit.med_type, 6);
        text("visit.dept_code", &self.visit.dept_code, 30);
        text("visit.dept_name", &self.visit.dept_name, 100);
        text("visit.atddr_no", &self.visit.atddr_no, 30);
        text("visit.dr_name", &self.visit.dr_name, 50);
        for (at, line) in self.lines.iter().enumerate().take(MOST_LINES) {
            text(&format!("lines[{at}].feedetl_sn"), &line.feedetl_sn, 30);
            text(&format!("lines[{at}].medins_list_codg"), &line.medins_list_codg, 150);
            text(&format!("lines[{at}].name"), &line.name, 200);
            for (name, value, most) in [
                ("med_list_codg", &line.med_list_codg, 50),
                ("rxno", &line.rxno, 40),
                ("unit", &line.unit, 50),
                ("spec", &line.spec, 200),
                ("level_hint", &line.level_hint, 20),
            ] {
                if let Some(value) = value {
                    text(&format!("lines[{at}].{name}"), value, most);
                }
            }
        }
        if self.amount_fen.get() <= 0 || self.amount_fen.get() > MOST_FEN {
            fault("amount_fen".into(), "金额须大于0且不超过1000万元", "must be above 0 and at most 10 million yuan");
        }
        if self.lines.is_empty() || self.lines.len() > MOST_LINES {
            fault("lines".into(), "明细须为1至500行", "must have 1 to 500 lines");
        }
        if self.diagnoses.len() > 50 {
            fault("diagnoses".into(), "诊断不得超过50条", "must have at most 50 rows");
        }
        if self.expires_at_us <= self.issued_at_us {
            fault("expires_at_us".into(), "失效时间须晚于开单时间", "must be after issued_at_us");
        }
        self.line_faults(tolerance_fen, &mut faults);
        faults
    }

    fn line_faults(&self, tolerance_fen: i64, faults: &mut Vec<Fault>) {
        let mut seen = std::collections::BTreeSet::new();
        for (at, line) in self.lines.iter().enumerate().take(MOST_LINES) {
            if !seen.insert(line.feedetl_sn.as_str()) {
                faults.push(Fault::new(format!("lines[{at}].feedetl_sn"), "流水号重复", "repeats another line's"));
            }
            if line.cnt <= Qty4::ZERO || line.pric < Price6::ZERO || line.amount_fen.is_negative() {
                faults.push(Fault::new(
                    format!("lines[{at}]"),
                    "数量须为正，单价与金额不得为负",
                    "needs a positive count and no negative price or amount",
                ));
                continue;
            }
            if line.off_by() > i128::from(tolerance_fen) * FINEST_PER_FEN {
                faults.push(Fault::new(
                    format!("lines[{at}].amount_fen"),
                    "金额与单价×数量不符",
                    "is not price × count within the tolerance",
                ));
            }
            if !matches!(line.hosp_appr_flag.as_str(), "0" | "1" | "2") {
                faults.push(Fault::new(format!("lines[{at}].hosp_appr_flag"), "只能为0、1、2", "must be 0, 1 or 2"));
            }
            if !matches!(line.rx_circ_flag.as_str(), "0" | "1") {
                faults.push(Fault::new(format!("lines[{at}].rx_circ_flag"), "只能为0、1", "must be 0 or 1"));
            }
        }
        if Fen::sum(self.lines.iter().map(|line| line.amount_fen)) != Ok(self.amount_fen) {
            faults.push(Fault::new("amount_fen", "明细合计与总额不符", "is not the sum of the lines"));
        }
    }
}

/// What the bureau said of one fee line (2204 `result`), in fen and ratios.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LineResult {
    /// The line.
    pub feedetl_sn: String,
    /// Its amount in fen.
    #[schema(value_type = i64)]
    pub amount_fen: Fen,
    /// 限价: ceiling of the unit price in yuan; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub pric_uplmt_amt: Option<Price6>,
    /// 先行自付比例.
    #[schema(value_type = String)]
    pub selfpay_prop: Ratio4,
    /// 全自费 in fen.
    #[schema(value_type = i64)]
    pub fulamt_ownpay_fen: Fen,
    /// 超限价自费 in fen.
    #[schema(value_type = i64)]
    pub overlmt_fen: Fen,
    /// 先行自付 in fen.
    #[schema(value_type = i64)]
    pub preselfpay_fen: Fen,
    /// 符合政策范围 in fen.
    #[schema(value_type = i64)]
    pub inscp_scp_fen: Fen,
    /// 收费项目等级: 1 甲, 2 乙, 3 丙.
    pub chrgitm_lv: String,
    /// What else 2204 says of the line.
    #[serde(default, skip_serializing_if = "LineFlags::is_empty")]
    pub flags: LineFlags,
}

/// 2204's flags of a line, by their own names and as they were written; absent where the bureau said nothing. Its `memo`
/// is left out: free text may name the person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LineFlags {
    /// 医疗收费项目类别.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub med_chrgitm_type: Option<String>,
    /// 基本药物标志.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bas_medn_flag: Option<String>,
    /// 医保谈判药品标志.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hi_nego_drug_flag: Option<String>,
    /// 儿童用药标志.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chld_medc_flag: Option<String>,
    /// 目录特项标志.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_sp_item_flag: Option<String>,
    /// 限制使用标志.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lmt_used_flag: Option<String>,
    /// 直报标志.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drt_reim_flag: Option<String>,
}

impl LineFlags {
    /// Whether the bureau said nothing.
    pub fn is_empty(&self) -> bool {
        *self == LineFlags::default()
    }

    /// Those that were said, by name.
    pub fn said(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("med_chrgitm_type", &self.med_chrgitm_type),
            ("bas_medn_flag", &self.bas_medn_flag),
            ("hi_nego_drug_flag", &self.hi_nego_drug_flag),
            ("chld_medc_flag", &self.chld_medc_flag),
            ("list_sp_item_flag", &self.list_sp_item_flag),
            ("lmt_used_flag", &self.lmt_used_flag),
            ("drt_reim_flag", &self.drt_reim_flag),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bill() -> BillDraft {
        let line = |sn: &str, pric: &str, cnt: &str, fen| FeeLine {
            feedetl_sn: sn.into(),
            med_list_codg: Some("XA02AXX095A001010103357".into()),
            medins_list_codg: "Y001".into(),
            name: "小儿大黄碳酸氢钠片".into(),
            pric: pric.parse().expect("a price"),
            cnt: cnt.parse().expect("a count"),
            amount_fen: Fen::new(fen),
            rxno: None,
            rx_circ_flag: zero(),
            hosp_appr_flag: zero(),
            unit: None,
            spec: None,
            prd_days: None,
            level_hint: None,
        };
        BillDraft {
            bill_no: "B1".into(),
            kind: BillKind::Outpatient,
            amount_fen: Fen::new(3000),
            patient: Patient::of_document(PersonName::new("王小明"), "01", CertNo::new("441900199001011234")),
            visit: Visit {
                ipt_otp_no: "M1".into(),
                med_type: "11".into(),
                dept_code: "D1".into(),
                dept_name: "内科".into(),
                atddr_no: "A1".into(),
                dr_name: "李医生".into(),
                dise_codg: None,
            },
            diagnoses: vec![],
            lines: vec![line("1", "10", "1", 1000), line("2", "6.666666", "3", 2000)],
            issued_at_us: 1,
            expires_at_us: 2,
        }
    }

    #[test]
    fn a_sound_bill_has_no_faults_and_survives_the_wire() {
        let bill = bill();
        assert_eq!(bill.faults(1), vec![]);
        let text = serde_json::to_string(&bill).expect("a bill serialises");
        assert_eq!(serde_json::from_str::<BillDraft>(&text).expect("and comes back"), bill);
    }

    #[test]
    fn a_patient_is_known_by_the_whole_document_or_by_the_visit_card() {
        let document = bill().patient;
        let card = Patient::of_visit_card(CardNo::new("V1"));
        for (patient, missing) in [
            (document.clone(), vec![]),
            (card.clone(), vec![]),
            (Patient { visit_card_no: card.visit_card_no.clone(), ..document.clone() }, vec![]),
            (Patient { visit_card_no: Some(CardNo::new(" ")), ..card.clone() }, vec!["patient.visit_card_no"]),
            (Patient { certno: None, ..document.clone() }, vec!["patient.certno"]),
            (
                Patient { certno: document.certno.clone(), ..card.clone() },
                vec!["patient.psn_name", "patient.psn_cert_type"],
            ),
            (
                Patient { visit_card_no: None, ..card },
                vec!["patient.psn_name", "patient.psn_cert_type", "patient.certno"],
            ),
        ] {
            let places: Vec<String> =
                BillDraft { patient, ..bill() }.faults(1).into_iter().map(|fault| fault.at).collect();
            assert_eq!(places, missing);
        }
    }

    #[test]
    fn a_line_is_compared_with_its_tolerance_before_rounding() {
        for (pric, cnt, fen, tolerance_fen, sound) in [
            ("10", "1", 1001, 1, true),
            ("10.004", "1", 999, 1, false),
            ("10.004", "1", 1000, 1, true),
            ("10.004", "1", 1000, 0, false),
            ("9.99", "1", 1000, 1, true),
            ("9.989999", "1", 1000, 1, false),
            ("0.000001", "0.0001", 0, 0, false),
            ("9000000000000", "900000000000000", 1, 1, false),
        ] {
            let mut bill = bill();
            bill.lines.truncate(1);
            bill.lines[0].pric = pric.parse().expect("a price");
            bill.lines[0].cnt = cnt.parse().expect("a count");
            bill.lines[0].amount_fen = Fen::new(fen);
            let off = bill.faults(tolerance_fen).iter().any(|fault| fault.at == "lines[0].amount_fen");
            assert_eq!(!off, sound, "{pric} × {cnt} against {fen} within {tolerance_fen}");
        }
    }

    #[test]
    fn all_faults_are_listed_at_once() {
        let mut bill = bill();
        bill.bill_no = " ".into();
        bill.amount_fen = Fen::new(2999);
        bill.lines[1].feedetl_sn = "1".into();
        bill.lines[0].amount_fen = Fen::new(1002);
        bill.lines[0].hosp_appr_flag = "9".into();
        let places: Vec<String> = bill.faults(1).into_iter().map(|fault| fault.at).collect();
        assert_eq!(
            places,
            ["bill_no", "lines[0].amount_fen", "lines[0].hosp_appr_flag", "lines[1].feedetl_sn", "amount_fen"]
        );
    }
}
