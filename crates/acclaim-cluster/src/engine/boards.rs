//! Rankings and daily numbers: from the ledger, after it has everything that was written before.
//!
//! The ranking of a window is computed from the targets touched inside it, so a node answers one
//! again for a moment.

use std::collections::HashMap;
use std::time::Duration;

use acclaim_core::limits::MAX_RANKING_ENTRIES;
use acclaim_core::port::{Daily, Ranked};
use acclaim_core::pulse::Window;
use acclaim_core::{Id, KindId, ReadError, TargetType};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::errors::read_error;
use super::shared::Shared;
use crate::ledger::read::boards::MAX_RECENT_TARGETS;
use crate::ledger::{Ledger, TypeNo};

const MINUTES_A_DAY: u32 = 24 * 60;
/// Rankings that a node remembers.
const MAX_REMEMBERED_RANKINGS: usize = 1_000;

type Asked = (KindId, TypeNo, Window);

/// The rankings of a moment ago.
#[derive(Default)]
pub struct Boards(Mutex<HashMap<Asked, (Instant, Vec<Ranked>)>>);

impl Shared {
    /// See [`acclaim_core::port::Reads::ranking`].
    pub async fn ranking(
        &self,
        kind: KindId,
        target_type: &TargetType,
        window: Window,
        size: usize,
    ) -> Result<Vec<Ranked>, ReadError> {
        let Some(type_no) = self.known_type(target_type).await? else {
            return Ok(Vec::new());
        };
        let asked = (kind, type_no, window);
        let mut ranked = match self.remembered(&asked) {
            Some(ranked) => ranked,
            None => self.rank(asked).await?,
        };
        ranked.truncate(size);
        Ok(ranked)
    }

    fn remembered(&self, asked: &Asked) -> Option<Vec<Ranked>> {
        let longest = Duration::from_millis(self.limits.ranking_cache_millis);
        let boards = self.boards.0.lock();
        let (at, ranked) = boards.get(asked)?;
        (at.elapsed() < longest).then(|| ranked.clone())
    }

    async fn rank(&self, asked: Asked) -> Result<Vec<Ranked>, ReadError> {
        let began = Instant::now();
        let ledger = self.ledger_with_all().await?;
        let (kind, type_no, window) = asked;
        let ranked = if window == Window::All {
            let kind = self.names.kind_no(kind);
            let found = ledger.highest_counts(kind, type_no, MAX_RANKING_ENTRIES);
            found.await.map_err(read_error)?
        } else {
            self.rank_recent(&ledger, kind, type_no, window).await?
        };
        if self.limits.ranking_cache_millis > 0 {
            let mut boards = self.boards.0.lock();
            if boards.len() >= MAX_REMEMBERED_RANKINGS {
                boards.clear();
            }
            boards.insert(asked, (began, ranked.clone()));
        }
        Ok(ranked)
    }

    /// Waits until the ledger has everything that was written before. Answers where to read it.
    async fn ledger_with_all(&self) -> Result<Ledger, ReadError> {
        let all: Vec<u16> = self.all_partitions().collect();
        let waited = self.ledger_has(all.iter().copied()).await;
        waited.map_err(read_error)?;
        self.ledger_of(&all).await
    }

    async fn rank_recent(
        &self,
        ledger: &Ledger,
        kind: KindId,
        type_no: TypeNo,
        window: Window,
    ) -> Result<Vec<Ranked>, ReadError> {
        let now = self.now();
        let kind = self.names.kind_no(kind);
        let first_day = window.first_minute(now) / MINUTES_A_DAY;
        let mut best: Vec<Ranked> = Vec::new();
        let mut after: Option<(u32, Id)> = None;
        loop {
            let from = after.as_ref().map(|(day, id)| (*day, id));
            let page = ledger.recent_targets(kind, type_no, first_day, from, MAX_RECENT_TARGETS);
            let page = page.await.map_err(read_error)?;
            let is_last = page.len() < MAX_RECENT_TARGETS;
            after = page
                .last()
                .map(|target| (target.last_day, target.id.clone()));
            for target in page {
                let score = target.pulse.score(window, now);
                if score > 0 {
                    best.push(Ranked {
                        id: target.id,
                        score,
                        count: target.count,
                    });
                }
            }
            best.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
            best.truncate(MAX_RANKING_ENTRIES);
            if is_last {
                return Ok(best);
            }
        }
    }

    /// See [`acclaim_core::port::Reads::daily`].
    pub async fn daily(
        &self,
        kind: KindId,
        target_type: Option<&TargetType>,
        days: u32,
    ) -> Result<Vec<Daily>, ReadError> {
        let now = self.now();
        let type_no = match target_type {
            None => None,
            Some(target_type) => match self.known_type(target_type).await? {
                Some(type_no) => Some(type_no),
                None => return Ok(empty_days(now.day(), days)),
            },
        };
        let ledger = self.ledger_with_all().await?;
        let kind = self.names.kind_no(kind);
        let found = ledger.daily_numbers(kind, type_no, days, now);
        found.await.map_err(read_error)
    }
}

fn empty_days(today: u32, days: u32) -> Vec<Daily> {
    let first = (today + 1).saturating_sub(days);
    let days = (first..=today).rev();
    days.map(|day| Daily {
        day,
        ..Daily::default()
    })
    .collect()
}
