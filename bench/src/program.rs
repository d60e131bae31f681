//! Finding the built `acclaim`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// The program to measure: the one given; or, under `cargo run`, the one of the same profile, built
/// now; or the one beside this program.
pub(crate) fn find(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        if !path.is_file() {
            bail!("--binary: there is no file {}", path.display());
        }
        return Ok(path.to_owned());
    }
    let own = env::current_exe().context("this program does not know where it is")?;
    let beside = own.with_file_name("acclaim");
    if let Some(cargo) = env::var_os("CARGO") {
        build(&cargo, &own)?;
    }
    if !beside.is_file() {
        bail!(
            "there is no {}; build it with `cargo build --release -p acclaim`, or name one with --binary",
            beside.display()
        );
    }
    Ok(beside)
}

fn build(cargo: &std::ffi::OsStr, own: &Path) -> anyhow::Result<()> {
    let release = own.parent().is_some_and(|dir| dir.ends_with("release"));
    if !release {
        eprintln!("this is no release build: the figures mean little");
    }
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "-p", "acclaim"]);
    if release {
        build.arg("--release");
    }
    let built = build.status().context("cannot start cargo")?;
    if !built.success() {
        bail!("acclaim does not build");
    }
    Ok(())
}
