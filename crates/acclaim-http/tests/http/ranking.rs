//! `GET /{kind}/ranking`.

use crate::support::{Server, json};

#[tokio::test]
async fn the_highest_score_comes_first() {
    let server = Server::start().await;
    for (target, likes) in [(1, 2), (2, 3), (3, 1)] {
        for user in 0..likes {
            server.set("likes", user, "SONG", target).await;
        }
    }
    for window in ["hour", "day", "week", "month", "all"] {
        let path = format!("/api/v2/likes/ranking?targetType=SONG&window={window}&size=2");
        let reply = server.get(&path).await.ok();
        assert_eq!(reply["window"], window);
        assert_eq!(
            reply["items"],
            json!([
                {"rank": 1, "targetType": "SONG", "targetId": "2", "score": 3, "count": 3},
                {"rank": 2, "targetType": "SONG", "targetId": "1", "score": 2, "count": 2},
            ])
        );
    }
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let server = Server::start().await;
    let get = async |query: &str| server.get(&format!("/api/v2/likes/ranking?{query}")).await;
    get("window=day").await.bad("targetType");
    get("targetType=POST").await.bad("window");
    let detail = get("targetType=POST&window=year").await.bad("window");
    assert!(
        detail.contains("year") && detail.contains("month"),
        "{detail}"
    );
    get("targetType=POST&window=day&size=0").await.bad("size");
    get("targetType=POST&window=day&size=100").await.ok();
    get("targetType=POST&window=day&size=101").await.bad("size");
    let path = "/api/v2/follows/ranking?targetType=POST&window=day";
    server
        .get(path)
        .await
        .problem(422, "target_type_not_allowed");
}
