//! The policy engine: from the in-scope amount to who pays it. Table-driven, in this order:
//!
//! 1. the deductible left this year
//! 2. the pool's ratio, half up to the fen
//! 3. the pool's cap left this year
//! 4. 职工大额 over the cap, or 居民大病 in tiers
//! 5. civil-servant supplement
//! 6. the person: own account, family accounts (共济), cash

use schema::money::{Fen, Overflow, Ratio4};
use serde::{Deserialize, Serialize};

use super::caller::HospLevel;

/// Which column of the policy applies, from `psn_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Employment {
    /// 在职 (11xx).
    Active,
    /// 退休 (12xx).
    Retired,
    /// 居民 (anything else).
    Resident,
}

impl Employment {
    /// By the first two digits of `psn_type`.
    pub fn of(psn_type: &str) -> Employment {
        match psn_type.get(..2) {
            Some("11") => Employment::Active,
            Some("12") => Employment::Retired,
            _ => Employment::Resident,
        }
    }
}

/// The pool's share by institution level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratios {
    /// 社区.
    pub community: Ratio4,
    /// 一级.
    pub first: Ratio4,
    /// 二级.
    pub second: Ratio4,
    /// 三级.
    pub third: Ratio4,
}

impl Ratios {
    fn at(&self, level: HospLevel) -> Ratio4 {
        match level {
            HospLevel::Community => self.community,
            HospLevel::First => self.first,
            HospLevel::Second => self.second,
            HospLevel::Third => self.third,
        }
    }
}

/// 职工大额 (`hifob_pay`): a share of what the pool's cap left uncovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverCap {
    /// Share of the in-scope amount over the cap.
    pub ratio: Ratio4,
    /// Per person, year and insutype.
    pub cap_fen: Fen,
}

/// 居民大病 (`hifmi_pay`): progressive on the in-scope amounts the person bore this year.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriousIllness {
    /// Nothing is paid below this; the first tier starts here.
    pub threshold_fen: Fen,
    /// In rising order.
    pub tiers: Vec<Tier>,
    /// Per person and year.
    pub cap_fen: Fen,
}

/// One step of [`SeriousIllness`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Where the step ends; the last one has none.
    #[serde(default)]
    pub up_to_fen: Option<Fen>,
    /// What is paid of the part inside the step.
    pub ratio: Ratio4,
}

impl SeriousIllness {
    /// What is due in all when a person has borne `borne` in-scope this year, before the cap.
    fn due(&self, borne: Fen) -> Result<Fen, Overflow> {
        let mut from = self.threshold_fen;
        let mut due = Fen::ZERO;
        for tier in &self.tiers {
            let to = tier.up_to_fen.unwrap_or(borne).min(borne);
            if to > from {
                due = due.plus(tier.ratio.of(to.minus(from)?)?)?;
            }
            from = from.max(tier.up_to_fen.unwrap_or(from));
        }
        Ok(due)
    }
}

/// One row of a city's outpatient policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutpatientRule {
    /// 310 职工, 390 居民 …
    pub insutype: String,
    /// The column.
    pub employment: Employment,
    /// 起付线, per year.
    pub deductible_fen: Fen,
    /// The pool's cap, per year.
    pub cap_fen: Fen,
    /// The pool's share.
    pub ratio: Ratios,
    /// 大额; none when absent.
    #[serde(default)]
    pub hifob: Option<OverCap>,
    /// 大病; none when absent.
    #[serde(default)]
    pub hifmi: Option<SeriousIllness>,
    /// Share of what is still the person's in-scope part, for civil servants; none when absent.
    #[serde(default)]
    pub cvlserv_ratio: Option<Ratio4>,
}

/// What has accumulated for one person, year and insutype. Always the sum over live settlements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Accumulated {
    /// Deductible used.
    pub dedc: Fen,
    /// Paid by the pool.
    pub hifp: Fen,
    /// Paid by 大额.
    pub hifob: Fen,
    /// Paid by 大病.
    pub hifmi: Fen,
    /// In-scope amounts the pool did not pay.
    pub borne: Fen,
}

impl Accumulated {
    /// After one more settlement; with [`Amounts::negated`], after its undo.
    pub fn with(self, amounts: &Amounts) -> Result<Accumulated, Overflow> {
        Ok(Accumulated {
            dedc: self.dedc.plus(amounts.act_pay_dedc)?,
            hifp: self.hifp.plus(amounts.hifp)?,
            hifob: self.hifob.plus(amounts.hifob)?,
            hifmi: self.hifmi.plus(amounts.hifmi)?,
            borne: self.borne.plus(amounts.inscp_scp)?.minus(amounts.hifp)?,
        })
    }
}

/// The facts a split depends on besides the bill.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Of the institution.
    pub level: HospLevel,
    /// 1 at home; less when treated outside the insured area without filing.
    pub area_factor: Ratio4,
    /// `cvlserv_flag` 1.
    pub civil_servant: bool,
    /// `acct_used_flag` 1.
    pub use_account: bool,
    /// Balance of the person's own account.
    pub own_balance: Fen,
    /// Balance of all family accounts the person may use (共济).
    pub shared_balance: Fen,
}

/// Everything a settlement moves, in fen. Names follow the national interface's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Amounts {
    /// The bill.
    pub medfee_sumamt: Fen,
    /// 全自费.
    pub fulamt_ownpay: Fen,
    /// 超限价自费.
    pub overlmt_selfpay: Fen,
    /// 先行自付.
    pub preselfpay: Fen,
    /// 符合政策范围.
    pub inscp_scp: Fen,
    /// 实际支付起付线.
    pub act_pay_dedc: Fen,
    /// 统筹基金支出.
    pub hifp: Fen,
    /// The ratio the pool paid at.
    pub pool_prop: Ratio4,
    /// 公务员补助.
    pub cvlserv: Fen,
    /// 企业补充; no policy row pays it yet.
    pub hifes: Fen,
    /// 居民大病.
    pub hifmi: Fen,
    /// 职工大额.
    pub hifob: Fen,
    /// 医疗救助; no policy row pays it yet.
    pub maf: Fen,
    /// 其他; no policy row pays it yet.
    pub oth: Fen,
    /// 医院负担; no policy row asks for it yet.
    pub hosp_part: Fen,
    /// 个人负担.
    pub psn_part: Fen,
    /// 个人账户支出, family accounts included.
    pub acct_pay: Fen,
    /// Of which from family accounts.
    pub acct_mulaid: Fen,
    /// 个人现金.
    pub psn_cash: Fen,
}

impl Amounts {
    /// All funds together, without any account.
    pub fn funds(&self) -> Result<Fen, Overflow> {
        Fen::sum([self.hifp, self.cvlserv, self.hifes, self.hifmi, self.hifob, self.maf, self.oth])
    }

    /// The same amounts in the other direction, as an undo records them. The ratio stays.
    pub fn negated(&self) -> Amounts {
        Amounts {
            medfee_sumamt: self.medfee_sumamt.negated(),
            fulamt_ownpay: self.fulamt_ownpay.negated(),
            overlmt_selfpay: self.overlmt_selfpay.negated(),
            preselfpay: self.preselfpay.negated(),
            inscp_scp: self.inscp_scp.negated(),
            act_pay_dedc: self.act_pay_dedc.negated(),
            hifp: self.hifp.negated(),
            pool_prop: self.pool_prop,
            cvlserv: self.cvlserv.negated(),
            hifes: self.hifes.negated(),
            hifmi: self.hifmi.negated(),
            hifob: self.hifob.negated(),
            maf: self.maf.negated(),
            oth: self.oth.negated(),
            hosp_part: self.hosp_part.negated(),
            psn_part: self.psn_part.negated(),
            acct_pay: self.acct_pay.negated(),
            acct_mulaid: self.acct_mulaid.negated(),
            psn_cash: self.psn_cash.negated(),
        }
    }

    /// The identities that need no dialect: medfee = fulamt + overlmt + preself + inscp; medfee = all funds +
    /// hosp_part + psn_part; psn_part = acct_pay + psn_cash.
    pub fn identities_hold(&self) -> bool {
        let scope = Fen::sum([self.fulamt_ownpay, self.overlmt_selfpay, self.preselfpay, self.inscp_scp]);
        let payers = self.funds().and_then(|funds| Fen::sum([funds, self.hosp_part, self.psn_part]));
        let person = self.acct_pay.plus(self.psn_cash);
        scope == Ok(self.medfee_sumamt) && payers == Ok(self.medfee_sumamt) && person == Ok(self.psn_part)
    }

    /// Shifts part of what a fund pays (or, when none pays, the account) to cash: the fault `differ`. The identities
    /// still hold. Unchanged when everything is cash already.
    pub fn shifted_to_cash(mut self) -> Result<Amounts, Overflow> {
        let part = |from: Fen| Fen::new((from.get() / 10).max(1));
        if self.hifp > Fen::ZERO {
            let shift = part(self.hifp);
            self.hifp = self.hifp.minus(shift)?;
            self.psn_part = self.psn_part.plus(shift)?;
            self.psn_cash = self.psn_cash.plus(shift)?;
        } else if self.acct_pay > Fen::ZERO {
            let shift = part(self.acct_pay);
            self.acct_pay = self.acct_pay.minus(shift)?;
            self.acct_mulaid = self.acct_mulaid.min(self.acct_pay);
            self.psn_cash = self.psn_cash.plus(shift)?;
        }
        Ok(self)
    }
}

/// The four parts of a bill before policy: the sums over its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// 全自费.
    pub fulamt_ownpay: Fen,
    /// 超限价.
    pub overlmt_selfpay: Fen,
    /// 先行自付.
    pub preselfpay: Fen,
    /// In scope.
    pub inscp_scp: Fen,
}

impl Totals {
    /// The whole bill.
    pub fn medfee_sumamt(&self) -> Result<Fen, Overflow> {
        Fen::sum([self.fulamt_ownpay, self.overlmt_selfpay, self.preselfpay, self.inscp_scp])
    }
}

/// Splits a bill under one policy row, given what the person has used this year.
pub fn split(rule: &OutpatientRule, facts: &Facts, totals: &Totals, used: &Accumulated) -> Result<Amounts, Overflow> {
    let left = |limit: Fen, used: Fen| limit.minus(used).map(|left| left.max(Fen::ZERO));
    let medfee_sumamt = totals.medfee_sumamt()?;

    let act_pay_dedc = totals.inscp_scp.min(left(rule.deductible_fen, used.dedc)?);
    let base = totals.inscp_scp.minus(act_pay_dedc)?;
    let pool_prop = scaled(rule.ratio.at(facts.level), facts.area_factor);
    let uncapped = pool_prop.of(base)?;
    let hifp = uncapped.min(left(rule.cap_fen, used.hifp)?);
    let mut open = totals.inscp_scp.minus(hifp)?;

    let mut hifob = Fen::ZERO;
    if let Some(over_cap) = &rule.hifob {
        let wanted = share_of_uncovered(uncapped.minus(hifp)?, pool_prop, over_cap.ratio)?;
        hifob = wanted.min(left(over_cap.cap_fen, used.hifob)?).min(open);
        open = open.minus(hifob)?;
    }
    let mut hifmi = Fen::ZERO;
    if let Some(illness) = &rule.hifmi {
        let borne = used.borne.plus(totals.inscp_scp)?.minus(hifp)?;
        let wanted = illness.due(borne)?.minus(illness.due(used.borne)?)?.max(Fen::ZERO);
        hifmi = wanted.min(left(illness.cap_fen, used.hifmi)?).min(open);
        open = open.minus(hifmi)?;
    }
    let cvlserv = match rule.cvlserv_ratio {
        Some(ratio) if facts.civil_servant => ratio.of(open)?,
        _ => Fen::ZERO,
    };

    let psn_part = medfee_sumamt.minus(Fen::sum([hifp, hifob, hifmi, cvlserv])?)?;
    let (own, shared) = if facts.use_account {
        let own = psn_part.min(facts.own_balance);
        (own, psn_part.minus(own)?.min(facts.shared_balance))
    } else {
        (Fen::ZERO, Fen::ZERO)
    };
    let acct_pay = own.plus(shared)?;
    Ok(Amounts {
        medfee_sumamt,
        fulamt_ownpay: totals.fulamt_ownpay,
        overlmt_selfpay: totals.overlmt_selfpay,
        preselfpay: totals.preselfpay,
        inscp_scp: totals.inscp_scp,
        act_pay_dedc,
        hifp,
        pool_prop,
        cvlserv,
        hifmi,
        hifob,
        psn_part,
        acct_pay,
        acct_mulaid: shared,
        psn_cash: psn_part.minus(acct_pay)?,
        ..Amounts::default()
    })
}

/// ratio × area factor, rounded half up to three decimals; untouched at home.
fn scaled(ratio: Ratio4, factor: Ratio4) -> Ratio4 {
    if factor == Ratio4::ONE {
        return ratio;
    }
    // 10^-4 × 10^-4 = 10^-8; a thousandth is 10^5 of those and ten of Ratio4's units.
    Ratio4::from_units((ratio.units() * factor.units() + 50_000) / 100_000 * 10)
}

/// `ratio` of the in-scope amount behind `unpaid`, which the pool would have paid at `pool_prop` but for its cap.
fn share_of_uncovered(unpaid: Fen, pool_prop: Ratio4, ratio: Ratio4) -> Result<Fen, Overflow> {
    let divisor = i128::from(pool_prop.units());
    if divisor == 0 {
        return Ok(Fen::ZERO);
    }
    let share = (i128::from(unpaid.get()) * i128::from(ratio.units()) + divisor / 2) / divisor;
    i64::try_from(share).map(Fen::new).map_err(|_| Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bureau::config::Config;

    fn ratio(text: &str) -> Ratio4 {
        text.parse().expect("a ratio")
    }

    fn rule(city: &str, insutype: &str, employment: Employment) -> OutpatientRule {
        let config = Config::builtin();
        let city = config.city_of(city).expect("a built-in city");
        city.rule(insutype, employment).expect("a built-in row").clone()
    }

    fn beijing_hospital() -> OutpatientRule {
        let at = ratio("0.7");
        OutpatientRule {
            insutype: "310".to_owned(),
            employment: Employment::Active,
            deductible_fen: Fen::new(180_000),
            cap_fen: Fen::new(2_000_000),
            ratio: Ratios { community: at, first: at, second: at, third: at },
            hifob: None,
            hifmi: None,
            cvlserv_ratio: None,
        }
    }

    fn facts(level: HospLevel, balance_fen: i64) -> Facts {
        Facts {
            level,
            area_factor: Ratio4::ONE,
            civil_servant: false,
            use_account: true,
            own_balance: Fen::new(balance_fen),
            shared_balance: Fen::ZERO,
        }
    }

    fn totals(full: i64, over: i64, first: i64, scope: i64) -> Totals {
        Totals {
            fulamt_ownpay: Fen::new(full),
            overlmt_selfpay: Fen::new(over),
            preselfpay: Fen::new(first),
            inscp_scp: Fen::new(scope),
        }
    }

    fn used(dedc: i64, hifp: i64) -> Accumulated {
        Accumulated { dedc: Fen::new(dedc), hifp: Fen::new(hifp), ..Accumulated::default() }
    }

    #[test]
    fn the_worked_examples_h1_to_h6_come_out_to_the_fen() {
        use Employment::{Active, Retired};
        use HospLevel::{Community, Second, Third};
        let dongwan = || rule("449100", "310", Active);
        //  rule, facts, totals, used                                            dedc    hifp    psn    acct   cash
        let table = [
            ("H1", dongwan(), facts(Community, 0), totals(0, 0, 800, 19_200), used(0, 0), (0, 14_400, 5_600, 0, 5_600)),
            (
                "H2",
                dongwan(),
                facts(Third, 50_000),
                totals(10_000, 5_000, 6_000, 79_000),
                used(0, 0),
                (0, 39_500, 60_500, 50_000, 10_500),
            ),
            (
                "H3",
                dongwan(),
                facts(Third, 50_000),
                totals(10_000, 5_000, 6_000, 79_000),
                used(0, 290_000),
                (0, 10_000, 90_000, 50_000, 40_000),
            ),
            (
                "H4",
                rule("429100", "310", Retired),
                facts(Second, 0),
                totals(0, 0, 0, 50_000),
                used(0, 0),
                (30_000, 14_000, 36_000, 0, 36_000),
            ),
            (
                "H5",
                rule("429100", "310", Active),
                facts(Third, 0),
                totals(0, 0, 0, 9_999),
                used(35_000, 0),
                (5_000, 2_500, 7_499, 0, 7_499),
            ),
            (
                "H6",
                beijing_hospital(),
                facts(Third, 0),
                totals(0, 0, 0, 200_000),
                used(0, 0),
                (180_000, 14_000, 186_000, 0, 186_000),
            ),
        ];
        for (name, rule, facts, totals, used, expected) in table {
            let a = split(&rule, &facts, &totals, &used).expect("in range");
            let got = (a.act_pay_dedc, a.hifp, a.psn_part, a.acct_pay, a.psn_cash);
            let (dedc, hifp, psn, acct, cash) = expected;
            assert_eq!(got, (Fen::new(dedc), Fen::new(hifp), Fen::new(psn), Fen::new(acct), Fen::new(cash)), "{name}");
            assert!(a.identities_hold(), "{name}: {a:?}");
        }
    }

    /// A real settlement reply (Hunan, inpatient).
    fn real_reply() -> Amounts {
        let yuan = |text: &str| Fen::from_yuan(text).expect("yuan");
        Amounts {
            medfee_sumamt: yuan("5792.53"),
            fulamt_ownpay: yuan("296.20"),
            overlmt_selfpay: yuan("0"),
            preselfpay: yuan("522.61"),
            inscp_scp: yuan("4973.72"),
            act_pay_dedc: yuan("800"),
            hifp: yuan("3106.54"),
            psn_part: yuan("2685.99"),
            acct_pay: yuan("0"),
            psn_cash: yuan("2685.99"),
            ..Amounts::default()
        }
    }

    #[test]
    fn the_real_settlement_reply_fulfils_all_four_identities() {
        let real = real_reply();
        assert!(real.identities_hold());
        assert_eq!(real.funds(), Fen::from_yuan("3106.54").map_err(|_| Overflow), "Hunan's fund_pay_sumamt");
        assert!(real.negated().identities_hold());
        // Each identity can fail: one fen more anywhere breaks one.
        let fen = Fen::new(1);
        let broken: [fn(&mut Amounts, Fen); 5] = [
            |a, fen| a.fulamt_ownpay = a.fulamt_ownpay.plus(fen).expect("small"),
            |a, fen| a.hifp = a.hifp.plus(fen).expect("small"),
            |a, fen| a.hosp_part = a.hosp_part.plus(fen).expect("small"),
            |a, fen| a.acct_pay = a.acct_pay.plus(fen).expect("small"),
            |a, fen| a.psn_part = a.psn_part.plus(fen).expect("small"),
        ];
        for (n, change) in broken.into_iter().enumerate() {
            let mut amounts = real_reply();
            change(&mut amounts, fen);
            assert!(!amounts.identities_hold(), "change {n}");
        }
    }

    #[test]
    fn large_sums_over_the_cap_serious_illness_and_supplements_pay_in_their_order() {
        // hifob: cap left 20.00, scope 100.00 at 50 %: pool 20.00, over the cap 60.00, of which half.
        let mut over = beijing_hospital();
        over.deductible_fen = Fen::ZERO;
        over.cap_fen = Fen::new(2_000);
        let at = ratio("0.5");
        over.ratio = Ratios { community: at, first: at, second: at, third: at };
        over.hifob = Some(OverCap { ratio: at, cap_fen: Fen::new(100_000) });
        let a = split(&over, &facts(HospLevel::Third, 0), &totals(0, 0, 0, 10_000), &used(0, 0)).expect("in range");
        assert_eq!((a.hifp, a.hifob, a.psn_cash), (Fen::new(2_000), Fen::new(3_000), Fen::new(5_000)));

        // The supplement takes its share of what is still open in scope.
        over.cvlserv_ratio = Some(ratio("0.8"));
        let civil = Facts { civil_servant: true, ..facts(HospLevel::Third, 0) };
        let a = split(&over, &civil, &totals(100, 0, 0, 10_000), &used(0, 0)).expect("in range");
        assert_eq!((a.cvlserv, a.psn_cash), (Fen::new(4_000), Fen::new(1_100)));
        assert!(a.identities_hold());

        // hifmi: borne 11 900 before, this bill adds 10 000 with the pool's cap used up: 100 under the threshold, then
        // 8 100 at 60 % in the first tier and 1 800 at 75 % in the second.
        let mut ill = over.clone();
        (ill.hifob, ill.cvlserv_ratio, ill.cap_fen) = (None, None, Fen::ZERO);
        ill.hifmi = Some(SeriousIllness {
            threshold_fen: Fen::new(12_000),
            tiers: vec![
                Tier { up_to_fen: Some(Fen::new(20_100)), ratio: ratio("0.6") },
                Tier { up_to_fen: None, ratio: ratio("0.75") },
            ],
            cap_fen: Fen::new(1_000_000),
        });
        let before = Accumulated { borne: Fen::new(11_900), ..Accumulated::default() };
        let a = split(&ill, &facts(HospLevel::Third, 0), &totals(0, 0, 0, 10_000), &before).expect("in range");
        assert_eq!(a.hifmi, Fen::new(4_860 + 1_350));
        assert!(a.identities_hold());
    }

    #[test]
    fn the_account_pays_first_then_the_family_then_cash() {
        let rule = rule("449100", "310", Employment::Active);
        let bill = totals(0, 0, 0, 20_000); // half is the pool's at level three
        //   use, own, family → acct, of which family, cash
        for (use_account, own, family, acct, mulaid, cash) in [
            (true, 3_000, 4_000, 7_000, 4_000, 3_000),
            (true, 30_000, 4_000, 10_000, 0, 0),
            (true, 0, 30_000, 10_000, 10_000, 0),
            (false, 30_000, 30_000, 0, 0, 10_000),
        ] {
            let facts = Facts { use_account, shared_balance: Fen::new(family), ..facts(HospLevel::Third, own) };
            let a = split(&rule, &facts, &bill, &used(0, 0)).expect("in range");
            let expected = (Fen::new(acct), Fen::new(mulaid), Fen::new(cash));
            assert_eq!((a.acct_pay, a.acct_mulaid, a.psn_cash), expected, "own {own} family {family}");
        }
    }

    #[test]
    fn outside_the_insured_area_the_ratio_is_scaled_and_rounded_to_three_decimals() {
        assert_eq!(scaled(ratio("0.75"), ratio("0.7")), ratio("0.525"));
        assert_eq!(scaled(ratio("0.65"), ratio("0.85")), ratio("0.553"));
        assert_eq!(scaled(ratio("0.5555"), Ratio4::ONE), ratio("0.5555"));
    }

    #[test]
    fn a_differing_settlement_keeps_the_identities_and_costs_more_cash() {
        let rule = rule("449100", "310", Employment::Active);
        let bill = totals(0, 0, 0, 20_000);
        let a = split(&rule, &facts(HospLevel::Third, 3_000), &bill, &used(0, 0)).expect("in range");
        let b = a.shifted_to_cash().expect("in range");
        assert!(b.identities_hold());
        assert_eq!(b.psn_cash, a.psn_cash.plus(Fen::new(1_000)).expect("small"));
    }
}
