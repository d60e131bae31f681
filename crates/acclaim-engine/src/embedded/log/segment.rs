//! Segment files: their names, how they are made and found.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::names::sync_dir;

/// A segment's name: the number of its first frame and the journal place before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    /// The number of its first frame.
    pub first_number: u64,
    /// The journal place before its first frame.
    pub after_seq: u64,
}

const EXTENSION: &str = "log";
const SPARE: &str = "spare";

impl SegmentName {
    /// Its file under the log's directory.
    pub fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!(
            "{:016}-{:016}.{EXTENSION}",
            self.first_number, self.after_seq
        ))
    }

    fn parse(path: &Path) -> Option<Self> {
        if path.extension()? != EXTENSION {
            return None;
        }
        let (first_number, after_seq) = path.file_stem()?.to_str()?.split_once('-')?;
        Some(Self {
            first_number: first_number.parse().ok()?,
            after_seq: after_seq.parse().ok()?,
        })
    }
}

/// The segments in a directory, oldest first. A spare that a crash left is removed.
pub fn list_segments(dir: &Path) -> io::Result<Vec<(SegmentName, PathBuf)>> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(dir)? {
        let path = file?.path();
        if let Some(name) = SegmentName::parse(&path) {
            found.push((name, path));
        } else if path.file_name().is_some_and(|name| name == SPARE) {
            std::fs::remove_file(&path)?;
        }
    }
    found.sort();
    Ok(found)
}

/// Makes a file of zeros, durable, under a name that is no segment's yet.
pub fn make_spare(dir: &Path, bytes: u64) -> io::Result<PathBuf> {
    const CHUNK: usize = 1 << 20;
    let path = dir.join(SPARE);
    let made = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        let zeros = vec![0u8; CHUNK];
        let mut left = bytes;
        while left > 0 {
            let part = left.min(CHUNK as u64) as usize;
            file.write_all(&zeros[..part])?;
            left -= part as u64;
        }
        file.sync_all()
    })();
    if let Err(error) = made {
        // Gives back what was taken: the disk may be full.
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    Ok(path)
}

/// Turns a spare into the segment of this name and opens it.
pub fn adopt_spare(dir: &Path, spare: &Path, name: SegmentName) -> io::Result<File> {
    let path = name.path(dir);
    std::fs::rename(spare, &path)?;
    sync_dir(dir)?;
    OpenOptions::new().read(true).write(true).open(path)
}

/// Makes an empty segment of this name.
pub fn make_segment(dir: &Path, name: SegmentName) -> io::Result<PathBuf> {
    let path = name.path(dir);
    File::create_new(&path)?.sync_all()?;
    sync_dir(dir)?;
    Ok(path)
}
