//! The contract over real connections, by two nodes of one cluster: the cases of `acclaim-http`, as
//! they are, with the requests of each alternating between the nodes.
//!
//! What is here and says nothing about a cluster, because such a case brings an engine of its own
//! to make it fail, or to flood it:
//! `administration::too_many_jobs_are_refused`;
//! `connections::a_request_that_takes_long_outlives_the_idle_limit`,
//! `a_stop_ends_what_is_under_way`, `a_stop_does_not_wait_for_ever`;
//! `dead_letters::they_are_listed_in_pages`, `one_is_sent_again`;
//! `events::what_is_no_longer_kept_cannot_be_resumed_from`,
//! `a_slow_reader_is_dropped_with_its_last_event`;
//! `health::an_engine_that_is_not_ready_is_a_503`;
//! `idempotency::the_first_under_way_is_a_conflict`;
//! `import::an_engine_that_stops_ends_the_import`.
//!
//! What is not here: `engine_failures`, which does nothing else, and `import_job`, until the cluster
//! engine has import jobs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod nodes;
#[path = "../../../acclaim-http/tests/http/support/mod.rs"]
#[allow(dead_code, reason = "faults of cases that are not here")]
mod support;

#[path = "../../../acclaim-http/tests/http/administration.rs"]
mod administration;
#[path = "../../../acclaim-http/tests/http/bad_input.rs"]
mod bad_input;
#[path = "../../../acclaim-http/tests/http/batch.rs"]
mod batch;
#[path = "../../../acclaim-http/tests/http/connections.rs"]
mod connections;
#[path = "../../../acclaim-http/tests/http/consistency.rs"]
mod consistency;
#[path = "../../../acclaim-http/tests/http/count.rs"]
mod count;
#[path = "../../../acclaim-http/tests/http/daily.rs"]
mod daily;
#[path = "../../../acclaim-http/tests/http/dead_letters.rs"]
mod dead_letters;
#[path = "../../../acclaim-http/tests/http/docs.rs"]
mod docs;
#[path = "../../../acclaim-http/tests/http/events.rs"]
mod events;
#[path = "../../../acclaim-http/tests/http/export.rs"]
mod export;
#[path = "../../../acclaim-http/tests/http/health.rs"]
mod health;
#[path = "../../../acclaim-http/tests/http/hot_keys.rs"]
mod hot_keys;
#[path = "../../../acclaim-http/tests/http/idempotency.rs"]
mod idempotency;
#[path = "../../../acclaim-http/tests/http/import.rs"]
mod import;
#[path = "../../../acclaim-http/tests/http/known.rs"]
mod known;
#[path = "../../../acclaim-http/tests/http/lists.rs"]
mod lists;
#[path = "../../../acclaim-http/tests/http/metrics.rs"]
mod metrics;
#[path = "../../../acclaim-http/tests/http/notifications.rs"]
mod notifications;
#[path = "../../../acclaim-http/tests/http/ranking.rs"]
mod ranking;
#[path = "../../../acclaim-http/tests/http/relationships.rs"]
mod relationships;
#[path = "../../../acclaim-http/tests/http/statistics.rs"]
mod statistics;
#[path = "../../../acclaim-http/tests/http/status.rs"]
mod status;
#[path = "../../../acclaim-http/tests/http/webhooks.rs"]
mod webhooks;
#[path = "../../../acclaim-http/tests/http/writes.rs"]
mod writes;
