//! All of Redis: who is asked, and what is known of the servers. How often is [`super::rounds`].

use std::collections::BTreeMap;
use std::sync::Arc;

use acclaim_core::Rev;
use futures::future::join_all;
use redis::{Cmd, Value};
use tokio::time::Instant;

use super::address::{Address, RedisUrl};
use super::error::RedisError;
use super::keys::Partition;
pub use super::limits::RedisLimits;
use super::rounds::{Answer, FIRST_PAUSE, LONGEST_PAUSE};
use super::seat::{SeatBook, Seats};
use super::topology::{self, Topology};

/// One Redis, a master behind Sentinels, or a Cluster.
pub struct Redis {
    topology: Arc<Topology>,
    limits: RedisLimits,
    seats: Option<Arc<Seats>>,
    watching: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(watching) = &self.watching {
            watching.abort();
        }
    }
}

impl Redis {
    /// Takes Redis as a URL names it ([`RedisUrl`] says which there are). Servers are connected to
    /// when they are called; while none answers, each call says so when its time is over.
    ///
    /// # Errors
    /// [`RedisError::Url`] names the part of the URL that is wrong.
    pub async fn open(url: &str, limits: RedisLimits) -> Result<Self, RedisError> {
        Self::open_trusting(url, limits, None).await
    }

    /// The same where it is found out of each server whether it has everything that the ledger has
    /// before it is asked about a partition.
    ///
    /// # Errors
    /// As [`Redis::open`].
    pub async fn open_seated(
        url: &str,
        limits: RedisLimits,
        book: Arc<dyn SeatBook>,
    ) -> Result<Self, RedisError> {
        Self::open_with(url, limits, None, Some(Arc::new(Seats::new(book)))).await
    }

    /// The same for servers whose certificates are signed by these (in PEM) instead of those that
    /// the system trusts.
    ///
    /// # Errors
    /// As [`Redis::open`].
    pub async fn open_trusting(
        url: &str,
        limits: RedisLimits,
        trusted_pem: Option<&[u8]>,
    ) -> Result<Self, RedisError> {
        Self::open_with(url, limits, trusted_pem, None).await
    }

    async fn open_with(
        url: &str,
        limits: RedisLimits,
        trusted_pem: Option<&[u8]>,
        seats: Option<Arc<Seats>>,
    ) -> Result<Self, RedisError> {
        let url = RedisUrl::parse(url)?;
        let topology = Arc::new(Topology::new(url, trusted_pem, limits, seats.clone()));
        let watching = topology
            .can_change()
            .then(|| tokio::spawn(topology::watch(Arc::downgrade(&topology))));
        Ok(Self {
            topology,
            limits,
            seats,
            watching,
        })
    }

    /// The seats that this client knows, where they are kept.
    #[must_use]
    pub fn seats(&self) -> Option<&Seats> {
        self.seats.as_deref()
    }

    /// A partition in the life that it is in, as far as is known.
    #[must_use]
    pub fn partition(&self, epoch: u32, number: u16) -> Partition {
        let life = self.seats.as_ref().map_or(0, |seats| seats.life(number));
        Partition {
            epoch,
            life,
            number,
        }
    }

    /// The server that has a partition now.
    pub(super) fn address_of(&self, partition: Partition) -> Result<Address, RedisError> {
        let node = self.topology.node_of(partition)?;
        Ok(node.address().clone())
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    pub(super) fn limits(&self) -> &RedisLimits {
        &self.limits
    }

    /// The number of the server that has a partition now; nothing while nobody has told. Calls of
    /// partitions with the same number go in one pipeline.
    #[must_use]
    pub fn server_of(&self, partition: Partition) -> Option<u64> {
        let node = self.topology.node_of(partition).ok()?;
        Some(node.number())
    }

    /// Whether it is one server alone, whose replicas, if any, do not take over by themselves.
    #[must_use]
    pub fn is_single(&self) -> bool {
        !self.topology.can_change()
    }

    /// Masters to which a connection stands that is not known to have ended.
    #[must_use]
    pub fn connected_masters(&self) -> usize {
        let masters = self.topology.masters();
        masters.iter().filter(|node| node.is_connected()).count()
    }

    /// The time of each server that has one of the partitions.
    ///
    /// # Errors
    /// [`RedisError`] if one of them does not tell.
    pub async fn times(&self, partitions: &[Partition]) -> Result<Vec<Rev>, RedisError> {
        let mut servers: BTreeMap<Option<Address>, Partition> = BTreeMap::new();
        for partition in partitions {
            let node = self.topology.node_of(*partition).ok();
            let address = node.map(|node| node.address().clone());
            servers.entry(address).or_insert(*partition);
        }
        let time = redis::cmd("TIME");
        let asked = servers.into_values().map(|partition| {
            let time = &time;
            async move { read_time(&self.command(partition, time).await?) }
        });
        join_all(asked).await.into_iter().collect()
    }

    /// Asks every master the same, and says who answered what. Just after the start nobody may have
    /// told yet who is master; that is waited for as long as a call may take.
    pub(super) async fn ask_masters(&self, cmd: &Cmd) -> Vec<(Address, Answer)> {
        let deadline = Instant::now() + self.limits.call_timeout();
        let mut masters = self.topology.masters();
        while masters.is_empty() && Instant::now() + LONGEST_PAUSE < deadline {
            tokio::time::sleep(FIRST_PAUSE).await;
            masters = self.topology.masters();
        }
        let asked = masters.into_iter().map(|node| async move {
            let answer = node.send(&[cmd], &[], deadline).await;
            let answer = answer.and_then(|mut answers| answers.remove(0));
            (node.address().clone(), answer.map_err(RedisError::from))
        });
        join_all(asked).await
    }
}

/// Seconds and microseconds.
fn read_time(reply: &Value) -> Result<Rev, RedisError> {
    let part = |value: &Value| topology::text(value)?.parse::<u64>().ok();
    let time = match reply {
        Value::Array(parts) => match parts.as_slice() {
            [seconds, micros] => part(seconds).zip(part(micros)),
            _ => None,
        },
        _ => None,
    };
    let time = time.map(|(seconds, micros)| Rev(seconds * 1_000_000 + micros));
    time.ok_or_else(|| RedisError::Reply {
        script: "TIME",
        reply: format!("{reply:?}"),
    })
}
