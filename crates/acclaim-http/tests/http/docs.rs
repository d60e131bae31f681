//! `GET /openapi.json`, `GET /docs`: the document, the golden copy of it, and the page.

use crate::support::{Request, Server};
use serde_json::Value;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../acclaim-http/openapi.json");

async fn document(server: &Server) -> Value {
    server.get("/openapi.json").await.ok()
}

#[tokio::test]
async fn the_document_is_the_golden_one() {
    let server = Server::start().await;
    let text = server.get("/openapi.json").await.text() + "\n";
    if std::env::var_os("ACCLAIM_UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert!(
        text == golden,
        "the OpenAPI document changed; look at the difference after ACCLAIM_UPDATE_GOLDEN=1"
    );
}

/// Every call of the contract that this engine serves.
const CALLS: [&str; 44] = [
    "post /api/v2/{kind}/toggle",
    "put /api/v2/{kind}",
    "delete /api/v2/{kind}",
    "post /api/v2/{kind}/batch",
    "get /api/v2/{kind}/count",
    "post /api/v2/{kind}/batch/count",
    "get /api/v2/{kind}/status",
    "post /api/v2/{kind}/batch/status",
    "get /api/v2/{kind}/users",
    "get /api/v2/{kind}/targets",
    "get /api/v2/{kind}/statistics",
    "get /api/v2/{kind}/mutual",
    "get /api/v2/{kind}/common",
    "post /api/v2/{kind}/batch/relationships",
    "get /api/v2/{kind}/known",
    "get /api/v2/{kind}/ranking",
    "get /api/v2/{kind}/daily",
    "get /api/v2/events",
    "put /api/v2/targets/{targetType}/{targetId}",
    "get /api/v2/notifications",
    "post /api/v2/notifications/read",
    "put /api/v2/webhooks/{name}",
    "get /api/v2/webhooks",
    "delete /api/v2/webhooks/{name}",
    "post /api/v2/webhooks/{name}/test",
    "post /api/v2/{kind}/recover",
    "delete /api/v2/users/{userId}",
    "delete /api/v2/targets/{targetType}/{targetId}",
    "get /api/v2/jobs/{id}",
    "post /api/v2/import",
    "get /api/v2/export",
    "get /api/v2/dead-letters",
    "post /api/v2/dead-letters/{id}/retry",
    "get /api/v2/hot-keys",
    "get /api/v2/audit",
    "get /api/v2/consistency/report",
    "post /api/v2/consistency/check",
    "get /consistency/report",
    "post /consistency/check",
    "get /health",
    "get /ready",
    "get /metrics",
    "get /openapi.json",
    "get /docs",
];

#[tokio::test]
async fn the_document_has_the_calls_of_the_contract_and_no_other() {
    let server = Server::start().await;
    let document = document(&server).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut documented: Vec<String> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        documented.extend(
            item.as_object()
                .unwrap()
                .keys()
                .map(|method| format!("{method} {path}")),
        );
    }
    documented.sort();
    let mut expected: Vec<String> = CALLS.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(documented, expected);
}

#[tokio::test]
async fn every_call_has_a_name_of_its_own_and_says_what_failures_look_like() {
    let server = Server::start().await;
    let mut names = std::collections::HashSet::new();
    for item in document(&server).await["paths"]
        .as_object()
        .unwrap()
        .values()
    {
        for operation in item.as_object().unwrap().values() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name}");
            let failure = &operation["responses"]["default"];
            assert!(
                failure["content"]["application/problem+json"].is_object(),
                "{name}"
            );
            for response in operation["responses"].as_object().unwrap().values() {
                assert!(response["description"].is_string(), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn the_router_takes_what_is_documented() {
    let server = Server::start().await;
    for (path, item) in document(&server).await["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let real = path
                .replace("{kind}", "likes")
                .replace("{targetType}", "NONE")
                .replace("{userId}", "nobody-at-all")
                .replace("{targetId}", "nothing-at-all")
                .replace("{id}", "x");
            let method: &'static str = method.to_uppercase().leak();
            if real == "/api/v2/events" {
                continue;
            }
            let reply = server.send(Request::new(method, &real)).await;
            // An engine may not have what a call is about; then it says so.
            let is_routed = reply.status != 405 && !reply.text().contains("there is no route");
            assert!(is_routed, "{method} {real}: {}", reply.status);
        }
    }
}

#[tokio::test]
async fn documented_parameters_are_known_to_their_calls() {
    let server = Server::start().await;
    for (path, item) in document(&server).await["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] != "query" || method != "get" || path.ends_with("/events") {
                    continue;
                }
                let name = parameter["name"].as_str().unwrap();
                let path = path.replace("{kind}", "likes");
                let reply = server.get(&format!("{path}?{name}=1")).await;
                let text = reply.text();
                assert!(
                    !text.contains("is not a query parameter"),
                    "{path} {name}: {text}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_page_asks_no_other_host() {
    let server = Server::start().await;
    let reply = server.get("/docs").await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"));
    let page = reply.text();
    assert!(page.contains("/openapi.json"));
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="));
}
