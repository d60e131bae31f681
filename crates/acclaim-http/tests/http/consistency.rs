//! `GET /consistency/report`, `POST /consistency/check`, with and without the prefix.

use crate::support::{Request, Server};

#[tokio::test]
async fn reports_and_checks_answer_with_and_without_the_prefix() {
    let server = Server::start().await;
    for prefix in ["", "/api/v2"] {
        let report = server
            .get(&format!("{prefix}/consistency/report?hours=48"))
            .await
            .ok();
        assert_eq!(report["hours"], 48);
        assert_eq!(report["mismatches"], 0);
        assert_eq!(report["consistency"], 1.0);
        assert!(report["findings"].as_array().unwrap().is_empty());
        server
            .get(&format!("{prefix}/consistency/report?hours=0"))
            .await
            .bad("hours");
        let check = Request::new("POST", &format!("{prefix}/consistency/check?repair=true"));
        let check = server.send(check).await.ok();
        assert_eq!(check["hours"], 0);
        assert!(check["checked"].is_u64());
        let bad = Request::new("POST", &format!("{prefix}/consistency/check?repair=yes"));
        server.send(bad).await.bad("repair");
    }
}
