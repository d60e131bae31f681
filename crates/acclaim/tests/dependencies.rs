//! What the workspace depends on: under which licences, from where, and what is there twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;
use spdx::{Expression, ParseMode};

/// Licences that ask for no more than to be named.
const ALLOWED_LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    // Of data: the certificates that browsers trust.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that others of our dependencies want in different versions. A new one is a decision: take
/// a version that fits, or write it down here.
const KNOWN_TWICE: &[&str] = &[
    "base64",
    "bit-set",
    "bit-vec",
    "block-buffer",
    "cpufeatures",
    "crypto-common",
    "digest",
    "getrandom",
    "hashbrown",
    "pem",
    "r-efi",
    "rand",
    "rand_chacha",
    "rand_core",
    "sha2",
    "syn",
    "synstructure",
    "toml_datetime",
    "windows-sys",
    "winnow",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// None for the workspace's own.
    source: Option<String>,
}

fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    metadata.packages
}

fn is_allowed(licence: &str) -> bool {
    let expression = Expression::parse_mode(licence, ParseMode::LAX);
    expression.is_ok_and(|expression| {
        expression.evaluate(|wanted| {
            let id = wanted.license.id();
            id.is_some_and(|id| ALLOWED_LICENCES.contains(&id.name))
        })
    })
}

#[test]
fn every_licence_is_allowed() {
    for Package {
        name,
        version,
        license,
        ..
    } in packages()
    {
        let licence = license.unwrap_or_default();
        assert!(
            is_allowed(&licence),
            "{name} {version} is under {licence:?}"
        );
    }
    assert!(is_allowed("MIT/Apache-2.0"));
    assert!(is_allowed("GPL-2.0-only OR MIT"));
    assert!(!is_allowed("GPL-2.0-only AND MIT"));
    assert!(!is_allowed(""));
}

#[test]
fn every_crate_comes_from_the_registry() {
    for Package { name, source, .. } in packages() {
        let own = source.is_none() && name.starts_with("acclaim");
        let registry = source.is_some_and(|source| source.starts_with("registry+"));
        assert!(
            own || registry,
            "{name} comes neither from here nor from a registry"
        );
    }
}

#[test]
fn what_is_there_twice_is_known() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Package { name, version, .. } in packages() {
        versions.entry(name).or_default().insert(version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let twice: Vec<&str> = versions.keys().map(String::as_str).collect();
    assert_eq!(twice, KNOWN_TWICE, "{versions:?}");
}
