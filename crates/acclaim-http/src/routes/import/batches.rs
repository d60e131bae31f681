//! Batches of an import on their way to the engine.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use acclaim_core::port::{Applied, Write};
use acclaim_core::service::WriteFailure;
use acclaim_core::transfer::{Decoded, Summary};
use acclaim_core::{Engine, Op, WriteError};
use futures::StreamExt;
use futures::stream::FuturesOrdered;

use crate::app::Shared;
use crate::problem::Problem;

/// How often a batch is sent again when the engine is overloaded by others, before the import
/// fails.
const TRIES: u32 = 50;
/// The pause before each of them.
const PAUSE: Duration = Duration::from_millis(100);

type Applying = Pin<Box<dyn Future<Output = Result<Applied, WriteError>> + Send>>;

/// Writes ops in batches, a few at once, in order.
pub(super) struct Batches {
    engine: Arc<dyn Engine>,
    batch_ops: usize,
    max_in_flight: usize,
    in_flight: FuturesOrdered<Applying>,
    summary: Summary,
}

impl Batches {
    pub(super) fn new(app: &Shared) -> Self {
        Self {
            engine: Arc::clone(app.service.engine()),
            batch_ops: app.limits.import_batch_ops,
            max_in_flight: app.limits.max_import_batches_in_flight,
            in_flight: FuturesOrdered::new(),
            summary: Summary::default(),
        }
    }

    /// Takes whole batches out of what was decoded, and leaves the rest.
    pub(super) async fn take_full(&mut self, decoded: &mut Decoded) -> Result<(), Problem> {
        self.summary.count_rejected(&decoded.rejections);
        decoded.rejections.clear();
        while decoded.ops.len() >= self.batch_ops {
            let rest = decoded.ops.split_off(self.batch_ops);
            let batch = std::mem::replace(&mut decoded.ops, rest);
            self.send(batch).await?;
        }
        Ok(())
    }

    /// Takes all of it.
    pub(super) async fn take(&mut self, decoded: &mut Decoded) -> Result<(), Problem> {
        self.take_full(decoded).await?;
        if !decoded.ops.is_empty() {
            self.send(std::mem::take(&mut decoded.ops)).await?;
        }
        Ok(())
    }

    /// Waits for all batches and sums up.
    pub(super) async fn finish(mut self) -> Result<Summary, Problem> {
        while let Some(applied) = self.in_flight.next().await {
            self.count(applied)?;
        }
        Ok(self.summary)
    }

    async fn send(&mut self, ops: Vec<Op>) -> Result<(), Problem> {
        while self.in_flight.len() >= self.max_in_flight {
            if let Some(applied) = self.in_flight.next().await {
                self.count(applied)?;
            }
        }
        let engine = Arc::clone(&self.engine);
        self.in_flight.push_back(Box::pin(apply(engine, ops)));
        // Hands the batch to the engine now, before more of the body is waited for.
        if let std::task::Poll::Ready(Some(applied)) = futures::poll!(self.in_flight.next()) {
            self.count(applied)?;
        }
        Ok(())
    }

    fn count(&mut self, applied: Result<Applied, WriteError>) -> Result<(), Problem> {
        let applied = applied.map_err(WriteFailure::from)?;
        self.summary.count_applied(&applied.transitions);
        Ok(())
    }
}

async fn apply(engine: Arc<dyn Engine>, ops: Vec<Op>) -> Result<Applied, WriteError> {
    for _ in 1..TRIES {
        match engine.apply(Write::plain(ops.clone())).await {
            Err(WriteError::Overloaded { .. }) => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
    engine.apply(Write::plain(ops)).await
}
