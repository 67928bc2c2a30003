//! Field by field between the national interface and ours; MAPPINGS.md is the table. Yuan end here.

use std::collections::BTreeMap;

use schema::link::{InsuredPerson, SettleInputs};
use schema::money::{Fen, Overflow};
use schema::personal::{EmployerName, Personal as _, PsnNo};
use schema::seal::Sealed;
use schema::split::Split;
use serde::Serialize;

use super::config::Dialect;
use super::envelope::{Node, Unreadable, Yuan};
use super::status::{self, Standing};
use super::{BindRequest, Bound, Identity, Insurance, PersonInfo, UndoneAt};
use crate::domain::settlement::{Clearing, FundDetail, Settlement};
use crate::parties::china;

/// 居民身份证号 as 就诊凭证: how 1101 is asked by identity document.
const BY_IDENTITY_NUMBER: &str = "02";

/// An answer that cannot be taken as it stands. What happened at the bureau is then unknown. Free of personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("the answer lacks {0}")]
    Lacks(&'static str),
    #[error("the answer is about another {0}")]
    Another(&'static str),
    #[error("the settlement breaks {0}")]
    Broken(String),
    #[error("the bureau does not say whether the settlement stands")]
    Standing,
}

impl From<Overflow> for Unfit {
    fn from(overflow: Overflow) -> Unfit {
        Unfit::Broken(overflow.to_string())
    }
}

/// 9001.
#[derive(Serialize)]
pub(super) struct SignIn<'a> {
    #[serde(rename = "signIn")]
    pub(super) sign_in: SignInBy<'a>,
}

/// Who signs in. The interface wants a MAC and an address; a server has none worth telling.
#[derive(Serialize)]
pub(super) struct SignInBy<'a> {
    pub(super) opter_no: &'a str,
    pub(super) mac: &'a str,
    pub(super) ip: &'a str,
}

/// 1101.
#[derive(Serialize)]
pub(super) struct PersonInput<'a> {
    mdtrt_cert_type: &'a str,
    mdtrt_cert_no: &'a str,
    card_sn: &'a str,
    begntime: &'a str,
    psn_cert_type: &'a str,
    certno: &'a str,
    psn_name: &'a str,
}

impl<'a> PersonInput<'a> {
    pub(super) fn of(identity: &'a Identity) -> PersonInput<'a> {
        PersonInput {
            mdtrt_cert_type: BY_IDENTITY_NUMBER,
            mdtrt_cert_no: identity.certno.expose(),
            card_sn: "",
            begntime: "",
            psn_cert_type: &identity.psn_cert_type,
            certno: identity.certno.expose(),
            psn_name: identity.psn_name.expose(),
        }
    }
}

/// B001.
#[derive(Serialize)]
pub(super) struct BindInput<'a> {
    psn_cert_type: &'a str,
    certno: &'a str,
    psn_name: &'a str,
    card_no: &'a str,
    card_pwd_sealed: &'a str,
    channel_no: &'a str,
}

impl<'a> BindInput<'a> {
    pub(super) fn of(request: &'a BindRequest) -> BindInput<'a> {
        BindInput {
            psn_cert_type: &request.identity.psn_cert_type,
            certno: request.identity.certno.expose(),
            psn_name: request.identity.psn_name.expose(),
            card_no: request.card_no.expose(),
            card_pwd_sealed: request.sealed_password.expose(),
            channel_no: &request.channel_no,
        }
    }
}

/// B002.
#[derive(Serialize)]
pub(super) struct UnbindInput<'a> {
    pub(super) bind_no: &'a str,
    pub(super) psn_no: &'a str,
}

/// 2207.
#[derive(Serialize)]
pub(super) struct SettleInput<'a> {
    psn_no: &'a str,
    mdtrt_cert_type: &'a str,
    mdtrt_cert_no: &'a str,
    med_type: &'a str,
    medfee_sumamt: Yuan,
    psn_setlway: &'a str,
    mdtrt_id: &'a str,
    chrg_bchno: &'a str,
    acct_used_flag: &'a str,
    insutype: &'a str,
    invono: &'a str,
    fulamt_ownpay_amt: Yuan,
    overlmt_selfpay: Yuan,
    preselfpay_amt: Yuan,
    inscp_scp_amt: Yuan,
}

impl<'a> SettleInput<'a> {
    pub(super) fn of(inputs: &'a SettleInputs) -> SettleInput<'a> {
        let InsuredPerson { psn_no, insutype, insuplc_admdvs: _, mdtrt_cert_type, mdtrt_cert_no } = &inputs.person;
        SettleInput {
            psn_no: psn_no.expose(),
            mdtrt_cert_type,
            mdtrt_cert_no: mdtrt_cert_no.expose(),
            med_type: &inputs.med_type,
            medfee_sumamt: Yuan(inputs.medfee_sumamt_fen),
            psn_setlway: &inputs.psn_setlway,
            mdtrt_id: &inputs.mdtrt_id,
            chrg_bchno: &inputs.chrg_bchno,
            acct_used_flag: if inputs.use_account { "1" } else { "0" },
            insutype,
            invono: &inputs.invono,
            fulamt_ownpay_amt: Yuan(inputs.fulamt_ownpay_fen),
            overlmt_selfpay: Yuan(inputs.overlmt_selfpay_fen),
            preselfpay_amt: Yuan(inputs.preselfpay_fen),
            inscp_scp_amt: Yuan(inputs.inscp_scp_fen),
        }
    }
}

/// 2208 and 5203: a settlement by its id, or with an empty id (5203 only) by its visit.
#[derive(Serialize)]
pub(super) struct SettlementInput<'a> {
    pub(super) setl_id: &'a str,
    pub(super) mdtrt_id: &'a str,
    pub(super) psn_no: &'a str,
}

/// 2601.
#[derive(Serialize)]
pub(super) struct ReverseInput<'a> {
    pub(super) psn_no: &'a str,
    pub(super) omsgid: &'a str,
    pub(super) oinfno: &'a str,
}

/// 1101's output. Insurances that are in force come first; the bureau's order is kept otherwise.
pub(super) fn person(output: &Node) -> Result<PersonInfo, Unfit> {
    let base = output.node("baseinfo");
    let mut insurances = Vec::new();
    for row in output.nodes("insuinfo") {
        insurances.push(Insurance {
            insutype: row.text("insutype").ok_or(Unfit::Lacks("insuinfo.insutype"))?,
            insuplc_admdvs: row.text("insuplc_admdvs").ok_or(Unfit::Lacks("insuinfo.insuplc_admdvs"))?,
            psn_type: row.text("psn_type").unwrap_or_default(),
            psn_insu_stas: row.text("psn_insu_stas").unwrap_or_default(),
            cvlserv_flag: row.text("cvlserv_flag").unwrap_or_default(),
            emp_name: row.text("emp_name").map(EmployerName::new),
            active: status::insured(row.text("psn_insu_stas").as_deref()),
        });
    }
    insurances.sort_by_key(|insurance| !insurance.active);
    let insured = insurances.iter().any(|insurance| insurance.active);
    Ok(PersonInfo {
        psn_no: PsnNo::new(base.text("psn_no").ok_or(Unfit::Lacks("baseinfo.psn_no"))?),
        psn_name: schema::personal::PersonName::new(base.text("psn_name").ok_or(Unfit::Lacks("baseinfo.psn_name"))?),
        blocked: !insured || !status::card_usable(base.text("card_stas").as_deref()),
        insurances,
    })
}

/// B001's output.
pub(super) fn bound(output: &Node) -> Result<Bound, Unfit> {
    let data = output.node("data");
    Ok(Bound {
        bind_no: data.text("bind_no").ok_or(Unfit::Lacks("data.bind_no"))?,
        psn_no: PsnNo::new(data.text("psn_no").ok_or(Unfit::Lacks("data.psn_no"))?),
        insuplc_admdvs: data.text("insuplc_admdvs").ok_or(Unfit::Lacks("data.insuplc_admdvs"))?,
    })
}

/// What a settlement must be about to be ours.
pub(super) struct Ours<'a> {
    /// The 2207's message, which `medins_setl_id` echoes.
    pub(super) msgid: &'a str,
    /// What 2207 was told.
    pub(super) inputs: &'a SettleInputs,
}

/// The amounts of `setlinfo` that the national interface names, beside the dialect's other funds: one of them that
/// cannot be read makes the whole answer unclear.
const AMOUNTS: [&str; 14] = [
    "medfee_sumamt",
    "fulamt_ownpay_amt",
    "overlmt_selfpay",
    "preselfpay_amt",
    "inscp_scp_amt",
    "act_pay_dedc",
    "hifp_pay",
    "fund_pay_sumamt",
    "psn_part_amt",
    "acct_pay",
    "psn_cash_pay",
    "hosp_part_amt",
    "balc",
    "acct_mulaid_pay",
];

/// 5203 in some builds names these two otherwise than 2207.
const ALIASES: [(&str, &str); 2] = [("psn_cash_pay", "cash_payamt"), ("psn_part_amt", "psn_pay")];

/// What the names of amounts end with in the national interface. A build's own amount (`hifdm_pay`, `othfund_pay` …) is
/// known by it.
const AMOUNT_ENDINGS: [&str; 6] = ["pay", "amt", "sum", "fee", "dedc", "balc"];

/// What the names of ratios contain: `pool_prop_selfpay` is none of the amounts.
const RATIO: &str = "prop";

/// The texts of `setlinfo` that describe no person and are no column of their own. Everything else that is neither
/// amount nor ratio stays in the sealed reply: it may name somebody, and nobody here knows that it does not.
const TEXTS: [&str; 16] = [
    "psn_type",
    "psn_cert_type",
    "mdtrt_cert_type",
    "med_type",
    "acct_used_flag",
    "invono",
    "cvlserv_flag",
    "refd_setl_flag",
    "setl_type",
    "pay_loc",
    "setl_optins",
    "year",
    "hosp_lv",
    "lmtpric_hosp_lv",
    "dedc_hosp_lv",
    "fixmedins_code",
];

/// A settlement that counts. `inf_refmsgid` is empty when it is not 2207's own answer that is read; `reply` stays empty.
pub(super) fn settlement(
    info: &Node,
    details: &[Node],
    ours: &Ours<'_>,
    inf_refmsgid: &str,
    dialect: &Dialect,
) -> Result<Settlement, Unfit> {
    is_ours(info, ours)?;
    let amounts = amounts(info, dialect)?;
    let split = split(&amounts, dialect)?;
    let setl_time = info.text("setl_time").ok_or(Unfit::Lacks("setl_time"))?;
    Ok(Settlement {
        msgid: ours.msgid.to_owned(),
        inf_refmsgid: inf_refmsgid.to_owned(),
        setl_id: info.text("setl_id").ok_or(Unfit::Lacks("setl_id"))?,
        mdtrt_id: ours.inputs.mdtrt_id.clone(),
        split,
        insutype: info.text("insutype").unwrap_or_else(|| ours.inputs.person.insutype.clone()),
        setl_time_us: china::read_dt19(&setl_time).ok_or(Unfit::Lacks("a readable setl_time"))?,
        clearing: Clearing {
            clr_type: info.text("clr_type").unwrap_or_default(),
            clr_way: info.text("clr_way").unwrap_or_default(),
            clr_optins: info.text("clr_optins").unwrap_or_default(),
        },
        amounts,
        texts: texts(info, dialect),
        details: details.iter().map(detail).collect::<Result<_, _>>()?,
        reply: Sealed::from_bytes(Vec::new()),
    })
}

/// What the answer names must be what was asked; what it does not name proves nothing.
fn is_ours(info: &Node, ours: &Ours<'_>) -> Result<(), Unfit> {
    for (name, expected) in [
        ("medins_setl_id", ours.msgid),
        ("mdtrt_id", ours.inputs.mdtrt_id.as_str()),
        ("psn_no", ours.inputs.person.psn_no.expose()),
    ] {
        if info.text(name).is_some_and(|told| told != expected) {
            return Err(Unfit::Another(name));
        }
    }
    Ok(())
}

fn amounts(info: &Node, dialect: &Dialect) -> Result<BTreeMap<String, Fen>, Unfit> {
    let mut amounts = BTreeMap::new();
    for name in AMOUNTS.into_iter().chain(dialect.other_funds.iter().map(String::as_str)) {
        let alias = ALIASES.iter().find(|(ours, _)| *ours == name).map(|(_, alias)| *alias);
        let amount = match (info.yuan(name)?, alias) {
            (None, Some(alias)) => info.yuan(alias)?,
            (amount, _) => amount,
        };
        if let Some(amount) = amount {
            amounts.insert(name.to_owned(), amount);
        }
    }
    // Absent funds are zero, but an answer without these three says nothing at all.
    for name in ["medfee_sumamt", "psn_part_amt", "psn_cash_pay"] {
        if !amounts.contains_key(name) {
            return Err(Unfit::Lacks(name));
        }
    }
    for name in info.names().filter(|name| is_amount(name, dialect)) {
        // A build's own field means no more than its name says: one that is no exact amount is kept as a text instead.
        if let Ok(Some(amount)) = info.yuan(name) {
            amounts.entry(name.to_owned()).or_insert(amount);
        }
    }
    Ok(amounts)
}

fn is_amount(name: &str, dialect: &Dialect) -> bool {
    let named = AMOUNTS.contains(&name) || dialect.other_funds.iter().any(|fund| fund == name);
    named || (!name.contains(RATIO) && AMOUNT_ENDINGS.iter().any(|ending| name.ends_with(ending)))
}

/// Kinds, flags and ratios as they were written, and numbers that are called amounts but are finer than a fen.
fn texts(info: &Node, dialect: &Dialect) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for name in info.names() {
        let Some(text) = info.text(name) else { continue };
        let number = text.bytes().all(|byte| byte.is_ascii_digit() || b".+-eE".contains(&byte));
        let ratio = number && name.contains(RATIO);
        let no_fen = number && is_amount(name, dialect) && info.yuan(name).is_err();
        if TEXTS.contains(&name) || ratio || no_fen {
            texts.insert(name.to_owned(), text);
        }
    }
    texts
}

/// The split, once the four identities below hold in this dialect.
fn split(amounts: &BTreeMap<String, Fen>, dialect: &Dialect) -> Result<Split, Unfit> {
    let of = |name: &str| amounts.get(name).copied().unwrap_or_default();
    let medfee = of("medfee_sumamt");

    let overlmt = if dialect.overlmt_inside_fulamt { Fen::ZERO } else { of("overlmt_selfpay") };
    let lines = Fen::sum([of("fulamt_ownpay_amt"), overlmt, of("preselfpay_amt"), of("inscp_scp_amt")])?;
    equal("identity 1: medfee_sumamt = fulamt + overlmt + preself + inscp", medfee, lines)?;

    let other_funds = Fen::sum(dialect.other_funds.iter().map(|name| of(name)))?;
    let funds = of("hifp_pay").plus(other_funds)?;
    if let Some(told) = amounts.get("fund_pay_sumamt") {
        let with_account = if dialect.fund_pay_sumamt_includes_acct { funds.plus(of("acct_pay"))? } else { funds };
        equal("identity 2: fund_pay_sumamt = all funds in this dialect", *told, with_account)?;
    }

    let borne = Fen::sum([funds, of("hosp_part_amt"), of("psn_part_amt")])?;
    equal("identity 3: medfee_sumamt = funds + hosp_part + psn_part", medfee, borne)?;

    let personal = of("acct_pay").plus(of("psn_cash_pay"))?;
    equal("identity 4: psn_part_amt = acct_pay + psn_cash_pay", of("psn_part_amt"), personal)?;

    let split = Split {
        fund_fen: of("hifp_pay"),
        other_funds_fen: other_funds,
        account_own_fen: of("acct_pay").minus(of("acct_mulaid_pay"))?,
        account_mulaid_fen: of("acct_mulaid_pay"),
        hospital_fen: of("hosp_part_amt"),
        cash_fen: of("psn_cash_pay"),
    };
    if split.sums_to(medfee) { Ok(split) } else { Err(Unfit::Broken("the split: a share is negative".to_owned())) }
}

fn equal(identity: &str, told: Fen, sum: Fen) -> Result<(), Unfit> {
    if told == sum {
        Ok(())
    } else {
        Err(Unfit::Broken(format!("{identity}; {} is not {}", told.to_yuan(), sum.to_yuan())))
    }
}

fn detail(row: &Node) -> Result<FundDetail, Unfit> {
    Ok(FundDetail {
        fund_pay_type: row.text("fund_pay_type").unwrap_or_default(),
        fund_pay_type_name: row.text("fund_pay_type_name").unwrap_or_default(),
        inscp_scp_amt: row.yuan("inscp_scp_amt")?.unwrap_or_default(),
        crt_payb_lmt_amt: row.yuan("crt_payb_lmt_amt")?.unwrap_or_default(),
        fund_payamt: row.yuan("fund_payamt")?.unwrap_or_default(),
        setl_proc_info: row.text("setl_proc_info").unwrap_or_default(),
    })
}

/// 2208's output, or the undo's row in 5203.
pub(super) fn undone(info: &Node) -> Result<UndoneAt, Unfit> {
    let setl_time = info.text("setl_time").ok_or(Unfit::Lacks("setl_time"))?;
    Ok(UndoneAt {
        undo_setl_id: info.text("setl_id").ok_or(Unfit::Lacks("setl_id"))?,
        setl_time_us: china::read_dt19(&setl_time).ok_or(Unfit::Lacks("a readable setl_time"))?,
        msgid: info.text("medins_setl_id"),
        inf_refmsgid: None,
    })
}

/// How a settlement is looked for among the rows of a 5203.
pub(super) enum Sought<'a> {
    /// By its id.
    SetlId(&'a str),
    /// By the message that made it.
    Msgid(&'a str),
}

/// What 5203's rows say of the settlement that was looked for.
pub(super) enum Found<'a> {
    /// No row is about it.
    Nothing,
    /// It counts.
    Live(&'a Node),
    /// It is undone, and this row is the undo, where the bureau shows it.
    Undone(Option<&'a Node>),
}

/// Looks through 5203's rows. An undo is a row of its own whose `init_setl_id` names what it undid.
pub(super) fn find<'a>(rows: &'a [Node], sought: &Sought<'_>) -> Result<Found<'a>, Unfit> {
    let is_undo = |row: &&Node| row.text("init_setl_id").is_some();
    let (name, wanted) = match sought {
        Sought::SetlId(setl_id) => ("setl_id", *setl_id),
        Sought::Msgid(msgid) => ("medins_setl_id", *msgid),
    };
    let settlement = rows.iter().filter(|row| !is_undo(row)).find(|row| row.text(name).as_deref() == Some(wanted));
    let Some(settlement) = settlement else {
        // A row that does not say which message made it may be the one: nothing is concluded then.
        return match rows.iter().find(|row| !is_undo(row) && row.text(name).is_none()) {
            Some(_) => Err(Unfit::Lacks(name)),
            None => Ok(Found::Nothing),
        };
    };
    match status::standing(settlement.text("refd_setl_flag").as_deref()) {
        Standing::Live => Ok(Found::Live(settlement)),
        Standing::Undone => {
            let setl_id = settlement.text("setl_id");
            Ok(Found::Undone(rows.iter().filter(is_undo).find(|row| row.text("init_setl_id") == setl_id)))
        }
        Standing::Unclear => Err(Unfit::Standing),
    }
}

#[cfg(test)]
mod tests {
    use schema::personal::MdtrtCertNo;

    use super::*;

    /// A real Hunan settlement (430502, 职工 310, inpatient), with the fields it does not print.
    const HUNAN: &str = r#"{"setl_id":"430500S1","mdtrt_id":"M1","medins_setl_id":"H430502000012026010108000","psn_no":"P1",
        "medfee_sumamt":5792.53,"fulamt_ownpay_amt":296.20,"overlmt_selfpay":0,"preselfpay_amt":522.61,
        "inscp_scp_amt":4973.72,"act_pay_dedc":800,"hifp_pay":3106.54,"fund_pay_sumamt":3106.54,
        "psn_part_amt":2685.99,"acct_pay":0,"psn_cash_pay":"2685.99","hosp_part_amt":0,"balc":7748.98,
        "insutype":"310","clr_optins":"430502","clr_way":"01","clr_type":"9902",
        "setl_time":"2026-01-01 08:00:00"}"#;
    const MSGID: &str = "H430502000012026010108000";

    fn inputs() -> SettleInputs {
        SettleInputs {
            person: InsuredPerson {
                psn_no: PsnNo::new("P1"),
                insutype: "310".to_owned(),
                insuplc_admdvs: "430502".to_owned(),
                mdtrt_cert_type: "02".to_owned(),
                mdtrt_cert_no: MdtrtCertNo::new("430502199001011234"),
            },
            med_type: "11".to_owned(),
            psn_setlway: "01".to_owned(),
            use_account: true,
            mdtrt_id: "M1".to_owned(),
            chrg_bchno: "C1".to_owned(),
            invono: "I1".to_owned(),
            medfee_sumamt_fen: Fen::new(579_253),
            fulamt_ownpay_fen: Fen::new(29_620),
            overlmt_selfpay_fen: Fen::ZERO,
            preselfpay_fen: Fen::new(52_261),
            inscp_scp_fen: Fen::new(497_372),
        }
    }

    fn read(info: &str, dialect: &Dialect) -> Result<Settlement, Unfit> {
        let info = Node::parse(info.as_bytes()).expect("an object");
        settlement(&info, &[], &Ours { msgid: MSGID, inputs: &inputs() }, "R1", dialect)
    }

    #[test]
    fn the_real_hunan_settlement_is_read_to_the_fen() {
        let settlement = read(HUNAN, &Dialect::default()).expect("all four identities hold");
        let split = Split { fund_fen: Fen::new(310_654), cash_fen: Fen::new(268_599), ..Split::default() };
        assert_eq!(settlement.split, split);
        assert_eq!(settlement.setl_time_us, 1_767_225_600_000_000);
        assert_eq!(settlement.amounts.get("balc"), Some(&Fen::new(774_898)));
        assert_eq!(settlement.amounts.get("act_pay_dedc"), Some(&Fen::new(80_000)));
        assert_eq!(settlement.amounts.get("maf_pay"), None, "what was not told is not invented");
        assert_eq!(settlement.clearing.clr_type, "9902");
        assert_eq!((settlement.setl_id.as_str(), settlement.inf_refmsgid.as_str()), ("430500S1", "R1"));
    }

    #[test]
    fn every_amount_is_kept_by_name_and_nothing_that_may_name_a_person() {
        let build = HUNAN.replacen(
            '{',
            r#"{"hifdm_pay":1.25,"othfund_pay":"0","hi_agre_sumfee":"5792.53","own_amt":"1.005",
            "odd_pay":"见说明","pool_prop_selfpay":"0.7500","psn_type":"1101","med_type":"21","cvlserv_flag":0,
            "psn_name":"王小明","certno":"430502199001011234","age":36.0,"gend":"1","brdy":"1990-01-01",
            "mdtrt_cert_no":"430502199001011234","tel":13800001234,"memo":"王小明的备注","#,
            1,
        );
        let settlement = read(&build, &Dialect::default()).expect("what a build adds breaks nothing");
        let plain = read(HUNAN, &Dialect::default()).expect("all four identities hold");
        let added: Vec<(&str, i64)> = settlement
            .amounts
            .iter()
            .filter(|(name, _)| !plain.amounts.contains_key(*name))
            .map(|(name, amount)| (name.as_str(), amount.get()))
            .collect();
        assert_eq!(added, [("hi_agre_sumfee", 579_253), ("hifdm_pay", 125), ("othfund_pay", 0)]);
        let texts: Vec<(&str, &str)> =
            settlement.texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(
            texts,
            [
                ("cvlserv_flag", "0"),
                ("med_type", "21"),
                ("own_amt", "1.005"),
                ("pool_prop_selfpay", "0.7500"),
                ("psn_type", "1101"),
            ]
        );
    }

    #[test]
    fn a_settlement_that_does_not_add_up_or_is_not_ours_is_refused() {
        for (from, to, fault) in [
            ("\"fulamt_ownpay_amt\":296.20", "\"fulamt_ownpay_amt\":296.21", "identity 1"),
            ("\"fund_pay_sumamt\":3106.54", "\"fund_pay_sumamt\":3106.53", "identity 2"),
            ("\"hosp_part_amt\":0", "\"hosp_part_amt\":0.01", "identity 3"),
            ("\"acct_pay\":0", "\"acct_pay\":0.01,\"fund_pay_sumamt\":3106.55", "identity 4"),
            ("\"acct_pay\":0", "\"acct_pay\":0,\"acct_mulaid_pay\":1", "a share is negative"),
            ("\"medfee_sumamt\":5792.53,", "", "lacks medfee_sumamt"),
            ("\"psn_cash_pay\":\"2685.99\",", "", "lacks psn_cash_pay"),
            ("2685.99,\"acct", "2685.991,\"acct", "psn_part_amt is not an amount"),
            ("\"setl_id\":\"430500S1\"", "\"setl_id\":\"\"", "lacks setl_id"),
            ("2026-01-01 08:00:00", "today", "lacks a readable setl_time"),
            ("\"psn_no\":\"P1\"", "\"psn_no\":\"P2\"", "another psn_no"),
            ("\"mdtrt_id\":\"M1\"", "\"mdtrt_id\":\"M2\"", "another mdtrt_id"),
            (MSGID, "H430502000012026010108001", "another medins_setl_id"),
        ] {
            let changed = HUNAN.replacen(from, to, 1);
            assert_ne!(changed, HUNAN, "{from} must be there");
            let refused = read(&changed, &Dialect::default()).expect_err(fault).to_string();
            assert!(refused.contains(fault), "{refused} must speak of {fault}");
        }
    }

    /// 1000.00 with 60.00 over the ceiling, 100.00 from the account of which 40.00 are a relative's.
    const GUANGDONG: &str = r#"{"setl_id":"S","mdtrt_id":"M1","medfee_sumamt":"1000.00","fulamt_ownpay_amt":"100.00",
        "overlmt_selfpay":"60.00","preselfpay_amt":"40.00","inscp_scp_amt":"800.00","hifp_pay":"400.00",
        "cvlserv_pay":"50.00","hifob_pay":"20.00","fund_pay_sumamt":"570.00","psn_part_amt":"520.00","acct_pay":"100.00",
        "acct_mulaid_pay":"40.00","psn_cash_pay":"420.00","hosp_part_amt":"10.00","setl_time":"2026-01-01 08:00:00"}"#;

    #[test]
    fn provinces_differ_in_what_fund_pay_sumamt_and_fulamt_contain() {
        let guangdong = Dialect::default();
        let hunan = Dialect { fund_pay_sumamt_includes_acct: false, ..Dialect::default() };
        let shanxi = Dialect { overlmt_inside_fulamt: true, ..Dialect::default() };
        let inside = GUANGDONG.replace("\"fulamt_ownpay_amt\":\"100.00\"", "\"fulamt_ownpay_amt\":\"160.00\"");
        let without = GUANGDONG.replace("\"570.00\"", "\"470.00\"");
        for (info, dialect, fits) in [
            (GUANGDONG, &guangdong, true),
            (GUANGDONG, &hunan, false),
            (without.as_str(), &hunan, true),
            (without.as_str(), &guangdong, false),
            (inside.as_str(), &shanxi, true),
            (inside.as_str(), &guangdong, false),
        ] {
            let split = read(info, dialect).map(|settlement| settlement.split);
            let expected = Split {
                fund_fen: Fen::new(40_000),
                other_funds_fen: Fen::new(7_000),
                account_own_fen: Fen::new(6_000),
                account_mulaid_fen: Fen::new(4_000),
                hospital_fen: Fen::new(1_000),
                cash_fen: Fen::new(42_000),
            };
            assert_eq!(split.as_ref().ok(), fits.then_some(&expected), "{dialect:?}: {split:?}");
        }
    }

    #[test]
    fn a_query_finds_its_settlement_and_its_undo_among_the_rows_of_a_visit() {
        let rows =
            |json: &str| Node::parse(format!(r#"{{"setlinfo":{json}}}"#).as_bytes()).expect("rows").nodes("setlinfo");
        let live = r#"{"setl_id":"S1","medins_setl_id":"A","refd_setl_flag":"0"}"#;
        let undone = r#"{"setl_id":"S1","medins_setl_id":"A","refd_setl_flag":"1"}"#;
        let undo = r#"{"setl_id":"S2","medins_setl_id":"B","refd_setl_flag":"1","init_setl_id":"S1"}"#;
        let silent = r#"{"setl_id":"S1","refd_setl_flag":"0"}"#;
        let unseen = r#"{"setl_id":"S1","medins_setl_id":"A","refd_setl_flag":"7"}"#;
        for (json, sought, expected) in [
            ("[]".to_owned(), Sought::Msgid("A"), "nothing"),
            (format!("[{undo},{undone}]"), Sought::Msgid("A"), "undone by S2"),
            (format!("[{undo},{undone}]"), Sought::SetlId("S1"), "undone by S2"),
            (undone.to_owned(), Sought::SetlId("S1"), "undone"),
            (live.to_owned(), Sought::Msgid("A"), "live S1"),
            (format!("[{live}]"), Sought::Msgid("C"), "nothing"),
            (format!("[{silent}]"), Sought::Msgid("A"), "the answer lacks medins_setl_id"),
            (unseen.to_owned(), Sought::SetlId("S1"), "the bureau does not say whether the settlement stands"),
        ] {
            let rows = rows(&json);
            let found = match find(&rows, &sought) {
                Ok(Found::Nothing) => "nothing".to_owned(),
                Ok(Found::Live(row)) => format!("live {}", row.text("setl_id").unwrap_or_default()),
                Ok(Found::Undone(None)) => "undone".to_owned(),
                Ok(Found::Undone(Some(row))) => format!("undone by {}", row.text("setl_id").unwrap_or_default()),
                Err(unfit) => unfit.to_string(),
            };
            assert_eq!(found, expected, "{json}");
        }
    }

    #[test]
    fn a_person_is_blocked_by_a_lost_card_or_without_any_insurance_in_force() {
        let told = |card_stas: &str, first: &str| {
            let output = format!(
                r#"{{"baseinfo":{{"psn_no":"P1","psn_name":"王小明","card_stas":"{card_stas}"}},"insuinfo":[
                {{"insutype":"390","insuplc_admdvs":"441900","psn_insu_stas":"2"}},
                {{"insutype":"310","insuplc_admdvs":"441900","psn_type":"1101","psn_insu_stas":"{first}"}}]}}"#
            );
            person(&Node::parse(output.as_bytes()).expect("an object")).expect("a person")
        };
        for (card_stas, insured, blocked) in
            [("1", "1", false), ("", "1", false), ("2", "1", true), ("1", "2", true), ("1", "4", true)]
        {
            assert_eq!(told(card_stas, insured).blocked, blocked, "card {card_stas}, insurance {insured}");
        }
        let person = told("1", "1");
        assert_eq!(person.insurances[0].insutype, "310", "the one in force comes first");
    }
}
