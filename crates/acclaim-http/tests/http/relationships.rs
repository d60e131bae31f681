//! `POST /{kind}/batch/relationships`.

use crate::support::{Server, json};

#[tokio::test]
async fn both_directions_are_told_in_order() {
    let server = Server::start().await;
    let me = server.fresh_id() + 40_000;
    server.set("follows", me, "USER", me + 1).await;
    server.set("follows", me + 2, "USER", me).await;
    let body = json!({"userId": me, "others": [me + 1, (me + 2).to_string(), "nobody"]});
    let reply = server
        .post("/api/v2/follows/batch/relationships", body)
        .await
        .ok();
    assert_eq!(
        reply["items"],
        json!([
            {"userId": me + 1, "following": true, "followedBy": false},
            {"userId": me + 2, "following": false, "followedBy": true},
            {"userId": "nobody", "following": false, "followedBy": false},
        ])
    );
}

#[tokio::test]
async fn the_limits_have_edges() {
    let server = Server::start().await;
    let body = |n: u64| json!({"userId": 1, "others": (0..n).collect::<Vec<_>>()});
    let post = async |n| {
        server
            .post("/api/v2/follows/batch/relationships", body(n))
            .await
    };
    post(0).await.bad("others");
    assert_eq!(post(500).await.ok()["items"].as_array().unwrap().len(), 500);
    post(501).await.bad("others");
    let bad = json!({"userId": 1, "others": [1, true]});
    server
        .post("/api/v2/follows/batch/relationships", bad)
        .await
        .bad("others[1]");
    let reply = server
        .post("/api/v2/reads/batch/relationships", body(1))
        .await;
    reply.problem(422, "target_type_not_allowed");
}
