//! `GET /{kind}/statistics`.

use crate::support::{Server, json};

#[tokio::test]
async fn given_received_and_mutual_are_counted() {
    let server = Server::start().await;
    let me = server.fresh_id() + 30_000;
    server.set("follows", me, "USER", me + 1).await;
    server.set("follows", me, "USER", me + 2).await;
    server.set("follows", me + 1, "USER", me).await;
    let reply = server
        .get(&format!("/api/v2/follows/statistics?userId={me}"))
        .await
        .ok();
    assert_eq!(
        reply,
        json!({"userId": me, "given": 2, "received": 1, "mutual": 1})
    );
    server.set("likes", me, "POST", 1).await;
    let reply = server
        .get(&format!("/api/v2/likes/statistics?userId={me}"))
        .await
        .ok();
    assert_eq!(reply, json!({"userId": me, "given": 1, "received": 0}));
    server.get("/api/v2/likes/statistics").await.bad("userId");
    server
        .get("/api/v2/likes/statistics?userId=a%20b")
        .await
        .bad("userId");
}
