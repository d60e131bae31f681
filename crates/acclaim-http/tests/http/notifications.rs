//! `PUT /targets/{targetType}/{targetId}`, `GET /notifications`, `POST /notifications/read`, and
//! `ownerId` in writes.

use std::sync::Arc;
use std::time::Duration;

use acclaim_core::notify::{Settings, WebhookLimits};
use acclaim_core::port::Clock;
use acclaim_http::{App, Limits};
use acclaim_notify::{HttpSender, Metrics, Notifier};
use acclaim_testkit::ManualClock;
use prometheus_client::registry::Registry;
use serde_json::Value;

use crate::nodes;
use crate::support::{NOW, Request, Server, json, kinds};

/// A server that tells owners, and may deliver to this machine.
pub struct Telling {
    pub server: Server,
    _notifiers: Vec<Notifier>,
}

impl Telling {
    pub async fn start(settings: Settings) -> Self {
        let clock = ManualClock::at(NOW);
        let (engines, kept) = nodes::open(kinds(), clock.clone()).await;
        let (mut apps, mut notifiers) = (Vec::new(), Vec::new());
        for engine in engines {
            let mut registry = Registry::default();
            let metrics = Metrics::register(&mut registry);
            let sender = Arc::new(HttpSender::new(settings.webhooks.clone()).unwrap());
            let time: Arc<dyn Clock> = clock.clone();
            let notifier = Notifier::start(&engine, &settings, &time, sender, &metrics);
            notifiers.push(notifier);
            let (limits, settings) = (Limits::default(), settings.clone());
            let app = App::notifying(engine, limits, settings, clock.clone(), registry);
            apps.push(app.unwrap());
        }
        Self {
            server: Server::of_apps(apps, clock, kept).await,
            _notifiers: notifiers,
        }
    }

    pub async fn usual() -> Self {
        Self::start(Settings {
            webhooks: WebhookLimits {
                allow_private_addresses: true,
                ..WebhookLimits::default()
            },
            ..Settings::default()
        })
        .await
    }

    pub async fn own(&self, id: u64, owner: u64) {
        let body = json!({"ownerId": owner});
        self.server
            .put(&format!("/api/v2/targets/POST/{id}"), body)
            .await
            .ok();
    }

    /// The first page of a user's notifications, once it is as wanted.
    pub async fn page(&self, user: u64, wanted: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/api/v2/notifications?userId={user}");
        until(async || {
            let page = self.server.get(&path).await.ok();
            wanted(&page).then_some(page)
        })
        .await
    }
}

/// Asks again until there is an answer.
pub async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked)
        .await
        .expect("an answer in a minute")
}

/// The time in an id, which names a partition too where there are several.
pub fn time_of(id: &Value) -> u64 {
    let (time, _) = id
        .as_str()
        .map(|id| id.split_once('-').unwrap_or((id, "")))
        .unwrap();
    time.parse().unwrap()
}

fn items(page: &Value) -> usize {
    page["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn an_owner_is_told_in_one_item_a_target_and_kind() {
    let telling = Telling::usual().await;
    telling.own(5, 1).await;
    for user in 10..15 {
        telling.server.set("likes", user, "POST", 5).await;
    }
    telling.server.set("dislikes", 10, "POST", 5).await;
    telling.server.set("follows", 10, "USER", 1).await;
    let mut page = telling
        .page(1, |page| {
            items(page) == 3 && page["items"][0]["kind"] == "follows"
        })
        .await;
    let id = page["items"][2]["id"].take();
    assert_eq!(time_of(&id), NOW.0 + 4_000_000);
    assert_eq!(
        page["items"][2],
        json!({
            "id": null, "kind": "likes",
            "targetType": "POST", "targetId": "5",
            "actors": [
                {"userId": 14, "at": "2026-11-20T10:00:04.000000Z"},
                {"userId": 13, "at": "2026-11-20T10:00:03.000000Z"},
                {"userId": 12, "at": "2026-11-20T10:00:02.000000Z"}
            ],
            "others": 1, "at": "2026-11-20T10:00:04.000000Z", "read": false
        }),
        "{page}"
    );
    assert_eq!(page["items"][1]["kind"], "dislikes");
    assert_eq!(page["unread"], 3);
    assert!(page.get("nextCursor").is_none());
}

#[tokio::test]
async fn they_are_read_page_by_page_and_marked_read() {
    let telling = Telling::usual().await;
    for id in 1..=5 {
        telling.own(id, 1).await;
        telling.server.set("likes", 9, "POST", id).await;
    }
    telling.page(1, |page| items(page) == 5).await;
    let server = &telling.server;
    let mut seen: Vec<String> = Vec::new();
    let mut path = "/api/v2/notifications?userId=1&size=2".to_owned();
    let mut third = String::new();
    loop {
        let page = server.get(&path).await.ok();
        for item in page["items"].as_array().unwrap() {
            if item["targetId"] == "3" {
                third = item["id"].as_str().unwrap().to_owned();
            }
            seen.push(item["targetId"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("/api/v2/notifications?userId=1&size=2&cursor={cursor}");
        let other = format!("/api/v2/notifications?userId=2&size=2&cursor={cursor}");
        server.get(&other).await.problem(400, "bad_cursor");
    }
    assert_eq!(seen, ["5", "4", "3", "2", "1"]);
    let read = |up_to: Value| {
        server.post(
            "/api/v2/notifications/read",
            json!({"userId": 1, "upTo": up_to}),
        )
    };
    assert_eq!(read(json!(third)).await.ok(), json!({"unread": 2}));
    let page = server.get("/api/v2/notifications?userId=1").await.ok();
    let flags: Vec<&Value> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| &i["read"])
        .collect();
    assert_eq!(flags, [false, false, true, true, true]);
    assert_eq!(read(json!(0)).await.ok(), json!({"unread": 2}));
    assert_eq!(
        read(json!(9_007_199_254_740_991_u64)).await.ok(),
        json!({"unread": 0})
    );
    server.set("likes", 10, "POST", 1).await;
    telling.page(1, |page| page["unread"] == 1).await;
}

#[tokio::test]
async fn like_unlike_like_tells_once() {
    let telling = Telling::usual().await;
    telling.own(1, 1).await;
    let server = &telling.server;
    server.set("likes", 9, "POST", 1).await;
    let first = telling.page(1, |page| items(page) == 1).await;
    let id = first["items"][0]["id"].clone();
    server
        .post(
            "/api/v2/notifications/read",
            json!({"userId": 1, "upTo": id}),
        )
        .await
        .ok();
    server
        .delete("/api/v2/likes?userId=9&targetType=POST&targetId=1")
        .await
        .ok();
    telling.page(1, |page| items(page) == 0).await;
    server.set("likes", 9, "POST", 1).await;
    let again = telling.page(1, |page| items(page) == 1).await;
    assert_eq!(again["unread"], 0);
    assert_eq!(again["items"][0]["id"], id);
}

#[tokio::test]
async fn a_write_may_say_whose_its_target_is() {
    let telling = Telling::usual().await;
    let server = &telling.server;
    let body = |target: u64, owner: Value| json!({"userId": 9, "targetType": "POST", "targetId": target, "ownerId": owner});
    server
        .post("/api/v2/likes/toggle", body(1, json!(1)))
        .await
        .ok();
    server.put("/api/v2/likes", body(2, json!("1"))).await.ok();
    let op = |target: u64, owner: Value| {
        let mut op = body(target, owner);
        op["op"] = json!("set");
        op
    };
    let other =
        json!({"op": "set", "userId": 9, "targetType": "USER", "targetId": 3, "ownerId": 4});
    let batch = json!({"ops": [op(3, json!(1)), op(4, json!(1)), other, op(5, json!(null))]});
    let reply = server.post("/api/v2/likes/batch", batch).await.ok();
    let results = reply["results"].as_array().unwrap();
    assert_eq!(
        (&results[0]["changed"], &results[1]["changed"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(results[2]["error"]["field"], "ownerId");
    assert_eq!(results[3]["error"]["field"], "ownerId");
    let page = telling.page(1, |page| items(page) == 4).await;
    assert_eq!(page["unread"], 4);
    // What the kind does not take is not owned by it either.
    let refused = server.put("/api/v2/follows", body(6, json!(1))).await;
    refused.problem(422, "target_type_not_allowed");
    server.set("likes", 9, "POST", 6).await;
    server.set("likes", 9, "POST", 1).await;
    server.set("likes", 10, "POST", 1).await;
    let page = telling
        .page(1, |page| page["items"][0]["actors"][0]["userId"] == 10)
        .await;
    assert_eq!(items(&page), 4);
}

#[tokio::test]
async fn bad_input_is_refused_by_field() {
    let telling = Telling::usual().await;
    let server = &telling.server;
    let long = "a".repeat(513);
    let targets = [
        ("POST/1", json!({}), "ownerId"),
        ("POST/1", json!({"ownerId": -1}), "ownerId"),
        ("POST/1", json!({"ownerId": null}), "ownerId"),
        ("POST/1", json!({"ownerId": 1, "title": ""}), "title"),
        ("POST/1", json!({"ownerId": 1, "title": long}), "title"),
        (
            "POST/1",
            json!({"ownerId": 1, "title": "a\u{202e}"}),
            "title",
        ),
        ("POST/1", json!({"ownerId": 1, "title": null}), "title"),
        (
            "POST/1",
            json!({"ownerId": 1, "url": "javascript:alert(1)"}),
            "url",
        ),
        ("POST/1", json!({"ownerId": 1, "name": "x"}), "name"),
        ("USER/1", json!({"ownerId": 2}), "ownerId"),
        ("post/1", json!({"ownerId": 1}), "targetType"),
        ("POST/%20", json!({"ownerId": 1}), "targetId"),
    ];
    for (target, body, field) in targets {
        server
            .put(&format!("/api/v2/targets/{target}"), body)
            .await
            .bad(field);
    }
    let whole = json!({"ownerId": "ann", "title": "My first post", "url": "/posts/1"});
    let reply = server.put("/api/v2/targets/POST/1", whole).await.ok();
    assert_eq!(
        reply,
        json!({"targetType": "POST", "targetId": "1", "ownerId": "ann",
            "title": "My first post", "url": "/posts/1"})
    );
    server
        .put("/api/v2/targets/USER/1", json!({"ownerId": 1}))
        .await
        .ok();
    for (query, field) in [
        ("", "userId"),
        ("userId=", "userId"),
        ("userId=1&size=0", "size"),
        ("userId=1&size=101", "size"),
        ("userId=1&size=x", "size"),
        ("userId=1&page=0", "page"),
        ("userId=1&userId=2", "userId"),
    ] {
        server
            .get(&format!("/api/v2/notifications?{query}"))
            .await
            .bad(field);
    }
    for cursor in ["", "x", "AQAGYMHRYqt9MnWhKTvLDLNYQ1ZhEg"] {
        let path = format!("/api/v2/notifications?userId=1&cursor={cursor}");
        server.get(&path).await.problem(400, "bad_cursor");
    }
    for (body, field) in [
        (json!({"userId": 1}), "upTo"),
        (json!({"upTo": 1}), "userId"),
        (json!({"userId": 1, "upTo": "x"}), "upTo"),
        (json!({"userId": 1, "upTo": "01"}), "upTo"),
        (json!({"userId": 1, "upTo": -1}), "upTo"),
        (json!({"userId": 1, "upTo": 1.5}), "upTo"),
        (
            json!({"userId": 1, "upTo": 9_007_199_254_740_992_u64}),
            "upTo",
        ),
        (json!({"userId": 1, "upTo": null}), "upTo"),
        (json!({"userId": 1, "upTo": 1, "all": true}), "all"),
    ] {
        server
            .post("/api/v2/notifications/read", body)
            .await
            .bad(field);
    }
    let delete = Request::new("DELETE", "/api/v2/notifications");
    server.send(delete).await.problem(405, "method_not_allowed");
    server
        .send(Request::new("PUT", "/api/v2/notifications/read"))
        .await
        .problem(405, "method_not_allowed");
}

#[tokio::test]
async fn where_there_are_none_that_is_said() {
    let mut settings = Settings::default();
    settings.notifications.enabled = false;
    let telling = Telling::start(settings).await;
    let server = &telling.server;
    let (detail, _) = server
        .get("/api/v2/notifications?userId=1")
        .await
        .problem(404, "not_found");
    assert!(detail.contains("notifications.enabled"), "{detail}");
    server
        .get("/api/v2/webhooks")
        .await
        .problem(404, "not_found");
    let owned = json!({"userId": 1, "targetType": "POST", "targetId": 1, "ownerId": 2});
    server
        .put("/api/v2/likes", owned.clone())
        .await
        .bad("ownerId");
    let mut op = owned;
    op["op"] = json!("set");
    let reply = server
        .post("/api/v2/likes/batch", json!({"ops": [op]}))
        .await
        .ok();
    assert_eq!(reply["results"][0]["error"]["field"], "ownerId");
}

#[tokio::test]
async fn erasure_takes_them_along() {
    let telling = Telling::usual().await;
    let server = &telling.server;
    telling.own(1, 1).await;
    telling.own(2, 2).await;
    server.set("likes", 9, "POST", 1).await;
    server.set("likes", 9, "POST", 2).await;
    server.set("likes", 1, "POST", 2).await;
    telling
        .page(2, |page| page["items"][0]["actors"][0]["userId"] == 1)
        .await;
    let erase = server.send(Request::new("DELETE", "/api/v2/users/1")).await;
    assert_eq!(erase.status, 202);
    telling
        .page(1, |page| items(page) == 0 && page["unread"] == 0)
        .await;
    let page = telling
        .page(2, |page| page["items"][0]["actors"][0]["userId"] == 9)
        .await;
    assert_eq!(page["items"][0]["others"], 0);
    server.set("likes", 10, "POST", 1).await;
    server.set("likes", 10, "POST", 2).await;
    telling
        .page(2, |page| page["items"][0]["actors"][0]["userId"] == 10)
        .await;
    telling.page(1, |page| items(page) == 0).await;
}

#[tokio::test]
async fn what_was_done_by_many_nodes_is_in_one_order() {
    let telling = Telling::usual().await;
    let server = &telling.server;
    for target in 1..=6 {
        telling.own(target, 1).await;
    }
    for user in 10..20 {
        for target in 1..=6 {
            server.set("likes", user, "POST", target).await;
        }
    }
    let whole = |page: &Value| {
        let all = page["items"].as_array().unwrap();
        all.len() == 6 && all.iter().all(|item| item["others"] == 7)
    };
    let page = telling.page(1, whole).await;
    let targets: Vec<&Value> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["targetId"])
        .collect();
    assert_eq!(targets, ["6", "5", "4", "3", "2", "1"]);
}
