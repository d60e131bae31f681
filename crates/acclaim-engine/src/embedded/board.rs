//! Boards: the candidates of the rankings, kept by increments.
//!
//! A board belongs to a kind and a target type. For each window it holds a set of candidates and a
//! floor, so that **every target whose potential is above the floor is in the set** (the potential
//! is what a score can at most become without another transition, see
//! [`acclaim_core::pulse::Pulse::potential`]). A target is offered whenever it is touched. When a
//! board has too many candidates, the weakest go and the floor rises to the best of those that
//! went. So the top of a window is exact whenever enough candidates stand above the floor; where
//! they do not (activity fell after the floor had risen), the board is filled again from all
//! targets, at most once a minute.
//!
//! Scores are computed when somebody asks, for the candidates touched since, or for all when the
//! minute changed. Memory is bounded by the number of boards, not of targets.

use acclaim_core::port::Ranked;
use acclaim_core::pulse::Window;
use acclaim_core::{Id, ReadError, Rev};
use foldhash::fast::FixedState;
use hashbrown::HashMap as FastMap;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;

use super::base::BaseSnapshot;
use super::codec::{Damaged, Reader, put_id, put_varint, unzigzag, zigzag};
use super::key::{KindNo, TargetRef, TypeNo, board_from_key, tag};
use super::record::TargetRecord;
use super::view::View;

/// Candidates of a board at which the weakest go.
const MAX_CANDIDATES: usize = 4_096;
/// Candidates that stay in each window.
const KEPT_CANDIDATES: usize = 1_000;
const WINDOWS: usize = Window::EVERY.len();
const IN_ALL: u8 = (1 << WINDOWS) - 1;

#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    /// A bit for each window it is a candidate of.
    windows: u8,
    scores: [i64; WINDOWS],
    count: u64,
    stale: bool,
}

/// The candidates of one kind and type.
#[derive(Debug, Default)]
struct Board {
    candidates: FastMap<Id, Candidate, FixedState>,
    floors: [i64; WINDOWS],
    stale: Vec<Id>,
    scored_minute: u32,
    refilled_minute: u32,
    changed: bool,
}

type BoardKey = (KindNo, TypeNo);

/// All boards.
#[derive(Default)]
pub struct Boards(RwLock<FastMap<BoardKey, Arc<Mutex<Board>>, FixedState>>);

fn potential(record: &TargetRecord, window: Window, now: Rev) -> i64 {
    match window {
        Window::All => i64::try_from(record.count).unwrap_or(i64::MAX),
        recent => record.pulse.potential(recent, now),
    }
}

fn score(record: &TargetRecord, window: Window, now: Rev) -> i64 {
    match window {
        Window::All => i64::try_from(record.count).unwrap_or(i64::MAX),
        recent => record.pulse.score(recent, now),
    }
}

impl Boards {
    /// Reads what the base holds.
    pub fn load(base: &BaseSnapshot) -> Result<Self, ReadError> {
        let mut boards = FastMap::default();
        for record in base.prefix(&[tag::BOARD]) {
            let (key, value) = record?;
            let board = Board::decode(&value)?;
            boards.insert(board_from_key(&key)?, Arc::new(Mutex::new(board)));
        }
        Ok(Self(RwLock::new(boards)))
    }

    fn board(&self, key: BoardKey) -> Arc<Mutex<Board>> {
        if let Some(board) = self.0.read().get(&key) {
            return Arc::clone(board);
        }
        Arc::clone(self.0.write().entry(key).or_default())
    }

    /// Offers a target that a commit touched. Called by the lane alone, before the commit is
    /// published.
    pub fn touch(&self, target: &TargetRef, record: &TargetRecord, now: Rev, view: &View) {
        let key = (target.kind, target.target_type);
        let board = self.board(key);
        let mut board = board.lock();
        board.offer(&target.id, record, now);
        if board.candidates.len() > MAX_CANDIDATES {
            // What cannot be read now is judged by what was last known of it.
            board.trim(now, |id| view.target(&target_ref(key, id)).ok());
        }
    }

    /// The targets with the highest scores.
    pub fn top(
        &self,
        key: BoardKey,
        window: Window,
        size: usize,
        now: Rev,
        view: &View,
    ) -> Result<Vec<Ranked>, ReadError> {
        let board = self.board(key);
        let mut board = board.lock();
        board.score(now, |id| view.target(&target_ref(key, id)))?;
        if !board.is_certain(window, size) && board.refilled_minute != now.minute() {
            board.refill(key, now, view)?;
            board.refilled_minute = now.minute();
        }
        Ok(board.best(window, size))
    }

    /// The boards that changed since this was last asked, as their records.
    pub fn take_changes(&self) -> Vec<(BoardKey, Vec<u8>)> {
        let boards: Vec<_> = self
            .0
            .read()
            .iter()
            .map(|(key, board)| (*key, Arc::clone(board)))
            .collect();
        let mut changes: Vec<_> = boards
            .into_iter()
            .filter_map(|(key, board)| {
                let mut board = board.lock();
                std::mem::take(&mut board.changed).then(|| (key, board.encode()))
            })
            .collect();
        changes.sort();
        changes
    }
}

fn target_ref((kind, target_type): BoardKey, id: &Id) -> TargetRef {
    TargetRef {
        kind,
        target_type,
        id: id.clone(),
    }
}

/// A board that is made of all targets of its kind and type in one go.
#[derive(Default)]
pub struct NewBoard {
    board: Board,
    /// The candidates, and some who were.
    records: FastMap<Id, TargetRecord, FixedState>,
}

impl NewBoard {
    /// Offers a target. Each is offered once.
    pub fn offer(&mut self, id: Id, record: TargetRecord, now: Rev) {
        let before = self.board.candidates.len();
        self.board.offer(&id, &record, now);
        if self.board.candidates.len() > before {
            self.records.insert(id, record);
        }
        if self.board.candidates.len() > MAX_CANDIDATES {
            let records = &self.records;
            self.board.trim(now, |id| records.get(id).cloned());
            let candidates = &self.board.candidates;
            self.records.retain(|id, _| candidates.contains_key(id));
        }
    }

    /// Its record.
    pub fn encode(&self) -> Vec<u8> {
        self.board.encode()
    }
}

impl Board {
    fn offer(&mut self, id: &Id, record: &TargetRecord, now: Rev) {
        if let Some(known) = self.candidates.get_mut(id) {
            if !known.stale {
                known.stale = true;
                self.stale.push(id.clone());
            }
            if known.windows == IN_ALL {
                return;
            }
            let windows = known.windows | above(&self.floors, record, now);
            self.changed |= windows != known.windows;
            known.windows = windows;
            return;
        }
        let windows = above(&self.floors, record, now);
        if windows != 0 {
            self.changed = true;
            self.stale.push(id.clone());
            let candidate = Candidate {
                windows,
                stale: true,
                ..Candidate::default()
            };
            self.candidates.insert(id.clone(), candidate);
        }
    }

    /// Keeps the best of each window and raises the floors to the best of the rest.
    fn trim(&mut self, now: Rev, record_of: impl Fn(&Id) -> Option<TargetRecord>) {
        let known: Vec<(Id, [i64; WINDOWS])> = self
            .candidates
            .iter()
            .map(|(id, candidate)| {
                let potentials = match record_of(id) {
                    Some(record) => Window::EVERY.map(|window| potential(&record, window, now)),
                    None => candidate.scores,
                };
                (id.clone(), potentials)
            })
            .collect();
        for place in 0..WINDOWS {
            let bit = 1 << place;
            let inside = |id: &Id| {
                self.candidates
                    .get(id)
                    .is_some_and(|c| c.windows & bit != 0)
            };
            let mut order: Vec<(i64, &Id)> = known
                .iter()
                .filter(|(id, _)| inside(id))
                .map(|(id, potentials)| (potentials[place], id))
                .collect();
            if order.len() <= KEPT_CANDIDATES {
                continue;
            }
            order.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
            self.floors[place] = self.floors[place].max(order[KEPT_CANDIDATES].0);
            for (_, id) in &order[KEPT_CANDIDATES..] {
                if let Some(candidate) = self.candidates.get_mut(*id) {
                    candidate.windows &= !bit;
                }
            }
        }
        self.candidates
            .retain(|_, candidate| candidate.windows != 0);
        self.stale.retain(|id| self.candidates.contains_key(id));
        self.changed = true;
    }

    /// Brings the scores up to date.
    fn score(
        &mut self,
        now: Rev,
        record_of: impl Fn(&Id) -> Result<TargetRecord, ReadError>,
    ) -> Result<(), ReadError> {
        if self.scored_minute != now.minute() {
            self.stale = self.candidates.keys().cloned().collect();
        }
        while let Some(id) = self.stale.last() {
            let record = record_of(id)?;
            if let Some(candidate) = self.candidates.get_mut(id) {
                candidate.scores = Window::EVERY.map(|window| score(&record, window, now));
                candidate.count = record.count;
                candidate.stale = false;
            }
            self.stale.pop();
        }
        self.scored_minute = now.minute();
        Ok(())
    }

    /// Whether no target outside the candidates can belong into the top.
    fn is_certain(&self, window: Window, size: usize) -> bool {
        let floor = self.floors[window as usize];
        let best = self.best(window, size);
        floor == 0 || (best.len() == size && best.iter().all(|ranked| ranked.score >= floor))
    }

    fn best(&self, window: Window, size: usize) -> Vec<Ranked> {
        let place = window as usize;
        let inside = self
            .candidates
            .iter()
            .filter(|(_, c)| c.windows & (1 << place) != 0);
        let positive = inside.filter(|(_, candidate)| candidate.scores[place] > 0);
        let mut order: Vec<(i64, &Id, u64)> = positive
            .map(|(id, c)| (c.scores[place], id, c.count))
            .collect();
        let by_rank =
            |a: &(i64, &Id, u64), b: &(i64, &Id, u64)| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1));
        if order.len() > size && size > 0 {
            order.select_nth_unstable_by(size - 1, by_rank);
            order.truncate(size);
        }
        order.sort_unstable_by(by_rank);
        order.truncate(size);
        order
            .into_iter()
            .map(|(score, id, count)| Ranked {
                id: id.clone(),
                score,
                count,
            })
            .collect()
    }

    /// Offers every target there is, with the floors down.
    fn refill(&mut self, key: BoardKey, now: Rev, view: &View) -> Result<(), ReadError> {
        self.floors = [0; WINDOWS];
        let in_deltas = |id: &Id| {
            let target = target_ref(key, id);
            view.deltas()
                .any(|delta| delta.target_shard(&target).target(&target).is_some())
        };
        let trim = |board: &mut Self| {
            if board.candidates.len() > MAX_CANDIDATES {
                board.trim(now, |id| view.target(&target_ref(key, id)).ok());
            }
        };
        for record in view.base.prefix(&TargetRef::records_prefix(key.0, key.1)) {
            let (stored, value) = record?;
            let id = TargetRef::from_key(&stored)?.id;
            if !in_deltas(&id) {
                self.offer(&id, &TargetRecord::decode(&value)?, now);
                trim(self);
            }
        }
        for delta in view.deltas() {
            for shard in delta.target_shards() {
                let of_board = shard
                    .targets()
                    .filter(|(t, _)| (t.kind, t.target_type) == key);
                let ids: Vec<Id> = of_board.map(|(target, _)| target.id.clone()).collect();
                drop(shard);
                for id in ids {
                    self.offer(&id, &view.target(&target_ref(key, &id))?, now);
                    trim(self);
                }
            }
        }
        self.score(now, |id| view.target(&target_ref(key, id)))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for floor in self.floors {
            put_varint(&mut out, zigzag(floor));
        }
        for (id, candidate) in &self.candidates {
            out.push(candidate.windows);
            put_id(&mut out, id);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let mut board = Self::default();
        for floor in &mut board.floors {
            *floor = unzigzag(reader.varint()?);
        }
        while !reader.is_empty() {
            let windows = reader.byte()?;
            let id = reader.id()?;
            board.stale.push(id.clone());
            board.candidates.insert(
                id,
                Candidate {
                    windows,
                    stale: true,
                    ..Candidate::default()
                },
            );
        }
        Ok(board)
    }
}

/// The windows in which a target's potential is above the floor, as bits.
fn above(floors: &[i64; WINDOWS], record: &TargetRecord, now: Rev) -> u8 {
    let mut windows = 0;
    for (place, window) in Window::EVERY.into_iter().enumerate() {
        if potential(record, window, now) > floors[place] {
            windows |= 1 << place;
        }
    }
    windows
}
