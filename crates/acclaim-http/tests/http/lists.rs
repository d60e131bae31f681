//! `GET /{kind}/users`, `/targets`, `/mutual`, `/common`: lists and their pages.

use std::collections::HashSet;

use crate::support::{Server, json};
use serde_json::Value;

fn ids(reply: &Value, field: &str) -> Vec<String> {
    let items = reply["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item[field].to_string().replace('"', ""))
        .collect()
}

#[tokio::test]
async fn users_come_newest_first() {
    let server = Server::start().await;
    let post = server.fresh_id();
    for user in [11, 12, 13] {
        server.set("likes", user, "POST", post).await;
    }
    let reply = server
        .get(&format!(
            "/api/v2/likes/users?targetType=POST&targetId={post}"
        ))
        .await
        .ok();
    assert_eq!(ids(&reply, "userId"), ["13", "12", "11"]);
    assert_eq!(reply["items"][0]["userId"], 13);
    assert_eq!(reply["total"], 3);
    assert!(reply.get("nextCursor").is_none());
    assert_eq!(reply["items"][0]["at"].as_str().unwrap().len(), 27);
}

#[tokio::test]
async fn ids_beyond_json_come_as_text() {
    let server = Server::start().await;
    let post = server.fresh_id();
    for user in [(1u64 << 53) - 1, 1 << 53, u64::MAX] {
        server.set("likes", user, "POST", post).await;
    }
    let reply = server
        .get(&format!(
            "/api/v2/likes/users?targetType=POST&targetId={post}"
        ))
        .await
        .ok();
    assert_eq!(reply["items"][0]["userId"], "18446744073709551615");
    assert_eq!(reply["items"][1]["userId"], "9007199254740992");
    assert_eq!(reply["items"][2]["userId"], 9_007_199_254_740_991u64);
}

#[tokio::test]
async fn targets_can_be_of_one_type() {
    let server = Server::start().await;
    let user = server.fresh_id();
    server.set("likes", user, "POST", 1).await;
    server.set("likes", user, "PHOTO", 2).await;
    let all = server
        .get(&format!("/api/v2/likes/targets?userId={user}"))
        .await
        .ok();
    assert_eq!(ids(&all, "targetId"), ["2", "1"]);
    assert_eq!(all["items"][0]["targetType"], "PHOTO");
    assert!(all["items"][0]["targetId"].is_string());
    let posts = server
        .get(&format!(
            "/api/v2/likes/targets?userId={user}&targetType=POST"
        ))
        .await
        .ok();
    assert_eq!(ids(&posts, "targetId"), ["1"]);
    assert_eq!(posts["total"], 1);
}

#[tokio::test]
async fn cursors_neither_skip_nor_repeat_while_the_list_changes() {
    let server = Server::start().await;
    let post = server.fresh_id();
    for user in 0..25 {
        server.set("likes", 100 + user, "POST", post).await;
    }
    let path = format!("/api/v2/likes/users?targetType=POST&targetId={post}&size=10");
    let mut seen = Vec::new();
    let mut next = path.clone();
    loop {
        let page = server.get(&next).await.ok();
        seen.extend(ids(&page, "userId"));
        // Somebody new comes, and somebody already seen goes.
        server
            .set("likes", 900 + seen.len() as u64, "POST", post)
            .await;
        server
            .delete(&format!(
                "/api/v2/likes?userId={}&targetType=POST&targetId={post}",
                seen[0]
            ))
            .await
            .ok();
        match page["nextCursor"].as_str() {
            Some(cursor) => next = format!("{path}&cursor={cursor}"),
            None => break,
        }
    }
    let distinct: HashSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());
    assert_eq!(seen.len(), 25);
}

#[tokio::test]
async fn pages_reach_the_first_thousand() {
    let server = Server::start().await;
    let get = async |query: &str| {
        server
            .get(&format!(
                "/api/v2/likes/users?targetType=POST&targetId=1&{query}"
            ))
            .await
    };
    get("page=9&size=100").await.ok();
    get("page=999&size=1").await.ok();
    let (detail, field) = get("page=10&size=100").await.problem(400, "page_too_deep");
    assert!(detail.contains("cursor"), "{detail}");
    assert_eq!(field.as_deref(), Some("page"));
    get("page=50").await.problem(400, "page_too_deep");
    get("page=18446744073709551615&size=100")
        .await
        .problem(400, "page_too_deep");
    get("size=0").await.bad("size");
    get("size=101").await.bad("size");
    get("size=ten").await.bad("size");
    get("size=-1").await.bad("size");
    get("page=-1").await.bad("page");
    get("page=18446744073709551616").await.bad("page");
    get("page=0&cursor=x").await.bad("page");
}

#[tokio::test]
async fn forged_cursors_are_refused() {
    let server = Server::start().await;
    let (user, post) = (server.fresh_id(), server.fresh_id());
    for other in 0..3 {
        server.set("likes", 500 + other, "POST", post).await;
        server.set("likes", user, "POST", 700 + other).await;
    }
    let path = format!("/api/v2/likes/users?targetType=POST&targetId={post}&size=1");
    let cursor = server.get(&path).await.ok()["nextCursor"]
        .as_str()
        .unwrap()
        .to_owned();
    server.get(&format!("{path}&cursor={cursor}")).await.ok();
    // Another size goes on; another list, kind or type does not.
    server
        .get(&format!(
            "{}&cursor={cursor}",
            path.replace("size=1", "size=2")
        ))
        .await
        .ok();
    let other_list = [
        format!(
            "/api/v2/likes/users?targetType=POST&targetId={}&cursor={cursor}",
            post + 1
        ),
        format!("/api/v2/likes/users?targetType=PHOTO&targetId={post}&cursor={cursor}"),
        format!("/api/v2/dislikes/users?targetType=POST&targetId={post}&cursor={cursor}"),
        format!("/api/v2/likes/targets?userId={user}&cursor={cursor}"),
        format!("/api/v2/follows/mutual?userId={user}&cursor={cursor}"),
        format!("/api/v2/likes/common?userId={user}&otherId=1&cursor={cursor}"),
    ];
    for path in other_list {
        let (_, field) = server.get(&path).await.problem(400, "bad_cursor");
        assert_eq!(field.as_deref(), Some("cursor"));
    }
    let mut forged = cursor.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    for cursor in [
        &forged,
        "",
        "x",
        "%00",
        "AAAA",
        &"A".repeat(5_000),
        "%F0%9F%98%80",
    ] {
        server
            .get(&format!("{path}&cursor={cursor}"))
            .await
            .problem(400, "bad_cursor");
    }
    let targets = format!("/api/v2/likes/targets?userId={user}&size=1");
    let cursor = server.get(&targets).await.ok()["nextCursor"]
        .as_str()
        .unwrap()
        .to_owned();
    server.get(&format!("{targets}&cursor={cursor}")).await.ok();
    server
        .get(&format!("{targets}&targetType=POST&cursor={cursor}"))
        .await
        .problem(400, "bad_cursor");
}

#[tokio::test]
async fn mutual_follows_are_listed() {
    let server = Server::start().await;
    let me = server.fresh_id() + 10_000;
    for other in [1, 2, 3] {
        server.set("follows", me, "USER", me + other).await;
    }
    for other in [1, 3] {
        server.set("follows", me + other, "USER", me).await;
    }
    let path = format!("/api/v2/follows/mutual?userId={me}");
    let all = server.get(&path).await.ok();
    assert_eq!(
        ids(&all, "userId"),
        [(me + 3).to_string(), (me + 1).to_string()]
    );
    assert!(all.get("total").is_none());
    let first = server.get(&format!("{path}&size=1")).await.ok();
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = server
        .get(&format!("{path}&size=1&cursor={cursor}"))
        .await
        .ok();
    assert_eq!(ids(&second, "userId"), [(me + 1).to_string()]);
    server
        .get("/api/v2/reads/mutual?userId=1")
        .await
        .problem(422, "target_type_not_allowed");
    server.get(&format!("{path}&page=0")).await.bad("page");
    server.get("/api/v2/follows/mutual").await.bad("userId");
}

#[tokio::test]
async fn common_is_of_users_or_of_targets() {
    let server = Server::start().await;
    let me = server.fresh_id() + 20_000;
    for user in [me, me + 1] {
        server.set("follows", user, "USER", me + 9).await;
        server.set("likes", user, "POST", me).await;
    }
    let query = format!("userId={me}&otherId={}", me + 1);
    let users = server
        .get(&format!("/api/v2/follows/common?{query}"))
        .await
        .ok();
    assert_eq!(ids(&users, "userId"), [(me + 9).to_string()]);
    let targets = server
        .get(&format!("/api/v2/likes/common?{query}"))
        .await
        .ok();
    assert_eq!(ids(&targets, "targetId"), [me.to_string()]);
    assert_eq!(targets["items"][0]["targetType"], "POST");
    server
        .get(&format!("/api/v2/likes/common?userId={me}"))
        .await
        .bad("otherId");
    let nothing = server
        .get(&format!(
            "/api/v2/likes/common?userId={me}&otherId=77777777"
        ))
        .await
        .ok();
    assert_eq!(nothing, json!({"items": []}));
}
