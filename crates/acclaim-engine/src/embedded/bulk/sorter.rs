//! Sorts more records than fit into memory.
//!
//! Records gather in a chunk; a full one is sorted and written to a file on a thread of its own
//! while the next one gathers. In the end the stretches of the file are merged. Records of one key
//! keep the order in which they came.
//!
//! A crate of that kind sorts items that it encodes one by one. This one keeps the bytes of a chunk
//! in one row and sorts small entries that begin with the first bytes of the key, so that nearly all
//! comparisons are of two integers.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::spool::{SpoolReader, SpoolWriter, Stretch, unnamed_file};

/// Buffers of the stretches that are merged: the sum of them and the bounds of one.
const MERGE_BYTES: usize = 16 << 20;
const READ_BYTES: std::ops::RangeInclusive<usize> = (16 << 10)..=(256 << 10);
/// Bytes of a chunk, so that places in it fit 32 bits.
const MAX_CHUNK_BYTES: usize = 1 << 30;

/// The first bytes of a key, zeros after its end.
type Head = [u64; 2];
const HEAD_BYTES: usize = size_of::<Head>();

fn head_of(key: &[u8]) -> Head {
    let mut bytes = [0; HEAD_BYTES];
    let length = key.len().min(HEAD_BYTES);
    bytes[..length].copy_from_slice(&key[..length]);
    let whole = u128::from_be_bytes(bytes);
    [(whole >> 64) as u64, whole as u64]
}

#[derive(Clone, Copy)]
struct Entry {
    head: Head,
    start: u32,
    key_length: u16,
    value_length: u16,
}

/// Records in memory.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Chunk {
    fn size(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        let start = entry.start as usize;
        &self.bytes[start..start + usize::from(entry.key_length)]
    }

    fn value(&self, entry: &Entry) -> &[u8] {
        let start = entry.start as usize + usize::from(entry.key_length);
        &self.bytes[start..start + usize::from(entry.value_length)]
    }

    fn sort(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by(|a, b| {
            let by_key = a.head.cmp(&b.head).then_with(|| {
                let short = |entry: &Entry| usize::from(entry.key_length) <= HEAD_BYTES;
                if short(a) && short(b) {
                    // They differ at most by zeros at the end.
                    return a.key_length.cmp(&b.key_length);
                }
                self.key(a).cmp(self.key(b))
            });
            by_key.then_with(|| a.start.cmp(&b.start))
        });
        self.entries = entries;
    }

    fn write(&self, file: Arc<File>, start: u64) -> io::Result<Stretch> {
        let mut writer = SpoolWriter::new(file, start);
        for entry in &self.entries {
            writer.push(self.key(entry), self.value(entry))?;
        }
        writer.finish()
    }
}

type Spilling = JoinHandle<(Chunk, io::Result<Stretch>)>;

/// Takes records in any order.
pub struct Sorter {
    dir: PathBuf,
    chunk_bytes: usize,
    chunk: Chunk,
    file: Option<Arc<File>>,
    stretches: Vec<Stretch>,
    spilling: Option<Spilling>,
    records: u64,
}

impl Sorter {
    /// A sorter that writes what does not fit into files in `dir`. It uses up to twice `chunk_bytes`
    /// of memory while it takes records.
    pub fn new(dir: &Path, chunk_bytes: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            chunk_bytes: chunk_bytes.min(MAX_CHUNK_BYTES),
            chunk: Chunk::default(),
            file: None,
            stretches: Vec::new(),
            spilling: None,
            records: 0,
        }
    }

    /// Records taken.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Takes a record. A key is at most 255 bytes, a value 65,535; longer ones are refused.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::other("a record is too long to be sorted");
        let entry = Entry {
            head: head_of(key),
            // Less than MAX_CHUNK_BYTES and a record.
            start: self.chunk.bytes.len() as u32,
            key_length: u8::try_from(key.len()).map_err(too_long)?.into(),
            value_length: u16::try_from(value.len()).map_err(too_long)?,
        };
        self.chunk.bytes.extend_from_slice(key);
        self.chunk.bytes.extend_from_slice(value);
        self.chunk.entries.push(entry);
        self.records += 1;
        if self.chunk.size() >= self.chunk_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// Lets a thread sort the chunk and write it down.
    fn spill(&mut self) -> io::Result<()> {
        let spare = self.wait()?;
        let mut chunk = std::mem::replace(&mut self.chunk, spare);
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(self.file.insert(unnamed_file(&self.dir)?)),
        };
        let start = self.stretches.last().map_or(0, Stretch::end);
        let thread = std::thread::Builder::new().name("acclaim-sort".into());
        self.spilling = Some(thread.spawn(move || {
            chunk.sort();
            let written = chunk.write(file, start);
            chunk.clear();
            (chunk, written)
        })?);
        Ok(())
    }

    /// Waits for the chunk under way. Returns its memory.
    fn wait(&mut self) -> io::Result<Chunk> {
        let Some(thread) = self.spilling.take() else {
            return Ok(Chunk::default());
        };
        let died = |_| io::Error::other("a thread that sorts died");
        let (chunk, written) = thread.join().map_err(died)?;
        self.stretches.push(written?);
        Ok(chunk)
    }

    /// Ends the input. What follows takes the records out in order.
    pub fn merge(mut self) -> io::Result<Merge> {
        if self.file.is_some() && !self.chunk.entries.is_empty() {
            // All of them on disk, so that the memory is free for whoever sorts next.
            self.spill()?;
        }
        drop(self.wait()?);
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.sort();
        let mut sources = Vec::with_capacity(self.stretches.len() + 1);
        let share = MERGE_BYTES / self.stretches.len().max(1);
        let buffer_bytes = share.clamp(*READ_BYTES.start(), *READ_BYTES.end());
        for stretch in &self.stretches {
            sources.push(Source::new(Records::Spooled(stretch.read(buffer_bytes))));
        }
        if !chunk.entries.is_empty() {
            sources.push(Source::new(Records::InMemory(chunk, 0)));
        }
        Merge::new(sources)
    }
}

enum Records {
    Spooled(SpoolReader),
    /// A sorted chunk, and how many of its records were taken, the present one included.
    InMemory(Chunk, usize),
}

struct Source {
    records: Records,
    head: Head,
}

impl Source {
    fn new(records: Records) -> Self {
        Self {
            records,
            head: [0; 2],
        }
    }

    fn advance(&mut self) -> io::Result<bool> {
        let more = match &mut self.records {
            Records::Spooled(reader) => reader.advance()?,
            Records::InMemory(chunk, taken) => {
                *taken += 1;
                *taken <= chunk.entries.len()
            }
        };
        if more {
            self.head = head_of(self.key());
        }
        Ok(more)
    }

    fn key(&self) -> &[u8] {
        match &self.records {
            Records::Spooled(reader) => reader.key(),
            Records::InMemory(chunk, taken) => chunk.key(&chunk.entries[taken - 1]),
        }
    }

    fn value(&self) -> &[u8] {
        match &self.records {
            Records::Spooled(reader) => reader.value(),
            Records::InMemory(chunk, taken) => chunk.value(&chunk.entries[taken - 1]),
        }
    }
}

/// Records in order of their keys; those of one key in the order in which they came.
pub struct Merge {
    sources: Vec<Source>,
    /// The sources that have records, as a heap: each before the two at twice its place.
    order: Vec<usize>,
    begun: bool,
}

impl Merge {
    fn new(mut sources: Vec<Source>) -> io::Result<Self> {
        let mut order = Vec::with_capacity(sources.len());
        for (place, source) in sources.iter_mut().enumerate() {
            if source.advance()? {
                order.push(place);
            }
        }
        let mut merge = Self {
            sources,
            order,
            begun: false,
        };
        for place in (0..merge.order.len() / 2).rev() {
            merge.sift_down(place);
        }
        Ok(merge)
    }

    /// Goes to the next record, the first at first. `false` at the end.
    pub fn advance(&mut self) -> io::Result<bool> {
        if !self.begun {
            self.begun = true;
            return Ok(!self.order.is_empty());
        }
        let Some(first) = self.order.first() else {
            return Ok(false);
        };
        if !self.sources[*first].advance()? {
            self.order.swap_remove(0);
        }
        self.sift_down(0);
        Ok(!self.order.is_empty())
    }

    /// The key of the record. Only after [`Merge::advance`] said that there is one.
    pub fn key(&self) -> &[u8] {
        self.sources[self.order[0]].key()
    }

    /// The value of the record. Only after [`Merge::advance`] said that there is one.
    pub fn value(&self) -> &[u8] {
        self.sources[self.order[0]].value()
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        let (first, second) = (&self.sources[a], &self.sources[b]);
        let by_head = first.head.cmp(&second.head);
        let by_key = by_head.then_with(|| first.key().cmp(second.key()));
        by_key.then(a.cmp(&b)) == Ordering::Less
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let mut least = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.order.len() && self.is_before(self.order[child], self.order[least])
                {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.order.swap(place, least);
            place = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Record = (Vec<u8>, Vec<u8>);

    fn sorted(records: &[Record], chunk_bytes: usize) -> Vec<Record> {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(dir.path(), chunk_bytes);
        for (key, value) in records {
            sorter.push(key, value).unwrap();
        }
        assert_eq!(sorter.records(), records.len() as u64);
        let mut merge = sorter.merge().unwrap();
        let mut out = Vec::new();
        while merge.advance().unwrap() {
            out.push((merge.key().to_vec(), merge.value().to_vec()));
        }
        assert!(!merge.advance().unwrap());
        out
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(0u8..3, 0..4),
            // Alike in the bytes that are compared first.
            prop::collection::vec(0u8..2, 14..20),
            (1u8..4, prop::collection::vec(0u8..2, 0..3))
                .prop_map(|(n, end)| [vec![n; 16], end].concat()),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_stable_sort(
            keys in prop::collection::vec(key(), 0..300),
            chunk_bytes in prop_oneof![1usize..100, 500usize..2000, Just(1 << 20)],
        ) {
            let number = |(n, key): (usize, Vec<u8>)| (key, n.to_be_bytes().to_vec());
            let records: Vec<Record> = keys.into_iter().enumerate().map(number).collect();
            let mut expected = records.clone();
            expected.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(sorted(&records, chunk_bytes), expected);
        }
    }

    #[test]
    fn too_long_records_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(dir.path(), 1 << 20);
        sorter.push(&[1; 255], &[2; 65_535]).unwrap();
        assert!(sorter.push(&[1; 256], &[]).is_err());
        assert!(sorter.push(&[1], &[2; 65_536]).is_err());
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error() {
        let mut sorter = Sorter::new(Path::new("/proc/nowhere"), 1);
        assert!(sorter.push(b"key", b"").is_err());
    }
}
