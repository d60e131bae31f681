//! What notifications and webhooks measure.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    pub outcome: &'static str,
}

/// The metrics.
#[derive(Clone)]
pub struct Metrics {
    pub(crate) events: Counter,
    pub(crate) told: Counter,
    pub(crate) capped: Counter,
    pub(crate) skipped: Counter,
    pub(crate) expired: Counter,
    pub(crate) failures: Counter,
    pub(crate) lag: Gauge<f64, AtomicU64>,
    pub(crate) behind: Gauge,
    pub(crate) on_duty: Gauge,
    pub(crate) queued: Counter,
    pub(crate) attempts: Family<OutcomeLabel, Counter>,
    pub(crate) dead: Counter,
    pub(crate) waiting: Gauge,
    pub(crate) paused: Gauge,
    pub(crate) disabled: Gauge,
    pub(crate) seconds: Histogram,
}

impl Metrics {
    /// Registers them, under `acclaim_notifications_` and `acclaim_webhooks_`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            events: Counter::default(),
            told: Counter::default(),
            capped: Counter::default(),
            skipped: Counter::default(),
            expired: Counter::default(),
            failures: Counter::default(),
            lag: Gauge::default(),
            behind: Gauge::default(),
            on_duty: Gauge::default(),
            queued: Counter::default(),
            attempts: Family::default(),
            dead: Counter::default(),
            waiting: Gauge::default(),
            paused: Gauge::default(),
            disabled: Gauge::default(),
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
        };
        // There from the start, so that a rate of one that did not happen is 0.
        for outcome in ["taken", "failed", "gone"] {
            let _ = metrics.attempts.get_or_create(&OutcomeLabel { outcome });
        }
        metrics.register_notifications(registry);
        metrics.register_webhooks(registry);
        metrics
    }

    fn register_notifications(&self, registry: &mut Registry) {
        let notifications = registry.sub_registry_with_prefix("acclaim_notifications");
        let counters = [
            (
                "events",
                "Events of the journal that were folded",
                &self.events,
            ),
            (
                "told",
                "Times that an owner was told of something new",
                &self.told,
            ),
            (
                "capped",
                "Times that an owner was not told, because of max_told_per_hour",
                &self.capped,
            ),
            (
                "skips",
                "Times that events were gone from the journal before they were folded",
                &self.skipped,
            ),
            (
                "expired",
                "Notifications removed because of max_age_days",
                &self.expired,
            ),
            (
                "failures",
                "Batches that could not be folded and were tried again",
                &self.failures,
            ),
        ];
        for (name, help, counter) in counters {
            notifications.register(name, help, counter.clone());
        }
        notifications.register_with_unit(
            "lag",
            "Age of the newest event that was folded, when it was",
            Unit::Seconds,
            self.lag.clone(),
        );
        notifications.register(
            "lag_events",
            "Events that wait to be folded, counted up to 10,000",
            self.behind.clone(),
        );
        notifications.register(
            "on_duty",
            "Whether this process is the one that folds and delivers",
            self.on_duty.clone(),
        );
    }

    /// What this process says when it works no more: another one says the rest.
    pub(crate) fn leave(&self) {
        self.lag.set(0.0);
        let gauges = [
            &self.behind,
            &self.on_duty,
            &self.waiting,
            &self.paused,
            &self.disabled,
        ];
        for gauge in gauges {
            gauge.set(0);
        }
    }

    fn register_webhooks(&self, registry: &mut Registry) {
        let webhooks = registry.sub_registry_with_prefix("acclaim_webhooks");
        webhooks.register("queued", "Deliveries put into queues", self.queued.clone());
        webhooks.register(
            "attempts",
            "Tries of deliveries, by what became of them",
            self.attempts.clone(),
        );
        webhooks.register("dead_letters", "Deliveries given up", self.dead.clone());
        let gauges = [
            (
                "waiting",
                "Deliveries that wait, of each endpoint at most the 1,000 that are next",
                &self.waiting,
            ),
            ("paused", "Endpoints that are paused", &self.paused),
            (
                "disabled",
                "Endpoints that said that they are gone",
                &self.disabled,
            ),
        ];
        for (name, help, gauge) in gauges {
            webhooks.register(name, help, gauge.clone());
        }
        webhooks.register_with_unit(
            "attempt",
            "Time of a try",
            Unit::Seconds,
            self.seconds.clone(),
        );
    }

    pub(crate) fn attempt(&self, outcome: &'static str) {
        self.attempts.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}
