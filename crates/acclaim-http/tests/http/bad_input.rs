//! Bad input of every kind, refused with the field, and never a panic.

use acclaim_http::Limits;

use crate::support::{Request, Server, json};
use serde_json::Value;

/// JSON texts that are no id, wherever an id is asked for.
const BAD_IDS: [&str; 22] = [
    "null",
    "true",
    "false",
    "-1",
    "0.5",
    "1.0",
    "1e3",
    "-0",
    "18446744073709551616",
    "-9223372036854775808",
    "123456789012345678901234567890",
    "[]",
    "{}",
    "[1]",
    r#""""#,
    r#"" ""#,
    r#""a\u0000b""#,
    r#""\u202e1""#,
    r#""a/b""#,
    r#""{p1.2}""#,
    r#""é""#,
    r#""1,2""#,
];

/// JSON texts that are ids.
const GOOD_IDS: [&str; 9] = [
    "0",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "18446744073709551615",
    r#""01""#,
    r#""-1""#,
    r#""1.5""#,
    r#""01ARZ3NDEKTSV4RRFFQ69G5FAV""#,
];

fn with(field: &str, text: &str) -> String {
    let value = |name: &str, usual: &str| {
        let text = if name == field { text } else { usual };
        format!("\"{name}\":{text}")
    };
    format!(
        "{{{},{},{}}}",
        value("userId", "1"),
        value("targetType", "\"POST\""),
        value("targetId", "2")
    )
}

fn put(body: impl Into<Vec<u8>>) -> Request {
    Request::new("PUT", "/api/v2/likes").body("application/json", body)
}

#[tokio::test]
async fn ids_in_bodies_have_a_grammar() {
    let server = Server::start().await;
    let longest = format!("\"{}\"", "a".repeat(64));
    let too_long = format!("\"{}\"", "a".repeat(65));
    for field in ["userId", "targetId"] {
        for text in BAD_IDS.into_iter().chain([too_long.as_str()]) {
            let detail = server.send(put(with(field, text))).await.bad(field);
            assert!(detail.len() < 400, "{detail}");
        }
        for text in GOOD_IDS.into_iter().chain([longest.as_str()]) {
            server.send(put(with(field, text))).await.ok();
        }
    }
}

#[tokio::test]
async fn ids_in_queries_have_a_grammar() {
    let server = Server::start().await;
    let get = async |id: &str| {
        let path = format!("/api/v2/likes/status?userId={id}&targetType=POST&targetId=1");
        server.get(&path).await
    };
    let too_long = "a".repeat(65);
    let bad = [
        "",
        "%20",
        "%00",
        "a%2Fb",
        "%FF",
        "%E2%80%AE1",
        "%7Bp1%7D",
        "a+b",
        too_long.as_str(),
    ];
    for id in bad {
        get(id).await.bad("userId");
    }
    for id in [
        "0",
        "01",
        "18446744073709551615",
        "a.b_c:d-e",
        &"a".repeat(64),
    ] {
        get(id).await.ok();
    }
}

#[tokio::test]
async fn target_types_have_a_grammar() {
    let server = Server::start().await;
    let too_long = format!("\"{}\"", "A".repeat(33));
    let bad = [
        "null",
        "1",
        "true",
        "[]",
        r#""""#,
        r#""post""#,
        r#""PO ST""#,
        r#""POST\u0000""#,
        r#""POST:1""#,
        r#""{P}""#,
        too_long.as_str(),
    ];
    for text in bad {
        server
            .send(put(with("targetType", text)))
            .await
            .bad("targetType");
    }
    let longest = format!("\"{}\"", "A".repeat(32));
    for text in [longest.as_str(), "\"A_9\""] {
        server.send(put(with("targetType", text))).await.ok();
    }
}

#[tokio::test]
async fn origins_have_a_grammar() {
    let server = Server::start().await;
    let send = async |field: &str, text: &str| {
        let body =
            format!("{{\"userId\":1,\"targetType\":\"POST\",\"targetId\":2,\"{field}\":{text}}}");
        server.send(put(body)).await
    };
    let longest = format!("\"{}\"", "d".repeat(64));
    let too_long = format!("\"{}\"", "d".repeat(65));
    for text in [
        "null",
        "1",
        r#""""#,
        r#""a\nb""#,
        r#""\u0000""#,
        r#""\u202eabc""#,
        too_long.as_str(),
    ] {
        send("deviceType", text).await.bad("deviceType");
    }
    send("deviceType", &longest).await.ok();
    for text in [
        "null",
        "1",
        r#""""#,
        r#""256.0.0.1""#,
        r#""localhost""#,
        r#""1.2.3.4:80""#,
        r#""::1%eth0""#,
    ] {
        send("ipAddress", text).await.bad("ipAddress");
    }
    for text in [r#""203.0.113.7""#, r#""::1""#] {
        send("ipAddress", text).await.ok();
    }
}

#[tokio::test]
async fn missing_unknown_and_repeated_fields_are_named() {
    let server = Server::start().await;
    let table: [(&str, &str); 7] = [
        (r#"{"targetType":"POST","targetId":1}"#, "userId"),
        (r#"{"userId":1,"targetId":1}"#, "targetType"),
        (r#"{"userId":1,"targetType":"POST"}"#, "targetId"),
        (r#"{}"#, "userId"),
        (
            r#"{"userId":1,"targetType":"POST","targetId":1,"rev":5}"#,
            "rev",
        ),
        (
            r#"{"userId":1,"userId":2,"targetType":"POST","targetId":1}"#,
            "userId",
        ),
        (
            r#"{"userId":1,"targetType":"POST","targetId":1,"UserId":2}"#,
            "UserId",
        ),
    ];
    for (body, field) in table {
        server.send(put(body)).await.bad(field);
    }
    let escaped = r#"{"userId":1,"targetType":"POST","targetId":1,"user\u0049d":2}"#;
    server.send(put(escaped)).await.bad("userId");
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let server = Server::start().await;
    let good = r#"{"userId":1,"targetType":"POST","targetId":1}"#;
    let deep = format!(
        "{{\"userId\":{}1{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let bodies: [Vec<u8>; 14] = [
        Vec::new(),
        b" ".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"text\"".to_vec(),
        good.as_bytes()[..20].to_vec(),
        format!("{good}{good}").into_bytes(),
        format!("{good} x").into_bytes(),
        format!("\u{feff}{good}").into_bytes(),
        b"{\"userId\":\"\xff\",\"targetType\":\"POST\",\"targetId\":1}".to_vec(),
        b"{\"userId\":1,\"targetType\":\"POST\",\"targetId\":1,}".to_vec(),
        b"{userId:1}".to_vec(),
        b"{\"userId\":NaN,\"targetType\":\"POST\",\"targetId\":1}".to_vec(),
        deep.into_bytes(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let reply = server.send(put(body)).await;
        assert_eq!(reply.status, 400, "{shown}");
        reply.problem(400, "bad_request");
    }
    let deep = format!("{{\"ops\":[{}{}]}}", "[".repeat(50_000), "]".repeat(50_000));
    let batch = Request::new("POST", "/api/v2/likes/batch").body("application/json", deep);
    let reply = server.send(batch).await.ok();
    assert_eq!(reply["results"][0]["error"]["code"], "bad_request");
}

/// A list of the values in the order of our structs is no object, at any depth.
#[tokio::test]
async fn lists_in_place_of_objects_are_refused() {
    let server = Server::start().await;
    let table = [
        ("PUT", "", r#"[1,"POST","1"]"#),
        ("PUT", "", r#"[1,"POST","1","phone","::1"]"#),
        ("POST", "/toggle", r#"[1,"POST","1"]"#),
        (
            "POST",
            "/batch",
            r#"[[{"op":"set","userId":1,"targetType":"POST","targetId":1}]]"#,
        ),
        (
            "POST",
            "/batch/count",
            r#"[[{"targetType":"POST","targetId":1}]]"#,
        ),
        ("POST", "/batch/count", r#"{"targets":[["POST","1"]]}"#),
        (
            "POST",
            "/batch/status",
            r#"[1,[{"targetType":"POST","targetId":1}]]"#,
        ),
        (
            "POST",
            "/batch/status",
            r#"{"userId":1,"targets":[["POST","1"]]}"#,
        ),
    ];
    for (method, path, body) in table {
        let request = Request::new(method, &format!("/api/v2/likes{path}"));
        let reply = server.send(request.body("application/json", body)).await;
        let (detail, _) = reply.problem(400, "bad_request");
        assert!(detail.contains("expected an object"), "{body}: {detail}");
    }
    let others = Request::new("POST", "/api/v2/follows/batch/relationships");
    let reply = server
        .send(others.body("application/json", "[1,[2]]"))
        .await;
    reply.problem(400, "bad_request");
    let op = Request::new("POST", "/api/v2/likes/batch");
    let op = op.body("application/json", r#"{"ops":[["set",1,"POST","1"]]}"#);
    let reply = server.send(op).await.ok();
    assert_eq!(reply["results"][0]["error"]["code"], "bad_request");
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let server = Server::start().await;
    let good = json!({"userId": 1, "targetType": "POST", "targetId": 1}).to_string();
    let types = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
        "application/xml",
    ];
    for name in types {
        let request = Request::new("PUT", "/api/v2/likes").body(name, good.clone());
        server
            .send(request)
            .await
            .problem(415, "unsupported_media_type");
    }
    server
        .send(Request::new("PUT", "/api/v2/likes"))
        .await
        .problem(415, "unsupported_media_type");
    let request =
        Request::new("PUT", "/api/v2/likes").body("Application/JSON; charset=UTF-8", good);
    server.send(request).await.ok();
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let limits = Limits {
        max_body_bytes: 200,
        ..Limits::default()
    };
    let server = Server::with_limits(limits).await;
    let padded = |bytes: usize| {
        let good = r#"{"userId":1,"targetType":"POST","targetId":1}"#;
        format!("{good}{}", " ".repeat(bytes - good.len()))
    };
    server.send(put(padded(200))).await.ok();
    server
        .send(put(padded(201)))
        .await
        .problem(413, "payload_too_large");
    // Without a length, the limit holds while the body is read.
    let mut connection = server.connect().await;
    connection
        .write(b"PUT /api/v2/likes HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    connection
        .write(format!("c9\r\n{}\r\n0\r\n\r\n", padded(201)).as_bytes())
        .await;
    connection.reply().await.problem(413, "payload_too_large");
    let pieces = padded(200);
    let mut connection = server.connect().await;
    connection
        .write(b"PUT /api/v2/likes HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    for piece in pieces.as_bytes().chunks(50) {
        connection.write(b"32\r\n").await;
        connection.write(piece).await;
        connection.write(b"\r\n").await;
    }
    connection.write(b"0\r\n\r\n").await;
    connection.reply().await.ok();
}

#[tokio::test]
async fn a_body_of_a_megabyte_passes_by_default() {
    let server = Server::start().await;
    let good = r#"{"userId":1,"targetType":"POST","targetId":1}"#;
    let padded = |bytes: usize| format!("{good}{}", " ".repeat(bytes - good.len()));
    server.send(put(padded(1_048_576))).await.ok();
    let mut connection = server.connect().await;
    connection.try_write(&put(padded(1_048_577)).bytes()).await;
    connection.reply().await.problem(413, "payload_too_large");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    let server = Server::start().await;
    let paths = [
        "/",
        "/api/v2",
        "/api/v1/likes/count",
        "/api/v2/likes/nothing",
        "/api/v2/likes/count/",
        "/%00",
        "/api/v2/claps",
        "/api/v2/dead-letters/1",
        "/api/v2/notifications/1",
        "/api/v2/webhooks/a/b",
    ];
    for path in paths {
        server.get(path).await.problem(404, "not_found");
    }
    let table = [
        ("PATCH", "/api/v2/likes", "DELETE,PUT"),
        ("GET", "/api/v2/likes/toggle", "POST"),
        ("GET", "/api/v2/dead-letters/1/retry", "POST"),
        ("POST", "/api/v2/dead-letters", "GET,HEAD"),
        ("POST", "/health", "GET,HEAD"),
        ("GET", "/api/v2/likes", "DELETE,PUT"),
    ];
    for (method, path, allowed) in table {
        let reply = server.send(Request::new(method, path)).await;
        let (detail, _) = reply.problem(405, "method_not_allowed");
        assert!(detail.contains(method), "{detail}");
        let mut names: Vec<_> = reply.header("allow").unwrap().split(',').collect();
        names.sort_unstable();
        assert_eq!(names.join(","), allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn queries_of_calls_with_bodies_are_refused() {
    let server = Server::start().await;
    let body: Value = json!({"userId": 1, "targetType": "POST", "targetId": 1});
    server
        .put("/api/v2/likes?userId=2", body.clone())
        .await
        .bad("userId");
    server.post("/api/v2/likes/toggle?x", body).await.bad("x");
    server.get("/api/v2/hot-keys?size=1").await.bad("size");
}
