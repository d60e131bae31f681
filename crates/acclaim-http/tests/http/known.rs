//! `GET /{kind}/known`.

use crate::support::{Server, json};

#[tokio::test]
async fn those_whom_i_follow_and_who_did_it() {
    let server = Server::start().await;
    let me = server.fresh_id() + 50_000;
    for other in [1, 2, 3] {
        server.set("follows", me, "USER", me + other).await;
    }
    for other in [1, 3, 4] {
        server.set("likes", me + other, "POST", me).await;
    }
    let path = format!("/api/v2/likes/known?userId={me}&targetType=POST&targetId={me}");
    let reply = server.get(&path).await.ok();
    assert_eq!(reply["count"], 2);
    assert_eq!(reply["items"][0]["userId"], me + 3);
    assert_eq!(reply["items"][1]["userId"], me + 1);
    assert!(reply.get("partial").is_none());
    let one = server.get(&format!("{path}&size=1&via=follows")).await.ok();
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    assert_eq!(one["count"], 2);
    let (_, field) = server
        .get(&format!("{path}&via=claps"))
        .await
        .problem(404, "unknown_kind");
    assert_eq!(field.as_deref(), Some("via"));
    server
        .get(&format!("{path}&via=reads"))
        .await
        .problem(422, "target_type_not_allowed");
    server.get(&format!("{path}&size=0")).await.bad("size");
    server.get(&format!("{path}&size=101")).await.bad("size");
}

#[tokio::test]
async fn beyond_a_thousand_it_is_partial() {
    let server = Server::start().await;
    let me = server.fresh_id() + 60_000;
    let op = |other: u64| json!({"op": "set", "userId": me, "targetType": "USER", "targetId": me + other});
    let first: Vec<_> = (1..=1_000).map(op).collect();
    server
        .post("/api/v2/follows/batch", json!({"ops": first}))
        .await
        .ok();
    let path = format!("/api/v2/likes/known?userId={me}&targetType=POST&targetId={me}");
    assert!(server.get(&path).await.ok().get("partial").is_none());
    server.set("follows", me, "USER", me + 1_001).await;
    assert_eq!(server.get(&path).await.ok()["partial"], true);
}
