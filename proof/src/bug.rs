//! A bug as it is written down, and planting it.
//!
//! An edit names text that must occur exactly once in its file. So a change of the sources that the
//! bugs do not follow is noticed, instead of a bug being planted in the wrong place or nowhere.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// One bug.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// The name of its file.
    #[serde(skip)]
    pub name: String,
    /// What it breaks, in words.
    pub breaks: String,
    /// What must fail because of it.
    pub test: Test,
    /// What plants it.
    #[serde(rename = "edit")]
    pub edits: Vec<Edit>,
}

/// Tests of one package: one target of it, filtered by name.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The package.
    pub package: String,
    /// A test target; none means the tests inside the library.
    pub target: Option<String>,
    /// Features to build with, joined by commas.
    pub features: Option<String>,
    /// What the names of the tests contain.
    pub filter: String,
}

/// One replacement.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The file, from the root of the repository.
    pub file: PathBuf,
    /// What stands there; exactly once.
    pub search: String,
    /// What stands there with the bug.
    pub replace: String,
}

impl Test {
    /// The arguments of `cargo` but for the filter.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["test".to_owned(), "-p".to_owned(), self.package.clone()];
        match &self.target {
            Some(target) => arguments.extend(["--test".to_owned(), target.clone()]),
            None => arguments.push("--lib".to_owned()),
        }
        if let Some(features) = &self.features {
            arguments.extend(["--features".to_owned(), features.clone()]);
        }
        arguments
    }
}

impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cargo {} {}", self.arguments().join(" "), self.filter)
    }
}

impl Bug {
    /// The files that it changes and their texts before and after, under `root`.
    ///
    /// # Errors
    /// When a file cannot be read, or the text of an edit is not there exactly once.
    pub fn planted(&self, root: &Path) -> anyhow::Result<Vec<Planted>> {
        let mut planted: Vec<Planted> = Vec::new();
        for edit in &self.edits {
            let path = root.join(&edit.file);
            let known = planted.iter().position(|file| file.path == path);
            let place = match known {
                Some(place) => place,
                None => {
                    let sound = std::fs::read_to_string(&path)
                        .with_context(|| format!("{}: {}", self.name, edit.file.display()))?;
                    planted.push(Planted {
                        path,
                        with_bug: sound.clone(),
                        sound,
                    });
                    planted.len() - 1
                }
            };
            let text = &mut planted[place].with_bug;
            *text = edit.apply(text).with_context(|| self.name.clone())?;
        }
        Ok(planted)
    }
}

/// A file with a bug in it.
#[derive(Clone, Debug)]
pub struct Planted {
    /// The file.
    pub path: PathBuf,
    /// As it is.
    pub sound: String,
    /// As the bug makes it.
    pub with_bug: String,
}

impl Edit {
    fn apply(&self, text: &str) -> anyhow::Result<String> {
        let (file, found) = (self.file.display(), text.matches(&self.search).count());
        if self.search.is_empty() || found != 1 {
            bail!(
                "{file} has this {found} times, not once; the sources moved on, so write the edit \
                 anew:\n{}",
                self.search
            );
        }
        if self.search == self.replace {
            bail!("{file}: the edit changes nothing");
        }
        Ok(text.replacen(&self.search, &self.replace, 1))
    }
}

/// The folder of the bugs.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bugs")
}

/// All bugs of a folder, in the order of their names.
///
/// # Errors
/// When one cannot be read.
pub fn all(folder: &Path) -> anyhow::Result<Vec<Bug>> {
    let mut bugs = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let mut bug: Bug = toml::from_str(&text).with_context(|| path.display().to_string())?;
        bug.name = path
            .file_stem()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        bugs.push(bug);
    }
    bugs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(bugs)
}
