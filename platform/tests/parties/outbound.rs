//! A request goes out once, and whether the other side can have seen it is told apart.

use std::sync::atomic::Ordering;
use std::time::Duration;

use platform::parties::answer::No;
use platform::parties::outbound::{Failure, Http, MOST_RESPONSE_BYTES, NEVER_SENT, Outbound as _, Request, Response};
use tokio::net::TcpListener;

use crate::ear::{Ear, Then};

fn request(url: &str) -> Request {
    let headers = vec![("x-word".to_owned(), "1".to_owned())];
    let timeout = Duration::from_secs(20);
    Request { method: "POST", url: format!("{url}/2207?a=1"), headers, body: b"{}".to_vec(), timeout }
}

async fn send(request: Request) -> Result<Response, Failure> {
    Http::new().expect("a client").send(request).await
}

#[tokio::test]
async fn what_is_sent_arrives_as_it_is_and_the_answer_comes_back_with_lower_case_headers() {
    let mut ear = Ear::open(Then::Say(b"HTTP/1.1 422 X\r\nX-Told: yes\r\nContent-Length: 2\r\n\r\nno".to_vec())).await;
    let response = send(request(&ear.url)).await.expect("an answer");
    assert_eq!((response.status, response.header("x-told"), &response.body[..]), (422, Some("yes"), &b"no"[..]));
    let heard = ear.next().await;
    assert_eq!((heard.line.as_str(), &heard.body[..]), ("POST /2207?a=1 HTTP/1.1", &b"{}"[..]));
    assert!(heard.headers.contains(&("x-word".to_owned(), "1".to_owned())));
}

#[tokio::test]
async fn a_request_to_nobody_was_never_sent() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    for url in [closed.as_str(), "http://no-such-host.invalid", "no address at all"] {
        let failure = send(request(url)).await.map(|_| ()).expect_err("nobody is there");
        assert!(matches!(failure, Failure::NeverSent(_)), "{url}: {failure:?}");
        let No::Refused(refused) = failure.into_no() else { unreachable!("never sent is a refusal") };
        assert_eq!((refused.code.as_str(), refused.busy), (NEVER_SENT, true));
        assert!(!refused.words.contains("2207"), "no address in the words: {}", refused.words);
    }
}

#[tokio::test]
async fn a_request_that_was_read_and_not_answered_is_lost_and_was_sent_once() {
    let too_long = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MOST_RESPONSE_BYTES + 1).into_bytes();
    let too_long = [too_long, vec![b'x'; MOST_RESPONSE_BYTES + 1]].concat();
    for (case, then, timeout_ms) in [
        ("hung up", Then::HangUp, 20_000),
        ("silent", Then::Hold, 300),
        ("half an answer", Then::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec()), 300),
        ("not HTTP", Then::Say(b"\x00\x01\x02 nonsense\r\n\r\n".to_vec()), 20_000),
        ("too long", Then::Say(too_long), 20_000),
    ] {
        let mut ear = Ear::open(then).await;
        let request = Request { timeout: Duration::from_millis(timeout_ms), ..request(&ear.url) };
        let failure = send(request).await.map(|_| ()).expect_err(case);
        assert!(matches!(&failure, Failure::Lost(why) if !why.contains("2207")), "{case}: {failure:?}");
        assert!(matches!(failure.into_no(), No::Unknown(_)), "{case}");
        ear.next().await;
        assert_eq!(ear.rest(), 0, "{case}: sent again");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let elsewhere = Ear::open(Then::HangUp).await;
    let redirect = format!("HTTP/1.1 307 X\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url);
    let ear = Ear::open(Then::Say(redirect.into_bytes())).await;
    assert_eq!(send(request(&ear.url)).await.expect("an answer").status, 307);
    assert_eq!(elsewhere.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let ear = Ear::open(Then::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec())).await;
    let http = Http::new().expect("a client");
    for _ in 0..3 {
        assert_eq!(http.send(request(&ear.url)).await.expect("an answer").status, 200);
    }
    assert_eq!(ear.connections.load(Ordering::SeqCst), 1);
}
