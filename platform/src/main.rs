//! `platform`: the centre. `platform --help` lists the subcommands; each takes `--config` and, where it answers with
//! data, `--json`. What goes wrong is told on stderr; with `--json` as one object with a stable `code` and a `sentence`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use platform::clock::{Clock as _, SystemClock};
use platform::domain::order::Inputs;
use platform::events::verify;
use platform::settings::events::{EventsUrl, KafkaUrl};
use platform::settings::{self, Settings};
use platform::startup::{self, CannotStart, Master};
use platform::store::migrations;
use platform::store::sql::{Access, SqlStore};
use platform::store::{ChannelRow, InstitutionRow, Store as _, Story};
use schema::ids::{ChannelId, InstitutionCode, OrderId, TenantId};
use schema::sign::PublicKey;
use serde_json::json;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// 统付平台 / the Tongfu platform.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// 设置文件 / settings file (TOML) over the default one
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// 以JSON输出 / answer in JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// 运行 / run until SIGINT or SIGTERM
    Serve,
    /// 升级表结构；可同时启动多个 / bring the tables to this version; several may start at once
    Migrate {
        /// 只显示将做什么 / only say what would be done
        #[arg(long, conflicts_with = "status")]
        dry_run: bool,
        /// 显示现状 / say what is there
        #[arg(long)]
        status: bool,
    },
    /// 主密钥 / the master secret
    #[command(subcommand)]
    Keys(KeysCommand),
    /// 统筹区 / tenants
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// 接入渠道 / channels
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// 定点医药机构 / institutions
    #[command(subcommand)]
    Institution(InstitutionCommand),
    /// 账务 / the books
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// 事件流 / the records published for reconciliation
    #[command(subcommand)]
    Events(EventsCommand),
    /// 订单 / orders
    #[command(subcommand)]
    Order(OrderCommand),
    /// 退费 / refunds
    #[command(subcommand)]
    Refund(RefundCommand),
    /// 状态图 / state diagrams, printed from the tables
    States {
        /// Mermaid text
        #[arg(long)]
        mermaid: bool,
    },
}

#[derive(Subcommand)]
enum KeysCommand {
    /// 生成主密钥文件 / make the key file that keys.master_file names
    Init,
}

#[derive(Subcommand)]
enum TenantCommand {
    /// 新增 / add one
    Create {
        /// 区划代码 / 6-digit area code
        #[arg(long)]
        area: String,
        /// 名称 / name
        #[arg(long)]
        name: String,
        /// 医保核心设置 / bureau settings (JSON file)
        #[arg(long)]
        bureau: PathBuf,
        /// 支付渠道设置 / wallet settings (JSON file)
        #[arg(long)]
        wallet: PathBuf,
        /// 短信设置 / SMS settings (JSON file)
        #[arg(long)]
        sms: PathBuf,
        /// 明细金额与单价×数量的容差（分） / how far a fee line may lie from price × count, in fen
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(0..=100))]
        line_tolerance_fen: i64,
    },
    /// 列出 / list
    List,
}

#[derive(Subcommand)]
enum ChannelCommand {
    /// 新增，密钥只显示一次 / add one; its key is shown once
    Create {
        /// 统筹区 / tenant
        #[arg(long)]
        tenant: TenantId,
        /// 名称 / name
        #[arg(long)]
        name: String,
    },
    /// 列出 / list, revoked ones too
    List {
        /// 统筹区 / tenant
        #[arg(long)]
        tenant: TenantId,
    },
    /// 吊销：不再接受登录，已登录者至会话到期为止 / revoke: nobody signs in through it any more; sessions end when they expire
    Revoke {
        /// 统筹区 / tenant
        #[arg(long)]
        tenant: TenantId,
        /// 渠道号 / channel id
        #[arg(long)]
        channel: ChannelId,
    },
}

#[derive(Subcommand)]
enum InstitutionCommand {
    /// 新增或修改，公钥与停用状态不变 / add or change one; its key and its suspension stay as they are
    Create {
        /// 统筹区 / tenant
        #[arg(long)]
        tenant: TenantId,
        /// 机构编码 / fixmedins_code
        #[arg(long)]
        code: InstitutionCode,
        /// 名称 / name
        #[arg(long)]
        name: String,
        /// 就医地区划 / mdtrtarea_admvs
        #[arg(long)]
        area: String,
        /// 特约商户号 / sub_mchid
        #[arg(long)]
        sub_mchid: String,
    },
    /// 批准适配器公钥，已有另一公钥时拒绝 / approve an adapter's public key; refused while another one is approved
    Approve {
        /// 统筹区 / tenant
        #[arg(long)]
        tenant: TenantId,
        /// 机构编码 / fixmedins_code
        #[arg(long)]
        code: InstitutionCode,
        /// 公钥 / public key, Base64
        #[arg(long)]
        key: String,
    },
    /// 更换适配器公钥 / replace the key; the old one's link ends as soon as the new one connects, or within a heartbeat
    Rotate {
        /// 统筹区 / tenant
        #[arg(long)]
        tenant: TenantId,
        /// 机构编码 / fixmedins_code
        #[arg(long)]
        code: InstitutionCode,
        /// 公钥 / public key, Base64
        #[arg(long)]
        key: String,
    },
    /// 停用：不再受理新账单与新订单，未完成的照常办结 / suspend: no new bills or orders; what is out is finished
    Suspend {
        /// 统筹区 / tenant
        #[arg(long)]
        tenant: TenantId,
        /// 机构编码 / fixmedins_code
        #[arg(long)]
        code: InstitutionCode,
    },
    /// 恢复 / resume a suspended one
    Resume {
        /// 统筹区 / tenant
        #[arg(long)]
        tenant: TenantId,
        /// 机构编码 / fixmedins_code
        #[arg(long)]
        code: InstitutionCode,
    },
    /// 列出 / list
    List {
        /// 统筹区 / tenant
        #[arg(long)]
        tenant: TenantId,
    },
}

#[derive(Subcommand)]
enum LedgerCommand {
    /// 核对全部账务不变量 / check every invariant over everything stored; exit 1 if one is broken
    Verify,
    /// 各科目余额：已汇总与未汇总 / every account's balance: what is rolled up, and the rest
    Balances {
        /// 统筹区，缺省为全部 / tenant; all of them if none is named
        #[arg(long)]
        tenant: Option<TenantId>,
    },
}

#[derive(Subcommand)]
enum EventsCommand {
    /// 证明events.url中的事件与库中历史一致；不一致时逐条列出并以1退出 / prove that what events.url names is the store's
    /// history; exit 1 with every finding if it is not
    Verify {
        /// 等候尚未发布的记录最多多少秒 / wait for records that are not published yet, at most so many seconds
        #[arg(long, default_value_t = 10)]
        wait: u64,
    },
    /// 打印AsyncAPI文档 / print the AsyncAPI document of what events.url names
    Asyncapi,
}

#[derive(Subcommand)]
enum OrderCommand {
    /// 订单全过程 / the whole story of one order
    Show {
        /// 订单号 / order id
        id: OrderId,
    },
    /// 列出 / list
    List {
        /// 租户 / of one tenant
        #[arg(long)]
        tenant: Option<TenantId>,
        /// 状态 / public state
        #[arg(long)]
        state: Option<String>,
        /// 最多行数 / at most
        #[arg(long, default_value_t = 100)]
        most: u32,
    },
}

#[derive(Subcommand)]
enum RefundCommand {
    /// 列出 / list
    List {
        /// 状态 / state: undoing_insurance, asking_undo, returning_cash, done, refused, suspended
        #[arg(long)]
        state: Option<String>,
        /// 最多行数 / at most
        #[arg(long, default_value_t = 100)]
        most: u32,
    },
}

/// Why a command came to nothing.
struct Failure {
    code: Wrong,
    sentence: String,
}

/// What was wrong, for programs.
#[derive(Clone, Copy)]
enum Wrong {
    /// An argument.
    Invalid,
    /// It names something that is not there.
    NotFound,
    /// It would replace or repeat something that must not be.
    Conflict,
    /// Settings, key file or store cannot be used.
    Unavailable,
}

impl Wrong {
    const fn code(self) -> &'static str {
        match self {
            Wrong::Invalid => "INVALID",
            Wrong::NotFound => "NOT_FOUND",
            Wrong::Conflict => "CONFLICT",
            Wrong::Unavailable => "UNAVAILABLE",
        }
    }

    fn because(self, sentence: impl std::fmt::Display) -> Failure {
        Failure { code: self, sentence: sentence.to_string() }
    }
}

impl From<CannotStart> for Failure {
    fn from(cannot: CannotStart) -> Failure {
        Wrong::Unavailable.because(cannot)
    }
}

impl Failure {
    fn tell(&self, as_json: bool) {
        if as_json {
            eprintln!("{}", json!({ "code": self.code.code(), "sentence": self.sentence }));
        } else {
            eprintln!("{}", self.sentence);
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unread(&error),
    };
    match run(&cli) {
        Ok(code) => code,
        Err(failure) => {
            failure.tell(cli.json);
            ExitCode::FAILURE
        }
    }
}

/// Arguments that do not parse; or what was asked for is the help itself.
fn unread(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        Wrong::Invalid.because(error.to_string().trim_end()).tell(true);
    } else {
        // Nobody is left to be told that stderr is closed.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    if let Command::States { .. } = cli.command {
        print!("{}", platform::domain::diagram::mermaid().join("\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let settings = settings::read(cli.config.as_deref()).map_err(said)?;
    match &cli.command {
        Command::Serve => serve(settings),
        Command::Migrate { dry_run, status } => migrate(cli, &settings, *dry_run || *status),
        Command::Keys(KeysCommand::Init) => {
            Master::init(settings.keys.master_file.as_ref(), &SystemClock::new())?;
            answer(cli, &json!({ "master_file": settings.keys.master_file }))
        }
        Command::Tenant(command) => tenant(cli, &settings, command),
        Command::Channel(command) => channel(cli, &settings, command),
        Command::Institution(command) => institution(cli, &settings, command),
        Command::Ledger(LedgerCommand::Verify) => verify(cli, &settings),
        Command::Events(EventsCommand::Verify { wait }) => verify_events(cli, &settings, *wait),
        Command::Events(EventsCommand::Asyncapi) => asyncapi(cli, &settings),
        Command::Ledger(LedgerCommand::Balances { tenant }) => balances(cli, &settings, *tenant),
        Command::Order(command) => order(cli, &settings, command),
        Command::Refund(RefundCommand::List { state, most }) => refunds(cli, &settings, state.as_deref(), *most),
        Command::States { .. } => Ok(ExitCode::SUCCESS),
    }
}

fn said(error: impl std::fmt::Display) -> Failure {
    Wrong::Unavailable.because(error)
}

fn answer(cli: &Cli, value: &serde_json::Value) -> Result<ExitCode, Failure> {
    let text = if cli.json { value.to_string() } else { serde_json::to_string_pretty(value).map_err(said)? };
    match writeln!(std::io::stdout(), "{text}") {
        // Whoever reads on, `head` among them, has what they wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => written.map(|()| ExitCode::SUCCESS).map_err(said),
    }
}

fn serve(settings: Settings) -> Result<ExitCode, Failure> {
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(said)?;
    runtime.block_on(startup::serve(settings))?;
    Ok(ExitCode::SUCCESS)
}

fn migrate(cli: &Cli, settings: &Settings, look_only: bool) -> Result<ExitCode, Failure> {
    let url = &settings.store.url;
    let wrong = |error| Failure::from(startup::store_refused(url, error));
    let done = if look_only { Vec::new() } else { migrations::migrate(url).map_err(wrong)? };
    let found = migrations::status(url).map_err(wrong)?;
    answer(
        cli,
        &json!({
            "done": done, "applied": found.applied, "pending": found.pending, "unknown": found.unknown,
        }),
    )
}

fn parties(path: &std::path::Path) -> Result<serde_json::Value, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Wrong::Invalid.because(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}

/// A 6-digit area code.
fn area_code(area: &str) -> Result<(), Failure> {
    if area.len() == 6 && area.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    Err(Wrong::Invalid.because("--area: 须为6位区划代码 / must be six digits"))
}

/// A text that says something.
fn filled(argument: &str, text: &str) -> Result<(), Failure> {
    if text.trim().is_empty() {
        return Err(Wrong::Invalid.because(format!("{argument}: 不能为空 / must not be empty")));
    }
    Ok(())
}

/// A tenant that is there.
fn known_tenant(store: &SqlStore, tenant: TenantId) -> Result<(), Failure> {
    let known = store.tenants().map_err(said)?.iter().any(|row| row.id == tenant);
    if known { Ok(()) } else { Err(Wrong::NotFound.because(format!("没有统筹区 / no tenant {tenant}"))) }
}

fn tenant(cli: &Cli, settings: &Settings, command: &TenantCommand) -> Result<ExitCode, Failure> {
    match command {
        TenantCommand::Create { area, name, bureau, wallet, sms, line_tolerance_fen } => {
            area_code(area)?;
            filled("--name", name)?;
            let parties = json!({
                "bureau": parties(bureau)?, "wallet": parties(wallet)?, "sms": parties(sms)?,
                "line_tolerance_fen": line_tolerance_fen,
            });
            let parties =
                serde_json::from_value(parties).map_err(|error| Wrong::Invalid.because(format!("parties: {error}")))?;
            let master = Master::read(settings.keys.master_file.as_ref())?;
            let row = startup::tenant_row(&master, &SystemClock::new(), area.clone(), name.clone(), &parties)?;
            let store = startup::open_store(settings, Access::Admin)?;
            if let Some(other) = store.tenants().map_err(said)?.into_iter().find(|other| other.area == *area) {
                let sentence = format!("区划 {area} 已有统筹区 / area {area} is tenant {} already", other.id);
                return Err(Wrong::Conflict.because(sentence));
            }
            store.add_tenant(&row).map_err(said)?;
            answer(cli, &json!({ "tenant_id": row.id, "area": row.area, "name": row.name }))
        }
        TenantCommand::List => {
            let rows = startup::open_store(settings, Access::ReadOnly)?.tenants().map_err(said)?;
            let rows: Vec<_> =
                rows.iter().map(|row| json!({ "tenant_id": row.id, "area": row.area, "name": row.name })).collect();
            answer(cli, &json!(rows))
        }
    }
}

fn channel(cli: &Cli, settings: &Settings, command: &ChannelCommand) -> Result<ExitCode, Failure> {
    match command {
        ChannelCommand::Create { tenant, name } => {
            filled("--name", name)?;
            let store = startup::open_store(settings, Access::Admin)?;
            known_tenant(&store, *tenant)?;
            let clock = SystemClock::new();
            let mut key = [0_u8; 24];
            clock.fill(&mut key);
            let key = hex::encode(key);
            let id = ChannelId::from_uuid(clock.fresh());
            let key_hash = platform::http::channel_key_hash(&key);
            let row = ChannelRow { tenant: *tenant, id, name: name.clone(), key_hash, revoked: false };
            store.add_channel(&row).map_err(said)?;
            answer(cli, &json!({ "channel_id": id, "channel_key": key }))
        }
        ChannelCommand::List { tenant } => {
            let store = startup::open_store(settings, Access::ReadOnly)?;
            known_tenant(&store, *tenant)?;
            let rows = store.channels(*tenant).map_err(said)?;
            let rows: Vec<_> = rows
                .iter()
                .map(|row| json!({ "channel_id": row.id, "name": row.name, "revoked": row.revoked }))
                .collect();
            answer(cli, &json!(rows))
        }
        ChannelCommand::Revoke { tenant, channel } => {
            let store = startup::open_store(settings, Access::Admin)?;
            if !store.revoke_channel(*tenant, *channel).map_err(said)? {
                return Err(Wrong::NotFound.because(format!("没有渠道 / no channel {channel}")));
            }
            answer(cli, &json!({ "channel_id": channel, "revoked": true }))
        }
    }
}

fn institution(cli: &Cli, settings: &Settings, command: &InstitutionCommand) -> Result<ExitCode, Failure> {
    let looks = matches!(command, InstitutionCommand::List { .. });
    let store = startup::open_store(settings, if looks { Access::ReadOnly } else { Access::Admin })?;
    let known = |tenant: TenantId, code: &InstitutionCode| -> Result<InstitutionRow, Failure> {
        let row = store.institution(tenant, code).map_err(said)?;
        row.ok_or_else(|| Wrong::NotFound.because(format!("没有机构 / no institution {code}")))
    };
    let public = |key: &str| PublicKey::parse(key).map_err(|error| Wrong::Invalid.because(format!("--key: {error}")));
    // Only suspend and resume touch the suspension, only approve and rotate the key.
    let row = match command {
        InstitutionCommand::Create { tenant, code, name, area, sub_mchid } => {
            area_code(area)?;
            filled("--name", name)?;
            filled("--sub-mchid", sub_mchid)?;
            known_tenant(&store, *tenant)?;
            let before = store.institution(*tenant, code).map_err(said)?;
            InstitutionRow {
                tenant: *tenant,
                code: code.clone(),
                name: name.clone(),
                area: area.clone(),
                merchant: sub_mchid.clone(),
                suspended: before.as_ref().is_some_and(|row| row.suspended),
                key: before.and_then(|row| row.key),
            }
        }
        InstitutionCommand::Approve { tenant, code, key } => {
            let (key, before) = (public(key)?, known(*tenant, code)?);
            if before.key.as_ref().is_some_and(|approved| *approved != key) {
                let sentence = format!(
                    "{code} 已批准另一公钥，未作更改；更换请用 institution rotate / {code} has another key approved: use \
                     institution rotate to replace it"
                );
                return Err(Wrong::Conflict.because(sentence));
            }
            InstitutionRow { key: Some(key), ..before }
        }
        InstitutionCommand::Rotate { tenant, code, key } => {
            InstitutionRow { key: Some(public(key)?), ..known(*tenant, code)? }
        }
        InstitutionCommand::Suspend { tenant, code } => InstitutionRow { suspended: true, ..known(*tenant, code)? },
        InstitutionCommand::Resume { tenant, code } => InstitutionRow { suspended: false, ..known(*tenant, code)? },
        InstitutionCommand::List { tenant } => {
            known_tenant(&store, *tenant)?;
            let rows = store.institutions(*tenant).map_err(said)?;
            let rows: Vec<_> = rows.iter().map(shown).collect();
            return answer(cli, &json!(rows));
        }
    };
    store.put_institution(&row).map_err(said)?;
    answer(cli, &shown(&row))
}

fn shown(row: &InstitutionRow) -> serde_json::Value {
    json!({
        "code": row.code,
        "name": row.name,
        "area": row.area,
        "sub_mchid": row.merchant,
        "key": row.key,
        "suspended": row.suspended,
    })
}

fn verify(cli: &Cli, settings: &Settings) -> Result<ExitCode, Failure> {
    let store = startup::open_store(settings, Access::ReadOnly)?;
    let mut orders = std::collections::BTreeMap::<String, i64>::new();
    let mut accounts = std::collections::BTreeMap::<String, i64>::new();
    let mut violations = Vec::new();
    for tenant in store.tenants().map_err(said)? {
        let sums = store.verify(tenant.id).map_err(said)?;
        for (state, count) in sums.orders {
            *orders.entry(state).or_default() += count;
        }
        for (account, net) in sums.accounts {
            *accounts.entry(account).or_default() += net.get();
        }
        violations.extend(sums.violations);
    }
    let mut fund_fen = std::collections::BTreeMap::<&str, i64>::new();
    for (account, net) in &accounts {
        let share = match account.split(':').collect::<Vec<_>>().as_slice() {
            ["bureau", _, "pooled"] => "fund",
            ["bureau", _, "other"] => "other_funds",
            ["bureau", _, "account"] => "account",
            ["bureau", _, "mulaid"] => "account_mulaid",
            ["wallet", _] => "cash",
            ["suspense"] => "suspense",
            _ => continue,
        };
        *fund_fen.entry(share).or_default() += net;
    }
    let balanced = violations.is_empty();
    let faults: Vec<_> = violations
        .iter()
        .map(|broken| {
            json!({
                "invariant": broken.invariant.id(),
                "sentence": broken.invariant.sentence(),
                "of": broken.of,
                "found": broken.found,
            })
        })
        .collect();
    answer(
        cli,
        &json!({ "balanced": balanced, "faults": faults, "orders": orders, "fund_fen": fund_fen, "accounts": accounts }),
    )?;
    Ok(if balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verify_events(cli: &Cli, settings: &Settings, wait_s: u64) -> Result<ExitCode, Failure> {
    let store = startup::open_store(settings, Access::ReadOnly)?;
    let mut source = startup::open_source(settings)?;
    let wait = Duration::from_secs(wait_s);
    let report = verify::verify(&store, source.as_mut(), wait, &SystemClock::new()).map_err(said)?;
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "finding": finding.wrong.word(),
                "sentence": finding.wrong.sentence(),
                "order": finding.order,
                "sequence": finding.sequence,
                "at": finding.at.map(|at| at.to_string()),
            })
        })
        .collect();
    let equal = findings.is_empty();
    answer(
        cli,
        &json!({
            "equal": equal,
            "orders": report.orders,
            "records": report.records,
            "read": report.read,
            "repeats": report.repeats,
            "findings": findings,
        }),
    )?;
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn asyncapi(cli: &Cli, settings: &Settings) -> Result<ExitCode, Failure> {
    let topic = match settings.events.url.parse() {
        Ok(EventsUrl::Kafka(KafkaUrl { topic, partitions, .. })) => Some((topic, partitions)),
        _ => None,
    };
    answer(cli, &schema::asyncapi::document(topic.as_ref().map(|(topic, partitions)| (topic.as_str(), *partitions))))
}

fn balances(cli: &Cli, settings: &Settings, only: Option<TenantId>) -> Result<ExitCode, Failure> {
    let store = startup::open_store(settings, Access::ReadOnly)?;
    if let Some(tenant) = only {
        known_tenant(&store, tenant)?;
    }
    let mut rows = Vec::new();
    for tenant in store.tenants().map_err(said)?.into_iter().filter(|row| only.is_none_or(|only| row.id == only)) {
        for row in store.balances(tenant.id).map_err(said)? {
            rows.push(json!({
                "tenant_id": tenant.id,
                "account": row.account,
                "balance_fen": row.rolled_up.plus(row.rest).map_err(said)?,
                "rolled_up_fen": row.rolled_up,
                "through": row.through.map(|date| date.to_string()),
                "rest_fen": row.rest,
            }));
        }
    }
    answer(cli, &json!(rows))
}

/// What stands where a person would be named: that there is something, and nothing of it.
const MASKED: &str = "***";

/// Everything stored about one order. Whoever is insured or pays is masked: neither sealed nor hashed do they belong on
/// an operator's screen.
fn story(store: &SqlStore, story: &Story) -> Result<serde_json::Value, Failure> {
    let order = &story.order;
    let mut shown = json!(order);
    if let (Some(inputs), Some(price)) = (shown.pointer_mut("/price/inputs"), &order.price) {
        *inputs = json!(price.inputs.as_ref().map(told));
    }
    let price = order.price.as_ref().map_or(0, |price| price.number);
    let inputs = story.inputs.iter().map(|row| {
        let mut shown = told(&row.inputs);
        shown["msgid"] = json!(row.msgid);
        shown["price_number"] = json!(row.price_number);
        shown
    });
    let prepay = story.prepay.as_ref().map(|row| {
        let mut shown = json!(row.asked);
        shown["merchant"] = json!(row.merchant);
        shown["openid"] = json!(row.openid.map(|_| MASKED));
        shown["asked_at_us"] = json!(row.asked_at_us);
        shown
    });
    Ok(json!({
        "order": shown,
        "state": order.state.place().word(),
        "why": order.state.why().map(platform::domain::order::Why::word),
        "trace_id": story.trace_id,
        "bill_lines": store.bill_lines(order.tenant, order.bill.id).map_err(said)?,
        "price_lines": store.price_lines(order.tenant, order.id, price).map_err(said)?,
        "history": story.history,
        "inputs": inputs.collect::<Vec<_>>(),
        "settlements": story.settlements,
        "prepay": prepay,
        "cash": story.cash,
        "postings": story.postings,
        "actions": story.actions,
        "refunds": story.refunds,
    }))
}

/// What a 2207 is told, without the person.
fn told(inputs: &Inputs) -> serde_json::Value {
    json!({
        "psn_no": MASKED,
        "insutype": inputs.insutype,
        "insuplc_admdvs": inputs.insuplc_admdvs,
        "mdtrt_cert_type": inputs.mdtrt_cert_type,
        "mdtrt_cert_no": MASKED,
        "med_type": inputs.med_type,
        "psn_setlway": inputs.psn_setlway,
        "acct_used": inputs.acct_used,
        "mdtrt_id": inputs.mdtrt_id,
        "chrg_bchno": inputs.chrg_bchno,
        "invono": inputs.invono,
        "echoed": inputs.echoed,
    })
}

fn order(cli: &Cli, settings: &Settings, command: &OrderCommand) -> Result<ExitCode, Failure> {
    let store = startup::open_store(settings, Access::ReadOnly)?;
    match command {
        OrderCommand::Show { id } => {
            let found = store.story(*id).map_err(said)?;
            let found = found.ok_or_else(|| Wrong::NotFound.because(format!("没有订单 / no order {id}")))?;
            answer(cli, &story(&store, &found)?)
        }
        OrderCommand::List { tenant, state, most } => {
            let orders = store.orders_in(*tenant, state.as_deref(), *most).map_err(said)?;
            let rows: Vec<_> = orders
                .iter()
                .map(|order| {
                    json!({
                        "id": order.id,
                        "tenant": order.tenant,
                        "institution": order.bill.institution,
                        "bill_no": order.bill.bill_no,
                        "amount_fen": order.bill.amount,
                        "refunded_fen": order.refunded,
                        "refunding_fen": order.refunding,
                        "carried_in_fen": order.carried_in,
                        "carried_out_fen": order.carried_out,
                        "replaces": order.replaces,
                        "version": order.version,
                        "state": order.state.place().word(),
                        "place": format!("{:?}", order.state.place()),
                        "why": order.state.why().map(platform::domain::order::Why::word),
                        "updated_at_us": order.updated_at_us,
                    })
                })
                .collect();
            answer(cli, &json!(rows))
        }
    }
}

fn refunds(cli: &Cli, settings: &Settings, state: Option<&str>, most: u32) -> Result<ExitCode, Failure> {
    let store = startup::open_store(settings, Access::ReadOnly)?;
    let refunds = store.refunds_in(state, most).map_err(said)?;
    let rows: Vec<_> = refunds
        .iter()
        .map(|(tenant, refund)| {
            json!({
                "id": refund.id,
                "tenant": tenant,
                "order": refund.order,
                "refund_no": refund.refund_no,
                "kind": refund.kind,
                "amount_fen": refund.amount,
                "cash_fen": refund.cash.as_ref().map(|cash| cash.amount),
                "stands": refund.state,
                "reason": refund.reason,
                "created_at_us": refund.created_at_us,
            })
        })
        .collect();
    answer(cli, &json!(rows))
}
