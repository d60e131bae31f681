//! The keys of the cluster engine.

use super::{Key, MAX_MILLIS};
use crate::config::value::{Allowed, Value};

/// A year, in seconds.
const MAX_SECONDS: u64 = 366 * 24 * 3600;

pub(super) fn keys() -> impl Iterator<Item = Key> {
    let engine = servers().into_iter().chain(limits());
    engine.chain(redis()).chain(ledger()).chain(worker())
}

/// A URL without its password.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else {
        return url.to_owned();
    };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***{}", &rest[at..]),
        None => url.to_owned(),
    }
}

fn servers() -> Vec<Key> {
    vec![
        text!(
            cluster.redis,
            Allowed::Text("a URL such as redis://127.0.0.1:6379"),
            "Redis: `redis://[user:password@]host:port[/db]`, `redis+cluster://host:port,host:port`, `redis+sentinel://host:port,host:port/master-name`; `rediss` in the place of `redis` for TLS. Shown without its password. Flag `--redis`.",
            |url: &String| without_password(url),
            |text: &str| Some(text.to_owned())
        ),
        text!(
            cluster.ledger,
            Allowed::Text("a URL such as mysql://user:password@127.0.0.1:3306/acclaim"),
            "The ledger in MySQL, MariaDB or TiDB: `mysql://user:password@host:port/database`. Shown without its password. Flag `--ledger`.",
            |url: &String| without_password(url),
            |text: &str| Some(text.to_owned())
        ),
        text!(
            cluster.node,
            Allowed::Text("a name of at most 64 bytes, other than that of every other node"),
            "The name of this process among the nodes. Empty makes one of the host's name and a random number at each start.",
            |name: &String| name.clone(),
            |text: &str| (text.len() <= 64).then(|| text.to_owned())
        ),
        integer!(
            cluster.partitions,
            Integer(1..=1_024),
            "Partitions of a store that is made now. They are fixed then; another number is refused at start."
        ),
        switch!(
            cluster.worker,
            "Whether `acclaim serve` moves events into the ledger itself. Without it run `acclaim worker`."
        ),
        integer!(
            cluster.start_wait_seconds,
            Integer(0..=3_600),
            "How long a start waits for servers that cannot be reached, trying again and again."
        ),
    ]
}

fn limits() -> Vec<Key> {
    vec![
        integer!(
            cluster.queue_max_ops at cluster.limits.queue_max_ops,
            Integer(1_000..=10_000_000),
            "Operations that may wait or be under way on this node; more are refused as `overloaded`."
        ),
        integer!(
            cluster.call_max_ops at cluster.limits.call_max_ops,
            Integer(1..=1_000),
            "Operations that one call to Redis decides; those of one request in one partition stay together even if they are more."
        ),
        integer!(
            cluster.write_max_millis at cluster.limits.write_max_millis,
            Integer(1..=MAX_MILLIS),
            "How long a write may take, loads and second tries included."
        ),
        integer!(
            cluster.read_wait_max_millis at cluster.limits.read_wait_max_millis,
            Integer(0..=MAX_MILLIS),
            "How long a read of a user's side, a ranking or daily numbers waits for the ledger to have what was written before it. Then it answers with what the ledger has."
        ),
        integer!(
            cluster.load_wait_max_millis at cluster.limits.load_wait_max_millis,
            Integer(1..=MAX_MILLIS),
            "How long a read waits for a target to be loaded from the ledger."
        ),
        integer!(
            cluster.loads_max at cluster.limits.loads_max,
            Integer(1..=1_024),
            "Loads from the ledger at once."
        ),
        integer!(
            cluster.backlog_max_events at cluster.limits.backlog_max_events,
            Integer(1..=1_000_000_000),
            "Events that may be acknowledged and not in the ledger; beyond it writes are answered 503."
        ),
        integer!(
            cluster.ranking_cache_millis at cluster.limits.ranking_cache_millis,
            Integer(0..=60_000),
            "How long this node answers a ranking again without computing it. 0 computes it each time."
        ),
        integer!(
            cluster.job_lease_millis at cluster.limits.job_lease_millis,
            Integer(1_000..=MAX_MILLIS),
            "How long a job belongs to a node that says nothing; then another node goes on with it."
        ),
        integer!(
            cluster.job_poll_millis at cluster.limits.job_poll_millis,
            Integer(10..=60_000),
            "How often a node looks for jobs."
        ),
        integer!(
            cluster.job_step_edges at cluster.limits.job_step_edges,
            Integer(1..=10_000),
            "Edges that a job deals with in one step."
        ),
        integer!(
            cluster.notifications_lease_millis at cluster.limits.notifications_lease_millis,
            Integer(300..=MAX_MILLIS),
            "How long the folding of notifications and the delivery of webhooks belong to a node that says nothing; then another node goes on."
        ),
        integer!(
            cluster.spool_max_bytes at cluster.limits.spool_max_bytes,
            Bytes(0..=1 << 50),
            "The texts of imports that wait as jobs, all of them in the ledger together, unpacked. 0 takes none; a streamed import needs none."
        ),
        integer!(
            cluster.spool_idle_seconds at cluster.limits.spool_idle_seconds,
            Integer(1..=MAX_SECONDS),
            "How long such a text is kept of which nothing more comes, as when the node that took it died."
        ),
        integer!(
            cluster.replica_max_millis at cluster.limits.replica_max_millis,
            Integer(1..=60_000),
            "How long the acknowledgement `replica` waits for a replica of Redis."
        ),
        integer!(
            cluster.health_interval_millis at cluster.limits.health_interval_millis,
            Integer(10..=60_000),
            "How often the servers are asked how they are."
        ),
    ]
}

fn redis() -> Vec<Key> {
    vec![
        integer!(
            redis.connect_timeout_millis at cluster.redis_limits.connect_timeout_millis,
            Integer(1..=60_000),
            "How long a connection may take to be made."
        ),
        integer!(
            redis.response_timeout_millis at cluster.redis_limits.response_timeout_millis,
            Integer(1..=60_000),
            "How long an answer may take. After it the outcome of a write is unknown."
        ),
        integer!(
            redis.call_timeout_millis at cluster.redis_limits.call_timeout_millis,
            Integer(1..=60_000),
            "How long a call may take with all that is done for it: connections, redirections, waiting for a failover."
        ),
        integer!(
            redis.max_timeouts_in_row at cluster.redis_limits.max_timeouts_in_row,
            Integer(1..=1_000),
            "Calls in a row without an answer after which a connection is made anew."
        ),
        integer!(
            redis.reconnect_pause_millis at cluster.redis_limits.reconnect_pause_millis,
            Integer(1..=60_000),
            "How long a server that could not be connected to is left alone."
        ),
        integer!(
            redis.max_in_flight_calls at cluster.redis_limits.max_in_flight_calls,
            Integer(1..=100_000),
            "Calls under way at one server; a pipeline counts as one. More wait, so that a slow server holds no more than that."
        ),
        integer!(
            redis.max_pipeline_calls at cluster.redis_limits.max_pipeline_calls,
            Integer(1..=10_000),
            "Calls in one pipeline."
        ),
        integer!(
            redis.topology_interval_millis at cluster.redis_limits.topology_interval_millis,
            Integer(10..=600_000),
            "How often a Cluster or the Sentinels are asked who is master; they are also asked when a call fails."
        ),
    ]
}

fn ledger() -> Vec<Key> {
    vec![
        Key {
            name: "ledger.replicas",
            allowed: Allowed::List(
                "at most 16 URLs such as mysql://user:password@127.0.0.1:3307/acclaim",
            ),
            meaning: "Replicas of the ledger, from which lists, users' numbers, rankings and days are read. Shown without their passwords.",
            get: |config| {
                let urls = config.cluster.replicas.iter();
                Value::List(urls.map(|url| without_password(url)).collect())
            },
            set: |config, value| match value {
                // How many there may be, the ledger says: this error would show their passwords.
                Value::List(urls) => {
                    config.cluster.replicas = urls;
                    true
                }
                _ => false,
            },
        },
        millis!(
            "ledger.max_replica_lag_millis" at cluster.ledger_bounds.max_replica_lag,
            1..=600_000,
            "A replica that is later than this is not read from; the primary is."
        ),
        integer!(
            ledger.write_connections at cluster.ledger_bounds.write_connections,
            Integer(1..=1_000),
            "Connections that write."
        ),
        integer!(
            ledger.read_connections at cluster.ledger_bounds.read_connections,
            Integer(1..=1_000),
            "Connections that read."
        ),
        millis!(
            "ledger.connect_timeout_millis" at cluster.ledger_bounds.connect_timeout,
            1..=600_000,
            "How long a connection, free or new, is waited for."
        ),
        millis!(
            "ledger.statement_timeout_millis" at cluster.ledger_bounds.statement_timeout,
            1..=600_000,
            "How long a statement may run; the server ends it."
        ),
        millis!(
            "ledger.statement_grace_millis" at cluster.ledger_bounds.statement_grace,
            1..=600_000,
            "How much longer than that a server that says nothing is waited for."
        ),
        millis!(
            "ledger.lock_wait_timeout_millis" at cluster.ledger_bounds.lock_wait_timeout,
            1_000..=600_000,
            "How long a lock is waited for, in whole seconds."
        ),
        integer!(
            ledger.attempts at cluster.ledger_bounds.attempts,
            Integer(1..=100),
            "Attempts at one transaction or read."
        ),
        millis!(
            "ledger.first_pause_millis" at cluster.ledger_bounds.first_pause,
            1..=60_000,
            "The longest pause before the second attempt; it doubles with each one, and each is drawn between nothing and this."
        ),
        millis!(
            "ledger.longest_pause_millis" at cluster.ledger_bounds.longest_pause,
            1..=60_000,
            "The longest pause before any attempt."
        ),
        millis!(
            "ledger.migrate_timeout_millis" at cluster.ledger_bounds.migrate_timeout,
            1_000..=600_000,
            "How long a start waits for another node that is making the tables, in whole seconds."
        ),
    ]
}

fn worker() -> Vec<Key> {
    vec![
        integer!(
            worker.batch_max_events at cluster.worker_limits.batch_max_events,
            Integer(1..=1_000),
            "Events in one transaction of the ledger."
        ),
        integer!(
            worker.batch_max_millis at cluster.worker_limits.batch_max_millis,
            Integer(2..=10_000),
            "How long an event may wait for others. Nobody who waits for the ledger waits for this."
        ),
        integer!(
            worker.drains_at_once at cluster.worker_limits.drains_at_once,
            Integer(1..=1_024),
            "Partitions moved at the same time. Each holds a batch in memory."
        ),
        integer!(
            worker.transactions_at_once at cluster.worker_limits.transactions_at_once,
            Integer(1..=64),
            "Transactions of the ledger under way at the same time, at most; what is ready meanwhile \
             shares the next one. Beside one another is begun when half of `batch_max_events` wait, or \
             a batch has waited for `batch_max_millis`. Each holds a connection to the ledger."
        ),
        integer!(
            worker.poll_min_millis at cluster.worker_limits.poll_min_millis,
            Integer(1..=10_000),
            "The shortest time between two looks at all partitions, while somebody waits for the ledger."
        ),
        integer!(
            worker.poll_max_millis at cluster.worker_limits.poll_max_millis,
            Integer(1..=9_999),
            "The longest time between two looks; less than `batch_max_millis`."
        ),
        integer!(
            worker.lease_millis at cluster.worker_limits.lease_millis,
            Integer(300..=86_400_000),
            "How long a lease lasts, and so how long a partition stands still after its worker died."
        ),
        integer!(
            worker.lease_renew_millis at cluster.worker_limits.lease_renew_millis,
            Integer(10..=28_800_000),
            "How often leases are renewed; at most a third of `lease_millis`."
        ),
        integer!(
            worker.lease_retry_millis at cluster.worker_limits.lease_retry_millis,
            Integer(10..=28_800_000),
            "How often a worker that has less than its share looks for free partitions; at most `lease_renew_millis`."
        ),
        integer!(
            worker.key_keep_seconds at cluster.worker_limits.key_keep_seconds,
            Integer(1..=MAX_SECONDS),
            "How long Redis keeps what the ledger has too, ± 10%."
        ),
        integer!(
            worker.journal_keep_seconds at cluster.worker_limits.journal_keep_seconds,
            Integer(0..=MAX_SECONDS),
            "How long the journal keeps events that the ledger has, for subscribers who resume."
        ),
        integer!(
            worker.journal_max_events at cluster.worker_limits.journal_max_events,
            Integer(0..=1_000_000_000),
            "How many such events all journals together keep. An event takes about 60 bytes of Redis's memory."
        ),
        integer!(
            worker.unread_max_events at cluster.worker_limits.unread_max_events,
            Integer(0..=1_000_000_000),
            "How many events the journals of all partitions keep together, each an equal part, that are not folded into notifications yet. What is beyond it is told to nobody: `acclaim_notifications_skips_total` counts that. A numeric event takes 46 bytes of Redis's memory."
        ),
        integer!(
            worker.poison_attempts at cluster.worker_limits.poison_attempts,
            Integer(1..=100),
            "How often a batch that the ledger refuses is tried before the events that it is refused for become dead letters."
        ),
        integer!(
            worker.poison_max_events at cluster.worker_limits.poison_max_events,
            Integer(1..=1_000),
            "Refused events of one batch that become dead letters. Of more it is believed that the ledger is at fault; they wait."
        ),
        integer!(
            worker.retry_first_pause_millis at cluster.worker_limits.retry_first_pause_millis,
            Integer(1..=60_000),
            "The longest pause after the first failure; it doubles with each one."
        ),
        integer!(
            worker.retry_longest_pause_millis at cluster.worker_limits.retry_longest_pause_millis,
            Integer(1..=60_000),
            "The longest pause after any failure; at least `retry_first_pause_millis`."
        ),
        integer!(
            worker.measure_millis at cluster.worker_limits.measure_millis,
            Integer(10..=60_000),
            "How often the backlog is measured."
        ),
        integer!(
            worker.sweep_seconds at cluster.worker_limits.sweep_seconds,
            Integer(1..=86_400),
            "How often journals are trimmed of what is too old, and old idempotency answers removed."
        ),
        integer!(
            worker.stop_max_millis at cluster.worker_limits.stop_max_millis,
            Integer(0..=9_000),
            "How long a worker that stops goes on moving events."
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn passwords_are_not_shown() {
        let cases = [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
            ("mysql://me:se@cr:et@h:1/db", "mysql://me:***@h:1/db"),
            ("mysql://me@h:1/db", "mysql://me@h:1/db"),
            ("nonsense", "nonsense"),
        ];
        for (given, shown) in cases {
            assert_eq!(without_password(given), shown);
        }
    }
}
