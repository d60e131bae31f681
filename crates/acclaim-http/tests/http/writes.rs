//! `POST /{kind}/toggle`, `PUT /{kind}`, `DELETE /{kind}`.

use crate::nodes::ACKS;
use crate::support::{Request, Server, json};

#[tokio::test]
async fn a_toggle_goes_back_and_forth() {
    let server = Server::start().await;
    let user = server.fresh_id();
    let body = json!({"userId": user, "targetType": "POST", "targetId": user});
    let on = server.post("/api/v2/likes/toggle", body.clone()).await.ok();
    assert_eq!(on["active"], true);
    assert_eq!(on["changed"], true);
    assert_eq!(on["count"], 1);
    assert!(on["rev"].as_u64().unwrap() > 0);
    let off = server.post("/api/v2/likes/toggle", body).await.ok();
    assert_eq!(off["active"], false);
    assert_eq!(off["changed"], true);
    assert_eq!(off["count"], 0);
    assert!(off["rev"].as_u64() > on["rev"].as_u64());
    assert_eq!(off.as_object().unwrap().len(), 4);
}

#[tokio::test]
async fn a_set_can_be_repeated_and_keeps_its_rev() {
    let server = Server::start().await;
    let user = server.fresh_id();
    let first = server.set("likes", user, "POST", user).await.ok();
    assert_eq!(first["changed"], true);
    let again = server.set("likes", user, "POST", user).await.ok();
    assert_eq!(again["changed"], false);
    assert_eq!(again["count"], 1);
    assert_eq!(again["rev"], first["rev"]);
}

#[tokio::test]
async fn an_unset_can_be_repeated() {
    let server = Server::start().await;
    let id = server.fresh_id();
    let path = format!("/api/v2/likes?userId={id}&targetType=POST&targetId={id}");
    let never = server.delete(&path).await.ok();
    assert_eq!(
        never,
        json!({"active": false, "changed": false, "count": 0, "rev": 0})
    );
    server.set("likes", id, "POST", id).await;
    let gone = server.delete(&path).await.ok();
    assert_eq!(gone["changed"], true);
    assert_eq!(gone["count"], 0);
    let again = server.delete(&path).await.ok();
    assert_eq!(again["changed"], false);
    assert_eq!(again["rev"], gone["rev"]);
}

#[tokio::test]
async fn flapping_counts_every_transition_once() {
    let server = Server::start().await;
    let id = server.fresh_id();
    let body = json!({"userId": id, "targetType": "POST", "targetId": id});
    let mut last = 0;
    for round in 0..20 {
        let reply = server.post("/api/v2/likes/toggle", body.clone()).await.ok();
        assert_eq!(reply["active"], round % 2 == 0);
        assert_eq!(reply["count"], u64::from(round % 2 == 0));
        let rev = reply["rev"].as_u64().unwrap();
        assert!(rev > last);
        last = rev;
    }
}

#[tokio::test]
async fn a_dislike_takes_the_like_away() {
    let server = Server::start().await;
    let id = server.fresh_id();
    server.set("likes", id, "POST", id).await;
    server.set("dislikes", id, "POST", id).await;
    let path = format!("count?targetType=POST&targetId={id}");
    let likes = server.get(&format!("/api/v2/likes/{path}")).await.ok();
    let dislikes = server.get(&format!("/api/v2/dislikes/{path}")).await.ok();
    assert_eq!(likes["count"], 0);
    assert_eq!(dislikes["count"], 1);
}

#[tokio::test]
async fn origin_and_acknowledgement_are_accepted() {
    let server = Server::start().await;
    let id = server.fresh_id();
    let body = json!({
        "userId": id, "targetType": "POST", "targetId": id,
        "deviceType": "Pixel 9 – Zoë", "ipAddress": "2001:db8::1",
    });
    for ack in ACKS {
        let request = Request::new("PUT", "/api/v2/likes").json(&body);
        server.send(request.header("acclaim-ack", ack)).await.ok();
    }
    let request = Request::new("PUT", "/api/v2/likes").json(&body);
    let detail = server.send(request.header("Acclaim-Ack", "fast")).await;
    assert!(detail.bad("Acclaim-Ack").contains("fast"));
}

#[tokio::test]
async fn numbers_and_their_text_are_one_id() {
    let server = Server::start().await;
    let id = server.fresh_id();
    server.set("likes", id, "POST", id).await;
    let text = json!({"userId": id.to_string(), "targetType": "POST", "targetId": id.to_string()});
    let again = server.put("/api/v2/likes", text).await.ok();
    assert_eq!(again["changed"], false);
    let other = json!({"userId": format!("0{id}"), "targetType": "POST", "targetId": id});
    let other = server.put("/api/v2/likes", other).await.ok();
    assert_eq!(other["changed"], true);
    assert_eq!(other["count"], 2);
}

#[tokio::test]
async fn kinds_say_what_they_take() {
    let server = Server::start().await;
    let edge = |target_type: &str, id: u64| json!({"userId": 7, "targetType": target_type, "targetId": id});
    let reply = server.put("/api/v2/claps", edge("POST", 1)).await;
    let (detail, field) = reply.problem(404, "unknown_kind");
    assert!(
        detail.contains("claps") && detail.contains("dislikes"),
        "{detail}"
    );
    assert_eq!(field.as_deref(), Some("kind"));
    let reply = server.put("/api/v2/follows", edge("POST", 1)).await;
    let (detail, field) = reply.problem(422, "target_type_not_allowed");
    assert!(
        detail.contains("USER") && detail.contains("POST"),
        "{detail}"
    );
    assert_eq!(field.as_deref(), Some("targetType"));
    let reply = server.put("/api/v2/follows", edge("USER", 7)).await;
    let (_, field) = reply.problem(422, "self_not_allowed");
    assert_eq!(field.as_deref(), Some("targetId"));
    let path = "/api/v2/follows?userId=7&targetType=USER&targetId=7";
    server.delete(path).await.problem(422, "self_not_allowed");
}

#[tokio::test]
async fn request_ids_come_back() {
    let server = Server::start().await;
    let asked = Request::new("GET", "/health").header("x-request-id", "a.b:c-9");
    let reply = server.send(asked).await;
    assert_eq!(reply.header("x-request-id"), Some("a.b:c-9"));
    let asked = Request::new("GET", "/health").header("x-request-id", "with space");
    let reply = server.send(asked).await;
    assert_eq!(reply.header("x-request-id").map(str::len), Some(16));
    let asked = Request::new("GET", "/nowhere").header("x-request-id", "mine");
    let reply = server.send(asked).await;
    reply.problem(404, "not_found");
    assert_eq!(reply.header("x-request-id"), Some("mine"));
}
