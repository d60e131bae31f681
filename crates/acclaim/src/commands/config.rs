//! `acclaim config`: the values in force, a check of a file, the reference.

use std::path::Path;

use crate::cli::ConfigArgs;
use crate::config::{load, reference};
use crate::output::{Outcome, say};

/// Shows, checks or explains the configuration.
pub fn run(args: &ConfigArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    if args.reference {
        say(reference().trim_end())?;
        return Ok(Outcome::Done);
    }
    if let Some(file) = &args.check {
        load(Some(file), [], &[])?;
        say(format_args!("{} can be used", file.display()))?;
        return Ok(Outcome::Done);
    }
    let loaded = load(file, super::environment(), &[])?;
    let listing = loaded.listing();
    let keys = listing.iter().map(|(key, _, _)| key.len()).max();
    let values = listing.iter().map(|(_, value, _)| value.len()).max();
    let (keys, values) = (keys.unwrap_or(0), values.unwrap_or(0));
    for (key, value, source) in &listing {
        say(format_args!("{key:keys$} = {value:values$}  # {source}"))?;
    }
    Ok(Outcome::Done)
}
