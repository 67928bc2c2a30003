//! What can be chosen about a city, and the deadlines it lives by.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use schema::money::Fen;
use serde::Serialize;

/// The usual share of calls that go wrong, in parts per million of each kind of call.
pub const FAULTS_PPM: u32 = 30_000;

/// `sandbox city`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Run this many payments and stop; without it the city lives until Ctrl-C.
    #[arg(long)]
    pub payments: Option<u32>,
    /// Feeds all dice: people, bills, stories, faults.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// One JSON object on standard output instead of words.
    #[arg(long)]
    pub json: bool,
    /// Share of calls of every kind that go wrong, in parts per million; 0 for none.
    #[arg(long, default_value_t = FAULTS_PPM)]
    pub faults_ppm: u32,
    /// Payments at the same time.
    #[arg(long, default_value_t = 12)]
    pub concurrency: usize,
    /// Nobody changes their mind, loses a card or walks to the window.
    #[arg(long)]
    pub plain: bool,
    /// People with phones; chosen by the number of payments when absent.
    #[arg(long)]
    pub people: Option<u32>,
    /// Folder with the national codes (drugs.csv, service-items.csv, icd10-categories.csv).
    #[arg(long)]
    pub catalogue: Option<PathBuf>,
    /// Where everything is kept: ./city, or with --payments a directory that is removed afterwards.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// The platform's program; the one beside this program when absent.
    #[arg(long)]
    pub platform_bin: Option<PathBuf>,
    /// The hospital adapter's program; the one beside this program when absent.
    #[arg(long)]
    pub adapter_bin: Option<PathBuf>,
    /// The program that plays the counterparties; the one beside this program when absent.
    #[arg(long)]
    pub sandbox_bin: Option<PathBuf>,
    /// Where adapters dial instead of the platform (`ws://127.0.0.1:PORT`), for those who stand between.
    #[arg(skip)]
    pub link_via: Option<String>,
    /// The deadlines; [`COMPRESSED`] when absent.
    #[arg(skip)]
    pub profile: Option<Profile>,
    /// Settings of the platform over its file, as environment: which engines it lives on.
    #[arg(skip)]
    pub platform_env: Vec<(String, String)>,
    /// What every employee's personal account holds at first, where a city is founded; by dice when absent.
    #[arg(skip)]
    pub account: Option<Fen>,
    /// Platform processes; more than one only on engines that they can share.
    #[arg(skip = 1_usize)]
    pub replicas: usize,
}

impl Default for Options {
    /// What the command line says when nothing is given; for those who start a city from a test.
    fn default() -> Options {
        Options {
            payments: None,
            seed: 1,
            json: false,
            faults_ppm: FAULTS_PPM,
            concurrency: 12,
            plain: false,
            people: None,
            catalogue: None,
            dir: None,
            platform_bin: None,
            adapter_bin: None,
            sandbox_bin: None,
            link_via: None,
            profile: None,
            platform_env: Vec::new(),
            account: None,
            replicas: 1,
        }
    }
}

impl Options {
    /// How many people each city has.
    pub fn population(&self) -> u32 {
        let enough = u32::try_from(self.concurrency).unwrap_or(u32::MAX).saturating_mul(2);
        self.people.unwrap_or_else(|| (self.payments.unwrap_or(200) / 6).clamp(12, 300)).max(enough.min(300))
    }
}

/// The platform's deadlines and patience in this city, in milliseconds. Hours of the real world become seconds, so
/// that every deadline is really reached; their order stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// The hospital must have priced.
    pub price_ms: u64,
    /// A price lives.
    pub priced_ms: u64,
    /// A code lives.
    pub code_ms: u64,
    /// The bureau's limit for a lost 2207.
    pub bureau_limit_ms: u64,
    /// The second wait, after a reversal.
    pub after_reversal_ms: u64,
    /// Between two questions.
    pub ask_again_ms: u64,
    /// The payer must have paid in the wallet.
    pub collect_ms: u64,
    /// Between two questions to a silent wallet.
    pub ask_wallet_ms: u64,
    /// The hospital must have booked.
    pub tell_ms: u64,
    /// Undoing longer than this is shown to a person.
    pub patience_ms: u64,
    /// Cash on its way back longer than this is shown to a person.
    pub refund_ms: u64,
    /// One call to a party.
    pub party_timeout_ms: u64,
    /// One question on the link.
    pub link_timeout_ms: u64,
    /// How long a person follows one payment.
    pub person_ms: u64,
    /// How long everything may take to come to rest when nobody pays any more.
    pub rest_ms: u64,
    /// How long a fault keeps a HIS silent.
    pub his_silence_ms: u64,
}

/// The compressed profile.
pub const COMPRESSED: Profile = Profile {
    price_ms: 12_000,
    priced_ms: 12_000,
    code_ms: 8_000,
    bureau_limit_ms: 2_000,
    after_reversal_ms: 2_000,
    ask_again_ms: 500,
    collect_ms: 8_000,
    ask_wallet_ms: 1_000,
    tell_ms: 20_000,
    patience_ms: 60_000,
    refund_ms: 60_000,
    party_timeout_ms: 1_500,
    link_timeout_ms: 2_000,
    person_ms: 90_000,
    rest_ms: 90_000,
    his_silence_ms: 3_000,
};

impl Profile {
    /// The platform's settings file. `listen` is the address; everything lies in `dir`.
    pub fn platform_toml(&self, dir: &std::path::Path, listen: &str) -> String {
        let dir = dir.display();
        format!(
            "# Written by `sandbox city`; deadlines are compressed.\n\
             [http]\nlisten = \"{listen}\"\n\n\
             [store]\nurl = \"sqlite:{dir}/tongfu.db\"\n\n\
             [events]\nurl = \"file:{dir}/events.jsonl\"\n\n\
             [keys]\nmaster_file = \"{dir}/master.key\"\n\n\
             [deadlines]\nprice_ms = {}\npriced_ms = {}\ncode_ms = {}\nbureau_limit_ms = {}\nafter_reversal_ms = {}\n\
             ask_again_ms = {}\ncollect_ms = {}\nask_wallet_ms = {}\ntell_ms = {}\npatience_ms = {}\n\
             refund_ms = {}\n\n\
             [limits]\nparty_timeout_ms = {}\nlink_timeout_ms = {}\ncodes_per_day = 100000\n",
            self.price_ms,
            self.priced_ms,
            self.code_ms,
            self.bureau_limit_ms,
            self.after_reversal_ms,
            self.ask_again_ms,
            self.collect_ms,
            self.ask_wallet_ms,
            self.tell_ms,
            self.patience_ms,
            self.refund_ms,
            self.party_timeout_ms,
            self.link_timeout_ms,
        )
    }

    /// How long a person follows one payment.
    pub fn person(&self) -> Duration {
        Duration::from_millis(self.person_ms)
    }

    /// How long everything may take to come to rest.
    pub fn rest(&self) -> Duration {
        Duration::from_millis(self.rest_ms)
    }
}
