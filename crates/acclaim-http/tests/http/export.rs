//! `GET /export`.

use crate::support::{Request, Server, json};
use acclaim_http::Limits;

#[tokio::test]
async fn an_export_imports_back_the_same() {
    let from = Server::with_limits(Limits::default()).await;
    let ops: Vec<_> = (0..2_500u64)
        .map(|n| json!({"op": "set", "userId": n, "targetType": "POST", "targetId": format!("t{}", n % 7)}))
        .collect();
    for part in ops.chunks(1_000) {
        from.post("/api/v2/likes/batch", json!({"ops": part}))
            .await
            .ok();
        from.clock.advance(1_000_000);
    }
    from.delete("/api/v2/likes?userId=3&targetType=POST&targetId=t3")
        .await
        .ok();
    let export = from.get("/api/v2/export?kind=likes").await;
    assert_eq!(export.status, 200);
    assert_eq!(export.header("content-type"), Some("application/x-ndjson"));
    let text = export.text();
    assert_eq!(text.lines().count(), 2_499);
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let fields: Vec<_> = first.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["at", "kind", "targetId", "targetType", "userId"]);

    let to = Server::with_limits(Limits::default()).await;
    let import = Request::new("POST", "/api/v2/import").body("application/x-ndjson", text.clone());
    assert_eq!(to.send(import).await.ok()["set"], 2_499);
    let again = to.get("/api/v2/export?kind=likes").await.text();
    assert_eq!(again, text);
    let path = "/api/v2/likes/users?targetType=POST&targetId=t3&size=100";
    let (here, there) = (from.get(path).await.ok(), to.get(path).await.ok());
    assert_eq!(here["items"], there["items"]);
    assert_eq!(here["total"], there["total"]);
}

#[tokio::test]
async fn an_empty_kind_is_an_empty_stream() {
    let server = Server::with_limits(Limits::default()).await;
    let reply = server.get("/api/v2/export?kind=follows").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    server.get("/api/v2/export").await.bad("kind");
    server
        .get("/api/v2/export?kind=claps")
        .await
        .problem(404, "unknown_kind");
    server
        .get("/api/v2/export?kind=likes&format=xml")
        .await
        .bad("format");
}
