//! One attempt to open the link: name, socket, TLS, WebSocket, opening. Each failure knows its stage and the sentence
//! that can be sent to whoever can mend it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Url;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use schema::ids::InstitutionCode;
use schema::link::{MOST_FRAME_BYTES, Opening, hello_bytes};
use schema::refusal::Problem;
use schema::sign::{PublicKey, SigningKey};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_with_config};

use crate::core::Core;
use crate::keys::{Home, HomeFault};
use crate::settings::{Settings, ms};

/// The socket of an open link.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The version of the protocol that is spoken here.
const PROTOCOL: u16 = 1;

/// Whom to dial, and as whom.
#[derive(Debug)]
pub struct Target<'a> {
    /// `wss://host/link/v1`.
    pub url: &'a str,
    /// The institution.
    pub institution: InstitutionCode,
    /// Its key.
    pub key: &'a SigningKey,
    /// Where the platform's key is kept.
    pub home: &'a Home,
    /// How long the whole attempt may take.
    pub timeout: Duration,
}

impl<'a> Target<'a> {
    /// The running adapter's target.
    pub(crate) fn of(core: &'a Core) -> Target<'a> {
        Target::new(&core.settings, &core.key, &core.home)
    }

    /// A target made of settings and secrets.
    pub fn new(settings: &'a Settings, key: &'a SigningKey, home: &'a Home) -> Target<'a> {
        Target {
            url: &settings.link.platform,
            institution: settings.institution_code(),
            key,
            home,
            timeout: ms(settings.link.connect_timeout_ms),
        }
    }
}

/// An open link.
#[derive(Debug)]
pub struct Opened {
    pub(crate) socket: Socket,
    /// How often to ping.
    pub heartbeat: Duration,
    /// The platform's time when it welcomed us: microseconds UTC.
    pub server_time_us: i64,
    /// The institution's name as the platform knows it.
    pub institution_name: String,
    /// What the platform signs with.
    pub platform_key: PublicKey,
}

/// How far an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Finding the host's address.
    Dns,
    /// Reaching its port.
    Tcp,
    /// TLS.
    Tls,
    /// The WebSocket upgrade.
    Upgrade,
    /// The opening words.
    Opening,
}

impl Stage {
    /// One word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Dns => "dns",
            Stage::Tcp => "tcp",
            Stage::Tls => "tls",
            Stage::Upgrade => "websocket",
            Stage::Opening => "opening",
        }
    }
}

/// Why the link could not be opened. Shown as the sentence for whoever can mend it, in Chinese and English.
#[derive(Debug)]
pub enum DialFault {
    /// The name has no address.
    Dns {
        /// The name.
        host: String,
        /// The system's reason.
        detail: String,
    },
    /// The port cannot be reached.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The system's reason.
        detail: String,
    },
    /// TLS failed.
    Tls {
        /// The host.
        host: String,
        /// The reason.
        detail: String,
    },
    /// Something answered, but not with a WebSocket.
    Upgrade {
        /// The host.
        host: String,
        /// What it did instead.
        detail: String,
    },
    /// It took too long.
    Slow {
        /// Where it stopped.
        stage: Stage,
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// The platform said no.
    Refused(Box<Problem>),
    /// The platform is not the one we met first.
    OtherPlatform {
        /// What was kept.
        kept: Box<PublicKey>,
        /// What was offered.
        offered: Box<PublicKey>,
        /// Where it is kept.
        path: String,
    },
    /// The other side does not speak the protocol, or hung up.
    NotTheProtocol(String),
    /// Our own directory failed.
    Home(HomeFault),
}

impl From<HomeFault> for DialFault {
    fn from(fault: HomeFault) -> DialFault {
        DialFault::Home(fault)
    }
}

impl std::error::Error for DialFault {}

impl std::fmt::Display for DialFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (zh, en) = self.sentences();
        write!(f, "{zh} / {en}")
    }
}

impl DialFault {
    /// How far the attempt came.
    pub fn stage(&self) -> Stage {
        match self {
            DialFault::Dns { .. } => Stage::Dns,
            DialFault::Tcp { .. } => Stage::Tcp,
            DialFault::Tls { .. } => Stage::Tls,
            DialFault::Upgrade { .. } => Stage::Upgrade,
            DialFault::Slow { stage, .. } => *stage,
            DialFault::Refused(_)
            | DialFault::OtherPlatform { .. }
            | DialFault::NotTheProtocol(_)
            | DialFault::Home(_) => Stage::Opening,
        }
    }

    /// What is wrong and who can mend it, in Chinese and English: fit to be sent as it is.
    pub fn sentences(&self) -> (String, String) {
        match self {
            DialFault::Dns { host, detail } => (
                format!("本机无法解析域名 {host}，请网络管理员配置DNS解析（{detail}）。"),
                format!("This machine cannot resolve {host}; please add it to its DNS ({detail})."),
            ),
            DialFault::Tcp { host, port, detail } => (
                format!(
                    "本机无法建立到 {host}:{port} 的出站TCP连接，请网络管理员放行：方向为本机→{host}，端口{port}，长连接（{detail}）。"
                ),
                format!(
                    "This machine cannot open an outbound TCP connection to {host}:{port}; please allow it: direction \
                     this machine to {host}, port {port}, long-lived ({detail})."
                ),
            ),
            DialFault::Tls { host, detail } => (
                format!("与 {host} 的TLS握手失败，请网络管理员检查是否有代理、拦截或证书替换（{detail}）。"),
                format!(
                    "TLS with {host} failed; please check for a proxy or a replaced certificate on the way ({detail})."
                ),
            ),
            DialFault::Upgrade { host, detail } => (
                format!(
                    "{host} 未升级为WebSocket（{detail}），请检查平台地址，并请网络管理员放行WebSocket升级（HTTP/1.1）。"
                ),
                format!(
                    "{host} did not open a WebSocket ({detail}); check the platform's address, and please let WebSocket \
                     upgrades (HTTP/1.1) pass."
                ),
            ),
            DialFault::Slow { stage, host, port } => (
                format!(
                    "连接 {host}:{port} 在 {} 阶段超时，请网络管理员检查防火墙是否丢弃出站数据包。",
                    stage.as_str()
                ),
                format!(
                    "Connecting to {host}:{port} got no answer at stage {}; please check whether a firewall drops \
                     outbound packets.",
                    stage.as_str()
                ),
            ),
            DialFault::Refused(problem) => (
                format!("平台拒绝了连接（{}）：{}", problem.code, problem.title),
                format!("The platform refused ({}): {}", problem.code, problem.title_en),
            ),
            DialFault::OtherPlatform { kept, offered, path } => (
                format!(
                    "平台公钥与首次连接时不同（原 {kept}，现 {offered}）。请向平台经办核实；确认是平台更换后，删除 {path}。"
                ),
                format!(
                    "The platform's key is not the one kept at first contact (kept {kept}, offered {offered}). Ask the \
                     platform's operators; if the change is theirs, remove {path}."
                ),
            ),
            DialFault::NotTheProtocol(detail) => (
                format!("对端未按链路协议应答，请检查平台地址以及中间是否有代理（{detail}）。"),
                format!("The other side does not speak the link's protocol; check the address and proxies ({detail})."),
            ),
            DialFault::Home(fault) => {
                (format!("适配器目录异常：{fault}"), format!("The adapter's directory: {fault}."))
            }
        }
    }
}

/// Opens the link once.
pub async fn dial(target: &Target<'_>) -> Result<Opened, DialFault> {
    let deadline = tokio::time::Instant::now() + target.timeout;
    let url = Url::parse(target.url).map_err(|error| DialFault::NotTheProtocol(error.to_string()))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let slow = |stage| {
        let host = host.clone();
        move |_| DialFault::Slow { stage, host, port }
    };

    let addresses = timeout_at(deadline, resolve(&host, port)).await.map_err(slow(Stage::Dns))??;
    let stream = timeout_at(deadline, connect(&host, port, addresses)).await.map_err(slow(Stage::Tcp))??;
    let stream = match url.scheme() {
        "wss" => timeout_at(deadline, secure(stream, &host, trusted())).await.map_err(slow(Stage::Tls))??,
        _ => MaybeTlsStream::Plain(stream),
    };
    let socket = timeout_at(deadline, upgrade(target.url, stream, &host)).await.map_err(slow(Stage::Upgrade))??;
    timeout_at(deadline, open(target, socket)).await.map_err(slow(Stage::Opening))?
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DialFault> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let dns = |detail: String| DialFault::Dns { host: host.to_owned(), detail };
    let addresses: Vec<SocketAddr> =
        tokio::net::lookup_host((bare, port)).await.map_err(|error| dns(error.to_string()))?.collect();
    if addresses.is_empty() { Err(dns("no address".to_owned())) } else { Ok(addresses) }
}

async fn connect(host: &str, port: u16, addresses: Vec<SocketAddr>) -> Result<TcpStream, DialFault> {
    let mut detail = String::new();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Frames are small and people wait for them.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => detail = error.to_string(),
        }
    }
    Err(DialFault::Tcp { host: host.to_owned(), port, detail })
}

/// Whom to believe that a platform is who its name says: the public certificate authorities.
fn trusted() -> Arc<ClientConfig> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// The TLS handshake, and nothing else: whatever goes wrong later is not TLS's fault.
async fn secure(
    stream: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<MaybeTlsStream<TcpStream>, DialFault> {
    let tls = |detail: String| DialFault::Tls { host: host.to_owned(), detail };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(bare.to_owned()).map_err(|error| tls(error.to_string()))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| tls(error.to_string()))?;
    Ok(MaybeTlsStream::Rustls(stream))
}

async fn upgrade(url: &str, stream: MaybeTlsStream<TcpStream>, host: &str) -> Result<Socket, DialFault> {
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MOST_FRAME_BYTES);
    config.max_frame_size = Some(MOST_FRAME_BYTES);
    config.read_buffer_size = 16 * 1024;
    let host = host.to_owned();
    match client_async_with_config(url, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(WsError::Http(response)) => {
            Err(DialFault::Upgrade { host, detail: format!("HTTP {}", response.status().as_u16()) })
        }
        // An answer of HTTP/1.0, one that is no HTTP at all, a connection that is closed: the upgrade has failed.
        Err(error) => Err(DialFault::Upgrade { host, detail: error.to_string() }),
    }
}

async fn open(target: &Target<'_>, mut socket: Socket) -> Result<Opened, DialFault> {
    let odd = |what: &str| DialFault::NotTheProtocol(what.to_owned());
    let nonce = match hear(&mut socket).await? {
        Opening::Challenge { nonce } => nonce,
        Opening::Refused { problem } => return Err(DialFault::Refused(Box::new(problem))),
        Opening::Hello { .. } | Opening::Welcome { .. } => return Err(odd("the first word was no challenge")),
    };
    let hello = Opening::Hello {
        protocol: PROTOCOL,
        institution: target.institution.clone(),
        key: target.key.public(),
        signature: target.key.sign(&hello_bytes(&nonce, &target.institution)),
        adapter_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let text = serde_json::to_string(&hello).map_err(|error| odd(&error.to_string()))?;
    socket.send(Message::text(text)).await.map_err(|error| odd(&error.to_string()))?;
    match hear(&mut socket).await? {
        Opening::Welcome { heartbeat_s, server_time_us, institution_name, platform_key } => {
            recognise(target.home, &platform_key)?;
            let heartbeat = Duration::from_secs(heartbeat_s.clamp(1, 3600));
            Ok(Opened { socket, heartbeat, server_time_us, institution_name, platform_key })
        }
        Opening::Refused { problem } => Err(DialFault::Refused(Box::new(problem))),
        Opening::Challenge { .. } | Opening::Hello { .. } => Err(odd("the second word was neither yes nor no")),
    }
}

/// Trust on first use: keeps the platform's key at first contact and accepts no other afterwards.
fn recognise(home: &Home, offered: &PublicKey) -> Result<(), DialFault> {
    match home.platform_key()? {
        None => Ok(home.keep_platform_key(offered)?),
        Some(kept) if kept == *offered => Ok(()),
        Some(kept) => Err(DialFault::OtherPlatform {
            kept: Box::new(kept),
            offered: Box::new(offered.clone()),
            path: home.file("platform.pub").display().to_string(),
        }),
    }
}

async fn hear(socket: &mut Socket) -> Result<Opening, DialFault> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text).map_err(|error| DialFault::NotTheProtocol(error.to_string()));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Binary(_))) => return Err(DialFault::NotTheProtocol("binary message".to_owned())),
            Some(Ok(Message::Close(_))) | None => {
                return Err(DialFault::NotTheProtocol("hung up during the opening".to_owned()));
            }
            Some(Err(error)) => return Err(DialFault::NotTheProtocol(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/tls/localhost.pem");
    const KEY: &[u8] = include_bytes!("../../tests/tls/localhost.key");

    /// A platform with a certificate that is believed here: after the handshake it reads a little, says these words and
    /// hangs up.
    async fn fault_after(words: &'static str) -> DialFault {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a root");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
        let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
        let acceptor = TlsAcceptor::from(Arc::new(server.expect("they belong together")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let platform = async {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            stream.read_u8().await.expect("a request");
            stream.write_all(words.as_bytes()).await.expect("written");
            stream.flush().await.expect("written");
            // What is left unread makes the system say "reset", as a firewall would.
        };
        let adapter = async {
            let stream = TcpStream::connect(address).await.expect("connected");
            let stream = secure(stream, "localhost", Arc::new(config)).await.expect("a good handshake");
            upgrade(&format!("wss://localhost:{}/link/v1", address.port()), stream, "localhost").await
        };
        let ((), opened) = tokio::join!(platform, adapter);
        opened.map(|_| ()).expect_err("no WebSocket")
    }

    #[tokio::test]
    async fn what_breaks_behind_a_good_handshake_is_not_called_tls() {
        for words in ["", "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "no HTTP\r\n\r\n"] {
            let fault = fault_after(words).await;
            assert_eq!(fault.stage(), Stage::Upgrade, "{words}: {fault}");
        }
    }
}
