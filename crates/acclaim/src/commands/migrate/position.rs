//! Where a copy is, kept in a file, so that it goes on after it was stopped.
//!
//! The file is written beside its place and renamed, so it is whole or the one before.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Which source, so that a file is not taken for another's.
    pub source: String,
    /// Where the copy goes on. `None` at its beginning, or at its end.
    pub next: Option<Value>,
    /// Whether the copy came to its end.
    pub copied: bool,
    /// Where the source ended before it was read last; changes are looked for from here.
    pub end: Option<Value>,
}

/// The file.
#[derive(Debug)]
pub struct PositionFile {
    path: PathBuf,
    /// What it says.
    pub position: Position,
}

impl PositionFile {
    /// Reads the file of a source, or begins one.
    ///
    /// # Errors
    /// When it is another source's.
    pub fn open(path: &Path, source: String) -> anyhow::Result<Self> {
        let position = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is no position of a copy", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Position {
                source: source.clone(),
                ..Position::default()
            },
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        if position.source != source {
            bail!(
                "{} is the position of another copy: {}; name another file with --position",
                path.display(),
                position.source
            );
        }
        let path = path.to_owned();
        Ok(Self { path, position })
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self) -> anyhow::Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let text = serde_json::to_vec_pretty(&self.position)?;
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &self.path))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_and_is_not_taken_for_anothers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("position.json");
        let mut file = PositionFile::open(&path, "a".to_owned()).unwrap();
        file.position.next = Some(serde_json::json!(["1", "2"]));
        file.save().unwrap();
        let again = PositionFile::open(&path, "a".to_owned()).unwrap();
        assert_eq!(again.position, file.position);
        let refused = PositionFile::open(&path, "b".to_owned()).unwrap_err();
        assert!(refused.to_string().contains("--position"), "{refused}");
    }
}
