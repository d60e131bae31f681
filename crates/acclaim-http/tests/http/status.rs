//! `GET /{kind}/status`, `POST /{kind}/batch/status`.

use crate::support::{Server, json};

#[tokio::test]
async fn since_is_there_only_while_active() {
    let server = Server::start().await;
    let id = server.fresh_id();
    let path = format!("/api/v2/likes/status?userId={id}&targetType=POST&targetId={id}");
    assert_eq!(
        server.get(&path).await.ok(),
        json!({"active": false, "count": 0})
    );
    server.set("likes", id, "POST", id).await;
    let on = server.get(&path).await.ok();
    assert_eq!(on["active"], true);
    assert_eq!(on["count"], 1);
    let since = on["since"].as_str().unwrap();
    assert_eq!(since.len(), "2026-11-20T10:00:00.000000Z".len());
    assert!(since.ends_with('Z'), "{since}");
    server
        .delete(&format!(
            "/api/v2/likes?userId={id}&targetType=POST&targetId={id}"
        ))
        .await
        .ok();
    assert_eq!(
        server.get(&path).await.ok(),
        json!({"active": false, "count": 0})
    );
}

#[tokio::test]
async fn a_batch_answers_in_order_also_for_what_is_not_liked() {
    let server = Server::start().await;
    let (user, post) = (server.fresh_id(), server.fresh_id());
    server.set("likes", user, "POST", post).await;
    let body = json!({"userId": user, "targets": [
        {"targetType": "POST", "targetId": "never"},
        {"targetType": "POST", "targetId": post},
    ]});
    let reply = server.post("/api/v2/likes/batch/status", body).await.ok();
    assert_eq!(
        reply["items"][0],
        json!({"targetType": "POST", "targetId": "never", "active": false, "count": 0})
    );
    assert_eq!(reply["items"][1]["active"], true);
    assert!(reply["items"][1]["since"].is_string());
}

#[tokio::test]
async fn the_limits_have_edges() {
    let server = Server::start().await;
    let body = |n: u64| json!({"userId": 1, "targets": (0..n).map(|i| json!({"targetType": "POST", "targetId": i})).collect::<Vec<_>>()});
    let post = async |n| server.post("/api/v2/likes/batch/status", body(n)).await;
    post(0).await.bad("targets");
    assert_eq!(post(500).await.ok()["items"].as_array().unwrap().len(), 500);
    post(501).await.bad("targets");
    server
        .post("/api/v2/likes/batch/status", json!({"targets": []}))
        .await
        .bad("userId");
    server
        .get("/api/v2/likes/status?targetType=POST&targetId=1")
        .await
        .bad("userId");
    let path = "/api/v2/follows/status?userId=1&targetType=POST&targetId=1";
    server
        .get(path)
        .await
        .problem(422, "target_type_not_allowed");
}
