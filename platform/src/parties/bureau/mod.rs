//! 医保核心: the bureau's core system, over the national envelope: MAPPINGS.md has it field by field.

pub mod client;
pub mod config;
mod envelope;
mod mapping;
pub mod notice;
mod status;

use async_trait::async_trait;
use schema::link::{BureauReply, SettleInputs};
use schema::personal::{CardNo, CertNo, EmployerName, PersonName, PsnNo, SealedPassword};

use crate::domain::settlement::Settlement;
use crate::parties::answer::Answer;

pub use config::{BureauConfig, Dialect, OwnInstitution};

/// The institution in whose name a call is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnBehalf {
    /// `fixmedins_code`.
    pub code: String,
    /// `fixmedins_name`.
    pub name: String,
    /// `mdtrtarea_admvs`, the institution's area (may be a district).
    pub area: String,
}

/// Who somebody says they are.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Kind of document.
    pub psn_cert_type: String,
    /// Its number.
    pub certno: CertNo,
    /// Name.
    pub psn_name: PersonName,
}

/// 1101's answer, reduced to what the platform uses.
#[derive(Debug, Clone)]
pub struct PersonInfo {
    /// 人员编号.
    pub psn_no: PsnNo,
    /// Name at the bureau.
    pub psn_name: PersonName,
    /// The insurances, the one to be used first (active before paused).
    pub insurances: Vec<Insurance>,
    /// The card is lost or the person's insurance stopped.
    pub blocked: bool,
}

/// One row of `insuinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insurance {
    /// 险种.
    pub insutype: String,
    /// 参保地.
    pub insuplc_admdvs: String,
    /// 人员类别.
    pub psn_type: String,
    /// 人员参保状态 as the bureau writes it; empty where it does not say.
    pub psn_insu_stas: String,
    /// 公务员标志; empty where it does not say.
    pub cvlserv_flag: String,
    /// 单位名称.
    pub emp_name: Option<EmployerName>,
    /// 正常参保.
    pub active: bool,
}

/// A level-2 proof on its way to the bureau.
#[derive(Debug, Clone)]
pub struct BindRequest {
    /// Who.
    pub identity: Identity,
    /// 社保卡号.
    pub card_no: CardNo,
    /// Sealed for the bureau; never stored.
    pub sealed_password: SealedPassword,
    /// Which channel.
    pub channel_no: String,
}

/// The bureau recorded a binding.
#[derive(Debug, Clone)]
pub struct Bound {
    /// Its number for it.
    pub bind_no: String,
    /// 人员编号.
    pub psn_no: PsnNo,
    /// 参保地.
    pub insuplc_admdvs: String,
}

/// A settlement as the bureau answered it.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The facts; `reply` in it is still empty and is filled by whoever holds the keys.
    pub settlement: Settlement,
    /// The whole `output`.
    pub output: BureauReply,
}

/// 2208's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoneAt {
    /// 2208's own settlement id; empty where it is not shown.
    pub undo_setl_id: String,
    /// Its time: microseconds UTC.
    pub setl_time_us: i64,
    /// The message that undid it (`medins_setl_id`), where the bureau names it.
    pub msgid: Option<String>,
    /// The bureau's own message, of a 2208 that answered.
    pub inf_refmsgid: Option<String>,
}

/// What 5203 knows.
#[derive(Debug, Clone)]
pub enum SettlementState {
    /// There is none.
    Nothing,
    /// There is one and it stands.
    Live(Box<Settled>),
    /// There was one and it is undone.
    Undone(UndoneAt),
}

/// The bureau of one tenant.
///
/// `Refused` means that nothing was done there. `Unknown` means that it may have been: 2208's is answered by 5203,
/// 2207's by 2601 and then 5203, and neither is sent again before. `msgid` is the caller's, saved before the call.
#[async_trait]
pub trait Bureau: Send + Sync {
    /// 1101 by identity document.
    async fn person(&self, on_behalf: Option<&OnBehalf>, identity: &Identity) -> Answer<PersonInfo>;
    /// 线上支付绑定: proves card and password and records the binding.
    async fn bind(&self, request: &BindRequest) -> Answer<Bound>;
    /// Takes the binding's record back.
    async fn unbind(&self, bind_no: &str, psn_no: &PsnNo) -> Answer<()>;
    /// 2207 under a message id that was saved before.
    async fn settle(&self, on_behalf: &OnBehalf, msgid: &str, inputs: &SettleInputs) -> Answer<Settled>;
    /// 2208.
    async fn undo(&self, on_behalf: &OnBehalf, msgid: &str, setl_id: &str, inputs: &SettleInputs) -> Answer<UndoneAt>;
    /// 2601 of a 2207.
    async fn reverse(&self, on_behalf: &OnBehalf, msgid: &str, omsgid: &str, inputs: &SettleInputs) -> Answer<()>;
    /// 5203 by setl_id.
    async fn ask_by_setl_id(
        &self,
        on_behalf: &OnBehalf,
        setl_id: &str,
        inputs: &SettleInputs,
    ) -> Answer<SettlementState>;
    /// 5203 by mdtrt_id, for the settlement whose `medins_setl_id` is `omsgid`. Only where the dialect can.
    async fn ask_by_visit(&self, on_behalf: &OnBehalf, omsgid: &str, inputs: &SettleInputs) -> Answer<SettlementState>;
    /// The dialect finds settlements by visit.
    fn can_ask_by_visit(&self) -> bool;
    /// The bureau's SM2 public key for card passwords, Base64.
    fn sm2_public_key(&self) -> &str;
    /// Verifies and reads what the bureau posted to us. `headers` have lower-case names.
    fn open_notice(&self, headers: &[(String, String)], body: &[u8])
    -> Result<notice::LossNotice, notice::NotBelieved>;
}
