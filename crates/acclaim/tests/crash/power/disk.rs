//! What a disk holds after a power cut: pure, from the calls that a program made.
//!
//! A file and a directory are each two things: what is durable, and the changes since, in order. A
//! sync makes durable what was finished before it began. Everything else may have reached the disk
//! or not, in any order, a write page by page. That is what POSIX promises and no more: a new name
//! is durable only when its directory was synced, whatever happened to the file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::{cell::Cell, fs, io};

use rand::Rng;

/// The unit in which the system writes a file back.
const PAGE_BYTES: u64 = 4_096;

/// One call that was done, between two ticks of the recorder's clock.
#[derive(Clone, Debug)]
pub struct Event {
    pub began: u64,
    pub ended: u64,
    pub call: Call,
}

/// A call that changes files, or says which file a later call means. Paths are relative to the
/// root, with `/` between their parts; the root itself is the empty path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Open {
        path: String,
        fd: i32,
        create: bool,
        truncate: bool,
        /// It writes at the end, wherever its place is.
        append: bool,
    },
    Duplicate {
        fd: i32,
        new: i32,
    },
    Close(i32),
    /// The place of the descriptor is now here.
    Seek(i32, u64),
    /// So many bytes were read from the place of the descriptor.
    Read(i32, u64),
    /// At a place, or at the place of the descriptor.
    Write(i32, Option<u64>, Vec<u8>),
    Resize(i32, u64),
    Sync(i32),
    Rename {
        from: String,
        to: String,
    },
    Remove(String),
    MakeDir(String),
    /// The process ended: it holds no descriptors any more.
    Ended,
}

/// What of the changes that were not synced reached the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// None of them.
    Nothing,
    /// All of them, as if only the process had died.
    Everything,
    /// Names up to a tick, as a file system with a journal keeps them; pages by chance.
    NamesUntil(u64),
    /// Each by chance, so many in a hundred.
    Percent(u32),
}

/// Files and directories as they are found: a path with its bytes, or `None` for a directory.
pub type Image = BTreeMap<String, Option<Vec<u8>>>;

type Names = BTreeMap<String, usize>;

#[derive(Clone, Debug)]
enum FileChange {
    Write(u64, Vec<u8>),
    Resize(u64),
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(String, usize),
    Remove(String),
    Rename(String, String, usize),
}

/// Something durable with the changes since: (when done, what).
#[derive(Debug)]
struct Kept<T, C> {
    durable: T,
    live: T,
    changes: Vec<(u64, C)>,
}

impl<T: Clone + Default, C: Clone> Kept<T, C> {
    fn new() -> Self {
        Self {
            durable: T::default(),
            live: T::default(),
            changes: Vec::new(),
        }
    }

    fn change(&mut self, at: u64, change: C, apply: fn(&mut T, &C)) {
        apply(&mut self.live, &change);
        self.changes.push((at, change));
    }

    fn sync(&mut self, began: u64, apply: fn(&mut T, &C)) {
        let (done, later) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|(ended, _)| *ended < began);
        self.changes = later;
        let done: Vec<(u64, C)> = done;
        done.iter()
            .for_each(|(_, change)| apply(&mut self.durable, change));
    }
}

#[derive(Debug)]
enum Node {
    File(Kept<Vec<u8>, FileChange>),
    Dir(Kept<Names, NameChange>),
}

#[derive(Clone, Debug)]
struct Handle {
    node: usize,
    offset: Rc<Cell<u64>>,
    append: bool,
}

/// The disk under one root directory, which is there and durable.
#[derive(Debug)]
pub struct Disk {
    nodes: Vec<Node>,
    handles: HashMap<i32, Handle>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            nodes: vec![Node::Dir(Kept::new())],
            handles: HashMap::new(),
        }
    }
}

fn change_bytes(bytes: &mut Vec<u8>, change: &FileChange) {
    match change {
        FileChange::Resize(to) => bytes.resize(*to as usize, 0),
        FileChange::Write(at, data) => {
            let (at, end) = (*at as usize, *at as usize + data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(data);
        }
    }
}

fn change_names(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Add(name, node) => {
            names.insert(name.clone(), *node);
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
        NameChange::Rename(from, to, node) => {
            names.remove(from);
            names.insert(to.clone(), *node);
        }
    }
}

/// A write in the pieces in which it reaches the disk.
fn pages(change: &FileChange) -> Vec<FileChange> {
    let FileChange::Write(at, data) = change else {
        return vec![change.clone()];
    };
    let (mut pieces, mut at, mut rest) = (Vec::new(), *at, &data[..]);
    while !rest.is_empty() {
        let page = (PAGE_BYTES - at % PAGE_BYTES).min(rest.len() as u64);
        let (piece, after) = rest.split_at(page as usize);
        pieces.push(FileChange::Write(at, piece.to_vec()));
        (at, rest) = (at + page, after);
    }
    pieces
}

fn parent(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Disk {
    /// Does what a call did.
    ///
    /// # Panics
    /// When the call cannot have succeeded on what is there: something was not recorded.
    pub fn apply(&mut self, event: &Event) {
        let at = event.ended;
        match &event.call {
            Call::Open { .. } => self.open(at, &event.call),
            Call::Duplicate { fd, new } => {
                let handle = self.handle(*fd);
                self.handles.insert(*new, handle);
            }
            Call::Close(fd) => {
                self.handles.remove(fd);
            }
            Call::Seek(fd, to) => self.handle(*fd).offset.set(*to),
            Call::Read(fd, bytes) => {
                let offset = self.handle(*fd).offset;
                offset.set(offset.get() + bytes);
            }
            Call::Write(fd, place, data) => {
                let handle = self.handle(*fd);
                if handle.append {
                    let end = self.file(handle.node).live.len() as u64;
                    handle.offset.set(end);
                }
                let offset = place.unwrap_or_else(|| {
                    let offset = handle.offset.get();
                    handle.offset.set(offset + data.len() as u64);
                    offset
                });
                let change = FileChange::Write(offset, data.clone());
                self.file(handle.node).change(at, change, change_bytes);
            }
            Call::Resize(fd, to) => {
                let node = self.handle(*fd).node;
                let change = FileChange::Resize(*to);
                self.file(node).change(at, change, change_bytes);
            }
            Call::Sync(fd) => match &mut self.nodes[self.handles[fd].node] {
                Node::File(file) => file.sync(event.began, change_bytes),
                Node::Dir(dir) => dir.sync(event.began, change_names),
            },
            Call::Rename { from, to } => self.rename(at, from, to),
            Call::Remove(path) => {
                let (dir, name) = parent(path);
                let change = NameChange::Remove(name.to_owned());
                self.dir(dir).change(at, change, change_names);
            }
            Call::MakeDir(path) => {
                self.add(at, path, Node::Dir(Kept::new()));
            }
            Call::Ended => self.handles.clear(),
        }
    }

    fn open(&mut self, at: u64, call: &Call) {
        let Call::Open {
            path,
            fd,
            create,
            truncate,
            append,
        } = call
        else {
            return;
        };
        let node = match self.find(path) {
            Some(node) => node,
            None if *create => self.add(at, path, Node::File(Kept::new())),
            None => panic!("{path} was opened and never made"),
        };
        if *truncate && !self.file(node).live.is_empty() {
            let change = FileChange::Resize(0);
            self.file(node).change(at, change, change_bytes);
        }
        let (offset, append) = (Rc::default(), *append);
        let handle = Handle {
            node,
            offset,
            append,
        };
        self.handles.insert(*fd, handle);
    }

    fn rename(&mut self, at: u64, from: &str, to: &str) {
        let node = self.find(from).expect("what is renamed is there");
        let ((from_dir, from), (to_dir, to)) = (parent(from), parent(to));
        assert_eq!(from_dir, to_dir, "a rename stays in its directory");
        let change = NameChange::Rename(from.to_owned(), to.to_owned(), node);
        self.dir(from_dir).change(at, change, change_names);
    }

    fn add(&mut self, at: u64, path: &str, node: Node) -> usize {
        self.nodes.push(node);
        let node = self.nodes.len() - 1;
        let (dir, name) = parent(path);
        let change = NameChange::Add(name.to_owned(), node);
        self.dir(dir).change(at, change, change_names);
        node
    }

    fn handle(&self, fd: i32) -> Handle {
        self.handles[&fd].clone()
    }

    fn find(&self, path: &str) -> Option<usize> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.into_iter().try_fold(0, |node, part| {
            let Node::Dir(dir) = &self.nodes[node] else {
                return None;
            };
            dir.live.get(part).copied()
        })
    }

    fn file(&mut self, node: usize) -> &mut Kept<Vec<u8>, FileChange> {
        match &mut self.nodes[node] {
            Node::File(file) => file,
            Node::Dir(_) => panic!("a directory was written like a file"),
        }
    }

    fn dir(&mut self, path: &str) -> &mut Kept<Names, NameChange> {
        let node = self.find(path);
        match &mut self.nodes[node.unwrap_or_else(|| panic!("{path} is not there"))] {
            Node::Dir(dir) => dir,
            Node::File(_) => panic!("{path} is no directory"),
        }
    }

    /// What is there while the system runs.
    pub fn live(&self) -> Image {
        let mut image = Image::new();
        self.collect(0, "", &mut image, &mut |node| match node {
            Node::File(file) => (Names::new(), Some(file.live.clone())),
            Node::Dir(dir) => (dir.live.clone(), None),
        });
        image
    }

    /// What is there after a power cut at this moment.
    pub fn after_power_cut(&self, survival: Survival, chance: &mut impl Rng) -> Image {
        let mut image = Image::new();
        self.collect(0, "", &mut image, &mut |node| match node {
            Node::File(file) => {
                let mut bytes = file.durable.clone();
                let pieces = file.changes.iter().flat_map(|(_, change)| pages(change));
                let percent = match survival {
                    Survival::Nothing => 0,
                    Survival::Everything => 100,
                    Survival::NamesUntil(_) => 50,
                    Survival::Percent(percent) => percent,
                };
                for piece in pieces {
                    if chance.random_ratio(percent, 100) {
                        change_bytes(&mut bytes, &piece);
                    }
                }
                (Names::new(), Some(bytes))
            }
            Node::Dir(dir) => {
                let mut names = dir.durable.clone();
                for (at, change) in &dir.changes {
                    let survives = match survival {
                        Survival::Nothing => false,
                        Survival::Everything => true,
                        Survival::NamesUntil(tick) => *at <= tick,
                        Survival::Percent(percent) => chance.random_ratio(percent, 100),
                    };
                    if survives {
                        change_names(&mut names, change);
                    }
                }
                (names, None)
            }
        });
        image
    }

    fn collect(
        &self,
        node: usize,
        path: &str,
        image: &mut Image,
        see: &mut impl FnMut(&Node) -> (Names, Option<Vec<u8>>),
    ) {
        let (names, bytes) = see(&self.nodes[node]);
        if node != 0 {
            image.insert(path.to_owned(), bytes);
        }
        for (name, node) in names {
            let path = if path.is_empty() {
                name
            } else {
                format!("{path}/{name}")
            };
            self.collect(node, &path, image, see);
        }
    }
}

/// Writes an image under a directory that is there and empty.
pub fn write_image(image: &Image, root: &Path) -> io::Result<()> {
    // A directory comes before what is in it.
    for (path, bytes) in image {
        match bytes {
            Some(bytes) => fs::write(root.join(path), bytes)?,
            None => fs::create_dir(root.join(path))?,
        }
    }
    Ok(())
}

/// Reads what is under a directory.
pub fn read_image(root: &Path) -> io::Result<Image> {
    fn read(dir: &Path, path: &str, image: &mut Image) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().into_string().expect("names are texts");
            let below = if path.is_empty() {
                name
            } else {
                format!("{path}/{name}")
            };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                image.insert(below.clone(), None);
                read(&entry.path(), &below, image)?;
            } else if kind.is_file() {
                image.insert(below, Some(fs::read(entry.path())?));
            }
        }
        Ok(())
    }
    let mut image = Image::new();
    read(root, "", &mut image)?;
    Ok(image)
}
