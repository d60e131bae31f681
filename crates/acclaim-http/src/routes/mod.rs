//! What the server answers: one noun a file.

pub(crate) mod answer;
pub(crate) mod audit;
pub(crate) mod batch;
pub(crate) mod common;
pub(crate) mod consistency;
pub(crate) mod count;
pub(crate) mod daily;
pub(crate) mod docs;
pub(crate) mod erasure;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod health;
pub(crate) mod hot_keys;
pub(crate) mod import;
pub(crate) mod jobs;
pub(crate) mod known;
pub(crate) mod metrics;
pub(crate) mod mutual;
pub(crate) mod ranking;
pub(crate) mod recover;
pub(crate) mod relationships;
pub(crate) mod statistics;
pub(crate) mod status;
pub(crate) mod targets;
pub(crate) mod users;
pub(crate) mod writes;
