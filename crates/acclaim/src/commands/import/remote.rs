//! Import into a server: `POST /api/v2/import`, a part of the source at a time.
//!
//! A part is complete NDJSON; line numbers are put back to those of the source. The server names
//! only the first rejected lines of a request, so a part with more is sent again in small pieces,
//! which changes nothing on the server and names them all.

use std::path::Path;
use std::time::Duration;

use acclaim_core::transfer::{Format, MAX_REJECTIONS, Rejection, Relay, Relayed, Summary};
use anyhow::bail;
use bytes::Bytes;
use hyper::Method;
use tokio::sync::mpsc;

use crate::cli::ImportArgs;
use crate::client::{Client, Endpoint, Refused};

use super::progress::Progress;
use super::rejects::Rejects;
use super::source::Source;

/// Lines in one request.
const PART_LINES: usize = 20_000;
/// Parts that wait to be sent.
const PARTS_WAITING: usize = 2;
/// How often a part is sent that the server is too busy for.
const ATTEMPTS: u32 = 10;
/// How long to wait when the server does not say.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A server to import into.
pub(super) struct Server {
    client: Client,
    kind: Option<String>,
    target_type: Option<String>,
}

impl Server {
    pub(super) async fn connect(url: &str, args: &ImportArgs) -> anyhow::Result<Self> {
        Ok(Self {
            client: Client::connect(Endpoint::of_url(url)?).await?,
            kind: args.kind.clone(),
            target_type: args.target_type.clone(),
        })
    }

    /// Imports one source.
    pub(super) async fn import(&mut self, path: &Path) -> anyhow::Result<Summary> {
        let source = Source::open(path)?;
        let mut rejects = Rejects::of(path)?;
        let mut progress = Progress::of(&source)?;
        let relay = Relay::new(source.format, self.kind.clone(), self.target_type.clone());
        let (sender, mut parts) = mpsc::channel(PARTS_WAITING);
        let reading = tokio::task::spawn_blocking(move || read(source, relay, &sender));

        let mut summary = Summary::default();
        while let Some(part) = parts.recv().await {
            let of_part = self.send_part(part).await?;
            rejects.write(&of_part.rejections)?;
            progress.advance(of_part.lines);
            summary.add(of_part);
        }
        reading.await??;
        drop(progress);
        rejects.finish()?;
        Ok(summary)
    }

    /// Sends a part; the answer has every rejected line, by its number in the source.
    pub(super) async fn send_part(&mut self, part: Relayed) -> anyhow::Result<Summary> {
        let text = Bytes::from(part.text);
        let mut sum = self.send(text.clone()).await?;
        if sum.rejected > MAX_REJECTIONS as u64 {
            sum.rejections.clear();
            let mut start = 0;
            let mut number = 0;
            for lines in part.lines.chunks(MAX_REJECTIONS) {
                let end = lines.last().map_or(start, |(end, _)| *end);
                let of_piece = self.send(text.slice(start..end)).await?;
                let moved = of_piece.rejections.into_iter().map(|rejection| Rejection {
                    line: rejection.line + number,
                    ..rejection
                });
                sum.rejections.extend(moved);
                number += lines.len() as u64;
                start = end;
            }
        }
        for rejection in &mut sum.rejections {
            let place = usize::try_from(rejection.line)?.checked_sub(1);
            let Some((_, line)) = place.and_then(|place| part.lines.get(place)) else {
                bail!(
                    "the server rejected line {}, which was not sent",
                    rejection.line
                );
            };
            rejection.line = *line;
        }
        sum.lines += part.rejections.len() as u64;
        sum.rejected += part.rejections.len() as u64;
        sum.rejections.extend(part.rejections);
        sum.rejections.sort_by_key(|rejection| rejection.line);
        Ok(sum)
    }

    async fn send(&mut self, text: Bytes) -> anyhow::Result<Summary> {
        if text.is_empty() {
            return Ok(Summary::default());
        }
        let media_type = Some(Format::Ndjson.media_type());
        for _ in 1..ATTEMPTS {
            let path = "/api/v2/import";
            let sent = self
                .client
                .send_json(Method::POST, path, media_type, text.clone());
            match sent.await {
                Ok(summary) => return Ok(summary),
                Err(error) => match error.downcast_ref::<Refused>() {
                    Some(refused) if refused.status.as_u16() == 503 => {
                        tokio::time::sleep(refused.retry_after.unwrap_or(RETRY_AFTER)).await;
                    }
                    _ => return Err(error),
                },
            }
        }
        let path = "/api/v2/import";
        self.client
            .send_json(Method::POST, path, media_type, text)
            .await
    }
}

/// Reads a source in a thread of its own.
fn read(mut source: Source, mut relay: Relay, parts: &mpsc::Sender<Relayed>) -> anyhow::Result<()> {
    let mut part = Relayed::default();
    loop {
        let piece = source.piece()?;
        if piece.is_empty() {
            break;
        }
        let length = piece.len();
        relay.decode(piece, &mut part)?;
        source.consume(length);
        let full = part.lines.len() + part.rejections.len() >= PART_LINES;
        // Whoever stopped taking parts has the reason.
        if full && parts.blocking_send(std::mem::take(&mut part)).is_err() {
            return Ok(());
        }
    }
    relay.finish(&mut part)?;
    let _ = parts.blocking_send(part);
    Ok(())
}
