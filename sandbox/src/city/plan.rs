//! The cities: fictional names and area codes, in the shape of real ones.

use crate::bureau::HospLevel;

/// One hospital of a city.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HospitalPlan {
    /// National institution code.
    pub code: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The district it lies in.
    pub admdvs: &'static str,
    /// Its level.
    pub level: HospLevel,
    /// Its own merchant number at the wallet.
    pub sub_mchid: &'static str,
}

/// One city: a tenant of the platform with a bureau of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CityPlan {
    /// 6-digit area code.
    pub admdvs: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The app through which its people reach the platform.
    pub channel: &'static str,
    /// Its hospitals.
    pub hospitals: &'static [HospitalPlan],
}

impl CityPlan {
    /// The platform's credential at this city's bureau.
    pub fn platform_paasid(&self) -> String {
        format!("tongfu-{}", self.admdvs)
    }

    /// The platform's own institution there, for messages that belong to no hospital.
    pub fn platform_institution(&self) -> String {
        format!("P{}00000", self.admdvs)
    }
}

/// 东湾市 is shaped after Dongguan, 恩江州 after Enshi. Neither exists.
pub const CITIES: [CityPlan; 2] = [
    CityPlan {
        admdvs: "449100",
        name: "东湾市（虚构）",
        channel: "东湾通",
        hospitals: &[
            HospitalPlan {
                code: "H44910100001",
                name: "东湾市第一人民医院（虚构）",
                admdvs: "449101",
                level: HospLevel::Third,
                sub_mchid: "1900000109",
            },
            HospitalPlan {
                code: "H44910200002",
                name: "东湾市松湖医院（虚构）",
                admdvs: "449102",
                level: HospLevel::Second,
                sub_mchid: "1900000110",
            },
        ],
    },
    CityPlan {
        admdvs: "429100",
        name: "恩江州（虚构）",
        channel: "恩江办",
        hospitals: &[HospitalPlan {
            code: "H42910100001",
            name: "恩江州中心医院（虚构）",
            admdvs: "429101",
            level: HospLevel::Third,
            sub_mchid: "1900000201",
        }],
    },
];
