//! What the measurements share: their arguments, a ledger that has nothing, ops until they are
//! decided, the processor time of servers, and ledgers filled past everything.
#![allow(
    dead_code,
    unused_imports,
    reason = "each measurement uses a part of it"
)]

mod cpu;
mod fill;
mod nothing;

use std::str::FromStr;

pub use cpu::Cpu;
pub use fill::{fill, target_number};
pub use nothing::{Nothing, decide_all};

/// Whatever ends a measurement.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The arguments, by their place.
pub struct Arguments {
    usage: &'static str,
    given: Vec<String>,
}

impl Arguments {
    /// Those of this process; `usage` names them all.
    pub fn new(usage: &'static str) -> Self {
        let given = std::env::args().skip(1).collect();
        Self { usage, given }
    }

    /// One that must be there.
    pub fn required(&self, place: usize) -> Result<&str, Failure> {
        let given = self.given.get(place).map(String::as_str);
        given.ok_or_else(|| self.usage.into())
    }

    /// One that has a default.
    pub fn number<T: FromStr>(&self, place: usize, default: T) -> Result<T, Failure> {
        match self.given.get(place) {
            None => Ok(default),
            Some(text) => {
                let parsed = text.parse();
                parsed.map_err(|_| format!("{text:?} is no such number; {}", self.usage).into())
            }
        }
    }
}

/// What Redis says of a field of `INFO`.
pub async fn redis_info(
    raw: &mut redis::aio::MultiplexedConnection,
    section: &str,
    field: &str,
) -> Result<String, Failure> {
    let info: String = redis::cmd("INFO").arg(section).query_async(raw).await?;
    let value = info
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = value.ok_or_else(|| format!("INFO {section} has no {field}"))?;
    Ok(value.trim().to_owned())
}
