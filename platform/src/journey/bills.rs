//! A bill comes from its institution; its undo: the window takes it back.

use std::sync::Arc;

use schema::bill::{BillDraft, Patient};
use schema::his::Guidance;
use schema::ids::{BillId, ChannelUserId, EventId, InstitutionCode, TenantId};
use schema::link::Reply;
use schema::mobile::BillView;
use schema::personal::Personal as _;
use schema::refusal::{Code, Fault, Refusal};
use schema::seal::{Lookup, Sealed};

use super::desk::{Command, What};
use super::known::Stated;
use super::patient::{Bound, Found, Wanted};
use super::{Ground, Tenant, at_work, people, reply};
use crate::domain::bill::{BillFacts, BillState};
use crate::parties::words;
use crate::store::{BillLine, BillRow, BindingRow, CallerKey, InstitutionRow, NewBill, Store};

/// The purpose under which a bill's whole draft is sealed, and under which its content is recognised.
const BILL: &str = "bill";
/// Bills in a list.
const LIST_MAX: u32 = 200;

/// Takes a bill. Refuses it with everything that is wrong at once: faults in what it says, a patient who is not who a
/// binding says, a known number with other content, a bill that was taken back. The same bill again is harmless.
pub async fn take(
    ground: &Ground,
    tenant: &Tenant,
    institution: &InstitutionCode,
    draft: &BillDraft,
    key: CallerKey,
    trace_id: Option<String>,
) -> Result<Reply, Refusal> {
    let (tenant_id, code, bill_no) = (tenant.id, institution.clone(), draft.bill_no.clone());
    let (known, stored, patient) = ground
        .read({
            let (code, patient) = (code.clone(), Wanted::of(tenant, &draft.patient));
            move |store| {
                let (known, stored) =
                    (store.institution(tenant_id, &code)?, store.bill_by_no(tenant_id, &code, &bill_no)?);
                Ok((known, stored, patient.read(store, tenant_id, &code)?))
            }
        })
        .await?;
    at_work(known, &code)?;
    let mut faults = draft.faults(tenant.line_tolerance_fen);
    if draft.expires_at_us <= ground.clock.now_us() {
        faults.push(Fault::new("expires_at_us", "账单已失效", "is already past"));
    }
    let plain = serde_json::to_vec(draft)
        .map_err(|error| Refusal::new(Code::Internal, format!("a bill cannot be written: {error}")))?;
    // Keyed: names and numbers could be guessed from a plain hash.
    let content = tenant.vault.lookup(BILL, &plain).to_bytes();
    if let Some(row) = stored.as_ref().filter(|row| row.bill.content == content) {
        return row.bill.facts.may_come_again().map(|()| Reply::Done);
    }
    let Found { patient, contradicted } = patient.find(ground, tenant, &draft.patient)?;
    if patient.is_none() && draft.patient.is_card_only() {
        let zh = "就诊卡未绑定，请先在窗口绑定或填写证件";
        let en = "is bound to nobody: bind it at the window or state the document";
        faults.push(Fault::new("patient.visit_card_no", zh, en));
    }
    if let Some(refusal) = wrong(faults, contradicted, stored.is_some()) {
        return Err(refusal);
    }
    let nobody = || Refusal::new(Code::Invalid, "nothing says whose bill it is");
    let (patient, psn_name_masked) = patient.ok_or_else(nobody)?;
    let bill = NewBill {
        facts: BillFacts {
            id: BillId::from_uuid(ground.clock.fresh()),
            bill_no: draft.bill_no.clone(),
            institution: institution.clone(),
            amount: draft.amount_fen,
            state: BillState::Open,
            expires_at_us: draft.expires_at_us,
            order: None,
        },
        content,
        kind: draft.kind,
        patient,
        psn_name_masked,
        dept_name: draft.visit.dept_name.clone(),
        dr_name: draft.visit.dr_name.clone(),
        ipt_otp_no: draft.visit.ipt_otp_no.clone(),
        med_type: draft.visit.med_type.clone(),
        dept_code: draft.visit.dept_code.clone(),
        atddr_no: draft.visit.atddr_no.clone(),
        issued_at_us: draft.issued_at_us,
        sealed: tenant.vault.seal(ground.clock.nonce(), BILL, &plain),
        lines: draft.lines.iter().map(BillLine::from).collect(),
    };
    reply::of(ground.desk.ask(command(ground, tenant.id, What::TakeBill(Box::new(bill)), key, trace_id)).await)
}

/// Everything that is wrong with a bill as one refusal: what it says, whom it is about, and its number.
fn wrong(mut faults: Vec<Fault>, contradicted: Vec<Fault>, number_is_taken: bool) -> Option<Refusal> {
    let code = match (faults.is_empty(), contradicted.is_empty(), number_is_taken) {
        (false, ..) => Code::Invalid,
        (true, false, _) => Code::BillPatientMismatch,
        (true, true, true) => Code::BillChanged,
        (true, true, false) => return None,
    };
    faults.extend(contradicted);
    if number_is_taken {
        faults.push(Fault::new("bill_no", "同一账单号已有不同内容", "already exists with other content"));
    }
    Some(Refusal::faulty(code, faults))
}

/// The window takes a bill back, or the HIS withdraws it.
///
/// Released at once where no order holds the bill, where its order is Created or Priced (which closes), and where what
/// was paid has gone back whole. From Settling on, and while anything is undone, the answer is InProgress: wait, and
/// ask again. Once it is paid the table says BILL_NOT_PAYABLE, which the window hears as AlreadyPaid. Only "released"
/// is kept under the key; a bill that is not known is refused with BILL_UNKNOWN.
pub async fn claim(
    ground: &Ground,
    tenant: TenantId,
    institution: &InstitutionCode,
    bill_no: &str,
    key: CallerKey,
    trace_id: Option<String>,
) -> Result<Reply, Refusal> {
    let what = What::Claim(institution.clone(), bill_no.to_owned());
    reply::of(ground.desk.ask(command(ground, tenant, what, key, trace_id)).await)
}

fn command(ground: &Ground, tenant: TenantId, what: What, key: CallerKey, trace_id: Option<String>) -> Command {
    let event_id = EventId::from_uuid(ground.clock.fresh());
    Command { tenant, event_id, what, answers: None, key: Some((key, reply::render())), trace_id }
}

/// The bills a login may see: those of the people bound to it.
pub async fn list(ground: &Ground, tenant: &Tenant, user: ChannelUserId) -> Result<Vec<BillView>, Refusal> {
    let tenant_id = tenant.id;
    let read = move |store: &dyn Store| {
        let bindings = store.bindings_of(tenant_id, user)?;
        let patients: Vec<Lookup> = bindings.iter().map(|binding| binding.certno).collect();
        Ok((store.bills_of(tenant_id, &patients, LIST_MAX)?, bindings))
    };
    let (rows, bindings) = ground.read(read).await?;
    let bound = bound(tenant, &bindings)?;
    let mut views = Vec::with_capacity(rows.len());
    for row in rows {
        if is_of(tenant, &bound, &ground.states(tenant.id, &row.bill))? {
            views.push(view(ground, tenant, row, false).await?);
        }
    }
    Ok(views)
}

/// One bill with its lines. Refuses a bill of somebody not bound to this login as unknown.
pub async fn one(ground: &Ground, tenant: &Tenant, user: ChannelUserId, id: BillId) -> Result<BillView, Refusal> {
    let row = own(ground, tenant, user, id).await?;
    view(ground, tenant, row, true).await
}

async fn own(ground: &Ground, tenant: &Tenant, user: ChannelUserId, id: BillId) -> Result<BillRow, Refusal> {
    let tenant_id = tenant.id;
    let read = move |store: &dyn Store| Ok((store.bill(tenant_id, id)?, store.bindings_of(tenant_id, user)?));
    let (row, bindings) = ground.read(read).await?;
    match row {
        Some(row) if is_of(tenant, &bound(tenant, &bindings)?, &ground.states(tenant_id, &row.bill))? => Ok(row),
        _ => Err(not_of_this_login()),
    }
}

/// What is known of a bill that somebody is to pay for.
pub struct Stands {
    /// Whose it is and who asks. Whether it can be paid is not among it.
    pub stated: Arc<Stated>,
    /// Who asks: not suspended.
    pub institution: InstitutionRow,
    /// The live bindings of the login.
    pub bindings: Vec<BindingRow>,
}

/// A bill of somebody bound to this login, for whoever begins to pay it. Refuses another's as unknown, and a bill of a
/// suspended institution.
pub async fn to_be_paid(ground: &Ground, tenant: &Tenant, user: ChannelUserId, id: BillId) -> Result<Stands, Refusal> {
    let tenant_id = tenant.id;
    let stated = ground.stated_if_known(tenant_id, id).await?.ok_or_else(not_of_this_login)?;
    let code = stated.institution.clone();
    let read = move |store: &dyn Store| Ok((store.bindings_of(tenant_id, user)?, store.institution(tenant_id, &code)?));
    let (bindings, institution) = ground.read(read).await?;
    if !is_of(tenant, &bound(tenant, &bindings)?, &stated)? {
        return Err(not_of_this_login());
    }
    let institution = at_work(institution, &stated.institution)?;
    Ok(Stands { stated, institution, bindings })
}

fn not_of_this_login() -> Refusal {
    Refusal::new(Code::BillUnknown, "no such bill for this login")
}

fn bound(tenant: &Tenant, bindings: &[BindingRow]) -> Result<Vec<Bound>, Refusal> {
    bindings.iter().map(|row| Bound::of(tenant, row)).collect()
}

/// Whether a bill is one of these people's. A bill that came before its number was bound may carry another's name.
fn is_of(tenant: &Tenant, bound: &[Bound], stated: &Stated) -> Result<bool, Refusal> {
    let patient = &stated.patient;
    if bound.iter().all(|person| person.certno != *patient) {
        return Ok(false);
    }
    let stated = draft(tenant, &stated.sealed)?.patient;
    Ok(bound.iter().any(|person| person.is(patient, &stated)))
}

async fn view(ground: &Ground, tenant: &Tenant, row: BillRow, whole: bool) -> Result<BillView, Refusal> {
    let facts = &row.bill.facts;
    let names = ground.names_of(tenant.id, &facts.institution).await?;
    let lines = if whole { draft(tenant, &row.bill.sealed)?.lines } else { Vec::new() };
    let expired = facts.state == BillState::Open && ground.clock.now_us() >= facts.expires_at_us;
    Ok(BillView {
        id: facts.id,
        bill_no: facts.bill_no.clone(),
        fixmedins_code: facts.institution.to_string(),
        fixmedins_name: names.name.clone(),
        kind: row.bill.kind,
        psn_name: row.bill.psn_name_masked.clone(),
        dept_name: row.bill.dept_name.clone(),
        dr_name: row.bill.dr_name.clone(),
        amount_fen: facts.amount,
        state: if expired { BillState::Expired.as_str().into() } else { facts.state.as_str().into() },
        issued_at_us: row.bill.issued_at_us,
        expires_at_us: facts.expires_at_us,
        order_id: row.last_order,
        lines,
    })
}

/// A bill as its institution stated it.
pub async fn drafted(ground: &Ground, tenant: &Tenant, id: BillId) -> Result<BillDraft, Refusal> {
    draft(tenant, &ground.stated(tenant.id, id).await?.sealed)
}

/// What names a bill's patient: taken out of every sentence its institution sends, before that is stored or shown.
pub struct Hush {
    names: Vec<String>,
}

impl Hush {
    /// For a bill of ours.
    pub async fn of(ground: &Ground, tenant: &Tenant, id: BillId) -> Result<Hush, Refusal> {
        let stated = ground.stated(tenant.id, id).await?;
        Hush::of_stated(ground, tenant, stated.patient, &stated.sealed).await
    }

    /// For a bill by its institution's number; of one that is not known, nobody is known.
    pub async fn of_number(
        ground: &Ground,
        tenant: &Tenant,
        institution: &InstitutionCode,
        bill_no: &str,
    ) -> Result<Hush, Refusal> {
        let (tenant_id, institution, bill_no) = (tenant.id, institution.clone(), bill_no.to_owned());
        match ground.read(move |store| store.bill_by_no(tenant_id, &institution, &bill_no)).await? {
            Some(row) => Hush::of_stated(ground, tenant, row.bill.patient, &row.bill.sealed).await,
            None => Ok(Hush { names: Vec::new() }),
        }
    }

    async fn of_stated(ground: &Ground, tenant: &Tenant, document: Lookup, sealed: &Sealed) -> Result<Hush, Refusal> {
        let Patient { psn_name, certno, visit_card_no, .. } = draft(tenant, sealed)?.patient;
        let tenant_id = tenant.id;
        // A bill may carry a visit card alone: whoever is bound to its person knows the name.
        let bindings = ground.read(move |store| store.bindings_of_document(tenant_id, &document)).await?;
        let bound = bindings.last().map(|binding| people::open_person(tenant, &binding.sealed)).transpose()?;
        let stated = [psn_name.as_ref().map(|name| name.expose()), certno.as_ref().map(|number| number.expose())];
        let card = visit_card_no.as_ref().map(|card| card.expose());
        let bound = bound.as_ref().map(|person| [person.psn_name.expose(), person.certno.expose()]);
        let names = stated.into_iter().flatten().chain(card).chain(bound.into_iter().flatten());
        Ok(Hush { names: names.filter(|name| !name.is_empty()).map(str::to_owned).collect() })
    }

    fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// The sentence with nobody in it.
    pub fn sentence(&self, sentence: &str) -> String {
        words::for_people(sentence, &self.names())
    }

    /// Where the patient goes, with nobody in it.
    pub fn guidance(&self, guidance: Guidance) -> Guidance {
        let sentence = |text: Option<String>| text.map(|text| self.sentence(&text));
        // A queue number may be as long as a number that names a person: only this patient's own are taken out.
        let own = |number: String| self.names().iter().fold(number, |text, name| text.replace(name, "***"));
        Guidance {
            window: sentence(guidance.window),
            queue_no: guidance.queue_no.map(own),
            floor: sentence(guidance.floor),
            message: sentence(guidance.message),
            invoice: guidance.invoice,
        }
    }
}

fn draft(tenant: &Tenant, sealed: &Sealed) -> Result<BillDraft, Refusal> {
    let damaged = |why: String| Refusal::new(Code::Internal, format!("a bill does not read back: {why}"));
    let plain = tenant.vault.open(BILL, sealed).map_err(|error| damaged(error.to_string()))?;
    serde_json::from_slice(&plain).map_err(|error| damaged(error.to_string()))
}
