//! Hundreds of adapters that are connected and say nothing: pharmacies at night. They share this process, as adapters
//! may; what they cost the platform is its memory and their heartbeats.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use sandbox::city::City;
use schema::ids::InstitutionCode;
use schema::link::{Opening, hello_bytes};
use schema::sign::SigningKey;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::costs;

/// Sixteen hospitals and 650 pharmacies, less the hospitals of the city that are there anyway.
pub(crate) const LINKS: u32 = 663;
/// Set-up commands at a time.
const COMMANDS: usize = 2;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Links that live as long as this does.
pub(crate) struct Idle {
    _links: JoinSet<()>,
    /// What the platform's memory grew by, in bytes a link.
    pub(crate) bytes_per_link: u64,
}

impl Idle {
    /// Registers so many institutions and connects them to the first platform process.
    pub(crate) async fn connect(city: &City, platform_pid: u32, links: u32) -> io::Result<Idle> {
        let tenants = city.platform_cli(&["tenant", "list"], false).await?;
        let tenant =
            tenants[0]["tenant_id"].as_str().ok_or_else(|| io::Error::other("a city without a tenant"))?.to_owned();
        let url = city.platform_url().await?.replacen("http", "ws", 1) + "/link/v1";
        let turns = Arc::new(Semaphore::new(COMMANDS));
        let mut made = JoinSet::new();
        for number in 0..links {
            let (code, key) = pharmacy(number);
            let public = key.public().to_string();
            let named = ["--tenant", &tenant, "--code", code.as_str()].map(str::to_owned);
            let create: Vec<String> =
                ["institution", "create"].map(str::to_owned).into_iter().chain(named.clone()).collect();
            let rest = ["--name", "药店", "--area", "441900", "--sub-mchid", "1900000109"].map(str::to_owned);
            let approve: Vec<String> = ["institution", "approve"].map(str::to_owned).into_iter().chain(named).collect();
            let commands = [
                city.platform_cli_recipe(&words(&[create, rest.to_vec()].concat())),
                city.platform_cli_recipe(&words(&[approve, vec!["--key".into(), public]].concat())),
            ];
            let turns = Arc::clone(&turns);
            made.spawn(async move {
                let _turn = turns.acquire_owned().await;
                for command in commands {
                    command.answer(false).await?;
                }
                Ok::<(), io::Error>(())
            });
        }
        while let Some(done) = made.join_next().await {
            done.map_err(io::Error::other)??;
        }
        // One first: what the first link brings with it is no link's.
        let mut open = JoinSet::new();
        let mut before = 0;
        for number in 0..links {
            let (socket, heartbeat) = dial(&url, number).await?;
            open.spawn(live(socket, heartbeat));
            if number == 0 {
                before = costs::now_kib(platform_pid).unwrap_or(0);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = costs::now_kib(platform_pid).unwrap_or(0);
        let bytes_per_link = after.saturating_sub(before) * 1024 / u64::from(links.saturating_sub(1)).max(1);
        Ok(Idle { _links: open, bytes_per_link })
    }
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Its code and its key.
fn pharmacy(number: u32) -> (InstitutionCode, SigningKey) {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    let code = format!("P441900{number:05}").parse().expect("twelve characters");
    (code, SigningKey::from_seed(seed))
}

async fn dial(url: &str, number: u32) -> io::Result<(Socket, Duration)> {
    let (code, key) = pharmacy(number);
    let (mut socket, _) = connect_async(url).await.map_err(io::Error::other)?;
    let odd = |what: &Opening| io::Error::other(format!("{code}: not let in: {what:?}"));
    let nonce = match hear(&mut socket).await? {
        Opening::Challenge { nonce } => nonce,
        other => return Err(odd(&other)),
    };
    let hello = Opening::Hello {
        protocol: 1,
        institution: code.clone(),
        key: key.public(),
        signature: key.sign(&hello_bytes(&nonce, &code)),
        adapter_version: "loadtest".to_owned(),
    };
    socket.send(Message::text(serde_json::to_string(&hello)?)).await.map_err(io::Error::other)?;
    match hear(&mut socket).await? {
        Opening::Welcome { heartbeat_s, .. } => Ok((socket, Duration::from_secs(heartbeat_s.max(1)))),
        other => Err(odd(&other)),
    }
}

async fn hear(socket: &mut Socket) -> io::Result<Opening> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text)?),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(io::Error::other(error)),
            None => return Err(io::Error::other("hung up during the opening")),
        }
    }
}

/// Answers pings and sends its own, until one of both ends hangs up.
async fn live(mut socket: Socket, heartbeat: Duration) {
    let mut tick = tokio::time::interval(heartbeat);
    loop {
        let ended = tokio::select! {
            _ = tick.tick() => socket.send(Message::Ping(Vec::new().into())).await.is_err(),
            heard = socket.next() => !matches!(heard, Some(Ok(_))),
        };
        if ended {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_pharmacy_has_a_code_and_a_key_of_its_own() {
        let (one, other) = (super::pharmacy(1), super::pharmacy(662));
        assert_ne!(one.0, other.0);
        assert_ne!(one.1.public(), other.1.public());
    }
}
