//! The scratch copy: the sources aside, with a target directory of their own.
//!
//! A file is written only where it differs, so that what was built for the bug before, or the run
//! before, is used again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::bug::{Bug, Planted};

/// What is not copied: results, not sources.
const LEFT_OUT: &[&str] = &["target", ".git", "node_modules", "acclaim-data"];

/// A copy of the sources.
#[derive(Clone, Debug)]
pub struct Scratch {
    /// Where the sources are.
    pub sources: PathBuf,
    /// Where they are built.
    pub target: PathBuf,
}

impl Scratch {
    /// Brings the copy of `root` in `dir` up to date.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn copy(root: &Path, dir: &Path) -> anyhow::Result<Self> {
        let (sources, target) = (dir.join("sources"), dir.join("target"));
        std::fs::create_dir_all(&target)?;
        mirror(root, &sources).with_context(|| format!("cannot copy {}", root.display()))?;
        Ok(Self { sources, target })
    }

    /// Runs `with` while a bug is planted, and takes it out again, also when `with` fails.
    ///
    /// # Errors
    /// When it cannot be planted or taken out, and what `with` says.
    pub fn with_bug<T>(
        &self,
        bug: &Bug,
        with: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let planted = bug.planted(&self.sources)?;
        write_each(&planted, |file| &file.with_bug)?;
        let outcome = with();
        write_each(&planted, |file| &file.sound)?;
        outcome
    }
}

fn write_each(files: &[Planted], text: impl Fn(&Planted) -> &str) -> std::io::Result<()> {
    files
        .iter()
        .try_for_each(|file| std::fs::write(&file.path, text(file)))
}

fn mirror(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    let mut kept = BTreeSet::new();
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let left_out = LEFT_OUT.iter().any(|left_out| name == *left_out);
        if left_out || !(kind.is_dir() || kind.is_file()) {
            continue;
        }
        let copy = to.join(&name);
        if kind.is_dir() {
            mirror(&entry.path(), &copy)?;
        } else {
            let bytes = std::fs::read(entry.path())?;
            if std::fs::read(&copy).ok().as_ref() != Some(&bytes) {
                std::fs::write(&copy, &bytes)?;
            }
        }
        kept.insert(name);
    }
    for entry in std::fs::read_dir(to)? {
        let entry = entry?;
        if !kept.contains(&entry.file_name()) {
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}
