//! The flags of `acclaim migrate`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Flags of `migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// From where
    #[command(subcommand)]
    pub what: Migrate,
}

/// From where.
#[derive(Debug, Subcommand)]
pub enum Migrate {
    /// From a table with a row for each like, in MySQL, MariaDB or TiDB
    Table(TableArgs),
    /// From Redis sets, sorted sets or hashes with a member for each like
    Sets(SetsArgs),
    /// From the ledger of the configuration to another one
    Ledger(LedgerArgs),
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// Copy everything; goes on where an earlier copy ended
    Copy,
    /// Copy what was added since
    Changes,
    /// Compare both and print the differences
    Compare,
}

/// What to do with a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LedgerStep {
    /// Copy everything
    Copy,
    /// Copy what has changed since
    Changes,
    /// Compare both and print the differences
    Compare,
    /// Pause the workers, copy the rest, and change over
    Switch,
}

/// Flags of any store that moves in.
#[derive(Debug, Args)]
pub struct Common {
    /// What to do
    pub step: Step,
    /// The kind that the likes become
    #[arg(long, value_name = "KIND", default_value = "likes")]
    pub kind: String,
    /// The target type of all of them, where they name none
    #[arg(long, value_name = "TYPE")]
    pub target_type: Option<String>,
    /// A type as it is called there and what it becomes, such as post=POST; may be repeated
    #[arg(long, value_name = "THERE=TYPE")]
    pub map_type: Vec<String>,
    /// Where a copy keeps how far it is [default: acclaim-migrate-table.json or
    /// acclaim-migrate-sets.json]
    #[arg(long, value_name = "FILE")]
    pub position: Option<PathBuf>,
    /// With compare: make the cluster like the source
    ///
    /// Sets what is missing and unsets what is too many. Only while the source still takes the
    /// writes: what users do in the cluster alone would be undone.
    #[arg(long)]
    pub mend: bool,
}

/// Flags of `migrate table`.
#[derive(Debug, Args)]
pub struct TableArgs {
    /// What every source has
    #[command(flatten)]
    pub common: Common,
    /// The database: mysql://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL")]
    pub from: String,
    /// The table
    #[arg(long, value_name = "NAME", default_value = "likes")]
    pub table: String,
    /// The column that says who
    #[arg(long, value_name = "COLUMN", default_value = "user_id")]
    pub user_column: String,
    /// The column that says what class of thing; not read where --target-type is given
    #[arg(long, value_name = "COLUMN", default_value = "target_type")]
    pub type_column: String,
    /// The column that says what
    #[arg(long, value_name = "COLUMN", default_value = "target_id")]
    pub target_column: String,
    /// The column that says since when; empty for none
    #[arg(long, value_name = "COLUMN", default_value = "created_at")]
    pub at_column: String,
    /// A column with a unique number that grows with each row, if there is one
    ///
    /// Copies and changes are read in its order. Without it in the order of who and what, for which
    /// there should be an index, and changes by --at-column.
    #[arg(long, value_name = "COLUMN")]
    pub id_column: Option<String>,
    /// What a number in --at-column counts
    #[arg(long, value_enum, value_name = "UNIT", default_value = "millis")]
    pub at_unit: Unit,
    /// The zone of times that name none
    #[arg(
        long,
        value_name = "+HH:MM",
        default_value = "+00:00",
        allow_hyphen_values = true
    )]
    pub time_zone: String,
    /// Changes are looked for from so long before the last ones, for rows that were committed late
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub overlap_seconds: u32,
}

/// Flags of `migrate sets`.
#[derive(Debug, Args)]
pub struct SetsArgs {
    /// What every source has
    #[command(flatten)]
    pub common: Common,
    /// Redis: redis://HOST:PORT, redis+cluster://…, redis+sentinel://…
    #[arg(long, value_name = "URL")]
    pub from: String,
    /// How keys are spelled, with {user}, {type} and {id}
    #[arg(
        long,
        value_name = "PATTERN",
        default_value = "like:target:{type}:{id}"
    )]
    pub key: String,
    /// How members are spelled, with what keys do not name
    #[arg(long, value_name = "PATTERN", default_value = "{user}")]
    pub member: String,
    /// What the scores of sorted sets count, where they are times
    #[arg(long, value_enum, value_name = "UNIT")]
    pub scores: Option<Unit>,
}

/// Flags of `migrate ledger`.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// What to do
    pub step: LedgerStep,
    /// The new ledger, an empty database: mysql://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// With switch: for how long no worker may write the old ledger, at most
    ///
    /// What is decided meanwhile waits in the journals. When the rest is not copied and compared in
    /// this time, everything goes on as before.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub max_pause_seconds: u32,
}

/// What a number of time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Unit {
    /// Since 1970
    Seconds,
    /// Since 1970
    Millis,
    /// Since 1970
    Micros,
}

impl Unit {
    /// Microseconds in one.
    pub fn micros(self) -> u64 {
        match self {
            Self::Seconds => 1_000_000,
            Self::Millis => 1_000,
            Self::Micros => 1,
        }
    }
}
