//! What is made once and kept: ports, keys, tenants, channels, institutions, adapters.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use schema::money::Fen;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::child::Recipe;
use super::options::{Options, Profile};
use super::plan::{CITIES, CityPlan};
use crate::clock::random_hex;
use crate::people::person::{self, Person};
use crate::snapshot;

/// The programs of a city.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `platform`.
    pub platform: PathBuf,
    /// `hospital-adapter`.
    pub adapter: PathBuf,
    /// `sandbox`.
    pub sandbox: PathBuf,
}

impl Programs {
    /// Those named, else those beside this program (a test's program lies one folder deeper).
    pub fn find(options: &Options) -> io::Result<Programs> {
        let own = std::env::current_exe()?;
        let folder = own.parent().unwrap_or(Path::new("."));
        let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
        let beside = |named: &Option<PathBuf>, name: &str| {
            let program = named.clone().unwrap_or_else(|| folder.join(name));
            if program.is_file() {
                return Ok(program);
            }
            let shown = program.display();
            Err(io::Error::other(format!("缺少程序{shown}，请先构建 {shown} is missing: build it first")))
        };
        Ok(Programs {
            platform: beside(&options.platform_bin, "platform")?,
            adapter: beside(&options.adapter_bin, "hospital-adapter")?,
            sandbox: beside(&options.sandbox_bin, "sandbox")?,
        })
    }
}

/// What the founding of one tenant gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tenant {
    /// The platform's id of it.
    pub tenant_id: String,
    /// The app's key.
    pub channel_key: String,
}

/// What the founding of one adapter gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AdapterKeys {
    /// For the platform.
    pub public_key: String,
    /// For the HIS.
    pub api_key: String,
}

/// `city.json`: what a restarted city must find again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Founded {
    /// Feeds catalogue prices and people.
    pub seed: u64,
    /// How many people there are per city.
    pub people: u32,
    /// What every employee's personal account holds at first; by dice when absent.
    #[serde(default)]
    pub account: Option<Fen>,
    /// The platform's secret at the bureaus.
    pub platform_secret: String,
    /// The hospitals' secrets at their bureaus.
    pub his_secrets: BTreeMap<String, String>,
    /// Ports, by the child's name.
    pub ports: BTreeMap<String, u16>,
    /// By area code.
    pub tenants: BTreeMap<String, Tenant>,
    /// By institution code.
    pub adapters: BTreeMap<String, AdapterKeys>,
}

impl Founded {
    /// Everybody there is in one area.
    pub fn crowd(&self, admdvs: &str) -> Vec<Person> {
        let mut crowd = person::crowd(admdvs, self.people, self.seed);
        if let Some(account) = self.account {
            let employees = crowd.iter_mut().map(|person| &mut person.own.register);
            let employees = employees.filter(|own| own.insurances.iter().any(|one| one.insutype == "310"));
            employees.for_each(|own| own.balance_fen = account);
        }
        crowd
    }
}

/// Where a city lies on disk.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Everything is below it.
    pub dir: PathBuf,
    /// The platform's settings over its file.
    pub platform_env: Vec<(String, String)>,
}

impl Ground {
    /// Makes the folders of a city.
    pub fn prepare(dir: &Path, platform_env: &[(String, String)]) -> io::Result<Ground> {
        std::fs::create_dir_all(dir.join("logs"))?;
        std::fs::create_dir_all(dir.join("platform"))?;
        Ok(Ground { dir: dir.canonicalize()?, platform_env: platform_env.to_vec() })
    }

    /// What was founded here before; `None` in an empty folder.
    pub fn founded(&self) -> io::Result<Option<Founded>> {
        snapshot::load(&self.dir.join("city.json"))
    }

    /// Keeps it.
    pub fn keep(&self, founded: &Founded) -> io::Result<()> {
        snapshot::save(&self.dir.join("city.json"), founded)
    }

    /// A file or folder of the city, as an argument.
    pub fn at(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// The log of a child.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    /// Writes a file whole.
    pub fn write(&self, name: &str, content: &str) -> io::Result<String> {
        std::fs::write(self.dir.join(name), content)?;
        Ok(self.at(name))
    }

    /// A question to the platform's command line.
    pub fn platform_cli(&self, programs: &Programs, args: &[&str]) -> Recipe {
        let mut all = vec!["--config".to_owned(), self.at("platform/platform.toml"), "--json".to_owned()];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        Recipe {
            name: "platform-cli".to_owned(),
            program: programs.platform.clone(),
            args: all,
            env: self.platform_env.clone(),
            log: self.log("platform-cli"),
        }
    }
}

/// The parties' addresses, needed while tenants are created.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// By area code.
    pub bureaus: BTreeMap<String, String>,
    /// The wallet.
    pub wallet: String,
    /// The SMS gateway.
    pub sms: String,
}

/// A new city's people and secrets.
pub fn conceive(options: &Options) -> Founded {
    let hospitals = CITIES.iter().flat_map(|city| city.hospitals);
    Founded {
        seed: options.seed,
        people: options.population(),
        account: options.account,
        platform_secret: random_hex(16),
        his_secrets: hospitals.map(|hospital| (hospital.code.to_owned(), random_hex(16))).collect(),
        ..Founded::default()
    }
}

/// Creates tenants, channels, institutions and adapters where they are missing. The platform must not be running.
pub async fn found(
    ground: &Ground,
    programs: &Programs,
    founded: &mut Founded,
    addresses: &Addresses,
    client: &reqwest::Client,
) -> io::Result<()> {
    ground.platform_cli(programs, &["migrate"]).answer(false).await?;
    if !ground.dir.join("platform/master.key").exists() {
        ground.platform_cli(programs, &["keys", "init"]).answer(false).await?;
    }
    for city in &CITIES {
        if !founded.tenants.contains_key(city.admdvs) {
            let tenant = tenant(ground, programs, founded, city, addresses, client).await?;
            founded.tenants.insert(city.admdvs.to_owned(), tenant);
            ground.keep(founded)?;
        }
        let tenant_id = founded.tenants.get(city.admdvs).map(|tenant| tenant.tenant_id.clone()).unwrap_or_default();
        for hospital in city.hospitals {
            if founded.adapters.contains_key(hospital.code) {
                continue;
            }
            let keys = adapter(ground, programs, hospital.code).await?;
            let named = ["--tenant", &tenant_id, "--code", hospital.code];
            let mut create = vec!["institution", "create"];
            create.extend(named);
            create.extend(["--name", hospital.name, "--area", hospital.admdvs, "--sub-mchid", hospital.sub_mchid]);
            ground.platform_cli(programs, &create).answer(false).await?;
            let mut approve = vec!["institution", "approve"];
            approve.extend(named);
            approve.extend(["--key", &keys.public_key]);
            ground.platform_cli(programs, &approve).answer(false).await?;
            founded.adapters.insert(hospital.code.to_owned(), keys);
            ground.keep(founded)?;
        }
    }
    Ok(())
}

async fn tenant(
    ground: &Ground,
    programs: &Programs,
    founded: &Founded,
    city: &CityPlan,
    addresses: &Addresses,
    client: &reqwest::Client,
) -> io::Result<Tenant> {
    let bureau_url = addresses.bureaus.get(city.admdvs).cloned().unwrap_or_default();
    let keys = client.get(format!("{bureau_url}/sandbox/public-key")).send().await.map_err(io::Error::other)?;
    let keys: Value = keys.json().await.map_err(io::Error::other)?;
    let bureau = json!({
        "base_url": bureau_url,
        "paasid": city.platform_paasid(),
        "secret": founded.platform_secret,
        "sm2_public_key": keys["card_public_key"],
        "notice_public_key": keys["notice_public_key"],
        "mdtrtarea_admvs": city.admdvs,
        "dialect": {"sign_in": false, "fund_pay_sumamt_includes_acct": true, "query_by_mdtrt_id": true},
    });
    let credentials = std::fs::read(ground.dir.join("wallet/wallet-credentials.json"))?;
    let mut wallet: Value = serde_json::from_slice(&credentials)?;
    wallet["base_url"] = json!(addresses.wallet);
    let sms = json!({"base_url": addresses.sms, "key": SMS_KEY});
    let files = [("bureau", bureau), ("wallet", wallet), ("sms", sms)];
    let mut args = vec!["tenant", "create", "--area", city.admdvs, "--name", city.name];
    let mut paths = Vec::new();
    for (name, content) in files {
        let path = ground.write(&format!("platform/{}-{name}.json", city.admdvs), &content.to_string())?;
        paths.push((format!("--{name}"), path));
    }
    args.extend(paths.iter().flat_map(|(flag, path)| [flag.as_str(), path.as_str()]));
    // A founding that was broken off has created the tenant and not kept it: an area is one tenant.
    let tenants = ground.platform_cli(programs, &["tenant", "list"]).answer(false).await.unwrap_or_default();
    let before = tenants.as_array().and_then(|rows| rows.iter().find(|row| row["area"] == city.admdvs).cloned());
    let created = match before {
        Some(tenant) => tenant,
        None => ground.platform_cli(programs, &args).answer(false).await?,
    };
    let tenant_id = text(&created, "tenant_id")?;
    let args = ["channel", "create", "--tenant", &tenant_id, "--name", city.channel];
    let channel = ground.platform_cli(programs, &args).answer(false).await?;
    Ok(Tenant { tenant_id, channel_key: text(&channel, "channel_key")? })
}

/// What the platform shows the SMS gateway.
pub const SMS_KEY: &str = "sandbox-sms-key";

/// The link's address while nobody listens yet; the environment names the real one when the adapter runs.
const NOWHERE: &str = "ws://127.0.0.1:9/link/v1";

async fn adapter(ground: &Ground, programs: &Programs, code: &str) -> io::Result<AdapterKeys> {
    let dir = ground.at(&format!("adapter-{code}"));
    let args = ["init", "--dir", &dir, "--institution", code, "--platform", NOWHERE, "--json"];
    let recipe = Recipe {
        name: format!("adapter-{code}-init"),
        program: programs.adapter.clone(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: Vec::new(),
        log: ground.log(&format!("adapter-{code}")),
    };
    let made = recipe.answer(false).await?;
    Ok(AdapterKeys { public_key: text(&made, "public_key")?, api_key: text(&made, "api_key")? })
}

fn text(node: &Value, name: &str) -> io::Result<String> {
    let text = node[name].as_str().map(str::to_owned);
    text.ok_or_else(|| io::Error::other(format!("{name} 缺失 is missing in {node}")))
}

/// Tells every bureau who may call it, and who is insured there. `platform_url` is where its notices go. Repeating it
/// changes nothing else.
pub async fn register(
    founded: &Founded,
    addresses: &Addresses,
    platform_url: &str,
    client: &reqwest::Client,
) -> io::Result<()> {
    for city in &CITIES {
        let bureau_url = addresses.bureaus.get(city.admdvs).cloned().unwrap_or_default();
        let tenant_id = founded.tenants.get(city.admdvs).map(|tenant| tenant.tenant_id.as_str()).unwrap_or_default();
        let hospitals: Vec<Value> = city
            .hospitals
            .iter()
            .map(|hospital| {
                json!({"fixmedins_code": hospital.code, "fixmedins_name": hospital.name, "admdvs": hospital.admdvs,
                    "hosp_lv": hospital.level})
            })
            .collect();
        for hospital in &hospitals {
            let code = hospital["fixmedins_code"].as_str().unwrap_or_default();
            let secret = founded.his_secrets.get(code);
            let caller = json!({"paasid": format!("his-{code}"), "secret": secret, "kind": "hospital",
                "institutions": [hospital]});
            post(client, &format!("{bureau_url}/sandbox/callers"), &caller).await?;
        }
        let mut institutions = hospitals;
        institutions.push(json!({"fixmedins_code": city.platform_institution(), "fixmedins_name": "统付平台",
            "admdvs": city.admdvs, "hosp_lv": "3"}));
        let caller = json!({"paasid": city.platform_paasid(), "secret": founded.platform_secret, "kind": "platform",
            "institutions": institutions, "notice_url": format!("{platform_url}/bureau/v1/notices/{tenant_id}")});
        post(client, &format!("{bureau_url}/sandbox/callers"), &caller).await?;
        let people = founded.crowd(city.admdvs);
        let insured = people.iter().flat_map(|person| person.insured()).map(|insured| &insured.register);
        post(client, &format!("{bureau_url}/sandbox/persons"), &json!(insured.collect::<Vec<_>>())).await?;
    }
    Ok(())
}

async fn post(client: &reqwest::Client, url: &str, body: &Value) -> io::Result<Value> {
    let response = client.post(url).json(body).send().await.map_err(io::Error::other)?;
    let status = response.status();
    let answer: Value = response.json().await.unwrap_or_default();
    if status.is_success() { Ok(answer) } else { Err(io::Error::other(format!("{url}: {status} {answer}"))) }
}

/// The HIS's settings.
pub fn his_config(
    founded: &Founded,
    addresses: &Addresses,
    adapters: &BTreeMap<String, String>,
    catalogue: Option<&Path>,
    profile: &Profile,
) -> Value {
    let hospitals: Vec<Value> = CITIES
        .iter()
        .flat_map(|city| city.hospitals.iter().map(move |hospital| (city, hospital)))
        .map(|(city, hospital)| {
            json!({
                "code": hospital.code,
                "name": hospital.name,
                "admdvs": hospital.admdvs,
                "level": hospital.level,
                "bureau_url": addresses.bureaus.get(city.admdvs),
                "paasid": format!("his-{}", hospital.code),
                "secret": founded.his_secrets.get(hospital.code),
                "adapter_url": adapters.get(hospital.code),
                "adapter_api_key": founded.adapters.get(hospital.code).map(|keys| &keys.api_key),
                "bill_lives_s": 86_400,
            })
        })
        .collect();
    json!({"hospitals": hospitals, "catalogue": catalogue, "catalogue_seed": founded.seed, "seed": founded.seed,
        "silence_ms": profile.his_silence_ms})
}
