//! A cluster of a test's own, and a directory in which commands run.

use acclaim_servers::{Database, MariaDb, Redis};
use serde_json::Value;

use crate::DOCUMENTED;
use crate::program::{Ran, Server, acclaim, file, finish, path, sorted};

/// A cluster of a test's own, with a directory in which commands run.
pub struct Stage {
    pub redis: Redis,
    pub dir: tempfile::TempDir,
}

impl Stage {
    pub async fn open() -> Self {
        let (redis, ledger) = tokio::join!(Redis::start(), database());
        Self::on(redis, ledger.url())
    }

    /// On servers that a test has itself.
    pub fn on(redis: Redis, ledger: &str) -> Self {
        let stage = Self {
            redis,
            dir: tempfile::tempdir().unwrap(),
        };
        stage.configure("acclaim.toml", ledger);
        stage
    }

    pub fn configure(&self, name: &str, ledger: &str) {
        let redis = self.redis.url();
        let text = format!(
            r#"[server]
engine = "cluster"
[cluster]
redis = "{redis}"
ledger = "{ledger}"
partitions = 4
start_wait_seconds = 1
[worker]
lease_millis = 1000
lease_renew_millis = 200
lease_retry_millis = 50
"#
        );
        file(self.dir.path(), name, text);
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        finish(acclaim(args).current_dir(self.dir.path()))
    }

    /// Runs a command that docs/migration.md has, with these in place of what it has.
    pub fn documented(&self, command: &str, replaced: &[(&str, &str)]) -> Ran {
        assert!(DOCUMENTED.contains(&command), "{command}");
        let words = command.split(' ').skip(1).map(|word| {
            let known = replaced.iter().find(|(there, _)| *there == word);
            known.map_or(word, |(_, here)| here)
        });
        self.run(&words.collect::<Vec<_>>())
    }

    pub fn serve(&self, config: &str) -> Server {
        let config = path(self.dir.path(), config);
        Server::launch(&["serve", "--listen", "127.0.0.1:0", "--config", &config])
    }

    pub fn export(&self) -> Vec<String> {
        let ran = self.documented("acclaim export --kind likes --config acclaim.toml", &[]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let lines = sorted(&ran.out).into_iter();
        lines.map(str::to_owned).collect()
    }

    pub fn is_clean(&self, config: &str) {
        let ran = self.run(&["check", "--config", config]);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    }
}

pub async fn database() -> Database {
    MariaDb::shared().await.database().await
}

pub fn ok(ran: &Ran, told: &str) {
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(told), "{told:?}: {}{}", ran.out, ran.err);
}

pub fn body(server: &Server, path: &str) -> Value {
    let answer = server.get(path);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap()
}

pub fn toggle(server: &Server, user: u64, target: u64) {
    let body = format!(r#"{{"userId":{user},"targetType":"POST","targetId":{target}}}"#);
    let answer = server.send("POST", "/api/v2/likes/toggle", &body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

pub fn line(user: u64, target: u64) -> String {
    format!(
        "{{\"kind\":\"likes\",\"userId\":{user},\"targetType\":\"POST\",\"targetId\":\"{target}\",\
         \"at\":\"2026-01-01T00:00:{:02}.000000Z\"}}",
        user % 60
    )
}
