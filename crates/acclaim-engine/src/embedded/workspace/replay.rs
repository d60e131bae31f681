//! Doing again what the log says, and what jobs and repairs say that is no op.

use std::sync::Arc;

use acclaim_core::{EdgeState, ReadError, Rev};

use super::{Place, TargetWork, Workspace};
use crate::embedded::codec::Damaged;
use crate::embedded::dictionary::Dictionary;
use crate::embedded::key::{EdgeRef, UserRef};
use crate::embedded::log::{ChangeEntry, Entry, UserAdjustment};
use crate::embedded::record::TargetRecord;

impl Workspace<'_> {
    /// Does what an entry says that is no op: corrections and erasure.
    pub fn enter(&mut self, entry: Entry) -> Result<(), ReadError> {
        self.replay(&entry)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Does again what an entry of the log says.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read or the entry does not fit it.
    pub fn replay(&mut self, entry: &Entry) -> Result<(), ReadError> {
        match entry {
            Entry::Change(change) => {
                let place = self.load_from_log(change)?;
                let fits = self.state(place) == change.before;
                let count = self.change(&change.edge, place, change.after, change.seq)?;
                if !fits || count != change.count {
                    return Err(Damaged(
                        "a transition in the log does not follow from what was before",
                    )
                    .into());
                }
            }
            Entry::Note(key, value) => {
                if Dictionary::is_type(key) {
                    Arc::make_mut(&mut self.dictionary).learn(key);
                }
                self.notes.insert(key.clone(), value.clone());
            }
            Entry::ForgetEdge(edge) => self.forget_edge(edge)?,
            Entry::ForgetTarget(target) => {
                let work = self.target(target)?;
                work.record = TargetRecord::default();
                work.changed = true;
            }
            Entry::ForgetUser(user) => {
                let place = self.user(user)?;
                let record = std::mem::take(&mut self.users[place].record);
                self.unmark_days(user.kind, &record);
            }
            Entry::AdjustTarget(target, by) => {
                let work = self.target(target)?;
                work.record.count = work.record.count.saturating_add_signed(*by);
                work.changed = true;
            }
            Entry::AdjustUser(user, by) => self.adjust_user(user, by)?,
        }
        Ok(())
    }

    fn forget_edge(&mut self, edge: &EdgeRef) -> Result<(), ReadError> {
        let place = self.load(edge)?;
        let before = self.state(place);
        if before.rev == Rev::ZERO || before.active {
            return Ok(());
        }
        let user = self.user(&edge.user_ref())?;
        self.put(place, user, EdgeState::default());
        let record = &mut self.users[user].record;
        record.edges = record.edges.saturating_sub(1);
        Ok(())
    }

    fn adjust_user(&mut self, user: &UserRef, by: &UserAdjustment) -> Result<(), ReadError> {
        let place = self.user(user)?;
        let record = &mut self.users[place].record;
        record.edges = record.edges.saturating_add_signed(by.edges);
        record.mutual = record.mutual.saturating_add_signed(by.mutual);
        if by.given != 0 {
            let given = &mut record.of_type(by.target_type).given;
            *given = given.saturating_add_signed(by.given);
        }
        Ok(())
    }

    /// Brings in the edge of a logged transition, whose state before it is in the log; so a replay
    /// looks up no edge.
    fn load_from_log(&mut self, change: &ChangeEntry) -> Result<Place, ReadError> {
        let target = change.edge.target_ref();
        let place = match self.targets.get_index_of(&target) {
            Some(place) => place,
            None => {
                let record = self.view.target(&target)?;
                self.targets.insert_full(target, TargetWork::new(record)).0
            }
        };
        match self.edges.get(&(place, change.edge.user.clone())) {
            Some(at) => Ok((place, *at)),
            None => Ok(self.add_edge(place, &change.edge, change.before)),
        }
    }
}
