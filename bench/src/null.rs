//! The null server as a process of its own: the same stack, fixed answers.

use std::io::Write as _;

use acclaim_http::Limits;
use anyhow::Context as _;
use tokio::net::TcpListener;

/// Serves until it is killed.
pub(crate) fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("null listening on http://{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        acclaim_http::null::serve(listener, Limits::default(), std::future::pending()).await?;
        Ok(())
    })
}
