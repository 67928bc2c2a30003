//! The operators' commands, as real processes on a file of their own.

#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "only its world is wanted; its promises have their own test"
)]
mod store_contract;

use std::path::Path;
use std::process::Command;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use platform::domain::diagram;
use platform::domain::invariants::Invariant;
use platform::domain::refund::RefundEvent;
use platform::store::sql::Access;
use platform::store::sqlite;
use sandbox::engines::postgres::Postgres;
use schema::sign::SigningKey;
use serde_json::{Value, json};
use store_contract::world::World;
use tempfile::TempDir;

/// A platform that has a key file and no tenant yet.
struct Platform {
    dir: TempDir,
}

const AREA: &str = "441900";
const CODE: &str = "H44190000001";

impl Platform {
    fn new() -> Platform {
        let dir = TempDir::new().expect("a directory");
        let at = |name: &str| dir.path().join(name).display().to_string();
        let settings = format!(
            "[store]\nurl = \"sqlite:{}\"\n[events]\nurl = \"file:{}\"\n[keys]\nmaster_file = \"{}\"\n",
            at("tongfu.db"),
            at("events.jsonl"),
            at("master.key")
        );
        write(dir.path(), "platform.toml", &settings);
        let notice_key = SigningKey::from_seed([3; 32]).public().to_string();
        let bureau = json!({ "base_url": "http://127.0.0.1:9", "paasid": "p", "secret": "s", "sm2_public_key": "k",
            "notice_public_key": notice_key, "mdtrtarea_admvs": AREA });
        let wallet = json!({ "base_url": "http://127.0.0.1:9", "sp_mchid": "1", "sp_appid": "a",
            "merchant_serial": "1", "merchant_private_key_pem": "k", "apiv3_key": "k", "wechatpay_public_key_pem": "k",
            "wechatpay_serial": "1" });
        write(dir.path(), "bureau.json", &bureau.to_string());
        write(dir.path(), "wallet.json", &wallet.to_string());
        write(dir.path(), "sms.json", &json!({ "base_url": "http://127.0.0.1:9", "key": "k" }).to_string());
        let platform = Platform { dir };
        platform.done(&["keys", "init"]);
        platform
    }

    fn run(&self, arguments: &[&str], as_json: bool) -> (bool, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_platform"));
        command.arg("--config").arg(self.dir.path().join("platform.toml")).current_dir(self.dir.path());
        if as_json {
            command.arg("--json");
        }
        let output = command.args(arguments).output().expect("the binary runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    fn done(&self, arguments: &[&str]) -> Value {
        let (done, printed, complained) = self.run(arguments, true);
        assert!(done, "{arguments:?}: {complained}");
        serde_json::from_str(&printed).expect("one JSON value")
    }

    /// Refused under this code, with a sentence that holds `word`.
    fn refused(&self, arguments: &[&str], code: &str, word: &str) {
        let (done, printed, complained) = self.run(arguments, true);
        assert!(!done && printed.is_empty(), "{arguments:?}: {printed}");
        let failure: Value = serde_json::from_str(&complained).expect("one JSON object on stderr");
        assert_eq!(failure["code"], code, "{arguments:?}: {failure}");
        assert!(failure["sentence"].as_str().is_some_and(|sentence| sentence.contains(word)), "{word}: {failure}");
    }

    /// A city with its payments, in this platform's store.
    fn city(&self) -> World {
        World::new(Box::new(sqlite::open(self.dir.path().join("tongfu.db"), Access::Serve).expect("a file")))
    }

    fn tenant(&self, area: &str) -> Vec<String> {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        let arguments = ["tenant", "create", "--area", area, "--name", "东莞", "--bureau"].map(str::to_owned);
        let mut arguments = Vec::from(arguments);
        arguments.extend([file("bureau.json"), "--wallet".into(), file("wallet.json")]);
        arguments.extend(["--sms".into(), file("sms.json")]);
        arguments
    }
}

fn write(dir: &Path, name: &str, content: &str) {
    std::fs::write(dir.join(name), content).expect("written");
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

const NOBODY: &str = "01890000-0000-7000-8000-000000000000";

#[test]
fn an_area_is_six_digits_and_one_tenant() {
    let platform = Platform::new();
    for area in ["", "44190", "4419000", "44190x", "４４１９００"] {
        platform.refused(&words(&platform.tenant(area)), "INVALID", "--area");
    }
    let tenant = platform.done(&words(&platform.tenant(AREA)));
    platform.refused(&words(&platform.tenant(AREA)), "CONFLICT", tenant["tenant_id"].as_str().expect("an id"));
    assert_eq!(platform.done(&["tenant", "list"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn a_channel_is_made_for_a_tenant_that_is_there_and_can_be_revoked() {
    let platform = Platform::new();
    let tenant = platform.done(&words(&platform.tenant(AREA)))["tenant_id"].as_str().expect("an id").to_owned();
    platform.refused(&["channel", "create", "--tenant", NOBODY, "--name", "x"], "NOT_FOUND", "no tenant");
    platform.refused(&["channel", "create", "--tenant", &tenant, "--name", " "], "INVALID", "--name");
    let made = platform.done(&["channel", "create", "--tenant", &tenant, "--name", "粤城通"]);
    let id = made["channel_id"].as_str().expect("an id");
    assert_eq!(made["channel_key"].as_str().map(str::len), Some(48));
    let listed = |revoked: bool| json!([{ "channel_id": id, "name": "粤城通", "revoked": revoked }]);
    assert_eq!(platform.done(&["channel", "list", "--tenant", &tenant]), listed(false));
    platform.refused(&["channel", "revoke", "--tenant", &tenant, "--channel", NOBODY], "NOT_FOUND", "no channel");
    platform.done(&["channel", "revoke", "--tenant", &tenant, "--channel", id]);
    assert_eq!(platform.done(&["channel", "list", "--tenant", &tenant]), listed(true));
}

#[test]
fn only_suspend_and_resume_touch_the_suspension_and_only_approve_and_rotate_the_key() {
    let platform = Platform::new();
    let tenant = platform.done(&words(&platform.tenant(AREA)))["tenant_id"].as_str().expect("an id").to_owned();
    let named = |command: &'static str| vec!["institution", command, "--tenant", &tenant, "--code", CODE];
    let with = |command: &'static str, more: &[&'static str]| -> Vec<&str> {
        let mut arguments = named(command);
        arguments.extend(more);
        arguments
    };
    let create = with("create", &["--name", "人民医院", "--area", AREA, "--sub-mchid", "1900000109"]);
    platform.refused(&named("suspend"), "NOT_FOUND", CODE);
    for (area, merchant, word) in [("4419", "1", "--area"), (AREA, " ", "--sub-mchid")] {
        let wrong = with("create", &["--name", "人民医院", "--area", area, "--sub-mchid", merchant]);
        platform.refused(&wrong, "INVALID", word);
    }
    assert_eq!(platform.done(&create)["suspended"], false);

    let key = |seed: u8| SigningKey::from_seed([seed; 32]).public().to_string();
    let (first, second) = (key(1), key(2));
    let keyed = |command: &'static str, key: &str| -> Vec<String> {
        let mut arguments: Vec<String> = named(command).into_iter().map(str::to_owned).collect();
        arguments.extend(["--key".to_owned(), key.to_owned()]);
        arguments
    };
    platform.refused(&words(&keyed("approve", "no key")), "INVALID", "--key");
    assert_eq!(platform.done(&words(&keyed("approve", &first)))["key"], json!(first));
    assert_eq!(platform.done(&words(&keyed("approve", &first)))["key"], json!(first), "again is harmless");
    platform.refused(&words(&keyed("approve", &second)), "CONFLICT", "rotate");
    assert_eq!(platform.done(&named("suspend"))["suspended"], true);
    for command in [keyed("approve", &first), keyed("rotate", &second)] {
        assert_eq!(platform.done(&words(&command))["suspended"], true, "{command:?}");
    }
    assert_eq!(platform.done(&create)["suspended"], true);
    assert_eq!(platform.done(&create)["key"], json!(second), "the key stays too");
    assert_eq!(platform.done(&named("resume"))["suspended"], false);
    platform.refused(&["institution", "list", "--tenant", NOBODY], "NOT_FOUND", "no tenant");
    assert_eq!(platform.done(&["institution", "list", "--tenant", &tenant])[0]["key"], json!(second));
}

#[test]
fn a_platform_starts_on_no_store_that_does_not_do_and_says_which_setting_and_what_to_do() {
    let platform = Platform::new();
    let settings = std::fs::read_to_string(platform.dir.path().join("platform.toml")).expect("written before");
    let (_, rest) = settings.split_once("[events]").expect("events come next");
    let port = sandbox::engines::child::free_port().expect("a port");
    for (url, words) in [
        ("mysql://root:s3cret@127.0.0.1/city", ["must begin with sqlite: or postgres://", "须以"]),
        ("sqlite:", ["must be sqlite:PATH", "须为"]),
        (&format!("postgres://city:s3cret@127.0.0.1:{port}/city"), ["check the address", "请检查地址"]),
    ] {
        write(
            platform.dir.path(),
            "platform.toml",
            &format!("[store]\nurl = \"{url}\"\n[ephemeral]\nurl = \"redis://127.0.0.1\"\n[events]{rest}"),
        );
        for command in [["serve"].as_slice(), &["migrate"], &["migrate", "--status"]] {
            let (done, _, complained) = platform.run(command, false);
            assert!(!done && complained.contains("store.url"), "{command:?} {url}: {complained}");
            assert!(words.iter().all(|word| complained.contains(word)), "{command:?} {url}: {complained}");
            assert!(!complained.contains("s3cret"), "{complained}");
        }
    }
}

#[test]
fn a_dry_run_says_what_a_migration_would_do_and_does_nothing() {
    let platform = Platform::new();
    let migrate = |arguments: &[&str]| platform.done(&[&["migrate"], arguments].concat());
    let ahead = migrate(&["--dry-run"]);
    let pending = ahead["pending"].as_array().expect("a list").clone();
    assert_eq!((&ahead["done"], &ahead["applied"]), (&json!([]), &json!([])), "{ahead}");
    assert!(!pending.is_empty(), "{ahead}");
    assert_eq!(migrate(&["--status"]), ahead, "nothing was done");
    let done = migrate(&[]);
    assert_eq!((&done["done"], &done["applied"]), (&json!(pending), &json!(pending)), "{done}");
    assert_eq!(migrate(&["--status"])["pending"], json!([]));
    assert_eq!(migrate(&[])["done"], json!([]), "once");
}

#[test]
fn processes_that_migrate_one_server_at_once_take_turns_and_only_one_does_it() {
    let platform = Platform::new();
    let postgres = Postgres::start(&platform.dir.path().join("postgres"), &[]).expect("PostgreSQL");
    let settings = std::fs::read_to_string(platform.dir.path().join("platform.toml")).expect("written before");
    let (_, rest) = settings.split_once("[events]").expect("events come next");
    let url = postgres.database(None).expect("a database");
    let settings = format!("[store]\nurl = \"{url}\"\n[ephemeral]\nurl = \"redis://127.0.0.1\"\n[events]{rest}");
    write(platform.dir.path(), "platform.toml", &settings);
    let pending = platform.done(&["migrate", "--status"])["pending"].clone();
    let told: Vec<Value> = std::thread::scope(|scope| {
        let migrating: Vec<_> = (0..4).map(|_| scope.spawn(|| platform.done(&["migrate"]))).collect();
        migrating.into_iter().map(|one| one.join().expect("it says")).collect()
    });
    let (busy, idle): (Vec<_>, Vec<_>) = told.iter().partition(|said| said["done"] != json!([]));
    assert_eq!((busy.len(), idle.len()), (1, 3), "{told:?}");
    assert_eq!(busy[0]["done"], pending);
    assert!(told.iter().all(|said| said["applied"] == pending && said["pending"] == json!([])), "{told:?}");
}

#[test]
fn a_platform_starts_on_no_ephemeral_store_that_does_not_do_and_says_why() {
    let platform = Platform::new();
    let settings = std::fs::read_to_string(platform.dir.path().join("platform.toml")).expect("written before");
    let serve_on = |url: &str, word: &str| {
        write(platform.dir.path(), "platform.toml", &format!("{settings}[ephemeral]\nurl = \"{url}\"\n"));
        let (done, _, complained) = platform.run(&["serve"], false);
        assert!(!done && complained.contains("ephemeral.url") && complained.contains(word), "{url}: {complained}");
        assert!(!complained.contains("s3cret"), "{complained}");
    };
    for url in ["", "memory", "rediss://:s3cret@127.0.0.1", "valkey://127.0.0.1"] {
        serve_on(url, "须为 memory: 或以 redis:// 开头 / must be memory: or begin with redis://");
    }
    let port = sandbox::engines::child::free_port().expect("a port");
    serve_on(&format!("redis://:s3cret@127.0.0.1:{port}"), "check the address");
    serve_on("redis://user:s3cret@127.0.0.1:port", "write redis://");
    let full = [("maxmemory", "100mb"), ("maxmemory-policy", "allkeys-lru")];
    let redis = sandbox::engines::redis::Redis::own(&full).expect("a Redis server (apt-get install redis-server)");
    serve_on(redis.url(), "请设为noeviction");
}

#[test]
fn what_goes_wrong_is_json_where_json_was_asked_for_and_a_sentence_elsewhere() {
    let platform = Platform::new();
    platform.refused(&["institution", "dance"], "INVALID", "dance");
    platform.refused(&["order", "list"], "UNAVAILABLE", "tongfu.db");
    platform.done(&words(&platform.tenant(AREA)));
    platform.refused(&["order", "show", NOBODY], "NOT_FOUND", NOBODY);
    let (done, _, complained) = platform.run(&["order", "show", NOBODY], false);
    assert!(!done && complained.starts_with("没有订单"), "{complained}");
    let (done, printed, _) = platform.run(&["--help"], true);
    assert!(done && printed.contains("serve"), "help is no failure: {printed}");
}

#[test]
fn an_orders_story_has_every_row_of_it_and_names_nobody() {
    let platform = Platform::new();
    let world = platform.city();
    let order = world.completed("B1", 1000);
    world.clock.advance_ms(1000);
    world.step(order.id, &world.whole_refund());
    let order = world.refund_step(order.id, &RefundEvent::UndoDone(world.undone("S-B1")));
    let story = platform.done(&["order", "show", &order.id.to_string()]);
    let number = |rows: &str| story[rows].as_array().map(Vec::len);
    assert_eq!((number("bill_lines"), &story["bill_lines"][1]["feedetl_sn"]), (Some(2), &json!("2")));
    assert_eq!(story["price_lines"][0]["feedetl_sn"], "1", "{}", story["price_lines"]);
    let inputs = &story["inputs"][0];
    assert_eq!((number("inputs"), &inputs["mdtrt_id"], &inputs["price_number"]), (Some(1), &json!("M1"), &json!(1)));
    assert_eq!((&inputs["psn_no"], &inputs["mdtrt_cert_no"]), (&json!("***"), &json!("***")));
    let settlement = &story["settlements"][0];
    assert_eq!((number("settlements"), &settlement["setl_id"]), (Some(1), &json!("S-B1")));
    assert_eq!(
        (&settlement["undone"]["undo_setl_id"], &settlement["split"]["cash_fen"]),
        (&json!("U-S-B1"), &json!(150))
    );
    assert_eq!((number("cash"), &story["cash"][0]["transaction_id"]), (Some(1), &json!("T-B1")));
    assert_eq!(story["refunds"][0]["refund_no"], "R1");

    let text = story.to_string();
    let row = &world.store.story(order.id).expect("readable").expect("there").inputs[0];
    for hidden in
        [String::from(row.inputs.psn_no), String::from(row.inputs.mdtrt_cert_no), json!(row.inputs.sealed).to_string()]
    {
        let hidden = hidden.trim_matches('"');
        let rows =
            ["order", "inputs", "settlements", "prepay", "cash", "bill_lines"].map(|rows| story[rows].to_string());
        assert!(hidden.len() > 8 && rows.iter().all(|rows| !rows.contains(hidden)), "{text}");
    }
}

#[test]
fn balances_tell_what_is_rolled_up_and_what_is_not() {
    let platform = Platform::new();
    let world = platform.city();
    world.completed("B1", 1000);
    let row = |account: &str, rolled_up: i64, rest: i64, through: Option<&str>| {
        json!({ "tenant_id": world.tenant, "account": account, "balance_fen": rolled_up + rest,
            "rolled_up_fen": rolled_up, "through": through, "rest_fen": rest })
    };
    let accounts = |through: Option<&str>| -> Value {
        let nets = [
            ("bureau:310:account", 250),
            ("bureau:310:pooled", 600),
            ("payable:H44190000001", -1000),
            ("wallet:1900000109", 150),
        ];
        nets.map(|(account, net)| match through {
            Some(_) => row(account, net, 0, through),
            None => row(account, 0, net, None),
        })
        .as_slice()
        .into()
    };
    assert_eq!(platform.done(&["ledger", "balances"]), accounts(None));
    while world.store.roll_up(2).expect("the store answers") > 0 {}
    let tenant = world.tenant.to_string();
    assert_eq!(platform.done(&["ledger", "balances", "--tenant", &tenant]), accounts(Some("2025-11-23")));
    assert_eq!(platform.done(&["ledger", "verify"])["balanced"], true);
    platform.refused(&["ledger", "balances", "--tenant", NOBODY], "NOT_FOUND", "no tenant");
}

#[test]
fn broken_books_fail_the_command_and_are_named() {
    let platform = Platform::new();
    let world = platform.city();
    let order = world.completed("B1", 1000).id.to_string();
    let sound = platform.done(&["ledger", "verify"]);
    assert_eq!((&sound["balanced"], &sound["faults"]), (&json!(true), &json!([])));

    let path = platform.dir.path().join("tongfu.db");
    let mut hand = SqliteConnection::establish(path.to_str().expect("UTF-8")).expect("the file opens");
    hand.batch_execute("UPDATE posting SET amount = amount + 1 WHERE account LIKE 'wallet:%'").expect("changed");
    let (done, printed, complained) = platform.run(&["ledger", "verify"], true);
    assert!(!done, "{printed}");
    assert_eq!(complained, "", "that the books are off is the answer, and no failure to answer");
    let said: Value = serde_json::from_str(&printed).expect("one JSON value");
    assert_eq!(said["balanced"], false);
    let first = Invariant::PostingsBalance;
    assert_eq!(
        (&said["faults"][0]["invariant"], &said["faults"][0]["sentence"], &said["faults"][0]["of"]),
        (&json!(first.id()), &json!(first.sentence()), &json!(order)),
        "{said}"
    );
    let named: Vec<&str> =
        said["faults"].as_array().expect("faults").iter().filter_map(|f| f["invariant"].as_str()).collect();
    assert!(named.contains(&Invariant::WalletNet.id()), "every sentence that does not hold: {named:?}");

    let (done, printed, _) = platform.run(&["ledger", "verify"], false);
    assert!(!done && printed.contains(first.id()) && printed.contains(first.sentence()), "{printed}");
}

#[test]
fn the_diagrams_are_printed_by_the_command() {
    let platform = Platform::new();
    let (done, printed, complained) = platform.run(&["states", "--mermaid"], false);
    assert!(done, "{complained}");
    assert_eq!(printed, diagram::mermaid().join("\n"));
    assert!(diagram::mermaid().len() >= 2 && printed.starts_with("stateDiagram"), "{printed}");
    // They are the program's own: neither settings nor a store are asked for.
    let bare = Command::new(env!("CARGO_BIN_EXE_platform"))
        .args(["--config", "nowhere.toml", "states", "--mermaid"])
        .output()
        .expect("the binary runs");
    assert_eq!((bare.status.success(), bare.stdout), (true, printed.into_bytes()));
}

#[test]
fn whoever_reads_only_the_first_lines_is_not_shown_a_panic() {
    let platform = Platform::new();
    drop(platform.city());
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ran = Command::new(env!("CARGO_BIN_EXE_platform"))
        .arg("--config")
        .arg(platform.dir.path().join("platform.toml"))
        .args(["tenant", "list"])
        .stdout(writer)
        .output()
        .expect("it runs");
    assert!(ran.status.success(), "{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
    assert!(ran.stderr.is_empty(), "{}", String::from_utf8_lossy(&ran.stderr));
}
