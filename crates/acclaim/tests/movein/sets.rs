//! From Redis sets.

use acclaim_servers::Redis;

use crate::program::sorted;
use crate::stage::{Stage, ok};

/// What docs/migration.md calls the application's Redis.
const APP_REDIS: &str = "redis://127.0.0.1:6380";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_sets_move_in() {
    let stage = Stage::open().await;
    let app = Redis::start().await;
    let mut pipe = redis_commands();
    for user in 0..3_000 {
        pipe.push(vec!["SADD", "like:target:POST:1"], user.to_string());
    }
    pipe.push(vec!["SADD", "like:target:COMMENT:c:2"], "7".to_owned());
    pipe.push(vec!["SADD", "like:user:u-9"], "POST:1".to_owned());
    pipe.push(vec!["SET", "like:target:count"], "1".to_owned());
    pipe.run(&app).await;
    let url = app.url();
    let migrate = |command: &str| stage.documented(command, &[(APP_REDIS, &url)]);
    let step = |step: &str, more: &str| {
        let from = format!("acclaim migrate sets {step} --from {APP_REDIS}");
        migrate(&format!("{from} --config acclaim.toml{more}"))
    };
    ok(&step("copy", ""), "3001 rows, 3001 new");
    ok(&step("compare", ""), "");
    let users = format!(
        "acclaim migrate sets copy --from {APP_REDIS} --key like:user:{{user}} --member \
         {{type}}:{{id}} --position users.json --config acclaim.toml"
    );
    ok(&migrate(&users), "1 rows, 1 new");
    let mut pipe = redis_commands();
    pipe.push(vec!["SADD", "like:target:POST:1"], "5000".to_owned());
    pipe.push(vec!["SREM", "like:target:POST:1"], "5".to_owned());
    pipe.run(&app).await;
    ok(&step("changes", ""), "1 new");
    let found = step("compare", "");
    assert_eq!(found.code, 1, "{}", found.err);
    let surplus = [
        "too many: likes user 5 target POST:1",
        "too many: likes user u-9 target POST:1",
    ];
    assert_eq!(sorted(&found.out), surplus);
    ok(&step("compare", " --mend"), "");
    assert_eq!(stage.export().len(), 3_001);
    stage.is_clean("acclaim.toml");
}

/// Commands for the application's Redis.
struct Commands(Vec<Vec<String>>);

fn redis_commands() -> Commands {
    Commands(Vec::new())
}

impl Commands {
    fn push(&mut self, words: Vec<&str>, last: String) {
        let words = words.into_iter().map(str::to_owned);
        self.0.push(words.chain([last]).collect());
    }

    /// Sends them as they are written on the wire, and reads an answer for each.
    async fn run(self, redis: &Redis) {
        use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
        let url = redis.url();
        let address = url
            .trim_start_matches("redis://")
            .split('/')
            .next()
            .unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut answers = BufReader::new(read).lines();
        for words in self.0 {
            let mut text = format!("*{}\r\n", words.len());
            for word in words {
                text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
            }
            write.write_all(text.as_bytes()).await.unwrap();
            let answer = answers.next_line().await.unwrap().unwrap();
            assert!(!answer.starts_with('-'), "{answer}");
        }
    }
}
