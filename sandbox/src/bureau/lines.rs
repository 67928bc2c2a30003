//! How one fee line is split before policy sees it: ceiling first, then the patient's first share.

use schema::money::{Fen, Overflow, Price6, Qty4, Ratio4};
use serde::{Deserialize, Serialize};

use super::catalogue::{Class, Item};

/// A line's four parts; they sum to its amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LineSplit {
    /// Paid wholly by the patient: 丙, refused limited use, or no national code.
    pub fulamt_ownpay: Fen,
    /// Above the price ceiling.
    pub overlmt: Fen,
    /// The patient's first share of what is under the ceiling.
    pub preselfpay: Fen,
    /// Within the scope of policy.
    pub inscp_scp: Fen,
}

/// May a line be reimbursed at all? `hosp_appr_flag` × `lmt_used_flag`.
///
/// Limited: only when the hospital approved (1). Not limited: unless the hospital refused (2).
pub fn reimbursable(limited: bool, hosp_appr_flag: &str) -> bool {
    if limited { hosp_appr_flag == "1" } else { hosp_appr_flag != "2" }
}

/// Splits a line of `amount`. `item` is absent for a line without national code: all self-pay.
pub fn split_line(item: Option<&Item>, amount: Fen, count: Qty4, hosp_appr_flag: &str) -> Result<LineSplit, Overflow> {
    let own = LineSplit { fulamt_ownpay: amount, ..LineSplit::default() };
    let Some(item) = item else { return Ok(own) };
    if item.class == Class::C || !reimbursable(item.limited, hosp_appr_flag) {
        return Ok(own);
    }
    let under = match item.ceiling {
        Some(ceiling) => amount.min(ceiling.times(count)?),
        None => amount,
    };
    let preselfpay = item.selfpay_prop.of(under)?;
    Ok(LineSplit {
        fulamt_ownpay: Fen::ZERO,
        overlmt: amount.minus(under)?,
        preselfpay,
        inscp_scp: under.minus(preselfpay)?,
    })
}

/// `chrgitm_lv`, `pric_uplmt_amt` and `selfpay_prop` as 2204 reports them for a line.
pub fn reported(item: Option<&Item>) -> (&'static str, Price6, Ratio4) {
    match item {
        None => ("3", Price6::ZERO, Ratio4::ONE),
        Some(item) => (item.class.chrgitm_lv(), item.ceiling.unwrap_or(Price6::ZERO), item.selfpay_prop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bureau::catalogue::Kind;

    fn item(class: Class, ceiling: Option<&str>, selfpay_prop: &str, limited: bool) -> Item {
        Item {
            code: "X".to_owned(),
            name: "药".to_owned(),
            kind: Kind::Drug,
            list_type: "101".to_owned(),
            charge_kind: "09".to_owned(),
            class,
            price: Price6::ZERO,
            ceiling: ceiling.map(|text| text.parse().expect("a price")),
            selfpay_prop: selfpay_prop.parse().expect("a ratio"),
            limited,
            spec: String::new(),
            unit: String::new(),
        }
    }

    #[test]
    fn every_line_splits_into_four_parts_that_sum_to_it() {
        let a = item(Class::A, Some("10"), "0", false);
        let b = item(Class::B, Some("10.5"), "0.2", false);
        let c = item(Class::C, None, "1", false);
        let limited = item(Class::B, None, "0.1", true);
        //  item            amount  count  appr   full  over  first  scope
        let table = [
            (Some(&a), 2000, "2", "0", (0, 0, 0, 2000)),
            (Some(&a), 2500, "2", "0", (0, 500, 0, 2000)),
            (Some(&b), 2000, "2", "0", (0, 0, 400, 1600)),
            (Some(&b), 2300, "2", "0", (0, 200, 420, 1680)),
            (Some(&b), 3, "1", "0", (0, 0, 1, 2)),
            (Some(&a), 2000, "2", "2", (2000, 0, 0, 0)),
            (Some(&c), 2000, "2", "1", (2000, 0, 0, 0)),
            (Some(&limited), 2000, "1", "0", (2000, 0, 0, 0)),
            (Some(&limited), 2000, "1", "2", (2000, 0, 0, 0)),
            (Some(&limited), 2000, "1", "1", (0, 0, 200, 1800)),
            (None, 2000, "1", "1", (2000, 0, 0, 0)),
        ];
        for (row, (item, amount, count, appr, (full, over, first, scope))) in table.into_iter().enumerate() {
            let split = split_line(item, Fen::new(amount), count.parse().expect("a count"), appr).expect("in range");
            let expected = LineSplit {
                fulamt_ownpay: Fen::new(full),
                overlmt: Fen::new(over),
                preselfpay: Fen::new(first),
                inscp_scp: Fen::new(scope),
            };
            assert_eq!(split, expected, "row {row}");
            assert_eq!(full + over + first + scope, amount, "row {row} sums");
        }
    }
}
