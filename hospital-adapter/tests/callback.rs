//! Work by callback: the HIS is called, and called again until it answers.

mod common;

use common::adapter::Site;
use common::platform::{Platform, fresh_id, patiently};
use schema::ids::OrderId;
use schema::link::{Release, Reply, ToInstitution};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Reads one HTTP request; its head and its JSON body.
async fn request(stream: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = patiently(stream.read(&mut chunk)).await.expect("readable");
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            return (head.to_owned(), body);
        }
        assert_ne!(read, 0, "the request broke off: {text}");
    }
}

async fn respond(mut stream: TcpStream, status: &str, body: &str) {
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.expect("written");
}

/// An HIS that cannot answer now.
const BUSY: &str = r#"{"reply":{"reply":"refused","type":"urn:tongfu:refusal:OVERLOADED","status":503,"title":"忙",
    "title_en":"busy","code":"OVERLOADED","again":"later"}}"#;

#[tokio::test]
async fn a_callback_is_repeated_until_the_his_gives_an_answer_that_fits() {
    let his = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/work", his.local_addr().expect("an address"));
    let platform = Platform::listen().await;
    let settings = format!("[callback]\nurl = \"{url}\"\nretry_first_ms = 10\nretry_most_ms = 50\n");
    let site = Site::init_with(&platform.url, &settings).await;
    let _adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    let id = fresh_id();
    let order_id = OrderId::from_uuid(uuid::Uuid::nil());
    link.ask(id, ToInstitution::Release(Release { order_id, bill_no: "B1".into() })).await;

    for (status, body) in [
        ("500 Internal Server Error", ""),
        ("200 OK", "not JSON"),
        ("200 OK", r#"{"reply":{"reply":"booked"}}"#),
        ("200 OK", BUSY),
        ("200 OK", r#"{"reply":{"reply":"done"}}"#),
    ] {
        let (mut stream, _) = patiently(his.accept()).await.expect("a call");
        let (head, item) = request(&mut stream).await;
        let head = head.to_lowercase();
        assert!(head.contains(&format!("authorization: bearer {}", site.api_key)), "{head}");
        assert!(head.contains(&format!("x-trace-id: {}", "ab".repeat(16))), "{head}");
        assert_eq!(item["id"], serde_json::json!(id));
        respond(stream, status, body).await;
    }
    let (_, frame, reply) = link.hear_reply().await;
    assert_eq!((frame.re, reply), (Some(id), Reply::Done));
}
