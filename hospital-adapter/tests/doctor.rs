//! `doctor` names the fault, and whom to ask.

mod common;

use common::adapter::Site;
use common::platform::Platform;
use schema::refusal::Code;
use serde_json::Value;

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["name"] == name).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_sound_adapter_has_no_faults() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let ((healthy, report), _link) = tokio::join!(site.doctor(), platform.accept(&site.public_key));
    assert!(healthy, "{report}");
    for name in ["settings", "permissions", "disk", "journal", "dns", "tcp", "websocket", "opening", "clock"] {
        assert_eq!(check(&report, name)["verdict"], "ok", "{name} in {report}");
    }
}

#[tokio::test]
async fn each_refusal_of_the_opening_is_told_with_what_to_do() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    for (code, word) in [
        (Code::KeyUnknown, site.public_key.as_str()),
        (Code::InstitutionUnknown, "机构未登记或已停用"),
        (Code::AlreadyConnected, "同一密钥可能在另一台机器"),
    ] {
        let ((healthy, report), ()) = tokio::join!(site.doctor(), platform.refuse(code));
        assert!(!healthy, "{report}");
        let opening = check(&report, "opening");
        assert_eq!(opening["verdict"], "fault", "{report}");
        assert!(opening["zh"].as_str().expect("a sentence").contains(word), "{word} in {opening}");
        assert!(opening["zh"].as_str().expect("a sentence").contains(code.as_str()), "{opening}");
        assert_eq!(check(&report, "websocket")["verdict"], "ok", "the way is open: {report}");
    }
}

#[tokio::test]
async fn beside_a_running_adapter_a_refused_second_connection_is_no_fault() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let _adapter = site.start().await;
    let _link = platform.accept(&site.public_key).await;
    let ((healthy, report), ()) = tokio::join!(site.doctor(), platform.refuse(Code::AlreadyConnected));
    assert!(healthy, "{report}");
    assert!(check(&report, "opening")["zh"].as_str().expect("a sentence").contains("正在运行"), "{report}");
}

#[tokio::test]
async fn a_closed_port_is_named_with_host_port_and_direction() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let port = platform.url.rsplit(':').next().and_then(|rest| rest.split('/').next()).expect("a port").to_owned();
    drop(platform);
    let (healthy, report) = site.doctor().await;
    assert!(!healthy);
    let tcp = check(&report, "tcp");
    assert_eq!(tcp["verdict"], "fault", "{report}");
    for word in [port.as_str(), "127.0.0.1", "出站"] {
        assert!(tcp["zh"].as_str().expect("a sentence").contains(word), "{word} in {tcp}");
    }
}

#[tokio::test]
async fn a_clock_two_minutes_off_and_an_exposed_key_are_faults() {
    let mut platform = Platform::listen().await;
    platform.clock_ahead_s = 120;
    let site = Site::init(&platform.url).await;
    let ((healthy, report), _link) = tokio::join!(site.doctor(), platform.accept(&site.public_key));
    assert!(!healthy, "{report}");
    assert_eq!(check(&report, "clock")["verdict"], "fault", "{report}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let key = site.dir.path().join("his-api.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("changed");
        let ((_, report), _link) = tokio::join!(site.doctor(), platform.accept(&site.public_key));
        assert_eq!(check(&report, "permissions")["verdict"], "fault", "{report}");
        assert!(check(&report, "permissions")["en"].as_str().expect("a sentence").contains("his-api.key"));
    }
}

#[tokio::test]
async fn another_platform_than_the_first_is_refused_until_its_key_is_removed() {
    let mut platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let ((healthy, _), _link) = tokio::join!(site.doctor(), platform.accept(&site.public_key));
    assert!(healthy);
    platform.key = schema::sign::SigningKey::from_seed([8; 32]);
    let ((healthy, report), _link) = tokio::join!(site.doctor(), platform.accept(&site.public_key));
    assert!(!healthy, "{report}");
    assert!(check(&report, "opening")["en"].as_str().expect("a sentence").contains("platform.pub"), "{report}");
    std::fs::remove_file(site.dir.path().join("platform.pub")).expect("removed");
    let ((healthy, report), _link) = tokio::join!(site.doctor(), platform.accept(&site.public_key));
    assert!(healthy, "{report}");
}

#[tokio::test]
async fn init_again_shows_the_same_keys_and_never_another_institution() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let again = ["init", "--institution", "H44190000001", "--platform", platform.url.as_str(), "--json"];
    let (done, printed) = common::adapter::run(&site.dir, &again).await;
    assert!(done);
    assert!(printed.contains(&site.public_key) && printed.contains(&site.api_key));
    let other = ["init", "--institution", "H44190000002", "--platform", platform.url.as_str(), "--json"];
    assert!(!common::adapter::run(&site.dir, &other).await.0);
}
