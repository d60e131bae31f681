//! Journals that turns want to read are read together.
//!
//! Those who wait for the ledger write to many partitions a little each, and a call to Redis costs
//! both sides more than an entry. So while a pipeline is under way the journals that are to be read
//! wait, and share the next one. Only turns that were asked for go together: what the others read is
//! a batch or more, of which a pipeline of many would be long.
//!
//! A partition that began a new life, or lies on a server that does not answer, may have the others
//! of its pipeline refused: then each is read by itself.

use std::sync::Arc;

use acclaim_core::Rev;
use tokio::sync::oneshot;

use super::drain::{Tools, Turn};
use crate::gather::Gather;
use crate::redis::error::RedisError;
use crate::redis::journal::{JournalEntry, Span};

/// A journal that waits to be read, and where its entries go.
pub(super) struct Waiting {
    span: Span,
    /// Nothing where it is to be read by itself.
    entries: oneshot::Sender<Option<Vec<JournalEntry>>>,
}

/// All that wait, by server.
pub(super) type Reads = Gather<Option<u64>, Waiting>;

/// What all that wait are put into.
pub(super) fn new() -> Reads {
    Gather::new(1)
}

/// Up to `max_events` entries of a turn's journal after a place.
pub(super) async fn entries(
    tools: &Arc<Tools>,
    turn: Turn,
    after: Rev,
    max_events: usize,
) -> Result<Vec<JournalEntry>, RedisError> {
    let span = Span {
        partition: turn.journal,
        after,
        max_events,
    };
    let together = match turn.is_asked {
        true => join(tools, span).await,
        false => None,
    };
    match together {
        Some(entries) => Ok(entries),
        None => {
            let read = tools.redis.journal_entries(turn.journal, after, max_events);
            read.await
        }
    }
}

async fn join(tools: &Arc<Tools>, span: Span) -> Option<Vec<JournalEntry>> {
    let (sender, receiver) = oneshot::channel();
    let waiting = Waiting {
        span,
        entries: sender,
    };
    let server = tools.redis.server_of(span.partition);
    if tools.reads.put(server, |all| all.push_back(waiting)) {
        let tools = Arc::clone(tools);
        tokio::spawn(async move { run(&tools, server).await });
    }
    receiver.await.ok().flatten()
}

async fn run(tools: &Tools, server: Option<u64>) {
    loop {
        let waiting = tools.reads.next(&server, |all| all.drain(..).collect());
        if waiting.is_empty() {
            return;
        }
        let spans: Vec<Span> = waiting.iter().map(|one| one.span).collect();
        let read = tools.redis.journals(&spans).await;
        for (one, read) in waiting.into_iter().zip(read) {
            // A turn that was given up waits for nothing.
            let _ = one.entries.send(read.ok());
        }
    }
}
