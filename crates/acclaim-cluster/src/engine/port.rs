//! The port of `acclaim-core`, answered by the cluster engine.

use acclaim_core::cursor::CursorKey;
use acclaim_core::error::JobError;
use acclaim_core::notify::Notes;
use acclaim_core::port::{
    Admin, Applied, AuditEntry, CheckReport, Count, Daily, DeadLetter, DeadLetterId, Event,
    ExportedEdge, Health, ImportSpec, Job, JobId, JobSpec, Journal, Known, Listing, Place, Ranked,
    Reads, Recovered, Relationship, Resent, Spool, Status, UserNumbers, Write, Writes,
};
use acclaim_core::pulse::Window;
use acclaim_core::{
    EdgeKey, Engine, Id, JournalError, KindId, Kinds, Page, ReadError, Start, Target, TargetKey,
    TargetType, UserKey, WriteError,
};
use async_trait::async_trait;

use super::Cluster;
use super::errors::read_error;
use super::spool::Upload;
use crate::worker::dead_letters;

#[async_trait]
impl Writes for Cluster {
    async fn apply(&self, write: Write) -> Result<Applied, WriteError> {
        self.shared.apply(write).await
    }
}

#[async_trait]
impl Reads for Cluster {
    async fn statuses(&self, edges: Vec<EdgeKey>) -> Result<Vec<Status>, ReadError> {
        let read = || self.shared.statuses(&edges);
        self.shared.in_lives_of_now(read).await
    }

    async fn counts(&self, targets: Vec<TargetKey>) -> Result<Vec<Count>, ReadError> {
        let read = || self.shared.counts(&targets);
        self.shared.in_lives_of_now(read).await
    }

    async fn users(
        &self,
        target: TargetKey,
        start: Start<Id>,
        size: usize,
    ) -> Result<Listing<Id>, ReadError> {
        let read = || self.shared.users(&target, &start, size);
        self.shared.in_lives_of_now(read).await
    }

    async fn targets(
        &self,
        user: UserKey,
        target_type: Option<TargetType>,
        start: Start<Target>,
        size: usize,
    ) -> Result<Listing<Target>, ReadError> {
        let types = target_type.as_ref();
        let read = || self.shared.targets(&user, types, &start, size);
        self.shared.in_lives_of_now(read).await
    }

    async fn numbers(&self, user: UserKey) -> Result<UserNumbers, ReadError> {
        let read = || self.shared.numbers(&user);
        self.shared.in_lives_of_now(read).await
    }

    async fn mutual(
        &self,
        user: UserKey,
        start: Start<Id>,
        size: usize,
    ) -> Result<Page<Id>, ReadError> {
        let read = || self.shared.mutual(&user, &start, size);
        self.shared.in_lives_of_now(read).await
    }

    async fn common(
        &self,
        user: UserKey,
        other: Id,
        start: Start<Target>,
        size: usize,
    ) -> Result<Page<Target>, ReadError> {
        let read = || self.shared.common(&user, &other, &start, size);
        self.shared.in_lives_of_now(read).await
    }

    async fn relationships(
        &self,
        user: UserKey,
        others: Vec<Id>,
    ) -> Result<Vec<Relationship>, ReadError> {
        let read = || self.shared.relationships(&user, &others);
        self.shared.in_lives_of_now(read).await
    }

    async fn known(
        &self,
        user: Id,
        via: KindId,
        target: TargetKey,
        size: usize,
    ) -> Result<Known, ReadError> {
        let read = || self.shared.known(&user, via, &target, size);
        self.shared.in_lives_of_now(read).await
    }

    async fn ranking(
        &self,
        kind: KindId,
        target_type: TargetType,
        window: Window,
        size: usize,
    ) -> Result<Vec<Ranked>, ReadError> {
        let read = || self.shared.ranking(kind, &target_type, window, size);
        self.shared.in_lives_of_now(read).await
    }

    async fn daily(
        &self,
        kind: KindId,
        target_type: Option<TargetType>,
        days: u32,
    ) -> Result<Vec<Daily>, ReadError> {
        let read = || self.shared.daily(kind, target_type.as_ref(), days);
        self.shared.in_lives_of_now(read).await
    }
}

#[async_trait]
impl Journal for Cluster {
    async fn journal_end(&self) -> Result<Place, JournalError> {
        self.shared.journal_end().await
    }

    async fn journal_after(
        &self,
        after: Place,
        max_events: usize,
    ) -> Result<Vec<Event>, JournalError> {
        self.shared.journal_after(after, max_events).await
    }

    async fn journal_passes(&self, after: Place) -> bool {
        self.shared.journal_passes(after).await
    }

    async fn recorded_after(
        &self,
        after: Place,
        max_events: usize,
    ) -> Result<Vec<Event>, JournalError> {
        self.shared.recorded_after(after, max_events).await
    }

    async fn recorded_passes(&self, after: Place) -> bool {
        self.shared.recorded_passes(after).await
    }
}

#[async_trait]
impl Admin for Cluster {
    async fn export(
        &self,
        kind: KindId,
        after: Option<EdgeKey>,
        max_edges: usize,
    ) -> Result<Vec<ExportedEdge>, ReadError> {
        self.shared.export(kind, after.as_ref(), max_edges).await
    }

    async fn recover(&self, target: TargetKey) -> Result<Recovered, JobError> {
        self.shared.recover(&target).await
    }

    async fn start_job(&self, spec: JobSpec) -> Result<JobId, JobError> {
        self.shared.start_job(&spec).await
    }

    async fn begin_import(&self, spec: ImportSpec) -> Result<Box<dyn Spool + '_>, JobError> {
        Ok(Box::new(Upload::begin(&self.shared, spec).await?))
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, ReadError> {
        self.shared.ledger.job(id).await.map_err(read_error)
    }

    async fn check(&self, repair: bool) -> Result<CheckReport, JobError> {
        self.shared.check(repair).await
    }

    async fn check_reports(&self, hours: u32) -> Result<CheckReport, ReadError> {
        self.shared.check_reports(hours).await
    }

    async fn write_audit(&self, action: &str, detail: &str) -> Result<(), WriteError> {
        self.shared.write_audit(action, detail).await
    }

    async fn audit(&self, hours: u32) -> Result<Vec<AuditEntry>, ReadError> {
        self.shared.audit(hours).await
    }

    async fn dead_letters(
        &self,
        after: DeadLetterId,
        max_letters: usize,
    ) -> Result<Vec<DeadLetter>, ReadError> {
        let letters = dead_letters::list(&self.shared.ledger, after, max_letters).await;
        letters.map_err(read_error)
    }

    async fn retry_dead_letter(&self, id: DeadLetterId) -> Result<Option<Resent>, JobError> {
        let (redis, ledger) = (&self.shared.redis, &self.shared.ledger);
        let resent = dead_letters::retry(redis, ledger, &self.shared.kinds, id).await;
        resent.map_err(|error| JobError::Read(read_error(error)))
    }
}

impl Engine for Cluster {
    fn name(&self) -> &'static str {
        "cluster"
    }

    fn kinds(&self) -> &Kinds {
        &self.shared.kinds
    }

    fn cursor_key(&self) -> &CursorKey {
        &self.shared.store.cursor_key
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn notes(&self) -> Option<&dyn Notes> {
        Some(self.ledger_notes())
    }
}
