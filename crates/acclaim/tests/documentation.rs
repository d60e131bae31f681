//! The documents are run: every `sh` block of README.md, docs/*.md and bench/README.md, in order,
//! each document in an empty directory of its own with the built program in its `PATH`.
//!
//! - All blocks of a document run in one shell, so variables and servers last to its end.
//! - A block `text` or `json` right after a `sh` block is what that prints. Revs, times, sizes and
//!   the like differ from run to run and are masked on both sides; see [`masked`].
//! - The documents speak of the default address. The servers listen on a free port instead: the
//!   address is replaced in what is run, and put back in what is printed.
//! - Blocks that install, build or measure are listed in [`NOT_RUN`] and [`STARTS_SERVER`], word for word.
//!
//! `ACCLAIM_BLESS=1` writes what was printed into the documents.
//! `ACCLAIM_BINARY` names another program to run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex::Regex;

/// What installs, builds, tests or measures: `.ci/run` does these, or a person.
const NOT_RUN: &[&str] = &[
    "bash .ci/test\n",
    "cargo build --release\nexport PATH=\"$PWD/target/release:$PATH\"\n",
    "cargo run --release -p acclaim-bench -- compare\n\
     cargo run --release -p acclaim-bench -- growth\n\
     cargo run --release -p acclaim-bench -- feed\n",
    "cargo run --release -p acclaim-bench -- compare\n\
     cargo run --release -p acclaim-bench -- growth\n\
     cargo run --release -p acclaim-bench -- feed\n\
     cargo run --release -p acclaim-bench -- cluster\n\
     cargo run --release -p acclaim-bench -- bus --bus kafka\n",
    "cargo run -p acclaim-proof\n",
    // Run by the tests of the cluster, on servers of their own.
    "acclaim serve --engine cluster --redis redis://127.0.0.1:6379 --ledger mysql://acclaim:secret@127.0.0.1:3306/acclaim\n",
    "acclaim worker --listen 127.0.0.1:7701 --redis redis://127.0.0.1:6379 --ledger mysql://acclaim:secret@127.0.0.1:3306/acclaim\n",
    "acclaim replay --into consumer --group feed --from -1h --config acclaim.toml\n",
    "acclaim replay --config acclaim.toml --dry-run\nacclaim replay --config acclaim.toml\n",
    "acclaim replay --config acclaim.toml --history mysql://acclaim:secret@127.0.0.1:3306/backup\n",
    "ACCLAIM_CRASH_ROUNDS=100 cargo test -p acclaim --features failpoints --test crash\n",
];

/// The one command of the README, and what runs in its place: the program is built already.
const STARTS_SERVER: &str = "cargo run --release -- serve\n";
const SERVER: &str = "acclaim serve 2> serve.log &\n\
                      until curl -sf http://127.0.0.1:7700/ready > ready.json; do sleep 0.1; done\n";

const ADDRESS: &str = "127.0.0.1:7700";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A `sh` block.
struct Block {
    /// Line of the document, from 1.
    line: usize,
    script: String,
    /// What it prints, and the lines of the document that say so.
    expected: Option<(String, std::ops::Range<usize>)>,
}

fn fenced(lines: &[&str], from: usize) -> std::ops::Range<usize> {
    let length = lines[from..].iter().position(|line| *line == "```");
    from..from + length.expect("a block without an end")
}

fn text(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn blocks(document: &str) -> Vec<Block> {
    let lines: Vec<&str> = document.lines().collect();
    let mut blocks: Vec<Block> = Vec::new();
    let mut after_sh = false;
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if line == "```sh" {
            let inside = fenced(&lines, at + 1);
            blocks.push(Block {
                line: at + 1,
                script: text(&lines[inside.clone()]),
                expected: None,
            });
            at = inside.end;
            after_sh = true;
        } else if line.starts_with("```") {
            let inside = fenced(&lines, at + 1);
            if after_sh && (line == "```text" || line == "```json") {
                let block = blocks.last_mut().unwrap();
                block.expected = Some((text(&lines[inside.clone()]), inside.clone()));
            }
            at = inside.end;
            after_sh = false;
        } else if !line.is_empty() {
            after_sh = false;
        }
        at += 1;
    }
    blocks
}

/// What differs from run to run, by a name.
fn masked(text: &str) -> String {
    let masks = [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\d{4}-\d\d-\d\d", "DAY"),
        (r"\b1[6-9]\d{14}\b", "REV"),
        (r#""latencyMs":[0-9.e-]+"#, "\"latencyMs\":MS"),
        (r#""requestId":"[^"]*""#, "\"requestId\":ID"),
        (r#""nextCursor":"[^"]*""#, "\"nextCursor\":CURSOR"),
        (r"\d+ bytes", "N bytes"),
        (r"\d+ records", "N records"),
        (r"pid \d+", "pid N"),
    ];
    masks.iter().fold(text.to_owned(), |text, (mask, name)| {
        Regex::new(mask).unwrap().replace_all(&text, *name).into()
    })
}

fn program() -> PathBuf {
    std::env::var_os("ACCLAIM_BINARY").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_acclaim")),
        |path| fs::canonicalize(path).unwrap(),
    )
}

/// An address that is free now.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Runs all blocks in one shell; returns each one's exit code and what it printed. Those after one
/// that failed are not run.
fn run(blocks: &[Block], dir: &Path) -> Vec<(i32, String)> {
    let address = free_address();
    let (bin, work, out) = (dir.join("bin"), dir.join("work"), dir.join("out"));
    for made in [&bin, &work, &out] {
        fs::create_dir(made).unwrap();
    }
    symlink(program(), bin.join("acclaim")).unwrap();
    let mut script = String::from("trap 'kill $(jobs -p) 2> /dev/null; wait' EXIT\n");
    for (number, block) in blocks.iter().enumerate() {
        let commands = match block.script.as_str() {
            STARTS_SERVER => SERVER,
            not_run if NOT_RUN.contains(&not_run) => "true\n",
            commands => commands,
        };
        let commands = commands.replace(ADDRESS, &address);
        let out = out.join(number.to_string());
        let (out, code) = (out.display(), out.with_extension("code"));
        writeln!(script, "{{\n{commands}}} > {out} 2>&1 < /dev/null").unwrap();
        let code = code.display();
        writeln!(
            script,
            "code=$?; echo $code > {code}; test $code = 0 || exit 1"
        )
        .unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ACCLAIM_") {
            shell.env_remove(name);
        }
    }
    shell
        .args(["-c", &script])
        .current_dir(&work)
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("ACCLAIM_SERVER__LISTEN", &address)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    let ran = (0..blocks.len()).map_while(|number| {
        let out = out.join(number.to_string());
        let code = fs::read_to_string(out.with_extension("code")).ok()?;
        let printed = fs::read_to_string(out).unwrap();
        // Headers come with carriage returns, which no document has.
        let printed = printed.replace(&address, ADDRESS).replace('\r', "");
        Some((code.trim().parse().unwrap(), printed))
    });
    ran.collect()
}

/// Writes what was printed into the document.
fn bless(path: &Path, document: &str, blocks: &[Block], ran: &[(i32, String)]) {
    let mut lines: Vec<&str> = document.lines().collect();
    for (block, (_, printed)) in blocks.iter().zip(ran).rev() {
        if let Some((expected, place)) = &block.expected
            && masked(expected) != masked(printed)
        {
            lines.splice(place.clone(), printed.lines());
        }
    }
    fs::write(path, text(&lines)).unwrap();
}

fn check(name: &str) {
    let path = root().join(name);
    let document = fs::read_to_string(&path).unwrap();
    let blocks = blocks(&document);
    if blocks.is_empty() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ran = run(&blocks, dir.path());
    if std::env::var_os("ACCLAIM_BLESS").is_some() {
        bless(&path, &document, &blocks, &ran);
        return;
    }
    for (block, (code, printed)) in blocks.iter().zip(&ran) {
        let at = format!("{name}:{}", block.line);
        assert_eq!(*code, 0, "{at} failed:\n{}{printed}", block.script);
        if let Some((expected, _)) = &block.expected {
            let (expected, printed) = (masked(expected), masked(printed));
            assert_eq!(expected, printed, "{at} prints something else");
        }
    }
    assert_eq!(ran.len(), blocks.len(), "{name} did not run to its end");
}

#[test]
fn the_readme_does_what_it_says() {
    check("README.md");
}

#[test]
fn operations_do_what_they_say() {
    check("docs/operations.md");
}

#[test]
fn the_api_answers_what_it_says() {
    check("docs/api.md");
}

#[test]
fn notifications_are_what_it_says() {
    check("docs/notifications.md");
}

#[test]
fn no_other_document_has_commands_that_are_not_run() {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    // The commands of the last one are run by tests/movein, on servers of its own.
    let own_test = [
        "operations.md",
        "api.md",
        "notifications.md",
        "migration.md",
    ];
    let beside = ["bench/README.md", "proof/README.md"].map(|path| root().join(path));
    for path in docs.chain(beside) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if own_test.contains(&name.as_str()) || !name.ends_with(".md") {
            continue;
        }
        for block in blocks(&fs::read_to_string(&path).unwrap()) {
            let (line, script) = (block.line, &block.script);
            assert!(
                NOT_RUN.contains(&script.as_str()),
                "{name}:{line} is not run:\n{script}"
            );
        }
    }
}

/// The tests that docs/guarantees.md names are there.
#[test]
fn the_guarantees_name_tests_that_there_are() {
    let page = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let named = Regex::new(r"`(crates/[^`]+\.rs)` `([a-z_]+)`").unwrap();
    let mut count = 0;
    for found in named.captures_iter(&page) {
        let (file, test) = (&found[1], &found[2]);
        let source = fs::read_to_string(root().join(file));
        let source = source.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(
            source.contains(&format!("fn {test}(")),
            "{file} has no {test}"
        );
        count += 1;
    }
    assert!(count > 20, "only {count} tests are named");
}

/// Links inside the repository lead to files that there are.
#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#:]+)(#[^)]*)?\)").unwrap();
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    for path in docs.chain([root().join("README.md"), root().join("bench/README.md")]) {
        let document = fs::read_to_string(&path).unwrap();
        for found in link.captures_iter(&document) {
            let to = path.parent().unwrap().join(&found[1]);
            assert!(to.exists(), "{} links to {}", path.display(), &found[1]);
        }
    }
}
