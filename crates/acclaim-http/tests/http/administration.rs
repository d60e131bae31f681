//! `POST /{kind}/recover`, `DELETE /users/{userId}`, `DELETE /targets/…`, `GET /jobs/{id}`,
//! `GET /audit`.

use acclaim_http::Limits;

use crate::support::{Fault, FaultyEngine, Request, Server, json};

/// Waits for a job to end.
async fn finished(server: &Server, id: u64) -> serde_json::Value {
    loop {
        let job = server.get(&format!("/api/v2/jobs/{id}")).await.ok();
        match job["state"].as_str().unwrap() {
            "queued" | "running" => tokio::task::yield_now().await,
            "done" => return job,
            other => panic!("{other}: {job}"),
        }
    }
}

#[tokio::test]
async fn a_target_is_recovered_at_once() {
    let server = Server::start().await;
    let id = server.fresh_id();
    server.set("likes", 1, "POST", id).await;
    let path = format!("/api/v2/likes/recover?targetType=POST&targetId={id}");
    let reply = server.send(Request::new("POST", &path)).await.ok();
    assert_eq!(
        reply,
        json!({"targetType": "POST", "targetId": id.to_string(), "countBefore": 1, "countAfter": 1, "edges": 1})
    );
    let half = Request::new("POST", "/api/v2/likes/recover?targetType=POST");
    server.send(half).await.bad("targetId");
    let half = Request::new("POST", "/api/v2/likes/recover?targetId=1");
    server.send(half).await.bad("targetType");
    let wrong = Request::new("POST", "/api/v2/follows/recover?targetType=POST&targetId=1");
    server
        .send(wrong)
        .await
        .problem(422, "target_type_not_allowed");
}

#[tokio::test]
async fn a_kind_is_recovered_as_a_job() {
    let server = Server::start().await;
    let started = server
        .send(Request::new("POST", "/api/v2/likes/recover"))
        .await
        .json(202);
    let job = finished(&server, started["id"].as_u64().unwrap()).await;
    assert_eq!(job["id"], started["id"]);
    assert!(job["job"].as_str().unwrap().contains("likes"));
    assert!(job.get("error").is_none());
}

#[tokio::test]
async fn an_erased_user_leaves_no_trace() {
    let server = Server::start().await;
    let me = server.fresh_id() + 70_000;
    server.set("likes", me, "POST", me).await;
    server.set("follows", me, "USER", me + 1).await;
    server.set("follows", me + 1, "USER", me).await;
    let started = server
        .delete(&format!("/api/v2/users/{me}"))
        .await
        .json(202);
    finished(&server, started["id"].as_u64().unwrap()).await;
    let count = server
        .get(&format!(
            "/api/v2/likes/count?targetType=POST&targetId={me}"
        ))
        .await
        .ok();
    assert_eq!(count["count"], 0);
    let numbers = server
        .get(&format!("/api/v2/follows/statistics?userId={me}"))
        .await
        .ok();
    assert_eq!(
        numbers,
        json!({"userId": me, "given": 0, "received": 0, "mutual": 0})
    );
    let other = server
        .get(&format!("/api/v2/follows/statistics?userId={}", me + 1))
        .await
        .ok();
    assert_eq!(other["given"], 0);
    server.delete("/api/v2/users/a%20b").await.bad("userId");
    server
        .delete("/api/v2/users/1?force=true")
        .await
        .bad("force");
}

#[tokio::test]
async fn an_erased_target_leaves_no_trace() {
    let server = Server::start().await;
    let id = server.fresh_id();
    server.set("likes", 1, "ERASED", id).await;
    let started = server
        .delete(&format!("/api/v2/targets/ERASED/{id}"))
        .await
        .json(202);
    finished(&server, started["id"].as_u64().unwrap()).await;
    let path = format!("/api/v2/likes/users?targetType=ERASED&targetId={id}");
    assert_eq!(
        server.get(&path).await.ok(),
        json!({"items": [], "total": 0})
    );
    server
        .delete("/api/v2/targets/post/1")
        .await
        .bad("targetType");
    server
        .delete("/api/v2/targets/POST/a%2Fb")
        .await
        .bad("targetId");
}

#[tokio::test]
async fn unknown_jobs_are_not_found() {
    let server = Server::start().await;
    server
        .get("/api/v2/jobs/18446744073709551615")
        .await
        .problem(404, "not_found");
    server.get("/api/v2/jobs/first").await.bad("id");
    server.get("/api/v2/jobs/-1").await.bad("id");
}

#[tokio::test]
async fn too_many_jobs_are_refused() {
    let (engine, clock) = FaultyEngine::at_now();
    engine.fail(Fault::Jobs);
    let server = Server::over(engine, Limits::default(), clock).await;
    server
        .delete("/api/v2/users/1")
        .await
        .problem(503, "overloaded");
}

#[tokio::test]
async fn what_was_done_is_written_down() {
    let server = Server::start().await;
    server.delete("/api/v2/targets/AUDITED/1").await.json(202);
    let audit = server.get("/api/v2/audit").await.ok();
    assert_eq!(audit["hours"], 24);
    let items = audit["items"].as_array().unwrap();
    let entry = items
        .iter()
        .find(|item| item["detail"] == "target AUDITED:1")
        .unwrap();
    assert_eq!(entry["action"], "erase");
    assert_eq!(entry["at"].as_str().unwrap().len(), 27);
    assert_eq!(server.get("/api/v2/audit?hours=1").await.ok()["hours"], 1);
    server.get("/api/v2/audit?hours=8784").await.ok();
    for hours in ["0", "8785", "-1", "x", ""] {
        server
            .get(&format!("/api/v2/audit?hours={hours}"))
            .await
            .bad("hours");
    }
}
