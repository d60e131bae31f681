//! `acclaim config` and `acclaim completions`.

mod program;

use program::{acclaim, file, finish, run};

#[test]
fn the_listing_says_where_values_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(
        dir.path(),
        "acclaim.toml",
        "[engine]\ncache_bytes = \"64MiB\"\n",
    );
    let ran = finish(acclaim(&["config", "--config", &config]).env("ACCLAIM_SERVER__DATA", "here"));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let line = |key: &str| ran.out.lines().find(|line| line.starts_with(key)).unwrap();
    let cache = line("engine.cache_bytes");
    assert!(cache.contains("= 67108864 "), "{cache}");
    assert!(cache.ends_with(&format!("# file {config}")), "{cache}");
    assert!(line("server.data").contains("\"here\""));
    assert!(line("server.data").ends_with("# environment ACCLAIM_SERVER__DATA"));
    assert!(line("server.listen").ends_with("# default"));
}

#[test]
fn the_listing_can_be_used_as_keys() {
    let listing = run(&["config"]).out;
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), "acclaim.toml", listing);
    let ran = run(&["config", "--check", &config]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn a_file_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let good = file(dir.path(), "good.toml", "[http]\nmax_connections = 10\n");
    assert_eq!(run(&["config", "--check", &good]).code, 0);
    let bad = file(dir.path(), "bad.toml", "[http]\nmax_connections = 0\n");
    let ran = run(&["config", "--check", &bad]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("http.max_connections is 0"), "{}", ran.err);
    assert!(ran.err.contains("from 1 to"), "{}", ran.err);
}

#[test]
fn the_reference_is_the_page_of_the_documentation() {
    let ran = run(&["config", "--reference"]);
    assert_eq!(ran.code, 0);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        ran.out == page,
        "docs/configuration.md is not what `acclaim config --reference` prints"
    );
}

#[test]
fn completions_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("acclaim") && ran.out.contains("export"));
    }
    assert_eq!(run(&["completions", "none"]).code, 2);
}

#[test]
fn help_names_every_command() {
    let ran = run(&["help"]);
    assert_eq!(ran.code, 0);
    for command in [
        "serve",
        "worker",
        "import",
        "export",
        "check",
        "backup",
        "restore",
        "bench",
        "config",
        "completions",
    ] {
        assert!(ran.out.contains(&format!("  {command} ")), "{command}");
        assert_eq!(run(&["help", command]).code, 0);
    }
}
