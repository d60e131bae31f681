//! `PUT`, `GET`, `DELETE /webhooks/{name}`, `POST /webhooks/{name}/test`, and what arrives.

use std::collections::HashMap;
use std::net::SocketAddr;

use acclaim_core::notify::{Settings, WebhookLimits};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::notifications::{Telling, time_of, until};
use crate::support::{NOW, Request, Server, json};

/// A message as it came.
struct Came {
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Came {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Verifies the signature as the specification says.
    fn verify(&self, secret: &str) {
        let key = STANDARD
            .decode(secret.strip_prefix("whsec_").unwrap())
            .unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let head = format!(
            "{}.{}.",
            self.headers["webhook-id"], self.headers["webhook-timestamp"]
        );
        mac.update(head.as_bytes());
        mac.update(&self.body);
        let given = self.headers["webhook-signature"]
            .strip_prefix("v1,")
            .unwrap();
        mac.verify_slice(&STANDARD.decode(given).unwrap()).unwrap();
    }
}

/// A receiver that answers every message with this status.
async fn receiver(status: u16) -> (SocketAddr, mpsc::UnboundedReceiver<Came>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, came) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut headers = HashMap::new();
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            loop {
                line.clear();
                stream.read_line(&mut line).await.unwrap();
                match line.trim_end().split_once(": ") {
                    Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
                    None => break,
                };
            }
            let length: usize = headers["content-length"].parse().unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = sender.send(Came { headers, body });
        }
    });
    (address, came)
}

async fn put(server: &Server, name: &str, body: Value) -> Value {
    server
        .put(&format!("/api/v2/webhooks/{name}"), body)
        .await
        .ok()
}

fn test(name: &str) -> Request {
    Request::new("POST", &format!("/api/v2/webhooks/{name}/test"))
}

async fn only(server: &Server) -> Value {
    server.get("/api/v2/webhooks").await.ok()["items"][0].clone()
}

#[tokio::test]
async fn what_is_told_arrives_signed() {
    let telling = Telling::usual().await;
    let server = &telling.server;
    let (address, mut came) = receiver(204).await;
    let made = put(
        server,
        "app",
        json!({"url": format!("http://{address}/hook")}),
    )
    .await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"), "{made}");
    let owned = json!({"ownerId": 1, "title": "My first post", "url": "/posts/5"});
    server.put("/api/v2/targets/POST/5", owned).await.ok();
    server.set("likes", 9, "POST", 5).await;
    let message = came.recv().await.unwrap();
    message.verify(&secret);
    let mut told = message.json();
    let id = told["data"]["id"].take();
    assert_eq!(time_of(&id), NOW.0);
    assert_eq!(
        told,
        json!({
            "type": "acclaim.notification", "timestamp": "2026-11-20T10:00:00.000000Z",
            "data": {
                "id": null, "ownerId": 1, "kind": "likes",
                "targetType": "POST", "targetId": "5",
                "actors": [{"userId": 9, "at": "2026-11-20T10:00:00.000000Z"}],
                "others": 0, "at": "2026-11-20T10:00:00.000000Z",
                "title": "My first post", "url": "/posts/5"
            }
        })
    );
    let reply = server.send(test("app")).await.json(202);
    let message = came.recv().await.unwrap();
    message.verify(&secret);
    assert_eq!(message.headers["webhook-id"], reply["id"].as_str().unwrap());
    assert_eq!(message.json()["type"], "acclaim.test");
    let view = until(async || {
        let view = only(server).await;
        (view["waiting"] == 0 && view["lastAttempt"]["status"] == 204).then_some(view)
    })
    .await;
    assert_eq!(
        (&view["state"], &view["failures"]),
        (&json!("active"), &json!(0))
    );
    assert!(view.get("secret").is_none(), "it is shown once");
}

#[tokio::test]
async fn they_are_made_changed_listed_and_removed() {
    let telling = Telling::usual().await;
    let server = &telling.server;
    let (address, _came) = receiver(200).await;
    let url = format!("http://{address}/");
    let body = json!({"url": url, "kinds": ["likes"], "targetTypes": ["POST"]});
    let made = put(server, "b", body.clone()).await;
    assert_eq!(made["kinds"], json!(["likes"]));
    assert_eq!(made["targetTypes"], json!(["POST"]));
    assert_eq!(made["createdAt"], "2026-11-20T10:00:00.000000Z");
    let changed = put(server, "b", json!({"url": url})).await;
    assert!(
        changed.get("secret").is_none() && changed.get("kinds").is_none(),
        "{changed}"
    );
    put(server, "a", body).await;
    let all = server.get("/api/v2/webhooks").await.ok();
    let names: Vec<&Value> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| &i["name"])
        .collect();
    assert_eq!(names, ["a", "b"]);
    let gone = server.delete("/api/v2/webhooks/a").await.ok();
    assert_eq!(gone, json!({"name": "a", "dropped": 0}));
    server
        .delete("/api/v2/webhooks/a")
        .await
        .problem(404, "not_found");
    server.send(test("a")).await.problem(404, "not_found");
    let audit = server.get("/api/v2/audit").await.ok().to_string();
    for detail in ["put a", "remove a", "test a"] {
        assert!(audit.contains(detail), "{audit}");
    }
}

#[tokio::test]
async fn one_that_is_gone_says_so_and_leaves_dead_letters() {
    let telling = Telling::usual().await;
    let server = &telling.server;
    let (address, mut came) = receiver(410).await;
    put(server, "app", json!({"url": format!("http://{address}/")})).await;
    telling.own(5, 1).await;
    server.set("likes", 9, "POST", 5).await;
    came.recv().await.unwrap();
    let letters = until(async || {
        let letters = server.get("/api/v2/dead-letters").await.ok();
        (!letters["items"].as_array().unwrap().is_empty()).then_some(letters)
    })
    .await;
    let letter = &letters["items"][0];
    assert_eq!(
        letter["reason"],
        "webhook app: the endpoint answered 410: it is gone"
    );
    assert_eq!(letter["seq"], 1_795_168_800_000_000_u64);
    assert_eq!(only(server).await["state"], "disabled");
    let (address, mut came) = receiver(204).await;
    put(server, "app", json!({"url": format!("http://{address}/")})).await;
    let retry = format!("/api/v2/dead-letters/{}/retry", letter["id"]);
    let resent = server.send(Request::new("POST", &retry)).await.ok();
    assert_eq!(resent["outcome"], "applied");
    assert_eq!(came.recv().await.unwrap().json()["data"]["targetId"], "5");
    server
        .send(Request::new("POST", &retry))
        .await
        .problem(404, "not_found");
}

/// What waits for a webhook that is down, and what found its queue full.
#[tokio::test]
async fn erasure_takes_along_what_waits_and_what_was_given_up() {
    let telling = Telling::start(Settings {
        webhooks: WebhookLimits {
            allow_private_addresses: true,
            queue_max_deliveries: 1,
            ..WebhookLimits::default()
        },
        ..Settings::default()
    })
    .await;
    let server = &telling.server;
    let (address, _came) = receiver(500).await;
    put(server, "app", json!({"url": format!("http://{address}/")})).await;
    for (target, owner) in [(5, 1), (6, 1), (7, 2), (8, 2)] {
        telling.own(target, owner).await;
        server.set("likes", 9, "POST", target).await;
    }
    let given_up = async |most: usize| {
        until(async || {
            let letters = server.get("/api/v2/dead-letters").await.ok();
            let items = letters["items"].as_array().unwrap().clone();
            (items.len() <= most).then_some(items)
        })
        .await
    };
    until(async || {
        let letters = server.get("/api/v2/dead-letters").await.ok();
        let waiting = only(server).await["waiting"].clone();
        (waiting == 1 && letters["items"].as_array().unwrap().len() == 3).then_some(())
    })
    .await;
    server.delete("/api/v2/users/1").await.json(202);
    let left = given_up(2).await;
    let is_of_2 = |letter: &Value| letter["event"].as_str().unwrap().contains("\"ownerId\":2");
    assert!(left.len() == 2 && left.iter().all(is_of_2), "{left:?}");
    until(async || (only(server).await["waiting"] == 0).then_some(())).await;
    server.delete("/api/v2/targets/POST/7").await.json(202);
    let left = given_up(1).await;
    assert!(left.len() == 1 && is_of_2(&left[0]), "{left:?}");
    server.delete("/api/v2/users/2").await.json(202);
    assert_eq!(given_up(0).await, Vec::<Value>::new());
}

#[tokio::test]
async fn bad_input_is_refused_by_field() {
    let telling = Telling::start(Settings {
        webhooks: WebhookLimits {
            max_endpoints: 2,
            ..WebhookLimits::default()
        },
        ..Settings::default()
    })
    .await;
    let server = &telling.server;
    let good = "https://example.org/hook";
    let many = vec!["likes"; 65];
    let cases = [
        (json!({}), "url"),
        (json!({"url": null}), "url"),
        (json!({"url": ""}), "url"),
        (json!({"url": "example.org"}), "url"),
        (json!({"url": "ftp://example.org/"}), "url"),
        (json!({"url": "https://user:pass@example.org/"}), "url"),
        (json!({"url": "http://127.0.0.1/"}), "url"),
        (json!({"url": "http://169.254.169.254/latest"}), "url"),
        (json!({"url": "http://[::ffff:10.0.0.1]/"}), "url"),
        (
            json!({"url": format!("https://example.org/{}", "a".repeat(2_048))}),
            "url",
        ),
        (json!({"url": good, "kinds": []}), "kinds"),
        (json!({"url": good, "kinds": ["claps"]}), "kinds"),
        (json!({"url": good, "kinds": many}), "kinds"),
        (json!({"url": good, "kinds": null}), "kinds"),
        (json!({"url": good, "targetTypes": []}), "targetTypes"),
        (
            json!({"url": good, "targetTypes": ["post"]}),
            "targetTypes[0]",
        ),
        (json!({"url": good, "secret": "mine"}), "secret"),
    ];
    for (body, field) in cases {
        server.put("/api/v2/webhooks/app", body).await.bad(field);
    }
    for name in ["%20", "a%2Fb", &"a".repeat(65)] {
        let path = format!("/api/v2/webhooks/{name}");
        server.put(&path, json!({"url": good})).await.bad("name");
        server.delete(&path).await.bad("name");
    }
    put(server, "one", json!({"url": good})).await;
    put(server, "two", json!({"url": good})).await;
    let detail = server
        .put("/api/v2/webhooks/three", json!({"url": good}))
        .await
        .bad("name");
    assert!(detail.contains("there are 2 webhooks"), "{detail}");
    put(server, "two", json!({"url": good})).await;
    server.get("/api/v2/webhooks?size=1").await.bad("size");
    server
        .send(Request::new("PATCH", "/api/v2/webhooks"))
        .await
        .problem(405, "method_not_allowed");
}
