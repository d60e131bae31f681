//! The task that delivers webhooks, as long as the server runs.
//!
//! It alone takes deliveries out of queues and writes how endpoints stand. What became of a try is
//! committed together with the queue; a crash before that means that it is sent again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acclaim_core::notify::delivery::{DeadDelivery, Delivery, wait_after};
use acclaim_core::notify::endpoint::{Endpoint, Standing, State};
use acclaim_core::notify::keys::{self, tag};
use acclaim_core::notify::queue::{DeadLetterBook, Writer, read_waiting};
use acclaim_core::notify::{Batch, CommitError, Duty, Key, Notes, signature};
use acclaim_core::{ReadError, Rev};
use compact_str::CompactString;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};

use super::lane::Lane;
use super::sender::{Message, Outcome, Sender};
use super::{World, told};

/// Deliveries of one endpoint that are held in memory; the rest waits in the store.
const MAX_HELD: usize = 1_000;
/// How long it waits when the store does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// The longest that it sleeps: a clock that was set is noticed by then.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A try that ended.
struct Tried {
    endpoint: CompactString,
    key: Key,
    outcome: Outcome,
    took: Duration,
}

struct Deliverer {
    world: World,
    duty: Duty,
    /// Somebody changed what is held here, and did not wake us yet.
    is_stale: bool,
    is_displaced: bool,
    sender: Arc<dyn Sender>,
    lanes: BTreeMap<CompactString, Lane>,
    book: DeadLetterBook,
    under_way: JoinSet<Tried>,
}

/// Delivers until it is told to stop, or another process has the duty.
pub async fn run(
    world: World,
    duty: Duty,
    sender: Arc<dyn Sender>,
    mut stop: watch::Receiver<bool>,
) {
    let engine = Arc::clone(&world.engine);
    let Some(notes) = engine.notes() else {
        return;
    };
    let mut deliverer = Deliverer {
        world,
        duty,
        is_stale: false,
        is_displaced: false,
        sender,
        lanes: BTreeMap::new(),
        book: DeadLetterBook::new(Writer::Deliverer),
        under_way: JoinSet::new(),
    };
    let mut seen = None;
    while !*stop.borrow() && !deliverer.is_displaced {
        let wakes = notes.wakes();
        if std::mem::take(&mut deliverer.is_stale) || seen != Some(wakes) {
            match deliverer.load(notes).await {
                Ok(()) => seen = Some(wakes),
                Err(failed) => {
                    warn!(%failed, "webhooks could not be read; they are read again");
                    deliverer.is_stale = true;
                    tokio::select! {
                        biased;
                        () = told(&mut stop) => {}
                        () = sleep(RETRY) => {}
                    }
                    continue;
                }
            }
        }
        let pause = deliverer.send_due();
        deliverer.measure();
        tokio::select! {
            biased;
            () = told(&mut stop) => {}
            Some(tried) = deliverer.under_way.join_next() => match tried {
                Ok(tried) => deliverer.settle(notes, tried).await,
                Err(died) => {
                    // What it was sending is read from the store again, and sent again.
                    warn!(%died, "a delivery died");
                    deliverer.lanes.clear();
                    seen = None;
                }
            },
            _ = notes.woken(wakes) => {}
            () = sleep(pause) => {}
        }
    }
}

impl Deliverer {
    /// Reads endpoints, how they stand and what waits for them.
    async fn load(&mut self, notes: &dyn Notes) -> Result<(), ReadError> {
        let most = self.world.settings.webhooks.max_endpoints;
        let records = notes.scan(keys::all(tag::ENDPOINT), None, most).await?;
        let mut lanes = BTreeMap::new();
        for (key, record) in records {
            let Some(name) = keys::endpoint_name(&key).map(CompactString::from) else {
                continue;
            };
            // How it stands is read each time: whoever puts it again clears that.
            let mut lane = new_lane(notes, &name, record).await?;
            if let Some(known) = self.lanes.remove(&name) {
                // What is under way to where it was before ends before the next of its target.
                (lane.waiting, lane.busy) = (known.waiting, known.busy);
            }
            lanes.insert(name, lane);
        }
        self.lanes = lanes;
        let names: Vec<CompactString> = self.lanes.keys().cloned().collect();
        for name in names {
            self.load_lane(notes, &name).await?;
        }
        Ok(())
    }

    /// Reads what waits for one endpoint, and gives it up where the endpoint is gone.
    async fn load_lane(&mut self, notes: &dyn Notes, name: &str) -> Result<(), ReadError> {
        loop {
            let found = notes
                .scan(keys::of(tag::QUEUE, &name), None, MAX_HELD)
                .await?;
            let Some(lane) = self.lanes.get_mut(name) else {
                return Ok(());
            };
            lane.has_more = found.len() == MAX_HELD;
            let mut held = std::mem::take(&mut lane.waiting);
            for (key, value) in found {
                let delivery = match held.remove(&key) {
                    Some(delivery) => delivery,
                    None => read_waiting(&value)?,
                };
                lane.waiting.insert(key, delivery);
            }
            if !lane.standing.disabled || lane.waiting.is_empty() {
                return Ok(());
            }
            let all: Vec<Key> = lane.waiting.keys().cloned().collect();
            if !self
                .give_up(notes, name, &all, "the endpoint answered 410: it is gone")
                .await?
            {
                return Ok(());
            }
        }
    }

    /// Sends what may be sent; gives how long nothing else is to be.
    fn send_due(&mut self) -> Duration {
        let now = self.world.clock.now();
        let most = self.world.settings.webhooks.max_in_flight_per_endpoint;
        let mut wake_at: Option<Rev> = None;
        for lane in self.lanes.values_mut() {
            let next = lane.next(now, most);
            if let Some(at) = next.wake_at {
                wake_at = Some(wake_at.map_or(at, |earlier| earlier.min(at)));
            }
            for key in next.ready {
                let Some(delivery) = lane.waiting.get(&key) else {
                    continue;
                };
                let message = message(&lane.endpoint, delivery, now);
                let (sender, endpoint) = (Arc::clone(&self.sender), lane.endpoint.name.clone());
                lane.busy.insert(key.clone());
                self.under_way.spawn(async move {
                    let started = Instant::now();
                    let outcome = sender.send(message).await;
                    Tried {
                        endpoint,
                        key,
                        outcome,
                        took: started.elapsed(),
                    }
                });
            }
        }
        let wait = wake_at.map(|at| Duration::from_micros(at.0.saturating_sub(now.0)));
        wait.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }

    /// Commits what became of a try.
    async fn settle(&mut self, notes: &dyn Notes, tried: Tried) {
        self.world.metrics.seconds.observe(tried.took.as_secs_f64());
        let name = tried.endpoint.clone();
        let Some(lane) = self.lanes.get_mut(&name) else {
            // The endpoint was removed, and its queue with it.
            return;
        };
        lane.busy.remove(&tried.key);
        match self.write_down(notes, &tried).await {
            Ok(()) => {}
            Err(failed) => {
                warn!(%failed, webhook = %name, "what became of a delivery could not be written; it is sent again");
                let due = Rev(self.world.clock.now().0 + RETRY.as_micros() as u64);
                let lane = self.lanes.get_mut(&name);
                if let Some(delivery) = lane.and_then(|lane| lane.waiting.get_mut(&tried.key)) {
                    delivery.due = due;
                }
            }
        }
        let is_low = |lane: &Lane| lane.has_more && lane.waiting.len() < MAX_HELD / 2;
        let is_gone = |lane: &Lane| lane.standing.disabled && !lane.waiting.is_empty();
        if self
            .lanes
            .get(&name)
            .is_some_and(|lane| is_low(lane) || is_gone(lane))
            && let Err(failed) = self.load_lane(notes, &name).await
        {
            warn!(%failed, webhook = %name, "its queue could not be read; it is read again with the next change");
        }
    }

    async fn write_down(&mut self, notes: &dyn Notes, tried: &Tried) -> Result<(), String> {
        let now = self.world.clock.now();
        let limits = self.world.settings.webhooks.clone();
        let Some(lane) = self.lanes.get(&tried.endpoint) else {
            return Ok(());
        };
        let Some(delivery) = lane.waiting.get(&tried.key).cloned() else {
            return Ok(());
        };
        let before = lane.standing.state();
        let mut standing = lane.standing.clone();
        let (word, left) = judge(&mut standing, delivery, &tried.outcome, now, &limits);
        self.world.metrics.attempt(word);
        let stands = (
            keys::of(tag::STANDING, &tried.endpoint),
            Some(standing.record()),
        );
        let mut writes = vec![stands.clone()];
        let mut dead = Vec::new();
        let mut stood = None;
        if !matches!(left, Left::Done) {
            // One that was erased meanwhile is not to come back.
            let found = notes.get(vec![tried.key.clone()]).await;
            stood = found.map_err(|error| error.to_string())?.pop().flatten();
            if stood.is_none() {
                self.is_stale = true;
                return Ok(());
            }
        }
        match &left {
            Left::Done => writes.push((tried.key.clone(), None)),
            Left::Again(delivery) => writes.push((tried.key.clone(), Some(delivery.record()))),
            Left::Dead(reason, delivery) => {
                writes.push((tried.key.clone(), None));
                dead.push(DeadDelivery {
                    endpoint: tried.endpoint.to_string(),
                    reason: reason.clone(),
                    at: now,
                    delivery: delivery.clone(),
                });
            }
        }
        let buried = self.book.bury(notes, &limits, &dead).await;
        writes.extend(buried.map_err(|error| error.to_string())?);
        let endpoint = keys::of(tag::ENDPOINT, &tried.endpoint);
        let mut batch = Batch::of(writes)
            .on(self.duty)
            .expecting(endpoint, Some(lane.record.clone()))
            .expecting(stands.0, lane.stands.clone());
        if stood.is_some() {
            batch = batch.expecting(tried.key.clone(), stood);
        }
        match notes.commit(batch).await {
            Ok(()) => {}
            // The endpoint was put again or removed; what was sent to the one before counts for
            // nothing.
            Err(CommitError::Conflict) => {
                self.is_stale = true;
                return Ok(());
            }
            Err(CommitError::Displaced) => {
                self.is_displaced = true;
                return Ok(());
            }
            Err(CommitError::Write(error)) => return Err(error.to_string()),
        }
        self.world.metrics.dead.inc_by(dead.len() as u64);
        tell(&tried.endpoint, before, &standing);
        let Some(lane) = self.lanes.get_mut(&tried.endpoint) else {
            return Ok(());
        };
        (lane.standing, lane.stands) = (standing, stands.1);
        match left {
            Left::Again(delivery) => lane.waiting.insert(tried.key.clone(), delivery),
            Left::Done | Left::Dead(..) => lane.waiting.remove(&tried.key),
        };
        Ok(())
    }

    /// Makes dead letters of deliveries; false where somebody was faster.
    async fn give_up(
        &mut self,
        notes: &dyn Notes,
        name: &str,
        all: &[Key],
        reason: &str,
    ) -> Result<bool, ReadError> {
        let now = self.world.clock.now();
        let stood = notes.get(all.to_vec()).await?;
        let Some(lane) = self.lanes.get_mut(name) else {
            return Ok(false);
        };
        let mut dead = Vec::new();
        let mut batch = Batch::default().on(self.duty);
        for (key, stood) in all.iter().zip(stood) {
            let Some(delivery) = lane.waiting.remove(key) else {
                continue;
            };
            // One that was erased meanwhile is not to come back.
            if stood.is_none() {
                continue;
            }
            batch.writes.push((key.clone(), None));
            batch.expected.push((key.clone(), stood));
            if !delivery.is_test {
                dead.push(DeadDelivery {
                    endpoint: name.to_owned(),
                    reason: reason.to_owned(),
                    at: now,
                    delivery,
                });
            }
        }
        let batch = batch.expecting(keys::of(tag::ENDPOINT, &name), Some(lane.record.clone()));
        let limits = &self.world.settings.webhooks;
        let buried = self.book.bury(notes, limits, &dead).await?;
        let mut batch = batch;
        batch.writes.extend(buried);
        match notes.commit(batch).await {
            Ok(()) => {
                self.world.metrics.dead.inc_by(dead.len() as u64);
                Ok(true)
            }
            Err(CommitError::Conflict) => {
                self.is_stale = true;
                Ok(false)
            }
            Err(CommitError::Displaced) => {
                self.is_displaced = true;
                Ok(false)
            }
            Err(CommitError::Write(error)) => Err(ReadError::Store(error.to_string())),
        }
    }

    fn measure(&self) {
        let metrics = &self.world.metrics;
        let waiting: usize = self.lanes.values().map(|lane| lane.waiting.len()).sum();
        metrics.waiting.set(waiting as i64);
        let of = |state| {
            self.lanes
                .values()
                .filter(|lane| lane.standing.state() == state)
                .count()
        };
        metrics.paused.set(of(State::Paused) as i64);
        metrics.disabled.set(of(State::Disabled) as i64);
    }
}

async fn new_lane(notes: &dyn Notes, name: &str, record: Vec<u8>) -> Result<Lane, ReadError> {
    let stands = vec![keys::of(tag::STANDING, &name)];
    let stands = notes.get(stands).await?.pop().flatten();
    let standing = stands.as_deref().map(Standing::read).transpose()?;
    Ok(Lane {
        endpoint: Endpoint::read(&record)?,
        record,
        standing: standing.unwrap_or_default(),
        stands,
        waiting: BTreeMap::new(),
        has_more: false,
        busy: Default::default(),
    })
}

fn message(endpoint: &Endpoint, delivery: &Delivery, now: Rev) -> Message {
    let seconds = now.0 / 1_000_000;
    let signed = signature::sign(
        &endpoint.secret,
        &delivery.id,
        seconds,
        delivery.body.as_bytes(),
    );
    Message {
        url: endpoint.url.clone(),
        id: delivery.id.clone(),
        seconds,
        // Secrets are made by us; one that is none signs nothing, and no receiver takes that.
        signature: signed.unwrap_or_default(),
        body: delivery.body.clone(),
    }
}

/// What is left of a delivery after a try.
enum Left {
    Done,
    Again(Delivery),
    Dead(String, Delivery),
}

/// What follows from a try, and a word for it.
fn judge(
    standing: &mut Standing,
    delivery: Delivery,
    outcome: &Outcome,
    now: Rev,
    limits: &acclaim_core::notify::WebhookLimits,
) -> (&'static str, Left) {
    match outcome {
        Outcome::Taken(status) => {
            standing.succeeded(now, *status);
            ("taken", Left::Done)
        }
        Outcome::Gone => {
            standing.gone(now);
            let reason = "the endpoint answered 410: it is gone".to_owned();
            match delivery.is_test {
                true => ("gone", Left::Done),
                false => ("gone", Left::Dead(reason, delivery)),
            }
        }
        Outcome::Failed {
            status,
            error,
            retry_after,
        } => {
            standing.failed(now, *status, error, limits);
            let attempts = delivery.attempts.saturating_add(1);
            if delivery.is_test {
                return ("failed", Left::Done);
            }
            if attempts >= limits.max_attempts {
                let reason = format!("given up after {attempts} tries; the last: {error}");
                return ("failed", Left::Dead(reason, delivery));
            }
            let longest = Duration::from_secs(limits.retry_max_seconds);
            let wait = wait_after(attempts, limits, rand::random());
            let wait = wait.max(retry_after.unwrap_or_default().min(longest));
            let due = Rev(now.0.saturating_add(wait.as_micros() as u64));
            let again = Delivery {
                attempts,
                due,
                ..delivery
            };
            ("failed", Left::Again(again))
        }
    }
}

fn tell(webhook: &str, before: State, standing: &Standing) {
    let why = standing
        .last
        .as_ref()
        .and_then(|last| last.error.as_deref())
        .unwrap_or_default();
    match (before, standing.state()) {
        (State::Active, State::Paused) => {
            warn!(
                webhook,
                failures = standing.failures,
                why,
                "a webhook keeps failing and is paused"
            );
        }
        (State::Active | State::Paused, State::Disabled) => {
            warn!(webhook, why, "a webhook is gone and disabled");
        }
        (State::Paused, State::Active) => info!(webhook, "a webhook takes deliveries again"),
        _ => {}
    }
}
