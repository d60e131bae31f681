//! The task that reads the journal and folds it, as long as the server runs.

use std::time::Duration;

use acclaim_core::notify::consume::{ConsumeError, Consumer, Done, Stepped};
use acclaim_core::notify::{Duty, Key};
use acclaim_core::port::Place;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::{World, told};

/// How long the next events gather after a batch that was not full. Under load a batch is then
/// large, and a notification is never later than that.
const GATHER: Duration = Duration::from_millis(10);
/// The same on an engine that several processes share: its journals lie on other servers, and each
/// look at them costs those as much as many likes.
const GATHER_FROM_AFAR: Duration = Duration::from_millis(200);
/// How long it waits after a failure, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// How often a position that moved is looked at while nothing happens.
const IDLE: Duration = Duration::from_secs(1);
/// How often the events that wait are counted while there are more than a batch takes.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How often all groups are looked at for age.
const SWEEP_EVERY_MICROS: u64 = 3_600 * 1_000_000;

/// Where a sweep stands.
struct Sweep {
    after: Option<Key>,
    is_under_way: bool,
    begun: u64,
}

/// Folds until it is told to stop, or another process has the duty.
pub async fn run(world: World, duty: Duty, mut stop: watch::Receiver<bool>) {
    let mut until = stop.clone();
    let consumer = tokio::select! {
        biased;
        () = told(&mut until) => return,
        consumer = load(&world, duty) => consumer,
    };
    let Some(mut consumer) = consumer else {
        return;
    };
    let gather = match duty.lasts {
        None => GATHER,
        Some(_) => GATHER_FROM_AFAR,
    };
    if !fold(&world, &mut consumer, gather, &mut stop).await {
        return;
    }
    if let Err(failed) = consumer.settle().await {
        // The next start folds again what nothing followed from.
        info!(%failed, "the position of notifications could not be written at the end");
    }
}

async fn load(world: &World, duty: Duty) -> Option<Consumer> {
    let mut wait = RETRY_FIRST;
    loop {
        let (engine, clock) = (world.engine.clone(), world.clock.clone());
        match Consumer::load(engine, world.settings.clone(), clock, duty).await {
            Ok(consumer) => return consumer,
            Err(failed) => {
                error!(%failed, "notifications cannot begin; they try again");
                sleep(wait).await;
                wait = (wait * 2).min(RETRY_LONGEST);
            }
        }
    }
}

/// Answers whether the duty was ours to the end, as far as was seen.
async fn fold(
    world: &World,
    consumer: &mut Consumer,
    gather: Duration,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    let most = world.settings.notifications.batch_max_events as u64;
    let mut wait = RETRY_FIRST;
    let mut counted = Instant::now();
    let mut came_to_nothing = false;
    let mut sweep = Sweep {
        after: None,
        is_under_way: true,
        begun: world.clock.now().0,
    };
    while !*stop.borrow() {
        let pause = match consumer.step().await {
            Ok(Stepped::Folded(done)) => {
                count(world, consumer, &done);
                came_to_nothing = false;
                if done.events < most && !consumer.has_more() {
                    world.metrics.behind.set(0);
                    gather
                } else {
                    count_behind(world, consumer, &mut counted).await;
                    Duration::ZERO
                }
            }
            Ok(Stepped::Idle) => {
                world.metrics.behind.set(0);
                if !sweep.is_under_way && !idle(world, consumer, stop).await {
                    return true;
                }
                // What was waited for may not be there for us yet.
                match std::mem::replace(&mut came_to_nothing, true) {
                    true if !sweep.is_under_way => gather,
                    _ => Duration::ZERO,
                }
            }
            Ok(Stepped::Overtaken) => Duration::ZERO,
            Ok(Stepped::Trimmed { from, to }) => {
                skipped(world, from, to);
                Duration::ZERO
            }
            Err(ConsumeError::Displaced) => return false,
            Err(failed) => {
                world.metrics.failures.inc();
                warn!(%failed, "a batch of notifications could not be folded; it is tried again");
                let paused = wait;
                wait = (wait * 2).min(RETRY_LONGEST);
                paused
            }
        };
        if pause < RETRY_FIRST {
            wait = RETRY_FIRST;
        }
        sweep.go_on(world, consumer).await;
        if !pause.is_zero() {
            tokio::select! {
                biased;
                () = told(stop) => {}
                () = sleep(pause) => {}
            }
        }
    }
    true
}

/// Counts the events that wait, now and then.
async fn count_behind(world: &World, consumer: &Consumer, counted: &mut Instant) {
    if counted.elapsed() < COUNT_EVERY {
        return;
    }
    *counted = Instant::now();
    // What cannot be counted now is counted the next time.
    if let Ok(events) = consumer.behind().await {
        world.metrics.behind.set(events as i64);
    }
}

/// Waits for events; false when the engine is gone.
async fn idle(world: &World, consumer: &Consumer, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        () = told(stop) => true,
        passed = world.engine.recorded_passes(consumer.position()) => passed,
        () = sleep(IDLE), if consumer.is_ahead() => true,
    }
}

fn count(world: &World, consumer: &Consumer, done: &Done) {
    let metrics = &world.metrics;
    metrics.events.inc_by(done.events);
    metrics.told.inc_by(done.tally.told);
    metrics.capped.inc_by(done.tally.capped);
    metrics.queued.inc_by(done.queued);
    metrics.dead.inc_by(done.overflowed);
    let behind = world
        .clock
        .now()
        .0
        .saturating_sub(consumer.position().seq.0);
    metrics.lag.set(behind as f64 / 1e6);
    if done.overflowed > 0 {
        warn!(
            deliveries = done.overflowed,
            "the queue of a webhook is full; deliveries went to the dead letters"
        );
    }
}

fn skipped(world: &World, from: Place, to: Place) {
    if from == Place::START {
        info!(%to, "notifications begin with the oldest event that the journal keeps");
        return;
    }
    world.metrics.skipped.inc();
    warn!(
        %from, %to,
        "the journal was trimmed before notifications had read it; nobody is told of what happened \
         between. Keep more of it: engine.journal_max_bytes and engine.journal_max_seconds, on a \
         cluster worker.unread_max_events"
    );
}

impl Sweep {
    /// Looks at some groups more, once an hour at all of them.
    async fn go_on(&mut self, world: &World, consumer: &Consumer) {
        let now = world.clock.now().0;
        if !self.is_under_way && now.saturating_sub(self.begun) >= SWEEP_EVERY_MICROS {
            (self.is_under_way, self.begun) = (true, now);
        }
        if !self.is_under_way {
            return;
        }
        match consumer.sweep(self.after.take()).await {
            Ok((after, removed)) => {
                world.metrics.expired.inc_by(removed);
                self.is_under_way = after.is_some();
                self.after = after;
            }
            Err(failed) => {
                self.is_under_way = false;
                warn!(%failed, "old notifications could not be removed; the next sweep tries again");
            }
        }
    }
}
