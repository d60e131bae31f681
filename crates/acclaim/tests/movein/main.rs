//! Moving in: `acclaim import` and `export` on a cluster, `import --from-embedded` and `migrate`,
//! with real servers. Commands that docs/migration.md has are run as it has them.
//!
//! With the feature `failpoints` commands die in the middle, too.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "failpoints")]
mod deaths;
mod embedded;
mod files;
mod ledger;
mod outages;
#[path = "../program/mod.rs"]
mod program;
mod sets;
mod stage;
mod table;

use std::path::Path;

/// The commands of docs/migration.md; the tests run each of them.
const DOCUMENTED: &[&str] = &[
    "acclaim import likes.ndjson --config acclaim.toml",
    "acclaim export --kind likes --config acclaim.toml",
    "acclaim import --from-embedded ./acclaim-data --config acclaim.toml",
    "acclaim migrate table copy --from mysql://app:secret@127.0.0.1:3306/app --config acclaim.toml",
    "acclaim migrate table changes --from mysql://app:secret@127.0.0.1:3306/app --config acclaim.toml",
    "acclaim migrate table compare --from mysql://app:secret@127.0.0.1:3306/app --config acclaim.toml --mend",
    "acclaim migrate table compare --from mysql://app:secret@127.0.0.1:3306/app --config acclaim.toml",
    "acclaim migrate sets copy --from redis://127.0.0.1:6380 --config acclaim.toml",
    "acclaim migrate sets changes --from redis://127.0.0.1:6380 --config acclaim.toml",
    "acclaim migrate sets compare --from redis://127.0.0.1:6380 --config acclaim.toml --mend",
    "acclaim migrate sets compare --from redis://127.0.0.1:6380 --config acclaim.toml",
    "acclaim migrate sets copy --from redis://127.0.0.1:6380 --key like:user:{user} --member {type}:{id} --position users.json --config acclaim.toml",
    "acclaim migrate ledger copy --to mysql://acclaim:secret@127.0.0.1:4000/acclaim --config acclaim.toml",
    "acclaim migrate ledger changes --to mysql://acclaim:secret@127.0.0.1:4000/acclaim --config acclaim.toml",
    "acclaim migrate ledger compare --to mysql://acclaim:secret@127.0.0.1:4000/acclaim --config acclaim.toml",
    "acclaim migrate ledger switch --to mysql://acclaim:secret@127.0.0.1:4000/acclaim --config acclaim.toml --max-pause-seconds 60",
];

#[test]
fn every_command_of_the_page_is_one_of_these() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/migration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut inside = false;
    let mut commands = Vec::new();
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = language == "sh";
        } else if inside {
            commands.push(line);
        }
    }
    assert_eq!(commands, DOCUMENTED);
}
