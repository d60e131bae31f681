//! The keys of notifications and webhooks.

use super::{Allowed, Key, MAX_MILLIS, Value};

pub(super) fn keys() -> impl Iterator<Item = Key> {
    notifications().into_iter().chain(webhooks())
}

fn notifications() -> Vec<Key> {
    vec![
        switch!(
            notifications.enabled,
            "Whether owners are told what is done to their targets, and webhooks are delivered. Where it is false, those calls answer 404."
        ),
        integer!(
            notifications.batch_max_events,
            Integer(1..=10_000),
            "Events of the journal that are folded and committed together."
        ),
        integer!(
            notifications.max_per_owner,
            Integer(1..=100_000),
            "Notifications that an owner keeps; beyond it the oldest go."
        ),
        integer!(
            notifications.max_age_days,
            Integer(1..=3_660),
            "How long a notification is kept that nothing is added to."
        ),
        integer!(
            notifications.max_told_per_hour,
            Integer(0..=1_000_000),
            "How often an owner is told of something new within an hour. What comes beyond it is counted in its notification, which does not become unread by it, and goes to no webhook."
        ),
    ]
}

fn webhooks() -> Vec<Key> {
    vec![
        switch!(
            webhooks.allow_private_addresses,
            "Whether deliveries may go to loopback, private and other addresses that are not public. Whoever may make webhooks can then reach what this machine can."
        ),
        integer!(
            webhooks.max_endpoints,
            Integer(1..=1_000),
            "Webhooks that there can be."
        ),
        integer!(
            webhooks.queue_max_deliveries,
            Integer(1..=1_000_000),
            "Deliveries that wait for one webhook; more become dead letters at once."
        ),
        integer!(
            webhooks.max_dead_letters,
            Integer(1..=1_000_000),
            "Dead letters that are kept; beyond it the oldest go."
        ),
        integer!(
            webhooks.max_in_flight_per_endpoint,
            Integer(1..=256),
            "Deliveries under way to one webhook at once."
        ),
        integer!(
            webhooks.timeout_millis,
            Integer(1..=MAX_MILLIS),
            "From the look-up of the name until the whole answer is there."
        ),
        integer!(
            webhooks.response_max_bytes,
            Bytes(0..=16 << 20),
            "How much of an answer is read; only its status counts."
        ),
        integer!(
            webhooks.max_attempts,
            Integer(1..=100),
            "Tries of a delivery before it becomes a dead letter."
        ),
        integer!(
            webhooks.retry_first_millis,
            Integer(1..=MAX_MILLIS),
            "How long the first retry waits at most; each further one four times as long."
        ),
        integer!(
            webhooks.retry_max_seconds,
            Integer(1..=7 * 24 * 3_600),
            "How long a retry, or a pause, is at most."
        ),
        integer!(
            webhooks.pause_after_failures,
            Integer(1..=1_000),
            "Failures in a row after which a webhook is paused."
        ),
        integer!(
            webhooks.pause_seconds,
            Integer(1..=7 * 24 * 3_600),
            "How long the first pause is; each further one twice as long."
        ),
    ]
}
