//! The watermark: a small file that remembers the last durable commit.
//!
//! It is written after each commit and never synced, so it may lag behind after a power cut but
//! never say more than what is durable. At start it shows when the log lost its tail by other means
//! than a crash: a restored old copy, a truncated file, a damaged disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const FILE: &str = "watermark";
const BYTES: usize = 20;

/// The last durable commit known.
#[derive(Debug)]
pub struct Watermark(File);

impl Watermark {
    /// Opens the file, making it where it is missing.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(FILE))?;
        Ok(Self(file))
    }

    /// The number of the last durable commit; 0 where nothing readable is there (a watermark that
    /// was being written when the power went is worth nothing, and that is fine).
    pub fn read(&self) -> u64 {
        let mut bytes = [0; BYTES];
        if self.0.read_exact_at(&mut bytes, 0).is_err() {
            return 0;
        }
        let (body, crc) = bytes.split_at(BYTES - 4);
        if crc32fast::hash(body).to_le_bytes() != crc {
            return 0;
        }
        body.first_chunk::<8>()
            .map_or(0, |number| u64::from_le_bytes(*number))
    }

    /// Remembers a durable commit.
    pub fn write(&self, number: u64, seq: u64) -> io::Result<()> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[8..16].copy_from_slice(&seq.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..16]);
        bytes[16..].copy_from_slice(&crc.to_le_bytes());
        self.0.write_all_at(&bytes, 0)
    }
}
