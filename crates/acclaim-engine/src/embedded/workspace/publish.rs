//! Making a commit visible.

use std::thread;

use foldhash::fast::FixedState;
use indexmap::IndexMap;

use super::{Outlet, TargetWork, UserWork, Workspace};
use crate::embedded::delta::Delta;
use crate::embedded::key::{TargetRef, UserRef};

/// Users below which starting a thread costs more than it brings.
const MIN_USERS_FOR_THREAD: usize = 4_096;

impl Workspace<'_> {
    /// Makes the commit visible in the view's active delta and the numbers beside it.
    pub fn publish(mut self, outlet: &Outlet<'_>) {
        for (target, work) in &self.targets {
            for (change, user) in work.edges.iter().zip(&work.users) {
                let Some(user) = user else { continue };
                let user = &mut self.users[*user];
                let typed = || (target.target_type, target.id.clone());
                if change.before.active {
                    user.removed.push((change.before.rev, typed()));
                }
                if change.after.active {
                    user.added.push((change.after.rev, typed()));
                }
            }
        }
        let (users, targets) = (
            std::mem::take(&mut self.users),
            std::mem::take(&mut self.targets),
        );
        let delta = &self.view.active;
        if users.len() < MIN_USERS_FOR_THREAD {
            publish_users(users, delta);
            self.publish_targets(targets, outlet);
        } else {
            thread::scope(|scope| {
                scope.spawn(|| publish_users(users, delta));
                self.publish_targets(targets, outlet);
            });
        }
        for (key, value) in self.notes {
            delta.put_note(key, value);
        }
        outlet.daily.add(self.daily.iter());
    }

    fn publish_targets(
        &self,
        targets: IndexMap<TargetRef, TargetWork, FixedState>,
        outlet: &Outlet<'_>,
    ) {
        for (target, mut work) in targets {
            if !work.changed {
                continue;
            }
            let mut users = work.users.iter();
            work.edges
                .retain(|_| users.next().is_some_and(Option::is_some));
            self.view
                .active
                .put_target(&target, work.record.clone(), &work.edges);
            // After the record is there to be scored.
            outlet
                .boards
                .touch(&target, &work.record, self.last_seq, self.view);
        }
    }
}

fn publish_users(users: IndexMap<UserRef, UserWork, FixedState>, delta: &Delta) {
    for (user, work) in users.into_iter().filter(|(_, work)| work.changed) {
        delta.put_user(&user, work.record, &work.removed, &work.added);
    }
}
