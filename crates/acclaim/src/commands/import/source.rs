//! Where lines come from: a file or standard input, compressed or not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use acclaim_core::transfer::Format;
use anyhow::Context as _;
use flate2::bufread::MultiGzDecoder;

/// Bytes read at a time.
const PIECE_BYTES: usize = 256 * 1024;
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";

/// An open source of lines.
pub(super) struct Source {
    reader: Box<dyn BufRead + Send>,
    /// Its format, by its name or else by its content.
    pub format: Format,
    /// Bytes of the file, compressed as they are, where known.
    pub size: Option<u64>,
    /// Bytes of the file read so far.
    pub position: Arc<AtomicU64>,
}

impl Source {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let position = Arc::new(AtomicU64::new(0));
        let (size, raw): (_, Box<dyn Read + Send>) = if is_standard_input(path) {
            (None, Box::new(io::stdin()))
        } else {
            let file = File::open(path).context("cannot be opened")?;
            let metadata = file.metadata().context("cannot be opened")?;
            (metadata.is_file().then_some(metadata.len()), Box::new(file))
        };
        let counted = Counted {
            inner: raw,
            position: Arc::clone(&position),
        };
        let mut plain = BufReader::with_capacity(PIECE_BYTES, counted);
        let compressed = fill(&mut plain)?.starts_with(GZIP_MAGIC);
        let mut reader: Box<dyn BufRead + Send> = if compressed {
            let decoder = MultiGzDecoder::new(plain);
            Box::new(BufReader::with_capacity(PIECE_BYTES, decoder))
        } else {
            Box::new(plain)
        };
        let format = match format_of_name(path) {
            Some(format) => format,
            None => Format::of_content(fill(&mut reader)?).unwrap_or_default(),
        };
        Ok(Self {
            reader,
            format,
            size,
            position,
        })
    }

    /// The next piece; empty at the end. Call [`Source::consume`] with its length after use.
    pub(super) fn piece(&mut self) -> anyhow::Result<&[u8]> {
        fill(&mut self.reader)
    }

    /// Passes over what was used of the last piece.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
    }
}

fn fill(reader: &mut impl BufRead) -> anyhow::Result<&[u8]> {
    reader.fill_buf().context("cannot be read")
}

fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

/// The name of a source, for people.
pub(super) fn name(path: &Path) -> String {
    if is_standard_input(path) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

/// Where the rejected lines of a source go.
pub(super) fn rejects_path(path: &Path) -> PathBuf {
    if is_standard_input(path) {
        return PathBuf::from("stdin.rejected.ndjson");
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".rejected.ndjson");
    PathBuf::from(name)
}

fn format_of_name(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "csv" => Some(Format::Csv),
        "ndjson" | "jsonl" => Some(Format::Ndjson),
        _ => None,
    }
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    position: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.position.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_format() {
        let of = |name: &str| format_of_name(Path::new(name));
        assert_eq!(of("a/likes.csv.gz"), Some(Format::Csv));
        assert_eq!(of("likes.NDJSON"), Some(Format::Ndjson));
        assert_eq!(of("likes.jsonl"), Some(Format::Ndjson));
        assert_eq!(of("likes.gz"), None);
        assert_eq!(of("-"), None);
        let rejects = rejects_path(Path::new("a/b.csv.gz"));
        assert_eq!(rejects, Path::new("a/b.csv.gz.rejected.ndjson"));
    }
}
