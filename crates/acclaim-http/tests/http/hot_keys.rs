//! `GET /hot-keys`.

use crate::support::{Server, json};

#[tokio::test]
async fn what_is_touched_most_comes_first() {
    let server = Server::start().await.alone();
    let op =
        |target: u64| json!({"op": "set", "userId": 1, "targetType": "HOT", "targetId": target});
    // Nine of ten touch target 1; the others touch one of a hundred.
    let ops: Vec<_> = (0..1_000)
        .map(|n| op(if n % 10 == 0 { 100 + n / 10 } else { 1 }))
        .collect();
    for _ in 0..5 {
        server
            .post("/api/v2/likes/batch", json!({"ops": ops}))
            .await
            .ok();
    }
    let reply = server.get("/api/v2/hot-keys").await.ok();
    assert_eq!(reply["windowSeconds"], 60);
    let first = &reply["items"][0];
    assert_eq!(first["kind"], "likes");
    assert_eq!(first["targetType"], "HOT");
    assert_eq!(first["targetId"], "1");
    let estimate = first["estimate"].as_u64().unwrap();
    assert!(
        (3_500..5_500).contains(&estimate),
        "{estimate} of about 4,500"
    );
    assert!(reply["items"].as_array().unwrap().len() <= 20);
    let metrics = server.get("/metrics").await.text();
    assert!(
        metrics.contains("acclaim_hottest_target_touches"),
        "{metrics}"
    );
}
