//! However a test process ends, its servers end with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use acclaim_servers::{MariaDb, Redis, until};

use crate::{LIMIT, holds};

/// Tells this test program to be the process that is going to end.
const ROLE: &str = "ACCLAIM_SERVERS_TEST_ROLE";

/// A server of the other process: its number and its directory.
type Seen = (u32, PathBuf);

/// Not a test by itself: what the other process does.
#[tokio::test]
async fn the_other_process() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let redis = Redis::start().await;
    let shared = MariaDb::shared().await;
    for (pid, directory) in [
        (redis.pid(), redis.directory()),
        (shared.pid(), shared.directory()),
    ] {
        let told = format!("\nserver {} {}\n", pid.unwrap(), directory.display());
        std::io::stdout().write_all(told.as_bytes()).unwrap();
    }
    match role.as_str() {
        // Statics are not dropped, so the shared server is left to the guard.
        "end" => {}
        "panic" => panic!("as asked for"),
        _ => std::future::pending().await,
    }
}

fn start(role: &str) -> (Child, Vec<Seen>) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifetime::the_other_process", "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let servers = lines.map_while(Result::ok).filter_map(|line| {
        let (pid, directory) = line.strip_prefix("server ")?.split_once(' ')?;
        Some((pid.parse().unwrap(), directory.into()))
    });
    let servers: Vec<Seen> = servers.take(2).collect();
    if servers.len() < 2 {
        let mut errors = String::new();
        let mut pipe = process.stderr.take().unwrap();
        pipe.read_to_string(&mut errors).unwrap();
        panic!("the other process started {servers:?}: {errors}");
    }
    (process, servers)
}

async fn assert_gone(servers: &[Seen]) {
    for (pid, directory) in servers {
        until(LIMIT, "the end of the servers", || async {
            let process = PathBuf::from(format!("/proc/{pid}"));
            let works = std::fs::read_link(process.join("cwd"));
            let is_there = works.is_ok_and(|works| works.starts_with(directory));
            holds(!is_there, &format!("{pid} still runs"))?;
            holds(
                !directory.exists(),
                &format!("{directory:?} is still there"),
            )?;
            holds(
                !home(directory).exists(),
                "what was around it is still there",
            )
        })
        .await;
    }
}

fn home(directory: &Path) -> &Path {
    directory.parent().unwrap()
}

#[tokio::test]
async fn a_killed_test_takes_its_servers_with_it() {
    let (mut process, servers) = start("wait");
    for (pid, directory) in &servers {
        let works = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
        assert!(works.starts_with(directory), "{works:?}");
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert_gone(&servers).await;
}

#[tokio::test]
async fn a_test_that_ends_takes_the_shared_ones_with_it() {
    let (mut process, servers) = start("end");
    process.wait().unwrap();
    assert_gone(&servers).await;
}

#[tokio::test]
async fn a_test_that_panics_leaves_logs_and_no_servers() {
    let (mut process, servers) = start("panic");
    let id = process.id();
    assert!(!process.wait().unwrap().success());
    assert_gone(&servers).await;
    let kept = std::env::temp_dir().join(format!("acclaim-test-logs/{id}"));
    let redis = servers[0].1.file_name().unwrap();
    let log = std::fs::read_to_string(kept.join(redis).join("output.log")).unwrap();
    assert!(log.contains("Ready to accept connections"), "{log}");
    std::fs::remove_dir_all(kept).unwrap();
}

#[tokio::test]
async fn dropping_a_server_ends_it_and_removes_its_data() {
    let redis = Redis::start().await;
    let seen = (redis.pid().unwrap(), redis.directory().to_owned());
    redis.pause().await;
    drop(redis);
    assert!(!seen.1.exists());
    assert!(!Path::new(&format!("/proc/{}", seen.0)).exists());
}
