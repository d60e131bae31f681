//! `growth`: what a store costs at rising numbers of edges.
//!
//! For each number: generated edges are imported into an empty directory, the directory is
//! measured, a server is started on it, and asked. Ten times the edges have ten times the users and
//! targets, so a request finds as much as before; what rises is what the size alone costs.

use std::fs;
use std::io::{self, BufWriter};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use tempfile::TempDir;

use crate::edges::{Edges, TARGET_TYPE};
use crate::generator::{Load, measure};
use crate::process::{Memory, Server};
use crate::table::{Table, mebibytes, thousands};
use crate::{pages, program};

/// The fewest edges of a run: fewer have no target.
const MIN_EDGES: u64 = 1_000;
/// The most edges of a run.
const MAX_EDGES: u64 = 100_000_000;
const EDGES_A_USER: u64 = 10;
const EDGES_A_TARGET: u64 = 100;

/// Flags of `growth`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many edges, with commas between, each in a directory of its own
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "100000,1000000,10000000",
        value_parser = clap::value_parser!(u64).range(MIN_EDGES..=MAX_EDGES)
    )]
    edges: Vec<u64>,
    /// How long each kind of request is measured, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Days over which the edges' times are spread; 0 gives none, and the import takes its own
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    history_days: u64,
    /// Another program than the one built beside this
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where the data directories are made, and removed again [default: the system's for
    /// temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What one number of edges came to.
struct Grown {
    lines: u64,
    new: u64,
    import_seconds: f64,
    /// All of the directory, the log included.
    disk_bytes: u64,
    /// The tables alone.
    tables_bytes: u64,
    ready_seconds: f64,
    status_micros: f64,
    page_micros: f64,
    toggle_micros: f64,
    memory: Memory,
}

/// Measures each number of edges and prints a table.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let program = program::find(args.binary.as_deref())?;
    let mut table = Table::new(&[
        "edges",
        "import edges/s",
        "disk B/edge",
        "of these tables",
        "ready after",
        "status CPU µs",
        "page CPU µs",
        "toggle CPU µs",
        "resident",
        "peak",
    ]);
    for lines in &args.edges {
        table.row(grow(args, &program, *lines)?.row());
    }
    println!(
        "{EDGES_A_USER} edges a user, {EDGES_A_TARGET} a target, numeric ids; CPU of the server a \
         request\n"
    );
    print!("{}", table.markdown());
    Ok(())
}

/// A directory to work in, removed when dropped.
pub(crate) fn work_dir(parent: Option<&Path>) -> anyhow::Result<TempDir> {
    let made = match parent {
        Some(parent) => tempfile::tempdir_in(parent),
        None => tempfile::tempdir(),
    };
    made.context("cannot make a directory to work in")
}

fn grow(args: &Args, program: &Path, lines: u64) -> anyhow::Result<Grown> {
    let dir = work_dir(args.dir.as_deref())?;
    let data = dir.path().join("data");
    let edges = Edges {
        lines,
        users: lines / EDGES_A_USER,
        targets: lines / EDGES_A_TARGET,
        history_days: args.history_days,
    };
    eprintln!("{lines}: importing");
    let (new, import_seconds) = import(program, &data, dir.path(), &edges)?;
    let disk_bytes = allocated_bytes(&data)?;
    let tables_bytes = allocated_bytes(&data.join("base"))?;
    eprintln!("{lines}: asking");
    let server = Server::acclaim(program, &data)?;
    let load = |scenario| Load {
        scenario,
        connections: 64,
        seconds: args.seconds,
        users: edges.users,
        targets: edges.targets,
        target_type: TARGET_TYPE,
        seed: 1,
        rate: None,
        ack: None,
    };
    // Fills the caches.
    measure(program, &server, &load("status"))?;
    Ok(Grown {
        lines,
        new,
        import_seconds,
        disk_bytes,
        tables_bytes,
        ready_seconds: server.ready_after.as_secs_f64(),
        status_micros: measure(program, &server, &load("status"))?.cpu_micros,
        page_micros: pages::cpu_micros(&server, edges.targets, args.seconds)?,
        toggle_micros: measure(program, &server, &load("toggle"))?.cpu_micros,
        memory: server.memory()?,
    })
}

/// Imports over standard input; returns how many edges were new, and the seconds that it took.
fn import(program: &Path, data: &Path, dir: &Path, edges: &Edges) -> anyhow::Result<(u64, f64)> {
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(["import", "-", "--data"])
        .arg(data)
        // Where rejected lines would be written.
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the import")?;
    let input = child.stdin.take().context("a child without an input")?;
    // Where the import ended early, it says itself why.
    let written = edges.write(Timestamp::now(), BufWriter::with_capacity(1 << 20, input));
    let output = child.wait_with_output()?;
    let seconds = started.elapsed().as_secs_f64();
    let told = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("the import ended with {}: {told}", output.status);
    }
    written.context("the import did not take every line")?;
    let new = told.split(", ").find_map(|part| part.strip_suffix(" new"));
    let new = new.with_context(|| format!("the import says something else: {told}"))?;
    Ok((new.parse()?, seconds))
}

/// Bytes that a directory takes on disk, as `du` counts them.
fn allocated_bytes(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            bytes += allocated_bytes(&entry?.path())?;
        }
    }
    Ok(bytes)
}

impl Grown {
    fn row(&self) -> Vec<String> {
        let edge_bytes = |bytes: u64| format!("{:.1}", bytes as f64 / self.new as f64);
        let micros = |micros: f64| format!("{micros:.1}");
        vec![
            thousands(self.new as f64),
            thousands(self.lines as f64 / self.import_seconds),
            edge_bytes(self.disk_bytes),
            edge_bytes(self.tables_bytes),
            format!("{:.2} s", self.ready_seconds),
            micros(self.status_micros),
            micros(self.page_micros),
            micros(self.toggle_micros),
            mebibytes(self.memory.resident),
            mebibytes(self.memory.peak),
        ]
    }
}
