//! Most of it against a listener that answers each line with itself, so that every byte is known.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use acclaim_servers::{Direction, MariaDb, Proxy, Redis, until};
use sqlx::{Connection, Executor, MySqlConnection};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::{LIMIT, SHORT, holds};

/// Answers every line with itself.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (from, mut to) = stream.into_split();
                let mut lines = BufReader::new(from).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    if to.write_all(format!("{line}\n").as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

struct Caller(BufReader<TcpStream>);

impl Caller {
    async fn new(proxy: &Proxy) -> Self {
        Self(BufReader::new(
            TcpStream::connect(proxy.address()).await.unwrap(),
        ))
    }

    async fn say(&mut self, line: &str) -> std::io::Result<()> {
        self.0.write_all(format!("{line}\n").as_bytes()).await
    }

    /// The next line; empty at the end of the connection.
    async fn hear(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        Ok(line.trim_end().to_owned())
    }

    async fn call(&mut self, line: &str) -> std::io::Result<String> {
        self.say(line).await?;
        timeout(LIMIT, self.hear()).await?
    }

    async fn hears_nothing(&mut self) -> bool {
        timeout(SHORT, self.0.fill_buf()).await.is_err()
    }
}

async fn await_connections(proxy: &Proxy, wanted: usize) {
    until(LIMIT, "the number of connections", || async {
        let open = proxy.connections();
        holds(open == wanted, &format!("{open} are open"))
    })
    .await;
}

#[tokio::test]
async fn passes_everything_and_counts_it() {
    let proxy = Proxy::start(echo().await).await;
    let mut one = Caller::new(&proxy).await;
    let mut other = Caller::new(&proxy).await;
    assert_eq!(one.call("abc").await.unwrap(), "abc");
    assert_eq!(other.call("de").await.unwrap(), "de");
    assert_eq!(proxy.connections(), 2);
    assert_eq!(proxy.passed_bytes(Direction::ToServer), 7);
    assert_eq!(proxy.passed_bytes(Direction::ToClient), 7);
    let long = "x".repeat(1 << 20);
    assert_eq!(one.call(&long).await.unwrap(), long);
    drop(one);
    await_connections(&proxy, 1).await;
}

#[tokio::test]
async fn cut_closes_and_new_connections_work() {
    let proxy = Proxy::start(echo().await).await;
    let mut caller = Caller::new(&proxy).await;
    caller.call("a").await.unwrap();
    proxy.cut();
    assert_eq!(timeout(LIMIT, caller.hear()).await.unwrap().unwrap(), "");
    await_connections(&proxy, 0).await;
    assert_eq!(Caller::new(&proxy).await.call("b").await.unwrap(), "b");
}

#[tokio::test]
async fn reset_is_seen_as_one() {
    let proxy = Proxy::start(echo().await).await;
    let mut caller = Caller::new(&proxy).await;
    caller.call("a").await.unwrap();
    proxy.reset();
    let error = timeout(LIMIT, caller.hear()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(Caller::new(&proxy).await.call("b").await.unwrap(), "b");
}

#[tokio::test]
async fn refuse_is_a_port_where_nobody_listens() {
    let proxy = Proxy::start(echo().await).await;
    let mut open = Caller::new(&proxy).await;
    open.call("a").await.unwrap();
    proxy.refuse().await;
    let error = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(open.call("b").await.unwrap(), "b");
    proxy.accept().await;
    assert_eq!(Caller::new(&proxy).await.call("c").await.unwrap(), "c");
}

#[tokio::test]
async fn a_server_that_is_not_there_ends_the_connection() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let proxy = Proxy::start(nobody).await;
    // The reset may come before the connection is there, or after.
    let called = async {
        let mut stream = TcpStream::connect(proxy.address()).await?;
        stream.read_u8().await
    };
    let error = timeout(LIMIT, called).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn delay_holds_both_ways_until_it_is_healed() {
    let proxy = Proxy::start(echo().await).await;
    let mut caller = Caller::new(&proxy).await;
    let delay = Duration::from_millis(200);
    proxy.delay(delay);
    let begin = Instant::now();
    caller.call("a").await.unwrap();
    assert!(begin.elapsed() >= 2 * delay, "{:?}", begin.elapsed());
    proxy.heal().await;
    // The fastest of some: the machine may be busy, but not each time.
    let mut fastest = LIMIT;
    for _ in 0..20 {
        let begin = Instant::now();
        caller.call("b").await.unwrap();
        fastest = fastest.min(begin.elapsed());
    }
    assert!(fastest < delay, "{fastest:?}");
}

#[tokio::test]
async fn throttle_passes_so_many_bytes_a_second() {
    let proxy = Proxy::start(echo().await).await;
    let mut caller = Caller::new(&proxy).await;
    proxy.throttle(10_000);
    let line = "x".repeat(2_999);
    let begin = Instant::now();
    assert_eq!(caller.call(&line).await.unwrap(), line);
    // 3,000 bytes there, and back as they come.
    assert!(
        begin.elapsed() >= Duration::from_millis(300),
        "{:?}",
        begin.elapsed()
    );
    proxy.throttle(1_000_000);
    let long = "x".repeat(99_999);
    let begin = Instant::now();
    assert_eq!(caller.call(&long).await.unwrap(), long);
    assert!(
        begin.elapsed() >= Duration::from_millis(100),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test]
async fn what_a_black_hole_took_never_comes_back() {
    let proxy = Proxy::start(echo().await).await;
    for direction in [Direction::ToServer, Direction::ToClient] {
        let mut lost = Caller::new(&proxy).await;
        lost.call("a").await.unwrap();
        let before = proxy.passed_bytes(Direction::ToServer);
        proxy.black_hole(direction);
        lost.say("bc").await.unwrap();
        assert!(lost.hears_nothing().await);
        let reached = proxy.passed_bytes(Direction::ToServer) - before;
        assert_eq!(
            reached,
            if direction == Direction::ToServer {
                0
            } else {
                3
            }
        );
        proxy.heal().await;
        lost.say("d").await.unwrap();
        assert!(lost.hears_nothing().await);
        assert_eq!(Caller::new(&proxy).await.call("e").await.unwrap(), "e");
        proxy.cut();
        assert_eq!(timeout(LIMIT, lost.hear()).await.unwrap().unwrap(), "");
    }
}

#[tokio::test]
async fn what_was_stalled_arrives_when_it_is_healed() {
    let proxy = Proxy::start(echo().await).await;
    for direction in [Direction::ToServer, Direction::ToClient] {
        let mut caller = Caller::new(&proxy).await;
        caller.call("a").await.unwrap();
        proxy.stall(direction);
        caller.say("b").await.unwrap();
        assert!(caller.hears_nothing().await);
        proxy.heal().await;
        assert_eq!(timeout(LIMIT, caller.hear()).await.unwrap().unwrap(), "b");
    }
}

#[tokio::test]
async fn the_cut_comes_right_after_the_nth_reply_and_once() {
    let proxy = Proxy::start(echo().await).await;
    proxy.cut_after_replies(3);
    let mut one = Caller::new(&proxy).await;
    let mut other = Caller::new(&proxy).await;
    assert_eq!(one.call("1").await.unwrap(), "1");
    assert_eq!(other.call("2").await.unwrap(), "2");
    assert_eq!(one.call("3").await.unwrap(), "3");
    assert_eq!(one.hear().await.unwrap(), "");
    assert_eq!(proxy.sprung(), 1);
    for line in ["4", "5", "6", "7"] {
        assert_eq!(other.call(line).await.unwrap(), line);
    }
}

#[tokio::test]
async fn the_cut_comes_behind_the_pattern_wherever_pieces_end() {
    let proxy = Proxy::start(echo().await).await;
    proxy.cut_after(Direction::ToServer, b"COMMIT\n");
    let mut caller = Caller::new(&proxy).await;
    assert_eq!(caller.call("COMMI").await.unwrap(), "COMMI");
    let before = proxy.passed_bytes(Direction::ToServer);
    caller.0.write_all(b"aCOM").await.unwrap();
    until(LIMIT, "the first half", || async {
        let passed = proxy.passed_bytes(Direction::ToServer) - before;
        holds(passed == 4, "it has not passed")
    })
    .await;
    caller.0.write_all(b"MIT\nb\n").await.unwrap();
    // The proxy closes with the client's last bytes unread or its own close first.
    let mut rest = Vec::new();
    let _ = timeout(LIMIT, caller.0.read_to_end(&mut rest))
        .await
        .unwrap();
    assert_eq!(proxy.sprung(), 1);
    assert_eq!(proxy.passed_bytes(Direction::ToServer) - before, 8);

    proxy.cut_after(Direction::ToClient, b"yes");
    let mut caller = Caller::new(&proxy).await;
    assert_eq!(caller.call("no").await.unwrap(), "no");
    assert_eq!(caller.call("yes, and more").await.unwrap(), "yes");
    assert_eq!(proxy.sprung(), 2);
    assert_eq!(Caller::new(&proxy).await.call("yes").await.unwrap(), "yes");
}

#[tokio::test]
async fn the_reply_to_a_pattern_is_lost_after_the_server_gave_it() {
    let proxy = Proxy::start(echo().await).await;
    proxy.lose_reply_to(b"now");
    let mut bystander = Caller::new(&proxy).await;
    let mut caller = Caller::new(&proxy).await;
    assert_eq!(caller.call("later").await.unwrap(), "later");
    assert_eq!(caller.call("now").await.unwrap(), "");
    assert_eq!(proxy.sprung(), 1);
    assert_eq!(proxy.passed_bytes(Direction::ToServer), 10);
    assert_eq!(proxy.passed_bytes(Direction::ToClient), 6);
    assert_eq!(bystander.call("now").await.unwrap(), "now");
}

#[tokio::test]
async fn a_trap_that_is_healed_does_not_spring() {
    let proxy = Proxy::start(echo().await).await;
    proxy.cut_after_replies(1);
    proxy.heal().await;
    let mut caller = Caller::new(&proxy).await;
    assert_eq!(caller.call("a").await.unwrap(), "a");
    assert_eq!(caller.call("b").await.unwrap(), "b");
    assert_eq!(proxy.sprung(), 0);
}

#[tokio::test]
async fn works_while_the_test_blocks_and_ends_when_dropped() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.address()).await;
    let client = redis::Client::open(format!("redis://{}", proxy.address())).unwrap();
    // The blocking client, on the only thread of this test.
    let mut connection = client.get_connection().unwrap();
    let pong: String = redis::cmd("PING").query(&mut connection).unwrap();
    assert_eq!(pong, "PONG");
    let address = proxy.address();
    drop(proxy);
    assert!(redis::cmd("PING").query::<String>(&mut connection).is_err());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_was_done() {
    let server = MariaDb::shared().await;
    let database = server.database().await;
    let proxy = Proxy::start(server.address()).await;
    let url = database.url_by(proxy.address().port());
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    connection
        .execute("CREATE TABLE t (a BIGINT PRIMARY KEY)")
        .await
        .unwrap();
    let mut transaction = connection.begin().await.unwrap();
    transaction
        .execute("INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    proxy.lose_reply_to(b"COMMIT");
    assert!(transaction.commit().await.is_err());
    assert_eq!(proxy.sprung(), 1);

    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    let (rows,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM t")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(rows, 1);
}
