//! `GET /{kind}/count`, `POST /{kind}/batch/count`.

use crate::support::{Server, json};

#[tokio::test]
async fn counts_follow_the_edges() {
    let server = Server::start().await;
    let id = server.fresh_id();
    let path = format!("/api/v2/likes/count?targetType=POST&targetId={id}&fresh=true");
    let none = server.get(&path).await.ok();
    assert_eq!(
        none,
        json!({"targetType": "POST", "targetId": id.to_string(), "count": 0, "rev": 0})
    );
    let set = server.set("likes", 1, "POST", id).await.ok();
    let one = server.get(&path).await.ok();
    assert_eq!(one["count"], 1);
    assert_eq!(one["rev"], set["rev"]);
}

#[tokio::test]
async fn a_batch_answers_in_order() {
    let server = Server::start().await;
    let id = server.fresh_id();
    server.set("likes", 1, "POST", id).await;
    let targets = json!({"targets": [
        {"targetType": "POST", "targetId": "nobody-likes-this"},
        {"targetType": "POST", "targetId": id},
        {"targetType": "POST", "targetId": id},
    ]});
    let reply = server.post("/api/v2/likes/batch/count", targets).await.ok();
    let counts: Vec<_> = reply["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["count"].clone())
        .collect();
    assert_eq!(counts, [0, 1, 1]);
    assert_eq!(reply["items"][0]["targetId"], "nobody-likes-this");
}

#[tokio::test]
async fn the_limits_have_edges() {
    let server = Server::start().await;
    let targets = |n: u64| json!({"targets": (0..n).map(|i| json!({"targetType": "POST", "targetId": i})).collect::<Vec<_>>()});
    let post = async |n| server.post("/api/v2/likes/batch/count", targets(n)).await;
    post(0).await.bad("targets");
    assert_eq!(post(500).await.ok()["items"].as_array().unwrap().len(), 500);
    post(501).await.bad("targets");
}

#[tokio::test]
async fn what_is_missing_or_unknown_is_named() {
    let server = Server::start().await;
    let get = async |query: &str| server.get(&format!("/api/v2/likes/count?{query}")).await;
    get("targetType=POST").await.bad("targetId");
    get("targetId=1").await.bad("targetType");
    get("targetType=POST&targetId=1&x=1").await.bad("x");
    get("targetType=POST&targetId=1&targetId=2")
        .await
        .bad("targetId");
    get("targetType=POST&targetId=1&fresh=maybe")
        .await
        .bad("fresh");
    get("targetType=post&targetId=1").await.bad("targetType");
    get("targetType=POST&targetId=").await.bad("targetId");
    let path = "/api/v2/follows/count?targetType=POST&targetId=1";
    server
        .get(path)
        .await
        .problem(422, "target_type_not_allowed");
    let path = "/api/v2/claps/count?targetType=POST&targetId=1";
    server.get(path).await.problem(404, "unknown_kind");
    let bad = json!({"targets": [{"targetType": "POST", "targetId": 1}, {"targetType": "POST", "targetId": null}]});
    server
        .post("/api/v2/likes/batch/count", bad)
        .await
        .bad("targets[1].targetId");
    let bad = json!({"targets": [{"targetType": "POST"}]});
    server
        .post("/api/v2/likes/batch/count", bad)
        .await
        .bad("targets[0].targetId");
    let bad = json!({"targets": [{"targetType": "POST", "targetId": 1, "x": 1}]});
    server
        .post("/api/v2/likes/batch/count", bad)
        .await
        .bad("targets[0].x");
}
