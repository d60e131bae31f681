//! Records in files without a name, written once from front to back and read back in parts.
//!
//! The system removes such a file when the process ends, however it ends. So nothing is left over
//! and nothing has to be cleaned up.
//!
//! A record is the length of its key in a byte, the length of its value as a variable-length
//! integer, the key and the value.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Bytes written at once.
const WRITE_BYTES: usize = 256 << 10;
/// The longest that the two lengths before a record can be.
const MAX_LENGTHS_BYTES: usize = 1 + 5;

/// Makes a file without a name in `dir`.
pub fn unnamed_file(dir: &Path) -> io::Result<Arc<File>> {
    Ok(Arc::new(tempfile::tempfile_in(dir)?))
}

/// A part of a file, full of records.
#[derive(Clone, Debug)]
pub struct Stretch {
    file: Arc<File>,
    start: u64,
    end: u64,
}

impl Stretch {
    /// Where it ends in its file.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Reads it from its start, `buffer_bytes` at a time.
    pub fn read(&self, buffer_bytes: usize) -> SpoolReader {
        SpoolReader {
            file: Arc::clone(&self.file),
            next: self.start,
            end: self.end,
            at_once: buffer_bytes.max(MAX_LENGTHS_BYTES),
            buffer: Vec::new(),
            place: 0,
            key: (0, 0),
            value_end: 0,
        }
    }
}

/// Writes records behind one another.
pub struct SpoolWriter {
    file: Arc<File>,
    start: u64,
    end: u64,
    buffer: Vec<u8>,
}

impl SpoolWriter {
    /// Writes into `file` from `start` on.
    pub fn new(file: Arc<File>, start: u64) -> Self {
        Self {
            file,
            start,
            end: start,
            buffer: Vec::with_capacity(WRITE_BYTES + WRITE_BYTES / 4),
        }
    }

    /// Adds a record. A key is at most 255 bytes, a value less than 4 GiB; longer ones are refused.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::other("a record is too long to be sorted");
        self.buffer.push(u8::try_from(key.len()).map_err(too_long)?);
        let mut length = u32::try_from(value.len()).map_err(too_long)?;
        while length >= 0x80 {
            self.buffer.push(length as u8 | 0x80);
            length >>= 7;
        }
        self.buffer.push(length as u8);
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        if self.buffer.len() >= WRITE_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.end)?;
        self.end += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left.
    pub fn finish(mut self) -> io::Result<Stretch> {
        self.write_out()?;
        Ok(Stretch {
            file: self.file,
            start: self.start,
            end: self.end,
        })
    }
}

/// Reads records in the order in which they were written.
pub struct SpoolReader {
    file: Arc<File>,
    next: u64,
    end: u64,
    at_once: usize,
    buffer: Vec<u8>,
    place: usize,
    key: (usize, usize),
    value_end: usize,
}

impl SpoolReader {
    /// Goes to the next record, the first at first. `false` at the end.
    pub fn advance(&mut self) -> io::Result<bool> {
        self.place = self.value_end;
        if !self.have(2)? {
            return match self.buffer.len() == self.place {
                true => Ok(false),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        // Near the end there may be fewer, and then a record may be shorter too.
        self.have(MAX_LENGTHS_BYTES)?;
        let head = &self.buffer[self.place..];
        let key_length = usize::from(head[0]);
        let mut value_length = 0;
        let mut lengths = 1;
        for shift in (0..32).step_by(7) {
            let byte = *head.get(lengths).ok_or(io::ErrorKind::UnexpectedEof)?;
            lengths += 1;
            value_length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        let whole = lengths + key_length + value_length;
        if !self.have(whole)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let start = self.place + lengths;
        self.key = (start, start + key_length);
        self.value_end = self.place + whole;
        Ok(true)
    }

    /// Sees to it that `bytes` bytes from the place on are in memory. `false` where there are not
    /// as many.
    fn have(&mut self, bytes: usize) -> io::Result<bool> {
        let left = self.buffer.len() - self.place;
        if left >= bytes {
            return Ok(true);
        }
        self.buffer.drain(..self.place);
        self.place = 0;
        self.value_end = 0;
        let rest = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
        let more = rest.min(self.at_once.max(bytes) - left);
        self.buffer.resize(left + more, 0);
        self.file
            .read_exact_at(&mut self.buffer[left..], self.next)?;
        self.next += more as u64;
        Ok(self.buffer.len() >= bytes)
    }

    /// The key of the record.
    pub fn key(&self) -> &[u8] {
        &self.buffer[self.key.0..self.key.1]
    }

    /// The value of the record.
    pub fn value(&self) -> &[u8] {
        &self.buffer[self.key.1..self.value_end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_read_back(
            records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..=255), 0usize..700), 0..60),
            buffer_bytes in 0usize..600,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let file = unnamed_file(dir.path()).unwrap();
            let mut first = SpoolWriter::new(Arc::clone(&file), 0);
            first.push(b"other", b"stretch").unwrap();
            let start = first.finish().unwrap().end();
            let mut writer = SpoolWriter::new(file, start);
            for (key, length) in &records {
                writer.push(key, &vec![7; *length]).unwrap();
            }
            let mut reader = writer.finish().unwrap().read(buffer_bytes);
            for (key, length) in &records {
                prop_assert!(reader.advance().unwrap());
                prop_assert_eq!(reader.key(), &key[..]);
                prop_assert_eq!(reader.value(), &vec![7; *length][..]);
            }
            prop_assert!(!reader.advance().unwrap());
            prop_assert!(!reader.advance().unwrap());
        }
    }

    #[test]
    fn nothing_is_left_in_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::new(unnamed_file(dir.path()).unwrap(), 0);
        writer.push(b"key", &vec![1; WRITE_BYTES]).unwrap();
        writer.finish().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut writer = SpoolWriter::new(unnamed_file(dir.path()).unwrap(), 0);
        assert!(writer.push(&[0; 256], b"").is_err());
    }
}
