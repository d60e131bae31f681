//! Where the servers of this test process live, and what ends them when it is gone.
//!
//! All of them work below one directory, each in one of its own. A small shell, the **guard**,
//! reads from a pipe that only this process holds the other end of. However this process ends, the
//! pipe closes; then the guard kills every process that works below the directory and removes it.
//! A server that is being started at that moment holds the pipe until it runs in its directory, so
//! none slips through. This also covers servers in statics, which Rust never drops.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// `$1` is the directory. It leads a process group of its own, so that an interrupt from the
/// keyboard, which ends the test process, leaves it to its work.
const GUARD: &str = r#"
trap '' HUP INT TERM
read -r _
again=yes
while [ -n "$again" ]; do
    again=
    for process in /proc/[0-9]*; do
        case "$(readlink "$process/cwd" 2> /dev/null)/" in
            "${1:?}"/*)
                # A process that was killed and not yet collected has no directory any more.
                kill -KILL "${process#/proc/}" 2> /dev/null && again=yes ;;
        esac
    done
done
rm -rf "$1"
"#;

#[derive(Debug)]
struct Home {
    directory: PathBuf,
    _guard: Child,
    _life: Option<ChildStdin>,
}

static HOME: OnceLock<Result<Home, String>> = OnceLock::new();

/// The directory of this test process.
pub fn directory() -> Result<&'static Path, String> {
    let home = HOME.get_or_init(|| found().map_err(|error| format!("no place to work: {error}")));
    match home {
        Ok(home) => Ok(&home.directory),
        Err(error) => Err(error.clone()),
    }
}

fn found() -> std::io::Result<Home> {
    // The guard compares real paths.
    let parent = std::env::temp_dir().canonicalize()?;
    let directory = tempfile::Builder::new()
        .prefix("acclaim-servers-")
        .tempdir_in(parent)?
        .keep();
    let mut guard = Command::new("sh")
        .args(["-c", GUARD, "guard"])
        .arg(&directory)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let life = guard.stdin.take();
    Ok(Home {
        directory,
        _guard: guard,
        _life: life,
    })
}
