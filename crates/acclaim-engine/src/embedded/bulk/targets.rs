//! The second pass: what happened to each target, newest first.
//!
//! It writes the targets' lists and folds their records and the boards of their rankings.

use acclaim_core::Rev;
use acclaim_core::pulse::{Pulse, Window};

use super::super::board::NewBoard;
use super::super::key::{EdgeBytes, Key, KindNo, TargetRef, TypeNo, board_key};
use super::super::record::TargetRecord;
use super::line::Effect;
use super::sink::Sink;
use super::sorter::Merge;
use super::spool::SpoolWriter;
use super::{BulkError, Progress};

/// What the pass leaves to be written.
pub struct TargetsPass {
    /// The targets' records, by their keys.
    pub records: SpoolWriter,
    /// The boards, by their keys.
    pub boards: Vec<(Key, Vec<u8>)>,
}

impl TargetsPass {
    /// Goes over all effects, by the keys of the targets' lists. `now` is the last place in the
    /// journal.
    pub fn run(
        records: SpoolWriter,
        mut effects: Merge,
        now: Rev,
        sink: &mut Sink,
        progress: &mut Progress<'_>,
    ) -> Result<Self, BulkError> {
        let mut fold = Fold {
            pass: Self {
                records,
                boards: Vec::new(),
            },
            now,
            oldest_minute: Window::Month.first_minute(now),
            target: Target::default(),
            board: None,
        };
        while effects.advance()? {
            progress.advance();
            let (edge, rev) = EdgeBytes::of_target_list_key(effects.key())?;
            let effect = Effect::read(effects.value(), rev)?;
            fold.take(&edge, rev, effect)?;
            if effect.listed {
                sink.write(effects.key(), &[])?;
            }
        }
        fold.end_target()?;
        fold.end_board();
        Ok(fold.pass)
    }
}

/// The target under way.
#[derive(Default)]
struct Target {
    /// Where the record lies; empty before the first target.
    key: Key,
    kind: KindNo,
    target_type: TypeNo,
    /// The id as it lies in keys.
    id: Vec<u8>,
    count: u64,
    rev: Rev,
    /// The net of each minute, newest first. A month has 43,200.
    minutes: Vec<(u32, i32)>,
}

struct Fold {
    pass: TargetsPass,
    now: Rev,
    /// No window reaches behind it.
    oldest_minute: u32,
    target: Target,
    board: Option<((KindNo, TypeNo), NewBoard)>,
}

impl Fold {
    fn take(&mut self, edge: &EdgeBytes<'_>, rev: Rev, effect: Effect) -> Result<(), BulkError> {
        let known = &self.target;
        let is_known = known.id == edge.target
            && (known.kind, known.target_type) == (edge.kind, edge.target_type);
        if !is_known {
            self.end_target()?;
            edge.put_target_key(&mut self.target.key);
            self.target.kind = edge.kind;
            self.target.target_type = edge.target_type;
            self.target.id.extend_from_slice(edge.target);
        }
        let target = &mut self.target;
        target.count += u64::from(effect.listed);
        target.rev = target.rev.max(effect.seq);
        let minute = rev.minute();
        if minute < self.oldest_minute {
            return Ok(());
        }
        let net = if effect.set { 1 } else { -1 };
        match target.minutes.last_mut() {
            Some((last, sum)) if *last == minute => *sum += net,
            _ => target.minutes.push((minute, net)),
        }
        Ok(())
    }

    fn end_target(&mut self) -> Result<(), BulkError> {
        let target = &mut self.target;
        if target.key.is_empty() {
            return Ok(());
        }
        let oldest_first = target.minutes.drain(..).rev();
        let record = TargetRecord {
            count: std::mem::take(&mut target.count),
            rev: std::mem::take(&mut target.rev),
            pulse: Pulse::of_minutes(oldest_first, self.now),
        };
        self.pass.records.push(&target.key, &record.encode())?;
        let id = TargetRef::from_key(&target.key)?.id;
        let of = (target.kind, target.target_type);
        target.key.clear();
        target.id.clear();
        if self.board.as_ref().is_none_or(|(known, _)| *known != of) {
            self.end_board();
        }
        let (_, board) = self.board.get_or_insert_with(|| (of, NewBoard::default()));
        board.offer(id, record, self.now);
        Ok(())
    }

    fn end_board(&mut self) {
        if let Some(((kind, target_type), board)) = self.board.take() {
            let key = board_key(kind, target_type);
            self.pass.boards.push((key, board.encode()));
        }
    }
}
