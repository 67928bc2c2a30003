//! Who people are. All of them are invented: names from two lists, numbers from a counter.

use chrono::NaiveDate;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schema::bill::Patient;
use schema::money::Fen;
use schema::personal::{CardNo, CertNo, Openid, PersonName, Personal, Phone, PsnNo};

use crate::bureau::admin::NewPerson;
use crate::bureau::state::Insurance;

/// An insured person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insured {
    /// 人员编号 at the bureau.
    pub psn_no: PsnNo,
    /// Name.
    pub psn_name: PersonName,
    /// Resident identity number.
    pub certno: CertNo,
    /// 社保卡号.
    pub card_no: CardNo,
    /// The card's payment password. Goes to the bureau sealed, and nowhere else.
    pub card_password: String,
    /// As the bureau registers them.
    pub register: NewPerson,
}

impl Insured {
    /// As a hospital writes them on a bill.
    pub fn patient(&self) -> Patient {
        Patient::of_document(self.psn_name.clone(), "01", self.certno.clone())
    }
}

/// Somebody with a phone, and a child perhaps whose bills they pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their place in the crowd, from 0.
    pub number: u32,
    /// The phone in their pocket.
    pub phone: Phone,
    /// Their name at the wallet.
    pub openid: Openid,
    /// Themselves.
    pub own: Insured,
    /// Their child.
    pub child: Option<Insured>,
    /// They never gave their card's password: they may look and pay in cash.
    pub level_1_only: bool,
}

impl Person {
    /// Everybody whose bills come to this phone.
    pub fn insured(&self) -> impl Iterator<Item = &Insured> {
        std::iter::once(&self.own).chain(&self.child)
    }
}

const SURNAMES: [&str; 20] = [
    "赵", "钱", "孙", "李", "周", "吴", "郑", "王", "冯", "陈", "褚", "卫", "蒋", "沈", "韩", "杨", "朱", "秦", "尤",
    "许",
];
const GIVEN: [&str; 20] = [
    "小明", "小红", "建国", "丽华", "志强", "秀英", "子涵", "梓萱", "浩然", "雨桐", "文博", "思远", "佳怡", "俊杰",
    "晓燕", "海涛", "静雯", "立新", "春梅", "永康",
];

/// `count` people insured in `admdvs` (6 digits); the same for the same seed. Every eighth has a child, every
/// fifteenth stays at level 1.
pub fn crowd(admdvs: &str, count: u32, seed: u64) -> Vec<Person> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed ^ 0x7065_6f70_6c65);
    (0..count).map(|number| person(admdvs, number, &mut dice)).collect()
}

fn person(admdvs: &str, number: u32, dice: &mut ChaCha8Rng) -> Person {
    let (insutype, psn_type, born) = match dice.random_range(0..20) {
        0..=11 => ("310", "1101", dice.random_range(1968..=2003)),
        12..=14 => ("310", "1201", dice.random_range(1940..=1963)),
        _ => ("390", "1501", dice.random_range(1950..=2003)),
    };
    let balance_fen = if insutype == "310" { dice.random_range(0..6) * 60_000 } else { 0 };
    let own = insured(admdvs, number * 2, born, insutype, psn_type, balance_fen, vec![], dice);
    // A child may use its parent's account (共济).
    let relatives = vec![own.psn_no.expose().to_owned()];
    let child = (number % 8 == 3).then(|| insured(admdvs, number * 2 + 1, 2019, "390", "1501", 0, relatives, dice));
    Person {
        number,
        phone: Phone::new(format!("139{}{number:04}", admdvs.get(1..5).unwrap_or("0000"))),
        openid: Openid::new(format!("o-city-{admdvs}-{number:06}")),
        own,
        child,
        level_1_only: number % 15 == 7,
    }
}

#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
fn insured(
    admdvs: &str,
    number: u32,
    born: i32,
    insutype: &str,
    psn_type: &str,
    balance_fen: i64,
    relatives: Vec<String>,
    dice: &mut ChaCha8Rng,
) -> Insured {
    let pick = |list: &[&str], dice: &mut ChaCha8Rng| list[dice.random_range(0..list.len())].to_owned();
    let psn_name = pick(&SURNAMES, dice) + &pick(&GIVEN, dice);
    let day = dice.random_range(0..365_u64);
    let brdy = NaiveDate::from_yo_opt(born, 1).unwrap_or_default() + chrono::Days::new(day);
    let certno = identity_number(admdvs, brdy, number);
    let psn_no = format!("{admdvs}{number:08}");
    let card_no = format!("{}{number:08}", admdvs.get(..3).unwrap_or("000"));
    let card_password = format!("{:06}", dice.random_range(0..1_000_000));
    Insured {
        psn_no: PsnNo::new(psn_no.clone()),
        psn_name: PersonName::new(psn_name.clone()),
        certno: CertNo::new(certno.clone()),
        card_no: CardNo::new(card_no.clone()),
        card_password: card_password.clone(),
        register: NewPerson {
            psn_no,
            psn_cert_type: "01".to_owned(),
            certno,
            psn_name,
            gend: if number.is_multiple_of(2) { "2" } else { "1" }.to_owned(),
            brdy,
            card_no,
            card_password,
            insurances: vec![Insurance {
                insutype: insutype.to_owned(),
                psn_type: psn_type.to_owned(),
                insuplc_admdvs: admdvs.to_owned(),
                cvlserv: false,
                paused: false,
            }],
            balance_fen: Fen::new(balance_fen),
            relatives,
        },
    }
}

/// 18 characters with the check character of GB 11643. `number` gives the last free digits and shifts the day beyond
/// a thousand, so that no two are alike.
fn identity_number(admdvs: &str, born: NaiveDate, number: u32) -> String {
    let born = born + chrono::Days::new(u64::from(number / 1000) * 366);
    let body = format!("{admdvs}{}{:03}", born.format("%Y%m%d"), number % 1000);
    let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = body.bytes().zip(weights).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    let check = ['1', '0', 'X', '9', '8', '7', '6', '5', '4', '3', '2'][(sum % 11) as usize];
    format!("{body}{check}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_crowd_repeats_from_its_seed_and_nobody_shares_a_number() {
        let people = crowd("449100", 600, 7);
        assert_eq!(people, crowd("449100", 600, 7));
        assert_ne!(people, crowd("449100", 600, 8));
        let all: Vec<&Insured> = people.iter().flat_map(Person::insured).collect();
        let distinct = |of: fn(&Insured) -> String| all.iter().map(|one| of(one)).collect::<BTreeSet<_>>().len();
        assert_eq!(distinct(|one| one.certno.expose().to_owned()), all.len());
        assert_eq!(distinct(|one| one.card_no.expose().to_owned()), all.len());
        assert_eq!(distinct(|one| one.psn_no.expose().to_owned()), all.len());
        assert_eq!(people.iter().map(|one| one.phone.expose()).collect::<BTreeSet<_>>().len(), 600);
        assert!(people.iter().all(|one| one.phone.expose().len() == 11));
    }

    #[test]
    fn an_identity_number_carries_its_check_character() {
        // GB 11643-1999, annex: 11010519491231002X.
        let born = NaiveDate::from_ymd_opt(1949, 12, 31).expect("a day");
        assert_eq!(identity_number("110105", born, 2), "11010519491231002X");
    }
}
