//! The file of rejected lines: NDJSON with line number and reason.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use acclaim_core::transfer::Rejection;
use anyhow::Context as _;

use crate::output::note;

use super::source::rejects_path;

/// Writes rejected lines down. The file is made with the first of them.
pub(super) struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Rejects {
    /// For a source. What an earlier run left is removed, so that it is not taken for this one's.
    pub(super) fn of(source: &Path) -> anyhow::Result<Self> {
        let path = rejects_path(source);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove the old {}", path.display()))
            }
            _ => Ok(Self { path, file: None }),
        }
    }

    /// Adds lines.
    pub(super) fn write(&mut self, rejections: &[Rejection]) -> anyhow::Result<()> {
        if rejections.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let created = File::create(&self.path);
                let created = created.with_context(|| self.cannot("create"))?;
                self.file.insert(BufWriter::new(created))
            }
        };
        for rejection in rejections {
            serde_json::to_writer(&mut *file, rejection).with_context(|| "rejected lines")?;
            file.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Ends the file and says where it is.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        if let Some(file) = &mut self.file {
            file.flush()
                .with_context(|| format!("cannot write {}", self.path.display()))?;
            note(format_args!(
                "rejected lines are in {}",
                self.path.display()
            ));
        }
        Ok(())
    }

    fn cannot(&self, what: &str) -> String {
        format!("cannot {what} {} for rejected lines", self.path.display())
    }
}
