//! The running city.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::child::{Child, Recipe};
use super::founding::{self, Addresses, Founded, Ground, Programs, SMS_KEY};
use super::mishaps;
use super::options::{COMPRESSED, Options, Profile};
use super::plan::CITIES;
use crate::bureau::config::Latency;
use crate::fault::Rule;
use crate::people::outside::Outside;
use crate::people::payment::{Ended, Member};
use crate::people::person::Person;
use crate::people::phone::Entrance;

/// How many people settle in at the same time.
const AT_ONCE: usize = 6;

/// The platform's name among the children.
pub const PLATFORM: &str = "platform";

/// A city that runs. Dropping it kills its children; [`City::stop`] lets them finish and save.
pub struct City {
    /// What was chosen.
    pub options: Options,
    /// The deadlines it lives by.
    pub profile: Profile,
    pub(super) ground: Ground,
    pub(super) programs: Programs,
    pub(super) founded: Founded,
    pub(super) addresses: Addresses,
    pub(super) his_url: String,
    pub(super) client: reqwest::Client,
    pub(super) outside: Outside,
    children: tokio::sync::Mutex<BTreeMap<String, Child>>,
    /// Children that were killed and not started again.
    gone: Mutex<BTreeMap<String, Recipe>>,
    /// Who is logged in and free to be treated, by area code.
    pub(super) free: Mutex<BTreeMap<String, VecDeque<Arc<Member>>>>,
    pub(super) freed: tokio::sync::Notify,
    pub(super) ended: Mutex<Vec<Ended>>,
    /// Where payments stand in the seed's dice.
    pub(super) rolled: Mutex<u64>,
    entrances: std::sync::atomic::AtomicUsize,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A further replica's name among the children: the first is [`PLATFORM`].
pub fn replica_name(number: usize) -> String {
    format!("{PLATFORM}-{number}")
}

/// An adapter's name among the children.
pub fn adapter_name(institution: &str) -> String {
    format!("adapter-{institution}")
}

struct Starter<'a> {
    ground: &'a Ground,
    founded: &'a mut Founded,
    children: BTreeMap<String, Child>,
}

impl Starter<'_> {
    /// Starts a child at the port it had before, and keeps the port it got.
    async fn start(
        &mut self,
        name: &str,
        program: &std::path::Path,
        mut args: Vec<String>,
        env: Vec<(String, String)>,
        listens: bool,
    ) -> io::Result<String> {
        if listens {
            let port = self.founded.ports.get(name).copied().unwrap_or(0);
            args.extend(["--listen".to_owned(), format!("127.0.0.1:{port}")]);
        }
        let mut recipe =
            Recipe { name: name.to_owned(), program: program.to_owned(), args, env, log: self.ground.log(name) };
        let mut child = recipe.start().await?;
        if let Some(port) = child.port() {
            self.founded.ports.insert(name.to_owned(), port);
            // Killed and started again, it must be found where it was.
            if listens && let Some(address) = recipe.args.last_mut() {
                *address = format!("127.0.0.1:{port}");
            }
        }
        self.ground.keep(self.founded)?;
        let url = child.url.clone();
        child.recipe = recipe;
        self.children.insert(name.to_owned(), child);
        Ok(url)
    }
}

impl Starter<'_> {
    /// Killed and started again, a replica must be found where it was.
    fn keep_port(&mut self, name: &str) {
        if let (Some(child), Some(port)) = (self.children.get_mut(name), self.founded.ports.get(name)) {
            let listen = child.recipe.env.iter_mut().find(|(setting, _)| setting == "TONGFU__HTTP__LISTEN");
            if let Some((_, address)) = listen {
                *address = format!("127.0.0.1:{port}");
            }
        }
    }
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

impl City {
    /// Starts a city in `options.dir` (`./city` when absent): founds it if the folder is empty, else goes on where it
    /// was. Everything listens on free ports of the loopback. People are not logged in yet: [`City::settle_in`].
    pub async fn start(options: Options) -> io::Result<City> {
        // Another part of this process may have installed it already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let profile = options.profile.unwrap_or(COMPRESSED);
        let programs = Programs::find(&options)?;
        let ground =
            Ground::prepare(&options.dir.clone().unwrap_or_else(|| PathBuf::from("city")), &options.platform_env)?;
        let client = reqwest::Client::builder().no_proxy().build().map_err(io::Error::other)?;
        let mut founded = match ground.founded()? {
            Some(founded) => founded,
            None => founding::conceive(&options),
        };
        ground.keep(&founded)?;
        let mut starter = Starter { ground: &ground, founded: &mut founded, children: BTreeMap::new() };

        let addresses = parties(&mut starter, &programs, &options).await?;
        let port = starter.founded.ports.get(PLATFORM).copied().unwrap_or(0);
        ground.write("platform/platform.toml", &toml(&profile, &ground, port))?;
        founding::found(&ground, &programs, starter.founded, &addresses, &client).await?;
        let serve = vec!["--config".to_owned(), ground.at("platform/platform.toml"), "serve".to_owned()];
        let env = options.platform_env.clone();
        let platform_url = starter.start(PLATFORM, &programs.platform, serve.clone(), env, false).await?;
        let port = starter.founded.ports.get(PLATFORM).copied().unwrap_or(0);
        ground.write("platform/platform.toml", &toml(&profile, &ground, port))?;
        founding::register(starter.founded, &addresses, &platform_url, &client).await?;

        let mut platforms = vec![platform_url.clone()];
        for number in 2..=options.replicas {
            let name = replica_name(number);
            let port = starter.founded.ports.get(&name).copied().unwrap_or(0);
            let mut env = options.platform_env.clone();
            env.push(("TONGFU__HTTP__LISTEN".to_owned(), format!("127.0.0.1:{port}")));
            // Notices come to the first; any of them would do.
            env.push(("TONGFU__HTTP__PUBLIC_URL".to_owned(), platform_url.clone()));
            platforms.push(starter.start(&name, &programs.platform, serve.clone(), env, false).await?);
            starter.keep_port(&name);
        }

        let mut adapters = BTreeMap::new();
        for (number, hospital) in CITIES.iter().flat_map(|city| city.hospitals).enumerate() {
            let platform_url = &platforms[number % platforms.len()];
            let link = options.link_via.clone().unwrap_or_else(|| platform_url.replacen("http", "ws", 1));
            let link = format!("{link}/link/v1");
            let args = words(&["run", "--dir", &ground.at(&format!("adapter-{}", hospital.code))]);
            let name = adapter_name(hospital.code);
            let url = starter.start(&name, &programs.adapter, args, adapter_env(&link), true).await?;
            adapters.insert(hospital.code.to_owned(), url);
        }
        let config =
            founding::his_config(starter.founded, &addresses, &adapters, options.catalogue.as_deref(), &profile);
        std::fs::create_dir_all(ground.dir.join("his"))?;
        let config = ground.write("his/config.json", &config.to_string())?;
        let args = words(&["his", "--config", &config, "--state", &ground.at("his/state.json")]);
        let his_url = starter.start("his", &programs.sandbox, args, Vec::new(), true).await?;

        let children = starter.children;
        let outside =
            Outside::new(client.clone(), &addresses.sms, &addresses.wallet, &his_url).with_bureaus(&addresses.bureaus);
        Ok(City {
            options,
            profile,
            ground,
            programs,
            founded,
            addresses,
            his_url,
            client,
            outside,
            children: tokio::sync::Mutex::new(children),
            gone: Mutex::default(),
            free: Mutex::default(),
            freed: tokio::sync::Notify::new(),
            ended: Mutex::default(),
            rolled: Mutex::new(0),
            entrances: std::sync::atomic::AtomicUsize::new(0),
        })
    }

    /// Logs everybody in and binds them, some also at the hospitals' windows.
    pub async fn settle_in(&self) -> io::Result<()> {
        self.bind_visit_cards().await?;
        let deadline = Instant::now() + Duration::from_secs(300);
        let mut to_settle: Vec<(&str, Person)> = Vec::new();
        for city in &CITIES {
            let crowd = self.founded.crowd(city.admdvs);
            to_settle.extend(crowd.into_iter().map(|person| (city.admdvs, person)));
        }
        let settling = to_settle.into_iter().map(|(admdvs, person)| async move {
            let entrance = self.entrance(admdvs).await?;
            let number = person.number;
            let member = Member::settle_in(person, &entrance, &self.outside, deadline).await;
            let member = member.map_err(|trouble| {
                io::Error::other(format!("{admdvs} 第{number}人未能登录绑定 person {number} is not bound: {trouble}"))
            })?;
            Ok::<_, io::Error>((admdvs, number, Arc::new(member)))
        });
        let mut settled: Vec<_> = futures_util::TryStreamExt::try_collect::<Vec<_>>(
            futures_util::StreamExt::buffer_unordered(futures_util::stream::iter(settling), AT_ONCE),
        )
        .await?;
        // In the order of their numbers, whoever was quickest: the same seed is the same story.
        settled.sort_by_key(|(admdvs, number, _)| (*admdvs, *number));
        let mut free = lock(&self.free);
        for (admdvs, _, member) in settled {
            free.entry(admdvs.to_owned()).or_default().push_back(member);
        }
        Ok(())
    }

    /// The way in for the people of one area; those who come in turn begin at the replicas in turn.
    pub async fn entrance(&self, admdvs: &str) -> io::Result<Entrance> {
        let tenant = self.founded.tenants.get(admdvs).ok_or_else(|| io::Error::other("no such tenant"))?;
        let mut platform_urls = self.platform_urls();
        if platform_urls.is_empty() {
            return Err(io::Error::other("the platform never ran"));
        }
        let turn = self.entrances.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let first = turn % platform_urls.len();
        platform_urls.rotate_left(first);
        Ok(Entrance { platform_urls, channel_key: tenant.channel_key.clone() })
    }

    /// Where the platform's replicas listen, the first one first.
    pub fn platform_urls(&self) -> Vec<String> {
        let names = (1..=self.options.replicas.max(1))
            .map(|number| if number == 1 { PLATFORM.to_owned() } else { replica_name(number) });
        names.filter_map(|name| self.founded.ports.get(&name)).map(|port| format!("http://127.0.0.1:{port}")).collect()
    }

    /// Everybody there is in one area, logged in or not.
    pub fn crowd(&self, admdvs: &str) -> Vec<Person> {
        self.founded.crowd(admdvs)
    }

    /// What people touch besides the phone.
    pub fn outside(&self) -> &Outside {
        &self.outside
    }

    /// What a hospital's HIS shows its adapter.
    pub fn adapter_api_key(&self, institution: &str) -> Option<&str> {
        self.founded.adapters.get(institution).map(|keys| keys.api_key.as_str())
    }

    /// Where the platform listens.
    pub async fn platform_url(&self) -> io::Result<String> {
        let port = self.founded.ports.get(PLATFORM).ok_or_else(|| io::Error::other("the platform never ran"))?;
        Ok(format!("http://127.0.0.1:{port}"))
    }

    /// Tells the counterparties to let things go wrong; 0 tells them to stop.
    pub async fn set_faults(&self, ppm: u32) -> io::Result<()> {
        let bureaus = self.addresses.bureaus.values().map(|url| (url, mishaps::bureau(ppm)));
        let others = [
            (&self.addresses.wallet, mishaps::wallet(ppm)),
            (&self.his_url, mishaps::his(ppm)),
            (&self.addresses.sms, mishaps::sms(ppm)),
        ];
        for (url, rules) in bureaus.chain(others) {
            self.faults_of(url, if ppm == 0 { Vec::new() } else { rules }).await?;
        }
        Ok(())
    }

    /// Replaces the fault rules of one counterparty by its address.
    pub async fn faults_of(&self, url: &str, rules: Vec<Rule>) -> io::Result<()> {
        let url = format!("{url}/sandbox/faults");
        self.client.delete(&url).send().await.map_err(io::Error::other)?;
        self.client.post(&url).json(&json!(rules)).send().await.map_err(io::Error::other)?;
        Ok(())
    }

    /// Replaces the fault rules of every bureau.
    pub async fn bureau_faults(&self, rules: &[Rule]) -> io::Result<()> {
        for url in self.addresses.bureaus.values() {
            self.faults_of(url, rules.to_vec()).await?;
        }
        Ok(())
    }

    /// Makes every bureau as slow as this, and bounds how many messages it takes at once.
    pub async fn bureau_latency(&self, latency: &Latency) -> io::Result<()> {
        for url in self.addresses.bureaus.values() {
            let url = format!("{url}/sandbox/latency");
            let answer = self.client.put(&url).json(latency).send().await.map_err(io::Error::other)?;
            answer.error_for_status().map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Replaces the fault rules of the hospitals' systems.
    pub async fn his_faults(&self, rules: &[Rule]) -> io::Result<()> {
        self.faults_of(&self.his_url, rules.to_vec()).await
    }

    /// How often faults have struck, over all counterparties.
    pub async fn faults_struck(&self) -> io::Result<u64> {
        let mut struck = 0;
        for url in self.party_urls() {
            struck += self.get(&format!("{url}/sandbox/faults")).await?["struck"].as_u64().unwrap_or(0);
        }
        Ok(struck)
    }

    fn party_urls(&self) -> impl Iterator<Item = &String> {
        self.addresses.bureaus.values().chain([&self.addresses.wallet, &self.addresses.sms, &self.his_url])
    }

    pub(super) async fn get(&self, url: &str) -> io::Result<Value> {
        let response = self.client.get(url).send().await.map_err(io::Error::other)?;
        response.json().await.map_err(io::Error::other)
    }

    /// Where everything is: name, address, process id.
    pub async fn places(&self) -> Vec<(String, String, Option<u32>)> {
        let children = self.children.lock().await;
        children.iter().map(|(name, child)| (name.clone(), child.url.clone(), child.pid())).collect()
    }

    /// The folder of the city, with the logs below it.
    pub fn dir(&self) -> &std::path::Path {
        &self.ground.dir
    }

    /// SIGKILL to one child. It stays away until [`City::restart`].
    pub async fn kill(&self, name: &str) -> io::Result<()> {
        let child = self.children.lock().await.remove(name);
        let child = child.ok_or_else(|| io::Error::other(format!("{name} does not run")))?;
        let recipe = child.kill().await?;
        lock(&self.gone).insert(name.to_owned(), recipe);
        Ok(())
    }

    /// Starts a killed child again, where it was.
    pub async fn restart(&self, name: &str) -> io::Result<()> {
        let recipe = lock(&self.gone).remove(name);
        let recipe = recipe.ok_or_else(|| io::Error::other(format!("{name} was not killed")))?;
        let child = recipe.start().await?;
        self.children.lock().await.insert(name.to_owned(), child);
        Ok(())
    }

    /// SIGKILL to the platform.
    pub async fn kill_platform(&self) -> io::Result<()> {
        self.kill(PLATFORM).await
    }

    /// Starts the platform again.
    pub async fn restart_platform(&self) -> io::Result<()> {
        self.restart(PLATFORM).await
    }

    /// SIGKILL to one hospital's adapter.
    pub async fn kill_adapter(&self, institution: &str) -> io::Result<()> {
        self.kill(&adapter_name(institution)).await
    }

    /// Starts it again.
    pub async fn restart_adapter(&self, institution: &str) -> io::Result<()> {
        self.restart(&adapter_name(institution)).await
    }

    /// The process id of a child.
    pub async fn pid(&self, name: &str) -> Option<u32> {
        self.children.lock().await.get(name)?.pid()
    }

    /// Processor milliseconds and peak memory in KiB of the running platform.
    pub async fn platform_figures(&self) -> (Option<u64>, Option<u64>) {
        let children = self.children.lock().await;
        let platform = children.get(PLATFORM);
        (platform.and_then(Child::cpu_ms), platform.and_then(Child::peak_kib))
    }

    /// The process ids of everything that runs, by name.
    pub async fn pids(&self) -> BTreeMap<String, u32> {
        let children = self.children.lock().await;
        children.iter().filter_map(|(name, child)| Some((name.clone(), child.pid()?))).collect()
    }

    /// Everybody who is logged in, by area code; they are taken out of the crowd that [`City::pay`] draws from.
    pub fn take_everybody(&self) -> BTreeMap<String, Vec<Arc<Member>>> {
        let free = std::mem::take(&mut *lock(&self.free));
        free.into_iter().map(|(admdvs, members)| (admdvs, members.into())).collect()
    }

    /// The names of children that ended by themselves.
    pub async fn fallen(&self) -> Vec<String> {
        let mut children = self.children.lock().await;
        children.iter_mut().filter_map(|(name, child)| child.has_ended().then(|| name.clone())).collect()
    }

    /// A question to the platform's command line that can be asked again and again.
    pub fn platform_cli_recipe(&self, args: &[&str]) -> Recipe {
        self.ground.platform_cli(&self.programs, args)
    }

    /// Asks the platform's command line.
    pub async fn platform_cli(&self, args: &[&str], may_fail: bool) -> io::Result<Value> {
        self.ground.platform_cli(&self.programs, args).answer(may_fail).await
    }

    /// Logs everybody out and stops every child: the platform first, so that nobody is told of anything any more.
    pub async fn stop(self) -> io::Result<()> {
        lock(&self.free).clear();
        let mut children = self.children.into_inner();
        let mut first = Ok(());
        let mut order: Vec<String> = children.keys().cloned().collect();
        order.sort_by_key(|name| match name.as_str() {
            PLATFORM => 0,
            name if name.starts_with(PLATFORM) => 0,
            name if name.starts_with("adapter-") => 1,
            "his" => 2,
            _ => 3,
        });
        for name in order {
            if let Some(child) = children.remove(&name) {
                first = first.and(child.stop().await);
            }
        }
        first
    }
}

async fn parties(starter: &mut Starter<'_>, programs: &Programs, options: &Options) -> io::Result<Addresses> {
    let ground = starter.ground;
    let seed = starter.founded.seed.to_string();
    let mut bureaus = BTreeMap::new();
    for city in &CITIES {
        let name = format!("bureau-{}", city.admdvs);
        let state = ground.at(&format!("{name}.json"));
        let mut args = words(&["bureau", "--state", &state, "--seed", &seed]);
        if let Some(folder) = &options.catalogue {
            args.extend(["--catalogue".to_owned(), folder.display().to_string()]);
        }
        let url = starter.start(&name, &programs.sandbox, args, Vec::new(), true).await?;
        bureaus.insert(city.admdvs.to_owned(), url);
    }
    let (keys, state) = (ground.at("wallet"), ground.at("wallet.json"));
    // Notices are repeated a hundred times sooner, as everything here.
    let args = words(&["wallet", "--keys", &keys, "--state", &state, "--seed", &seed, "--notify-scale", "0.01"]);
    let wallet = starter.start("wallet", &programs.sandbox, args, Vec::new(), true).await?;
    let state = ground.at("sms.json");
    let args = words(&["sms", "--state", &state, "--seed", &seed, "--key", SMS_KEY]);
    let sms = starter.start("sms", &programs.sandbox, args, Vec::new(), true).await?;
    Ok(Addresses { bureaus, wallet, sms })
}

fn toml(profile: &Profile, ground: &Ground, port: u16) -> String {
    profile.platform_toml(&ground.dir.join("platform"), &format!("127.0.0.1:{port}"))
}

fn adapter_env(link: &str) -> Vec<(String, String)> {
    [
        ("LINK__PLATFORM", link),
        ("LINK__RECONNECT_FIRST_MS", "100"),
        ("LINK__RECONNECT_MOST_MS", "1000"),
        ("LINK__RESEND_MS", "2000"),
        ("LINK__ANSWER_WAIT_MS", "5000"),
        ("WORK__AGAIN_MS", "1500"),
    ]
    .into_iter()
    .map(|(name, value)| (format!("TONGFU_ADAPTER_{name}"), value.to_owned()))
    .collect()
}
