//! Field by field between the national interface and ours; MAPPINGS.md is the table. Yuan end here.

use std::collections::BTreeMap;

use schema::link::{InsuredPerson, SettleInputs};
use schema::money::{Fen, Overflow};
use schema::personal::{Personal as _, PsnNo};
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

/// The amounts of `setlinfo` that are kept by name, beside the dialect's other funds.
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
    Ok(amounts)
}

/// The split, once the four identities of wire.md §1.3 hold in this dialect.
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
    })
}

/// 2208's output, or the undo's row in 5203.
pub(super) fn undone(info: &Node) -> Result<UndoneAt, Unfit> {
    let setl_time = info.text("setl_time").ok_or(Unfit::Lacks("setl_time"))?;
    Ok(UndoneAt {
        undo_setl_id: info.text("setl_id").ok_or(Unfit::Lacks("setl_id"))?,
        setl_time_us: china::read_dt19(&setl_time).ok_or(Unfit::Lacks("a readable setl_time"))?,
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
