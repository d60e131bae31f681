//! Where a case plays: an engine, the model beside it, and the clock of both.

use std::sync::Arc;

use acclaim_core::model::Model;
use acclaim_core::port::{
    Clock, Daily, Event, ExportedEdge, Idempotency, ImportSpec, Job, JobId, JobSpec, JobState,
    Place, Ranked, Write,
};
use acclaim_core::pulse::Window;
use acclaim_core::transfer::{Decoded, Decoder, Summary};
use acclaim_core::{EdgeKey, Engine, KindId, Op, Rev, TargetType, Transition, WriteError};

use super::compare::{self, Compare};
use super::words::{START, kinds, set, toggle, unset};
use super::{Ending, Harness};
use crate::ManualClock;

/// How far the clock moves before each write, in microseconds.
const STEP_MICROS: u64 = 1_000;

/// An engine and the model, driven alike.
pub struct Stage {
    harness: Box<dyn Harness>,
    clock: Arc<ManualClock>,
    model: Model,
    compare: Compare,
}

impl Stage {
    /// A stage with an empty engine of the given harness and the [`kinds`] of the suite.
    pub async fn open<H: Harness>() -> Self {
        let clock = ManualClock::at(START);
        let harness = H::open(kinds(), clock.clone()).await;
        let model = Model::partitioned(kinds(), harness.partitions());
        Self {
            harness: Box::new(harness),
            clock,
            model,
            compare: Compare::default(),
        }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> Arc<dyn Engine> {
        self.harness.engine()
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The time on the clock.
    #[must_use]
    pub fn now(&self) -> Rev {
        self.clock.now()
    }

    /// Moves the clock on.
    pub fn advance(&self, micros: u64) {
        self.clock.advance(micros);
    }

    /// Sets the clock.
    pub fn set_clock(&self, now: Rev) {
        self.clock.set(now);
    }

    /// Applies ops as one write, a moment after the last one, and compares every answer.
    ///
    /// # Panics
    /// When the engine refuses, or answers otherwise than the model.
    pub async fn apply(&mut self, ops: Vec<Op>) -> Vec<Transition> {
        self.advance(STEP_MICROS);
        self.apply_now(ops).await
    }

    /// [`Stage::apply`] without moving the clock.
    ///
    /// # Panics
    /// When the engine refuses, or answers otherwise than the model.
    pub async fn apply_now(&mut self, ops: Vec<Op>) -> Vec<Transition> {
        let now = self.now();
        let applied = self.engine().apply(Write::plain(ops.clone())).await;
        let applied = applied.expect("a plain write is taken");
        assert!(!applied.replayed, "a write without a key is no repeat");
        assert_eq!(applied.transitions.len(), ops.len(), "one answer an op");
        for (op, answer) in ops.iter().zip(&applied.transitions) {
            assert_eq!(*answer, self.model.apply(op, now), "the answer to {op:?}");
        }
        applied.transitions
    }

    /// Applies many ops in writes of the largest size.
    pub async fn apply_all(&mut self, ops: Vec<Op>) {
        for part in ops.chunks(acclaim_core::limits::MAX_BATCH_OPS) {
            self.apply(part.to_vec()).await;
        }
    }

    /// Sets one edge.
    pub async fn set(&mut self, edge: &EdgeKey) -> Transition {
        self.apply(vec![set(edge.clone())]).await[0]
    }

    /// Unsets one edge.
    pub async fn unset(&mut self, edge: &EdgeKey) -> Transition {
        self.apply(vec![unset(edge.clone())]).await[0]
    }

    /// Toggles one edge.
    pub async fn toggle(&mut self, edge: &EdgeKey) -> Transition {
        self.apply(vec![toggle(edge.clone())]).await[0]
    }

    /// A write under an idempotency key: its answers, and whether they are those of an earlier
    /// one. What is new is applied to the model too.
    ///
    /// # Errors
    /// Those of the engine.
    ///
    /// # Panics
    /// When the engine answers otherwise than the model.
    pub async fn apply_keyed(
        &mut self,
        key: &str,
        request: &str,
        ops: Vec<Op>,
    ) -> Result<(Vec<Transition>, bool), WriteError> {
        let idempotency = Idempotency::new("stage", key, &[request.as_bytes()]);
        let write = Write {
            idempotency: Some(idempotency),
            ..Write::plain(ops.clone())
        };
        let now = self.now();
        let applied = self.engine().apply(write).await?;
        if !applied.replayed {
            let expected: Vec<_> = ops.iter().map(|op| self.model.apply(op, now)).collect();
            assert_eq!(applied.transitions, expected);
        }
        Ok((applied.transitions, applied.replayed))
    }

    /// Takes over what the engine was told past the stage, at the time that the clock shows.
    ///
    /// # Panics
    /// When the engine answered otherwise than the model.
    pub fn followed(&mut self, ops: Vec<Op>, answers: &[Transition]) {
        let now = self.now();
        let expected: Vec<_> = ops.iter().map(|op| self.model.apply(op, now)).collect();
        assert_eq!(answers, expected);
    }

    /// Ends the engine and opens it again, where it can; then compares everything.
    pub async fn reopen(&mut self, ending: Ending) {
        if self.harness.reopen(ending).await {
            self.compare().await;
        }
    }

    /// Ends the engine and opens it again, where it can, while a job is under way.
    pub async fn reopen_under_way(&mut self, ending: Ending) {
        self.harness.reopen(ending).await;
    }

    /// Returns once all that follows from what was acknowledged can be read.
    pub async fn settle(&self) {
        self.harness.settle().await;
    }

    /// Where the journal ends, which seals it, in the model too.
    ///
    /// # Panics
    /// When the model's journal ends elsewhere.
    pub async fn journal_end(&mut self) -> Place {
        let end = self.model.seal();
        assert_eq!(self.engine().journal_end().await, Ok(end));
        end
    }

    /// The events after a place, as the engine tells them.
    ///
    /// # Panics
    /// When the journal cannot be read.
    pub async fn journal_from(&mut self, after: Place) -> Vec<Event> {
        self.journal_end().await;
        compare::journal_from(self.engine().as_ref(), after).await
    }

    /// A ranking, once it has settled.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn ranking(
        &self,
        kind: KindId,
        target_type: TargetType,
        window: Window,
        size: usize,
    ) -> Vec<Ranked> {
        self.settle().await;
        let engine = self.engine();
        let ranked = engine.ranking(kind, target_type, window, size).await;
        ranked.expect("a ranking is answered")
    }

    /// The numbers of days, once they have settled.
    ///
    /// # Panics
    /// When they cannot be read.
    pub async fn daily(
        &self,
        kind: KindId,
        target_type: Option<TargetType>,
        days: u32,
    ) -> Vec<Daily> {
        self.settle().await;
        let daily = self.engine().daily(kind, target_type, days).await;
        daily.expect("a report is answered")
    }

    /// Starts a job. The journal is sealed before, so that all that the job does comes after its
    /// end of now.
    ///
    /// # Panics
    /// When the job cannot be started.
    pub async fn start_job(&mut self, spec: JobSpec) -> JobId {
        self.journal_end().await;
        let job = self.engine().start_job(spec).await;
        job.expect("a job can be started")
    }

    /// Starts a job, waits for its end, and takes over what it changed from the journal.
    ///
    /// # Panics
    /// When the job cannot be started, fails, or changes what the model cannot follow.
    pub async fn run_job(&mut self, spec: JobSpec) -> Job {
        let job = self.start_job(spec.clone()).await;
        let job = self.job_ended(job).await;
        assert_eq!(job.state, JobState::Done, "{job:?}");
        self.follow_erasure(&spec).await;
        job
    }

    /// Takes over what a job that has ended changed.
    ///
    /// # Panics
    /// When it changed what the model cannot follow.
    pub async fn follow_erasure(&mut self, spec: &JobSpec) {
        self.follow_journal().await;
        if let JobSpec::EraseUser(user) = spec {
            self.model.forget_user(user);
        }
    }

    /// Starts an import of `text` as a job, sent in small pieces.
    ///
    /// # Panics
    /// When the engine does not take it.
    pub async fn start_import(&mut self, spec: ImportSpec, text: &str) -> JobId {
        let engine = self.engine();
        let spool = engine.begin_import(spec).await;
        let mut spool = spool.expect("an import can be begun");
        for piece in text.as_bytes().chunks(1_021) {
            spool.write(piece).await.expect("a piece is taken");
        }
        spool.start().await.expect("an import can be started")
    }

    /// Imports `text` as a job, waits for its end, and compares.
    ///
    /// # Panics
    /// When the job fails, or its summary is not that of a streamed import.
    pub async fn import(&mut self, spec: ImportSpec, text: &str) -> Job {
        self.advance(STEP_MICROS);
        let id = self.start_import(spec.clone(), text).await;
        let job = self.job_ended(id).await;
        assert_eq!(job.state, JobState::Done, "{job:?}");
        self.imported(&spec, text, &job);
        job
    }

    /// Takes over what a job imported at the time that the clock shows.
    ///
    /// # Panics
    /// When its summary is not that of a streamed import.
    pub fn imported(&mut self, spec: &ImportSpec, text: &str, job: &Job) {
        let now = self.now();
        let mut decoder = Decoder::new(spec.format, &kinds(), spec.defaults.clone());
        let mut decoded = Decoded::default();
        let whole = decoder.decode(text.as_bytes(), now, &mut decoded);
        let whole = whole.and_then(|()| decoder.finish(now, &mut decoded));
        whole.expect("a text that can be read");
        let ops = decoded.ops.iter();
        let transitions: Vec<_> = ops.map(|op| self.model.apply(op, now)).collect();
        let mut summary = Summary::default();
        summary.count_applied(&transitions);
        summary.count_rejected(&decoded.rejections);
        assert_eq!(job.import.as_ref(), Some(&summary));
    }

    /// Waits until a job is done or failed.
    ///
    /// # Panics
    /// When the job is not known, or does not end.
    pub async fn job_ended(&self, id: JobId) -> Job {
        let ended = async {
            loop {
                let job = self.engine().job(id).await.expect("jobs can be read");
                let job = job.expect("a started job is known");
                if matches!(job.state, JobState::Done | JobState::Failed) {
                    return job;
                }
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        let limit = std::time::Duration::from_secs(60);
        tokio::time::timeout(limit, ended)
            .await
            .expect("a job ends")
    }

    /// Applies to the model what the engine's journal has beyond it, all of it unsets: what an
    /// erasure does. The model must then agree with each event.
    ///
    /// # Panics
    /// When an event is no unset, or another than the model's.
    async fn follow_journal(&mut self) {
        let mut before = self.model.journal_end();
        let events = compare::journal_from(self.engine().as_ref(), before).await;
        for event in events {
            let place = event.place;
            self.model.apply(&unset(event.edge.clone()), place.seq);
            assert_eq!(self.model.journal_after(before), [event], "an erasure");
            before = place;
        }
        self.journal_end().await;
        // What is erased leaves no trace that has to be compared: an edge that was unset already
        // goes without an event.
        self.compare.forgets = true;
    }

    /// Compares all that can be read.
    pub async fn compare(&mut self) {
        let engine = self.engine();
        // Not settled yet: everybody reads what they wrote.
        self.compare.decided(engine.as_ref(), &self.model).await;
        self.settle().await;
        compare::projected(engine.as_ref(), &self.model, self.now()).await;
        compare::journal(engine.as_ref(), &mut self.model).await;
    }

    /// Compares every ranking.
    pub async fn compare_rankings(&self) {
        self.settle().await;
        compare::rankings(self.engine().as_ref(), &self.model, self.now()).await;
    }

    /// Compares every report of the last `days`.
    pub async fn compare_dailies(&self, days: u32) {
        self.settle().await;
        compare::dailies(self.engine().as_ref(), &self.model, self.now(), days).await;
    }

    /// Every active edge of a kind, in pages of `size`, once they have settled.
    pub async fn exported(&self, kind: KindId, size: usize) -> Vec<ExportedEdge> {
        self.settle().await;
        compare::walk_export(self.engine().as_ref(), kind, size).await
    }

    /// Ends a case: everything is as in the model, and the engine finds nothing wrong in itself.
    pub async fn finish(mut self) {
        self.compare().await;
        compare::check_is_clean(self.engine().as_ref()).await;
    }
}
