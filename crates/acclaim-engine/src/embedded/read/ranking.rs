//! Rankings and days.

use acclaim_core::port::{Daily, Ranked};
use acclaim_core::pulse::Window;
use acclaim_core::{KindId, ReadError, Rev, TargetType};

use super::super::shared::Shared;
use super::Reading;

impl Reading {
    /// The best of a window.
    pub fn ranking(
        &self,
        shared: &Shared,
        kind: KindId,
        of: &TargetType,
        window: Window,
        size: usize,
        now: Rev,
    ) -> Result<Vec<Ranked>, ReadError> {
        let Some(number) = self.dictionary.type_number(of) else {
            return Ok(Vec::new());
        };
        let board = (self.dictionary.kind(kind), number);
        shared.boards.top(board, window, size, now, &self.view)
    }

    /// The numbers of the last days.
    pub fn daily(
        &self,
        shared: &Shared,
        kind: KindId,
        of: Option<&TargetType>,
        days: u32,
        now: Rev,
    ) -> Vec<Daily> {
        let number = of.map(|of| self.dictionary.type_number(of));
        let kind = self.dictionary.kind(kind);
        match number {
            // A type that was never used has no numbers; no type has this one.
            Some(None) => shared.daily.report(kind, Some(u16::MAX), days, now.day()),
            Some(known) => shared.daily.report(kind, known, days, now.day()),
            None => shared.daily.report(kind, None, days, now.day()),
        }
    }
}
