//! A small bureau with one hospital, one platform and three persons, and the messages a HIS sends it.

use std::sync::Arc;

use chrono::{DateTime, Duration, FixedOffset};
use sandbox::bureau::admin::{NewPerson, Registration};
use sandbox::bureau::envelope::Request;
use sandbox::bureau::seal::Keys;
use sandbox::bureau::state::Insurance;
use sandbox::bureau::{Caller, CallerKind, Catalogue, Config, Core, HospLevel, Institution, seal_card_password};
use schema::money::Fen;
use serde_json::{Value, json};

pub(crate) const HOSPITAL: &str = "H44910000001";
pub(crate) const CITY: &str = "449100";
pub(crate) const WORKER: &str = "P0001";
pub(crate) const CHILD: &str = "P0002";

/// 甲, price 12.50, ceiling 15.00.
pub(crate) const CLASS_A: &str = "XZ01AAA001A001010190001";
/// 乙 at 10 %, price 28.60, ceiling 32.00.
pub(crate) const CLASS_B: &str = "XZ02AAA002A001010190002";

pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) window: Caller,
    pub(crate) platform: Caller,
    pub(crate) now: DateTime<FixedOffset>,
    messages: u32,
}

pub(crate) fn institution() -> Institution {
    Institution {
        fixmedins_code: HOSPITAL.to_owned(),
        fixmedins_name: "东湾市人民医院".to_owned(),
        admdvs: CITY.to_owned(),
        hosp_lv: HospLevel::Third,
    }
}

pub(crate) fn registration(paasid: &str, kind: CallerKind) -> Registration {
    Registration {
        paasid: paasid.to_owned(),
        secret: format!("{paasid}-secret"),
        kind,
        institutions: vec![institution()],
        notice_url: None,
    }
}

fn person(psn_no: &str, certno: &str, insutype: &str, psn_type: &str, balance: i64, relatives: &[&str]) -> NewPerson {
    NewPerson {
        psn_no: psn_no.to_owned(),
        psn_cert_type: "01".to_owned(),
        certno: certno.to_owned(),
        psn_name: format!("参保人{psn_no}"),
        gend: "2".to_owned(),
        brdy: "1990-05-20".parse().expect("a day"),
        card_no: format!("CARD{psn_no}"),
        card_password: "135790".to_owned(),
        insurances: vec![Insurance {
            insutype: insutype.to_owned(),
            psn_type: psn_type.to_owned(),
            insuplc_admdvs: CITY.to_owned(),
            cvlserv: false,
            paused: false,
        }],
        balance_fen: Fen::new(balance),
        relatives: relatives.iter().map(|psn_no| (*psn_no).to_owned()).collect(),
    }
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Config::builtin())
    }

    pub(crate) fn with(config: Config) -> World {
        let mut core = Core::new(config, Arc::new(Catalogue::builtin()), Keys::from_seed(7));
        let window = core.register_caller(registration("his", CallerKind::Hospital)).expect("registers");
        let platform = core.register_caller(registration("tongfu", CallerKind::Platform)).expect("registers");
        let persons = vec![
            person(WORKER, "449100199005200011", "310", "1101", 5_000, &[]),
            person(CHILD, "449100201605200022", "390", "1501", 0, &[WORKER]),
        ];
        core.create_persons(persons).expect("creates");
        let now = DateTime::parse_from_rfc3339("2026-07-10T09:00:00+08:00").expect("a moment");
        World { core, window, platform, now, messages: 0 }
    }

    /// A fresh message id, as a HIS builds it.
    pub(crate) fn msgid(&mut self) -> String {
        self.messages += 1;
        format!("{HOSPITAL}{}{:04}", self.now.format("%Y%m%d%H%M%S"), self.messages)
    }

    pub(crate) fn request(&self, infno: &str, msgid: &str, input: Value) -> Value {
        Request {
            infno: infno.to_owned(),
            msgid: msgid.to_owned(),
            mdtrtarea_admvs: CITY.to_owned(),
            insuplc_admdvs: CITY.to_owned(),
            opter_type: "1".to_owned(),
            opter: "001".to_owned(),
            opter_name: "收费员".to_owned(),
            inf_time: self.now.format("%Y-%m-%d %H:%M:%S").to_string(),
            fixmedins_code: HOSPITAL.to_owned(),
            fixmedins_name: "东湾市人民医院".to_owned(),
            sign_no: String::new(),
            input,
        }
        .to_value()
    }

    /// One call as a given caller with a given message id; the clock moves on by a second.
    pub(crate) fn call_as(&mut self, caller: &Caller, infno: &str, msgid: &str, input: Value) -> Value {
        let envelope = self.request(infno, msgid, input);
        self.now += Duration::seconds(1);
        self.core.handle(caller, infno, &envelope, self.now)
    }

    /// One call of the hospital with a fresh message id.
    pub(crate) fn call(&mut self, infno: &str, input: Value) -> Value {
        let (caller, msgid) = (self.window.clone(), self.msgid());
        self.call_as(&caller, infno, &msgid, input)
    }

    /// [`World::call`] that must succeed; answers the output.
    pub(crate) fn ok(&mut self, infno: &str, input: Value) -> Value {
        let answer = self.call(infno, input);
        assert_eq!(answer["infcode"], 0, "{infno}: {answer}");
        answer["output"].clone()
    }

    /// [`World::call`] that must be refused; answers infcode and err_msg.
    pub(crate) fn refused(&mut self, infno: &str, input: Value) -> (i64, String) {
        refusal(&self.call(infno, input))
    }

    /// 2201 and 2203; answers the mdtrt_id.
    pub(crate) fn visit(&mut self, psn_no: &str, ipt_otp_no: &str) -> String {
        let (insutype, certno) = insured(psn_no);
        let data = json!({
            "psn_no": psn_no, "insutype": insutype, "begntime": "2026-07-10 08:30:00", "mdtrt_cert_type": "02",
            "mdtrt_cert_no": certno, "ipt_otp_no": ipt_otp_no, "atddr_no": "D01", "dr_name": "李医生",
            "dept_code": "0301", "dept_name": "内科", "caty": "A03",
        });
        let mdtrt_id = text(&self.ok("2201", json!({ "data": data }))["data"]["mdtrt_id"]);
        let info = json!({
            "mdtrt_id": mdtrt_id, "psn_no": psn_no, "med_type": "11", "begntime": "2026-07-10 08:30:00",
            "dise_codg": "", "dise_name": "", "main_cond_dscr": "咳嗽",
        });
        let diagnosis = json!({
            "diag_type": "1", "diag_srt_no": 1, "diag_code": "J06.900", "diag_name": "急性上呼吸道感染",
            "diag_dept": "内科", "dise_dor_no": "D01", "dise_dor_name": "李医生",
            "diag_time": "2026-07-10 08:40:00", "vali_flag": "1",
        });
        self.ok("2203", json!({ "mdtrtinfo": info, "diseinfo": [diagnosis] }));
        mdtrt_id
    }

    /// A visit with one batch of two lines: 甲 4 × 12.50 and 乙 5 × 28.60, together 193.00.
    pub(crate) fn priced_visit(&mut self, psn_no: &str, ipt_otp_no: &str) -> String {
        let mdtrt_id = self.visit(psn_no, ipt_otp_no);
        self.ok("2204", lines(&mdtrt_id, psn_no, "B1", "F"));
        mdtrt_id
    }

    /// What B001 needs for the worker with this password.
    pub(crate) fn bind_input(&self, password: &str) -> Value {
        json!({ "data": {
            "psn_cert_type": "01", "certno": insured(WORKER).1, "psn_name": format!("参保人{WORKER}"),
            "card_no": format!("CARD{WORKER}"), "channel_no": "app",
            "card_pwd_sealed": seal_card_password(&self.core.keys().card_public_key(), password),
        } })
    }
}

pub(crate) fn insured(psn_no: &str) -> (&'static str, &'static str) {
    if psn_no == WORKER { ("310", "449100199005200011") } else { ("390", "449100201605200022") }
}

/// The two lines of [`World::priced_visit`]; `sn` begins their numbers.
pub(crate) fn lines(mdtrt_id: &str, psn_no: &str, batch: &str, sn: &str) -> Value {
    let line = |n: u32, code: &str, cnt: &str, pric: &str, amount: &str| {
        json!({
            "feedetl_sn": format!("{sn}{n}"), "mdtrt_id": mdtrt_id, "psn_no": psn_no, "chrg_bchno": batch,
            "fee_ocur_time": "2026-07-10 08:50:00", "med_list_codg": code, "medins_list_codg": format!("M{n}"),
            "det_item_fee_sumamt": amount, "cnt": cnt, "pric": pric, "bilg_dept_codg": "0301",
            "bilg_dept_name": "内科", "bilg_dr_codg": "D01", "bilg_dr_name": "李医生", "hosp_appr_flag": "0",
        })
    };
    json!({ "feedetail": [line(1, CLASS_A, "4", "12.5", "50.00"), line(2, CLASS_B, "5", "28.60", "143.00")] })
}

/// 2206 for [`lines`].
pub(crate) fn price(mdtrt_id: &str, psn_no: &str, acct_used_flag: &str) -> Value {
    let (insutype, certno) = insured(psn_no);
    json!({ "data": {
        "psn_no": psn_no, "mdtrt_cert_type": "02", "mdtrt_cert_no": certno, "med_type": "11",
        "medfee_sumamt": "193.00", "psn_setlway": "01", "mdtrt_id": mdtrt_id, "chrg_bchno": "B1",
        "acct_used_flag": acct_used_flag, "insutype": insutype,
    } })
}

/// 2207 for [`lines`].
pub(crate) fn settle(mdtrt_id: &str, psn_no: &str, acct_used_flag: &str, invono: &str) -> Value {
    let mut input = price(mdtrt_id, psn_no, acct_used_flag);
    for (name, value) in [
        ("invono", invono),
        ("fulamt_ownpay_amt", "0.00"),
        ("overlmt_selfpay", "0"),
        ("preselfpay_amt", "14.30"),
        ("inscp_scp_amt", "178.70"),
    ] {
        input["data"][name] = Value::from(value);
    }
    input
}

pub(crate) fn undo(setl_id: &str, mdtrt_id: &str, psn_no: &str) -> Value {
    json!({ "data": { "setl_id": setl_id, "mdtrt_id": mdtrt_id, "psn_no": psn_no } })
}

pub(crate) fn reverse(omsgid: &str, psn_no: &str) -> Value {
    json!({ "data": { "psn_no": psn_no, "omsgid": omsgid, "oinfno": "2207" } })
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

pub(crate) fn refusal(answer: &Value) -> (i64, String) {
    let infcode = answer["infcode"].as_i64().expect("a number");
    assert_ne!(infcode, 0, "must be refused: {answer}");
    (infcode, text(&answer["err_msg"]))
}
