//! `Idempotency-Key` on every write.

use acclaim_core::limits;

use crate::support::{Fault, FaultyEngine, Request, Server, json};

fn toggle(key: &str, user: u64) -> Request {
    let body = json!({"userId": user, "targetType": "POST", "targetId": user});
    Request::new("POST", "/api/v2/likes/toggle")
        .json(&body)
        .header("Idempotency-Key", key)
}

#[tokio::test]
async fn a_repeat_gives_the_first_answer() {
    let server = Server::start().await;
    let user = server.fresh_id();
    let key = format!("toggle {user}");
    let first = server.send(toggle(&key, user)).await;
    assert_eq!(first.header("idempotency-replayed"), None);
    let again = server.send(toggle(&key, user)).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.ok(), first.ok());
    let path = format!("/api/v2/likes/count?targetType=POST&targetId={user}");
    assert_eq!(server.get(&path).await.ok()["count"], 1);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let server = Server::start().await;
    let user = server.fresh_id();
    let key = format!("mismatch-{user}");
    server.send(toggle(&key, user)).await.ok();
    let (_, field) = server
        .send(toggle(&key, user + 1_000_000))
        .await
        .problem(422, "idempotency_mismatch");
    assert_eq!(field.as_deref(), Some("Idempotency-Key"));
    // The same body to another route is another request.
    let body = json!({"userId": user, "targetType": "POST", "targetId": user});
    let put = Request::new("PUT", "/api/v2/likes").json(&body);
    let reply = server.send(put.header("idempotency-key", &key)).await;
    reply.problem(422, "idempotency_mismatch");
}

#[tokio::test]
async fn unset_and_batch_take_keys() {
    let server = Server::start().await;
    let user = server.fresh_id();
    server.set("likes", user, "POST", user).await;
    let path = format!("/api/v2/likes?userId={user}&targetType=POST&targetId={user}");
    let unset = Request::new("DELETE", &path).header("Idempotency-Key", format!("u{user}"));
    let first = server.send(unset.clone()).await.ok();
    assert_eq!(first["changed"], true);
    let again = server.send(unset).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.ok(), first);
    let ops = json!({"ops": [
        {"op": "toggle", "userId": user, "targetType": "POST", "targetId": user},
        {"op": "toggle", "userId": "not an id", "targetType": "POST", "targetId": user},
    ]});
    let batch = Request::new("POST", "/api/v2/likes/batch").json(&ops);
    let batch = batch
        .header("Idempotency-Key", format!("b{user}"))
        .header("x-request-id", "one");
    let first = server.send(batch.clone()).await.ok();
    let again = server.send(batch).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.ok(), first);
}

#[tokio::test]
async fn keys_have_a_grammar() {
    let server = Server::start().await;
    let send = async |key: &[u8]| {
        let body = json!({"userId": 1, "targetType": "KEYED", "targetId": 1});
        let put = Request::new("PUT", "/api/v2/likes").json(&body);
        server.send(put.header("idempotency-key", key)).await
    };
    send("k".repeat(limits::MAX_IDEMPOTENCY_KEY_BYTES).as_bytes())
        .await
        .ok();
    send("k".repeat(limits::MAX_IDEMPOTENCY_KEY_BYTES + 1).as_bytes())
        .await
        .bad("Idempotency-Key");
    send(b"").await.bad("Idempotency-Key");
    send("ключ".as_bytes()).await.bad("Idempotency-Key");
    send(b"a\tb").await.bad("Idempotency-Key");
    let twice = Request::new("PUT", "/api/v2/likes").json(&json!({}));
    let twice = twice
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    server.send(twice).await.bad("Idempotency-Key");
}

#[tokio::test]
async fn a_day_later_the_key_is_free_again() {
    let server = Server::with_limits(acclaim_http::Limits::default()).await;
    server.send(toggle("day", 1)).await.ok();
    server
        .clock
        .advance((limits::IDEMPOTENCY_SECONDS + 1) * 1_000_000);
    let later = server.send(toggle("day", 1)).await;
    assert_eq!(later.header("idempotency-replayed"), None);
    assert_eq!(later.ok()["active"], false);
}

#[tokio::test]
async fn the_first_under_way_is_a_conflict() {
    let (engine, clock) = FaultyEngine::at_now();
    engine.fail(Fault::Write(acclaim_core::WriteError::IdempotencyInFlight));
    let server = Server::over(engine, acclaim_http::Limits::default(), clock).await;
    let reply = server.send(toggle("busy", 1)).await;
    reply.problem(409, "idempotency_in_flight");
}
