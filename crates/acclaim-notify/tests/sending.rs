//! Sending over HTTP to a real listener: what arrives, and where it may not go.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acclaim_core::notify::{WebhookLimits, signature};
use acclaim_notify::{HttpSender, Message, Outcome, Sender};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A request as it came.
#[derive(Debug)]
struct Came {
    line: String,
    headers: HashMap<String, String>,
    body: String,
}

async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Came {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end;
        }
        assert!(
            stream.read_buf(&mut bytes).await.unwrap() > 0,
            "a whole request"
        );
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let headers: HashMap<String, String> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers["content-length"].parse().unwrap();
    while bytes.len() < head + 4 + length {
        assert!(
            stream.read_buf(&mut bytes).await.unwrap() > 0,
            "a whole body"
        );
    }
    let body = String::from_utf8(bytes[head + 4..].to_vec()).unwrap();
    Came {
        line,
        headers,
        body,
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> Came {
    let came = receive(&mut stream).await;
    // The other side need not read it all.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
    came
}

/// A listener that gives every connection the same answer.
async fn listen(text: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<Came>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, came) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = sender.send(answer(stream, text).await);
        }
    });
    (address, came)
}

fn limits() -> WebhookLimits {
    WebhookLimits {
        allow_private_addresses: true,
        ..WebhookLimits::default()
    }
}

fn sender(limits: WebhookLimits) -> HttpSender {
    HttpSender::trusting(limits, RootCertStore::empty()).unwrap()
}

fn message(url: String) -> Message {
    let secret = signature::secret(&[9; 32]);
    let body = r#"{"type":"acclaim.test"}"#;
    Message {
        url,
        id: "ntf_1".to_owned(),
        seconds: 1_795_168_800,
        signature: signature::sign(&secret, "ntf_1", 1_795_168_800, body.as_bytes()).unwrap(),
        body: body.to_owned(),
    }
}

async fn send_to(text: &'static str) -> Outcome {
    let (address, _came) = listen(text).await;
    sender(limits())
        .send(message(format!("http://{address}/")))
        .await
}

#[tokio::test]
async fn a_signed_message_arrives() {
    let (address, mut came) = listen("HTTP/1.1 204 No Content\r\n\r\n").await;
    let url = format!("http://localhost:{}/hook?a=b", address.port());
    assert_eq!(
        sender(limits()).send(message(url)).await,
        Outcome::Taken(204)
    );
    let came = came.recv().await.unwrap();
    assert_eq!(came.line, "POST /hook?a=b HTTP/1.1");
    assert_eq!(
        came.headers["host"],
        format!("localhost:{}", address.port())
    );
    assert_eq!(came.headers["content-type"], "application/json");
    assert!(came.headers["user-agent"].starts_with("acclaim/"));
    // Verified as a receiver would, from the specification.
    let signed = format!(
        "{}.{}.{}",
        came.headers["webhook-id"], came.headers["webhook-timestamp"], came.body
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(&[9; 32]).unwrap();
    mac.update(signed.as_bytes());
    let given = came.headers["webhook-signature"]
        .strip_prefix("v1,")
        .unwrap();
    mac.verify_slice(&STANDARD.decode(given).unwrap()).unwrap();
}

#[tokio::test]
async fn only_a_2xx_is_taken() {
    let cases = [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Outcome::Taken(200),
        ),
        (
            "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n",
            Outcome::Gone,
        ),
    ];
    for (text, outcome) in cases {
        assert_eq!(send_to(text).await, outcome);
    }
    let Outcome::Failed { status, error, .. } =
        send_to("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
            .await
    else {
        panic!("a redirect is no success");
    };
    assert_eq!(status, Some(302));
    assert!(error.contains("redirects are not followed"), "{error}");
    let busy = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let Outcome::Failed {
        status,
        retry_after,
        ..
    } = send_to(busy).await
    else {
        panic!("503 is no success");
    };
    assert_eq!(
        (status, retry_after),
        (Some(503), Some(Duration::from_secs(7)))
    );
    for text in ["", "nonsense\r\n\r\n", "HTTP/1.1 999999\r\n\r\n"] {
        let outcome = send_to(text).await;
        assert!(
            matches!(outcome, Outcome::Failed { status: None, .. }),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn nothing_goes_to_an_address_that_is_not_public() {
    let (address, mut came) = listen("HTTP/1.1 204 No Content\r\n\r\n").await;
    let strict = sender(WebhookLimits::default());
    let port = address.port();
    // The name is fine; what it stands for is not.
    for host in [
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ] {
        let outcome = strict.send(message(format!("http://{host}:{port}/"))).await;
        let Outcome::Failed {
            status: None,
            error,
            ..
        } = outcome
        else {
            panic!("{host}: {outcome:?}");
        };
        assert!(error.contains("not a public address"), "{host}: {error}");
    }
    assert!(came.try_recv().is_err(), "nobody was reached");
    let file = strict.send(message("file:///etc/passwd".to_owned())).await;
    assert!(matches!(file, Outcome::Failed { .. }), "{file:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = WebhookLimits {
        timeout_millis: 200,
        ..limits()
    };
    let outcome = sender(limits)
        .send(message(format!("http://{address}/")))
        .await;
    assert_eq!(outcome, Outcome::failed("no answer within 200 ms"));
    drop(listener);
    let outcome = sender(self::limits())
        .send(message(format!("http://{address}/")))
        .await;
    let Outcome::Failed { error, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(error.contains("cannot connect"), "{error}");
}

#[tokio::test]
async fn an_endless_answer_is_read_to_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        receive(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        while stream.write_all(&[b'a'; 65_536]).await.is_ok() {}
    });
    let limits = WebhookLimits {
        response_max_bytes: 100_000,
        ..limits()
    };
    let outcome = sender(limits)
        .send(message(format!("http://{address}/")))
        .await;
    assert_eq!(outcome, Outcome::Taken(200));
}

#[tokio::test]
async fn over_tls_the_name_must_be_certified() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let trusting = HttpSender::trusting(limits(), roots).unwrap();
    let to_name = message(format!("https://localhost:{port}/"));
    assert_eq!(trusting.send(to_name.clone()).await, Outcome::Taken(200));
    let to_address = message(format!("https://127.0.0.1:{port}/"));
    for outcome in [
        trusting.send(to_address).await,
        sender(limits()).send(to_name).await,
    ] {
        let Outcome::Failed { error, .. } = outcome else {
            panic!("not certified");
        };
        assert!(error.contains("no TLS with"), "{error}");
    }
}
