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
        (Code::InstitutionUnknown, "未登记或已停用"),
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

/// A platform of one answer: it reads a request's head, says these words and hangs up; silent without words.
async fn answering(words: &'static str) -> (String, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}/link/v1", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a request"));
        }
        if words.is_empty() {
            // Holds the connection until the other side gives up.
            let _ = stream.read_u8().await;
        }
        stream.write_all(words.as_bytes()).await.ok();
    });
    (url, serving)
}

#[tokio::test]
async fn a_failed_upgrade_is_named_as_such_and_never_as_a_working_websocket() {
    for (words, told) in [
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "HTTP 404"),
        ("HTTP/1.0 101 Switching Protocols\r\n\r\n", "HTTP/1.1"),
        ("HTTP/1.0 200 OK\r\n\r\nhello", "未升级为WebSocket"),
        ("220 mail.example ESMTP\r\n", "未升级为WebSocket"),
        ("", "超时"),
    ] {
        let (url, serving) = answering(words).await;
        let site = Site::init_with(&url, "connect_timeout_ms = 1500\n").await;
        let (healthy, report) = site.doctor().await;
        assert!(!healthy, "{words}: {report}");
        let websocket = check(&report, "websocket");
        assert_eq!(websocket["verdict"], "fault", "{words}: {report}");
        assert!(websocket["zh"].as_str().expect("a sentence").contains(told), "{told} in {websocket}");
        assert_eq!(check(&report, "tcp")["verdict"], "ok", "{words}: {report}");
        assert!(check(&report, "opening").is_null(), "it never came so far: {report}");
        serving.await.expect("served");
    }
}

/// Takes connections, does this with each and hangs up; its `wss://` address.
async fn at_wss<F: Future<Output = ()> + Send>(
    meets: impl Fn(tokio::net::TcpStream) -> F + Send + 'static,
) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("wss://{}/link/v1", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            meets(stream).await;
        }
    });
    (url, serving)
}

/// TLS is named as what failed, with the host and whom to ask, and everything before it as good.
async fn blames_tls(url: &str, word: &str) {
    let site = Site::init_with(url, "connect_timeout_ms = 5000\n").await;
    let (healthy, report) = site.doctor().await;
    assert!(!healthy, "{report}");
    let tls = check(&report, "tls");
    assert_eq!(tls["verdict"], "fault", "{report}");
    let (zh, en) = (tls["zh"].as_str().expect("a sentence"), tls["en"].as_str().expect("a sentence"));
    for (sentence, told) in [
        (zh, "127.0.0.1"),
        (zh, "请网络管理员检查是否有代理、拦截或证书替换"),
        (zh, word),
        (en, "127.0.0.1"),
        (en, "proxy"),
    ] {
        assert!(sentence.contains(told), "{told} in {tls}");
    }
    for sound in ["dns", "tcp"] {
        assert_eq!(check(&report, sound)["verdict"], "ok", "{sound} in {report}");
    }
    for later in ["websocket", "opening"] {
        assert!(check(&report, later).is_null(), "it never came so far: {report}");
    }
}

#[tokio::test]
async fn a_proxy_that_answers_plain_http_at_wss_is_told_to_the_network_team_as_tls() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (url, serving) = at_wss(|mut stream| async move {
        stream.read_u8().await.expect("a greeting");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.ok();
        // The rest of the greeting is read, or the answer would be lost to a reset.
        let _ = stream.read(&mut [0; 4096]).await;
    })
    .await;
    blames_tls(&url, "corrupt message").await;
    serving.abort();
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_told_to_the_network_team_as_tls() {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Signed by itself, for tests only.
    let certificate = include_bytes!("../../adapter-core/tests/tls/localhost.pem");
    let key = include_bytes!("../../adapter-core/tests/tls/localhost.key");
    let certificate = CertificateDer::from_pem_slice(certificate).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(key).expect("a key");
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config.expect("they belong together")));
    let (url, serving) = at_wss(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let refused = acceptor.accept(stream).await.is_err();
            assert!(refused, "the adapter went on");
        }
    })
    .await;
    blames_tls(&url, "UnknownIssuer").await;
    serving.abort();
}

#[tokio::test]
async fn with_wrong_settings_or_without_keys_it_says_so_and_does_not_try_the_link() {
    let platform = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}/link/v1", platform.local_addr().expect("an address"));
    let site = Site::init(&url).await;
    let config = site.dir.path().join("config.toml");
    let sound = std::fs::read_to_string(&config).expect("a config");
    let skipped = |report: &Value| {
        assert_eq!(check(report, "opening")["verdict"], "skipped", "{report}");
        for never in ["dns", "tcp", "websocket"] {
            assert!(check(report, never).is_null(), "{never} in {report}");
        }
    };

    std::fs::write(&config, sound.replace("H44190000001", "X1")).expect("written");
    let (healthy, report) = site.doctor().await;
    assert!(!healthy, "{report}");
    let settings = check(&report, "settings");
    assert_eq!(settings["verdict"], "fault", "{report}");
    for word in ["institution.code", "config.toml"] {
        assert!(settings["zh"].as_str().expect("a sentence").contains(word), "{word} in {settings}");
    }
    skipped(&report);

    std::fs::write(&config, &sound).expect("written");
    let key = site.dir.path().join("link.key");
    std::fs::remove_file(&key).expect("removed");
    let (healthy, report) = site.doctor().await;
    assert!(!healthy, "{report}");
    let permissions = check(&report, "permissions");
    assert_eq!(
        (&permissions["verdict"], &check(&report, "settings")["verdict"]),
        (&"fault".into(), &"ok".into()),
        "{report}"
    );
    for word in ["link.key", "init"] {
        assert!(permissions["zh"].as_str().expect("a sentence").contains(word), "{word} in {permissions}");
    }
    skipped(&report);
    assert!(!key.exists(), "looking makes nothing");
    let dialled = tokio::time::timeout(std::time::Duration::from_millis(50), platform.accept()).await;
    assert!(dialled.is_err(), "the link was tried");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_told_with_the_name() {
    // A label is at most 63 characters long, so no name server has to be asked.
    let host = format!("{}.invalid", "x".repeat(64));
    let site = Site::init(&format!("wss://{host}/link/v1")).await;
    let (healthy, report) = site.doctor().await;
    assert!(!healthy);
    let dns = check(&report, "dns");
    assert_eq!(dns["verdict"], "fault", "{report}");
    assert!(dns["zh"].as_str().expect("a sentence").contains(&host), "{dns}");
}

#[tokio::test]
async fn what_is_wrong_with_the_directory_is_told_without_blaming_the_journal() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    // Nothing can be written under the probe's name: it is a directory.
    let probe = site.dir.path().join("doctor.probe");
    std::fs::create_dir(&probe).expect("made");
    std::fs::write(site.dir.path().join("journal.db"), vec![7; 8192]).expect("written");
    let ((healthy, report), _link) = tokio::join!(site.doctor(), platform.accept(&site.public_key));
    assert!(!healthy, "{report}");
    assert_eq!(check(&report, "disk")["verdict"], "fault", "{report}");
    assert_eq!(check(&report, "journal")["verdict"], "fault", "{report}");
    assert!(check(&report, "journal")["zh"].as_str().expect("a sentence").contains("请勿删除"), "{report}");
    std::fs::remove_dir(&probe).expect("removed");

    std::fs::remove_dir_all(site.dir.path()).expect("removed");
    let (healthy, report) = site.doctor().await;
    assert!(!healthy, "{report}");
    assert!(check(&report, "disk")["zh"].as_str().expect("a sentence").contains("不存在"), "{report}");
    assert_eq!(check(&report, "journal")["verdict"], "skipped", "no journal, no damage: {report}");
    assert!(!site.dir.path().exists(), "looking makes nothing");
}

#[tokio::test]
async fn a_callback_that_cannot_be_reached_is_told_with_its_address() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let platform = Platform::listen().await;
    let site = Site::init_with(&platform.url, &format!("[callback]\nurl = \"http://{address}/work\"\n")).await;
    let ((healthy, report), _link) = tokio::join!(site.doctor(), platform.accept(&site.public_key));
    assert!(!healthy, "{report}");
    assert_eq!(check(&report, "his")["verdict"], "fault", "{report}");
    assert!(check(&report, "his")["zh"].as_str().expect("a sentence").contains(&address.to_string()), "{report}");
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
