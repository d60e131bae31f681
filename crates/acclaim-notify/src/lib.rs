//! Runs notifications beside an engine: one task reads the journal and folds it, one delivers
//! webhooks.
//!
//! What is decided is decided in [`acclaim_core::notify`]; this crate has the tasks, the waiting and
//! the sockets. It may not know which engine it runs beside, nor HTTP requests that come in.
//!
//! Where several processes have one store, those of one of them work ([`shift`]).
//!
//! Invariants: a delivery leaves its queue in the commit that says what became of it, so it is sent
//! at least once whatever ends the process; nothing is sent to an address that may not be reached.
#![forbid(unsafe_code)]

mod consumer;
mod deliverer;
mod http;
mod lane;
mod metrics;
mod sender;
mod shift;

use std::sync::Arc;

use acclaim_core::Engine;
use acclaim_core::notify::Settings;
use acclaim_core::port::Clock;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use http::{HttpSender, TlsError};
pub use metrics::Metrics;
pub use sender::{Message, Outcome, Sender};

/// The running tasks. They end when it is dropped, at the next moment that they wait.
pub struct Notifier {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Notifier {
    /// Starts the tasks. Does nothing where the engine keeps no notes or notifications are switched
    /// off.
    #[must_use]
    pub fn start(
        engine: &Arc<dyn Engine>,
        settings: &Settings,
        clock: &Arc<dyn Clock>,
        sender: Arc<dyn Sender>,
        metrics: &Metrics,
    ) -> Self {
        let stop = watch::Sender::new(false);
        let mut tasks = Vec::new();
        if settings.notifications.enabled && engine.notes().is_some() {
            let world = World {
                engine: Arc::clone(engine),
                settings: settings.clone(),
                clock: Arc::clone(clock),
                metrics: metrics.clone(),
            };
            tasks.push(tokio::spawn(shift::run(world, sender, stop.subscribe())));
        }
        Self { stop, tasks }
    }

    /// Ends the tasks: what is folded is committed, what is being sent is sent again after the next
    /// start.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(died) = task.await {
                tracing::error!(%died, "a task of notifications died");
            }
        }
    }
}

/// What the tasks share.
#[derive(Clone)]
struct World {
    engine: Arc<dyn Engine>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// Waits until the tasks are to end.
async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could tell is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}
