//! Names that survive a power cut.
//!
//! A file that was flushed is still lost when its name was not: a name is durable only after the
//! directory that it lies in was synced. A directory's own name lies in its parent.

use std::io;
use std::path::Path;

/// Makes the names in a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

/// Makes the names in a directory and in all below it durable.
pub fn sync_dirs(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_dirs(&entry.path())?;
        }
    }
    sync_dir(dir)
}

/// Makes a directory with its parents, where they are missing, and its name durable.
///
/// One that is there may have been made a moment ago by a process that died before it could sync.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    let existing = dir.ancestors().position(Path::is_dir);
    std::fs::create_dir_all(dir)?;
    // The parents of all that were made, and of the directory itself.
    let made = existing.unwrap_or(usize::MAX).max(1);
    for (nth, dir) in dir.ancestors().take(made).enumerate() {
        let Some(parent) = dir.parent() else { break };
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        match sync_dir(parent) {
            // The directory was given to us in one that is not ours to read.
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied && existing == Some(nth) => {}
            synced => synced?,
        }
    }
    Ok(())
}
