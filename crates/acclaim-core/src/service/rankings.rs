//! Rankings and daily numbers.

use super::{OutOfRange, ReadFailure, Service};
use crate::id::Id;
use crate::kind::KindId;
use crate::limits;
use crate::port::{Daily, Ranked};
use crate::pulse::Window;
use crate::target::{Target, TargetType};

impl Service {
    /// The targets of a type with the highest scores of a window.
    ///
    /// # Errors
    /// [`ReadFailure`].
    pub async fn ranking(
        &self,
        kind: KindId,
        target_type: TargetType,
        window: Window,
        size: Option<u64>,
    ) -> Result<Vec<Ranked>, ReadFailure> {
        let size = size.unwrap_or(limits::DEFAULT_PAGE_ENTRIES as u64);
        let size = OutOfRange::check("size", size, 1, limits::MAX_RANKING_ENTRIES as u64)?;
        let target_type = self.readable_type(kind, target_type)?;
        // At most MAX_RANKING_ENTRIES.
        let size = size as usize;
        Ok(self.engine.ranking(kind, target_type, window, size).await?)
    }

    /// The numbers of the last days, newest first.
    ///
    /// # Errors
    /// [`ReadFailure`].
    pub async fn daily(
        &self,
        kind: KindId,
        target_type: Option<TargetType>,
        days: Option<u64>,
    ) -> Result<Vec<Daily>, ReadFailure> {
        let days = days.unwrap_or(u64::from(limits::DEFAULT_REPORT_DAYS));
        let days = OutOfRange::check("days", days, 1, u64::from(limits::MAX_REPORT_DAYS))?;
        let target_type = target_type.map(|name| self.readable_type(kind, name));
        // At most MAX_REPORT_DAYS.
        let days = days as u32;
        Ok(self
            .engine
            .daily(kind, target_type.transpose()?, days)
            .await?)
    }

    fn readable_type(
        &self,
        kind: KindId,
        target_type: TargetType,
    ) -> Result<TargetType, ReadFailure> {
        let any = Target {
            target_type,
            id: Id::Number(0),
        };
        self.engine.kinds().check_type(kind, &any)?;
        Ok(any.target_type)
    }
}
