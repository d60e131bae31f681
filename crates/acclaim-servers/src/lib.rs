//! Real servers for tests, and a proxy that breaks the connections to them.
//!
//! For tests only. This crate decides how a server of a test lives: as a private process on
//! 127.0.0.1, with ports that were free and a directory of its own, handed out when **its own
//! process** answers, and gone with the test, also when the test process is killed (`home.rs`). It
//! knows nothing of Acclaim, so that every part of Acclaim can be tested with it. It never skips: a
//! server that is not there or does not start fails the test, with what was tried and what the
//! server wrote. The programs come from `bash .ci/servers`.
//!
//! | Server | |
//! |---|---|
//! | [`Redis`] | one, as [`RedisOptions`] say |
//! | [`RedisCluster`] | three masters, three replicas |
//! | [`RedisSentinel`] | a master, a replica, three Sentinels |
//! | [`MariaDb`], [`TiDb`] | one shared by the tests of a process, each with a [`Database`] of its own, or private ones |
//! | [`Kafka`] | one broker, shared with a topic for each test, or private ones as [`KafkaOptions`] say |
//! | [`Pulsar`] | a broker with its own storage in one process, likewise |
//! | [`RocketMq`] | a name server and a broker, likewise |
//!
//! Each of their processes can be killed, paused and resumed, shut down, and started again on its
//! port and data ([`Server`]). A [`Proxy`] stands between a client and any of them.
//!
//! Verbs panic where they fail, with what was tried: in a test there is nothing else to do. Those
//! named `try_…` answer with the failure. Nothing sleeps to wait; [`until`] asks until a condition
//! holds, with an end.

mod certificate;
mod fetched;
mod home;
mod java;
mod kafka;
mod mariadb;
mod place;
mod port;
mod proxy;
mod pulsar;
mod redis;
mod rocketmq;
mod server;
mod sql;
mod start;
mod tidb;
mod topic;
mod wait;

pub use certificate::Certificates;
pub use kafka::{Kafka, KafkaOptions};
pub use mariadb::{MariaDb, MariaDbOptions};
pub use proxy::{Direction, Proxy};
pub use pulsar::{Pulsar, PulsarOptions};
pub use redis::{AppendFsync, Redis, RedisCluster, RedisOptions, RedisSentinel, SLOTS, SlotMove};
pub use rocketmq::{Answer as RocketMqAnswer, RocketMq, RocketMqOptions};
pub use server::{Server, StartFailure};
pub use sql::Database;
pub use tidb::TiDb;
pub use wait::{try_until, until};
