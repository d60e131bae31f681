//! What the calls of a traced process mean for its files.
//!
//! It follows which descriptors belong to files under the root and forgets about all others. A call
//! that changes such a file in a way that cannot be followed is a failure of the test, not
//! something to overlook; and what is followed is held against the real files in the end.

use std::collections::HashMap;
use std::io::IoSliceMut;
use std::path::{Path, PathBuf};

use nix::libc::{self, c_long, user_regs_struct};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use super::disk::Call;

/// The bytes that paths are read in; no read crosses a page, since the next may not be there.
const PATH_PIECE_BYTES: u64 = 4_096;

/// A call at its beginning: its number and what it was given.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    number: c_long,
    arguments: [u64; 6],
}

#[cfg(target_arch = "x86_64")]
impl Entry {
    pub fn of(registers: &user_regs_struct) -> Self {
        Self {
            number: registers.orig_rax as c_long,
            arguments: [
                registers.rdi,
                registers.rsi,
                registers.rdx,
                registers.r10,
                registers.r8,
                registers.r9,
            ],
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl Entry {
    pub fn of(registers: &user_regs_struct) -> Self {
        let [a, b, c, d, e, f, ..] = registers.regs;
        Self {
            number: registers.regs[8] as c_long,
            arguments: [a, b, c, d, e, f],
        }
    }
}

/// What a call returned.
pub fn returned(registers: &user_regs_struct) -> i64 {
    #[cfg(target_arch = "x86_64")]
    let value = registers.rax;
    #[cfg(target_arch = "aarch64")]
    let value = registers.regs[0];
    value as i64
}

impl Entry {
    /// The calls that only older machines have, as the ones that replaced them.
    #[cfg(target_arch = "x86_64")]
    fn modern(self) -> Self {
        let cwd = libc::AT_FDCWD as u64;
        let [a, b, c, ..] = self.arguments;
        let (number, arguments) = match self.number {
            libc::SYS_open => (libc::SYS_openat, [cwd, a, b, c, 0, 0]),
            libc::SYS_creat => {
                let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
                (libc::SYS_openat, [cwd, a, flags as u64, b, 0, 0])
            }
            libc::SYS_rename => (libc::SYS_renameat2, [cwd, a, cwd, b, 0, 0]),
            libc::SYS_unlink => (libc::SYS_unlinkat, [cwd, a, 0, 0, 0, 0]),
            libc::SYS_rmdir => (libc::SYS_unlinkat, [cwd, a, 0, 0, 0, 0]),
            libc::SYS_mkdir => (libc::SYS_mkdirat, [cwd, a, b, 0, 0, 0]),
            libc::SYS_dup2 => (libc::SYS_dup3, [a, b, 0, 0, 0, 0]),
            _ => return self,
        };
        Self { number, arguments }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn modern(self) -> Self {
        self
    }
}

/// The descriptors of one process.
#[derive(Debug)]
pub struct Descriptors {
    root: PathBuf,
    /// The path of each that is under the root when it was opened.
    paths: HashMap<i32, String>,
}

/// A call that is under way.
#[derive(Debug)]
pub struct Begun {
    entry: Entry,
    /// Paths must be read before the call: it may change what the memory holds.
    paths: Vec<Option<String>>,
}

impl Begun {
    /// Whether it gives a descriptor back.
    pub fn is_close(&self) -> bool {
        self.entry.number == libc::SYS_close
    }
}

impl Descriptors {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            paths: HashMap::new(),
        }
    }

    /// A call that begins, if it concerns files under the root.
    ///
    /// # Panics
    /// When it is one that cannot be followed.
    pub fn begin(&self, pid: Pid, entry: Entry) -> Option<Begun> {
        let entry = entry.modern();
        let [a, b, c, d, e, _] = entry.arguments;
        let is_known = |fd: u64| self.paths.contains_key(&(fd as i32));
        let path = |dir: u64, at: u64| self.path(pid, dir, at);
        let paths = match entry.number {
            libc::SYS_openat | libc::SYS_unlinkat | libc::SYS_mkdirat => vec![path(a, b)],
            libc::SYS_renameat | libc::SYS_renameat2 => vec![path(a, b), path(c, d)],
            libc::SYS_write
            | libc::SYS_pwrite64
            | libc::SYS_writev
            | libc::SYS_read
            | libc::SYS_lseek
            | libc::SYS_close
            | libc::SYS_ftruncate
            | libc::SYS_fsync
            | libc::SYS_fdatasync
            | libc::SYS_dup
            | libc::SYS_dup3
            | libc::SYS_fcntl
                if is_known(a) =>
            {
                return Some(Begun {
                    entry,
                    paths: Vec::new(),
                });
            }
            number => {
                let is_shared =
                    d & libc::MAP_SHARED as u64 != 0 && c & libc::PROT_WRITE as u64 != 0;
                let is_lost = match number {
                    libc::SYS_mmap => is_shared && is_known(e),
                    libc::SYS_io_uring_setup => true,
                    libc::SYS_pwritev | libc::SYS_pwritev2 | libc::SYS_fallocate => is_known(a),
                    libc::SYS_sendfile => is_known(a),
                    libc::SYS_copy_file_range | libc::SYS_splice => is_known(c),
                    libc::SYS_linkat => path(c, d).is_some(),
                    libc::SYS_symlinkat => path(b, c).is_some(),
                    _ => false,
                };
                assert!(!is_lost, "a call that cannot be followed: {entry:?}");
                return None;
            }
        };
        paths
            .iter()
            .any(Option::is_some)
            .then_some(Begun { entry, paths })
    }

    /// The path that a call is about to sync.
    pub fn synced_by(&self, begun: &Begun) -> Option<&str> {
        let is_sync = [libc::SYS_fsync, libc::SYS_fdatasync].contains(&begun.entry.number);
        let path = self.paths.get(&(begun.entry.arguments[0] as i32));
        path.filter(|_| is_sync).map(String::as_str)
    }

    /// What the call did, if it did anything.
    pub fn end(&mut self, pid: Pid, begun: Begun, returned: i64) -> Option<Call> {
        let Ok(result) = u64::try_from(returned) else {
            return None;
        };
        let [a, b, c, d, ..] = begun.entry.arguments;
        let fd = a as i32;
        let mut paths = begun.paths.into_iter();
        let mut path = || paths.next().flatten();
        Some(match begun.entry.number {
            libc::SYS_openat => self.opened(path()?, result as i32, c as i32),
            libc::SYS_unlinkat => Call::Remove(path()?),
            libc::SYS_mkdirat => Call::MakeDir(path()?),
            libc::SYS_renameat | libc::SYS_renameat2 => {
                let (from, to) = (path(), path());
                let inside = "a rename stays under the root";
                Call::Rename {
                    from: from.expect(inside),
                    to: to.expect(inside),
                }
            }
            libc::SYS_write => Call::Write(fd, None, memory(pid, b, result)),
            libc::SYS_pwrite64 => Call::Write(fd, Some(d), memory(pid, b, result)),
            libc::SYS_writev => Call::Write(fd, None, gathered(pid, b, c, result)),
            libc::SYS_read => Call::Read(fd, result),
            libc::SYS_lseek => Call::Seek(fd, result),
            libc::SYS_ftruncate => Call::Resize(fd, b),
            libc::SYS_fsync | libc::SYS_fdatasync => Call::Sync(fd),
            libc::SYS_close => {
                self.paths.remove(&fd);
                Call::Close(fd)
            }
            libc::SYS_dup | libc::SYS_dup3 => self.duplicated(fd, result as i32),
            libc::SYS_fcntl if matches!(b as i32, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) => {
                self.duplicated(fd, result as i32)
            }
            _ => return None,
        })
    }

    fn opened(&mut self, path: String, fd: i32, flags: i32) -> Call {
        assert!(
            flags & libc::O_DIRECT == 0 && flags & libc::O_TMPFILE != libc::O_TMPFILE,
            "{path} is opened in a way that cannot be followed: {flags:o}"
        );
        self.paths.insert(fd, path.clone());
        Call::Open {
            path,
            fd,
            create: flags & libc::O_CREAT != 0,
            truncate: flags & libc::O_TRUNC != 0,
            append: flags & libc::O_APPEND != 0,
        }
    }

    fn duplicated(&mut self, fd: i32, new: i32) -> Call {
        let path = self.paths[&fd].clone();
        self.paths.insert(new, path);
        Call::Duplicate { fd, new }
    }

    /// A path under the root, relative to it.
    fn path(&self, pid: Pid, dir: u64, at: u64) -> Option<String> {
        let named = text(pid, at)?;
        let full = match self.paths.get(&(dir as i32)) {
            Some(dir) if !named.starts_with('/') => self.root.join(dir).join(named),
            _ => PathBuf::from(named),
        };
        let relative = full.strip_prefix(&self.root).ok()?;
        let relative: PathBuf = relative.components().collect();
        Some(relative.to_str()?.to_owned())
    }
}

fn read(pid: Pid, at: u64, bytes: u64) -> nix::Result<Vec<u8>> {
    let mut read = vec![0; bytes as usize];
    let remote = [RemoteIoVec {
        base: at as usize,
        len: read.len(),
    }];
    let count = process_vm_readv(pid, &mut [IoSliceMut::new(&mut read)], &remote)?;
    read.truncate(count);
    Ok(read)
}

fn memory(pid: Pid, at: u64, bytes: u64) -> Vec<u8> {
    let read = read(pid, at, bytes).expect("what was written is in memory");
    assert_eq!(
        read.len() as u64,
        bytes,
        "all that was written is in memory"
    );
    read
}

/// What a call wrote from several places.
fn gathered(pid: Pid, vectors: u64, count: u64, bytes: u64) -> Vec<u8> {
    let mut all = Vec::new();
    for vector in memory(pid, vectors, count * 16).chunks_exact(16) {
        let (at, length) = vector.split_at(8);
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
        let wanted = number(length).min(bytes - all.len() as u64);
        all.extend(memory(pid, number(at), wanted));
    }
    all
}

fn text(pid: Pid, mut at: u64) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let piece = read(pid, at, PATH_PIECE_BYTES - at % PATH_PIECE_BYTES).ok()?;
        match piece.iter().position(|byte| *byte == 0) {
            Some(end) => {
                bytes.extend_from_slice(&piece[..end]);
                return String::from_utf8(bytes).ok();
            }
            None => {
                at += piece.len() as u64;
                bytes.extend(piece);
            }
        }
    }
}
