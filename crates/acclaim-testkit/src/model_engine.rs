//! The reference model behind the port, and a clock that tests set by hand.
//!
//! It lets the conformance suite test itself, and routes be tested without a store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use acclaim_core::cursor::CursorKey;
use acclaim_core::error::{JobError, JournalError, ReadError, WriteError};
use acclaim_core::model::{Model, Partitions};
use acclaim_core::notify::Notes;
use acclaim_core::notify::erase::Erased;
use acclaim_core::port::{
    Admin, Applied, AuditEntry, CheckReport, Clock, Count, Daily, DeadLetter, DeadLetterId, Event,
    ExportedEdge, Fingerprint, Health, ImportSpec, Job, JobId, JobSpec, JobState, Journal, Known,
    Listing, Place, Ranked, Reads, Recovered, Relationship, Resent, Spool, Status, UserNumbers,
    Write, Writes,
};
use acclaim_core::pulse::Window;
use acclaim_core::transfer::{Decoded, Decoder, FormatError, Summary};
use acclaim_core::{
    Action, EdgeKey, Engine, Id, KindId, Kinds, Op, Page, Rev, Start, Target, TargetKey,
    TargetType, Transition, UserKey, limits,
};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::memory_notes::MemoryNotes;

/// A clock that moves when told to.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Rev) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(now.0)))
    }

    /// Moves on.
    pub fn advance(&self, micros: u64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }

    /// Shows another time, also an earlier one.
    pub fn set(&self, now: Rev) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Rev {
        Rev(self.0.load(Ordering::Relaxed))
    }
}

struct Answer {
    request: Fingerprint,
    at: Rev,
    transitions: Vec<Transition>,
}

struct State {
    model: Model,
    answers: HashMap<Fingerprint, Answer>,
    jobs: Vec<Job>,
    audit: Vec<AuditEntry>,
}

/// The reference model as an engine: everything in memory, nothing durable.
pub struct ModelEngine {
    kinds: Kinds,
    clock: Arc<dyn Clock>,
    cursor_key: CursorKey,
    state: Mutex<State>,
    /// The highest place of an event.
    newest: watch::Sender<Place>,
    notes: MemoryNotes,
}

impl ModelEngine {
    /// An empty engine of one partition.
    #[must_use]
    pub fn new(kinds: Kinds, clock: Arc<dyn Clock>) -> Self {
        Self::partitioned(kinds, clock, Partitions::one())
    }

    /// An empty engine.
    #[must_use]
    pub fn partitioned(kinds: Kinds, clock: Arc<dyn Clock>, partitions: Partitions) -> Self {
        let model = Model::partitioned(kinds.clone(), partitions);
        let state = State {
            model,
            answers: HashMap::new(),
            jobs: Vec::new(),
            audit: Vec::new(),
        };
        Self {
            kinds,
            clock,
            cursor_key: CursorKey::new([1; 32]),
            state: Mutex::new(state),
            newest: watch::Sender::new(Place::START),
            notes: MemoryNotes::default(),
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Model) -> T) -> T {
        read(&self.state.lock().model)
    }

    fn import(&self, spec: &ImportSpec, text: &[u8]) -> Result<Summary, FormatError> {
        let now = self.clock.now();
        let mut decoder = Decoder::new(spec.format, &self.kinds, spec.defaults.clone());
        let mut decoded = Decoded::default();
        decoder.decode(text, now, &mut decoded)?;
        decoder.finish(now, &mut decoded)?;
        let mut state = self.state.lock();
        let ops = decoded.ops.iter();
        let transitions: Vec<_> = ops.map(|op| state.model.apply(op, now)).collect();
        self.newest.send_replace(state.model.newest_event());
        let mut summary = Summary::default();
        summary.count_applied(&transitions);
        summary.count_rejected(&decoded.rejections);
        Ok(summary)
    }

    /// Remembers a job under an id of its own.
    fn add_job(&self, job: Job) -> JobId {
        let jobs = &mut self.state.lock().jobs;
        let id = jobs.len() as JobId + 1;
        jobs.push(Job { id, ..job });
        id
    }

    fn unset_all(&self, concerns: impl Fn(&EdgeKey) -> bool) -> u64 {
        let mut state = self.state.lock();
        let kinds: Vec<KindId> = self.kinds.iter().map(|(id, _)| id).collect();
        let edges = kinds.into_iter().flat_map(|kind| state.model.export(kind));
        let edges: Vec<EdgeKey> = edges
            .map(|e| e.edge)
            .filter(|edge| concerns(edge))
            .collect();
        for edge in &edges {
            state
                .model
                .apply(&Op::new(Action::Unset, edge.clone()), self.clock.now());
        }
        self.newest.send_replace(state.model.newest_event());
        edges.len() as u64
    }
}

/// The text of an import, which is done at once when it is whole.
struct Text<'a> {
    engine: &'a ModelEngine,
    spec: ImportSpec,
    text: Vec<u8>,
}

#[async_trait]
impl Spool for Text<'_> {
    async fn write(&mut self, piece: &[u8]) -> Result<(), JobError> {
        self.text.extend_from_slice(piece);
        Ok(())
    }

    async fn start(self: Box<Self>) -> Result<JobId, JobError> {
        let total = self.text.len() as u64;
        let mut job = Job {
            id: 0,
            job: format!("import {}", self.spec.format.media_type()),
            state: JobState::Done,
            done: total,
            total,
            error: None,
            import: None,
        };
        match self.engine.import(&self.spec, &self.text) {
            Ok(summary) => job.import = Some(summary),
            Err(error) => {
                job.state = JobState::Failed;
                job.done = 0;
                job.error = Some(error.to_string());
                job.import = Some(Summary::default());
            }
        }
        Ok(self.engine.add_job(job))
    }
}

#[async_trait]
impl Writes for ModelEngine {
    async fn apply(&self, write: Write) -> Result<Applied, WriteError> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if let Some(idempotency) = &write.idempotency
            && let Some(answer) = state.answers.get(&idempotency.key)
            && now.0 < answer.at.0 + limits::IDEMPOTENCY_SECONDS * 1_000_000
        {
            if answer.request != idempotency.request {
                return Err(WriteError::IdempotencyMismatch);
            }
            return Ok(Applied {
                transitions: answer.transitions.clone(),
                replayed: true,
            });
        }
        let transitions: Vec<Transition> = write
            .ops
            .iter()
            .map(|op| state.model.apply(op, now))
            .collect();
        if let Some(idempotency) = write.idempotency {
            let answer = Answer {
                request: idempotency.request,
                at: now,
                transitions: transitions.clone(),
            };
            state.answers.insert(idempotency.key, answer);
        }
        self.newest.send_replace(state.model.newest_event());
        Ok(Applied {
            transitions,
            replayed: false,
        })
    }
}

#[async_trait]
impl Reads for ModelEngine {
    async fn statuses(&self, edges: Vec<EdgeKey>) -> Result<Vec<Status>, ReadError> {
        Ok(self.read(|model| edges.iter().map(|edge| model.status(edge)).collect()))
    }

    async fn counts(&self, targets: Vec<TargetKey>) -> Result<Vec<Count>, ReadError> {
        Ok(self.read(|model| targets.iter().map(|key| model.count(key)).collect()))
    }

    async fn users(
        &self,
        target: TargetKey,
        start: Start<Id>,
        size: usize,
    ) -> Result<Listing<Id>, ReadError> {
        Ok(self.read(|model| model.users(&target, &start, size)))
    }

    async fn targets(
        &self,
        user: UserKey,
        target_type: Option<TargetType>,
        start: Start<Target>,
        size: usize,
    ) -> Result<Listing<Target>, ReadError> {
        Ok(self.read(|model| model.targets(&user, target_type.as_ref(), &start, size)))
    }

    async fn numbers(&self, user: UserKey) -> Result<UserNumbers, ReadError> {
        Ok(self.read(|model| model.numbers(&user)))
    }

    async fn mutual(
        &self,
        user: UserKey,
        start: Start<Id>,
        size: usize,
    ) -> Result<Page<Id>, ReadError> {
        Ok(self.read(|model| model.mutual(&user, &start, size)))
    }

    async fn common(
        &self,
        user: UserKey,
        other: Id,
        start: Start<Target>,
        size: usize,
    ) -> Result<Page<Target>, ReadError> {
        Ok(self.read(|model| model.common(&user, &other, &start, size)))
    }

    async fn relationships(
        &self,
        user: UserKey,
        others: Vec<Id>,
    ) -> Result<Vec<Relationship>, ReadError> {
        Ok(self.read(|model| {
            others
                .iter()
                .map(|id| model.relationship(&user, id))
                .collect()
        }))
    }

    async fn known(
        &self,
        user: Id,
        via: KindId,
        target: TargetKey,
        size: usize,
    ) -> Result<Known, ReadError> {
        Ok(self.read(|model| model.known(&user, via, &target, size)))
    }

    async fn ranking(
        &self,
        kind: KindId,
        target_type: TargetType,
        window: Window,
        size: usize,
    ) -> Result<Vec<Ranked>, ReadError> {
        let now = self.clock.now();
        Ok(self.read(|model| model.ranking(kind, &target_type, window, size, now)))
    }

    async fn daily(
        &self,
        kind: KindId,
        target_type: Option<TargetType>,
        days: u32,
    ) -> Result<Vec<Daily>, ReadError> {
        let now = self.clock.now();
        Ok(self.read(|model| model.daily(kind, target_type.as_ref(), days, now)))
    }
}

#[async_trait]
impl Journal for ModelEngine {
    async fn journal_end(&self) -> Result<Place, JournalError> {
        Ok(self.state.lock().model.seal())
    }

    async fn journal_after(
        &self,
        after: Place,
        max_events: usize,
    ) -> Result<Vec<Event>, JournalError> {
        let mut state = self.state.lock();
        // What is handed out is final.
        state.model.seal();
        let mut events = state.model.journal_after(after);
        events.truncate(max_events);
        Ok(events)
    }

    async fn journal_passes(&self, after: Place) -> bool {
        let mut newest = self.newest.subscribe();
        // An error means that the engine is gone.
        newest.wait_for(|newest| *newest > after).await.is_ok()
    }
}

#[async_trait]
impl Admin for ModelEngine {
    async fn export(
        &self,
        kind: KindId,
        after: Option<EdgeKey>,
        max_edges: usize,
    ) -> Result<Vec<ExportedEdge>, ReadError> {
        let edges = self.read(|model| model.export(kind)).into_iter();
        let rest = edges.filter(|e| after.as_ref().is_none_or(|after| e.edge > *after));
        Ok(rest.take(max_edges).collect())
    }

    async fn recover(&self, target: TargetKey) -> Result<Recovered, JobError> {
        let count = self.read(|model| model.count(&target).count);
        Ok(Recovered {
            count_before: count,
            count_after: count,
            edges: count,
        })
    }

    async fn start_job(&self, spec: JobSpec) -> Result<JobId, JobError> {
        let (job, done) = match &spec {
            JobSpec::EraseUser(user) => (
                format!("erase user {user}"),
                self.unset_all(|edge| edge.user == *user || edge.target.is_user(user)),
            ),
            JobSpec::EraseTarget(target) => (
                format!("erase target {target}"),
                self.unset_all(|edge| edge.target == *target),
            ),
            JobSpec::Recover(kind) => (format!("recover {}", self.kinds.get(*kind).name), 0),
        };
        if let JobSpec::EraseUser(user) = &spec {
            self.state.lock().model.forget_user(user);
        }
        let erased = match spec {
            JobSpec::EraseUser(user) => Some(Erased::User(user)),
            JobSpec::EraseTarget(target) => Some(Erased::Target(target)),
            JobSpec::Recover(_) => None,
        };
        if let Some(erased) = erased {
            let end = self.state.lock().model.newest_event();
            self.notes.erase(&self.kinds, &erased, end)?;
        }
        Ok(self.add_job(Job {
            id: 0,
            job,
            state: JobState::Done,
            done,
            total: done,
            error: None,
            import: None,
        }))
    }

    async fn begin_import(&self, spec: ImportSpec) -> Result<Box<dyn Spool + '_>, JobError> {
        Ok(Box::new(Text {
            engine: self,
            spec,
            text: Vec::new(),
        }))
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, ReadError> {
        let state = self.state.lock();
        Ok(state.jobs.iter().find(|job| job.id == id).cloned())
    }

    async fn check(&self, _repair: bool) -> Result<CheckReport, JobError> {
        let edges = self.read(|model| model.journal_after(Place::START).len() as u64);
        Ok(CheckReport {
            checked: edges,
            ..CheckReport::default()
        })
    }

    async fn check_reports(&self, _hours: u32) -> Result<CheckReport, ReadError> {
        Ok(CheckReport::default())
    }

    async fn write_audit(&self, action: &str, detail: &str) -> Result<(), WriteError> {
        let (action, detail) = (action.to_owned(), detail.to_owned());
        self.state.lock().audit.push(AuditEntry {
            at: self.clock.now(),
            action,
            detail,
        });
        Ok(())
    }

    async fn audit(&self, hours: u32) -> Result<Vec<AuditEntry>, ReadError> {
        let oldest = self
            .clock
            .now()
            .0
            .saturating_sub(u64::from(hours) * 3_600_000_000);
        let audit = &self.state.lock().audit;
        Ok(audit
            .iter()
            .rev()
            .filter(|entry| entry.at.0 >= oldest)
            .cloned()
            .collect())
    }

    async fn dead_letters(
        &self,
        _after: DeadLetterId,
        _max_letters: usize,
    ) -> Result<Vec<DeadLetter>, ReadError> {
        // What is decided is recorded with it.
        Ok(Vec::new())
    }

    async fn retry_dead_letter(&self, _id: DeadLetterId) -> Result<Option<Resent>, JobError> {
        Ok(None)
    }
}

impl Engine for ModelEngine {
    fn name(&self) -> &'static str {
        "model"
    }

    fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    fn cursor_key(&self) -> &CursorKey {
        &self.cursor_key
    }

    fn health(&self) -> Health {
        Health {
            ready: true,
            guarantee: "nothing: the model lives in memory".to_owned(),
            dependencies: Vec::new(),
            backlog_events: 0,
            backlog_millis: 0,
        }
    }

    fn notes(&self) -> Option<&dyn Notes> {
        Some(&self.notes)
    }
}
