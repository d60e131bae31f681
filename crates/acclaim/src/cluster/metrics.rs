//! What `/metrics` says of the cluster engine: the numbers that its worker keeps, and how the
//! ledger's replicas stand.

use std::fmt;
use std::sync::Arc;

use acclaim_cluster::engine::Cluster;
use acclaim_cluster::ledger::replicas::ReplicaHealth;
use acclaim_cluster::worker::WorkerNumbers;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// A number of the worker: its name, its meaning, where it stands.
type Number = (&'static str, &'static str, fn(&WorkerNumbers) -> u64);

const COUNTERS: [Number; 16] = [
    (
        "events",
        "Events given to the ledger; again where it was not known whether it had them",
        |n| n.events,
    ),
    (
        "batches",
        "Transactions of the ledger that took events",
        |n| n.batches,
    ),
    ("flips", "Events that flipped their edge", |n| n.flips),
    ("stale_events", "Events that the ledger knew already", |n| {
        n.stale
    }),
    ("dead_letters", "Events that became dead letters", |n| {
        n.buried
    }),
    ("refused_batches", "Batches that the ledger refused", |n| {
        n.refused_batches
    }),
    (
        "partitions_opened",
        "Partitions opened because Redis did not have them",
        |n| n.opened,
    ),
    (
        "partitions_went_back",
        "Times that Redis had less of a partition than the ledger",
        |n| n.went_back,
    ),
    ("redis_failures", "Calls to Redis that failed", |n| {
        n.redis_failures
    }),
    ("ledger_failures", "Calls to the ledger that failed", |n| {
        n.ledger_failures
    }),
    ("polls", "Looks at all partitions", |n| n.polls),
    (
        "hurries",
        "Partitions that somebody in this process asked to hurry",
        |n| n.hurries,
    ),
    ("leases_taken", "Leases taken", |n| n.leases_taken),
    ("leases_lost", "Leases lost", |n| n.leases_lost),
    ("leases_given_back", "Leases given back", |n| {
        n.leases_given_back
    }),
    (
        "shelves_removed",
        "Shelves of old idempotency answers removed",
        |n| n.shelves_removed,
    ),
];

const GAUGES: [Number; 6] = [
    ("partitions_owned", "Partitions owned now", |n| {
        n.partitions_owned
    }),
    ("workers_alive", "Workers alive now, this one too", |n| {
        n.workers_alive
    }),
    ("drains_running", "Partitions being moved now", |n| {
        n.drains_running
    }),
    (
        "backlog_events",
        "Events of the partitions owned that the ledger does not have",
        |n| n.backlog_events,
    ),
    (
        "lag_milliseconds",
        "How old the oldest event of the last batch was when the ledger had it",
        |n| n.lag_millis,
    ),
    (
        "keeps_unread",
        "Whether journals keep what is not folded into notifications",
        |n| n.keeps_unread,
    ),
];

const BUS_COUNTERS: [Number; 10] = [
    (
        "published_events",
        "Events published to the bus; again where it was not known whether it had them",
        |n| n.published,
    ),
    ("publish_failures", "Calls to publish that failed", |n| {
        n.publish_failures
    }),
    (
        "received_messages",
        "Messages received from the bus by those who write the ledger",
        |n| n.received,
    ),
    (
        "redelivered_messages",
        "Those of them that were delivered before",
        |n| n.redelivered,
    ),
    (
        "late_events",
        "Events published in a turn that had been closed: they were published again or are lost",
        |n| n.late,
    ),
    (
        "gaps",
        "Times that events of the bus never came and were asked to be published again",
        |n| n.gaps,
    ),
    ("barriers", "Barriers received", |n| n.barriers),
    (
        "healed_events",
        "Events that the ledger had and Redis was told of late",
        |n| n.healed,
    ),
    (
        "dead_letters",
        "Messages put on the dead-letter topic",
        |n| n.dead_on_bus,
    ),
    (
        "consume_failures",
        "Calls to receive or acknowledge that failed",
        |n| n.consume_failures,
    ),
];

/// A number of a replica: its name, its meaning, where it stands.
type OfReplica = (&'static str, &'static str, fn(&ReplicaHealth) -> u64);

const REPLICA_COUNTERS: [OfReplica; 3] = [
    ("reads", "Statements that the replica answered", |r| r.reads),
    (
        "failures",
        "Statements that the replica did not answer; the primary did",
        |r| r.failures,
    ),
    (
        "behind",
        "Reads that went to the primary because the replica did not have what they must see",
        |r| r.behind,
    ),
];

/// Registers the numbers of a cluster's worker, if it has one here, and of the ledger's replicas.
pub fn register(registry: &mut Registry, cluster: &Arc<Cluster>) {
    registry.register_collector(Box::new(WorkerMetrics(Arc::clone(cluster))));
    if cluster.carrier().is_some() {
        registry.register_collector(Box::new(BusMetrics(Arc::clone(cluster))));
    }
    if cluster.ledger().has_replicas() {
        registry.register_collector(Box::new(ReplicaMetrics(Arc::clone(cluster))));
    }
}

struct BusMetrics(Arc<Cluster>);

impl fmt::Debug for BusMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BusMetrics")
    }
}

/// A gauge without labels.
fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: f64,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(value);
    let encoder = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    gauge.encode(encoder)
}

impl Collector for BusMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(state) = self.0.bus_state() {
            let up = f64::from(u8::from(state.trouble.is_none()));
            let help = "Whether the bus answered when it was last used or looked at";
            gauge(&mut encoder, "acclaim_bus_up", help, up)?;
            let latency = state.latency.as_secs_f64();
            let help = "How long it took to answer then";
            gauge(&mut encoder, "acclaim_bus_latency_seconds", help, latency)?;
        }
        let Some(numbers) = self.0.worker_numbers() else {
            return Ok(());
        };
        for (name, help, value) in BUS_COUNTERS {
            let counter = ConstCounter::new(value(&numbers));
            let name = format!("acclaim_bus_{name}");
            let encoder = encoder.encode_descriptor(&name, help, None, counter.metric_type())?;
            counter.encode(encoder)?;
        }
        let help = "Events of the partitions owned that are not on the bus";
        // No gauge needs more than 53 bits.
        let events = numbers.relay_backlog_events as f64;
        gauge(
            &mut encoder,
            "acclaim_bus_relay_backlog_events",
            help,
            events,
        )?;
        let seconds = numbers.relay_backlog_millis as f64 / 1_000.0;
        let help = "The age of the oldest of them";
        gauge(
            &mut encoder,
            "acclaim_bus_relay_backlog_seconds",
            help,
            seconds,
        )?;
        let lags = self.0.carrier().map(|carrier| carrier.lags());
        let lags = lags.unwrap_or_default();
        let mut family = encoder.encode_descriptor(
            "acclaim_bus_lag_events",
            "Messages that those who write the ledger have not acknowledged, by bus partition",
            None,
            MetricType::Gauge,
        )?;
        for lag in &lags {
            let labels = [("bus_partition", lag.bus_partition.to_string())];
            let gauge = ConstGauge::new(lag.events as f64);
            gauge.encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "acclaim_bus_lag_seconds",
            "How long ago the oldest of them was published; absent where that is not known",
            None,
            MetricType::Gauge,
        )?;
        for lag in &lags {
            let labels = [("bus_partition", lag.bus_partition.to_string())];
            if let Some(millis) = lag.oldest_millis {
                let gauge = ConstGauge::new(millis as f64 / 1_000.0);
                gauge.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

struct ReplicaMetrics(Arc<Cluster>);

impl fmt::Debug for ReplicaMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplicaMetrics")
    }
}

impl Collector for ReplicaMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let replicas = self.0.ledger().replica_health();
        for (name, help, value) in REPLICA_COUNTERS {
            let name = format!("acclaim_ledger_replica_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            for replica in &replicas {
                let labels = [("replica", replica.address.as_str())];
                let counter = ConstCounter::new(value(replica));
                counter.encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "acclaim_ledger_replica_lag_seconds",
            "How late the replica was when that was measured last; absent where it did not answer",
            None,
            MetricType::Gauge,
        )?;
        for replica in &replicas {
            let labels = [("replica", replica.address.as_str())];
            if let Some(lag) = replica.lag {
                let gauge = ConstGauge::new(lag.as_secs_f64());
                gauge.encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "acclaim_ledger_replica_fit",
            "Whether the replica is read from",
            None,
            MetricType::Gauge,
        )?;
        for replica in &replicas {
            let labels = [("replica", replica.address.as_str())];
            let gauge = ConstGauge::new(u64::from(replica.is_fit));
            gauge.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

struct WorkerMetrics(Arc<Cluster>);

impl fmt::Debug for WorkerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerMetrics")
    }
}

impl Collector for WorkerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(numbers) = self.0.worker_numbers() else {
            return Ok(());
        };
        for (name, help, value) in COUNTERS {
            let counter = ConstCounter::new(value(&numbers));
            let name = format!("acclaim_worker_{name}");
            let encoder = encoder.encode_descriptor(&name, help, None, counter.metric_type())?;
            counter.encode(encoder)?;
        }
        for (name, help, value) in GAUGES {
            let gauge = ConstGauge::new(value(&numbers));
            let name = format!("acclaim_worker_{name}");
            let encoder = encoder.encode_descriptor(&name, help, None, gauge.metric_type())?;
            gauge.encode(encoder)?;
        }
        Ok(())
    }
}
