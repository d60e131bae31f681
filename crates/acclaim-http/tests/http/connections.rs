//! Connections: slow clients, smuggling, limits, stopping.

use std::time::Duration;

use acclaim_http::Limits;

use crate::support::{Fault, FaultyEngine, Request, Server, json};

/// Long enough for anything that must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(20);

fn put() -> Request {
    let body = json!({"userId": 1, "targetType": "POST", "targetId": 1});
    Request::new("PUT", "/api/v2/likes").json(&body)
}

#[tokio::test]
async fn a_slow_head_is_given_up() {
    let limits = Limits {
        head_timeout_millis: 100,
        ..Limits::default()
    };
    let server = Server::with_limits(limits).await;
    let mut connection = server.connect().await;
    connection
        .write(b"GET /health HTTP/1.1\r\nhost: t\r\n")
        .await;
    let ended = async {
        // A byte now and then does not help.
        while connection.try_write(b"x").await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, ended)
        .await
        .expect("the connection was given up");
}

#[tokio::test]
async fn a_silent_connection_is_closed_after_its_time() {
    let limits = Limits {
        idle_timeout_millis: 100,
        ..Limits::default()
    };
    let server = Server::with_limits(limits).await;
    let mut connection = server.connect().await;
    connection.send(Request::new("GET", "/health")).await.ok();
    let rest = tokio::time::timeout(SOON, connection.rest()).await.unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_slow_body_is_a_400() {
    let limits = Limits {
        body_timeout_millis: 100,
        ..Limits::default()
    };
    let server = Server::with_limits(limits).await;
    let mut connection = server.connect().await;
    let bytes = put().bytes();
    connection.write(&bytes[..bytes.len() - 5]).await;
    let reply = tokio::time::timeout(SOON, connection.reply())
        .await
        .unwrap();
    let (detail, _) = reply.problem(400, "bad_request");
    assert!(detail.contains("100 ms"), "{detail}");
}

#[tokio::test]
async fn a_request_that_takes_long_outlives_the_idle_limit() {
    let (engine, clock) = FaultyEngine::at_now();
    engine.fail(Fault::Hang);
    let limits = Limits {
        idle_timeout_millis: 40,
        head_timeout_millis: 40,
        ..Limits::default()
    };
    let server = Server::over(engine.clone(), limits, clock).await;
    let mut connection = server.connect().await;
    connection.write(&put().bytes()).await;
    engine
        .begun
        .subscribe()
        .wait_for(|begun| *begun == 1)
        .await
        .unwrap();
    // Not a wait for something to happen: the time in which nothing may.
    tokio::time::sleep(Duration::from_millis(200)).await;
    engine.fail(Fault::None);
    connection.reply().await.ok();
}

#[tokio::test]
async fn two_lengths_smuggle_nothing() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    // By its length the body holds a second request; by its chunks it is the edge.
    let edge = json!({"userId": 1, "targetType": "SMUGGLED", "targetId": 1}).to_string();
    let smuggled = "DELETE /api/v2/users/1 HTTP/1.1\r\nhost: t\r\n\r\n";
    let request = format!(
        "PUT /api/v2/likes HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{edge}\r\n0\r\n\r\n{smuggled}",
        edge.len()
    );
    connection.write(request.as_bytes()).await;
    let first = connection.reply().await;
    assert!(matches!(first.status, 200 | 400), "{first:?}");
    let twice =
        "PUT /api/v2/likes HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\n";
    let mut connection = server.connect().await;
    connection.write(twice.as_bytes()).await;
    assert_eq!(connection.reply().await.status, 400);
    assert_eq!(connection.rest().await, b"");
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let server = Server::start().await;
    let nonsense: [&[u8]; 4] = [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"NOT HTTP AT ALL\r\n\r\n",
        b"GET /health HTTP/1.1\r\nbad header\r\n\r\n",
    ];
    for bytes in nonsense {
        let mut connection = server.connect().await;
        connection.write(bytes).await;
        let rest = tokio::time::timeout(SOON, connection.rest()).await.unwrap();
        let text = String::from_utf8_lossy(&rest);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 400"),
            "{text}"
        );
    }
    server.get("/health").await.ok();
}

#[tokio::test]
async fn heads_have_a_limit() {
    let limits = Limits {
        max_head_bytes: 8_192,
        ..Limits::default()
    };
    let server = Server::with_limits(limits).await;
    let with = |bytes: usize| Request::new("GET", "/health").header("x-long", "a".repeat(bytes));
    server.send(with(7_000)).await.ok();
    let mut connection = server.connect().await;
    connection.try_write(&with(20_000).bytes()).await;
    let head = connection.head().await;
    assert!(head.is_none_or(|reply| reply.status == 431));
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let limits = Limits {
        max_connections: 2,
        ..Limits::default()
    };
    let server = Server::with_limits(limits).await.alone();
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    first.send(Request::new("GET", "/health")).await.ok();
    second.send(Request::new("GET", "/health")).await.ok();
    let mut third = server.connect().await;
    let reply = third.reply().await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("retry-after"), Some("1"));
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["code"], "overloaded");
    drop(first);
    // The place is free as soon as the server has seen the end of the first one.
    let again = async {
        loop {
            let mut connection = server.connect().await;
            connection
                .try_write(&Request::new("GET", "/health").bytes())
                .await;
            if connection
                .head()
                .await
                .is_some_and(|reply| reply.status == 200)
            {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, again)
        .await
        .expect("the place became free");
}

#[tokio::test]
async fn requests_can_follow_each_other_without_waiting() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let one = put().bytes();
    connection
        .write(&[one.clone(), one.clone(), one].concat())
        .await;
    for _ in 0..3 {
        connection.reply().await.ok();
    }
}

#[tokio::test]
async fn a_stop_ends_what_is_under_way() {
    let (engine, clock) = FaultyEngine::at_now();
    engine.fail(Fault::Hang);
    let mut server = Server::over(engine.clone(), Limits::default(), clock).await;
    let mut idle = server.connect().await;
    idle.send(Request::new("GET", "/health")).await.ok();
    let mut busy = server.connect().await;
    busy.write(&put().bytes()).await;
    engine
        .begun
        .subscribe()
        .wait_for(|begun| *begun == 1)
        .await
        .unwrap();
    let address = server.address;
    let stopped = server.stop();
    assert_eq!(
        idle.rest().await,
        b"",
        "a connection without a request is closed"
    );
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    engine.fail(Fault::None);
    busy.reply().await.ok();
    tokio::time::timeout(SOON, stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let (engine, clock) = FaultyEngine::at_now();
    engine.fail(Fault::Hang);
    let limits = Limits {
        stop_timeout_millis: 100,
        ..Limits::default()
    };
    let mut server = Server::over(engine.clone(), limits, clock).await;
    let mut busy = server.connect().await;
    busy.write(&put().bytes()).await;
    engine
        .begun
        .subscribe()
        .wait_for(|begun| *begun == 1)
        .await
        .unwrap();
    tokio::time::timeout(SOON, server.stop())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(busy.rest().await, b"");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_given_up() {
    let limits = Limits {
        write_stall_timeout_millis: 100,
        max_event_lag_millis: 50,
        ..Limits::default()
    };
    let server = Server::with_limits(limits).await;
    // More pipelined requests than the sockets hold answers for.
    let mut connection = server.connect().await;
    let one = Request::new("GET", "/openapi.json").bytes();
    let ended = async { while connection.try_write(&one).await {} };
    tokio::time::timeout(SOON, ended)
        .await
        .expect("the connection was given up");
}
