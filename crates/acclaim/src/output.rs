//! What a command leaves behind: its outcome, and lines on standard output and standard error.

use std::fmt;
use std::io::{self, Write as _};

/// How a command ended. `main` makes the exit code of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Done,
    /// It ran, and found what it was asked to look for, or could not do a part.
    Findings,
    /// It could not run, or not to its end.
    CouldNotRun,
}

/// Writes one line to standard output at once.
///
/// # Errors
/// When it cannot be written.
pub fn say(line: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Writes one line to standard error. Where even that fails there is nobody to tell.
pub fn note(line: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Explains why a command failed. A reader who went away, as in `acclaim export | head`, is no
/// failure.
pub fn failure(error: anyhow::Error) -> Outcome {
    let broken_pipe = error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    });
    if broken_pipe {
        return Outcome::Done;
    }
    note(format_args!("acclaim: {error:#}"));
    Outcome::CouldNotRun
}
