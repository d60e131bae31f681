//! An engine that fails as it is told to, over the model.

use std::sync::Arc;

use acclaim_core::cursor::CursorKey;
use acclaim_core::error::{JobError, JournalError, ReadError, WriteError};
use acclaim_core::notify::Notes;
use acclaim_core::port::{
    Admin, Applied, AuditEntry, CheckReport, Count, Daily, DeadLetter, DeadLetterId, Event,
    ExportedEdge, Health, ImportSpec, Job, JobId, JobSpec, Journal, Known, Listing, Place, Ranked,
    Reads, Recovered, Relationship, Resent, Spool, Status, UserNumbers, Write, Writes,
};
use acclaim_core::pulse::Window;
use acclaim_core::{
    EdgeKey, Engine, Id, KindId, Kinds, Page, Rev, Start, Target, TargetKey, TargetType, UserKey,
};
use acclaim_testkit::{ManualClock, ModelEngine};
use async_trait::async_trait;
use tokio::sync::watch;

use super::{NOW, kinds};

/// How the engine fails.
#[derive(Clone, Debug, Default)]
pub enum Fault {
    #[default]
    None,
    /// Writes fail with this.
    Write(WriteError),
    /// Reads fail with this.
    Read(ReadError),
    /// Writes wait until the fault is another.
    Hang,
    /// Writes panic.
    Panic,
    /// The journal is trimmed.
    Trimmed,
    /// Jobs wait in line, too many of them.
    Jobs,
    /// Texts of imports cannot be kept, for this reason.
    Spool(JobError),
    /// It is not ready.
    NotReady,
}

/// The model with faults.
pub struct FaultyEngine {
    model: ModelEngine,
    fault: watch::Sender<Fault>,
    /// Writes that have begun.
    pub begun: watch::Sender<u64>,
    /// Texts of imports that are being taken.
    pub spools: watch::Sender<u64>,
    /// Its dead letters. One whose reason is empty is applied when it is sent again.
    pub letters: watch::Sender<Vec<DeadLetter>>,
}

impl FaultyEngine {
    pub fn new(clock: Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self {
            model: ModelEngine::new(kinds(), clock),
            fault: watch::Sender::default(),
            begun: watch::Sender::default(),
            spools: watch::Sender::default(),
            letters: watch::Sender::default(),
        })
    }

    pub fn at_now() -> (Arc<Self>, Arc<ManualClock>) {
        let clock = ManualClock::at(NOW);
        (Self::new(clock.clone()), clock)
    }

    pub fn fail(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    fn read(&self) -> Result<(), ReadError> {
        match &*self.fault.borrow() {
            Fault::Read(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

/// The text of an import, counted and with the fault of its beginning.
struct FaultySpool<'a> {
    fault: Fault,
    spools: &'a watch::Sender<u64>,
    spool: Option<Box<dyn Spool + 'a>>,
}

#[async_trait]
impl Spool for FaultySpool<'_> {
    async fn write(&mut self, piece: &[u8]) -> Result<(), JobError> {
        match &self.fault {
            Fault::Spool(error) => Err(error.clone()),
            _ => self.spool.as_mut().unwrap().write(piece).await,
        }
    }

    async fn start(mut self: Box<Self>) -> Result<JobId, JobError> {
        self.spool.take().unwrap().start().await
    }
}

impl Drop for FaultySpool<'_> {
    fn drop(&mut self) {
        self.spools.send_modify(|spools| *spools -= 1);
    }
}

#[async_trait]
impl Writes for FaultyEngine {
    async fn apply(&self, write: Write) -> Result<Applied, WriteError> {
        self.begun.send_modify(|begun| *begun += 1);
        let mut fault = self.fault.subscribe();
        let hangs = |fault: &Fault| matches!(fault, Fault::Hang);
        let now = fault.wait_for(|fault| !hangs(fault)).await.unwrap().clone();
        match now {
            Fault::Write(error) => Err(error),
            Fault::Panic => panic!("as the test wants it"),
            _ => self.model.apply(write).await,
        }
    }
}

#[async_trait]
impl Reads for FaultyEngine {
    async fn statuses(&self, edges: Vec<EdgeKey>) -> Result<Vec<Status>, ReadError> {
        self.read()?;
        self.model.statuses(edges).await
    }

    async fn counts(&self, targets: Vec<TargetKey>) -> Result<Vec<Count>, ReadError> {
        self.read()?;
        self.model.counts(targets).await
    }

    async fn users(
        &self,
        target: TargetKey,
        start: Start<Id>,
        size: usize,
    ) -> Result<Listing<Id>, ReadError> {
        self.read()?;
        self.model.users(target, start, size).await
    }

    async fn targets(
        &self,
        user: UserKey,
        target_type: Option<TargetType>,
        start: Start<Target>,
        size: usize,
    ) -> Result<Listing<Target>, ReadError> {
        self.read()?;
        self.model.targets(user, target_type, start, size).await
    }

    async fn numbers(&self, user: UserKey) -> Result<UserNumbers, ReadError> {
        self.model.numbers(user).await
    }

    async fn mutual(
        &self,
        user: UserKey,
        start: Start<Id>,
        size: usize,
    ) -> Result<Page<Id>, ReadError> {
        self.model.mutual(user, start, size).await
    }

    async fn common(
        &self,
        user: UserKey,
        other: Id,
        start: Start<Target>,
        size: usize,
    ) -> Result<Page<Target>, ReadError> {
        self.model.common(user, other, start, size).await
    }

    async fn relationships(
        &self,
        user: UserKey,
        others: Vec<Id>,
    ) -> Result<Vec<Relationship>, ReadError> {
        self.model.relationships(user, others).await
    }

    async fn known(
        &self,
        user: Id,
        via: KindId,
        target: TargetKey,
        size: usize,
    ) -> Result<Known, ReadError> {
        self.model.known(user, via, target, size).await
    }

    async fn ranking(
        &self,
        kind: KindId,
        target_type: TargetType,
        window: Window,
        size: usize,
    ) -> Result<Vec<Ranked>, ReadError> {
        self.model.ranking(kind, target_type, window, size).await
    }

    async fn daily(
        &self,
        kind: KindId,
        target_type: Option<TargetType>,
        days: u32,
    ) -> Result<Vec<Daily>, ReadError> {
        self.model.daily(kind, target_type, days).await
    }
}

#[async_trait]
impl Journal for FaultyEngine {
    async fn journal_end(&self) -> Result<Place, JournalError> {
        self.model.journal_end().await
    }

    async fn journal_after(
        &self,
        after: Place,
        max_events: usize,
    ) -> Result<Vec<Event>, JournalError> {
        if matches!(&*self.fault.borrow(), Fault::Trimmed) {
            return Err(JournalError::Trimmed {
                asked: after,
                oldest: Place::unpartitioned(Rev(77)),
            });
        }
        self.model.journal_after(after, max_events).await
    }

    async fn journal_passes(&self, after: Place) -> bool {
        self.model.journal_passes(after).await
    }
}

#[async_trait]
impl Admin for FaultyEngine {
    async fn export(
        &self,
        kind: KindId,
        after: Option<EdgeKey>,
        max_edges: usize,
    ) -> Result<Vec<ExportedEdge>, ReadError> {
        self.read()?;
        self.model.export(kind, after, max_edges).await
    }

    async fn recover(&self, target: TargetKey) -> Result<Recovered, JobError> {
        self.model.recover(target).await
    }

    async fn start_job(&self, spec: JobSpec) -> Result<JobId, JobError> {
        if matches!(&*self.fault.borrow(), Fault::Jobs) {
            return Err(JobError::TooMany { queued: 9 });
        }
        self.model.start_job(spec).await
    }

    async fn begin_import(&self, spec: ImportSpec) -> Result<Box<dyn Spool + '_>, JobError> {
        let fault = self.fault.borrow().clone();
        match fault {
            Fault::Jobs => Err(JobError::TooMany { queued: 9 }),
            fault => {
                self.spools.send_modify(|spools| *spools += 1);
                Ok(Box::new(FaultySpool {
                    fault,
                    spools: &self.spools,
                    spool: Some(self.model.begin_import(spec).await?),
                }))
            }
        }
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, ReadError> {
        self.read()?;
        self.model.job(id).await
    }

    async fn check(&self, repair: bool) -> Result<CheckReport, JobError> {
        self.model.check(repair).await
    }

    async fn check_reports(&self, hours: u32) -> Result<CheckReport, ReadError> {
        self.read()?;
        self.model.check_reports(hours).await
    }

    async fn write_audit(&self, action: &str, detail: &str) -> Result<(), WriteError> {
        let fault = self.fault.borrow().clone();
        match fault {
            Fault::Write(error) => Err(error),
            _ => self.model.write_audit(action, detail).await,
        }
    }

    async fn audit(&self, hours: u32) -> Result<Vec<AuditEntry>, ReadError> {
        self.model.audit(hours).await
    }

    async fn dead_letters(
        &self,
        after: DeadLetterId,
        max_letters: usize,
    ) -> Result<Vec<DeadLetter>, ReadError> {
        self.read()?;
        let letters = self.letters.borrow().clone().into_iter();
        let letters = letters.filter(|letter| letter.id > after);
        Ok(letters.take(max_letters).collect())
    }

    async fn retry_dead_letter(&self, id: DeadLetterId) -> Result<Option<Resent>, JobError> {
        self.read()?;
        let mut resent = None;
        self.letters.send_modify(|letters| {
            let place = letters.iter().position(|letter| letter.id == id);
            resent = place.map(|place| match letters[place].reason.as_str() {
                "" => {
                    letters.remove(place);
                    Resent::Applied
                }
                reason => Resent::Refused(reason.to_owned()),
            });
        });
        Ok(resent)
    }
}

impl Engine for FaultyEngine {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn kinds(&self) -> &Kinds {
        self.model.kinds()
    }

    fn cursor_key(&self) -> &CursorKey {
        self.model.cursor_key()
    }

    fn health(&self) -> Health {
        let ready = !matches!(&*self.fault.borrow(), Fault::NotReady);
        Health {
            ready,
            ..self.model.health()
        }
    }

    fn notes(&self) -> Option<&dyn Notes> {
        self.model.notes()
    }
}
