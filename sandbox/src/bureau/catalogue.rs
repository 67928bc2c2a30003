//! Drugs, services and diagnoses with what the bureau decides about them. The hospitals' HIS uses the same list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ring::digest::{SHA256, digest};
use schema::money::{Price6, Ratio4};
use serde::{Deserialize, Serialize};

/// A drug or a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// 药品.
    Drug,
    /// 医疗服务项目.
    Service,
}

/// 甲, 乙 or 丙.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    /// 甲: wholly in scope.
    A,
    /// 乙: the patient pays a first share.
    B,
    /// 丙: the patient pays all.
    C,
}

impl Class {
    /// `chrgitm_lv` of 2204.
    pub fn chrgitm_lv(self) -> &'static str {
        match self {
            Class::A => "1",
            Class::B => "2",
            Class::C => "3",
        }
    }
}

/// One item of the national catalogue as this bureau rules it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// `med_list_codg`.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Drug or service.
    pub kind: Kind,
    /// `list_type`: 101 drugs, 102 饮片, 201 services.
    pub list_type: String,
    /// `med_chrgitm_type` (kind of charge), two digits.
    pub charge_kind: String,
    /// 甲乙丙.
    pub class: Class,
    /// The usual price in yuan per unit.
    pub price: Price6,
    /// The bureau's price ceiling in yuan per unit; none when absent.
    pub ceiling: Option<Price6>,
    /// The patient's first share.
    pub selfpay_prop: Ratio4,
    /// Limited use: reimbursed only when the hospital approves (`hosp_appr_flag` 1).
    pub limited: bool,
    /// Specification, for people; may be empty.
    pub spec: String,
    /// Unit, for people; may be empty.
    pub unit: String,
}

/// One diagnosis, keyed by system and code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// 西医诊断, 中医诊断 …
    pub system: String,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
}

/// A catalogue file is missing or has a wrong row.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {what}", file = file.display())]
pub struct BadCatalogue {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it, with the line where known.
    pub what: String,
}

/// The whole catalogue, in the order of its codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    items: BTreeMap<String, Item>,
    diagnoses: BTreeMap<(String, String), Diagnosis>,
}

#[derive(Deserialize)]
struct OwnDrug {
    national_code: String,
    generic_name: String,
    list_type: String,
    class: Class,
    price_yuan: String,
    ceiling_yuan: String,
    selfpay_prop: String,
    limited: u8,
    spec: String,
    unit: String,
}

#[derive(Deserialize)]
struct OwnService {
    national_code: String,
    name: String,
    class: Class,
    price_yuan: String,
    ceiling_yuan: String,
    selfpay_prop: String,
    charge_kind: String,
    unit: String,
}

#[derive(Deserialize)]
struct NationalDrug {
    national_code: String,
    generic_name: String,
}

#[derive(Deserialize)]
struct NationalService {
    national_code: String,
    name: String,
}

impl Catalogue {
    /// The product's own: about seventy entries with fictional codes in the national shapes.
    pub fn builtin() -> Catalogue {
        let drugs = rows::<OwnDrug>("drugs.csv", include_str!("../../data/drugs.csv").as_bytes());
        let services = rows::<OwnService>("service-items.csv", include_str!("../../data/service-items.csv").as_bytes());
        let diagnoses = rows::<Diagnosis>("diagnoses.csv", include_str!("../../data/diagnoses.csv").as_bytes());
        let drugs = drugs.expect("read by a test").into_iter().map(|row| Item {
            charge_kind: drug_charge_kind(&row.national_code).to_owned(),
            code: row.national_code,
            name: row.generic_name,
            kind: Kind::Drug,
            list_type: row.list_type,
            class: row.class,
            price: number(&row.price_yuan),
            ceiling: (!row.ceiling_yuan.is_empty()).then(|| number(&row.ceiling_yuan)),
            selfpay_prop: number(&row.selfpay_prop),
            limited: row.limited == 1,
            spec: row.spec,
            unit: row.unit,
        });
        let services = services.expect("read by a test").into_iter().map(|row| Item {
            code: row.national_code,
            name: row.name,
            kind: Kind::Service,
            list_type: "201".to_owned(),
            charge_kind: row.charge_kind,
            class: row.class,
            price: number(&row.price_yuan),
            ceiling: (!row.ceiling_yuan.is_empty()).then(|| number(&row.ceiling_yuan)),
            selfpay_prop: number(&row.selfpay_prop),
            limited: false,
            spec: String::new(),
            unit: row.unit,
        });
        Catalogue::of(drugs.chain(services), diagnoses.expect("read by a test"))
    }

    /// The three files `drugs.csv`, `service-items.csv` and `icd10-categories.csv` of `folder`: real codes and names.
    /// They carry no class, price or ceiling: those are invented, the same for the same `seed` and code.
    pub fn from_dir(folder: &Path, seed: u64) -> Result<Catalogue, BadCatalogue> {
        let read = |name: &str| -> Result<(PathBuf, Vec<u8>), BadCatalogue> {
            let file = folder.join(name);
            let bytes =
                std::fs::read(&file).map_err(|error| BadCatalogue { file: file.clone(), what: error.to_string() })?;
            Ok((file, bytes))
        };
        let (file, bytes) = read("drugs.csv")?;
        let drugs: Vec<NationalDrug> = rows(&file, &bytes)?;
        let (file, bytes) = read("service-items.csv")?;
        let services: Vec<NationalService> = rows(&file, &bytes)?;
        let (file, bytes) = read("icd10-categories.csv")?;
        let diagnoses: Vec<Diagnosis> = rows(&file, &bytes)?;
        let drugs = drugs.into_iter().map(|row| invent(seed, row.national_code, row.generic_name, Kind::Drug));
        let services = services.into_iter().map(|row| invent(seed, row.national_code, row.name, Kind::Service));
        Ok(Catalogue::of(drugs.chain(services), diagnoses))
    }

    fn of(items: impl Iterator<Item = Item>, diagnoses: Vec<Diagnosis>) -> Catalogue {
        Catalogue {
            items: items.map(|item| (item.code.clone(), item)).collect(),
            diagnoses: diagnoses.into_iter().map(|d| ((d.system.clone(), d.code.clone()), d)).collect(),
        }
    }

    /// The item with this national code.
    pub fn find(&self, code: &str) -> Option<&Item> {
        self.items.get(code)
    }

    /// All items, in the order of their codes.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    /// All diagnoses, in the order of system and code.
    pub fn diagnoses(&self) -> impl Iterator<Item = &Diagnosis> {
        self.diagnoses.values()
    }
}

fn rows<T: serde::de::DeserializeOwned>(file: impl AsRef<Path>, bytes: &[u8]) -> Result<Vec<T>, BadCatalogue> {
    csv::Reader::from_reader(bytes)
        .deserialize()
        .collect::<Result<_, _>>()
        .map_err(|error| BadCatalogue { file: file.as_ref().to_owned(), what: error.to_string() })
}

// The csv crate would hand decimals over as floats, so they are read as text.
fn number<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("the built-in files are read by a test")
}

/// Western drugs' codes begin with X, Chinese patent medicines' with Z, prepared herbs' with T.
fn drug_charge_kind(code: &str) -> &'static str {
    match code.chars().next() {
        Some('X') => "09",
        Some('T') => "10",
        _ => "11",
    }
}

fn invent(seed: u64, code: String, name: String, kind: Kind) -> Item {
    let hash = digest(&SHA256, &[&seed.to_be_bytes()[..], code.as_bytes()].concat());
    let dice = |n: usize| i64::from(hash.as_ref()[n]) << 8 | i64::from(hash.as_ref()[n + 1]);
    let class = match dice(0) % 10 {
        0..=4 => Class::A,
        5..=8 => Class::B,
        _ => Class::C,
    };
    // 1.00 to 656.35 yuan, most of them cheap: the product of two dice.
    let price_fen = 100 + dice(2) % 256 * (dice(4) % 256);
    // A third has a ceiling between 80 % and 130 % of the price, so that some prices lie above it.
    let ceiling_fen = (dice(6) % 3 == 0 && class != Class::C).then(|| (price_fen * (80 + dice(8) % 51) / 100).max(1));
    let selfpay_prop = match class {
        Class::A => Ratio4::ZERO,
        Class::B => Ratio4::from_units([500, 1_000, 1_500, 2_000][usize::try_from(dice(10) % 4).unwrap_or(0)]),
        Class::C => Ratio4::ONE,
    };
    let charge_kind = match kind {
        Kind::Drug => drug_charge_kind(&code),
        Kind::Service => "05",
    };
    Item {
        charge_kind: charge_kind.to_owned(),
        kind,
        list_type: if kind == Kind::Drug { "101" } else { "201" }.to_owned(),
        class,
        price: Price6::from_units(price_fen * 10_000),
        ceiling: ceiling_fen.map(|fen| Price6::from_units(fen * 10_000)),
        selfpay_prop,
        limited: kind == Kind::Drug && class == Class::B && dice(12) % 12 == 0,
        spec: String::new(),
        unit: if kind == Kind::Drug { "盒" } else { "次" }.to_owned(),
        code,
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalogue_has_every_class_and_the_national_shapes() {
        let catalogue = Catalogue::builtin();
        assert!(catalogue.items().count() >= 50 && catalogue.diagnoses().count() >= 10);
        for class in [Class::A, Class::B, Class::C] {
            assert!(catalogue.items().any(|item| item.class == class));
        }
        assert!(catalogue.items().any(|item| item.limited));
        assert!(catalogue.items().any(|item| item.ceiling.is_some_and(|ceiling| item.price > ceiling)));
        for item in catalogue.items() {
            let shape = match item.code.chars().next() {
                Some('X') => 23,
                Some('Z') => 20,
                Some('T') => 10,
                _ => 15,
            };
            assert_eq!(item.code.len(), shape, "{}", item.code);
        }
    }

    #[test]
    fn prices_are_invented_the_same_for_the_same_seed_and_differ_for_another() {
        let of = |seed| invent(seed, "XA02AXX095A001010103357".to_owned(), "药".to_owned(), Kind::Drug);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn a_folder_of_national_codes_is_read_and_a_missing_file_is_named() {
        let folder = std::env::temp_dir().join(format!("tongfu-catalogue-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("writable");
        std::fs::write(folder.join("drugs.csv"), "national_code,generic_name\nXA1,药\n").expect("writable");
        std::fs::write(folder.join("service-items.csv"), "national_code,name\n001,诊查\n").expect("writable");
        let missing = Catalogue::from_dir(&folder, 1).expect_err("one file is missing");
        let icd = "system,code,name,chapter\n西医诊断,A00.,霍乱,传染性疾病\n肿瘤诊断,A00.,同码,肿瘤\n";
        std::fs::write(folder.join("icd10-categories.csv"), icd).expect("writable");
        let catalogue = Catalogue::from_dir(&folder, 1);
        std::fs::remove_dir_all(&folder).expect("removable");
        assert!(missing.to_string().contains("icd10-categories.csv"));
        let catalogue = catalogue.expect("complete now");
        assert_eq!((catalogue.items().count(), catalogue.diagnoses().count()), (2, 2));
        assert!(catalogue.find("001").is_some_and(|item| item.kind == Kind::Service));
    }
}
