//! One command a module.

pub mod backup;
pub mod bench;
pub mod check;
pub mod completions;
pub mod config;
pub mod export;
pub mod import;
pub mod serve;
pub mod worker;

use std::path::Path;

use crate::config::{Loaded, Override, load};

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
