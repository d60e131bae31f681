//! `GET /{kind}/daily`.

use crate::support::{Server, json};

#[tokio::test]
async fn days_come_newest_first_with_distinct_users() {
    let server = Server::start().await;
    server.set("likes", 1, "FILM", 1).await;
    server.set("likes", 1, "FILM", 2).await;
    server.set("likes", 2, "FILM", 1).await;
    server
        .delete("/api/v2/likes?userId=2&targetType=FILM&targetId=1")
        .await
        .ok();
    let reply = server
        .get("/api/v2/likes/daily?days=2&targetType=FILM")
        .await
        .ok();
    assert_eq!(
        reply["items"][0],
        json!({"day": "2026-11-20", "set": 3, "unset": 1, "users": 2})
    );
    assert_eq!(
        reply["items"][1],
        json!({"day": "2026-11-19", "set": 0, "unset": 0, "users": 0})
    );
}

#[tokio::test]
async fn the_limits_have_edges() {
    let server = Server::start().await;
    let days = async |query: &str| server.get(&format!("/api/v2/likes/daily{query}")).await;
    let length = |reply: serde_json::Value| reply["items"].as_array().unwrap().len();
    assert_eq!(length(days("").await.ok()), 30);
    assert_eq!(length(days("?days=1").await.ok()), 1);
    assert_eq!(length(days("?days=366").await.ok()), 366);
    days("?days=0").await.bad("days");
    days("?days=367").await.bad("days");
    days("?days=4294967297").await.bad("days");
    server
        .get("/api/v2/follows/daily?targetType=POST")
        .await
        .problem(422, "target_type_not_allowed");
}
