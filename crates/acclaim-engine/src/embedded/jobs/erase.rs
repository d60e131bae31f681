//! Erasure: every edge of a user or of a target goes, with everything that follows from it.
//!
//! First what the lists name, so that what others see is right soon; then a sweep over all edges,
//! which also finds inactive ones that no list names. Each edge is unset like any other, with its
//! event and its counts, and then forgotten. At the end the records go too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use acclaim_core::notify::erase as notify;
use acclaim_core::port::Place;
use acclaim_core::{Action, Id, Op, ReadError, Target, TargetType};

use super::super::codec::Damaged;
use super::super::key::{EdgeRef, Key, KindNo, TargetRef, TypeNo, UserRef, tag};
use super::super::log::Entry;
use super::super::notify::{WorkNotes, note_key, notes_of};
use super::super::workspace::Workspace;
use super::{JobRecord, Progress, Runner, StepError, checkpoint};

/// Who or what is erased.
pub enum Erased {
    /// A user: the edges they made, and those whose target they are.
    User(Id),
    /// A target.
    Target(Target),
}

/// One walk over some keys of the base.
struct Pass {
    prefix: Key,
    decode: fn(&[u8]) -> Result<EdgeRef, Damaged>,
}

fn edge_of_list(key: &[u8]) -> Result<EdgeRef, Damaged> {
    EdgeRef::from_target_list_key(key).map(|(edge, _)| edge)
}

/// Which edges go, by numbers.
#[derive(Clone)]
struct Goes {
    user: Option<Id>,
    target: Option<(TypeNo, Id)>,
}

impl Goes {
    fn includes(&self, edge: &EdgeRef) -> bool {
        self.user.as_ref() == Some(&edge.user)
            || self
                .target
                .as_ref()
                .is_some_and(|(t, id)| *t == edge.target_type && *id == edge.target)
    }
}

impl Runner {
    pub(super) fn erase(&self, job: &mut JobRecord, erased: &Erased) -> Result<(), StepError> {
        let dictionary = self.dictionary();
        let target = match erased {
            Erased::User(user) => Target {
                target_type: TargetType::USER,
                id: user.clone(),
            },
            Erased::Target(target) => target.clone(),
        };
        let target_type = dictionary.type_number(&target.target_type);
        let goes = Goes {
            user: match erased {
                Erased::User(user) => Some(user.clone()),
                Erased::Target(_) => None,
            },
            target: target_type.map(|number| (number, target.id.clone())),
        };
        let mut kinds: Vec<KindNo> = dictionary.kinds().map(|(_, number)| number).collect();
        kinds.sort_unstable();
        if job.total == 0 {
            job.total = self.count(&goes, &kinds)?;
        }
        let passes = passes(&goes, &kinds);
        for (number, pass) in passes.iter().enumerate().skip(job.progress.pass) {
            if job.progress.pass != number {
                job.progress = Progress {
                    pass: number,
                    after: Vec::new(),
                };
            }
            // What was in memory is then in the tables, where it can be walked.
            checkpoint(&self.shared, &self.lane)?;
            self.walk(job, pass, &goes)?;
        }
        self.forget(job, &goes, &kinds)?;
        let told = match erased {
            Erased::User(user) => notify::Erased::User(user.clone()),
            Erased::Target(target) => notify::Erased::Target(target.clone()),
        };
        self.forget_notifications(job, &told)?;
        while self.forget_deliveries(job, &told)? > 0 {}
        checkpoint(&self.shared, &self.lane)
    }

    /// Active edges that will go, for the job's total.
    fn count(&self, goes: &Goes, kinds: &[KindNo]) -> Result<u64, ReadError> {
        let view = self.shared.view.load();
        let mut total = 0;
        for kind in kinds {
            if let Some(user) = &goes.user {
                total += view
                    .user(&UserRef {
                        kind: *kind,
                        id: user.clone(),
                    })?
                    .given();
            }
            if let Some((target_type, id)) = goes.target.clone() {
                total += view
                    .count(&TargetRef {
                        kind: *kind,
                        target_type,
                        id,
                    })?
                    .0;
            }
        }
        Ok(total)
    }

    fn walk(&self, job: &mut JobRecord, pass: &Pass, goes: &Goes) -> Result<(), StepError> {
        let view = self.shared.view.load_full();
        let step_edges = self.shared.options.job_step_edges;
        let mut found = Vec::new();
        let after = job.progress.after.clone();
        for record in view.base.prefix_after(&pass.prefix, &after) {
            let (key, _) = record?;
            let edge = (pass.decode)(&key).map_err(ReadError::from)?;
            if goes.includes(&edge) {
                found.push(edge);
            }
            if found.len() >= step_edges {
                job.progress.after = key.to_vec();
                self.erase_edges(job, std::mem::take(&mut found))?;
            }
        }
        self.erase_edges(job, found)
    }

    fn erase_edges(&self, job: &mut JobRecord, edges: Vec<EdgeRef>) -> Result<(), StepError> {
        let active = {
            let view = self.shared.view.load();
            let mut active = 0;
            for edge in &edges {
                active += u64::from(view.edge(edge)?.active);
            }
            active
        };
        job.done += active;
        job.total = job.total.max(job.done);
        let clock = self.shared.clock.clone();
        self.step(job, move |work| {
            for edge in &edges {
                let Some(key) = work.dictionary().edge_key(edge) else {
                    continue;
                };
                work.decide(&Op::new(Action::Unset, key), edge, &[], clock.now())?;
                work.enter(Entry::ForgetEdge(edge.clone()))?;
            }
            Ok(())
        })
    }

    /// Removes notifications, and whose targets are. What is read of them is as it was before the
    /// commit, so the last step is one that found nothing, after one that left the mark.
    fn forget_notifications(
        &self,
        job: &JobRecord,
        erased: &notify::Erased,
    ) -> Result<(), StepError> {
        // The edges are gone by now, so what is to be hidden stands at this place or before it.
        let end = Place::unpartitioned(*self.shared.end.borrow());
        let mut steps = 0;
        loop {
            let is_clean = Arc::new(AtomicBool::new(false));
            let (found, erased) = (Arc::clone(&is_clean), erased.clone());
            let (kinds, max) = (
                self.shared.kinds.clone(),
                self.shared.options.job_step_edges,
            );
            self.step(job, move |work| {
                let look = WorkNotes(work);
                let (changes, clean) = notify::step(&look, &kinds, &erased, end, max)?;
                for (key, value) in changes {
                    work.note(note_key(&key), value);
                }
                found.store(clean, Ordering::Relaxed);
                Ok(())
            })?;
            steps += 1;
            if steps > 1 && is_clean.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    /// Walks over the deliveries to webhooks once and removes those that tell of it. Gives how many
    /// those were.
    fn forget_deliveries(
        &self,
        job: &JobRecord,
        erased: &notify::Erased,
    ) -> Result<usize, StepError> {
        let max = self.shared.options.job_step_edges;
        let mut removed = 0;
        for tag in notify::DELIVERIES {
            let mut after = Vec::new();
            loop {
                let view = self.shared.view.load_full();
                let page = notes_of(&view, &[tag], &after, max)?;
                let gone = notify::deliveries_of(erased, &page)?;
                if !gone.is_empty() {
                    removed += gone.len();
                    self.step(job, move |work| {
                        for key in gone {
                            work.note(note_key(&key), None);
                        }
                        Ok(())
                    })?;
                    self.shared.wakes.send_modify(|wakes| *wakes += 1);
                }
                let Some((last, _)) = page.last().filter(|_| page.len() >= max) else {
                    break;
                };
                after.clone_from(last);
            }
        }
        Ok(removed)
    }

    /// Removes the records of what has no edges any more.
    fn forget(&self, job: &JobRecord, goes: &Goes, kinds: &[KindNo]) -> Result<(), StepError> {
        let (goes, kinds) = (goes.clone(), kinds.to_vec());
        self.step(job, move |work: &mut Workspace<'_>| {
            for kind in kinds {
                if let Some(id) = goes.user.clone() {
                    let user = UserRef { kind, id };
                    if work.view().user(&user)?.edges == 0 {
                        work.enter(Entry::ForgetUser(user))?;
                    }
                }
                if let Some((target_type, id)) = goes.target.clone() {
                    let target = TargetRef {
                        kind,
                        target_type,
                        id,
                    };
                    if work.view().count(&target)?.0 == 0 {
                        work.enter(Entry::ForgetTarget(target))?;
                    }
                }
            }
            Ok(())
        })
    }
}

fn passes(goes: &Goes, kinds: &[KindNo]) -> Vec<Pass> {
    let mut passes = Vec::new();
    for kind in kinds {
        if let Some(id) = goes.user.clone() {
            let prefix = UserRef { kind: *kind, id }.edges_prefix();
            passes.push(Pass {
                prefix,
                decode: EdgeRef::from_key,
            });
        }
        if let Some((target_type, id)) = goes.target.clone() {
            let prefix = TargetRef {
                kind: *kind,
                target_type,
                id,
            }
            .list_prefix();
            passes.push(Pass {
                prefix,
                decode: edge_of_list,
            });
        }
    }
    passes.push(Pass {
        prefix: vec![tag::EDGE],
        decode: EdgeRef::from_key,
    });
    passes
}
