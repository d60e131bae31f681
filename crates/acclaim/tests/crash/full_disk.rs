//! A disk without room: writes are refused, reads go on, nothing acknowledged is lost.
//!
//! Needs the right to mount a small file system of its own; without it there is nothing to test.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;

use crate::client::{Client, Sent};
use crate::import;
use crate::load::Load;
use crate::round::Round;
use crate::seeded;
use crate::server::{Server, check_is_clean};
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(60);

/// A file system in memory, gone when it is dropped.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    pub fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m", "acclaim-test"])
            .arg(&at)
            .output();
        mount
            .is_ok_and(|mount| mount.status.success())
            .then_some(Self(at))
    }

    /// Takes this much room.
    pub fn take(&self, bytes: usize) {
        fs::write(self.0.join("filler"), vec![1; bytes]).unwrap();
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            let bytes = vec![1; size];
            while file.write_all(&bytes).is_ok() {}
        }
    }

    pub fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that a server that is still ending does not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_writes_and_goes_on_reading() {
    seeded(async |_, mut chance| {
        let home = tempfile::tempdir().unwrap();
        let Some(disk) = SmallDisk::mount(home.path().join("disk")) else {
            return skipped();
        };
        let data = disk.0.join("data");
        let server = Server::start(&data);
        let address = server.address;
        let mut world = World::default();
        let mut loads = Vec::new();
        let begin = Instant::now();
        for round in (1..).map(Round) {
            let load = Load::begin(address, round, &mut chance);
            while load.progress() < 2_000 && begin.elapsed() < LIMIT && load.refused() < 50 {
                if round == Round(1) && load.progress() > 500 && !is_full(&disk) {
                    disk.fill();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            load.end();
            let (ticks, refused) = (load.ticks.clone(), load.refused());
            loads.push((round, load.records().await, ticks));
            if refused > 0 {
                break;
            }
            assert!(begin.elapsed() < LIMIT, "no write was refused in {LIMIT:?}");
        }
        reads_go_on(&server).await;
        disk.free();
        writes_go_on(&server).await;
        for (round, records, ticks) in loads {
            world.judge(address, round, records, &ticks).await;
        }
        server.kill();
        let server = Server::start(&data);
        world.look_again(server.address).await;
        server.stop_cleanly();
        check_is_clean(&data);
    });
}

/// The text of an import that does not fit is removed again, and nothing else is harmed.
#[test]
fn a_full_disk_takes_no_import_job() {
    seeded(async |_, _| {
        let home = tempfile::tempdir().unwrap();
        let Some(disk) = SmallDisk::mount(home.path().join("disk")) else {
            return skipped();
        };
        let data = disk.0.join("data");
        let server = Server::start(&data);
        let too_much = vec![b'\n'; 80 << 20];
        let (status, problem) = import::import(server.address, too_much, true).unwrap();
        assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
        import::no_text(&data).await;
        assert!(!import::is_known(server.address, 1).await);
        // The room is there again once the file is closed, which is a moment after it has no name.
        let begin = Instant::now();
        loop {
            let (status, answer) = import::import(server.address, vec![b'\n'; 9], true).unwrap();
            if status == 202 {
                assert_eq!(answer["id"], 1);
                break;
            }
            assert_eq!(answer["code"], "unavailable", "{answer}");
            assert!(begin.elapsed() < LIMIT, "still refused: {answer}");
        }
        assert_eq!(import::ended(server.address, 1).await["state"], "done");
        writes_go_on(&server).await;
        server.stop_cleanly();
        check_is_clean(&data);
    });
}

fn is_full(disk: &SmallDisk) -> bool {
    Path::new(&disk.0).join("filler").exists()
}

async fn reads_go_on(server: &Server) {
    let mut client = Client::new(server.address);
    for read in [
        "/likes/count?targetType=POST&targetId=1000",
        "/likes/users?targetType=POST&targetId=1000",
        "/likes/ranking?targetType=POST&window=day",
        "/follows/statistics?userId=100",
    ] {
        client.ask(read).await;
    }
}

/// With room again, writes are taken again without a restart. The edge is removed again, so that
/// the world stays what it was.
async fn writes_go_on(server: &Server) {
    let mut client = Client::new(server.address);
    let edge = json!({ "userId": 7, "targetType": "LATER", "targetId": 1 });
    let set = Sent {
        method: Method::PUT,
        path: "/likes".to_owned(),
        body: Some(edge),
        key: None,
    };
    let unset = Sent {
        method: Method::DELETE,
        path: "/likes?userId=7&targetType=LATER&targetId=1".to_owned(),
        body: None,
        key: None,
    };
    for sent in [set, unset] {
        let begin = Instant::now();
        loop {
            let answered = client.call(&sent).await.unwrap();
            if answered.status == 200 {
                break;
            }
            assert_eq!(answered.code(), "unavailable", "{answered:?}");
            assert!(begin.elapsed() < LIMIT, "still refused: {answered:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[allow(
    clippy::print_stderr,
    reason = "whoever reads the output must know what was not tested"
)]
pub fn skipped() {
    eprintln!("no right to mount a small file system: the full disk was not tested");
}
