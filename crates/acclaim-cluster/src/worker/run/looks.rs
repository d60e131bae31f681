//! Looking at all partitions in one go, and what is seen of each.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::drain::Tools;
use super::super::look::{Seen, look};
use super::super::pause::pause;
use super::super::relay::published_upto;
use super::super::share::{Held, Work};
use super::super::watched::{add, set};
use super::{Done, Run};
use crate::ledger::Lease;
use crate::redis::journal::Marks;

impl Run {
    pub(super) fn begin_look(&mut self, now: Instant) {
        let measures = now >= self.measures_at;
        let leases: Vec<Lease> = self
            .share
            .iter()
            .filter(|held| !held.rests(now) && (measures || !held.is_busy))
            .map(|held| held.lease)
            .collect();
        self.looks_at = now + self.look_pause;
        // Nothing to look at is a look too, for one who stops; what rests cannot be seen.
        if leases.is_empty() {
            if let Some(stopping) = &mut self.stopping {
                stopping.looked = true;
            }
            return;
        }
        let whole = measures && leases.len() == self.share.len();
        if whole {
            self.measures_at = now + Duration::from_millis(self.tools.limits.measure_millis);
        }
        self.is_looking = true;
        add(&self.tools.watched.polls, 1_u64);
        let tools = Arc::clone(&self.tools);
        self.under_way.spawn(async move {
            let has_bus = tools.carrier.is_some();
            Done::Looked(look(&tools.redis, leases, whole, has_bus, tools.now()).await)
        });
    }

    pub(super) fn note_look(&mut self, seen: Seen, now: Instant) {
        self.is_looking = false;
        let linger = match &self.tools.carrier {
            None => self.tools.limits.linger(),
            // It is gathered behind the bus.
            Some(_) => Duration::ZERO,
        };
        let mut somebody_waits = false;
        let mut failed = None;
        for (lease, marks) in seen.marks {
            let Some(held) = self.share.under(lease) else {
                continue;
            };
            match marks {
                Ok(marks) => {
                    if note_marks(&self.tools, held, marks, now, linger) {
                        somebody_waits = true;
                    }
                }
                Err(error) => {
                    if !held.is_busy {
                        held.fail(now, pause(&self.tools.limits, held.failures + 1));
                    }
                    failed = Some(error);
                }
            }
        }
        if let Some(error) = failed {
            add(&self.tools.watched.redis_failures, 1_u64);
            tracing::debug!(%error, "partitions cannot be looked at");
        }
        if let Some(backlog) = seen.backlog {
            set(&self.tools.watched.backlog_events, backlog.events);
            set(
                &self.tools.watched.backlog_millis,
                backlog.oldest.as_millis(),
            );
        }
        if let Some(unpublished) = seen.unpublished {
            let watched = &self.tools.watched;
            set(&watched.relay_backlog_events, unpublished.events);
            let millis = unpublished.oldest.as_millis();
            set(&watched.relay_backlog_millis, millis);
        }
        let limits = &self.tools.limits;
        self.look_pause = if somebody_waits {
            Duration::from_millis(limits.poll_min_millis)
        } else {
            (self.look_pause * 2).min(Duration::from_millis(limits.poll_max_millis))
        };
        self.looks_at = self.looks_at.min(now + self.look_pause);
        if std::mem::take(&mut self.looks_again) {
            self.looks_at = now;
        } else if let Some(stopping) = &mut self.stopping {
            stopping.looked = true;
            self.make_all_due(now);
        }
    }

    pub(super) fn hurry(&mut self) {
        let asked = self.desk.take_asked();
        let now = Instant::now();
        if let Some(carrier) = self.tools.carrier.as_ref().filter(|_| !asked.is_empty()) {
            carrier.hurry();
        }
        for partition in asked {
            add(&self.tools.watched.hurries, 1_u64);
            if let Some(held) = self.share.get(partition) {
                held.is_asked = true;
                held.want(now);
            }
        }
    }
}

/// What a partition's marks ask for. Answers whether somebody waits for the ledger.
fn note_marks(
    tools: &Tools,
    held: &mut Held,
    marks: Marks,
    now: Instant,
    linger: Duration,
) -> bool {
    if held.is_busy {
        return false;
    }
    let Marks::Known {
        last,
        durable,
        wanted,
        published,
        ..
    } = marks
    else {
        if marks == Marks::Cold {
            held.reached = acclaim_core::Rev::ZERO;
        }
        held.want(now);
        return false;
    };
    if last < held.reached {
        add(&tools.watched.went_back, 1_u64);
        tracing::error!(
            partition = held.lease.partition,
            last = last.0,
            ledger = held.reached.0,
            "Redis has less of a partition than the ledger: it came back with a part of what it had"
        );
        held.reached = last;
    }
    held.reached = held.reached.max(durable);
    if last <= durable {
        held.work = Work::Nothing;
        held.succeed();
        return false;
    }
    let is_wanted = wanted > durable;
    if let Some(carrier) = &tools.carrier {
        if is_wanted {
            carrier.hurry();
        }
        let upto = published_upto(published, held.lease.turn, durable);
        if let Some((seen, until)) = held.waits.filter(|_| upto > durable)
            && seen >= last
        {
            // All of it is on its way.
            held.want(until);
            return is_wanted;
        }
    }
    held.want(if is_wanted { now } else { now + linger });
    is_wanted
}
