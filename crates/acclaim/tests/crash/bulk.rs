//! Imports into an empty directory: whatever happens, all of it is there or nothing.

use std::fs;
#[cfg(feature = "failpoints")]
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rand::Rng;

use crate::full_disk::{SmallDisk, skipped};
use crate::server::{ENVIRONMENT, binary, check_is_clean};
use crate::{rounds, seeded};

/// So many that sorting them needs files. Each is an edge of its own.
const LINES: usize = 200_000;
/// The least memory for sorting that can be configured.
const LITTLE_MEMORY: (&str, &str) = ("ACCLAIM_ENGINE__BULK_MEMORY_BYTES", "16MiB");

fn source(dir: &Path) -> PathBuf {
    let mut text = String::from("kind,userId,targetType,targetId\n");
    for n in 0..LINES {
        let (user, target) = (n * 7919 % 20_011, n * 104_729 % 3_001);
        match n % 10 {
            0 => text.push_str(&format!("follows,{user},USER,x{target}\n")),
            1 => text.push_str(&format!("dislikes,{user},POST,{target}\n")),
            _ => text.push_str(&format!("likes,{user},POST,{target}\n")),
        }
    }
    let path = dir.join("source.csv");
    fs::write(&path, text).unwrap();
    path
}

fn import(source: &Path, data: &Path) -> Command {
    let mut command = Command::new(binary());
    command.arg("import").arg(source).arg("--data").arg(data);
    command
        .envs(ENVIRONMENT)
        .envs([LITTLE_MEMORY])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// New edges, as the summary tells.
fn new_edges(output: &Output) -> usize {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let new = text.split(", ").find_map(|part| part.strip_suffix(" new"));
    new.unwrap().parse().unwrap()
}

/// The edges that are there.
fn edges(data: &Path) -> usize {
    let of_kind = |kind| {
        let mut export = Command::new(binary());
        export.args(["export", "--kind", kind, "--data"]).arg(data);
        let output = export.envs(ENVIRONMENT).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout.iter().filter(|byte| **byte == b'\n').count()
    };
    ["likes", "dislikes", "follows"].map(of_kind).iter().sum()
}

fn tables(data: &Path) -> usize {
    fs::read_dir(data.join("base/keyspaces"))
        .unwrap()
        .flatten()
        .filter_map(|keyspace| fs::read_dir(keyspace.path().join("tables")).ok())
        .flatten()
        .count()
}

/// What is beside the store's own files.
fn strangers(data: &Path) -> Vec<String> {
    let own = ["base", "lock", "log", "manifest.json", "spool", "watermark"];
    let names = fs::read_dir(data).unwrap().flatten();
    names
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !own.contains(&name.as_str()))
        .collect()
}

#[test]
fn a_killed_import_is_whole_or_nothing() {
    seeded(async |_, mut chance| {
        let home = tempfile::tempdir().unwrap();
        let source = source(home.path());
        let whole = home.path().join("whole");
        let begin = std::time::Instant::now();
        import(&source, &whole).output().unwrap();
        let took = begin.elapsed();
        assert_eq!(edges(&whole), LINES);
        let expected_tables = tables(&whole);
        for round in 0..rounds() {
            let data = home.path().join(round.to_string());
            let mut child = import(&source, &data).spawn().unwrap();
            // The moment of death is drawn.
            std::thread::sleep(took.mul_f64(chance.random_range(0.0..1.1)));
            child.kill().unwrap();
            child.wait().unwrap();
            if !data.join("manifest.json").exists() {
                continue;
            }
            let there = edges(&data);
            assert!(there == 0 || there == LINES, "{there}");
            let again = import(&source, &data).output().unwrap();
            assert!(again.status.success(), "{again:?}");
            assert_eq!(edges(&data), LINES);
            if there == 0 {
                assert_eq!(tables(&data), expected_tables, "nothing is left over");
            }
            check_is_clean(&data);
            assert_eq!(strangers(&data), [""; 0]);
        }
    });
}

#[cfg(feature = "failpoints")]
#[test]
fn a_death_before_the_store_takes_it_leaves_nothing_and_after_it_everything() {
    let home = tempfile::tempdir().unwrap();
    let source = source(home.path());
    for (place, there) in [("bulk.before-ingest", 0), ("bulk.after-ingest", LINES)] {
        let data = home.path().join(place);
        let died = import(&source, &data)
            .env("ACCLAIM_FAILPOINT", place)
            .output()
            .unwrap();
        assert_eq!(died.status.signal(), Some(9), "{died:?}");
        assert_eq!(strangers(&data), [""; 0]);
        assert_eq!(edges(&data), there, "{place}");
        let again = import(&source, &data).output().unwrap();
        assert_eq!(new_edges(&again), LINES - there);
        assert_eq!(edges(&data), LINES);
        check_is_clean(&data);
    }
}

#[test]
fn a_full_disk_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(home.path().join("disk")) else {
        return skipped();
    };
    let source = source(home.path());
    let data = disk.0.join("data");
    // Enough to begin, too little for the sorted lines and the tables together.
    disk.take(56 << 20);
    let failed = import(&source, &data).output().unwrap();
    assert_eq!(failed.status.code(), Some(2), "{failed:?}");
    let told = String::from_utf8_lossy(&failed.stderr);
    assert!(told.contains("nothing is imported"), "{told}");
    assert!(told.contains("the disk is full"), "{told}");
    assert!(!data.join("base").exists());
    assert_eq!(strangers(&data), [""; 0]);
    disk.free();
    let again = import(&source, &data).output().unwrap();
    assert_eq!(new_edges(&again), LINES);
    check_is_clean(&data);
}

#[test]
fn an_interrupted_import_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let source = source(home.path());
    let data = home.path().join("data");
    // Reads for ever, so that the signal comes in the midst.
    let endless = home.path().join("endless");
    let made = Command::new("mkfifo").arg(&endless).status();
    assert!(made.unwrap().success());
    let child = import(&endless, &data).spawn().unwrap();
    let mut pipe = fs::File::options().write(true).open(&endless).unwrap();
    // More than one pipe holds: when it is written, all but the end of it is read.
    std::io::copy(&mut fs::File::open(&source).unwrap(), &mut pipe).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    drop(pipe);
    assert!(!data.join("base").exists());
    assert_eq!(strangers(&data), [""; 0]);
    let again = import(&source, &data).output().unwrap();
    assert_eq!(new_edges(&again), LINES);
}
