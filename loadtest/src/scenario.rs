//! How payments arrive, and what is wrong with the world meanwhile.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use sandbox::bureau::config::Latency;
use sandbox::city::City;
use sandbox::city::plan::CITIES;
use sandbox::fault::{Fault, Rule};

/// A day in the life of a city, or its worst minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// The same rate throughout.
    Steady,
    /// Monday, 08:30: from the mean to ten times the mean within a minute, and back.
    Surge,
    /// The mean for as long as it is told to.
    Soak,
    /// 16 hospitals and 650 pharmacies are connected, most of them idle.
    ManyInstitutions,
    /// One hospital's system answers after thirty seconds.
    SlowHospital,
    /// Bureaus as they are: seconds for a pre-settlement and a settlement, now and then half a minute, so many messages at
    /// once and no more, and "busy".
    RealBureau,
    /// Everybody outside fails often.
    FaultStorm,
    /// One of several platform processes is killed, while bureaus take a second, so that it holds something.
    LostReplica,
}

/// The hospital that is slow in [`Scenario::SlowHospital`].
const SLOW: &str = CITIES[0].hospitals[1].code;
/// How long it takes, in milliseconds.
const SLOW_MS: u64 = 30_000;
/// Half the way up, and half the way down.
const SURGE: Duration = Duration::from_secs(60);
const STORM_PPM: u32 = 120_000;
/// How long a bureau takes in [`Scenario::LostReplica`], in milliseconds.
const HELD_MS: u64 = 1_000;

/// How many messages a bureau takes at once in [`Scenario::RealBureau`].
const AT_ONCE: usize = 24;

fn late(operation: &str, delay_ms: u64) -> Rule {
    let operation = operation.to_owned();
    Rule { operation, subject: None, share_ppm: None, times: None, fault: Fault::Delay { delay_ms } }
}

impl Scenario {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::Steady => "steady",
            Scenario::Surge => "surge",
            Scenario::Soak => "soak",
            Scenario::ManyInstitutions => "many-institutions",
            Scenario::SlowHospital => "slow-hospital",
            Scenario::RealBureau => "real-bureau",
            Scenario::FaultStorm => "fault-storm",
            Scenario::LostReplica => "lost-replica",
        }
    }

    /// Whether what is measured is about the others: `slow-hospital` asks whether anybody else notices.
    pub(crate) fn stands_aside(self, institution: &str) -> bool {
        self == Scenario::SlowHospital && institution == SLOW
    }

    /// Whether payments that are not completed are what it is about.
    pub(crate) fn may_fail(self) -> bool {
        self == Scenario::FaultStorm
    }

    /// How many platform processes it needs, if that many were wanted.
    pub(crate) fn replicas(self, wanted: usize) -> usize {
        if self == Scenario::LostReplica { wanted.max(2) } else { wanted }
    }

    /// When the next payment arrives after one at `at`: a Poisson stream, whose rate may change with time.
    #[expect(clippy::float_arithmetic, reason = "a Poisson stream is drawn: time, not money")]
    pub(crate) fn next(self, at: Duration, mean_per_s: u32, dice: &mut ChaCha8Rng) -> Duration {
        let per_s = f64::from(mean_per_s.max(1)) * self.factor(at);
        let uniform: f64 = dice.random_range(f64::EPSILON..1.0);
        at + Duration::from_secs_f64(-uniform.ln() / per_s)
    }

    #[expect(clippy::float_arithmetic, reason = "a rate over time, not money")]
    fn factor(self, at: Duration) -> f64 {
        match self {
            Scenario::Surge => {
                let up = at.as_secs_f64() / SURGE.as_secs_f64();
                1.0 + 9.0 * (1.0 - (1.0 - up.min(2.0)).abs())
            }
            _ => 1.0,
        }
    }

    /// Makes the world what the scenario says.
    pub(crate) async fn prepare(self, city: &City) -> std::io::Result<()> {
        match self {
            Scenario::Steady | Scenario::Surge | Scenario::Soak | Scenario::ManyInstitutions => Ok(()),
            Scenario::LostReplica => {
                city.bureau_faults(&["2206", "2207"].map(|operation| late(operation, HELD_MS))).await
            }
            Scenario::FaultStorm => city.set_faults(STORM_PPM).await,
            Scenario::SlowHospital => {
                let rules = ["pre-settle", "settled", "release", "query"].map(|operation| Rule {
                    operation: operation.to_owned(),
                    subject: Some(SLOW.to_owned()),
                    share_ppm: None,
                    times: None,
                    fault: Fault::Delay { delay_ms: SLOW_MS },
                });
                city.his_faults(&rules).await
            }
            Scenario::RealBureau => {
                let late =
                    |operation, share_ppm, delay_ms| Rule { share_ppm: Some(share_ppm), ..late(operation, delay_ms) };
                let busy = |operation: &str| Rule {
                    operation: operation.to_owned(),
                    subject: None,
                    share_ppm: Some(20_000),
                    times: None,
                    fault: Fault::Busy,
                };
                let rules = vec![
                    busy("2206"),
                    busy("2207"),
                    late("2206", 10_000, 15_000),
                    late("2206", 500_000, 1_000),
                    late("2206", 1_000_000, 3_000),
                    late("2207", 10_000, 20_000),
                    late("2207", 500_000, 2_000),
                    late("2207", 1_000_000, 5_000),
                ];
                let at_once = Latency { max_concurrent: AT_ONCE, ..Latency::default() };
                city.bureau_latency(&at_once).await?;
                city.bureau_faults(&rules).await
            }
        }
    }
}
