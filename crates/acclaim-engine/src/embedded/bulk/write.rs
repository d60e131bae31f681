//! Writes a load into the base: two passes, then what they left, in the order of the base.

use std::sync::Arc;

use acclaim_core::Rev;

use super::super::base::Base;
use super::super::key::Key;
use super::super::notes::Mark;
use super::super::record::{UserRecord, is_remembered};
use super::exclusive::Exclusive;
use super::mutual::MutualCounts;
use super::sink::{Drain, Sink, sink};
use super::sorter::Sorter;
use super::sources::Loaded;
use super::spool::{SpoolReader, SpoolWriter, unnamed_file};
use super::targets::TargetsPass;
use super::users::{Given, UsersPass};
use super::{BulkError, BulkLoad, READ_BYTES};
use crate::failpoint;

/// Records between two reports of how far it is.
const REPORT_EVERY: u64 = 1 << 16;

/// How far the writing is.
pub struct Progress<'a> {
    report: &'a mut dyn FnMut(u64, u64),
    done: u64,
    of: u64,
}

impl Progress<'_> {
    /// A record is done.
    pub(super) fn advance(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(REPORT_EVERY) {
            (self.report)(self.done, self.of);
        }
    }
}

impl BulkLoad {
    /// Writes everything that was added into the store, durably, and closes it. Tells what became of
    /// the lines of each source. `report` is told now and then how much is done, and of how much.
    /// Blocks.
    ///
    /// # Errors
    /// [`BulkError`]; then the store is as empty as before.
    pub fn finish(mut self, report: &mut dyn FnMut(u64, u64)) -> Result<Vec<Loaded>, BulkError> {
        if self.sources.is_under_way() {
            self.end_source();
        }
        if self.lines.records() + self.exclusive.records() == 0 {
            // Not a line of use: the store stays one that never had a commit.
            return Ok(self.sources.loaded());
        }
        let Some(base) = self.base.clone() else {
            return Err(BulkError::WriterGone);
        };
        let (mut sink, drain) = sink(Arc::clone(&self.interrupted));
        let loaded = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("acclaim-bulk".into());
            let writer = thread.spawn_scoped(scope, || ingest(base, drain))?;
            let written = self.write(&mut sink, report);
            let written = written.and_then(|loaded| sink.finish().map(|()| loaded));
            let ingested = writer.join().unwrap_or(Err(BulkError::WriterGone));
            match written {
                Ok(loaded) => ingested.map(|()| loaded),
                // The other thread has the reason.
                Err(BulkError::WriterGone) => ingested.and(Err(BulkError::WriterGone)),
                Err(error) => Err(error),
            }
        })?;
        failpoint::hit(failpoint::BULK_AFTER_INGEST);
        self.base = None;
        Ok(loaded)
    }

    fn write(
        &mut self,
        sink: &mut Sink,
        report: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<Loaded>, BulkError> {
        let mut lines = std::mem::replace(&mut self.lines, Sorter::new(&self.dir, 0));
        let exclusive = std::mem::replace(&mut self.exclusive, Exclusive::new(&self.dir, 0));
        exclusive.decide(&self.kinds, &self.dictionary, &mut self.sources, &mut lines)?;
        let mut progress = Progress {
            report,
            done: 0,
            // Each line is a record of both passes.
            of: lines.records() * 2,
        };
        let given = Given {
            dictionary: &self.dictionary,
            families: &self.families,
            sources: &mut self.sources,
            first_seq: self.first_seq,
        };
        let users = UsersPass::new(&self.dir, self.chunk_bytes)?;
        let users = users.run(lines.merge()?, given, sink, &mut progress)?;
        let spool = SpoolWriter::new(unnamed_file(&self.dir)?, 0);
        let effects = users.effects.merge()?;
        let targets = TargetsPass::run(spool, effects, users.end, sink, &mut progress)?;
        let mut lists = users.lists.merge()?;
        while lists.advance()? {
            sink.write(lists.key(), &[])?;
        }
        write_targets(targets.records.finish()?.read(READ_BYTES), sink)?;
        let records = users.records.finish()?.read(READ_BYTES);
        write_users(records, users.mutual.finish()?, sink)?;
        let mut days: Vec<_> = users.days.into_iter().collect();
        // As after a checkpoint: nobody can ask for days before these.
        days.retain(|(day, _)| is_remembered(day.day, users.end));
        days.sort_by_key(|(day, _)| day.key());
        for (day, record) in days {
            sink.write(&day.key(), &record.encode())?;
        }
        for (key, board) in targets.boards {
            sink.write(&key, &board)?;
        }
        self.write_notes(users.end, sink)?;
        Ok(self.sources.loaded())
    }

    fn write_notes(&self, end: Rev, sink: &mut Sink) -> Result<(), BulkError> {
        let names = self.names.iter().map(|name| (&name.key, &name.value));
        let mut notes: Vec<(Key, Vec<u8>)> = names.map(|(k, v)| (k.clone(), v.clone())).collect();
        let mark = Mark {
            store: self.store,
            // The log begins with commit 1; none of it is in the base.
            number: 0,
            seq: end,
            answers: 0,
        };
        notes.push((Mark::key(), mark.encode()));
        notes.sort();
        notes
            .iter()
            .try_for_each(|(key, value)| sink.write(key, value))
    }
}

fn ingest(base: Base, drain: Drain) -> Result<(), BulkError> {
    base.ingest(|run| {
        drain.write_into(run)?;
        failpoint::hit(failpoint::BULK_BEFORE_INGEST);
        Ok(())
    })
}

fn write_targets(mut records: SpoolReader, sink: &mut Sink) -> Result<(), BulkError> {
    while records.advance()? {
        sink.write(records.key(), records.value())?;
    }
    Ok(())
}

fn write_users(
    mut records: SpoolReader,
    mut mutual: MutualCounts,
    sink: &mut Sink,
) -> Result<(), BulkError> {
    while records.advance()? {
        match mutual.of_user(records.key())? {
            0 => sink.write(records.key(), records.value())?,
            mutual => {
                let record = UserRecord::decode(records.value())?;
                let record = UserRecord { mutual, ..record };
                sink.write(records.key(), &record.encode())?;
            }
        }
    }
    Ok(())
}
