//! `POST /{kind}/batch`.

use crate::support::{Server, json};
use serde_json::Value;

fn op(op: &str, user: u64, target: u64) -> Value {
    json!({"op": op, "userId": user, "targetType": "POST", "targetId": target})
}

#[tokio::test]
async fn ops_are_decided_in_order() {
    let server = Server::start().await;
    let id = server.fresh_id();
    let ops = json!({"ops": [op("set", id, id), op("set", id, id), op("toggle", id, id), op("unset", id, id), op("toggle", id, id)]});
    let reply = server.post("/api/v2/likes/batch", ops).await.ok();
    let results = reply["results"].as_array().unwrap();
    let shown: Vec<_> = results
        .iter()
        .map(|r| {
            (
                r["active"].as_bool().unwrap(),
                r["changed"].as_bool().unwrap(),
            )
        })
        .collect();
    let expected = [
        (true, true),
        (true, false),
        (false, true),
        (false, false),
        (true, true),
    ];
    assert_eq!(shown, expected);
    assert_eq!(results[4]["count"], 1);
}

#[tokio::test]
async fn one_bad_op_fails_alone() {
    let server = Server::start().await;
    let ops = json!({"ops": [
        {"op": "set", "userId": 1, "targetType": "USER", "targetId": 1},
        {"op": "set", "userId": 1, "targetType": "USER", "targetId": 2},
        {"op": "set", "userId": -1, "targetType": "USER", "targetId": 2},
        {"op": "set", "userId": 1, "targetType": "POST", "targetId": 2},
        {"op": "like", "userId": 1, "targetType": "USER", "targetId": 2},
        {"op": "set", "userId": 1, "targetType": "USER", "targetId": 2, "extra": 1},
        {"op": "set", "userId": 1, "targetType": "USER"},
        7,
        null,
        {"op": "unset", "userId": 1, "targetType": "USER", "targetId": 2},
    ]});
    let reply = server.post("/api/v2/follows/batch", ops).await;
    let request_id = reply.header("x-request-id").unwrap().to_owned();
    let reply = reply.ok();
    let results = reply["results"].as_array().unwrap();
    assert_eq!(results.len(), 10);
    let shown: Vec<_> = results
        .iter()
        .map(|r| {
            let error = &r["error"];
            if error.is_null() {
                return format!("changed {}", r["changed"]);
            }
            assert_eq!(error["requestId"], request_id);
            format!("{} {}", error["code"].as_str().unwrap(), error["field"])
        })
        .collect();
    let expected = [
        "self_not_allowed \"targetId\"",
        "changed true",
        "bad_request \"userId\"",
        "target_type_not_allowed \"targetType\"",
        "bad_request \"op\"",
        "bad_request \"extra\"",
        "bad_request \"targetId\"",
        "bad_request null",
        "bad_request null",
        "changed true",
    ];
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_batch_of_bad_ops_is_answered_op_by_op() {
    let server = Server::start().await;
    let reply = server
        .post("/api/v2/likes/batch", json!({"ops": [1, 2]}))
        .await
        .ok();
    assert_eq!(reply["results"].as_array().unwrap().len(), 2);
    assert_eq!(reply["results"][1]["error"]["status"], 400);
}

#[tokio::test]
async fn the_limits_have_edges() {
    let server = Server::start().await;
    let batch = |n: u64| json!({"ops": (0..n).map(|i| op("set", i, 1)).collect::<Vec<_>>()});
    let post = async |n| server.post("/api/v2/reads/batch", batch(n)).await;
    assert!(post(0).await.bad("ops").contains("1 to 1000"));
    assert_eq!(post(1_000).await.ok()["results"][999]["count"], 1_000);
    assert!(post(1_001).await.bad("ops").contains("1001"));
    server
        .post("/api/v2/likes/batch", json!({}))
        .await
        .bad("ops");
    server
        .post("/api/v2/likes/batch", json!({"ops": 5}))
        .await
        .bad("ops");
    server
        .post("/api/v2/likes/batch", json!({"ops": [], "more": 1}))
        .await
        .bad("more");
}
