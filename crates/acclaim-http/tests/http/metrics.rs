//! `GET /metrics`.

use acclaim_http::Limits;

use crate::support::Server;

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let server = Server::with_limits(Limits::default()).await.alone();
    server.set("likes", 1, "POST", 1).await;
    server.set("follows", 1, "USER", 2).await;
    server.set("follows", 1, "USER", 3).await;
    server.get("/api/v2/likes/count").await.bad("targetType");
    server.get("/nowhere").await.problem(404, "not_found");
    let reply = server.get("/metrics").await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(reply.header("content-type"), Some(kind));
    let text = reply.text();
    let expected = [
        r#"acclaim_http_requests_total{route="/api/v2/{kind}",method="PUT",status="200"} 3"#,
        r#"acclaim_http_requests_total{route="/api/v2/{kind}/count",method="GET",status="400"} 1"#,
        r#"acclaim_http_requests_total{route="unmatched",method="unmatched",status="404"} 1"#,
        r#"acclaim_http_request_duration_seconds_count{route="/api/v2/{kind}",method="PUT"} 3"#,
        "acclaim_http_requests_in_flight 1",
        "acclaim_http_connections_accepted_total 6",
        "acclaim_event_subscribers 0",
        "acclaim_http_requests_shed_total 0",
        "acclaim_import_lines_total 0",
    ];
    for line in expected {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}
