//! The commands, small: they run to their end and leave nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// `cargo test --workspace` builds it beside this program.
fn acclaim() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_acclaim-bench")).with_file_name("acclaim");
    assert!(
        path.is_file(),
        "there is no {}: run `cargo build -p acclaim` first",
        path.display()
    );
    path
}

/// Runs a command against the program; returns the table that it prints.
fn table(args: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acclaim-bench"));
    command.args(args).arg("--binary").arg(acclaim());
    table_of(command)
}

fn table_of(mut command: Command) -> Vec<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let output = command.arg("--dir").arg(dir.path()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 0, "directories were left behind");
    rows_of(output.stdout)
}

fn rows_of(stdout: Vec<u8>) -> Vec<Vec<String>> {
    let text = String::from_utf8(stdout).unwrap();
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    rows.map(cells).collect()
}

#[test]
fn compare_has_a_row_a_scenario() {
    let small = "compare --seconds 1 --rounds 1 --connections 4 --users 100 --targets 50";
    let small: Vec<&str> = small.split(' ').collect();
    let rows = table(&[&small[..], &["--scenarios", "set,batch,feed"]].concat());
    assert_eq!(rows.len(), 5, "{rows:?}");
    for (row, name) in rows[2..].iter().zip(["set", "batch", "feed"]) {
        assert!(row[0].starts_with(name), "{row:?}");
        assert!(row[3].parse::<f64>().unwrap() > 0.0, "{row:?}");
    }
}

#[test]
fn cluster_measures_requests_and_what_is_stored() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acclaim-bench"));
    let small = "cluster --seconds 1 --rounds 1 --connections 4 --users 100 --targets 50";
    command
        .args(small.split(' '))
        .arg("--binary")
        .arg(acclaim());
    let output = command.output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    let rows = rows_of(output.stdout);
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let asked = ["toggle", "toggle, `ledger`", "status", "count"];
    assert_eq!(names[2..6], asked);
    let figures = &rows[8..];
    assert_eq!(figures.len(), 9, "{rows:?}");
    for row in rows[2..6].iter().chain(figures) {
        let figure = row.last().unwrap().replace([',', 's'], "");
        assert!(figure.trim().parse::<f64>().unwrap() >= 0.0, "{row:?}");
    }
}

#[test]
fn bus_measures_what_travels_over_it() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acclaim-bench"));
    let small = "bus --bus kafka --seconds 1 --rounds 1 --connections 4 --users 100 --targets 50 \
                 --likes 3 --backlog 100";
    command.args(small.split_whitespace());
    command.arg("--binary").arg(acclaim());
    let output = command.output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    let rows = rows_of(output.stdout);
    assert_eq!(rows.len(), 2 + 13, "{rows:?}");
    for row in &rows[2..] {
        for figure in row[1].split('/') {
            let figure = figure.replace([',', ' '], "").replace("MiB", "");
            assert!(figure.parse::<f64>().unwrap() >= 0.0, "{row:?}");
        }
    }
}

#[test]
fn growth_has_a_row_a_size() {
    let rows = table(&["growth", "--edges", "1000,2000", "--seconds", "1"]);
    assert_eq!(rows.len(), 4, "{rows:?}");
    let edges = |row: &[String]| row[0].replace(',', "").parse::<u64>().unwrap();
    assert!((500..=1_000).contains(&edges(&rows[2])), "{rows:?}");
    assert!((1_000..=2_000).contains(&edges(&rows[3])), "{rows:?}");
}

#[test]
fn feed_has_a_row_a_request() {
    let small = "feed --edges 10000 --targets 5,50 --statuses 1000";
    let mut command = Command::new(env!("CARGO_BIN_EXE_acclaim-bench"));
    command.args(small.split(' '));
    let rows = table_of(command);
    assert_eq!(rows.len(), 6, "{rows:?}");
}

#[test]
fn what_cannot_run_says_why() {
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_acclaim-bench"));
        let output = command.args(args).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let err = run(&["compare", "--binary", "/nowhere/acclaim"]);
    assert!(err.contains("there is no file /nowhere/acclaim"), "{err}");
    let err = run(&["growth", "--edges", "999"]);
    assert!(err.contains("999"), "{err}");
}
