//! One command a module.

pub mod backup;
pub mod bench;
pub mod check;
pub mod completions;
pub mod config;
pub mod export;
pub mod import;
pub mod migrate;
mod patience;
pub mod replay;
pub mod serve;
pub mod worker;

use std::path::Path;

use anyhow::bail;

use crate::cli::Place;
use crate::config::{Config, EngineName, Loaded, Override, load};

/// The variables of the environment that are text; the others cannot be keys.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The configuration for a command, with its `--data` if one was given.
fn load_with_data(file: Option<&Path>, data: Option<&Path>) -> anyhow::Result<Loaded> {
    let flag = data.map(|data| Override {
        key: "server.data",
        flag: "--data",
        value: data.display().to_string(),
    });
    let flags: Vec<Override> = flag.into_iter().collect();
    Ok(load(file, environment(), &flags)?)
}

/// Where a command finds edges or puts them.
enum Edges {
    /// A running server, by its URL.
    Server(String),
    /// A data directory that no server runs on.
    Directory(Box<Config>),
    /// Redis and the ledger of the configuration.
    Cluster(Box<Config>),
}

impl Edges {
    /// What the flags say, or else the configuration.
    ///
    /// # Errors
    /// When neither names a place: an embedded store is named by its directory, so that nobody
    /// fills one by mistake.
    fn of(place: &Place, file: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(url) = &place.server {
            return Ok(Self::Server(url.clone()));
        }
        let config = Box::new(load_with_data(file, place.data.as_deref())?.config);
        match (&place.data, config.server.engine) {
            (Some(_), _) => Ok(Self::Directory(config)),
            (None, EngineName::Cluster) => Ok(Self::Cluster(config)),
            (None, EngineName::Embedded) => bail!(
                "no place was given: use --server URL, --data DIR, or a configuration with \
                 server.engine = \"cluster\""
            ),
        }
    }
}
