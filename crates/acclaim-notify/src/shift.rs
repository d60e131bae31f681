//! Who works: takes the duty, folds and delivers while it has it, and stops when it may be somebody
//! else's.
//!
//! An engine that several processes share gives the duty to one of them for some time. It is
//! prolonged at a third of that. One who cannot prolong it stops before it ends, by a clock that
//! began to run before it was asked for; so two send only where a process stood still. What one of
//! them then writes, the engine refuses.

use std::sync::Arc;
use std::time::Duration;

use acclaim_core::notify::{Duty, Notes};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use super::sender::Sender;
use super::{World, consumer, deliverer, told};

/// How often it is looked whether the duty is free.
const RETRY: Duration = Duration::from_millis(250);

/// How long those who work may take to end what they are at, and giving the duty back. What is cut
/// off is done again by whoever is next.
const END_MAX: Duration = Duration::from_secs(2);

/// Why a shift ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The process stops.
    Stopped,
    /// The duty is somebody else's, or may be.
    Displaced,
}

/// Works whenever it has the duty, until it is told to stop.
pub async fn run(world: World, sender: Arc<dyn Sender>, mut stop: watch::Receiver<bool>) {
    let engine = Arc::clone(&world.engine);
    let Some(notes) = engine.notes() else {
        return;
    };
    while !*stop.borrow() {
        let asked = Instant::now();
        let taken = tokio::select! {
            biased;
            () = told(&mut stop) => return,
            taken = notes.take_duty() => taken,
        };
        match taken {
            Ok(Some(duty)) => {
                info!(
                    fence = duty.fence,
                    "notifications are folded and delivered here"
                );
                world.metrics.on_duty.set(1);
                let ended = work(&world, &sender, notes, duty, asked, &mut stop).await;
                world.metrics.leave();
                match ended {
                    // Where that takes too long, it ends by itself.
                    Ended::Stopped => drop(timeout(END_MAX, notes.leave_duty(duty)).await),
                    Ended::Displaced => warn!(
                        fence = duty.fence,
                        "notifications are given up here: another process has taken them over, or may"
                    ),
                }
            }
            Ok(None) => {}
            Err(failed) => {
                warn!(%failed, "whether notifications are to be folded here is not known")
            }
        }
        tokio::select! {
            biased;
            () = told(&mut stop) => return,
            () = sleep(RETRY) => {}
        }
    }
}

/// One shift, with the tasks that work in it.
async fn work(
    world: &World,
    sender: &Arc<dyn Sender>,
    notes: &dyn Notes,
    duty: Duty,
    asked: Instant,
    stop: &mut watch::Receiver<bool>,
) -> Ended {
    let over = watch::Sender::new(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(consumer::run(world.clone(), duty, over.subscribe()));
    tasks.spawn(deliverer::run(
        world.clone(),
        duty,
        Arc::clone(sender),
        over.subscribe(),
    ));
    let ended = tokio::select! {
        biased;
        () = told(stop) => Ended::Stopped,
        // A task ends by itself only where it found that the duty is another's.
        done = tasks.join_next() => {
            if let Some(Err(died)) = done {
                error!(%died, "a task of notifications died");
            }
            Ended::Displaced
        }
        () = keep(notes, duty, asked) => Ended::Displaced,
    };
    over.send_replace(true);
    let all_end = async {
        while let Some(done) = tasks.join_next().await {
            if let Err(died) = done {
                error!(%died, "a task of notifications died");
            }
        }
    };
    if timeout(END_MAX, all_end).await.is_err() {
        tasks.shutdown().await;
    }
    ended
}

/// Prolongs the duty as long as that succeeds in time.
async fn keep(notes: &dyn Notes, duty: Duty, asked: Instant) {
    let Some(lasts) = duty.lasts else {
        return std::future::pending().await;
    };
    // Some is left for those who work to end.
    let (every, safe) = (lasts / 3, lasts * 5 / 6);
    let mut until = asked + safe;
    loop {
        sleep_until((until - safe + every).min(until)).await;
        let asked = Instant::now();
        match timeout(
            until.saturating_duration_since(asked),
            notes.keep_duty(duty),
        )
        .await
        {
            Ok(Ok(true)) => until = asked + safe,
            Ok(Ok(false)) => return,
            Ok(Err(failed)) => {
                warn!(%failed, "the duty of notifications could not be prolonged");
                if asked >= until {
                    return;
                }
                sleep(RETRY.min(every)).await;
            }
            Err(_) => return,
        }
        if Instant::now() >= until {
            return;
        }
    }
}
