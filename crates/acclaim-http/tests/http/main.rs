//! The contract over real connections. The modules mirror the routes.
//!
//! With `ACCLAIM_TEST_URL` set (`127.0.0.1:7700`), the tests that need nothing but the contract run
//! against that server, which must be empty and have the kinds of [`support::kinds`].
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod nodes;
mod support;

mod administration;
mod bad_input;
mod batch;
mod connections;
mod consistency;
mod count;
mod daily;
mod dead_letters;
mod docs;
mod engine_failures;
mod events;
mod export;
mod health;
mod hot_keys;
mod idempotency;
mod import;
mod import_job;
mod known;
mod lists;
mod metrics;
mod notifications;
mod ranking;
mod relationships;
mod statistics;
mod status;
mod webhooks;
mod writes;
