//! The bugs fit the sources as they are, so that a proof can be run at any time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use acclaim_proof::bug::{Bug, Edit, Test, all, folder};
use acclaim_proof::scratch::Scratch;
use acclaim_proof::verdict::{Judge, Run, Verdict};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_bug_fits_the_sources() {
    let bugs = all(&folder()).unwrap();
    assert!(bugs.len() >= 20, "only {} bugs", bugs.len());
    let failures: Vec<String> = bugs
        .iter()
        .filter_map(|bug| bug.planted(&root()).err())
        .map(|error| format!("{error:#}"))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_bug_says_what_it_breaks_and_no_two_are_the_same() {
    let bugs = all(&folder()).unwrap();
    let mut seen = BTreeSet::new();
    for bug in &bugs {
        assert!(
            bug.breaks.ends_with('.') && bug.breaks.len() > 20,
            "{}",
            bug.name
        );
        let edits: Vec<_> = bug
            .edits
            .iter()
            .map(|edit| (edit.file.clone(), edit.search.clone(), edit.replace.clone()))
            .collect();
        assert!(!edits.is_empty(), "{}: no edit", bug.name);
        assert!(seen.insert(edits), "{}: another bug is the same", bug.name);
    }
}

/// A package of two files, with a bug that its test catches, one that it misses, and one that does
/// not build.
fn small_package(dir: &Path) -> Judge {
    let sources = dir.join("package");
    std::fs::create_dir_all(sources.join("src")).unwrap();
    std::fs::write(
        sources.join("Cargo.toml"),
        "[package]\nname = \"small\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n",
    )
    .unwrap();
    std::fs::write(
        sources.join("src/lib.rs"),
        "pub fn up(n: u64) -> u64 { n + 1 }\npub fn down(n: u64) -> u64 { n - 1 }\n\
         #[test]\nfn goes_up() { assert_eq!(up(1), 2); }\n",
    )
    .unwrap();
    let made = Command::new(env!("CARGO"))
        .args(["generate-lockfile", "--offline"])
        .current_dir(&sources)
        .status()
        .unwrap();
    assert!(made.success());
    Judge {
        scratch: Scratch::copy(&sources, &dir.join("scratch")).unwrap(),
        limit: std::time::Duration::from_secs(60),
    }
}

fn bug(search: &str, replace: &str, filter: &str) -> Bug {
    Bug {
        name: "a bug".to_owned(),
        breaks: "something".to_owned(),
        test: Test {
            package: "small".to_owned(),
            target: None,
            features: None,
            filter: filter.to_owned(),
        },
        edits: vec![Edit {
            file: "src/lib.rs".into(),
            search: search.to_owned(),
            replace: replace.to_owned(),
        }],
    }
}

#[test]
fn bugs_are_told_apart_by_what_their_tests_say() {
    let dir = tempfile::tempdir().unwrap();
    let judge = small_package(dir.path());
    let judged = |bug: &Bug| {
        let without = judge.run(&bug.test).unwrap();
        judge.judge(bug, &without).unwrap()
    };
    assert_eq!(judged(&bug("n + 1", "n + 2", "goes_up")), Verdict::Caught);
    assert_eq!(judged(&bug("n - 1", "n - 2", "goes_up")), Verdict::Missed);
    let unbuilt = judged(&bug("n + 1", "m + 1", "goes_up"));
    assert!(matches!(unbuilt, Verdict::Unproven(_)), "{unbuilt}");
    let no_test = judged(&bug("n + 1", "n + 2", "no_such_test"));
    assert!(matches!(no_test, Verdict::Unproven(_)), "{no_test}");
    let taken_out = judge.run(&bug("", "", "goes_up").test).unwrap();
    assert_eq!(taken_out, Run::Passed, "the copy is sound again");
}

#[test]
fn text_that_is_not_there_exactly_once_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("src")).unwrap();
    std::fs::write(dir.path().join("src/lib.rs"), "one two two").unwrap();
    for (search, fits) in [("one", true), ("two", false), ("three", false), ("", false)] {
        let planted = bug(search, "other", "").planted(dir.path());
        assert_eq!(planted.is_ok(), fits, "{search:?}");
    }
}
