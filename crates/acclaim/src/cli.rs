//! The command line: commands, flags, help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::bench::BenchArgs;
use crate::commands::migrate::MigrateArgs;
use crate::commands::replay::ReplayArgs;
use crate::config::Override;

/// Likes and follows: who did it, how many did, what else they did. Exact, durable, fast.
#[derive(Debug, Parser)]
#[command(
    name = "acclaim",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 done, 1 done but with findings (rejected lines, failed checks, \
    errors under load), 2 could not run."
)]
pub struct Cli {
    /// The configuration file; without one, defaults and the environment hold
    #[arg(long, global = true, value_name = "FILE", env = "ACCLAIM_CONFIG")]
    pub config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one for the life of the process"
)]
pub enum Command {
    /// Run the server
    ///
    /// Prints one line on standard output when it can answer; logs go to standard error. SIGTERM
    /// and SIGINT end it: what is under way is answered, everything is durable, exit code 0.
    Serve(ServeArgs),
    /// Move the events of a cluster into its ledger, without serving requests
    ///
    /// Answers /health, /ready and /metrics only. Any number may run; they share the partitions.
    /// `acclaim serve` does the same in its own process unless `cluster.worker` is false.
    Worker(WorkerArgs),
    /// Import edges from files, into a server, a data directory or a cluster
    ///
    /// Without --server and --data: into the cluster of the configuration (`server.engine`).
    ///
    /// NDJSON lines {kind, userId, targetType, targetId, at?}, or CSV with a header that names
    /// these columns in any order; .gz is read as it is. Can be run again: nothing doubles.
    /// Rejected lines go to FILE.rejected.ndjson. Exit code 0 all taken, 1 some rejected, 2 could
    /// not run.
    Import(ImportArgs),
    /// Move in from a plain table or Redis sets, or from one ledger to another
    ///
    /// Into the cluster of the configuration, whose nodes may run meanwhile. Every step can be run
    /// again. Exit code 0 done, 1 something was rejected or differs, 2 could not run.
    Migrate(MigrateArgs),
    /// Give what the bus carried once more: to a ledger, which may be empty, or to a group
    ///
    /// Into a ledger: every event that the bus still has, in order; what the ledger has already
    /// changes nothing, so it can be run again, also after it was killed. An empty database becomes
    /// the ledger that it was. No node or worker may run meanwhile. Into a group: its place on the
    /// bus is moved back. Exit code 0 whole, 1 something is missing or was refused, each named, 2
    /// could not run.
    Replay(ReplayArgs),
    /// Write all edges of a kind to standard output
    ///
    /// Without --server and --data: those of the cluster of the configuration (`server.engine`).
    Export(ExportArgs),
    /// Compare every count and list with the edges, of a data directory or a cluster
    ///
    /// A cluster is that of the configuration (`server.engine`).
    ///
    /// Exit code 0 clean, 1 findings, 2 could not run.
    Check(CheckArgs),
    /// Copy a store, also while a server runs on it
    Backup(BackupArgs),
    /// Make a data directory of a backup
    Restore(RestoreArgs),
    /// Put load on a server and measure it
    ///
    /// After writes it reads back and says whether every acknowledged one is there. Exit code 1
    /// when a request failed or an acknowledged write is missing.
    Bench(BenchArgs),
    /// Show the configuration in force and where each value came from
    Config(ConfigArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// How exported edges are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object a line
    Ndjson,
    /// Comma-separated values under a header
    Csv,
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// The data directory of the embedded engine [default: ./acclaim-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Which engine decides: embedded, cluster [default: embedded]
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<String>,
    /// Where the cluster engine has its servers
    #[command(flatten)]
    pub servers: Servers,
    /// How logs are written: auto, text, json [default: auto]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// The least level that is logged: error, warn, info, debug, trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Open also when the log lost commits that were acknowledged, and go on without them
    #[arg(long)]
    pub accept_loss: bool,
}

impl ServeArgs {
    /// What these flags say about keys of the configuration.
    pub fn overrides(&self) -> Vec<Override> {
        let accept_loss = self.accept_loss.then(|| "true".to_owned());
        let flags = [
            ("server.listen", "--listen", &self.listen),
            ("server.data", "--data", &self.data),
            ("server.engine", "--engine", &self.engine),
            ("server.log_format", "--log-format", &self.log_format),
            ("server.log_level", "--log-level", &self.log_level),
            ("engine.accept_loss", "--accept-loss", &accept_loss),
        ];
        given(flags.into_iter().chain(self.servers.flags()))
    }
}

/// A flag that sets a key: the key, the flag, what was given.
type Flag<'a> = (&'static str, &'static str, &'a Option<String>);

fn given<'a>(flags: impl Iterator<Item = Flag<'a>>) -> Vec<Override> {
    let given = flags.filter_map(|(key, flag, value)| {
        let value = value.clone()?;
        Some(Override { key, flag, value })
    });
    given.collect()
}

/// The servers of a cluster.
#[derive(Debug, Args)]
pub struct Servers {
    /// Redis of the cluster engine: redis://HOST:PORT, redis+cluster://…, redis+sentinel://…
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// The ledger of the cluster engine: mysql://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL")]
    pub ledger: Option<String>,
    /// The bus that carries events to the ledger and to others: kafka://HOST:PORT,HOST:PORT,
    /// pulsar://…, rocketmq://…, or redis://… for Redis Streams
    #[arg(long, value_name = "URL")]
    pub bus: Option<String>,
}

impl Servers {
    fn flags(&self) -> [Flag<'_>; 3] {
        [
            ("cluster.redis", "--redis", &self.redis),
            ("cluster.ledger", "--ledger", &self.ledger),
            ("bus.url", "--bus", &self.bus),
        ]
    }
}

/// Flags of `worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Where to answer /health, /ready and /metrics; port 0 takes a free one [default:
    /// 127.0.0.1:7700]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Where the cluster has its servers
    #[command(flatten)]
    pub servers: Servers,
    /// How logs are written: auto, text, json [default: auto]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// The least level that is logged: error, warn, info, debug, trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl WorkerArgs {
    /// What these flags say about keys of the configuration.
    pub fn overrides(&self) -> Vec<Override> {
        let flags = [
            ("server.listen", "--listen", &self.listen),
            ("server.log_format", "--log-format", &self.log_format),
            ("server.log_level", "--log-level", &self.log_level),
        ];
        given(flags.into_iter().chain(self.servers.flags()))
    }
}

/// A running server or a data directory; neither is the cluster of the configuration.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Place {
    /// A running server, such as http://127.0.0.1:7700
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// A data directory that no server runs on
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Flags of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files to read; - is standard input
    #[arg(required_unless_present = "from_embedded", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Read an embedded store in place of files, into a cluster or a server
    ///
    /// Every kind, with the time of each edge. Into the cluster of the configuration also what was
    /// taken back since an earlier run, and the numbers of days and rankings. No server may run on
    /// the directory.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["files", "data", "kind", "target_type"])]
    pub from_embedded: Option<PathBuf>,
    /// Where to
    #[command(flatten)]
    pub place: Place,
    /// The kind of lines that name none
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// The target type of lines that name none
    #[arg(long, value_name = "TYPE")]
    pub target_type: Option<String>,
}

/// Flags of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Where from
    #[command(flatten)]
    pub place: Place,
    /// The kind
    #[arg(long, value_name = "KIND")]
    pub kind: String,
    /// How edges are written
    #[arg(long, value_enum, default_value = "ndjson")]
    pub format: ExportFormat,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The data directory; no server may run on it [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Mend what can be rebuilt from the edges
    #[arg(long)]
    pub repair: bool,
}

/// Flags of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The new directory to copy to
    #[arg(value_name = "DIR")]
    pub to: PathBuf,
    /// The data directory [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Flags of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "DIR")]
    pub from: PathBuf,
    /// The data directory to make; empty or not there yet [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Flags of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Check this file, and only it
    #[arg(long, value_name = "FILE", conflicts_with = "reference")]
    pub check: Option<PathBuf>,
    /// Print every key with its default, unit and meaning, as Markdown
    #[arg(long)]
    pub reference: bool,
}
