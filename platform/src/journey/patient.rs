//! Whether a bill's patient is who the bindings say. A number typed wrong at the window must not put one person's bill
//! before another's eyes.

use schema::bill::Patient;
use schema::ids::{InstitutionCode, TenantId};
use schema::personal::{PersonName, Personal as _};
use schema::refusal::{Fault, Refusal};
use schema::seal::Lookup;

use super::people::{CERTNO, VISIT_CARD, open_person};
use super::{Ground, Tenant};
use crate::store::{BindingRow, Store, StoreError, VisitCardRow};

/// Whom a bill is about, as it and the bindings say.
pub struct Found {
    /// Keyed hash of the document, and masked name; none where nothing says who it is.
    pub patient: Option<(Lookup, String)>,
    /// What a binding contradicts: the visit card is another person's, or the document is bound under another name.
    pub contradicted: Vec<Fault>,
}

/// What is looked for: the document that a bill states, and its visit card.
pub struct Wanted {
    stated: Option<Lookup>,
    card: Option<Lookup>,
}

/// What was found of it: the visit card's binding, and every binding of the document.
pub struct Bindings {
    stated: Option<Lookup>,
    card: Option<VisitCardRow>,
    bindings: Vec<BindingRow>,
}

impl Wanted {
    /// Of a bill's patient.
    pub fn of(tenant: &Tenant, patient: &Patient) -> Wanted {
        Wanted {
            stated: patient.certno.as_ref().map(|certno| tenant.vault.lookup(CERTNO, certno.expose())),
            card: patient.visit_card_no.as_ref().map(|card| tenant.vault.lookup(VISIT_CARD, card.expose())),
        }
    }

    /// Looks for it.
    pub fn read(
        self,
        store: &dyn Store,
        tenant: TenantId,
        institution: &InstitutionCode,
    ) -> Result<Bindings, StoreError> {
        let Wanted { stated, card } = self;
        let card = card.map(|card| store.visit_card(tenant, institution, &card)).transpose()?;
        let bindings = stated.map(|certno| store.bindings_of_document(tenant, &certno)).transpose()?;
        Ok(Bindings { stated, card: card.flatten(), bindings: bindings.unwrap_or_default() })
    }
}

impl Bindings {
    /// Whom the bill is about: by the document it states, or else by the visit card's binding. Whose phones watch that
    /// document is at hand from now on.
    pub fn find(self, ground: &Ground, tenant: &Tenant, patient: &Patient) -> Result<Found, Refusal> {
        let Bindings { stated, card, bindings } = self;
        if let Some(stated) = stated {
            let live = bindings.iter().filter(|binding| !binding.unbound);
            ground.watched(tenant.id, stated, live.map(|binding| binding.channel_user));
        }
        let mut contradicted = Vec::new();
        if let (Some(card), Some(stated)) = (&card, stated)
            && card.certno != stated
        {
            contradicted.push(Fault::new(
                "patient.visit_card_no",
                "就诊卡绑定的是另一参保人",
                "is bound to another person",
            ));
        }
        for binding in bindings.iter().filter(|binding| !binding.unbound) {
            if !Bound::of(tenant, binding)?.is_named(patient) {
                let en = "is not the name under which this document is bound";
                contradicted.push(Fault::new("patient.psn_name", "与该证件绑定的参保人姓名不一致", en));
                break;
            }
        }
        let patient = match (stated, card) {
            (Some(stated), _) => Some((stated, patient.psn_name.as_ref().map(PersonName::masked).unwrap_or_default())),
            (None, Some(card)) => Some((card.certno, card.psn_name_masked)),
            (None, None) => None,
        };
        Ok(Found { patient, contradicted })
    }
}

/// Somebody bound to a login, as bills are matched against them.
pub struct Bound {
    /// The keyed hash of their document number.
    pub certno: Lookup,
    name: PersonName,
}

impl Bound {
    /// The person behind a binding.
    pub fn of(tenant: &Tenant, row: &BindingRow) -> Result<Bound, Refusal> {
        Ok(Bound { certno: row.certno, name: open_person(tenant, &row.sealed)?.psn_name })
    }

    /// Whether this is the patient of a bill, whose document number has this keyed hash.
    pub fn is(&self, certno: &Lookup, patient: &Patient) -> bool {
        self.certno == *certno && self.is_named(patient)
    }

    /// A bill with a visit card alone names nobody.
    fn is_named(&self, patient: &Patient) -> bool {
        patient.psn_name.as_ref().is_none_or(|name| is_one(&self.name, name))
    }
}

/// Whether two ways to write a name are one name.
fn is_one(one: &PersonName, other: &PersonName) -> bool {
    normalised(one) == normalised(other)
}

/// Systems differ in blanks, in full-width letters, in capitals and in the dot inside a name (阿里·买买提); people do not.
fn normalised(name: &PersonName) -> String {
    let one = |letter: char| match letter {
        '•' | '‧' | '・' | '･' | '．' | '.' | '●' => '·',
        // The full-width forms of ASCII lie in one block, in ASCII's order.
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(letter) - 0xFEE0).unwrap_or(letter),
        letter => letter,
    };
    name.expose().chars().filter(|letter| !letter.is_whitespace()).map(one).flat_map(char::to_uppercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_however_systems_write_it_and_no_other() {
        for (one, other, same) in [
            ("王小明", "王小明", true),
            ("王小明", " 王　小明 ", true),
            ("阿里·买买提", "阿里•买买提", true),
            ("阿里·买买提", "阿里．买买提", true),
            ("Ｊｏｈｎ Smith", "JOHN SMITH", true),
            ("王小明", "王小朋", false),
            ("王小明", "王小", false),
            ("王小明", "", false),
        ] {
            assert_eq!(is_one(&PersonName::new(one), &PersonName::new(other)), same, "{one} {other}");
        }
    }
}
