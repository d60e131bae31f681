//! An owner whose targets are liked under kills: who was answered, who is told of in the list, who
//! came by the webhook.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Client, Lost, Sent};

const TOLD_LIMIT: Duration = Duration::from_secs(120);
pub const OWNER: u64 = 1;
pub const TARGETS: u64 = 20;
/// Who did it to what: user and target.
pub type Likes = BTreeSet<(u64, u64)>;

fn put(path: String, body: Value) -> Sent {
    Sent {
        method: Method::PUT,
        path,
        body: Some(body),
        key: None,
    }
}

/// Takes every message, and keeps whom it tells of.
pub async fn receiver() -> (SocketAddr, Arc<Mutex<Likes>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let told = Arc::new(Mutex::new(Likes::new()));
    let kept = Arc::clone(&told);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let told = Arc::clone(&kept);
            tokio::spawn(async move {
                // A sender that was killed in the midst sends it again.
                if let Some(body) = take(stream).await {
                    let number = |value: &Value| value.as_u64().unwrap();
                    let data = &body["data"];
                    let target = data["targetId"].as_str().unwrap().parse().unwrap();
                    let user = number(&data["actors"][0]["userId"]);
                    told.lock().unwrap().insert((user, target));
                }
            });
        }
    });
    (address, told)
}

async fn take(stream: TcpStream) -> Option<Value> {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            _ if line == "\r\n" => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    stream.write_all(answer).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// Likes by users of its own until the server is gone; gives those that were answered.
pub async fn write(address: SocketAddr, first_user: u64, likes: u64) -> Likes {
    let mut client = Client::new(address);
    let mut answered = Likes::new();
    for user in first_user..first_user + likes {
        let target = user % TARGETS;
        let body = json!({"userId": user, "targetType": "POST", "targetId": target});
        match client.call(&put("/likes".to_owned(), body)).await {
            Ok(answer) if answer.status == 200 => {
                answered.insert((user, target));
            }
            // What a server behind it that is away leaves open.
            Ok(answer) => assert!(answer.status >= 503, "{answer:?}"),
            Err(Lost::NotSent | Lost::Unknown) => return answered,
        }
    }
    answered
}

pub async fn set_up(address: SocketAddr, hook: SocketAddr) {
    let mut client = Client::new(address);
    for target in 0..TARGETS {
        let body = json!({"ownerId": OWNER});
        let owned = client
            .call(&put(format!("/targets/POST/{target}"), body))
            .await;
        assert_eq!(owned.unwrap().status, 200);
    }
    let body = json!({"url": format!("http://{hook}/")});
    let made = client.call(&put("/webhooks/test".to_owned(), body)).await;
    assert_eq!(made.unwrap().status, 200);
}

/// How many the owner is told of, by target.
pub async fn listed(client: &mut Client) -> BTreeMap<u64, u64> {
    let page = client
        .ask(&format!("/notifications?userId={OWNER}&size=100"))
        .await
        .json();
    let items = page["items"].as_array().unwrap().iter();
    let count = |item: &Value| {
        let target = item["targetId"].as_str().unwrap().parse().unwrap();
        let named = item["actors"].as_array().unwrap().len() as u64;
        (target, named + item["others"].as_u64().unwrap())
    };
    items.map(count).collect()
}

pub async fn counts(client: &mut Client) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for target in 0..TARGETS {
        let path = format!("/likes/count?targetType=POST&targetId={target}");
        let count = client.ask(&path).await.json()["count"].as_u64().unwrap();
        if count > 0 {
            counts.insert(target, count);
        }
    }
    counts
}

/// Waits until everybody who was answered is told of, in the list and by the webhook, and nobody
/// else is counted or told of in the list.
pub async fn all_are_told(client: &mut Client, answered: &Likes, told: &Mutex<Likes>) {
    let begin = Instant::now();
    loop {
        let missing = answered.difference(&told.lock().unwrap()).count();
        let (listed, counts) = (listed(client).await, counts(client).await);
        if missing == 0 && listed == counts {
            break;
        }
        assert!(
            begin.elapsed() < TOLD_LIMIT,
            "{missing} of {} were not delivered; listed {listed:?}, counted {counts:?}",
            answered.len()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let letters = client.ask("/dead-letters").await.json();
    assert_eq!(letters, json!({"items": []}));
}
