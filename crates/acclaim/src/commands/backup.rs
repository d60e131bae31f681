//! `acclaim backup` and `acclaim restore`.

use std::path::{Path, absolute};

use acclaim_engine::embedded::restore as restore_into;
use anyhow::{Context as _, bail};
use hyper::Method;

use crate::cli::{BackupArgs, RestoreArgs};
use crate::client::Client;
use crate::control::{BackupAnswer, BackupRequest};
use crate::output::{Outcome, say};
use crate::store;

/// Copies a store: by its server where one runs, else by itself.
pub fn backup(args: &BackupArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let loaded = super::load_with_data(file, args.data.as_deref())?;
    let data = &loaded.config.server.data;
    let runtime = store::runtime()?;
    let copied = match runtime.block_on(Client::of_data(data)) {
        Some(mut server) => runtime.block_on(by_server(&mut server, &args.to))?,
        None => {
            let store = store::open_existing(&loaded.config)?;
            let to = args.to.clone();
            runtime.block_on(store.close_after(async move |store| {
                let engine = std::sync::Arc::clone(&store.engine);
                tokio::task::spawn_blocking(move || store::backup(&engine, &to)).await?
            }))?
        }
    };
    let BackupAnswer { records, bytes } = copied;
    let (from, to) = (data.display(), args.to.display());
    say(format_args!(
        "copied {from} to {to}: {records} records, {bytes} bytes"
    ))?;
    Ok(Outcome::Done)
}

async fn by_server(server: &mut Client, to: &Path) -> anyhow::Result<BackupAnswer> {
    let request = BackupRequest { to: absolute(to)? };
    let body = serde_json::to_vec(&request)?.into();
    let json = Some("application/json");
    server.send_json(Method::POST, "/backup", json, body).await
}

/// Makes a data directory of a backup.
pub fn restore(args: &RestoreArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let loaded = super::load_with_data(file, args.data.as_deref())?;
    let data = &loaded.config.server.data;
    if !args.from.is_dir() {
        bail!("there is no directory {}", args.from.display());
    }
    let bytes = restore_into(&args.from, data).context("cannot restore")?;
    let (from, to) = (args.from.display(), data.display());
    say(format_args!("restored {from} into {to}: {bytes} bytes"))?;
    Ok(Outcome::Done)
}
